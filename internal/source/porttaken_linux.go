// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// PortTakenBy says who has a port of network, udp or tcp, as far as /proc shows
// it: processes of other users show their sockets to root only.
func PortTakenBy(network string, port int) string {
	text := fmt.Sprintf("port %d is taken", port)
	inodes := socketInodes(network, port)
	if len(inodes) == 0 {
		return text
	}
	if holders := socketHolders(inodes); len(holders) > 0 {
		return text + " by " + strings.Join(holders, ", ")
	}
	return fmt.Sprintf("%s; ss -%.1slpn shows by whom", text, network)
}

// socketInodes are the inodes of the sockets bound to port in the network
// namespace of the calling thread.
func socketInodes(network string, port int) []string {
	var inodes []string
	for _, file := range []string{network, network + "6"} {
		f, err := os.Open("/proc/thread-self/net/" + file)
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			// sl local_address rem_address st queues tr:when retrnsmt uid timeout inode …
			fields := strings.Fields(lines.Text())
			if len(fields) < 10 {
				continue
			}
			_, digits, _ := strings.Cut(fields[1], ":")
			// What a closed connection leaves behind has the inode 0.
			if p, err := strconv.ParseUint(digits, 16, 16); err == nil && int(p) == port && fields[9] != "0" {
				inodes = append(inodes, fields[9])
			}
		}
		f.Close()
	}
	return inodes
}

// socketHolders names the processes that have one of the sockets open.
func socketHolders(inodes []string) []string {
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	var holders []string
	for _, dir := range processes {
		fds, err := os.ReadDir(filepath.Join(dir, "fd"))
		if err != nil {
			continue
		}
		for _, fd := range fds {
			target, err := os.Readlink(filepath.Join(dir, "fd", fd.Name()))
			if err != nil {
				continue
			}
			inode, isSocket := strings.CutPrefix(target, "socket:[")
			if !isSocket || !slices.Contains(inodes, strings.TrimSuffix(inode, "]")) {
				continue
			}
			holders = append(holders, processName(dir))
			break
		}
	}
	return holders
}

func processName(dir string) string {
	pid := filepath.Base(dir)
	if pid == strconv.Itoa(os.Getpid()) {
		return "this process"
	}
	comm, err := os.ReadFile(filepath.Join(dir, "comm"))
	if err != nil {
		return "process " + pid
	}
	return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(comm)), pid)
}
