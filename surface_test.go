// SPDX-License-Identifier: Apache-2.0

package speadx_test

import (
	"go/importer"
	"go/token"
	"go/types"
	"slices"
	"strings"
	"testing"
)

// publicPackages are those that others may import.
var publicPackages = []string{"", "/heap", "/pool", "/spead", "/xsk", "/bpf", "/ledger", "/metrics"}

// TestSurface: no exported signature has a type of an internal package in it. Others could
// neither name it nor make it.
func TestSurface(t *testing.T) {
	const module = "github.com/speadx/speadx"
	imp := importer.ForCompiler(token.NewFileSet(), "source", nil)
	names := 0
	for _, suffix := range publicPackages {
		p, err := imp.Import(module + suffix)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range p.Scope().Names() {
			object := p.Scope().Lookup(name)
			if !object.Exported() {
				continue
			}
			names++
			w := surface{seen: map[types.Type]bool{}, say: func(at string, of types.Type) { t.Errorf("%s.%s%s: %v", p.Name(), name, at, of) }}
			if alias, ok := object.Type().(*types.Alias); ok {
				w.walk("", alias.Rhs())
				continue
			}
			w.declared(object)
		}
	}
	t.Logf("%d exported names", names)
}

// known are internal types that are still in signatures: the readings of times.
var known = []string{"github.com/speadx/speadx/internal/histogram.Snapshot"}

// surface finds types of internal packages.
type surface struct {
	seen map[types.Type]bool
	say  func(at string, of types.Type)
}

// declared looks at what a name stands for, and at the methods and fields of a type.
func (s *surface) declared(o types.Object) {
	named, ok := o.Type().(*types.Named)
	if _, isType := o.(*types.TypeName); !isType || !ok {
		s.walk("", o.Type())
		return
	}
	s.seen[named] = true
	for m := range named.Methods() {
		if m.Exported() {
			s.walk("."+m.Name(), m.Type())
		}
	}
	s.walk("", named.Underlying())
}

func (s *surface) walk(at string, t types.Type) {
	if s.seen[t] {
		return
	}
	s.seen[t] = true
	switch t := t.(type) {
	case *types.Alias:
		s.walk(at, t.Rhs())
	case *types.Named:
		if p := t.Obj().Pkg(); p != nil && strings.Contains(p.Path(), "/internal/") && strings.HasPrefix(p.Path(), "github.com/speadx/") && !slices.Contains(known, t.String()) {
			s.say(at, t)
		}
	case *types.Pointer:
		s.walk(at, t.Elem())
	case *types.Slice:
		s.walk(at, t.Elem())
	case *types.Array:
		s.walk(at, t.Elem())
	case *types.Chan:
		s.walk(at, t.Elem())
	case *types.Map:
		s.walk(at, t.Key())
		s.walk(at, t.Elem())
	case *types.Signature:
		for v := range t.Params().Variables() {
			s.walk(at, v.Type())
		}
		for v := range t.Results().Variables() {
			s.walk(at, v.Type())
		}
	case *types.Struct:
		for f := range t.Fields() {
			if f.Exported() {
				s.walk(at+"."+f.Name(), f.Type())
			}
		}
	case *types.Interface:
		for m := range t.Methods() {
			if m.Exported() {
				s.walk(at+"."+m.Name(), m.Type())
			}
		}
	}
}
