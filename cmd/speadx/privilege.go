// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/internal/privilege"
)

// confine is called before anything is opened.
func confine() error {
	if !ownProcess {
		return nil
	}
	return privilege.Confine()
}

// dropPrivileges is called when everything is open. What is kept is printed.
func (o *operateFlags) dropPrivileges(w io.Writer, xdp bool) error {
	if !ownProcess {
		return nil
	}
	var keep []privilege.Capability
	if xdp {
		keep = privilege.ForClosing()
	}
	if o.keepCapabilities {
		keep = append(keep, privilege.ForControl()...)
	}
	left, err := privilege.Drop(keep...)
	if err != nil {
		return fmt.Errorf("give up capabilities: %w", err)
	}
	if len(left) > 0 {
		fmt.Fprintf(w, "keeps %s\n", strings.Join(left, ", "))
	}
	return nil
}

// hastenConsumer locks the calling goroutine to its thread, and gives the thread a high
// priority: the consumer comes right behind the receiving threads, for if it is late the
// ring fills up. Without the privilege the thread stays as it is.
func hastenConsumer() (undo func()) {
	runtime.LockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), consumerNice)
	return runtime.UnlockOSThread
}
