// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/speadx/speadx/hack/vm/matrix"
)

// machine is an emulated machine: its cards and the wires between them.
type machine struct {
	wires []matrix.Wire
	args  []string // of the emulator
	taps  []tap
	ports int // of the PCI root
}

// tap is a tap device of the host that a card is connected to.
type tap struct {
	name   string
	queues int
}

// newMachine has a wire for each kind of card that is named.
func newMachine(nics []string) (*machine, error) {
	m := &machine{}
	for i, name := range nics {
		k := slices.IndexFunc(matrix.NICs, func(n matrix.NIC) bool { return n.Name == name })
		if k < 0 {
			return nil, fmt.Errorf("no emulated card is called %q", name)
		}
		m.addWire(matrix.NICs[k], i)
	}
	return m, nil
}

func (m *machine) addWire(nic matrix.NIC, i int) {
	w := matrix.Wire{
		NIC: nic.Name, Device: fmt.Sprintf("rx%d", i),
		Receiver: fmt.Sprintf("52:54:00:01:%02x:01", i), Sender: fmt.Sprintf("52:54:00:01:%02x:02", i),
	}
	m.wires = append(m.wires, w)
	receiver, sender := fmt.Sprintf("net%d", i), fmt.Sprintf("net%ds", i)
	if nic.Tap {
		for end, name := range []string{receiver, sender} {
			t := tap{name: name, queues: 1}
			if end == 0 {
				t.queues = nic.Queues
			}
			m.taps = append(m.taps, t)
			arg := fmt.Sprintf("tap,id=%s,ifname=%s,script=no,downscript=no,vhost=off", name, name)
			if t.queues > 1 {
				arg += fmt.Sprintf(",queues=%d", t.queues)
			}
			m.args = append(m.args, "-netdev", arg)
		}
	} else {
		for _, name := range []string{receiver, sender} {
			m.args = append(m.args, "-netdev", fmt.Sprintf("hubport,id=%s,hubid=%d", name, i+1))
		}
	}
	m.addCard(nic.Emulator, receiver, w.Receiver, w.Device)
	// The sender's card is of the simplest kind: it must not be what a test finds out about.
	m.addCard("virtio-net-pci", sender, w.Sender, w.Device+"s")
}

// addCard puts a card behind a root port of its own, which igb demands.
func (m *machine) addCard(model, netdev, mac, id string) {
	m.ports++
	port := fmt.Sprintf("port%d", m.ports)
	model, options, _ := strings.Cut(model, ",")
	if options != "" {
		options = "," + options
	}
	m.args = append(m.args,
		"-device", fmt.Sprintf("pcie-root-port,id=%s,chassis=%d", port, m.ports),
		"-device", fmt.Sprintf("%s,bus=%s,netdev=%s,mac=%s,id=%s%s", model, port, netdev, mac, id, options))
}
