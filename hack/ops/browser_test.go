// SPDX-License-Identifier: Apache-2.0

//go:build ops

package ops

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is Chromium without a window, with one tab.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	requests []string
	console  []string
}

// newBrowser starts Chromium. It ends with the test, which fails if the page wrote to the
// console, or asked for anything from elsewhere than its server.
func newBrowser(t *testing.T, server string) *browser {
	t.Helper()
	b := startBrowser(t)
	t.Cleanup(func() { b.check(server) })
	return b
}

// newFileBrowser starts Chromium for a page that is a file. The test fails if the page
// wrote to the console, or asked for anything but itself.
func newFileBrowser(t *testing.T) *browser {
	t.Helper()
	b := startBrowser(t)
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, r := range b.requests[min(1, len(b.requests)):] {
			t.Errorf("the page asked for %q", r)
		}
		b.checkConsole()
	})
	return b
}

func startBrowser(t *testing.T) *browser {
	t.Helper()
	options := slices.Clone(chromedp.DefaultExecAllocatorOptions[:])
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium has none for root
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatalf("starting Chromium: %v", err)
	}
	for _, enable := range []func() error{
		func() error {
			_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
			return err
		},
		func() error { _, err := chromedp.Call(ctx, log.Enable, cdp.Empty{}); return err },
	} {
		if err := enable(); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// listen runs in the loop that reads the browser's messages.
func (b *browser) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			text += " " + x.Description
		}
		b.console = append(b.console, "exception: "+text)
	case *runtime.EventConsoleAPICalled:
		b.console = append(b.console, fmt.Sprintf("console.%v", e.Type))
	case *log.EventEntryAdded:
		b.console = append(b.console, fmt.Sprintf("%v: %s (%s)", e.Entry.Level, e.Entry.Text, e.Entry.URL))
	}
}

func (b *browser) check(server string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	own, err := url.Parse(server)
	if err != nil {
		b.t.Fatal(err)
	}
	var polls int
	for _, r := range b.requests {
		u, err := url.Parse(r)
		if err != nil || u.Host != own.Host || u.Scheme != own.Scheme {
			b.t.Errorf("the page asked for %q, which is not of its server", r)
			continue
		}
		if u.Path == "/status" {
			polls++
		}
	}
	if polls == 0 {
		b.t.Errorf("the page never asked for /status, but for %q", b.requests)
	}
	b.checkConsole()
}

func (b *browser) checkConsole() {
	for _, m := range b.console {
		b.t.Errorf("on the browser's console: %s", m)
	}
}

// forget drops what was written on the console, where that was to be.
func (b *browser) forget(containing string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.console = slices.DeleteFunc(b.console, func(m string) bool {
		if strings.Contains(m, containing) {
			n++
			return true
		}
		return false
	})
	return n
}

// view sets the size and the colours before a page is opened.
func (b *browser) view(width, height int64, scheme string) {
	b.t.Helper()
	b.media("", scheme)
	if err := chromedp.Do(b.ctx, chromedp.EmulateViewport(width, height)); err != nil {
		b.t.Fatal(err)
	}
}

// media is what the page is shown on: "" is a screen, and "print" paper.
func (b *browser) media(media, scheme string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Media: media, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) open(address string) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, chromedp.Navigate(address)); err != nil {
		b.t.Fatal(err)
	}
}

// wait waits until an expression is true in the page.
func (b *browser) wait(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 40*time.Second)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool]("!!("+expression+")", chromedp.WithPollingInterval(50*time.Millisecond))); err != nil {
		text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.body.innerText"))
		b.t.Fatalf("waiting for %s: %v; the page says:\n%s", expression, err, text)
	}
}

// eval is the value of an expression in the page.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// text is the text of an element.
func (b *browser) text(selector string) string {
	b.t.Helper()
	return eval[string](b, fmt.Sprintf("document.querySelector(%q).textContent", selector))
}

// cells are the texts of a table's body, row by row.
func (b *browser) cells(id string) [][]string {
	b.t.Helper()
	return eval[[][]string](b, fmt.Sprintf("[...document.querySelectorAll('#%s tbody tr')].map(r => [...r.children].map(c => c.textContent))", id))
}

// picture writes what the page looks like to a file, if a directory for it is named.
func (b *browser) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("SPEADX_PICTURES")
	if dir == "" {
		return
	}
	shot, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	// Chromium compresses in a hurry.
	img, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		b.t.Fatal(err)
	}
	var small bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, few(img)); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), small.Bytes(), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// few is the picture with its 256 most frequent colours, to be small.
func few(img image.Image) image.Image {
	bounds := img.Bounds()
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(img.At(x, y)).(color.RGBA) }
	count := map[color.RGBA]int{}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			count[at(x, y)]++
		}
	}
	byCount := slices.SortedFunc(maps.Keys(count), func(a, b color.RGBA) int { return count[b] - count[a] })
	var palette color.Palette
	for _, c := range byCount[:min(256, len(byCount))] {
		palette = append(palette, c)
	}
	index := map[color.RGBA]uint8{}
	for _, c := range byCount {
		index[c] = uint8(palette.Index(c))
	}
	out := image.NewPaletted(bounds, palette)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			out.SetColorIndex(x, y, index[at(x, y)])
		}
	}
	return out
}
