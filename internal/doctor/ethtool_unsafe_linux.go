// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtoolRequest is a struct ifreq whose union is the address of the request.
type ethtoolRequest struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [16]byte
}

// Does not compile if it is not as large as the kernel's.
var _ [40]byte = [unsafe.Sizeof(ethtoolRequest{})]byte{}

// ethtool makes the request in data, which begins with its command, of the interface. The
// kernel reads and writes data, and no more of it than the sizes in it say: data must be
// as long.
func ethtool(fd int, name string, data []byte) error {
	r := ethtoolRequest{data: unsafe.Pointer(&data[0])}
	copy(r.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&r)))
	runtime.KeepAlive(data)
	if errno != 0 {
		return errno
	}
	return nil
}
