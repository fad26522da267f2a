// SPDX-License-Identifier: Apache-2.0

package spead_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/speadx/speadx/spead"
)

// valueOf sends a value and receives it; it begins at an odd offset, so that nothing
// is aligned.
func valueOf(t testing.TB, d *spead.Descriptor, value any) spead.Value {
	t.Helper()
	const f = spead.Flavour48
	var g spead.ItemGroup
	update(t, &g, received(t, f, spead.OutItem{ID: 0x20, Data: []byte("odd")}, described(t, d, f), item(t, d, value), spead.OutItem{ID: 0x21, Data: []byte("behind")}))
	return g.ByID(d.ID).Value()
}

// testView reads numbers of one type in both byte orders.
func testView[T spead.Number](t *testing.T, dtype string, numbers ...T) {
	t.Helper()
	for _, order := range []string{"<", ">"} {
		v := valueOf(t, numpy(t, 0x1000, "x", order+dtype, spead.OrderC, int64(len(numbers))), numbers)
		view, err := spead.ViewOf[T](v)
		if err != nil {
			t.Errorf("%s%s: %v", order, dtype, err)
			continue
		}
		native := v.Type().Bits == 8 || (order == "<") == (binary.NativeEndian.Uint16([]byte{1, 0}) == 1)
		if _, isBool := any(numbers[0]).(bool); isBool {
			native = false
		}
		if s, ok := view.Slice(); ok != native || ok && !slices.Equal(s, numbers) {
			t.Errorf("%s%s: Slice gives %v, %v", order, dtype, s, ok)
		}
		if view.Len() != len(numbers) || !slices.Equal(view.Shape(), []int{len(numbers)}) {
			t.Errorf("%s%s: %d elements of shape %v", order, dtype, view.Len(), view.Shape())
		}
		for i, want := range numbers {
			if got := view.At(i); got != want {
				t.Errorf("%s%s: element %d is %v, want %v", order, dtype, i, got, want)
			}
		}
		dst := make([]T, len(numbers)+1)
		if n := view.CopyTo(dst); n != len(numbers) || !slices.Equal(dst[:n], numbers) {
			t.Errorf("%s%s: CopyTo gives %v", order, dtype, dst[:n])
		}
		if n := view.CopyTo(dst[:1]); n != 1 {
			t.Errorf("%s%s: CopyTo of one gives %d", order, dtype, n)
		}
		if u, err := spead.Unpack([]T{numbers[0]}, v); err != nil || !slices.Equal(u[1:], numbers) || u[0] != numbers[0] {
			t.Errorf("%s%s: Unpack gives %v, %v", order, dtype, u, err)
		}
		for _, i := range []int{-1, len(numbers)} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s%s: there is an element %d", order, dtype, i)
					}
				}()
				view.At(i)
			}()
		}
	}
}

func TestView(t *testing.T) {
	testView[int8](t, "i1", -128, -1, 0, 127)
	testView[int16](t, "i2", math.MinInt16, -2, 0x1234)
	testView[int32](t, "i4", math.MinInt32, -3, 0x12345678)
	testView[int64](t, "i8", math.MinInt64, -4, 0x123456789abcdef0)
	testView[uint8](t, "u1", 0, 255)
	testView[uint16](t, "u2", 0x1234, 0xfedc)
	testView[uint32](t, "u4", 0x12345678, 0xfedcba98)
	testView[uint64](t, "u8", 0x123456789abcdef0, math.MaxUint64)
	testView[float32](t, "f4", 1.5, -math.Pi, math.MaxFloat32, float32(math.Inf(1)))
	testView[float64](t, "f8", 1.5, -math.Pi, math.SmallestNonzeroFloat64)
	testView[complex64](t, "c8", 1+2i, complex(-0.1, math.MaxFloat32))
	testView[complex128](t, "c16", 1+2i, complex(-0.1, 1e300))
	testView[bool](t, "b1", true, false, true)
	type sample int16
	testView[sample](t, "i2", -1, 2)
}

