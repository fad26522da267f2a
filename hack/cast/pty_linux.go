// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// record runs a command in a terminal of the given size until the command ends. Its
// error is the command's own if that fails.
func record(cmd *exec.Cmd, columns, rows int) ([]chunk, error) {
	master, terminal, err := openTerminal(columns, rows)
	if err != nil {
		return nil, err
	}
	defer master.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = cmd.Start()
	terminal.Close()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	var chunks []chunk
	buf := make([]byte, 4096)
	for {
		n, err := master.Read(buf)
		if n > 0 {
			chunks = append(chunks, chunk{time.Since(began), append([]byte(nil), buf[:n]...)})
		}
		if errors.Is(err, syscall.EIO) { // no process has the terminal open any more: tty_ioctl(4)
			break
		}
		if err != nil {
			cmd.Process.Kill()
			cmd.Wait()
			return nil, err
		}
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("%s: %w", cmd.Path, err)
	}
	return chunks, nil
}

// openTerminal opens both ends of a new pseudoterminal: pts(4).
func openTerminal(columns, rows int) (master, terminal *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(master.Fd())
	number, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(columns)})
	}
	if err == nil {
		terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
		return nil, nil, fmt.Errorf("opening a pseudoterminal: %w", err)
	}
	return master, terminal, nil
}
