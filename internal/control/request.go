// SPDX-License-Identifier: Apache-2.0

package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/speadx/speadx/internal/settings"
)

// The operations.
const (
	OpAdd    = "add"    // receive a source
	OpRemove = "remove" // receive it no more
	OpList   = "list"   // what is received
	OpStatus = "status" // how it goes
)

// Ops are all operations.
var Ops = []string{OpAdd, OpRemove, OpList, OpStatus}

// Request is what a client asks for.
type Request struct {
	Op     string `json:"op"`
	Stream string `json:"stream,omitempty"` // of add and remove: the name of the stream; may be ""
	Source string `json:"source,omitempty"` // of add and remove: an address and port
}

// Reply answers a request. One of OK and Error is set.
type Reply struct {
	OK      bool   `json:"ok"`
	Reason  string `json:"reason,omitempty"` // a word for programs
	Error   string `json:"error,omitempty"`  // a sentence for people
	Streams any    `json:"streams,omitempty"`
	Status  any    `json:"status,omitempty"`
}

// Reasons of the server itself.
const (
	ReasonBadRequest = "bad_request" // it is no JSON object, or has an unknown key
	ReasonUnknownOp  = "unknown_op"
	ReasonMissing    = "missing_key"
	ReasonTooLong    = "line_too_long"
	ReasonBusy       = "too_many_clients"
	ReasonForbidden  = "other_user"
)

// RequestError says what is wrong with a request.
type RequestError struct {
	Reason, Text string
}

func (e *RequestError) Error() string { return e.Text }

// keys are those of a request.
var keys = []string{"op", "stream", "source"}

// ParseRequest reads a line. Its errors are a [*RequestError].
func ParseRequest(line []byte) (Request, error) {
	bad := func(reason, format string, args ...any) (Request, error) {
		return Request{}, &RequestError{reason, fmt.Sprintf(format, args...)}
	}
	// The keys first: an unknown one is mostly a slip.
	object := map[string]json.RawMessage{}
	in := json.NewDecoder(bytes.NewReader(line))
	if err := in.Decode(&object); err != nil || object == nil {
		return bad(ReasonBadRequest, `a request is a JSON object in a line, such as {"op":"list"}`)
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return bad(ReasonBadRequest, "there is more than one JSON object in the line (one each)")
	}
	texts := map[string]string{}
	for key, raw := range object {
		if !slices.Contains(keys, key) {
			return bad(ReasonBadRequest, "there is no key %.40q%s", key, settings.DidYouMean(key, keys))
		}
		var text *string
		if err := json.Unmarshal(raw, &text); err != nil || text == nil {
			return bad(ReasonBadRequest, "the value of %q is %.40s and must be a string", key, raw)
		}
		texts[key] = *text
	}
	r := Request{Op: texts["op"], Stream: texts["stream"], Source: texts["source"]}
	switch {
	case r.Op == "":
		return bad(ReasonMissing, `the key "op" is missing (one of %s)`, strings.Join(Ops, ", "))
	case !slices.Contains(Ops, r.Op):
		return bad(ReasonUnknownOp, "there is no op %.40q%s", r.Op, settings.DidYouMean(r.Op, Ops))
	case (r.Op == OpAdd || r.Op == OpRemove) && r.Source == "":
		return bad(ReasonMissing, `the key "source" is missing: an address and port, such as 239.1.2.3:7148`)
	}
	return r, nil
}
