// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// maxOwners is how many receivers can share a program: OWNERS in steer.bpf.c.
const maxOwners = 16

// programHash tells programs apart that cannot be shared: those of other object code, whose
// maps may have another layout.
func programHash() (hash [8]byte) {
	sum := sha256.Sum256(_SteerBytes)
	copy(hash[:], sum[:])
	return hash
}

// table says who has which queue of a program that several receivers share. It is a file in
// memory that all of them have mapped. Whoever reads or writes it holds its lock.
//
// Both the lock and the life of a receiver are locks on bytes of the file. The kernel takes
// them away when the receiver's descriptor is closed, however its process ends. They belong
// to an open file description (F_OFD_SETLK), and each receiver has one of its own. So
// several receivers of one process do not get into each other's way.
type table struct {
	fd      int
	mapping []byte
	header  *tableHeader
	queues  []uint32 // 1 + the owner of each queue; 0: none
}

// The bytes that are locked.
const (
	lockTable = 0 // by who reads or writes
	lockOwner = 1 // and following: by each receiver, while it lives
)

// newTable makes a table without owners.
func newTable(queues int) (_ *table, err error) {
	const name = "speadx-xdp"
	// Linux 6.3 knows the flag, and can be told to refuse files without it.
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if err := unix.Ftruncate(fd, int64(tableBytes(queues))); err != nil {
		return nil, err
	}
	// Nobody can make it shorter, so that the mapping always has a page behind it.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW); err != nil {
		return nil, err
	}
	t, err := mapTable(fd, queues)
	if err != nil {
		return nil, err
	}
	t.header.Program = programHash()
	t.header.Queues = uint32(queues)
	return t, nil
}

// openTable maps a table that another receiver has made. It takes fd over if it succeeds.
func openTable(fd, queues int) (*table, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil {
		return nil, err
	}
	if seals&unix.F_SEAL_SHRINK == 0 {
		return nil, errors.New("the table could be cut short")
	}
	if st.Size < int64(tableBytes(0)) {
		return nil, fmt.Errorf("the table has %d bytes", st.Size)
	}
	if st.Size != int64(tableBytes(queues)) {
		return nil, ErrOtherVersion
	}
	t, err := mapTable(fd, queues)
	if err != nil {
		return nil, err
	}
	if t.header.Program != programHash() || t.header.Queues != uint32(queues) {
		_ = unix.Munmap(t.mapping)
		return nil, ErrOtherVersion
	}
	return t, nil
}

func mapTable(fd, queues int) (*table, error) {
	mapping, err := unix.Mmap(fd, 0, tableBytes(queues), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	t := &table{fd: fd, mapping: mapping}
	t.header, t.queues = viewTable(mapping, queues)
	return t, nil
}

// reopen is another open file description of the table, for another receiver.
func (t *table) reopen() (int, error) {
	return unix.Open(fmt.Sprintf("/proc/thread-self/fd/%d", t.fd), unix.O_RDWR|unix.O_CLOEXEC, 0)
}

func (t *table) close() error {
	if t == nil || t.mapping == nil {
		return nil
	}
	err := errors.Join(unix.Munmap(t.mapping), unix.Close(t.fd))
	t.mapping, t.header, t.queues, t.fd = nil, nil, nil, -1
	return err
}

// lockLimit is for how long another process can hold the table's lock. It needs milliseconds,
// unless it is stopped.
const lockLimit = 5 * time.Second

// lock takes the lock of the table.
func (t *table) lock() error {
	deadline := time.Now().Add(lockLimit)
	for {
		err := t.setLock(lockTable, unix.F_WRLCK)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("lock the table of receivers: %w", err)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("another receiver on this interface holds the lock of their table for %v: is its process stopped? %v", lockLimit, t.list())
		}
		time.Sleep(200 * time.Microsecond)
	}
}

func (t *table) unlock() { _ = t.setLock(lockTable, unix.F_UNLCK) }

func (t *table) setLock(at int64, kind int16) error {
	return unix.FcntlFlock(uintptr(t.fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind, Start: at, Len: 1})
}

// alive reports whether another receiver lives. What is not known counts as alive.
func (t *table) alive(owner int) bool {
	l := unix.Flock_t{Type: unix.F_WRLCK, Start: lockOwner + int64(owner), Len: 1}
	err := unix.FcntlFlock(uintptr(t.fd), unix.F_OFD_GETLK, &l)
	return err != nil || l.Type != unix.F_UNLCK
}

// take makes this process one of the owners. The caller holds the lock, and has removed
// those that are dead.
func (t *table) take() (owner int, err error) {
	for i := range t.header.Owners {
		r := &t.header.Owners[i]
		if r.Used != 0 {
			continue
		}
		if err := t.setLock(lockOwner+int64(i), unix.F_WRLCK); err != nil {
			continue // it is being taken by a process that is about to die
		}
		*r = ownerRecord{Used: 1, PID: uint32(os.Getpid())}
		copy(r.Name[:len(r.Name)-1], processName())
		return i, nil
	}
	return 0, fmt.Errorf("%d receivers share this interface already, which is the most", maxOwners)
}

// owner says who an owner is.
func (t *table) owner(i int) Owner {
	r := &t.header.Owners[i]
	name, _, _ := bytes.Cut(r.Name[:], []byte{0})
	return Owner{PID: int(r.PID), Name: string(name)}
}

// list lists the owners that live.
func (t *table) list() (out []Owner) {
	for i := range t.header.Owners {
		if t.header.Owners[i].Used != 0 {
			out = append(out, t.owner(i))
		}
	}
	return out
}

// processName is what tools such as ps call this process.
func processName() string {
	if b, err := os.ReadFile("/proc/self/comm"); err == nil {
		return string(bytes.TrimSpace(b))
	}
	return filepath.Base(os.Args[0])
}
