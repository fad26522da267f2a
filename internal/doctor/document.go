// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"io"
	"strings"
)

//go:generate go run ./gen

// WriteDocument writes docs/doctor.md.
func WriteDocument(w io.Writer) error {
	var b strings.Builder
	b.WriteString("<!-- Written by go generate ./internal/doctor. Change internal/doctor instead. -->\n" + `
# speadx doctor

` + "`speadx doctor [-i IFACE] [SOURCE…]`" + ` looks at the machine and says what keeps it from receiving well. It changes nothing, attaches no program
and binds no AF_XDP socket.

- With ` + "`-i`" + ` it looks at these interfaces, and at the devices below a VLAN or a bond.
- With a SOURCE and without ` + "`-i`" + ` it looks at the interface that the route to the source leads to.
- With neither it looks at every interface that is up.
- With a SOURCE it listens for ` + "`--duration`" + `, 3 s by default. It joins the group of the source for that time. A packet socket
  with a filter gets a copy of each packet. Other programs lose none.

Each line has a status:

| status | meaning |
|---|---|
| ok | Nothing to do. |
| warn | Reception works. It is slower than it could be, or may lose packets. |
| fail | Packets are not received, or reception does not start. |
| unknown | The check could not see what it needs. The line says why, such as a missing capability. |

The line says what was read. With warn and fail, it also says what that costs and the command that mends it. A check that does not apply has
no line: a veth has no ring. The exit status is 1 if a check fails, 2 for wrong usage, and 0 otherwise.

Run it as the user that will receive. As another user it sees other capabilities and limits. Root sees the owners of all programs and queues.

## What each check looks at

In a command, IFACE is the interface, N a number, and PROGRAM the path of speadx. The report has the exact command.
`)
	area := ""
	for _, c := range Checks {
		if c.Area != area {
			area = c.Area
			fmt.Fprintf(&b, "\n### %s\n\n| check | what is read | warn | fail | what it costs | remedy |\n|---|---|---|---|---|---|\n", area)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", c.Code, c.Look, dash(c.Warn), dash(c.Fail), c.Cost, c.Fix)
	}
	b.WriteString(`
The hugepages check takes the defaults of ` + "`recv`" + ` and the largest heap that was seen. Its figures are estimates. ` + "`speadx recv`" + ` prints the exact ones.

## Queues

The queue of a packet comes from the kernel, which keeps the number that the driver gave. Not every driver gives one: the report then has
those packets in ` + "`no_queue`" + `. For each sender the queue is computed as well, from the steering rules and from the RSS key, table and fields of
the card (Toeplitz). A card with another hash has no such line.

Which queues AF_XDP sockets are bound to is known since Linux 6.15, or with a kernel built with CONFIG_XDP_SOCKETS_DIAG. Only the latter
tells which socket it is. Without it the owner of a queue is taken to be the process that holds the XDP program of the interface. If there is no
program, it is the process that has AF_XDP sockets, where there is one such process.

## Packets that doctor cannot see

An XDP program sees packets before a packet socket does. While ` + "`speadx recv`" + ` runs, its packets do not reach doctor. The check ` + "`traffic`" + ` is then
unknown, and the totals of the receiver tell what arrives. Packets for which the packet sockets have no room are counted as ` + "`unseen`" + `; rates and
sizes are then those of the others.

## JSON

` + "`--format json`" + ` prints one object:

| key | meaning |
|---|---|
| ` + "`checks`" + ` | a list: ` + "`code`, `status`, `interface`, `source`, `read`, `cost`, `fix`" + `. Keys without a value are left out. Codes and statuses are stable, the sentences are not. |
| ` + "`sources`" + ` | what was seen of each SOURCE on each interface |
| ` + "`command`" + ` | the ` + "`recv`" + ` command that would receive the sources |
| ` + "`counts`" + ` | how many checks have each status |

A source has these keys:

| key | meaning |
|---|---|
| ` + "`source`, `interface`" + ` | as they were named |
| ` + "`error`" + ` | why nothing could be seen |
| ` + "`seconds`" + ` | how long doctor listened |
| ` + "`packets`, `bytes`, `bits_per_second`" + ` | UDP packets and their payload |
| ` + "`min_packet`, `max_packet`" + ` | bytes of payload of the smallest and the largest packet |
| ` + "`unseen`" + ` | packets of all sources for which there was no room |
| ` + "`fragments`" + ` | IP fragments that name the port |
| ` + "`vlans`, `queues`" + ` | packets by VLAN and by receive queue |
| ` + "`no_queue`" + ` | packets whose queue is not known |
| ` + "`senders`" + ` | the first 64: ` + "`address`, `to`, `packets`, `queues`" + `, and ` + "`planned_queues`" + `, which the settings of the card give them |
| ` + "`more_senders`" + ` | packets of further senders |
| ` + "`spead`, `flavours`" + ` | packets that are SPEAD, in all and by flavour |
| ` + "`foreign`" + ` | the others, by what is wrong |
| ` + "`heap_size`" + ` | the largest heap length, in bytes |
| ` + "`unsized`" + ` | packets that do not tell the length of their heap |
| ` + "`heaps`" + ` | heaps that packets were seen of, up to 4096 |
| ` + "`colliding`" + ` | whether two senders use one heap count |
`)
	_, err := io.WriteString(w, b.String())
	return err
}

func dash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}
