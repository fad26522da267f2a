// SPDX-License-Identifier: Apache-2.0

package blast

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapBlastState maps the memory that the program and user space share.
func mapBlastState(fd int) (*blastState, []byte, error) {
	mapping, err := unix.Mmap(fd, 0, int(unsafe.Sizeof(blastState{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, err
	}
	return (*blastState)(unsafe.Pointer(unsafe.SliceData(mapping))), mapping, nil // page-aligned, and as long
}

// runAttr is the struct test of union bpf_attr, include/uapi/linux/bpf.h.
type runAttr struct {
	progFD, retval              uint32
	dataSizeIn, dataSizeOut     uint32
	dataIn, dataOut             uint64
	repeat, duration            uint32
	contextSizeIn, contextOut   uint32
	contextIn, contextOutTo     uint64
	flags, cpu, batchSize, zero uint32
}

// Does not compile if Go's layout stops matching the kernel's.
var _ [80]byte = [unsafe.Sizeof(runAttr{})]byte{}

// runLive gives copies of frame to a program. Unlike [ebpf.Program.Run] it returns
// when a signal comes, and does not begin again.
func runLive(fd int, frame []byte, repeat, batch uint32) error {
	attr := runAttr{
		progFD:     uint32(fd),
		dataSizeIn: uint32(len(frame)),
		dataIn:     uint64(uintptr(unsafe.Pointer(unsafe.SliceData(frame)))),
		repeat:     repeat,
		flags:      unix.BPF_F_TEST_XDP_LIVE_FRAMES,
		batchSize:  batch,
	}
	_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_RUN, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(frame)
	if errno != 0 {
		return errno
	}
	return nil
}
