// SPDX-License-Identifier: Apache-2.0

package source

import (
	"errors"
	"fmt"
	"io"
)

// captureFile is one capture that is being read.
type captureFile struct {
	name    string
	index   int // among the files of its source
	in      *input
	records recordReader
	read    uint64 // records

	// Of a file among several: its first record, or the next.
	head   record
	opened bool
	ended  bool
	err    error // why it ended before its end
}

// open opens the file and looks at its header. That of a pipe may come later: next looks at it.
func (f *captureFile) open() error {
	in, err := openInput(f.name)
	if err != nil {
		return fmt.Errorf("capture file: %w", err)
	}
	f.in, f.opened = in, true
	if in.pipe != nil {
		return nil
	}
	if err := f.begin(); err != nil {
		f.close()
		return err
	}
	return nil
}

// begin looks at the header.
func (f *captureFile) begin() (err error) {
	if f.records, err = newRecordReader(f.in); err != nil {
		return fmt.Errorf("capture file: %s %w", f.name, err)
	}
	return nil
}

func (f *captureFile) next() (record, error) {
	if f.records == nil {
		if err := f.begin(); err != nil {
			return record{}, err
		}
	}
	r, err := f.records.next()
	if err != nil {
		if !errors.Is(err, io.EOF) {
			err = fmt.Errorf("capture file: %s: record %d: %w", f.name, f.read+1, err)
		}
		return record{}, err
	}
	f.read++
	r.file = f.index
	return r, nil
}

// advance reads the record that is next.
func (f *captureFile) advance() {
	var err error
	if f.head, err = f.next(); err != nil {
		f.ended = true
		if !errors.Is(err, io.EOF) {
			f.err = err
		}
		f.close()
	}
}

func (f *captureFile) close() error {
	f.opened, f.records = false, nil
	if f.in == nil {
		return nil
	}
	in := f.in
	f.in = nil
	return in.closer.Close()
}

// mergeOpen is how many files a merge has open at once, if their times allow it. Of others
// it knows the time of the first record.
const mergeOpen = 32

// merge reads several captures as one, in the order of time: the parts of a rotated capture,
// or what several interfaces saw. Records of one time come in the order of the files. A
// file that is damaged ends there; the others are read to their end, then it is reported.
type merge struct {
	files []*captureFile
	last  *captureFile // that the last record was of
	begun bool         // pipes have been read
}

// newMerge looks at the beginning of each file.
func newMerge(files []*captureFile) (*merge, error) {
	m := &merge{files: files}
	for i, f := range files {
		if err := f.open(); err != nil {
			m.close()
			return nil, err
		}
		if f.in.pipe != nil {
			continue // it may have nothing yet
		}
		f.advance()
		if i >= mergeOpen && f.opened {
			f.close() // it is opened again when its time has come
			f.read = 0
		}
	}
	return m, nil
}

func (m *merge) next() (record, error) {
	if !m.begun {
		m.begun = true
		for _, f := range m.files {
			if f.opened && f.in.pipe != nil {
				f.advance()
			}
		}
	}
	if m.last != nil {
		m.last.advance()
		m.last = nil
	}
	for _, f := range m.files {
		if !f.ended && (m.last == nil || f.head.at < m.last.head.at) {
			m.last = f
		}
	}
	if m.last == nil {
		return record{}, m.end()
	}
	if f := m.last; !f.opened {
		if err := f.open(); err != nil {
			f.ended, f.err = true, err
			m.last = nil
			return m.next()
		}
		if f.advance(); f.ended {
			m.last = nil
			return m.next()
		}
	}
	return m.last.head, nil
}

// end is io.EOF, or what was wrong with the files.
func (m *merge) end() error {
	var errs []error
	for _, f := range m.files {
		errs = append(errs, f.err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return io.EOF
}

func (m *merge) close() error {
	var errs []error
	for _, f := range m.files {
		errs = append(errs, f.close())
	}
	return errors.Join(errs...)
}
