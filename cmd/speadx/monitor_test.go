// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/speadx/speadx/ledger"
)

var servedOn = regexp.MustCompile(`(?m)^(metrics|pprof): on (\S+)$`)

// address is what a process says that it serves metrics, or pprof, on.
func (p *process) address(t *testing.T, what string) string {
	t.Helper()
	p.await(t, &p.stderr, what+": on ")
	p.receiving(t) // the line is whole by then
	for _, m := range servedOn.FindAllStringSubmatch(p.stderr.String(), -1) {
		if m[1] == what {
			return m[2]
		}
	}
	t.Fatalf("no address in\n%s", &p.stderr)
	return ""
}

func fetch(t *testing.T, url string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// samples are the values of a scrape, by name and labels.
func samples(t *testing.T, text string) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(strings.TrimSpace(line[i+1:]), 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		out[line[:i]] = v
	}
	return out
}

// keys are the names of all values in an object, with those of its parts.
func keys(v any, prefix string, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for k, part := range v {
			into[prefix+k] = true
			keys(part, prefix+k+".", into)
		}
	case []any:
		for _, part := range v {
			keys(part, prefix, into)
		}
	}
}

// TestMetrics: what is scraped when no packets come is what the summary says, and /status is the summary.
func TestMetrics(t *testing.T) {
	recv, to := loopback(t, "--format", "json", "--metrics", "127.0.0.1:0", "--metrics-namespace", "obs", "--stop-on-stop=false", "--gro=false", "--incomplete")
	url := "http://" + recv.address(t, "metrics")
	program(append(few, to)...).check(t, 0)
	recv.await(t, &recv.stdout, `"items":[{"id":6,"immediate":2}`) // the stop heap, as any other
	delivered := fmt.Sprintf(`obs_input_delivered_heaps_total{stream="%s"}`, to)
	var text string
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if _, text = fetch(t, url+"/metrics"); samples(t, text)[delivered] == 21 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not 21 heaps in\n%s", text)
		}
	}
	_, status := fetch(t, url+"/status")
	code, page := fetch(t, url+"/")
	if code != 200 || !strings.Contains(page, "<html") {
		t.Errorf("the page: %d %.100s", code, page)
	}
	recv.signal(t, os.Interrupt)
	r := recv.wait(t)
	r.check(t, 0)
	got := samples(t, text)
	if !strings.Contains(text, "# HELP obs_input_aged_heaps_total The heap was closed incomplete, as no packet came for it within --max-age.") {
		t.Error("help texts do not have the names of flags")
	}

	var now, end map[string]any
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	for text, into := range map[string]*map[string]any{status: &now, lines[len(lines)-1]: &end} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	has, want := map[string]bool{}, map[string]bool{}
	keys(now, "", has)
	keys(end, "", want)
	// At the end no stream is expected to receive.
	maps.DeleteFunc(has, func(key string, _ bool) bool { return strings.HasSuffix(key, "silent_seconds") })
	if !maps.Equal(has, want) {
		t.Errorf("/status has other keys than the summary:\n%s\n%s", status, lines[len(lines)-1])
	}
	if now["delivered_heaps"] != end["delivered_heaps"] || now["delivered_bytes"] != end["delivered_bytes"] || now["seconds"].(float64) > end["seconds"].(float64) {
		t.Errorf("/status %s\nsummary %s", status, lines[len(lines)-1])
	}

	compared := 0
	compare := func(series string, value any) {
		if v, ok := got[series]; ok {
			if compared++; math.Abs(v-value.(float64)) > 5e-7 { // the summary has six digits
				t.Errorf("%s is %v, and %v in the summary", series, v, value)
			}
		}
	}
	for name, n := range end["fates"].(map[string]any) {
		for f := range ledger.NumFates {
			if row := f.Row(); row.Name == name {
				compare(fmt.Sprintf(`obs_fate_packets_total{fate="%s",loss="%t",stage="%v"}`, name, row.Loss, row.Stage), n)
			}
		}
	}
	if compared != int(ledger.NumFates) {
		t.Errorf("%d fates were compared", compared)
	}
	compared = 0
	stream := end["streams"].([]any)[0].(map[string]any)
	for key, n := range stream {
		if key == "bytes" {
			key = "datagram_bytes"
		}
		if key == "payload_bytes" {
			key = "bytes"
		}
		compare(fmt.Sprintf(`obs_input_%s_total{stream="%s"}`, key, to), n)
	}
	if compared < 15 {
		t.Errorf("%d counters of the stream were compared", compared)
	}
	if n := got[fmt.Sprintf(`obs_heap_wait_seconds_count{stream="%s"}`, to)]; n != 21 {
		t.Errorf("%v heaps waited", n)
	}
	if b := got[`obs_packets_total`]; b != end["packets"].(float64) || b < 21 {
		t.Errorf("%v packets", b)
	}
	const build = `obs_build_info{goversion="`
	if !slices.ContainsFunc(slices.Collect(maps.Keys(got)), func(k string) bool {
		return strings.HasPrefix(k, build) && strings.Contains(k, `version="`+version+`"`)
	}) {
		t.Errorf("no build info for %s", version)
	}
}

