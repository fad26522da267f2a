// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"fmt"
	"strings"
)

// Choice says which pages to ask for. The zero value takes the best there are.
type Choice uint8

const (
	Auto   Choice = iota // the largest the machine has: 1G, else 2M, else thp, else 4K
	Page1G               // hugetlb pages of 1 GiB, or an error
	Page2M               // hugetlb pages of 2 MiB, or an error
	THP                  // transparent huge pages throughout, or an error
	Off                  // ordinary pages, even where the kernel would give huge ones unasked
)

var choiceNames = [...]string{Auto: "auto", Page1G: "1G", Page2M: "2M", THP: "thp", Off: "off"}

// String returns the name [ParseChoice] reads.
func (c Choice) String() string {
	if int(c) < len(choiceNames) {
		return choiceNames[c]
	}
	return fmt.Sprintf("Choice(%d)", uint8(c))
}

// ParseChoice reads one of auto, 1G, 2M, thp and off, in upper or lower case.
func ParseChoice(s string) (Choice, error) {
	for c, name := range choiceNames {
		if strings.EqualFold(s, name) {
			return Choice(c), nil
		}
	}
	return Auto, fmt.Errorf("huge pages %q are not one of %s", s, strings.Join(choiceNames[:], ", "))
}

// Kind is the sort of pages a mapping got.
type Kind uint8

const (
	Kind4K  Kind = iota // ordinary pages; their size is [Mapping.PageBytes], 4 KiB on most machines
	KindTHP             // transparent huge pages throughout
	Kind2M              // hugetlb pages of 2 MiB
	Kind1G              // hugetlb pages of 1 GiB
)

var kindNames = [...]string{Kind4K: "4K", KindTHP: "thp", Kind2M: "2M", Kind1G: "1G"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}