// TestViewOrder reads an array in the order of memory and by indices.
func TestViewOrder(t *testing.T) {
	rows := [][]int{{0, 1, 2}, {3, 4, 5}}
	for _, tt := range []struct {
		order  spead.Order
		memory []int32
	}{
		{spead.OrderC, []int32{0, 1, 2, 3, 4, 5}},
		{spead.OrderF, []int32{0, 3, 1, 4, 2, 5}},
	} {
		v, err := spead.ViewOf[int32](valueOf(t, numpy(t, 0x1000, "x", "<i4", tt.order, 2, 3), rows))
		if err != nil {
			t.Fatal(err)
		}
		got := make([]int32, 6)
		v.CopyTo(got)
		if !slices.Equal(got, tt.memory) || v.Order() != tt.order {
			t.Errorf("order %v: in memory there is %v", v.Order(), got)
		}
		for i, row := range rows {
			for j, want := range row {
				if got := v.At(v.Index(i, j)); got != int32(want) {
					t.Errorf("order %v: element (%d, %d) is %d, want %d", tt.order, i, j, got, want)
				}
			}
		}
		for _, bad := range [][]int{{0}, {2, 0}, {0, -1}, {0, 0, 0}} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("there is an index for %v", bad)
					}
				}()
				v.Index(bad...)
			}()
		}
	}
	// A slice goes the way of memory, not by rows.
	if got := valueOf(t, numpy(t, 0x1000, "x", "<i4", spead.OrderF, 2, 3), []int32{0, 3, 1, 4, 2, 5}).Any(); !reflect.DeepEqual(got, valueOf(t, numpy(t, 0x1000, "x", "<i4", spead.OrderF, 2, 3), rows).Any()) {
		t.Errorf("a flat slice is %v", got)
	}
}

// TestViewFields reads fields of structs where they lie, also arrays within them, in
// Fortran's order too.
func TestViewFields(t *testing.T) {
	dtype := "[('n', '>u2'), ('x', '<f4', (2, 3)), ('in', [('a', '|i1', (2,)), ('b', '<f8')])]"
	element := func(k int) any {
		return []any{k, [][]float32{{float32(k), 1, 2}, {3, 4, 5}}, []any{[]int{k, -k}, float64(k) / 2}}
	}
	for _, order := range []spead.Order{spead.OrderC, spead.OrderF} {
		v := valueOf(t, numpy(t, 0x1000, "x", dtype, order, 2, 2), [][]any{{element(0), element(1)}, {element(2), element(3)}})
		n, err := v.Field("n")
		if err != nil {
			t.Fatal(err)
		}
		nv, err := spead.ViewOf[uint16](n)
		if err != nil {
			t.Fatal(err)
		}
		x, _ := v.Field("x")
		xv, err := spead.ViewOf[float32](x)
		if err != nil {
			t.Fatal(err)
		}
		in, _ := v.Field("in")
		a, _ := in.Field("a")
		av, err := spead.ViewOf[int8](a)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := in.Field("b")
		bv, err := spead.ViewOf[float64](b)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(x.Shape(), []int{2, 2, 2, 3}) || !slices.Equal(av.Shape(), []int{2, 2, 2}) || xv.Len() != 24 {
			t.Errorf("shapes %v, %v", x.Shape(), av.Shape())
		}
		if _, ok := nv.Slice(); ok {
			t.Error("a field of structs is a slice")
		}
		for i := range 2 {
			for j := range 2 {
				k := 2*i + j
				if nv.At(nv.Index(i, j)) != uint16(k) || xv.At(xv.Index(i, j, 0, 0)) != float32(k) || xv.At(xv.Index(i, j, 1, 2)) != 5 ||
					av.At(av.Index(i, j, 1)) != int8(-k) || bv.At(bv.Index(i, j)) != float64(k)/2 {
					t.Errorf("order %v, struct (%d, %d): n %d, x %v, a %d, b %v", order, i, j, nv.At(nv.Index(i, j)),
						xv.At(xv.Index(i, j, 0, 0)), av.At(av.Index(i, j, 1)), bv.At(bv.Index(i, j)))
				}
			}
		}
		dst := make([]float32, 24)
		if xv.CopyTo(dst); dst[6] == dst[0] || dst[11] != 5 {
			t.Errorf("order %v: the array in memory is %v", order, dst)
		}
		if _, err := v.Field("y"); err == nil || !strings.Contains(err.Error(), `no field "y"`) {
			t.Errorf("field y: %v", err)
		}
		if _, err := n.Field("n"); err == nil {
			t.Error("a number has fields")
		}
	}
	// No structs have no fields, of any kind.
	none := valueOf(t, numpy(t, 0x1000, "x", "[('n', '<u2'), ('x', '<f4', (2,)), ('s', 'S3')]", spead.OrderC, 0), []any{})
	for _, name := range []string{"n", "x", "s"} {
		f, err := none.Field(name)
		if err != nil || f.Len() != 0 {
			t.Errorf("field %s of none: %v, %v", name, f, err)
		}
		if view, err := spead.ViewOf[float32](f); name == "x" && (err != nil || view.Len() != 0 || view.CopyTo(make([]float32, 3)) != 0) {
			t.Errorf("a view of field %s of none: %v", name, err)
		}
		f.Text()
		f.Any()
	}
	// Fields of a packed format that begin on whole bytes can be viewed.
	v := valueOf(t, format(0x1000, "x", "u4 i4 f32", 2), [][]any{{1, -1, 0.5}, {2, -2, 1.5}})
	f, _ := v.Field("f2")
	view, err := spead.ViewOf[float32](f)
	if err != nil || view.At(1) != 1.5 {
		t.Errorf("a float behind two half bytes: %v", err)
	}
	half, _ := v.Field("f1")
	if got, err := spead.Unpack[int8](nil, half); err != nil || !slices.Equal(got, []int8{-1, -2}) {
		t.Errorf("half bytes are %v, %v", got, err)
	}
}

