// SPDX-License-Identifier: Apache-2.0

//go:build ops

package ops

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/internal/vnet"
	"github.com/speadx/speadx/ledger"
)

const (
	heapSize = 1 << 20
	packet   = 8972
	rate     = 0.25e9 // bits a second of each stream: Chromium needs the processors too
)

// buildProgram builds speadx from this tree.
func buildProgram(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "speadx")
	build := exec.Command("go", "build", "-o", path, "./cmd/speadx")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building speadx: %v\n%s", err, out)
	}
	return path
}

// receiver is the program in the namespace of one end of a wire.
type receiver struct {
	url string // where a browser outside reaches it
}

// startReceiver starts recv --metrics. It ends with the test.
func startReceiver(t *testing.T, end *vnet.Iface, args ...string) *receiver {
	t.Helper()
	const inside = "127.0.0.1:9717"
	cmd := exec.Command(buildProgram(t), append([]string{"recv", "--format", "json", "--quiet", "--metrics", inside}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	ended := make(chan struct{})
	if err := end.Go(func() { // on the thread that the process lives and dies with
		started <- cmd.Start()
		<-ended
	}); err != nil {
		t.Fatal(err)
	}
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	log := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(stderr)
		log <- string(b)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		text := <-log
		err := cmd.Wait()
		close(ended)
		if err != nil {
			t.Errorf("recv: %v", err)
		}
		if t.Failed() {
			t.Logf("recv says:\n%s", text)
		}
	})
	return &receiver{url: "http://" + relay(t, end, inside)}
}

// relay takes connections here and passes them on into a namespace.
func relay(t *testing.T, end *vnet.Iface, to string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			outer, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer outer.Close()
				var inner net.Conn
				if e := end.Do(func() { inner, err = net.Dial("tcp", to) }); e != nil || err != nil {
					return
				}
				defer inner.Close()
				go func() {
					_, _ = io.Copy(inner, outer)
					inner.Close()
				}()
				_, _ = io.Copy(outer, inner)
			}()
		}
	}()
	return l.Addr().String()
}

// status is what the test needs of /status.
type status struct {
	Time            float64           `json:"time"`
	Packets         uint64            `json:"packets"`
	PayloadBytes    uint64            `json:"payload_bytes"`
	Heaps           uint64            `json:"heaps"`
	LostPackets     uint64            `json:"lost_packets"`
	IncompleteHeaps uint64            `json:"incomplete_heaps"`
	Fates           map[string]uint64 `json:"fates"`
	Missing         map[string]uint64 `json:"missing_bytes_by_cause"`
	Streams         []struct {
		Name       string `json:"stream"`
		Heaps      uint64 `json:"heaps"`
		Incomplete uint64 `json:"incomplete_heaps"`
		Senders    int    `json:"senders"`
	} `json:"streams"`
	Devices []struct {
		Name   string `json:"device"`
		Mode   string `json:"mode"`
		Queues []struct {
			Queue    int `json:"queue"`
			RingHigh int `json:"ring_high"`
			RingSize int `json:"ring_size"`
		} `json:"queues"`
	} `json:"devices"`
	Threads []struct {
		Name string `json:"thread"`
	} `json:"threads"`
}

func (r *receiver) status(ctx context.Context) (s status, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/status", nil)
	if err != nil {
		return s, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return s, fmt.Errorf("/status: %s", res.Status)
	}
	return s, json.NewDecoder(res.Body).Decode(&s)
}

