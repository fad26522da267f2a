// SPDX-License-Identifier: Apache-2.0

// Package filter chooses datagrams by an expression as tcpdump has them, over what a parsed
// datagram tells: addresses, ports and VLAN tag.
//
//	[src|dst] host ADDRESS     [src|dst] net ADDRESS/BITS
//	[src|dst] port N           [src|dst] portrange N-M
//	vlan [N]   udp   ip   ip6
//
// They are joined by and (&&), or (||), not (!) and parentheses. "not" binds closest; "and"
// and "or" bind alike, from left to right, as in pcap-filter(7). "vlan" looks at the innermost
// tag and shifts no offsets: other primitives mean the same before and after it.
//
// A compiled filter does not change, and any number of goroutines may use it.
package filter

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/speadx/speadx/internal/frame"
)

// Filter reports whether a datagram is wanted.
type Filter func(*frame.Datagram) bool

// Error says what is wrong with an expression, and where.
type Error struct {
	Expression string
	Position   int // byte
	Reason     string
}

// Error names the place by the text that begins there.
func (e *Error) Error() string {
	at := "at its end"
	if e.Position < len(e.Expression) {
		rest := e.Expression[e.Position:]
		at = fmt.Sprintf("at %q", rest[:min(len(rest), 30)])
	}
	return fmt.Sprintf("filter %q: %s: %s", e.Expression, at, e.Reason)
}

// most bounds the depth of parentheses and negations.
const most = 100

// Parse compiles an expression. The errors are [*Error].
func Parse(expression string) (Filter, error) {
	p := &parser{text: expression}
	p.next()
	if p.word == "" {
		return nil, p.fail("there is no expression")
	}
	f, err := p.or(0)
	if err == nil && p.word != "" {
		err = p.fail("\"and\" or \"or\" is missing before it")
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

type parser struct {
	text  string
	pos   int    // behind word
	start int    // of word
	word  string // "" at the end
}

func (p *parser) fail(reason string) error { return &Error{p.text, p.start, reason} }

// next goes to the next word: an operator, a parenthesis, or what stands between spaces.
func (p *parser) next() {
	for p.pos < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.pos]) >= 0 {
		p.pos++
	}
	p.start = p.pos
	rest := p.text[p.pos:]
	for _, op := range []string{"&&", "||", "!", "(", ")"} {
		if strings.HasPrefix(rest, op) {
			p.word, p.pos = op, p.pos+len(op)
			return
		}
	}
	n := strings.IndexAny(rest, " \t\r\n()!&|")
	if n < 0 {
		n = len(rest)
	}
	if n == 0 && rest != "" {
		n = 1 // a single & or |
	}
	p.word, p.pos = rest[:n], p.pos+n
}

func (p *parser) or(depth int) (Filter, error) {
	left, err := p.unary(depth)
	for err == nil {
		a := left
		var b Filter
		switch p.word {
		case "and", "&&":
			p.next()
			if b, err = p.unary(depth); err == nil {
				left = func(d *frame.Datagram) bool { return a(d) && b(d) }
			}
		case "or", "||":
			p.next()
			if b, err = p.unary(depth); err == nil {
				left = func(d *frame.Datagram) bool { return a(d) || b(d) }
			}
		default:
			return left, nil
		}
	}
	return nil, err
}

func (p *parser) unary(depth int) (Filter, error) {
	if depth > most {
		return nil, p.fail("it is nested too deep")
	}
	switch p.word {
	case "not", "!":
		p.next()
		f, err := p.unary(depth + 1)
		if err != nil {
			return nil, err
		}
		return func(d *frame.Datagram) bool { return !f(d) }, nil
	case "(":
		p.next()
		f, err := p.or(depth + 1)
		if err != nil {
			return nil, err
		}
		if p.word != ")" {
			return nil, p.fail("a closing parenthesis is missing")
		}
		p.next()
		return f, nil
	}
	return p.primitive()
}

// ends are which end of the way a primitive looks at.
type ends struct{ src, dst bool }

func (e ends) either(d *frame.Datagram, test func(netip.AddrPort) bool) bool {
	return e.src && test(d.Src) || e.dst && test(d.Dst)
}

func (p *parser) primitive() (Filter, error) {
	e := ends{true, true}
	switch p.word {
	case "src", "dst":
		e = ends{p.word == "src", p.word == "dst"}
		p.next()
		switch p.word {
		case "host", "net", "port", "portrange":
		default:
			if _, err := netip.ParseAddr(p.word); err == nil {
				return p.host(e)
			}
			return nil, p.fail("host, net, port or portrange must follow src and dst")
		}
	case "udp":
		p.next()
		switch p.word {
		case "port", "portrange", "src", "dst":
			return p.primitive()
		}
		return func(*frame.Datagram) bool { return true }, nil // nothing else comes here
	case "ip", "ip6":
		four := p.word == "ip"
		p.next()
		return func(d *frame.Datagram) bool { return d.Dst.Addr().Unmap().Is4() == four }, nil
	case "vlan":
		p.next()
		id, err := strconv.ParseUint(p.word, 10, 16)
		if err != nil {
			return func(d *frame.Datagram) bool { return d.VLAN >= 0 }, nil
		}
		if id > 4095 {
			return nil, p.fail("a VLAN is a number up to 4095")
		}
		p.next()
		return func(d *frame.Datagram) bool { return d.VLAN == int(id) }, nil
	}
	kind := p.word
	switch kind {
	case "host":
		p.next()
		return p.host(e)
	case "net":
		p.next()
		return p.net(e)
	case "port", "portrange":
		p.next()
		return p.ports(e, kind == "portrange")
	case "":
		return nil, p.fail("a primitive is missing, such as: dst host 239.1.2.3")
	}
	return nil, p.fail("there is no such word (host, net, port, portrange, src, dst, vlan, udp, ip, ip6, and, or, not)")
}

func (p *parser) host(e ends) (Filter, error) {
	a, err := netip.ParseAddr(strings.Trim(p.word, "[]"))
	if err != nil {
		return nil, p.fail("it is not an IP address (names are not looked up)")
	}
	a = a.Unmap()
	p.next()
	return func(d *frame.Datagram) bool {
		return e.either(d, func(x netip.AddrPort) bool { return x.Addr().Unmap() == a })
	}, nil
}

func (p *parser) net(e ends) (Filter, error) {
	n, err := netip.ParsePrefix(p.word)
	if err != nil {
		return nil, p.fail("it is not a network, such as 239.1.0.0/16")
	}
	n = n.Masked()
	p.next()
	return func(d *frame.Datagram) bool {
		return e.either(d, func(x netip.AddrPort) bool { return n.Contains(x.Addr().Unmap()) })
	}, nil
}

func (p *parser) ports(e ends, isRange bool) (Filter, error) {
	first, last := p.word, p.word
	if isRange {
		var ok bool
		if first, last, ok = strings.Cut(p.word, "-"); !ok {
			return nil, p.fail("it is not a range of ports, such as 7148-7151")
		}
	}
	lo, err := strconv.ParseUint(first, 10, 16)
	hi, err2 := strconv.ParseUint(last, 10, 16)
	if err != nil || err2 != nil || hi < lo {
		return nil, p.fail("it is not a port, or a range of ports (0 to 65535)")
	}
	p.next()
	return func(d *frame.Datagram) bool {
		return e.either(d, func(x netip.AddrPort) bool { return uint64(x.Port()) >= lo && uint64(x.Port()) <= hi })
	}, nil
}
