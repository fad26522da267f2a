// SPDX-License-Identifier: Apache-2.0

package top

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	maxAnswer = 16 << 20 // bytes; 64 streams on 16 queues take 200 KiB
	timeout   = 5 * time.Second
	// maxText is how much of an answer that is no JSON an error shows.
	maxText = 60
)

// Client reads /status of one receiver. It belongs to one goroutine.
type Client struct {
	url  *url.URL
	http *http.Client
}

// ParseURL makes the address of /status from what a user types: a URL, or a host and port.
func ParseURL(text string) (*url.URL, error) {
	whole := text
	if !strings.Contains(text, "://") {
		whole = "http://" + text
	}
	u, err := url.Parse(whole)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // which does not repeat a password
		}
		return nil, fmt.Errorf("not an address of a receiver: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("address %q has scheme %q, not http or https", u.Redacted(), u.Scheme)
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("address %q has no host (as in localhost:9717)", u.Redacted())
	}
	if !strings.HasSuffix(u.Path, "/status") {
		u.Path = strings.TrimSuffix(u.Path, "/") + "/status"
	}
	u.RawQuery, u.Fragment = "", ""
	return u, nil
}

// NewClient reads from the address. caFile names a file of certificates in PEM form to trust
// beside those of the system; "" is none.
func NewClient(u *url.URL, caFile string) (*Client, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = timeout
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, err
		}
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate in PEM form", caFile)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return &Client{url: u, http: &http.Client{
		Transport: t, Timeout: timeout,
		// A password must not follow to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Host is whom the client asks.
func (c *Client) Host() string { return c.url.Host }

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Fetch asks once. Its errors name the address, and what to do where one cause is likely.
func (c *Client) Fetch(ctx context.Context) (*Snapshot, error) {
	s, err := c.fetch(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.url.Redacted(), err)
	}
	return s, nil
}

func (c *Client) fetch(ctx context.Context) (*Snapshot, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return nil, reason(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, statusError(res)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", reason(err))
	}
	if len(b) > maxAnswer {
		return nil, fmt.Errorf("the answer is larger than %d MiB: this is no receiver", maxAnswer>>20)
	}
	return decode(b)
}

// reason is what went wrong, without the address, which the caller names.
func reason(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		if ue.Timeout() {
			return fmt.Errorf("no answer within %v", timeout)
		}
		err = ue.Err
	}
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w (does the receiver run with --metrics, and on this port?)", err)
	case errors.As(err, &unknown):
		return fmt.Errorf("%w (--ca FILE trusts a certificate)", err)
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return fmt.Errorf("%w (use http://)", err)
	}
	return err
}

func statusError(res *http.Response) error {
	err := fmt.Errorf("HTTP status %s", clean(res.Status))
	switch res.StatusCode {
	case http.StatusUnauthorized:
		return fmt.Errorf("%w (give a user and a password: http://USER:PASSWORD@HOST:PORT)", err)
	case http.StatusNotFound:
		return fmt.Errorf("%w (is this the port of --metrics?)", err)
	case http.StatusBadRequest:
		return fmt.Errorf("%w (a server with TLS wants https://)", err)
	}
	if res.StatusCode == http.StatusServiceUnavailable { // it starts, say
		b, _ := io.ReadAll(io.LimitReader(res.Body, maxText))
		if text := strings.TrimSpace(string(b)); text != "" {
			return fmt.Errorf("%w: %s", err, clean(text))
		}
	}
	if to := res.Header.Get("Location"); to != "" {
		return fmt.Errorf("%w, to %s (give that address)", err, clean(to))
	}
	return err
}

func decode(b []byte) (*Snapshot, error) {
	s := new(Snapshot)
	if err := json.Unmarshal(b, s); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return nil, fmt.Errorf("the answer has a %s as %s: another version of speadx runs there", clean(kind.Value), clean(kind.Field))
		}
		text := b
		if len(text) > maxText {
			text = text[:maxText]
		}
		return nil, fmt.Errorf("the answer is no JSON: %v: %s", err, clean(string(text)))
	}
	if s.Type != "summary" {
		return nil, fmt.Errorf("the answer has type %q, not \"summary\": this is no receiver", clean(s.Type))
	}
	return s, nil
}
