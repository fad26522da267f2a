// SPDX-License-Identifier: Apache-2.0

//go:build ops

package ops

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
)

// The page of few and of many streams, with and without loss, in both colours and on a
// phone: the state is right, problems come first, and nothing is wider than the screen.
func TestScenes(t *testing.T) {
	for _, c := range []struct {
		name          string
		scene         Scene
		width, height int64
		scheme        string
		verdict       string // the class of the state
	}{
		{"light", Scene{Streams: 1, Queues: 4}, 1280, 900, "light", "good"},
		{"dark", Scene{Streams: 8, Queues: 4, Lossy: true}, 1280, 900, "dark", "bad"},
		{"phone", Scene{Streams: 8, Queues: 2, Lossy: true}, 390, 844, "light", "bad"},
		{"many", Scene{Streams: 64, Queues: 16, Lossy: true}, 1280, 900, "dark", "bad"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(c.scene.handler())
			defer server.Close()
			b := newBrowser(t, server.URL)
			b.view(c.width, c.height, c.scheme)
			b.open(server.URL)
			// Two readings give rates, and a loss.
			b.wait(`document.querySelector("#rate-payload").textContent > "0" && document.querySelector("#verdict").classList.contains("` + c.verdict + `")`)
			// A screen reader hears of the state when it changes, and not of each number.
			said := b.text("#announce")
			b.wait(fmt.Sprintf("history.length >= %d", 2+eval[int](b, "history.length")))
			if now := b.text("#announce"); said == "" || now != said {
				t.Errorf("announced %q and then %q, of one state", said, now)
			}
			if got := eval[int64](b, "document.documentElement.scrollWidth"); got > c.width {
				t.Errorf("the page is %d pixels wide, the screen %d", got, c.width)
			}
			if n := eval[int](b, `document.querySelectorAll(".tile canvas").length`); n != 4 {
				t.Errorf("%d plots", n)
			}
			if n := eval[int](b, `document.querySelectorAll("table:not(:has(caption)), thead th:not([scope=col]), tbody tr:not(:has(> th[scope=row]))").length`); n != 0 {
				t.Errorf("%d tables, columns or rows without a header", n)
			}
			if text, want := b.text("#facts"), fmt.Sprintf(" %d of %d group", c.scene.Streams-1, c.scene.Streams); !strings.Contains(text, want) {
				t.Errorf("%q is not in the facts: %s", want, text)
			}
			streams := b.cells("streams")
			shown := c.scene.Streams
			if shown > 14 {
				shown = 12
			}
			if len(streams) != shown {
				t.Errorf("%d rows of streams, want %d", len(streams), shown)
			}
			if diagnoses := eval[int](b, `document.querySelectorAll("#diagnoses li").length`); c.scene.Lossy != (diagnoses == 3) || eval[bool](b, `document.querySelector("#no-diagnoses").hidden`) != c.scene.Lossy {
				t.Errorf("%d diagnoses", diagnoses)
			}
			if c.scene.Lossy {
				if streams[0][3] == "0" { // its incomplete heaps
					t.Errorf("the first stream is %q, which loses nothing", streams[0][0])
				}
				if queues := b.cells("queues"); queues[0][0] != "ens1f0np0 1" {
					t.Errorf("the first queue is %q, which loses nothing", queues[0][0])
				}
				if class := eval[string](b, `document.querySelector("#path .socket").className`); class != "socket losing" {
					t.Errorf("the stage that loses has class %q", class)
				}
			}
			if c.scene.Streams == 64 {
				eval[bool](b, `(document.querySelector("#streams .more").click(), true)`)
				if n := len(b.cells("streams")); n != 64 {
					t.Errorf("%d rows when all are wanted", n)
				}
				eval[bool](b, `(() => { const f = document.querySelector("#streams-filter"); f.value = "10.3."; f.dispatchEvent(new Event("input")); return true })()`)
				rows := b.cells("streams")
				for _, r := range rows {
					if !strings.Contains(r[0], "10.3.") {
						t.Errorf("row %q does not match the filter", r[0])
					}
				}
				if len(rows) != 16 {
					t.Errorf("%d rows match the filter", len(rows))
				}
				eval[bool](b, `(() => { const f = document.querySelector("#streams-filter"); f.value = ""; f.dispatchEvent(new Event("input")); document.querySelector("#streams .more").click(); return true })()`)
			}
			b.picture(c.name + ".png")
		})
	}
}

