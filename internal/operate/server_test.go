// SPDX-License-Identifier: Apache-2.0

//go:build linux

package operate

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/report"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/spead"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is for how long a test waits for what has to happen.
const patience = 30 * time.Second

// scene is a server with a receiver on the loopback interface.
type scene struct {
	*Server
	t  testing.TB
	r  *speadx.Receiver
	to string // address of its stream
}

func newScene(t testing.TB, c Config) *scene {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := conn.LocalAddr().String()
	conn.Close()
	c.Listen = "127.0.0.1:0"
	s, err := Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	r, err := speadx.Open(context.Background(), speadx.Config{
		Streams: []speadx.Stream{{Name: "lo", Source: to}}, Mode: speadx.ModeUDP, HeapSize: 1 << 16, Hugepages: pool.PagesOff, IgnoreStop: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return &scene{s, t, r, to}
}

func (s *scene) attach() {
	s.t.Helper()
	err := s.Attach(s.r, func() *report.Report {
		return &report.Report{Stats: s.r.Stats(), Threads: s.r.Threads(), Times: s.r.Times(), Time: time.Now()}
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// get asks for a path, and returns status and body.
func (s *scene) get(path string) (int, string) {
	s.t.Helper()
	resp, err := http.Get("http://" + s.Addr().String() + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func (s *scene) want(path string, status int, in string) {
	s.t.Helper()
	if got, body := s.get(path); got != status || !strings.Contains(body, in) {
		s.t.Errorf("%s: %d, want %d with %q:\n%.500s", path, got, status, in, body)
	}
}

// send sends heaps from..from+n-1, a pause after each tenth.
func (s *scene) send(from, n int) {
	s.t.Helper()
	out, err := net.Dial("udp4", s.to)
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Close()
	pk, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: spead.Flavour48, MaxPacket: 1472})
	if err != nil {
		s.t.Fatal(err)
	}
	for cnt := range n {
		if err := pk.Start(uint64(from+cnt), []spead.OutItem{{ID: 0x1000, Data: make([]byte, 20000)}}); err != nil {
			s.t.Fatal(err)
		}
		for {
			p, ok := pk.AppendNext(nil)
			if !ok {
				break
			}
			if _, err := out.Write(p); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// take takes n heaps.
func (s *scene) take(n int) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for range n {
		h, err := s.r.Next(ctx)
		if err != nil {
			s.t.Error(err)
			return
		}
		h.Release()
	}
}

// await waits until a path answers with a status.
func (s *scene) await(path string, status int) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		got, body := s.get(path)
		if got == status {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: %d, want %d:\n%s", path, got, status, body)
		}
	}
}

// TestLife asks all endpoints before, during and after reception.
func TestLife(t *testing.T) {
	s := newScene(t, Config{Page: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the page") })})
	s.want("/", 200, "the page")
	s.want("/livez", 200, "ok")
	s.want("/readyz", 503, "reception has not begun")
	s.want("/status", 503, "reception has not begun")
	s.want("/metrics", 200, "\ngo_goroutines ")
	s.attach()
	for _, path := range []string{"/livez", "/healthz", "/-/healthy", "/readyz", "/-/ready"} {
		s.want(path, 200, "ok\n")
	}
	s.want("/readyz?data=1", 503, "stream lo has had no packet yet")
	s.want("/-/ready?data=1", 503, "stream lo has had no packet yet")
	s.want("/readyz?data=true", 503, "stream lo has had no packet yet")
	s.want("/readyz?data=0", 200, "ok")
	for _, wrong := range []string{"", "yes", "2"} { // none of them passes for ready
		s.want("/readyz?data="+wrong, 400, "is neither 1 nor 0")
	}
	s.want("/metrics", 200, "\nspeadx_receiving 1\n")
	s.want("/metrics", 200, "\nprocess_open_fds ")
	s.send(1, 5)
	s.take(5)
	s.await("/readyz?data=1", 200)
	s.want("/metrics", 200, "\nspeadx_input_delivered_heaps_total{stream=\"lo\"} 5\n")
	_, body := s.get("/status")
	var status struct {
		Type      string
		Delivered uint64 `json:"delivered_heaps"`
		Streams   []struct {
			Stream string
			Silent *float64 `json:"silent_seconds"`
		}
	}
	if err := json.Unmarshal([]byte(body), &status); err != nil || status.Type != "summary" || status.Delivered != 5 || status.Streams[0].Stream != "lo" {
		t.Errorf("%v: %+v in %s", err, status, body)
	} else if d := status.Streams[0].Silent; d == nil || *d < 0 || *d > patience.Seconds() {
		t.Errorf("silent for %v s", d)
	}
	if err := s.r.Close(); err != nil {
		t.Fatal(err)
	}
	s.want("/readyz", 503, "reception has ended")
	s.want("/livez", 200, "ok")
	s.want("/metrics", 200, "\nspeadx_receiving 0\n")
	s.want("/metrics", 200, "\nspeadx_input_delivered_heaps_total{stream=\"lo\"} 5\n")
	if err := s.Attach(s.r, nil); err == nil {
		t.Error("a second receiver was attached")
	}
}

// TestUnhealthy: a thread that has not turned for too long, and data that is too old.
func TestUnhealthy(t *testing.T) {
	s := newScene(t, Config{})
	s.attach()
	s.send(1, 1)
	s.take(1)
	s.await("/readyz?data=1", 200)
	s.alive, s.recent = -1, 0
	s.want("/livez", 503, "udp "+s.to)
	s.want("/readyz?data=1", 503, "stream lo has had no packet for ")
	s.want("/readyz", 200, "ok")
}

func TestReadOnly(t *testing.T) {
	s := newScene(t, Config{})
	s.attach()
	for _, path := range []string{"/metrics", "/status", "/livez", "/"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
			req, err := http.NewRequest(method, "http://"+s.Addr().String()+path, strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d", method, path, resp.StatusCode)
			}
		}
		resp, err := http.Head("http://" + s.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode == 405 {
			t.Errorf("HEAD %s: %d", path, resp.StatusCode)
		}
	}
	s.want("/nothing", 404, "")
	s.want("/debug/pprof/", 404, "")
}

// TestLint: also with the metrics of the runtime and the process.
func TestLint(t *testing.T) {
	s := newScene(t, Config{})
	s.attach()
	problems, err := testutil.GatherAndLint(s.metrics)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestFormats: OpenMetrics, protobuf and gzip, if the client asks for them.
func TestFormats(t *testing.T) {
	s := newScene(t, Config{})
	s.attach()
	for _, tt := range []struct{ accept, coding, contentType, in string }{
		{"", "", "text/plain", "# TYPE speadx_packets_total counter\n"},
		{"application/openmetrics-text; version=1.0.0", "", "application/openmetrics-text", "# TYPE speadx_packets counter\n"},
		{"application/openmetrics-text; version=1.0.0", "gzip", "application/openmetrics-text", "\n# EOF\n"},
		{"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited", "", "application/vnd.google.protobuf", "speadx_heap_wait_seconds"},
	} {
		req, err := http.NewRequest("GET", "http://"+s.Addr().String()+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", tt.accept)
		req.Header.Set("Accept-Encoding", tt.coding) // which also keeps the client from asking for gzip itself
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body := io.Reader(resp.Body)
		if tt.coding == "gzip" {
			if body, err = gzip.NewReader(resp.Body); err != nil {
				t.Fatal(err)
			}
		}
		b, err := io.ReadAll(body)
		resp.Body.Close()
		if err != nil || !strings.HasPrefix(resp.Header.Get("Content-Type"), tt.contentType) || !bytes.Contains(b, []byte(tt.in)) {
			t.Errorf("%+v: %v, %s, %.300q", tt, err, resp.Header.Get("Content-Type"), b)
		}
	}
}

func TestPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	_, err = Listen(Config{Listen: addr})
	_, debug := ListenDebug(addr, slog.New(slog.DiscardHandler))
	for _, err := range []error{err, debug} {
		var e *ListenError
		if !errors.As(err, &e) || e.Addr != addr || !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(e.Hint, "is taken by this process") {
			t.Errorf("%v", err)
		}
	}
	var e *ListenError
	if _, err := Listen(Config{Listen: "192.0.2.1:1"}); !errors.As(err, &e) || !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Errorf("%v", err)
	}
}

// certificate makes a certificate for 127.0.0.1 in the directory, and returns it.
func certificate(t *testing.T, dir, name string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, name+".crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, dir, name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWrongWebConfig(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir, "a")
	certificate(t, dir, "b")
	write(t, dir, "no.crt", "this is no certificate")
	for name, text := range map[string]string{
		"missing certificate": "tls_server_config: {cert_file: none.crt, key_file: a.key}",
		"missing key":         "tls_server_config: {cert_file: a.crt}",
		"foreign key":         "tls_server_config: {cert_file: a.crt, key_file: b.key}",
		"no certificate":      "tls_server_config: {cert_file: no.crt, key_file: a.key}",
		"no YAML":             "{",
		"unknown key":         "tls: {}",
		"plain password":      "basic_auth_users: {me: secret}",
	} {
		path := write(t, dir, "web.yml", text)
		s, err := Listen(Config{Listen: "127.0.0.1:0", WebConfig: path})
		var e *WebConfigError
		if !errors.As(err, &e) || e.File != path || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			s.Close()
		}
	}
	var e *WebConfigError
	if _, err := Listen(Config{Listen: "127.0.0.1:0", WebConfig: filepath.Join(dir, "none.yml")}); !errors.As(err, &e) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestTLSAndPassword(t *testing.T) {
	dir := t.TempDir()
	root := certificate(t, dir, "server")
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, dir, "web.yml", fmt.Sprintf("tls_server_config: {cert_file: server.crt, key_file: server.key}\nbasic_auth_users: {me: %q}\n", hash))
	s := newScene(t, Config{WebConfig: path})
	s.attach()
	pool := x509.NewCertPool()
	pool.AddCert(root)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for password, want := range map[string]int{"secret": 200, "wrong": 401, "": 401} {
		req, err := http.NewRequest("GET", "https://"+s.Addr().String()+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		if password != "" {
			req.SetBasicAuth("me", password)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != want {
			t.Errorf("password %q: %d", password, resp.StatusCode)
		}
	}
	s.want("/metrics", 400, "HTTP request to an HTTPS server")
}

// TestSlowScrapers: a thousand clients ask and read nothing, or send half a request. No heap
// is lost, and a client that reads is served.
func TestSlowScrapers(t *testing.T) {
	s := newScene(t, Config{})
	s.attach()
	const clients, heaps = 1000, 400
	taken := make(chan struct{})
	go func() {
		defer close(taken)
		s.take(heaps)
	}()
	var slow []net.Conn
	defer func() {
		for _, c := range slow {
			c.Close()
		}
	}()
	for i := range clients {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		slow = append(slow, c)
		text := "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
		if i%2 == 1 {
			text = text[:20]
		}
		_, _ = c.Write([]byte(text)) // it may be closed already
		if i%10 == 0 {
			s.send(1+i/10*4, 4)
		}
		if i%100 == 50 {
			s.want("/livez", 200, "ok")
			s.want("/metrics", 200, "\nspeadx_receiving 1\n")
		}
	}
	s.want("/readyz", 200, "ok")
	<-taken
	l := s.listener.(*bounded)
	l.mu.Lock()
	open := l.open.Len()
	l.mu.Unlock()
	if open > maxConnections {
		t.Errorf("%d connections are open", open)
	}
	stats := s.r.Stats()
	if c := stats.Heaps(); stats.Fates.Lost() != 0 || c[ledger.HeapsDelivered] != heaps || stats.Unaccounted != 0 {
		t.Errorf("%d packets lost, %d heaps of %d delivered", stats.Fates.Lost(), c[ledger.HeapsDelivered], heaps)
	}
}

// TestClosedDuringScrapes: the receiver and then the server are closed while clients ask.
func TestClosedDuringScrapes(t *testing.T) {
	s := newScene(t, Config{})
	s.attach()
	var clients sync.WaitGroup
	started := make(chan struct{}, 4)
	for range 4 {
		clients.Go(func() {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport}
			for n := 0; ; n++ {
				resp, err := client.Get("http://" + s.Addr().String() + "/metrics")
				if err != nil {
					if n < 1 {
						t.Error(err)
					}
					return // the server is closed
				}
				b, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil {
					return // likewise
				}
				if resp.StatusCode != 200 || !bytes.Contains(b, []byte("\nspeadx_packets_total ")) {
					t.Errorf("%d: %.300s", resp.StatusCode, b)
				}
				if n == 3 {
					started <- struct{}{}
				}
			}
		})
	}
	<-started
	if err := s.r.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	clients.Wait()
}

// TestOldestIsClosed: a client that comes when there are as many as may be is served.
func TestOldestIsClosed(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := newBounded(inner, 2)
	defer b.Close()
	var ours, theirs []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		a, err := b.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		theirs, ours = append(theirs, c), append(ours, a)
	}
	if _, err := theirs[0].Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the oldest: %v", err)
	}
	for i := 1; i < 3; i++ {
		if _, err := ours[i].Write([]byte("x")); err != nil {
			t.Error(err)
		}
		if line, err := bufio.NewReader(theirs[i]).ReadByte(); err != nil || line != 'x' {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	ours[1].Close()
	ours[1].Close() // is counted once
	if b.open.Len() != 1 {
		t.Errorf("%d open", b.open.Len())
	}
}

func TestDebug(t *testing.T) {
	d, err := ListenDebug("127.0.0.1:0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	for path, want := range map[string]int{"/debug/pprof/": 200, "/debug/pprof/heap": 200, "/debug/pprof/goroutine?debug=1": 200, "/metrics": 404, "/": 404} {
		resp, err := http.Get("http://" + d.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
	if err := d.Close(); err != nil || d.Close() != nil {
		t.Error(err)
	}
}

// TestLogIsSeldom: errors of the HTTP server, once a second.
func TestLogIsSeldom(t *testing.T) {
	var out bytes.Buffer
	w := &seldom{log: slog.New(slog.NewTextHandler(&out, nil))}
	for range 1000 {
		if _, err := w.Write([]byte("http: TLS handshake error\n")); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(out.String(), "TLS handshake error"); n < 1 || n > 3 {
		t.Errorf("%d lines", n)
	}
}