func TestViewErrors(t *testing.T) {
	v := valueOf(t, numpy(t, 0x1000, "x", "<f4", spead.OrderC, 2), []float32{1, 2})
	for _, err := range []error{
		second(spead.ViewOf[float64](v)), second(spead.ViewOf[int32](v)), second(spead.ViewOf[uint32](v)), second(spead.ViewOf[complex64](v)),
	} {
		if err == nil || !strings.Contains(err.Error(), "elements are float of 32 bits (<f4), not ") {
			t.Errorf("error %v", err)
		}
	}
	if _, err := spead.ViewOf[uint8](spead.Value{}); err == nil {
		t.Error("there is a view of nothing")
	}
	packed := valueOf(t, format(0x1001, "p", "u4 u8", 2), [][]any{{1, 2}, {3, 4}})
	f, _ := packed.Field("f1")
	if _, err := spead.ViewOf[uint8](f); err == nil || !strings.Contains(err.Error(), "do not begin on whole bytes") {
		t.Errorf("bytes that begin in the middle of one: %v", err)
	}
}

func second[A any](_ A, err error) error { return err }

// TestUnpack converts where nothing is lost, and refuses the rest.
func TestUnpack(t *testing.T) {
	u12 := valueOf(t, format(0x1000, "x", "u12", 3), []int{0, 1, 4095})
	check := func(what string, got any, err error, want string) {
		t.Helper()
		if err != nil && !strings.Contains(err.Error(), want) || err == nil && fmt.Sprint(got) != want {
			t.Errorf("%s: %v, %v, want %s", what, got, err, want)
		}
	}
	a, err := spead.Unpack[uint16](nil, u12)
	check("u12 as uint16", a, err, "[0 1 4095]")
	b, err := spead.Unpack[float32](nil, u12)
	check("u12 as float32", b, err, "[0 1 4095]")
	_, err = spead.Unpack[uint8](nil, u12)
	check("u12 as uint8", nil, err, "uint8 does not hold every uint of 12 bits (u12)")
	i12 := valueOf(t, format(0x1000, "x", "i12", 2), []int{-2048, 2047})
	c, err := spead.Unpack[int16](nil, i12)
	check("i12 as int16", c, err, "[-2048 2047]")
	_, err = spead.Unpack[uint32](nil, i12)
	check("i12 as uint32", nil, err, "does not hold every int")
	half := valueOf(t, numpy(t, 0x1000, "x", "<f2", spead.OrderC, 2), []float64{0.5, -2})
	d, err := spead.Unpack[float64](nil, half)
	check("f2 as float64", d, err, "[0.5 -2]")
	_, err = spead.Unpack[int64](nil, half)
	check("f2 as int64", nil, err, "does not hold every float")
	i64 := valueOf(t, format(0x1000, "x", "i64"), int64(1<<62+1))
	_, err = spead.Unpack[float64](nil, i64)
	check("i64 as float64", nil, err, "does not hold every int")
	i54 := valueOf(t, format(0x1000, "x", "i54"), int64(-1<<53))
	e, err := spead.Unpack[float64](nil, i54)
	check("i54 as float64", e, err, "[-9.007199254740992e+15]")
	flags := valueOf(t, format(0x1000, "x", "b1", 3), []bool{true, false, true})
	g, err := spead.Unpack[int32](nil, flags)
	check("b1 as int32", g, err, "[1 0 1]")
	h, err := spead.Unpack[bool](nil, flags)
	check("b1 as bool", h, err, "[true false true]")
	text := valueOf(t, format(0x1000, "x", "c8", -1), "AB")
	i, err := spead.Unpack[uint16](nil, text)
	check("c8 as uint16", i, err, "[65 66]")
	z := valueOf(t, numpy(t, 0x1000, "x", ">c8", spead.OrderC), complex64(1-2i))
	j, err := spead.Unpack[complex128](nil, z)
	check("c8 as complex128", j, err, "[(1-2i)]")
}

