// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/speadx/speadx/internal/control"
	"github.com/speadx/speadx/internal/settings"
)

const controlLong = `Ask a running 'speadx recv --control PATH' for something, and print its reply, a
JSON object in a line.

  add SOURCE     receive SOURCE; with --stream as part of that stream, else as a
                 new one, for which recv needs --spare-streams
  remove SOURCE  receive it no more
  list           print what is received, by stream
  status         print counters

Exit status: 0, 1 for an error or if recv refuses, 2 for wrong usage.`

// replyTime is how long a reply may take. recv works off what came for an endpoint that it
// removes, for a second at most.
const replyTime = 30 * time.Second

func newControlCommand() *cobra.Command {
	var stream string
	cmd := &cobra.Command{
		Use:   "control PATH add|remove|list|status [SOURCE]",
		Short: "Add and remove sources of a running receiver",
		Long:  controlLong,
		Example: `  speadx control /run/speadx.sock add --stream beam 239.1.2.4:7148
  speadx control /run/speadx.sock list`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usageError{fmt.Errorf("a path and what to do are required: one of %s", strings.Join(control.Ops, ", "))}
			}
			op, sources := args[1], len(args)-2
			needs := 0
			if op == control.OpAdd || op == control.OpRemove {
				needs = 1
			}
			switch {
			case !slices.Contains(control.Ops, op):
				return usageError{fmt.Errorf("there is no %q%s", op, settings.DidYouMean(op, control.Ops))}
			case sources != needs:
				return usageError{fmt.Errorf("%s takes %d sources, not %d", op, needs, sources)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			q := control.Request{Op: args[1], Stream: stream}
			if len(args) > 2 {
				q.Source = args[2]
			}
			return ask(cmd.OutOrStdout(), args[0], q)
		},
	}
	cmd.Flags().StringVar(&stream, "stream", "", "the `NAME` of the stream that the source belongs to")
	return cmd
}

// ask sends a request and prints the reply.
func ask(w io.Writer, path string, q control.Request) error {
	c, err := net.Dial("unix", path)
	if err != nil {
		var call *os.SyscallError
		if errors.As(err, &call) {
			err = call.Err
		}
		return fmt.Errorf("control socket %s: %w (is 'speadx recv --control %s' running, as your user?)", path, err, path)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(replyTime)); err != nil {
		return err
	}
	b, err := json.Marshal(q)
	if err != nil {
		return err
	}
	// If it fails, a reply may say why.
	_, failed := c.Write(append(b, '\n'))
	line, err := bufio.NewReader(c).ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("control socket %s gave no reply: %w", path, errors.Join(failed, err))
	}
	var r control.Reply
	if err := json.Unmarshal(line, &r); err != nil {
		return fmt.Errorf("control socket %s: the reply %q is none: %w", path, bytes.TrimSpace(line), err)
	}
	if !r.OK {
		return errors.New(r.Error)
	}
	_, err = w.Write(line)
	return err
}