func (r *receiver) mustStatus(t *testing.T) status {
	t.Helper()
	s, err := r.status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// flow sends to the destinations until stop, which waits for its end.
func flow(t *testing.T, from *vnet.Iface, dests []netip.AddrPort, first uint64, drop float64) (stop func() send.Result) {
	t.Helper()
	var s *send.Sender
	var err error
	if e := from.Do(func() {
		s, err = send.Open(send.Config{
			Destinations: dests, HeapSize: heapSize, MaxPacket: packet, Heaps: -1, First: first, NoStop: true,
			Rate: rate * float64(len(dests)), Faults: send.Faults{Drop: drop, Seed: 1},
		})
	}); e != nil || err != nil {
		t.Fatal(e, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	type sent struct {
		send.Result
		err error
	}
	done := make(chan sent, 1)
	go func() {
		res, err := s.Run(ctx)
		done <- sent{res, err}
	}()
	t.Cleanup(cancel)
	return func() send.Result {
		t.Helper()
		cancel()
		got := <-done
		if err := errors.Join(got.err, s.Close()); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		return got.Result
	}
}

// The page shows what /status says of a receiver. First it loses nothing, then its heaps are
// not whole, and then no packets come: each number must then be the same.
func TestPageUnderTraffic(t *testing.T) {
	if os.Getenv("SPEADX_PRIVILEGED") == "" {
		t.Skip("needs privileges to make network namespaces: SPEADX_PRIVILEGED is not set")
	}
	wire, err := vnet.Make(vnet.Options{Queues: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := wire.Close(); err != nil {
			t.Error(err)
		}
	})
	var dests []netip.AddrPort
	args := []string{"-i", wire.B.Name, "--mode", "native", "-H", "1MiB", "--ring-heaps", "64", "--max-age", "2s"}
	for _, port := range []uint16{7148, 7149} {
		d := netip.AddrPortFrom(wire.B.Addr4, port)
		dests = append(dests, d)
		args = append(args, d.String())
	}
	r := startReceiver(t, &wire.B, args...)
	for ctx, last := t.Context(), error(nil); ; {
		if _, err := r.status(ctx); err == nil {
			break
		} else if last = err; ctx.Err() != nil {
			t.Fatal(last)
		}
		time.Sleep(50 * time.Millisecond)
	}
	b := newBrowser(t, r.url)
	b.view(1180, 800, "light")
	b.open(r.url + "/")
	b.wait(`document.querySelector("#verdict-word").textContent === "No packet has come yet"`)

	// Without loss.
	stop := flow(t, &wire.A, dests, 0, 0)
	b.wait(`document.querySelector("#verdict").classList.contains("good")`)
	b.wait(`history.length >= 4`)
	compareRates(t, b, r)
	if os.Getenv("SPEADX_PICTURES") != "" {
		if err := chromedp.Do(b.ctx, chromedp.Sleep(62*time.Second)); err != nil { // plots of a minute
			t.Fatal(err)
		}
		b.picture("status-page.png")
	}
	sent := stop()

	// Heaps that are not whole.
	stop = flow(t, &wire.A, dests, sent.Heaps+100, 0.02)
	b.wait(`document.querySelector("#verdict-word").textContent.startsWith("Heaps are not whole: ") || document.querySelector("#verdict-word").textContent.startsWith("Losing packets: ")`)
	stop()

	// No packets come.
	b.wait(`document.querySelector("#verdict-word").textContent.startsWith("No packets for ")`)
	// Heaps that lack packets leave by age. Missing bytes have their causes some seconds later.
	b.wait(`last().time - silentSince > 6 && last().status.in_flight === 0`)
	s := r.mustStatus(t)
	b.wait(fmt.Sprintf(`last().time > %f`, s.Time))
	again := r.mustStatus(t)
	if s.Packets != again.Packets || s.Heaps != again.Heaps || !maps.Equal(s.Missing, again.Missing) {
		t.Fatalf("not at rest: %d and %d packets, %d and %d heaps", s.Packets, again.Packets, s.Heaps, again.Heaps)
	}
	compareAtRest(t, b, &s)
	b.picture("rest.png")
}

// compareRates compares the rates that the page shows with the two answers that it got, and
// those with answers of our own before and after.
func compareRates(t *testing.T, b *browser, r *receiver) {
	t.Helper()
	from := r.mustStatus(t)
	b.wait(fmt.Sprintf("base().time > %f", from.Time))
	type reading struct {
		Time                   float64
		Payload, Packets, Lost uint64
	}
	page := eval[struct {
		Before, Now            reading
		Payload, Packets, Lost string
	}](b, `({Before: base(), Now: last(), Payload: $("rate-payload").textContent, Packets: $("rate-packets").textContent, Lost: $("rate-loss").textContent})`)
	to := r.mustStatus(t)
	if from.PayloadBytes > page.Before.Payload || page.Before.Payload >= page.Now.Payload || page.Now.Payload > to.PayloadBytes ||
		from.Packets > page.Before.Packets || page.Now.Packets > to.Packets {
		t.Errorf("the page has %+v, which is not between %+v and %+v", page, from, to)
	}
	seconds := page.Now.Time - page.Before.Time
	for _, c := range []struct {
		what, shown string
		want        float64
	}{
		{"Gb/s", page.Payload, float64(page.Now.Payload-page.Before.Payload) * 8 / 1e9 / seconds},
		{"packets/s", page.Packets, float64(page.Now.Packets-page.Before.Packets) / seconds},
		{"packets/s lost", page.Lost, float64(page.Now.Lost-page.Before.Lost) / seconds},
	} {
		text, kilo := strings.CutSuffix(c.shown, " k")
		got, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		if kilo {
			got *= 1e3
		}
		if math.Abs(got-c.want) > 0.01*c.want { // three digits
			t.Errorf("the page shows %s %s, its answers give %v", c.shown, c.what, c.want)
		}
	}
}

// compareAtRest compares every number that the page has in full.
func compareAtRest(t *testing.T, b *browser, s *status) {
	t.Helper()
	through := s.Packets
	for stage := range ledger.NumStages {
		var lost, ended uint64
		for f := range ledger.NumFates {
			if row := f.Row(); row.Stage == stage {
				ended += s.Fates[row.Name]
				if row.Loss {
					lost += s.Fates[row.Name]
				}
			}
		}
		through -= ended
		want := through
		if stage == ledger.Consumer {
			want = ended - lost
		}
		li := fmt.Sprintf("#path > li.%v", stage)
		if got, want := eval[uint64](b, fmt.Sprintf("Number(document.querySelector(%q).dataset.missing)", li)), s.Missing[stage.String()]; got != want {
			t.Errorf("stage %v: the page has %d bytes missing, /status %d", stage, got, want)
		}
		if got := eval[uint64](b, fmt.Sprintf("Number(document.querySelector(%q).dataset.through)", li)); got != want {
			t.Errorf("stage %v: the page has %d packets through it, /status %d", stage, got, want)
		}
		if got := eval[uint64](b, fmt.Sprintf("Number(document.querySelector(%q).dataset.lost)", li)); got != lost {
			t.Errorf("stage %v: the page has %d packets lost, /status %d", stage, got, lost)
		}
	}
	if s.Missing["network"] == 0 {
		t.Error("no bytes are missing in the network, and some were not sent")
	}
	if s.IncompleteHeaps == 0 {
		t.Error("no heap is incomplete, of which packets were not sent")
	}
	rows := map[string][]string{}
	for _, row := range b.cells("streams") {
		rows[row[0]] = row
	}
	for _, st := range s.Streams {
		row := rows[st.Name]
		if row == nil {
			t.Errorf("no row for stream %q in %q", st.Name, rows)
			continue
		}
		if got := []uint64{number(t, row[3]), number(t, row[6]), number(t, row[7])}; got[0] != st.Incomplete || got[1] != st.Heaps || got[2] != uint64(st.Senders) {
			t.Errorf("stream %s: the page has %d incomplete heaps, %d heaps and %d senders, /status %+v", st.Name, got[0], got[1], got[2], st)
		}
	}
	queues := b.cells("queues")
	n := 0
	for _, d := range s.Devices {
		for _, q := range d.Queues {
			n++
			name := fmt.Sprintf("%s %d", d.Name, q.Queue)
			want := fmt.Sprintf("%d / %d", q.RingHigh, q.RingSize)
			found := false
			for _, row := range queues {
				found = found || row[0] == name && row[1] == d.Mode && strings.HasPrefix(strings.ReplaceAll(row[4], ",", ""), want)
			}
			if !found {
				t.Errorf("no row for queue %s in mode %s with %s in %q", name, d.Mode, want, queues)
			}
		}
	}
	if len(queues) != n || n != 2 {
		t.Errorf("%d rows for %d queues", len(queues), n)
	}
	if got := len(b.cells("threads")); got != len(s.Threads) {
		t.Errorf("%d rows for %d threads", got, len(s.Threads))
	}
}

// number is what a cell shows.
func number(t *testing.T, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(strings.ReplaceAll(text, ",", ""), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