// TestReadingAllocatesNothing: making a view of an item and reading all of it.
func TestReadingAllocatesNothing(t *testing.T) {
	const f = spead.Flavour48
	d := numpy(t, 0x1000, "x", ">f4", spead.OrderC, 10, 10)
	r := numpy(t, 0x1001, "r", "[('n', '<u2'), ('x', '<f4')]", spead.OrderC, 2)
	var g spead.ItemGroup
	update(t, &g, received(t, f, described(t, d, f), described(t, r, f), item(t, d, make([]float32, 100)), item(t, r, [][]any{{1, 2}, {3, 4}})))
	var sum float32
	if n := testing.AllocsPerRun(100, func() {
		view, err := spead.ViewOf[float32](g.ByName("x").Value())
		if err != nil {
			t.Fatal(err)
		}
		for i := range view.Len() {
			sum += view.At(i)
		}
		sum += view.At(view.Index(3, 4))
		field, err := g.ByName("r").Value().Field("x")
		if err != nil {
			t.Fatal(err)
		}
		fields, err := spead.ViewOf[float32](field)
		if err != nil {
			t.Fatal(err)
		}
		sum += fields.At(1)
	}); n != 0 || sum == 0 {
		t.Errorf("%v allocations, sum %v", n, sum)
	}
}

// twenty is a heap with twenty described items of several types, and the same again.
func twenty(tb testing.TB) *memHeap {
	const f = spead.Flavour48
	var items []spead.OutItem
	for i := range uint64(20) {
		var d *spead.Descriptor
		var v any
		switch i % 5 {
		case 4:
			d = numpy(tb, 0x1000+i, fmt.Sprintf("names_%d", i), "[('n', '<U4', (2,)), ('x', '<f4')]", spead.OrderC, 2)
			v = [][]any{{[]string{"a", "bc"}, 1}, {[]string{"µ", ""}, 2}}
		case 0:
			d, v = format(0x1000+i, fmt.Sprintf("timestamp_%d", i), "u48"), 1000*i
		case 1:
			d, v = numpy(tb, 0x1000+i, fmt.Sprintf("samples_%d", i), "<i2", spead.OrderC, 64, 2), make([]int16, 128)
		case 2:
			d, v = numpy(tb, 0x1000+i, fmt.Sprintf("weights_%d", i), ">f4", spead.OrderF, 8, 8), make([]float32, 64)
		case 3:
			d, v = format(0x1000+i, fmt.Sprintf("label_%d", i), "c8", -1), "MeerKAT"
		}
		items = append(items, described(tb, d, f), item(tb, d, v))
	}
	return received(tb, f, items...)
}

// TestRepeatedDescriptorsAllocateNothing: the usual heap of a sender that describes its
// items again and again.
func TestRepeatedDescriptorsAllocateNothing(t *testing.T) {
	for _, hold := range []int{0, 1} {
		g := spead.ItemGroup{Hold: hold, CopyBelow: 10}
		h := twenty(t)
		if n := len(update(t, &g, h)); n != 20 {
			t.Fatalf("%d items", n)
		}
		update(t, &g, h)
		if n := testing.AllocsPerRun(100, func() {
			if items, err := g.Update(h); err != nil || len(items) != 20 {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("hold %d: %v allocations", hold, n)
		}
	}
}

// BenchmarkUpdate is Update of a heap that repeats all of its 20 descriptors.
func BenchmarkUpdate(b *testing.B) {
	var g spead.ItemGroup
	h := twenty(b)
	update(b, &g, h)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Update(h); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkView reads an array of a million numbers.
func BenchmarkView(b *testing.B) {
	const f, n = spead.Flavour48, 1 << 20
	for _, dtype := range []string{"<f4", ">f4"} {
		d := numpy(b, 0x1000, "x", dtype, spead.OrderC, n)
		var g spead.ItemGroup
		update(b, &g, received(b, f, described(b, d, f), item(b, d, make([]float32, n))))
		for name, read := range map[string]func(v spead.View[float32]) float32{
			"At": func(v spead.View[float32]) (sum float32) {
				for i := range v.Len() {
					sum += v.At(i)
				}
				return sum
			},
			"Slice": func(v spead.View[float32]) (sum float32) {
				s, ok := v.Slice()
				if !ok {
					return 1
				}
				for _, x := range s {
					sum += x
				}
				return sum
			},
			"CopyTo": func(v spead.View[float32]) (sum float32) {
				v.CopyTo(space)
				return 0
			},
		} {
			b.Run(dtype+"/"+name, func(b *testing.B) {
				b.SetBytes(4 * n)
				b.ReportAllocs()
				for b.Loop() {
					v, err := spead.ViewOf[float32](g.ByName("x").Value())
					if err != nil {
						b.Fatal(err)
					}
					if read(v) == 1 {
						b.Skip("not in the machine's order")
					}
				}
			})
		}
	}
}

var space = make([]float32, 1<<20)
