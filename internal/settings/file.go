// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v4"
	"golang.org/x/sys/unix"
)

// maxFile is the largest configuration file in bytes. 4096 sources take 100 KiB.
const maxFile = 1 << 20

// File is a configuration file.
type File struct {
	Path    string
	Entries []Entry // in the order of the file; each key once
}

// Entry is one key and its value. A list has any number of values.
type Entry struct {
	Key    string
	Line   int
	List   bool
	Values []string
	Lines  []int // of the values
}

// Read reads a configuration file. Each error is an [*Error] that names the file.
func Read(path string) (*File, error) {
	f := &File{Path: path}
	// A pipe without a writer must not make us wait: it is opened and then refused.
	in, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		var cause *os.PathError
		reason := err.Error()
		if errors.As(err, &cause) {
			reason = cause.Err.Error()
		}
		if errors.Is(err, os.ErrPermission) {
			reason += " (the user of this process must be able to read the file)"
		}
		return nil, f.wrong(0, reason, err)
	}
	defer in.Close()
	info, err := in.Stat()
	switch {
	case err != nil:
		return nil, f.wrong(0, err.Error(), err)
	case info.IsDir():
		return nil, f.wrong(0, "is a directory (name the file in it)", nil)
	case !info.Mode().IsRegular():
		return nil, f.wrong(0, "is not a regular file", nil)
	}
	data, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, f.wrong(0, err.Error(), err)
	}
	return Parse(path, data)
}

// Parse reads the content of a configuration file; path is for messages. It allows one
// document with one mapping. Its keys are different from each other. Its values are
// scalars, or lists of scalars. Aliases are refused: what an alias stands for is not to be
// seen where it stands, and aliases of aliases grow without bound.
func Parse(path string, data []byte) (*File, error) {
	f := &File{Path: path}
	if len(data) > maxFile {
		return nil, f.wrong(0, fmt.Sprintf("has more than %d bytes, and is no configuration file", maxFile), nil)
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		return nil, f.wrong(0, err.Error(), err)
	}
	var doc yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF):
		return f, nil // an empty file
	case err != nil:
		return nil, f.notYAML(data, err)
	}
	var more yaml.Node
	switch err := loader.Load(&more); {
	case errors.Is(err, io.EOF):
	case err != nil:
		return nil, f.notYAML(data, err)
	default:
		return nil, f.wrong(more.Line, "a second document begins here (there may be one)", nil)
	}
	root := &doc
	if root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
		root = root.Content[0]
	}
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" || root.Kind == yaml.DocumentNode || root.Kind == 0 {
		return f, nil // comments only
	}
	if root.Kind != yaml.MappingNode {
		return nil, f.wrong(root.Line, fmt.Sprintf("%s is not a list of settings, such as \"heap-size: 64MiB\"", kindName(root)), nil)
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(root.Content); i += 2 {
		e, err := f.entry(root.Content[i], root.Content[i+1])
		if err != nil {
			return nil, err
		}
		if first, ok := lines[e.Key]; ok {
			return nil, f.wrongEntry(&e, fmt.Sprintf("stands in line %d already (keep one of them)", first))
		}
		lines[e.Key] = e.Line
		f.Entries = append(f.Entries, e)
	}
	return f, nil
}

func (f *File) entry(key, value *yaml.Node) (Entry, error) {
	e := Entry{Key: key.Value, Line: key.Line}
	if key.Kind != yaml.ScalarNode || key.Value == "" || len(key.Value) > longestShown || strings.ContainsAny(key.Value, "\n\r\t") {
		return e, f.wrong(key.Line, fmt.Sprintf("%s is no key (a key is the name of a flag)", kindName(key)), nil)
	}
	if value.Kind == yaml.SequenceNode {
		e.List = true
		for _, v := range value.Content {
			if err := f.value(&e, v); err != nil {
				return e, err
			}
		}
		return e, nil
	}
	return e, f.value(&e, value)
}

// value adds a scalar to an entry.
func (f *File) value(e *Entry, v *yaml.Node) error {
	at := *e
	at.Line = max(v.Line, 1)
	switch {
	case v.Kind == yaml.AliasNode:
		return f.wrongEntry(&at, fmt.Sprintf("*%s is an alias, which a configuration file cannot have (write the value)", v.Value))
	case v.Kind != yaml.ScalarNode:
		return f.wrongEntry(&at, fmt.Sprintf("%s is not a value (a value is a word, a number, or a list of them)", kindName(v)))
	}
	switch tag := v.ShortTag(); tag {
	case "!!str", "!!int", "!!float", "!!bool", "!!timestamp":
	case "!!null":
		return f.wrongEntry(&at, "has no value (give it one, or remove the key)")
	default:
		return f.wrongEntry(&at, fmt.Sprintf("the tag %s cannot be used (remove it)", quoted(tag)))
	}
	e.Values = append(e.Values, v.Value)
	e.Lines = append(e.Lines, at.Line)
	return nil
}

func kindName(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	return quoted(n.Value)
}

// notYAML says where the parser stopped.
func (f *File) notYAML(data []byte, err error) error {
	var at *yaml.LoadError
	if !errors.As(err, &at) {
		return f.wrong(0, "is not YAML: "+err.Error(), err)
	}
	line := at.Mark.Line
	if line == 0 { // the reader knows the byte only
		line = 1 + bytes.Count(data[:min(max(at.Mark.Index, 0), len(data))], []byte("\n"))
	}
	return f.wrong(line, "this is not YAML: "+at.Message, err)
}

func (f *File) wrong(line int, reason string, cause error) *Error {
	return &Error{Origin: Origin{Kind: InFile, File: f.Path, Line: line}, Reason: reason, Err: cause}
}

func (f *File) wrongEntry(e *Entry, reason string) *Error {
	return &Error{Origin: Origin{Kind: InFile, File: f.Path, Line: e.Line}, Key: e.Key, Reason: reason}
}
