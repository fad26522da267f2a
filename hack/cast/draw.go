// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// Sizes of the picture, in its own units.
const (
	charWidth  = 7.9 // of a 13-unit monospace font
	lineHeight = 17
	margin     = 12
	fontSize   = 13
	endPause   = 6 * time.Second // the last lines stay this long
)

// draw writes the lines as an SVG that shows them one after the other, and begins again.
// Two animations do it: each line becomes visible at its time, and the group of all
// lines moves up by a row for each line that does not fit any more.
func draw(w io.Writer, lines []line, columns, rows int) {
	var end time.Duration
	if len(lines) > 0 {
		end = lines[len(lines)-1].at
	}
	total := end + endPause
	percent := func(at time.Duration) string {
		return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", 100*at.Seconds()/total.Seconds()), "0"), ".")
	}
	width := float64(columns)*charWidth + 2*margin
	height := rows*lineHeight + 2*margin
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %d" width="%.0f" height="%d" font-family="ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="%d">
<style>text{fill:#d8dee9;white-space:pre;animation:%.2fs step-end infinite}#all{animation:scroll %.2fs step-end infinite}
`, width, height, width, height, fontSize, total.Seconds(), total.Seconds())
	names := map[string]string{} // of the animation that begins at a percentage
	for _, l := range lines {
		p := percent(l.at)
		if names[p] == "" && p != "0" {
			names[p] = fmt.Sprintf("t%d", len(names))
			fmt.Fprintf(w, "@keyframes %s{0%%{opacity:0}%s%%,100%%{opacity:1}}\n", names[p], p)
		}
	}
	fmt.Fprint(w, "@keyframes scroll{0%{transform:translateY(0)}")
	for i, l := range lines {
		next := i+1 == len(lines) || percent(lines[i+1].at) != percent(l.at)
		if i >= rows && next {
			fmt.Fprintf(w, "%s%%{transform:translateY(-%dpx)}", percent(l.at), (i+1-rows)*lineHeight)
		}
	}
	fmt.Fprintf(w, "100%%{transform:translateY(-%dpx)}}\n", max(0, len(lines)-rows)*lineHeight)
	fmt.Fprintf(w, `</style>
<rect width="100%%" height="100%%" rx="6" fill="#1f2430"/>
<svg x="%d" y="%d" width="%.0f" height="%d"><g id="all">
`, margin, margin, width-2*margin, rows*lineHeight)
	for i, l := range lines {
		if l.text == "" {
			continue
		}
		animation := ""
		if name := names[percent(l.at)]; name != "" {
			animation = fmt.Sprintf(` style="animation-name:%s"`, name)
		}
		fmt.Fprintf(w, `<text y="%d"%s xml:space="preserve">`, i*lineHeight+fontSize, animation)
		xml.EscapeText(w, []byte(l.text))
		fmt.Fprint(w, "</text>\n")
	}
	fmt.Fprint(w, "</g></svg>\n</svg>\n")
}
