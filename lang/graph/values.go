package graph

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Entry is one pair of a Dict.
type Entry[T any] struct {
	Key   string
	Value T
}

// Dict is a dict that keeps the order of declaration.
type Dict[T any] []Entry[T]

// Get returns the value at key.
func (d Dict[T]) Get(key string) (v T, ok bool) {
	for i := range d {
		if d[i].Key == key {
			return d[i].Value, true
		}
	}
	return v, false
}

// Keys returns the keys in order of declaration.
func (d Dict[T]) Keys() []string {
	keys := make([]string, len(d))
	for i := range d {
		keys[i] = d[i].Key
	}
	return keys
}

// MarshalJSON writes an object, in order.
func (d Dict[T]) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, e := range d {
		if i > 0 {
			b.WriteByte(',')
		}
		k, err := marshal(e.Key)
		if err != nil {
			return nil, err
		}
		v, err := marshal(e.Value)
		if err != nil {
			return nil, err
		}
		b.Write(k)
		b.WriteByte(':')
		b.Write(v)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// UnmarshalJSON reads an object, keeping its order.
func (d *Dict[T]) UnmarshalJSON(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	t, err := dec.Token()
	if err != nil {
		return err
	}
	if t == nil {
		*d = nil
		return nil
	}
	if t != json.Delim('{') {
		return fmt.Errorf("got %v, want an object", t)
	}
	*d = Dict[T]{} // an empty dict stays one
	for dec.More() {
		k, err := dec.Token()
		if err != nil {
			return err
		}
		var e Entry[T]
		e.Key, _ = k.(string)
		if err := dec.Decode(&e.Value); err != nil {
			return err
		}
		*d = append(*d, e)
	}
	return nil
}

// marshal writes JSON as it is read best: <, > and & stay, for whoever encodes
// the whole escapes them where it must be.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// Duration is a time span; its JSON and text form is "1m30s".
type Duration time.Duration

// String is the form that the language takes: "200ms", "1m30s".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText writes String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what ParseDuration takes.
func (d *Duration) UnmarshalText(b []byte) error {
	p, err := ParseDuration(string(b))
	*d = p
	return err
}

// ParseDuration reads "200ms", "1m30s"; a bare number has no unit and is an error.
func ParseDuration(s string) (Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || s == "0" {
		return 0, fmt.Errorf(`got %q, want a duration such as "200ms" or "1m30s"`, s)
	}
	return Duration(d), nil
}

// Size is a number of bytes; its JSON form is a number.
type Size int64

// ParseSize reads "512M": K, M, G and T are powers of 1024.
func ParseSize(s string) (Size, error) {
	num, shift := s, 0
	if i := strings.IndexAny(s, "KMGT"); i >= 0 && (i == len(s)-1 || s[i+1:] == "B" || s[i+1:] == "iB") {
		num, shift = s[:i], 10*(1+strings.IndexByte("KMGT", s[i]))
	}
	n, err := strconv.ParseInt(num, 10, 64)
	if err != nil || n < 0 || n<<shift>>shift != n {
		return 0, fmt.Errorf(`got %q, want a size such as "512M" or "64K"`, s)
	}
	return Size(n << shift), nil
}

// Mode is permission bits; its JSON form is "0644".
type Mode uint32

// MarshalText writes octal digits with a leading 0.
func (m Mode) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%#o", uint32(m)), nil }

// UnmarshalText reads octal digits.
func (m *Mode) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(string(b), 8, 12)
	*m = Mode(n)
	return err
}

// Pos is a place in a source file. File is relative to the project root, or a
// module such as @std//postgres.star; Line and Col count from 1.
type Pos struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Col  int    `json:"col"`
}

// String is file:line:col.
func (p Pos) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col) }

// Frame is one call on the way to a declaration; the user's line comes first.
type Frame struct {
	Func string `json:"func"`
	Pos  Pos    `json:"pos"`
}

// Cond is what must hold of a node before another goes on.
type Cond string

// The conditions of services and tasks.
const (
	Started   Cond = "started"   // its process exists
	Probed    Cond = "probed"    // its ready probe has answered
	Ready     Cond = "ready"     // probed, and every task that gates it has succeeded
	Healthy   Cond = "healthy"   // ready, and the live probe passes now
	Succeeded Cond = "succeeded" // the task has ended well
	Completed Cond = "completed" // it has ended, whatever the exit code
	Stopped   Cond = "stopped"   // the service was stopped; for tasks that run at down
)

// Dep is a condition of a node, as fields such as after hold it. An empty Cond
// means the usual one: ready of a service, succeeded of a task.
type Dep struct {
	Node string `json:"node"`
	Cond Cond   `json:"cond,omitempty"`
	Weak bool   `json:"weak,omitempty"`
}

// Tree is any JSON-like tree: nil, bool, int64, finite float64, Text, []any and
// Dict[any]. A leaf that is exactly a port reference is bound to a number.
type Tree struct{ Value any }

// MarshalJSON writes the tree with markers for references.
func (d Tree) MarshalJSON() ([]byte, error) { return encodeTree(nil, d.Value) }

// encodeTree appends v. A float keeps its point: 1.0 and 1 differ in YAML and
// TOML, and the tree may be written after it was read back.
func encodeTree(b []byte, v any) ([]byte, error) {
	var err error
	switch v := v.(type) {
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = encodeTree(b, e); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case Dict[any]:
		b = append(b, '{')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			k, err := marshal(e.Key)
			if err != nil {
				return nil, err
			}
			if b, err = encodeTree(append(append(b, k...), ':'), e.Value); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	}
	leaf, err := marshal(v)
	if _, ok := v.(float64); ok && !bytes.ContainsAny(leaf, ".eE") {
		leaf = append(leaf, ".0"...)
	}
	return append(b, leaf...), err
}

// UnmarshalJSON reads a tree; strings are parsed for markers.
func (d *Tree) UnmarshalJSON(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	v, err := decodeTree(dec)
	d.Value = v
	return err
}

func decodeTree(dec *json.Decoder) (any, error) {
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case string:
		return ParseText(t)
	case json.Number:
		if n, err := t.Int64(); err == nil {
			return n, nil
		}
		return t.Float64()
	case json.Delim:
		if t == '[' {
			list := []any{}
			for dec.More() {
				v, err := decodeTree(dec)
				if err != nil {
					return nil, err
				}
				list = append(list, v)
			}
			_, err := dec.Token()
			return list, err
		}
		dict := Dict[any]{}
		for dec.More() {
			k, err := dec.Token()
			if err != nil {
				return nil, err
			}
			v, err := decodeTree(dec)
			if err != nil {
				return nil, err
			}
			key, _ := k.(string)
			dict = append(dict, Entry[any]{key, v})
		}
		_, err := dec.Token()
		return dict, err
	default:
		return t, nil
	}
}

// Texts calls yield for every text in the tree. Only a yield that gives its text
// another value writes to the tree: any number of others may read it meanwhile.
func (d *Tree) Texts(yield func(*Text)) { treeTexts(&d.Value, yield) }

func treeTexts(at *any, yield func(*Text)) {
	switch v := (*at).(type) {
	case Text:
		old := v
		yield(&v)
		if len(old) != len(v) || len(v) > 0 && &old[0] != &v[0] {
			*at = v
		}
	case []any:
		for i := range v {
			treeTexts(&v[i], yield)
		}
	case Dict[any]:
		for i := range v {
			treeTexts(&v[i].Value, yield)
		}
	}
}