// TestMetricsOverWire: queues, modes and groups of a receiver on AF_XDP.
func TestMetricsOverWire(t *testing.T) {
	n := wire(t)
	p := start(t, options{at: &n.B}, "recv", "--mode", "native", "--frames", "8192", "-H", "256KiB", "-q", "--metrics", n.B.Addr4.String()+":9717",
		"--stop-on-stop=false", "-i", n.B.Name, destination(n), "239.77.0.9:7148")
	var all map[string]float64
	scrape := func(done func() bool) {
		t.Helper()
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, network, addr string) (c net.Conn, err error) {
			if nsErr := n.A.Do(func() { c, err = net.Dial(network, addr) }); nsErr != nil {
				err = nsErr
			}
			return c, err
		}}}
		for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
			if resp, err := client.Get("http://" + n.B.Addr4.String() + ":9717/metrics"); err == nil {
				b, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err == nil {
					if all = samples(t, string(b)); done() {
						return
					}
				}
			}
			if time.Now().After(deadline) {
				t.Fatalf("last scrape %v\n%s", all, &p.stderr)
			}
		}
	}
	scrape(func() bool { return all["speadx_receiving"] == 1 })
	within(t, &n.A, "send", "-q", "-H", "256KiB", "--packet", "8972", "--rate", "1", "--heaps", "20", "--no-stop", destination(n)).check(t, 0)
	delivered := fmt.Sprintf(`speadx_input_delivered_heaps_total{stream="%s"}`, destination(n))
	scrape(func() bool { return all[delivered] == 20 })
	queue := fmt.Sprintf(`{device="%s",queue="0"`, n.B.Name)
	matched := all["speadx_queue_matched_frames_total"+queue+"}"]
	if matched == 0 || matched != all["speadx_queue_packets_total"+queue+"}"] || matched != all[fmt.Sprintf(`speadx_device_matched_frames_total{device="%s"}`, n.B.Name)] || matched != all["speadx_packets_total"] {
		t.Errorf("%v frames matched", matched)
	}
	frames := 0.0
	for _, state := range []string{"fill", "driver", "ring", "hand", "lost"} {
		frames += all["speadx_umem_frames"+queue+`,state="`+state+`"}`]
	}
	if frames != 8192 {
		t.Errorf("%v frames", frames)
	}
	for _, series := range []string{
		fmt.Sprintf(`speadx_queue_info{device="%s",driver="veth",mode="native",multi_buffer="`, n.B.Name),
		fmt.Sprintf(`speadx_multicast_joined{device="%s",group="239.77.0.9"}`, n.B.Name),
		fmt.Sprintf(`speadx_thread_busy_seconds_total{thread="%s queue 0"}`, n.B.Name),
	} {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(all)), func(k string) bool { return strings.HasPrefix(k, series) && all[k] > 0 }) {
			t.Errorf("no %s", series)
		}
	}
	p.signal(t, os.Interrupt)
	p.wait(t).check(t, 0)
}

// TestMetricsRefused: what cannot be served is said before anything is opened.
func TestMetricsRefused(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	web := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(web, []byte("tls_server_config: {cert_file: none.crt, key_file: none.key}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"--metrics", addr}, exitError, "--metrics: cannot serve on " + addr + ": address already in use (port " + port + " is taken by "},
		{[]string{"--debug-listen", addr}, exitError, "--debug-listen: cannot serve on " + addr + ": address already in use (port " + port + " is taken by "},
		{[]string{"--metrics", "9717"}, exitUsage, `--metrics "9717" is no address and port, such as :9717`},
		{[]string{"--metrics", "localhost:99999"}, exitUsage, `--metrics "localhost:99999" is no address and port`},
		{[]string{"--metrics", "127.0.0.1:0", "--metrics-config", web}, exitUsage, "--metrics-config: " + web + ": failed to read cert_file ("},
		{[]string{"--metrics", "127.0.0.1:0", "--metrics-config", "none.yml"}, exitUsage, "--metrics-config: open none.yml: no such file or directory"},
		{[]string{"--metrics", "127.0.0.1:0", "--metrics-namespace", "a-b"}, exitUsage, `--metrics-namespace "a-b" is no word`},
	} {
		program(append(append([]string{"recv"}, tt.args...), capturePath("plain-64-48"))...).check(t, tt.status, "speadx: "+tt.want)
	}
	program("recv", "-q", "--metrics-namespace", "x", capturePath("plain-64-48")).check(t, 0, "--metrics-namespace: without effect, as metrics are not served (--metrics)\n")
}

// TestDebugListen: pprof is on its own port, and only if asked for.
func TestDebugListen(t *testing.T) {
	recv, _ := loopback(t, "--debug-listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
	if status, _ := fetch(t, "http://"+recv.address(t, "pprof")+"/debug/pprof/goroutine?debug=1"); status != 200 {
		t.Errorf("pprof: %d", status)
	}
	if status, _ := fetch(t, "http://"+recv.address(t, "metrics")+"/debug/pprof/"); status != 404 {
		t.Errorf("pprof on the metrics port: %d", status)
	}
	recv.signal(t, os.Interrupt)
	recv.wait(t).check(t, 0)
}
