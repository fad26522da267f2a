// SPDX-License-Identifier: Apache-2.0

package bench

import "sync"

// made allocates.
type made struct {
	size int
	b    []byte
}

func (m *made) take() ([]byte, error) {
	m.b = make([]byte, m.size)
	return m.b, nil
}

func (m *made) release() error {
	m.b = nil
	return nil
}

// pooled takes from a sync.Pool.
type pooled struct {
	pool sync.Pool
	b    *[]byte
}

func newPooled(size int) *pooled {
	return &pooled{pool: sync.Pool{New: func() any {
		b := make([]byte, size)
		return &b
	}}}
}

func (p *pooled) take() ([]byte, error) {
	p.b = p.pool.Get().(*[]byte)
	return *p.b, nil
}

func (p *pooled) release() error {
	p.pool.Put(p.b)
	p.b = nil
	return nil
}
