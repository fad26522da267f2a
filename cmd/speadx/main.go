// Speadx receives SPEAD streams from a network interface through AF_XDP, and
// sends them for tests.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// version is set when a release is built.
var version = "devel"

// Exit statuses.
const (
	exitError = 1 // something failed, or a verification did
	exitUsage = 2 // the command line asks for something that cannot be
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	root := newRootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "speadx: %s\n", withoutPrefix(err))
	if errors.As(err, &usageError{}) {
		fmt.Fprintln(os.Stderr, "Run 'speadx help' or add --help for what there is.")
		return exitUsage
	}
	return exitError
}

// withoutPrefix is an error's text without the name of the library, which is
// the program's.
func withoutPrefix(err error) string {
	const prefix = "speadx: "
	if s := err.Error(); len(s) > len(prefix) && s[:len(prefix)] == prefix {
		return s[len(prefix):]
	}
	return err.Error()
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
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newRecvCommand(), newSendCommand(), newDemoCommand())
	return root
}
