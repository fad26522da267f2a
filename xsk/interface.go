// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/speadx/speadx/pool"
)

// Attacher is the XDP program that steers packets into sockets, with its map of
// them.
type Attacher interface {
	// Attach puts the program on the interface until the Closer is closed, in
	// native mode for ModeZeroCopy and ModeNative. The program takes packets of several
	// buffers where the kernel knows them: drivers then attach it at a larger MTU. Its
	// map of sockets is empty. The error names the likely remedy.
	Attach(mode Mode) (io.Closer, error)
	// SetSocket makes the program steer packets of a queue into the socket.
	SetSocket(queue, fd int) error
	// ClearSocket makes it leave them to the kernel again. That there is no
	// socket is not an error.
	ClearSocket(queue int) error
}

// Claimer is an [Attacher] whose program others can share. Claim makes queues its own, before
// they are opened; the error names who has one of them. It may be called again.
type Claimer interface {
	Claim(queues []int) error
}

// Features are what the driver says of itself (netdev generic netlink, kernel
// 6.3). They can spare the attempt of a mode that cannot work.
type Features struct {
	Native     bool // runs XDP programs (NETDEV_XDP_ACT_BASIC)
	Redirect   bool // passes their packets to sockets (NETDEV_XDP_ACT_REDIRECT)
	ZeroCopy   bool // NETDEV_XDP_ACT_XSK_ZEROCOPY
	ZCMaxChain int  // most frames of a packet in zero-copy (xdp-zc-max-segs); 0: unknown
}

// InterfaceConfig says which queues [OpenInterface] shall open, and how.
type InterfaceConfig struct {
	Ifindex  int
	Ifname   string
	Driver   string // of the interface, for hints; "": unknown
	MTU      int    // of the interface; 0: unknown, taken for large
	Want     Want
	Features *Features // nil: unknown
	// Offloads are the receive offloads that are on and keep drivers from native XDP, by
	// the names of ethtool -K.
	Offloads []string

	// Queues are the queues to open; nil: all, of which CountQueues tells the number. It
	// is asked when the program is attached, since a driver may then receive on more
	// queues than before: virtio_net adds one for each processor.
	Queues      []int
	CountQueues func() int

	// For every queue: see [Config].
	Frames   int
	MaxChain int
	Wait     Wait
	Pages    pool.Pages
	Node     int
	Touched  func(bytes, of int) error
}

// Rung is one step of the ladder of modes.
type Rung struct {
	Mode        Mode
	MultiBuffer bool
	Err         error // why it is not the one in use; nil for the one that is
}

// Name says the rung in words.
func (r Rung) Name() string {
	if r.MultiBuffer {
		return r.Mode.String() + " with multi-buffer"
	}
	return r.Mode.String()
}

// Reason is Err in words, without what all rungs have in common: who says it, and
// of which interface. It is "" for the rung in use.
func (r Rung) Reason() string {
	var e *OpenError
	switch {
	case r.Err == nil:
		return ""
	case errors.As(r.Err, &e):
		return e.reason("")
	}
	return r.Err.Error()
}

// Cause is why the rung is not in use; "" for the one that is.
func (r Rung) Cause() Cause {
	var known *CauseError
	var e *OpenError
	switch {
	case r.Err == nil:
		return ""
	case errors.As(r.Err, &known):
		return known.Cause
	case errors.As(r.Err, &e) && e.Step == StepAttach:
		return AttachRefused
	case errors.As(r.Err, &e) && e.Step == StepBind:
		return BindRefused
	}
	return Failed
}

// Interface is an interface with an XDP program attached and its queues open, all
// on the same rung. It belongs to one goroutine; the queues have theirs.
type Interface struct {
	config   InterfaceConfig
	attacher Attacher
	rungs    []Rung
	link     io.Closer
	queues   []*Queue
	enabled  []int // queues whose socket is in the map
}

// OpenInterface attaches the program and opens the queues in the best wanted mode
// that works for all of them. What a rung had opened is closed again before the
// next is tried. If none works the error is a [*LadderError]; where the reason has
// nothing to do with the mode it is at once an [*OpenError].
//
// No packets arrive before Enable.
func OpenInterface(c InterfaceConfig, a Attacher) (*Interface, error) {
	return openInterface(c, a, linux)
}

