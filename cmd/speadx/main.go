// SPDX-License-Identifier: Apache-2.0

// Speadx receives SPEAD streams from a network interface through AF_XDP, and
// sends them for tests.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit statuses.
const (
	exitError = 1 // something failed, or a verification did
	exitUsage = 2 // the command line asks for something that cannot be
	exitAmiss = 3 // --strict or --expect-heaps found something amiss
)

// ownProcess says that the process is the program's alone, and ends with it. A test that
// runs the program within its own process must keep its privileges.
var ownProcess bool

// run is the program: it returns the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	// Who reads our output may go away first, as head does. A write then fails,
	// and what is under way ends in good order, instead of the process at once.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGXFSZ)
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(context.Background())
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "speadx: %s\n", message(err))
	if errors.As(err, &usageError{}) {
		fmt.Fprintf(stderr, "'%s --help' shows what there is.\n", cmd.CommandPath())
		return exitUsage
	}
	if errors.Is(err, errAmiss) {
		return exitAmiss
	}
	return exitError
}

// message is an error's text, without the name of the library, which is the
// program's, or of its package for the wire format.
func message(err error) string {
	var file *fs.PathError // and no connection
	if errors.As(err, &file) && errors.Is(file, syscall.EPIPE) {
		return "standard output was closed by its reader"
	}
	return strings.TrimPrefix(strings.TrimPrefix(err.Error(), "speadx: "), "spead: ")
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "speadx",
		Short: "Receive SPEAD streams at the speed of the network interface",
		Long: `speadx receives SPEAD, the protocol in which radio telescopes stream their data:
it takes UDP packets off a network interface through AF_XDP, past the kernel's
network stack, puts them together into heaps in a pool of huge pages, and says
of every packet what became of it.`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{unknownCommand(cmd, args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError{flagError(cmd.Flags(), err)} })
	root.AddCommand(newRecvCommand(), newSendCommand(), newDemoCommand(), newBenchCommand(), newConfigCommand(), newTopCommand(), newPlanCommand(), newDoctorCommand(), newControlCommand(), newVersionCommand())
	return root
}

// unknownCommand says which commands there are.
func unknownCommand(root *cobra.Command, name string) error {
	var names []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return fmt.Errorf("unknown command %q (there are: %s)", name, strings.Join(names, ", "))
}
