// SPDX-License-Identifier: Apache-2.0

package pool

import "github.com/speadx/speadx/internal/pages"

// Pages chooses the pages that memory lies on.
type Pages uint8

// The choices of pages. A choice other than PagesAuto and PagesOff is an error where the
// machine does not have these pages.
const (
	PagesAuto = Pages(pages.Auto)   // the largest that the machine has
	Pages1G   = Pages(pages.Page1G) // hugetlb pages of 1 GiB
	Pages2M   = Pages(pages.Page2M) // hugetlb pages of 2 MiB
	PagesTHP  = Pages(pages.THP)    // transparent huge pages throughout
	PagesOff  = Pages(pages.Off)    // ordinary pages, even where the kernel would give huge ones unasked
)

// String is the name that [ParsePages] reads.
func (p Pages) String() string { return pages.Choice(p).String() }

// ParsePages reads one of auto, 1G, 2M, thp and off, in upper or lower case.
func ParsePages(s string) (Pages, error) {
	c, err := pages.ParseChoice(s)
	return Pages(c), err
}

// Memory says what a pool lies on.
type Memory struct {
	Bytes int      // mapped: the slots and tables, rounded up to whole pages
	Pages string   // the pages: 1G, 2M, thp or 4K
	Node  int      // the NUMA node that it is bound to; -1: none
	Notes []string // why not better pages, not bound or not locked; nil if all is as asked
}

// Memory does not change after New.
func (p *Pool) Memory() Memory {
	m := p.mapping
	return Memory{Bytes: m.Mapped, Pages: m.Kind.String(), Node: m.Node, Notes: m.Notes}
}
