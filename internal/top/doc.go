// SPDX-License-Identifier: Apache-2.0

// Package top shows a running receiver in a terminal. It reads the receiver's /status, as the
// page in a browser does, and nothing else.
//
// What a receiver sends is input from elsewhere: an answer is read to a limit, and names are
// escaped before they reach the terminal.
package top
