// SPDX-License-Identifier: Apache-2.0

// Cast runs a command in a pseudoterminal and draws what it prints as an animated SVG.
//
//	go run ./hack/cast -o docs/demo.svg bin/speadx demo
//
// Each line appears in the picture when the command printed it. A pause of more than
// [longestPause] is shortened to it, so that the picture repeats soon. Lines that no
// longer fit scroll out at the top, as in a terminal. The picture needs no script and
// no font file, so a browser shows it within an <img>.
//
// Cast knows text and line ends. It refuses a command that moves the cursor or sets
// colours, because its picture would not be what the terminal showed.
package main