// Where no packets come, the groups that are not joined are named.
func TestNotJoined(t *testing.T) {
	server := httptest.NewServer(Scene{Queues: 1, Streams: 1, Silent: true}.handler())
	defer server.Close()
	b := newBrowser(t, server.URL)
	b.open(server.URL)
	b.wait(`document.querySelector("#verdict-word").textContent.startsWith("No packets for ")`)
	if text := b.text("#verdict-detail"); !strings.HasSuffix(text, " Not joined: 239.10.0.1 on ens1f0np0.") {
		t.Errorf("the page says: %s", text)
	}
}

// Streams without packets are no good state, however well the others are. They are named,
// and come first.
func TestSilentStreams(t *testing.T) {
	server := httptest.NewServer(Scene{Queues: 2, Streams: 64, Quiet: 5}.handler())
	defer server.Close()
	b := newBrowser(t, server.URL)
	b.view(1280, 900, "light")
	b.open(server.URL)
	b.wait(`document.querySelector("#verdict").classList.contains("warn")`)
	if text := b.text("#verdict-word"); text != "No packets on 5 of 64 streams" {
		t.Errorf("the state is %q", text)
	}
	if text, want := b.text("#verdict-detail"), "Silent: 239.10.3.12:7148 (60 s), "; !strings.HasPrefix(text, want) || !strings.Contains(text, " and 2 more. ") {
		t.Errorf("the page says: %s", text)
	}
	rows := b.cells("streams")
	for i := range 5 {
		if want := fmt.Sprintf("239.10.3.%d:7148", 12+i); rows[i][0] != want {
			t.Errorf("row %d is of %s, want %s", i, rows[i][0], want)
		}
	}
	if eval[bool](b, `document.querySelector("#no-diagnoses").textContent.includes("nothing else is wrong")`) {
		t.Error("the page says that nothing is wrong")
	}
}

// A file may be called anything: its name is text in the page.
func TestHostileName(t *testing.T) {
	const name = `<script>document.title='owned'</script><img src=x onerror="document.title='owned'">.pcap`
	server := httptest.NewServer(Scene{Streams: 2, Queues: 1, Lossy: true, Name: name}.handler())
	defer server.Close()
	b := newBrowser(t, server.URL)
	b.view(1280, 900, "light")
	b.open(server.URL)
	b.wait(`document.querySelectorAll("#streams tbody tr").length === 2 && document.querySelectorAll("#diagnoses li").length === 3`)
	found := 0
	for _, id := range []string{"streams", "pool"} {
		for _, r := range b.cells(id) {
			if r[0] == name {
				found++
			}
		}
	}
	if found != 2 {
		t.Errorf("the name is %d times in the tables, want 2: %q", found, b.cells("streams"))
	}
	if text := b.text("#diagnoses"); !strings.Contains(text, name) {
		t.Errorf("the name is not in the diagnoses: %s", text)
	}
	if n := eval[int](b, `document.querySelectorAll("main script, main img").length`); n != 0 {
		t.Errorf("%d elements came from a name", n)
	}
	if title := eval[string](b, "document.title"); strings.Contains(title, "owned") {
		t.Errorf("a name ran as a script: title %q", title)
	}
}

// A receiver that stops to answer is named as such, with the age of what is shown; and it
// is shown again when it answers again.
func TestNoAnswer(t *testing.T) {
	g := &gate{next: Scene{Streams: 1, Queues: 1}.handler()}
	server := httptest.NewServer(g)
	defer server.Close()
	b := newBrowser(t, server.URL)
	b.open(server.URL)
	b.wait(`document.querySelector("#verdict").classList.contains("good")`)

	g.set(closed)
	b.wait(`document.querySelector("#verdict-word").textContent === "The receiver does not answer" && document.body.classList.contains("stale")`)
	b.wait(`/figures are ([2-9]|\d\d) s old/.test(document.querySelector("#verdict-detail").textContent)`)
	if text := b.text("#verdict-detail"); !strings.Contains(text, "503") {
		t.Errorf("the reason is not given: %s", text)
	}
	g.set(foreign)
	b.wait(`document.querySelector("#verdict-detail").textContent.includes("JSON")`)
	g.set(strange)
	b.wait(`document.querySelector("#verdict-detail").textContent.includes("no number")`)
	g.set(open)
	b.wait(`document.querySelector("#verdict").classList.contains("good") && !document.body.classList.contains("stale")`)
	if b.forget("503") == 0 {
		t.Error("Chromium saw no status 503")
	}
}
