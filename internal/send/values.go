// SPDX-License-Identifier: Apache-2.0

package send

import (
	"fmt"
	"strconv"

	"github.com/speadx/speadx/spead"
)

// countTo is where the values of described items begin again.
const countTo = 100

// counting is the payload of an item of n elements. They count from first to 99 and then
// from 0 to 99, again and again. A receiver that prints them shows at once how it reads
// them.
func counting(t *spead.Type, first, n int) ([]byte, error) {
	round := make([]any, min(n, countTo))
	for i := range round {
		round[i] = countValue(t, (first+i)%countTo)
	}
	h, err := spead.NumpyHeader(t.String(), spead.OrderC, int64(len(round)))
	if err != nil {
		return nil, err
	}
	d := spead.Descriptor{ID: 1, DType: h}
	item, err := d.Encode(round)
	if err != nil {
		return nil, fmt.Errorf("values of type %v: %w", t, err)
	}
	payload := make([]byte, n*t.Bits/8)
	for at := 0; at < len(payload); at += len(item.Data) {
		copy(payload[at:], item.Data)
	}
	return payload, nil
}

// countValue is the number k as a value of a type. A bool reports whether it is odd. Text has
// its digits, as many as there is room for. A struct, or an array within one, has the
// number in each field.
func countValue(t *spead.Type, k int) any {
	room := t.Bits / 8
	switch t.Kind {
	case spead.KindBool:
		return k%2 != 0
	case spead.KindText:
		room /= 4
		fallthrough
	case spead.KindBytes:
		s := strconv.Itoa(k)
		return s[:min(len(s), room)]
	case spead.KindRaw:
		b := make([]byte, room)
		b[room-1] = byte(k)
		return b
	case spead.KindStruct:
		fields := make([]any, len(t.Fields))
		for i := range t.Fields {
			fields[i] = countArray(&t.Fields[i].Type, t.Fields[i].Shape, k)
		}
		return fields
	}
	return k
}

func countArray(t *spead.Type, shape []int, k int) any {
	if len(shape) == 0 {
		return countValue(t, k)
	}
	list := make([]any, shape[0])
	for i := range list {
		list[i] = countArray(t, shape[1:], k)
	}
	return list
}
