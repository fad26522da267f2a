// SPDX-License-Identifier: Apache-2.0

// Package uplot holds uPlot, which draws the plots of the status page and of the report
// of `speadx bench`.
//
// The files are version 1.6.32 of https://github.com/leeoniya/uPlot, unchanged, as in the
// npm package uplot. It is under the MIT licence, which goes wherever the script goes.
package uplot

import _ "embed"

// Script defines the global uPlot. It has no "</script" in it, so a page may hold it.
//
//go:embed uPlot.iife.min.js
var Script string

// Style is the style sheet that Script needs.
//
//go:embed uPlot.min.css
var Style string

// License is the text of the licence.
//
//go:embed uPlot.LICENSE.txt
var License string
