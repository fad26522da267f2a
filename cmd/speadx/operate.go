// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/control"
	"github.com/speadx/speadx/internal/settings"
	"github.com/speadx/speadx/ledger"
)

// operator changes what a receiver receives, by request and by reload.
type operator struct {
	r       *speadx.Receiver
	f       *recvFlags
	log     *slog.Logger
	server  *control.Server // nil: there is no socket
	hangups chan os.Signal
	sources []string // of the configuration, as far as they could be received

	cancel context.CancelFunc
	done   sync.WaitGroup
}

// hangups are noted from before the receiver is opened, which takes long: SIGHUP must not
// end the process meanwhile.
func (o *operateFlags) hangups() chan os.Signal {
	c := make(chan os.Signal, 1)
	if o.configFile != "" {
		signal.Notify(c, syscall.SIGHUP)
	}
	return c
}

// listen makes the control socket, nil if there is to be none. It comes first: opening can
// take long, and a path that cannot be used is found at once. Clients wait until then.
func (o *operateFlags) listen() (*control.Socket, error) {
	if o.controlPath == "" {
		return nil, nil
	}
	return control.Listen(o.controlPath)
}

// startOperator begins to heed requests and signals. It owns the socket.
func startOperator(r *speadx.Receiver, f *recvFlags, log *slog.Logger, socket *control.Socket, hangups chan os.Signal) *operator {
	p := &operator{r: r, f: f, log: log, hangups: hangups, sources: f.operate.resolved.Sources}
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(context.Background())
	if socket != nil {
		p.server = control.Serve(socket, p.answer)
	}
	p.done.Add(1)
	go func() {
		defer p.done.Done()
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangups:
				p.reload(ctx)
			}
		}
	}()
	return p
}

// stop ends both.
func (p *operator) stop() {
	signal.Stop(p.hangups)
	p.cancel()
	p.done.Wait()
	if p.server != nil {
		if err := p.server.Close(); err != nil {
			p.log.Warn("the control socket could not be closed", "error", err)
		}
	}
}

// answer implements [control.Handler].
func (p *operator) answer(ctx context.Context, q control.Request) control.Reply {
	switch q.Op {
	case control.OpAdd, control.OpRemove:
		change := p.r.Add
		if q.Op == control.OpRemove {
			change = p.r.Remove
		}
		if err := change(ctx, q.Stream, q.Source); err != nil {
			return refusal(err)
		}
		p.log.Info("endpoints changed by request", "op", q.Op, "stream", q.Stream, "source", q.Source)
		return control.Reply{OK: true}
	case control.OpList:
		return control.Reply{OK: true, Streams: p.list()}
	case control.OpStatus:
		return control.Reply{OK: true, Status: p.status()}
	}
	return control.Reply{Reason: control.ReasonUnknownOp}
}

func refusal(err error) control.Reply {
	out := control.Reply{Reason: string(speadx.ChangeFailed), Error: message(err)}
	var e *speadx.ChangeError
	if errors.As(err, &e) {
		out.Reason = string(e.Reason)
	}
	return out
}

// controlStream is one stream in the reply to list.
type controlStream struct {
	Stream    string           `json:"stream"`
	Endpoints []netip.AddrPort `json:"endpoints"`
	Files     []string         `json:"files,omitempty"`
	Listeners []netip.AddrPort `json:"listeners,omitempty"`
	Ended     bool             `json:"ended"`
}

func (p *operator) list() []controlStream {
	out := []controlStream{}
	for _, s := range p.r.Endpoints() {
		endpoints := append([]netip.AddrPort{}, s.Endpoints...)
		out = append(out, controlStream{s.Name, endpoints, s.Files, s.Listeners, s.Ended})
	}
	return out
}

// controlStatus is the reply to status.
type controlStatus struct {
	Packets      uint64                `json:"packets"`
	LostPackets  uint64                `json:"lost_packets"`
	InFlight     uint64                `json:"in_flight"`
	Unaccounted  int64                 `json:"unaccounted"`
	SpareStreams int                   `json:"spare_streams"`
	Streams      []controlStreamStatus `json:"streams"`
}

type controlStreamStatus struct {
	Stream          string `json:"stream"`
	Packets         uint64 `json:"packets"`
	CompleteHeaps   uint64 `json:"complete_heaps"`
	IncompleteHeaps uint64 `json:"incomplete_heaps"`
}

