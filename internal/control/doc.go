// SPDX-License-Identifier: Apache-2.0

// Package control lets a program be asked for something through a Unix socket, while it
// runs. Each request is a JSON object in a line, and so is each reply:
//
//	{"op":"add","stream":"B","source":"239.1.2.4:7148"}
//	{"ok":true}
//	{"op":"ad"}
//	{"ok":false,"reason":"unknown_op","error":"there is no op \"ad\" (did you mean add?)"}
//
// [Listen] makes the socket for its owner alone, and looks at the user of each client. A
// [Server] bounds what clients can cost: how many there are, how long a line is, and how
// long a client may take to send a request or to read a reply.
package control
