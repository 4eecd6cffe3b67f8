package spec

import (
	"encoding/json"
	"fmt"
	"slices"

	stjson "go.starlark.net/lib/json"
	"go.starlark.net/starlark"

	"orrery/lang/graph"
)

// Referrer is a Starlark value that stands for a reference.
type Referrer interface {
	starlark.Value
	Ref() graph.Ref
}

// Noder is the handle of a node. The kind is empty for a node that is known
// by name only.
type Noder interface {
	starlark.Value
	Node() (name string, kind graph.Kind)
}

// Conder is a condition of a node.
type Conder interface {
	starlark.Value
	Dep() graph.Dep
}

// Tooler is a tool; Tool returns its name in the graph.
type Tooler interface {
	starlark.Value
	Tool() string
}

// Maker is a value that stands for a record.
type Maker interface {
	starlark.Value
	Made() *Object
}

// Poison is what a call that failed returns: it may stand anywhere and brings
// no further error.
type Poison interface {
	starlark.Value
	Poisoned()
}

// Object is a record as a Starlark value, such as probe.http("/"). It is
// immutable: a declaration that takes it gets a copy.
type Object struct {
	Record *Record
	Value  any    // pointer to the Go struct in lang/graph
	ID     string // identity of a config_file in references, else ""
	Local  bool   // it holds self, or refers to a config file, and is bound by the declaration that takes it
}

// Made returns the object itself.
func (o *Object) Made() *Object { return o }

// String shows the constructor.
func (o *Object) String() string { return o.Record.Builtin + "(...)" }

// Type is the name of the record in small letters, "pattern" or "probe".
func (o *Object) Type() string { return snake(o.Record.Name) }

// Freeze does nothing: an object never changes.
func (o *Object) Freeze() {}

// Truth is true.
func (o *Object) Truth() starlark.Bool { return true }

// Hash fails: objects are no dict keys.
func (o *Object) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: %s", o.Type()) }

// AttrNames are the fields.
func (o *Object) AttrNames() []string {
	names := make([]string, 0, len(o.Record.AllFields()))
	for _, f := range o.Record.AllFields() {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	return names
}

// Attr returns a field, as it was given or by default, so that a factory can
// read what its caller passes: site.domain. Durations are texts, references
// stand as their markers in texts, a record in a field is a dict; None is what
// is empty.
func (o *Object) Attr(name string) (starlark.Value, error) {
	if !slices.Contains(o.AttrNames(), name) {
		return nil, nil
	}
	b, err := json.Marshal(o.Value)
	if err != nil {
		return nil, err
	}
	decode := stjson.Module.Members["decode"]
	v, err := starlark.Call(&starlark.Thread{Name: "json"}, decode, starlark.Tuple{starlark.String(b)}, nil)
	if err != nil {
		return nil, err
	}
	fields, ok := v.(*starlark.Dict)
	if !ok {
		return nil, nil
	}
	field, found, err := fields.Get(starlark.String(name))
	if err != nil || !found {
		return starlark.None, err
	}
	field.Freeze()
	return field, nil
}

// snake turns ConfigFile into config_file.
func snake(s string) string {
	var b []byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			if i > 0 {
				b = append(b, '_')
			}
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return string(b)
}
