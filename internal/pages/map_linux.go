// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	size1G = 1 << 30
	size2M = 2 << 20
)

// Map maps size bytes of zeroed memory, touched, bound and locked as far as o
// asks and the machine grants. Pages larger than 2 MiB are chosen by Auto only
// if size fills at least half of one.
//
// The error wraps [ErrMemory] where memory is short. Where only hugetlb pages
// are, it names how many are needed and free and the command that reserves them.
func Map(size int, o Options) (*Mapping, error) { return machine.mapMemory(size, o) }

func (k *kernel) mapMemory(size int, o Options) (*Mapping, error) {
	m, err := k.climb(size, o)
	if err != nil {
		return nil, fmt.Errorf("map %s for %s: %w", Human(size), o.Name, err)
	}
	return m, nil
}

// climb goes down the ladder from the best rung o allows.
func (k *kernel) climb(size int, o Options) (*Mapping, error) {
	if size <= 0 {
		return nil, fmt.Errorf("a size of %d bytes is not positive", size)
	}
	if o.No1G && o.Choice == Page1G {
		o.Choice = Page2M
	}
	switch o.Choice {
	case Page1G:
		return k.mapHuge(size, Kind1G, o)
	case Page2M:
		return k.mapHuge(size, Kind2M, o)
	case THP, Off:
		return k.mapNormal(size, o)
	case Auto:
	default:
		return nil, fmt.Errorf("unknown choice of pages %v", o.Choice)
	}

	var notes []string
	for _, kind := range []Kind{Kind1G, Kind2M} {
		if kind == Kind1G && o.No1G {
			continue
		}
		m, err := k.mapHuge(size, kind, o)
		if err == nil {
			m.Notes = append(notes, m.Notes...)
			return m, nil
		}
		if s := (*stopped)(nil); errors.As(err, &s) {
			return nil, err
		}
		notes = append(notes, err.Error())
	}
	m, err := k.mapNormal(size, o)
	if err != nil {
		return nil, err
	}
	m.Notes = append(notes, m.Notes...)
	return m, nil
}

// mapHuge maps hugetlb pages. The kernel reserves them at mmap, so an empty
// pool is an error there and then; MAP_NORESERVE, which would put it off to
// the first touch, is not set.
func (k *kernel) mapHuge(size int, kind Kind, o Options) (*Mapping, error) {
	page, flag := size2M, unix.MAP_HUGE_2MB
	if kind == Kind1G {
		page, flag = size1G, unix.MAP_HUGE_1GB
	}
	if o.Choice == Auto && wasteful(size, page) {
		return nil, fmt.Errorf("%v pages: %s would not fill half a page", kind, Human(size))
	}
	mapped, ok := roundUp(size, page)
	if !ok {
		return nil, tooLarge(size)
	}
	need := mapped / page
	have, err := k.hugePages(page, o.Node)
	if err != nil {
		return nil, fmt.Errorf("%v pages: %s: %w", kind, absent("the kernel has none of this size", err), err)
	}
	if have.usable < need {
		return nil, fmt.Errorf("%v pages: %d needed, %d free%s (echo %d > %s)",
			kind, need, have.usable, have.where, have.total+need-have.usable, have.path)
	}
	region, err := k.mmap(mapped, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_HUGETLB|flag)
	if err != nil {
		return nil, fmt.Errorf("%v pages: mmap of %d pages, %d free%s: %w%s", kind, need, have.usable, have.where, err, cgroupHint(err))
	}
	m := &Mapping{
		Bytes: region[:size:size], Kind: kind, PageBytes: page, Mapped: mapped, Node: -1,
		region: region, munmap: k.munmap,
	}
	k.bind(m, region, o.Node)
	if err := k.populateAll(region, page, o); err != nil {
		what := fmt.Sprintf("%v pages: touching %d pages, %d free%s%s", kind, need, have.usable, have.where, cgroupHint(err))
		return nil, errors.Join(touchError(what, err), m.Unmap())
	}
	return m, nil
}