func (p *operator) status() controlStatus {
	s := p.r.Stats()
	out := controlStatus{
		Packets: s.Packets, LostPackets: s.Fates.Lost(), InFlight: s.InFlight, Unaccounted: s.Unaccounted,
		SpareStreams: p.r.SpareStreams(), Streams: []controlStreamStatus{},
	}
	for i := range s.Streams {
		st := &s.Streams[i]
		out.Streams = append(out.Streams, controlStreamStatus{st.Name, st.Counts[ledger.PacketsFed], st.Counts[ledger.HeapsComplete], st.Counts[ledger.HeapsIncomplete]})
	}
	return out
}

// reload reads the configuration file again. What is wrong with it is told, and reception
// goes on as before.
func (p *operator) reload(ctx context.Context) {
	again := newRecvFlags()
	fs := pflag.NewFlagSet("recv", pflag.ContinueOnError)
	for _, g := range again.groups() {
		fs.AddFlagSet(g.flags)
	}
	err := p.f.operate.giveAgain(fs)
	if err == nil {
		_, err = again.check(fs, p.f.operate.args)
	}
	if err != nil {
		p.log.Warn("the configuration was not reloaded: "+message(err), "code", "reload_refused")
		return
	}
	now := again.operate.resolved
	for _, key := range changedSettings(p.f.operate.resolved, now, p.f.operate.values, flagValues(fs)) {
		p.log.Warn("a setting changed, which needs a restart", "code", "restart_needed", "setting", key, "value", fs.Lookup(key).Value.String(), "origin", now.Origins[key])
	}
	added, removed := p.changeSources(ctx, now.Sources)
	p.log.Info("the configuration was reloaded", "code", "reloaded", "added", added, "removed", removed)
}

// giveAgain gives the flags of the command line to a set of flags.
func (o *operateFlags) giveAgain(fs *pflag.FlagSet) error {
	for _, g := range o.given {
		for _, v := range g.values {
			if err := fs.Set(g.name, v); err != nil {
				return err
			}
		}
	}
	if o.configFile != "" && !fs.Changed(configFlag) {
		return fs.Set(configFlag, o.configFile) // by the environment
	}
	return nil
}

// flagValues are the values of all flags.
func flagValues(fs *pflag.FlagSet) map[string]string {
	out := map[string]string{}
	fs.VisitAll(func(f *pflag.Flag) { out[f.Name] = f.Value.String() })
	return out
}

// changedSettings are the flags whose value is not that of the start, in order.
func changedSettings(start, now *settings.Resolved, before, after map[string]string) (keys []string) {
	for key, value := range after {
		given := func(r *settings.Resolved) bool { return r.Origins[key].Kind != settings.Default }
		if key != configFlag && (value != before[key] || given(start) != given(now)) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// changeSources removes the sources that are not wanted any more, and adds those that are
// new. One that fails is tried again with the next reload.
func (p *operator) changeSources(ctx context.Context, want []string) (added, removed int) {
	stream := func(source string) string { return source }
	if p.f.joint {
		first := p.f.operate.resolved.Sources[0]
		stream = func(string) string { return first }
	}
	if p.f.tcp {
		want = tcpSources(want)
	}
	have := p.sources
	if p.f.tcp {
		have = tcpSources(have)
	}
	var now []string
	for _, s := range have {
		if slices.Contains(want, s) {
			now = append(now, s)
			continue
		}
		if err := p.r.Remove(ctx, stream(s), s); err != nil {
			p.log.Warn("a source cannot be removed: "+message(err), "code", "remove_refused", "source", s)
			var e *speadx.ChangeError
			if !errors.As(err, &e) || e.Reason != speadx.ChangeNotReceived { // else a request has removed it
				now = append(now, s)
			}
			continue
		}
		removed++
	}
	for _, s := range want {
		if slices.Contains(now, s) {
			continue
		}
		if err := p.r.Add(ctx, stream(s), s); err != nil {
			p.log.Warn("a source cannot be added: "+message(err), "code", "add_refused", "source", s)
			continue
		}
		now = append(now, s)
		added++
	}
	p.sources = now
	return added, removed
}
