// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/speadx/speadx/internal/top"
)

const topLong = `Show a receiver that runs, here or on another machine, in this terminal: its rates,
the path of the packets with the losses at each stage, its streams, queues and
threads, and what it has found wrong. It is read once a second from the /status
that recv --metrics serves. q or Ctrl-C ends it.

Slots of the pool are shown as 1<5/8: 1 is in use, 5 were at most, of 8. Streams,
queues and threads with problems come first.

URL is the address of --metrics: host:port, http://host:port or https://host:port,
also with USER:PASSWORD@ before the host.

Where the output is not a terminal, or with --once, the state is printed once.

Exit status: 0, 1 if the receiver does not answer at first, 2 for wrong usage.`

func newTopCommand() *cobra.Command {
	var once bool
	var ca string
	cmd := &cobra.Command{
		Use:     "top URL",
		Short:   "Show a running receiver in the terminal",
		Long:    topLong,
		Example: "  speadx top localhost:9717",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("top takes one address of a receiver, as in localhost:9717, and %d were given", len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := top.ParseURL(args[0])
			if err != nil {
				return usageError{err}
			}
			c, err := top.NewClient(u, ca)
			if err != nil {
				return usageError{err}
			}
			defer c.Close()
			out, ok := cmd.OutOrStdout().(*os.File)
			if once || !ok || !isTerminal(out) {
				ctx, stop := untilSignal(cmd.Context(), true)
				defer stop()
				return top.Once(ctx, c, cmd.OutOrStdout(), time.Second)
			}
			if os.Getenv("TERM") == "dumb" {
				return errors.New("the terminal cannot show pictures (TERM=dumb): use --once")
			}
			s := top.Screen{In: os.Stdin, Out: out, Colour: os.Getenv("NO_COLOR") == ""}
			return s.Show(cmd.Context(), c)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "print the state once, as text")
	cmd.Flags().StringVar(&ca, "ca", "", "trust the certificates in `FILE` too (PEM), where the receiver uses TLS")
	return cmd
}
