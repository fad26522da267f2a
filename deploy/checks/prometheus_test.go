// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/internal/vnet"
)

const (
	rulesFile     = "../prometheus/speadx.rules.yml"
	rulesTestFile = "../prometheus/speadx.rules.test.yml"
	scrapeEvery   = time.Second
)

// rule is one of a file of rules.
type rule struct {
	Record      string            `json:"record"`
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

func readRules(t *testing.T) (all []rule) {
	t.Helper()
	var file struct {
		Groups []struct {
			Name  string `json:"name"`
			Rules []rule `json:"rules"`
		} `json:"groups"`
	}
	if err := yaml.UnmarshalStrict(read(t, rulesFile), &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// TestRules: promtool finds nothing, its tests pass and cover each alert, and each alert
// says what to do.
func TestRules(t *testing.T) {
	need(t, "promtool=prometheus")
	output(t, exec.Command("promtool", "check", "rules", "--lint-fatal", rulesFile))
	output(t, exec.Command("promtool", "test", "rules", rulesTestFile))
	var tests struct {
		Tests []struct {
			Alerts []struct {
				Name string            `json:"alertname"`
				Want []json.RawMessage `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		} `json:"tests"`
	}
	if err := yaml.Unmarshal(read(t, rulesTestFile), &tests); err != nil {
		t.Fatal(err)
	}
	fires, rests := map[string]bool{}, map[string]bool{}
	for _, test := range tests.Tests {
		for _, a := range test.Alerts {
			if len(a.Want) > 0 {
				fires[a.Name] = true
			} else {
				rests[a.Name] = true
			}
		}
	}
	const repository = "https://github.com/speadx/speadx/blob/main/"
	for _, r := range readRules(t) {
		if r.Alert == "" {
			continue
		}
		if !fires[r.Alert] || !rests[r.Alert] {
			t.Errorf("no unit test in which %s fires, or none in which it does not", r.Alert)
		}
		if s := r.Labels["severity"]; s != "warning" && s != "critical" {
			t.Errorf("%s has severity %q", r.Alert, s)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s lacks a summary or a description", r.Alert)
		}
		path, ok := strings.CutPrefix(r.Annotations["runbook_url"], repository)
		if !ok {
			t.Errorf("%s: runbook_url %q", r.Alert, r.Annotations["runbook_url"])
			continue
		}
		file, anchor, _ := strings.Cut(path, "#")
		if anchor != "" && !slices.Contains(anchors(read(t, filepath.Join(root, file))), anchor) {
			t.Errorf("%s: %s has no section %q", r.Alert, file, anchor)
		} else if _, err := os.Stat(filepath.Join(root, file)); err != nil {
			t.Errorf("%s: %v", r.Alert, err)
		}
	}
}

// anchors are those of the headings of a page.
func anchors(page []byte) (all []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllSubmatch(page, -1) {
		all = append(all, strings.ReplaceAll(strings.ToLower(string(m[1])), " ", "-"))
	}
	return all
}

// run starts a process at an end of a wire. It is interrupted when the test ends.
func run(t *testing.T, end *vnet.Iface, cmd *exec.Cmd) *lines {
	t.Helper()
	var log lines
	cmd.Stderr = &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error, 1), make(chan struct{})
	if err := end.Go(func() { // on the thread that the process lives and dies with
		started <- cmd.Start()
		<-ended
	}); err != nil {
		t.Fatal(err)
	}
	if err := <-started; err != nil {
		close(ended)
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		err := cmd.Wait()
		close(ended)
		if err != nil {
			t.Errorf("%s: %v", cmd.Path, err)
		}
		if t.Failed() {
			t.Logf("%s says:\n%s", cmd.Path, &log)
		}
	})
	return &log
}

// client reaches the servers at an end of a wire.
func client(end *vnet.Iface) *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(_ context.Context, network, addr string) (c net.Conn, err error) {
			if e := end.Do(func() { c, err = net.DialTimeout(network, addr, time.Second) }); e != nil {
				return nil, e
			}
			return c, err
		},
	}}
}

// fetch returns what a server says with status 200.
func fetch(c *http.Client, at string) ([]byte, error) {
	res, err := c.Get(at)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", at, res.Status, text)
	}
	return text, err
}

// monitor is a Prometheus that runs.
type monitor struct {
	client *http.Client
	url    string
}

// ask asks the API, and decodes the data of its answer.
func (m *monitor) ask(path string, query url.Values, data any) error {
	text, err := fetch(m.client, m.url+"/api/v1/"+path+"?"+query.Encode())
	if err != nil {
		return err
	}
	var answer struct {
		Status   string          `json:"status"`
		Warnings []string        `json:"warnings"`
		Data     json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return err
	}
	if answer.Status != "success" || len(answer.Warnings) > 0 {
		return fmt.Errorf("%s", text)
	}
	return json.Unmarshal(answer.Data, data)
}

// point is a value of a query's result.
type point struct {
	labels map[string]string
	value  float64
}

// query evaluates an expression now.
func (m *monitor) query(expr string) (all []point, err error) {
	var data struct {
		Type   string `json:"resultType"`
		Result []struct {
			Metric map[string]string `json:"metric"`
			Value  [2]any            `json:"value"`
		} `json:"result"`
	}
	if err := m.ask("query", url.Values{"query": {expr}}, &data); err != nil {
		return nil, err
	}
	for _, r := range data.Result {
		text, _ := r.Value[1].(string)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		all = append(all, point{r.Metric, v})
	}
	return all, nil
}

// awaitNumber waits until an expression has a value that is a number, and is at least least.
func (m *monitor) awaitNumber(t *testing.T, expr string, least float64) {
	t.Helper()
	awaits(t, "result of "+expr, func() (bool, string) {
		all, err := m.query(expr)
		return slices.ContainsFunc(all, func(p point) bool { return p.value >= least && !math.IsInf(p.value, 0) }), fmt.Sprint(all, err)
	})
}

// firing are the alerts that fire, by name.
func (m *monitor) firing() (map[string]int, error) {
	var data struct {
		Alerts []struct {
			Labels map[string]string `json:"labels"`
			State  string            `json:"state"`
		} `json:"alerts"`
	}
	err := m.ask("alerts", nil, &data)
	all := map[string]int{}
	for _, a := range data.Alerts {
		if a.State == "firing" {
			all[a.Labels["alertname"]]++
		}
	}
	return all, err
}

// awaitAlert waits until n alerts of a name fire.
func (m *monitor) awaitAlert(t *testing.T, name string, n int) {
	t.Helper()
	awaits(t, fmt.Sprintf("%d of alert %s", n, name), func() (bool, string) {
		all, err := m.firing()
		return err == nil && all[name] == n, fmt.Sprint(all, err)
	})
}

// startPrometheus runs Prometheus with the rules of this directory.
func startPrometheus(t *testing.T, end *vnet.Iface, target string) *monitor {
	t.Helper()
	const address = "127.0.0.1:9090"
	dir := t.TempDir()
	rules, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("global: {scrape_interval: %[1]v, scrape_timeout: %[1]v, evaluation_interval: %[1]v}\nrule_files: [%[2]q]\n"+
		"scrape_configs: [{job_name: speadx, static_configs: [{targets: [%[3]q]}]}]\n", scrapeEvery, rules, target)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	output(t, exec.Command("promtool", "check", "config", file))
	run(t, end, exec.Command("prometheus", "--config.file="+file, "--web.listen-address="+address, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--log.level=warn"))
	m := &monitor{client(end), "http://" + address}
	awaits(t, "Prometheus that is ready", func() (bool, string) {
		_, err := fetch(m.client, m.url+"/-/ready")
		return err == nil, fmt.Sprint(err)
	})
	return m
}

// traffic sends a stream until it is stopped. It begins with the heap first, and returns
// the number of the next one.
func traffic(t *testing.T, from *vnet.Iface, to netip.AddrPort, first uint64, drop float64) (stop func() (next uint64)) {
	t.Helper()
	var s *send.Sender
	var err error
	if e := from.Do(func() {
		s, err = send.Open(send.Config{
			Destinations: []netip.AddrPort{to}, Interface: from.Name, HeapSize: 64 << 10, MaxPacket: 8972, Heaps: -1, First: first, NoStop: true, Rate: 20e6,
			Faults: send.Faults{Drop: drop, Seed: 1},
		})
	}); e != nil || err != nil {
		t.Fatal(e, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var result send.Result
	done := make(chan struct{})
	go func() {
		defer close(done)
		result, _ = s.Run(ctx) // its error is that of ctx
	}()
	end := func() uint64 {
		cancel()
		<-done
		return first + result.Heaps
	}
	t.Cleanup(func() {
		end()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return end
}

// named are the metrics of the receiver that an expression names.
func named(expr string) []string {
	return regexp.MustCompile(`\bspeadx_\w+`).FindAllString(regexp.MustCompile(`\b\w*:[\w:]+`).ReplaceAllString(expr, ""), -1)
}

// fill puts values into the variables of a dashboard's query, as Grafana does if all are shown.
func fill(expr string) string {
	return strings.NewReplacer("$__rate_interval", "10s", "$instance", ".*", "$stream", ".*", "$device", ".*").Replace(expr)
}

// TestPrometheus: Prometheus scrapes a receiver of a multicast stream and another one. Every
// query of the dashboard and of the rules has a result. Alerts fire when packets are lost
// and when none come, and end when packets come again.
func TestPrometheus(t *testing.T) {
	needRoot(t)
	need(t, "prometheus=prometheus", "promtool=prometheus")
	const target = "127.0.0.1:9717"
	// What a receiver through AF_XDP that works does not have.
	absent := []string{"speadx_socket_info"}

	n := wire(t)
	dests := []netip.AddrPort{netip.MustParseAddrPort("239.9.9.9:7148"), netip.AddrPortFrom(n.B.Addr4, 7149)}
	receiver := exec.Command(theProgram(t), "recv", "--quiet", "--format", "json", "--metrics", target, "-i", n.B.Name, "--mode", "native",
		"-H", "64KiB", "--max-age", "500ms", "--hugepages", "off", "--frames", "1024", dests[0].String(), dests[1].String())
	receiver.Stdout = io.Discard
	run(t, &n.B, receiver)
	c := client(&n.B)
	awaits(t, "receiver that is ready", func() (bool, string) {
		text, err := fetch(c, "http://"+target+"/readyz")
		return err == nil, fmt.Sprintf("%s %v", text, err)
	})
	m := startPrometheus(t, &n.B, target)
	m.awaitNumber(t, "up == 1", 1)

	// No packet has come to either stream.
	m.awaitAlert(t, "SpeadxNoData", 2)

	// Packets come, and some are lost on the way.
	traffic(t, &n.A, dests[0], 0, 0.02)
	stop := traffic(t, &n.A, dests[1], 0, 0.02)
	m.awaitAlert(t, "SpeadxNoData", 0)
	m.awaitAlert(t, "SpeadxMissingData", 1)
	m.awaitNumber(t, "speadx_diagnosis_timestamp_seconds", 1)

	metrics, err := fetch(c, "http://"+target+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	check := exec.Command("promtool", "check", "metrics")
	check.Stdin = bytes.NewReader(metrics)
	if stdout, stderr := output(t, check); stdout+stderr != "" {
		t.Errorf("promtool check metrics: %s%s", stdout, stderr)
	}
	there := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^(speadx_\w+)[{ ]`).FindAllSubmatch(metrics, -1) {
		there[string(m[1])] = true
	}
	if len(there) < 80 {
		t.Errorf("%d metrics: %v", len(there), slices.Sorted(maps.Keys(there)))
	}
	exists := func(where, expr string) {
		t.Helper()
		for _, name := range named(expr) {
			if !there[name] && !slices.Contains(absent, name) {
				t.Errorf("%s: there is no metric %s", where, name)
			}
		}
	}

	b := readBoard(t)
	queries := 0
	for _, p := range b.Panels {
		for _, q := range p.Targets {
			queries++
			exists(p.Title, q.Expr)
			if len(named(q.Expr)) == 0 {
				t.Errorf("%s: no metric of the receiver in %s", p.Title, q.Expr)
			}
			m.awaitNumber(t, fill(q.Expr), math.Inf(-1))
		}
	}
	if queries < 50 {
		t.Errorf("the dashboard has %d queries", queries)
	}
	for _, a := range b.Annotations.List {
		m.awaitNumber(t, fill(a.Expr), 1)
	}
	want := map[string]int{"instance": 1, "stream": 2, "device": 1}
	for _, v := range b.Templating.List {
		if v.Type != "query" {
			continue
		}
		of := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`).FindStringSubmatch(v.Definition)
		if of == nil {
			t.Errorf("variable %s: %s", v.Name, v.Definition)
			continue
		}
		exists(v.Name, of[1])
		var values []string
		if err := m.ask("label/"+of[2]+"/values", url.Values{"match[]": {fill(of[1])}}, &values); err != nil || len(values) != want[v.Name] {
			t.Errorf("variable %s: %q, %v", v.Name, values, err)
		}
	}
	for _, r := range readRules(t) {
		exists(r.Record+r.Alert, r.Expr)
		if r.Record != "" {
			m.awaitNumber(t, r.Record, 0)
		} else if _, err := m.query(r.Expr); err != nil {
			t.Errorf("%s: %v", r.Alert, err)
		}
	}
	var groups struct {
		Groups []struct {
			Rules []struct {
				Name, Health, LastError string
			}
		}
	}
	if err := m.ask("rules", nil, &groups); err != nil {
		t.Fatal(err)
	}
	healthy := 0
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			if healthy++; r.Health != "ok" || r.LastError != "" {
				t.Errorf("rule %s is %s: %s", r.Name, r.Health, r.LastError)
			}
		}
	}
	if want := len(readRules(t)); healthy != want {
		t.Errorf("Prometheus has %d rules, the file %d", healthy, want)
	}

	// One stream goes silent, and comes again.
	next := stop()
	m.awaitAlert(t, "SpeadxNoData", 1)
	traffic(t, &n.A, dests[1], next, 0)
	m.awaitAlert(t, "SpeadxNoData", 0)
	if all, err := m.firing(); err != nil || all["SpeadxDown"]+all["SpeadxMulticastNotJoined"]+all["SpeadxThreadStuck"] > 0 {
		t.Errorf("alerts %v fire, %v", all, err)
	}
}