// mapNormal maps ordinary memory: transparent huge pages if o asks for them or
// for the best there is, else single pages.
//
// The memory lies between two inaccessible guards. They catch a write past the
// end, and keep the kernel from merging the mapping with a neighbour, so that
// smaps counts its huge pages and no others:
//
//	region: PROT_NONE ...|--- Mapped, aligned to unit ---|... PROT_NONE
func (k *kernel) mapNormal(size int, o Options) (*Mapping, error) {
	unit, tryTHP := k.pageSize, o.Choice != Off
	var noTHP error
	if tryTHP {
		huge, err := k.thpSize()
		if err == nil && o.Choice == Auto && wasteful(size, huge) {
			err = fmt.Errorf("%s would not fill half a page of %s", Human(size), Human(huge))
		}
		switch {
		case err == nil:
			unit = huge
		case o.Choice == THP:
			return nil, fmt.Errorf("transparent huge pages: %w", err)
		default:
			tryTHP, noTHP = false, err
		}
	}

	mapped, ok := roundUp(size, unit)
	length := mapped + 2*unit
	if !ok || length < mapped {
		return nil, tooLarge(size)
	}
	if err := k.roomFor(mapped); err != nil {
		return nil, err
	}
	region, err := k.mmap(length, unix.PROT_NONE, unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	// At least one page of guard before, and as length has two units to
	// spare, at least one behind.
	first := address(region) + uintptr(k.pageSize)
	skip := k.pageSize + int(-first&uintptr(unit-1))
	b := region[skip : skip+mapped]
	m := &Mapping{
		Bytes: b[:size:size], Kind: Kind4K, PageBytes: k.pageSize, Mapped: mapped, Node: -1,
		region: region, munmap: k.munmap, allow: k.allow,
	}
	if noTHP != nil {
		m.note("transparent huge pages: %v", noTHP)
	}
	if err := k.settle(m, b, unit, tryTHP, o); err != nil {
		return nil, errors.Join(err, m.Unmap())
	}
	return m, nil
}

// allow lets memory be read and written, or not.
func (k *kernel) allow(b []byte, yes bool) error {
	prot := unix.PROT_NONE
	if yes {
		prot = unix.PROT_READ | unix.PROT_WRITE
	}
	if err := k.mprotect(b, prot); err != nil {
		return fmt.Errorf("mprotect: %w", err)
	}
	return nil
}

// settle turns the reserved addresses b into memory: accessible, on the right
// pages and node, touched and locked.
func (k *kernel) settle(m *Mapping, b []byte, unit int, tryTHP bool, o Options) error {
	if err := k.mprotect(b, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		return fmt.Errorf("mprotect: %w", err)
	}
	advice := unix.MADV_NOHUGEPAGE
	if tryTHP {
		advice = unix.MADV_HUGEPAGE
	}
	// EINVAL: a kernel without transparent huge pages. Where they are wanted,
	// counting them below finds that out.
	if err := k.madvise(b, advice); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("madvise: %w", err)
	}
	if o.Node >= 0 && k.nodeShort(o.Node, len(b)) {
		// Strictly bound to a node that cannot hold them, touching the pages
		// would wake the out-of-memory killer.
		k.prefer(m, b, o.Node, "it has not enough free memory")
	} else {
		k.bind(m, b, o.Node)
	}
	if err := k.populateAll(b, k.pageSize, o); err != nil {
		return touchError("touching the pages", err)
	}
	if tryTHP {
		if err := k.verifyTHP(b, unit, o); err == nil {
			m.Kind, m.PageBytes = KindTHP, unit
		} else if s := (*stopped)(nil); errors.As(err, &s) {
			return err
		} else if o.Choice == THP {
			return fmt.Errorf("transparent huge pages: %w", err)
		} else {
			m.note("transparent huge pages: %v", err)
		}
	}
	if o.Lock {
		k.lock(m, b)
	}
	return nil
}

// wasteful reports whether size leaves more than half of its only page empty, and
// the page is one of those worth sparing.
func wasteful(size, page int) bool { return page > size2M && size < page/2 }

func tooLarge(size int) error {
	return fmt.Errorf("%w: %d bytes exceed the address space", ErrMemory, size)
}

// cgroupHint names the one likely cause of hugetlb pages that are free and yet
// refused.
func cgroupHint(err error) string {
	if errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EFAULT) {
		return " (a hugetlb limit of the cgroup, or another process took them)"
	}
	return ""
}

func (m *Mapping) note(format string, args ...any) {
	m.Notes = append(m.Notes, fmt.Sprintf(format, args...))
}