func openInterface(c InterfaceConfig, a Attacher, sys *system) (*Interface, error) {
	if c.Ifname == "" {
		c.Ifname = fmt.Sprintf("interface %d", c.Ifindex)
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	i := &Interface{config: c, attacher: a}
	for _, r := range c.ladder(sys.multiBuffer()) {
		if r.Err == nil {
			r.Err = i.climb(r, sys)
		}
		i.rungs = append(i.rungs, r)
		if r.Err == nil {
			return i, nil
		}
		if final(r.Err) {
			return nil, r.Err
		}
	}
	return nil, &LadderError{Iface: c.Ifname, Rungs: i.rungs}
}

func (c *InterfaceConfig) check() error {
	if c.Queues == nil && c.CountQueues != nil {
		config := c.queue(0, Rung{})
		if err := config.check(); err != nil {
			return err
		}
	} else if len(c.Queues) == 0 {
		return c.failed(StepConfig, errors.New("no queues"), "")
	}
	if c.Want > WantGeneric {
		return c.failed(StepConfig, fmt.Errorf("unknown %v", c.Want), "")
	}
	for n, queue := range c.Queues {
		if slices.Contains(c.Queues[:n], queue) {
			return c.failed(StepConfig, fmt.Errorf("queue %d stands twice", queue), "")
		}
		config := c.queue(queue, Rung{})
		if err := config.check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *InterfaceConfig) failed(step string, err error, hint string) *OpenError {
	return &OpenError{Step: step, Iface: c.Ifname, Queue: -1, Err: err, Hint: hint}
}

// queue is the configuration of one queue on a rung.
func (c *InterfaceConfig) queue(queue int, r Rung) Config {
	return Config{
		Ifindex:     c.Ifindex,
		Ifname:      c.Ifname,
		Driver:      c.Driver,
		Queue:       queue,
		Frames:      c.Frames,
		Mode:        r.Mode,
		MultiBuffer: r.MultiBuffer,
		MaxChain:    c.MaxChain,
		Wait:        c.Wait,
		Pages:       c.Pages,
		Node:        c.Node,
		Touched:     c.Touched,
	}
}

// climb opens everything on one rung, or nothing.
func (i *Interface) climb(r Rung, sys *system) error {
	link, err := i.attacher.Attach(r.Mode)
	if err != nil {
		return i.config.failed(StepAttach, err, "")
	}
	i.link = link
	queues := i.config.Queues
	if queues == nil {
		for q := range max(i.config.CountQueues(), 1) {
			queues = append(queues, q)
		}
	}
	if c, ok := i.attacher.(Claimer); ok {
		if err := c.Claim(queues); err != nil {
			_ = i.Close()
			return i.config.failed(StepClaim, err, "")
		}
	}
	for _, queue := range queues {
		q, err := open(i.config.queue(queue, r), sys)
		if err != nil {
			_ = i.Close()
			return err
		}
		i.queues = append(i.queues, q)
	}
	return nil
}

// Rungs are the steps of the ladder that were looked at, in order. The last is the
// one in use.
func (i *Interface) Rungs() []Rung { return slices.Clone(i.rungs) }

// Mode is the mode of all queues.
func (i *Interface) Mode() Mode { return i.rungs[len(i.rungs)-1].Mode }

// MultiBuffer reports whether packets may span frames.
func (i *Interface) MultiBuffer() bool { return i.rungs[len(i.rungs)-1].MultiBuffer }

// Queues are the open queues, in the order of the configuration, or by number.
func (i *Interface) Queues() []*Queue { return slices.Clone(i.queues) }

// Enable puts the sockets into the program's map: from now on packets arrive. It
// is the last step of starting, when somebody reads the queues.
func (i *Interface) Enable() error {
	for _, q := range i.queues {
		queue := q.config.Queue
		if slices.Contains(i.enabled, queue) {
			continue
		}
		if err := i.attacher.SetSocket(queue, q.FD()); err != nil {
			_ = i.Disable()
			return q.config.failed(StepEnable, err, "")
		}
		i.enabled = append(i.enabled, queue)
	}
	return nil
}

// Disable takes the sockets out of the map: packets go to the kernel again. It is
// the first step of stopping; what is on the rings by then, and a few packets on
// their way, can still be read.
func (i *Interface) Disable() error {
	var errs []error
	for _, queue := range i.enabled {
		if err := i.attacher.ClearSocket(queue); err != nil {
			errs = append(errs, fmt.Errorf("xsk: take %s queue %d out of the map: %w", i.config.Ifname, queue, err))
		}
	}
	i.enabled = nil
	return errors.Join(errs...)
}

// Close disables and closes all queues and detaches the program. It is idempotent.
func (i *Interface) Close() error {
	errs := []error{i.Disable()}
	for _, q := range i.queues {
		errs = append(errs, q.Close())
	}
	i.queues = nil
	if i.link != nil {
		if err := i.link.Close(); err != nil {
			errs = append(errs, fmt.Errorf("xsk: detach from %s: %w", i.config.Ifname, err))
		}
		i.link = nil
	}
	return errors.Join(errs...)
}
