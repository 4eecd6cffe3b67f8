package lang

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"orrery/lang/graph"
)

// reference is a value that is known only when the graph runs.
type reference struct{ ref graph.Ref }

func (r reference) Ref() graph.Ref               { return r.ref }
func (r reference) String() string               { return r.ref.String() }
func (r reference) Type() string                 { return "reference" }
func (r reference) Freeze()                      {}
func (r reference) Truth() starlark.Bool         { return true }
func (r reference) MarshalJSON() ([]byte, error) { return json.Marshal(r.String()) }
func (r reference) AttrNames() []string          { return []string{"weak"} }
func (r reference) Hash() (uint32, error) {
	return 0, fmt.Errorf("cannot use the reference %s as a dict key: its value is known only when the graph runs", r)
}

func (r reference) Attr(name string) (starlark.Value, error) {
	if name == "weak" {
		r.ref.Weak = true
		return r, nil
	}
	return nil, starlark.NoSuchAttrError(fmt.Sprintf("reference %s has no .%s", r, name))
}

// Binary joins a reference with text; its marker stays whole.
func (r reference) Binary(op syntax.Token, y starlark.Value, side starlark.Side) (starlark.Value, error) {
	var other string
	switch y := y.(type) {
	case starlark.String:
		other = string(y)
	case reference:
		other = y.String()
	case poison:
		return y, nil
	default:
		return nil, r.noValue(op, y)
	}
	if op != syntax.PLUS {
		return nil, r.noValue(op, y)
	}
	if side == starlark.Left {
		return starlark.String(r.String() + other), nil
	}
	return starlark.String(other + r.String()), nil
}

func (r reference) noValue(op syntax.Token, y starlark.Value) error {
	return fmt.Errorf("cannot compute %s %s %s: the value of a reference is known only when the graph runs", r, op, y.Type())
}

func (r reference) CompareSameType(op syntax.Token, y starlark.Value, _ int) (bool, error) {
	switch o := y.(reference); op {
	case syntax.EQL:
		return r.ref == o.ref, nil
	case syntax.NEQ:
		return r.ref != o.ref, nil
	}
	return false, fmt.Errorf("cannot order %s %s %s: the value of a reference is known only when the graph runs", r, op, y)
}

// secret is a reference to a secret's value, with .path.
type secret struct{ reference }

func (s secret) Type() string        { return "secret" }
func (s secret) AttrNames() []string { return []string{"path", "weak"} }
func (s secret) Attr(name string) (starlark.Value, error) {
	if name == "path" {
		r := s.ref
		r.Attr = "path"
		return reference{r}, nil
	}
	return s.reference.Attr(name)
}

// CompareSameType compares secrets by name.
func (s secret) CompareSameType(op syntax.Token, y starlark.Value, depth int) (bool, error) {
	return s.reference.CompareSameType(op, y.(secret).reference, depth)
}

// condition is something that must hold of a node.
type condition struct{ dep graph.Dep }

func (c condition) Dep() graph.Dep        { return c.dep }
func (c condition) String() string        { return c.dep.Node + "." + string(c.dep.Cond) }
func (c condition) Type() string          { return "condition" }
func (c condition) Freeze()               {}
func (c condition) Truth() starlark.Bool  { return true }
func (c condition) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: condition") }
func (c condition) AttrNames() []string   { return []string{"weak"} }
func (c condition) Attr(name string) (starlark.Value, error) {
	if name == "weak" {
		c.dep.Weak = true
		return c, nil
	}
	return nil, starlark.NoSuchAttrError(fmt.Sprintf("condition %s has no .%s", c, name))
}

// space holds the names below an attribute: db.ports.
type space struct {
	of  string
	get func(name string) (starlark.Value, error)
}

func (s *space) String() string                           { return s.of }
func (s *space) Type() string                             { return "names" }
func (s *space) Freeze()                                  {}
func (s *space) Truth() starlark.Bool                     { return true }
func (s *space) Hash() (uint32, error)                    { return 0, fmt.Errorf("unhashable: %s", s.of) }
func (s *space) Attr(name string) (starlark.Value, error) { return s.get(name) }
func (s *space) AttrNames() []string                      { return nil }
func (s *space) Get(k starlark.Value) (starlark.Value, bool, error) {
	name, ok := starlark.AsString(k)
	if !ok {
		return nil, false, fmt.Errorf("%s: got the key %s, want a string", s.of, k.Type())
	}
	v, err := s.get(name)
	return v, err == nil, err
}

// node is the handle of a declared service or task.
type node struct {
	run    *run
	n      *graph.Node
	broken bool // its declaration had a mistake
}

func (h *node) Node() (string, graph.Kind) { return h.n.Name(), h.n.Kind }
func (h *node) String() string             { return fmt.Sprintf("%s(%q)", h.n.Kind, h.n.Name()) }
func (h *node) Type() string               { return string(h.n.Kind) }
func (h *node) Freeze()                    {}
func (h *node) Truth() starlark.Bool       { return true }
func (h *node) Hash() (uint32, error)      { return starlark.String(h.n.Name()).Hash() }
func (h *node) AttrNames() []string {
	names := h.n.Dir()
	slices.Sort(names)
	return slices.Compact(names)
}

// Attr returns a reference, a condition or names below. A mistake is recorded
// and the evaluation goes on, except where hasattr or getattr asks.
func (h *node) Attr(name string) (starlark.Value, error) {
	if name == "name" {
		return starlark.String(h.n.Name()), nil
	}
	for _, a := range graph.Attributes(h.n.Kind) {
		switch {
		case a.Name != name:
		case a.Type == "cond":
			return condition{graph.Dep{Node: h.n.Name(), Cond: graph.Cond(name)}}, nil
		case a.Many:
			return &space{of: h.n.Name() + "." + name, get: func(key string) (starlark.Value, error) {
				return h.ref(name + "." + key)
			}}, nil
		}
	}
	return h.ref(name)
}

func (h *node) ref(attr string) (starlark.Value, error) {
	long, _, err := h.n.Attribute(attr)
	if err == nil {
		return reference{graph.Ref{Name: h.n.Name(), Attr: long}}, nil
	}
	if h.broken {
		return poison{}, nil
	}
	msg, hint, _ := strings.Cut(err.Error(), "; ")
	return h.run.attrError(msg, hint)
}

// attrError records a mistake in an attribute and returns poison; hasattr and
// getattr get an error that they understand.
func (r *run) attrError(msg, hint string) (starlark.Value, error) {
	if _, asks := r.thread.DebugFrame(0).Callable().(*starlark.Builtin); asks {
		return nil, starlark.NoSuchAttrError(msg)
	}
	r.report(Diagnostic{Code: "unknown-attribute", Message: msg, Hint: hint}, 0, "")
	return poison{}, nil
}

// later is a node known by name only: peer("mail") or self.
type later struct {
	run  *run
	name string
}

func (p *later) String() string        { return fmt.Sprintf("peer(%q)", p.name) }
func (p *later) Type() string          { return "peer" }
func (p *later) Freeze()               {}
func (p *later) Truth() starlark.Bool  { return true }
func (p *later) Hash() (uint32, error) { return starlark.String(p.name).Hash() }
func (p *later) AttrNames() []string   { return laterNames() }

func (p *later) Node() (string, graph.Kind) { return p.name, "" }

func laterNames() []string {
	var names []string
	for _, k := range []graph.Kind{graph.KindService, graph.KindTask} {
		for _, a := range graph.Attributes(k) {
			names = append(names, a.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (p *later) Attr(name string) (starlark.Value, error) {
	if name == "name" {
		return starlark.String(p.name), nil
	}
	return lateAttr(p.name, name, true)
}

// lateAttr returns what an attribute of a node not yet known may be; it is
// checked when the graph is made.
func lateAttr(node, name string, conds bool) (starlark.Value, error) {
	for _, k := range []graph.Kind{graph.KindService, graph.KindTask} {
		for _, a := range graph.Attributes(k) {
			switch {
			case a.Name != name:
			case a.Type == "cond" && conds:
				return condition{graph.Dep{Node: node, Cond: graph.Cond(name)}}, nil
			case a.Type == "cond":
				return nil, fmt.Errorf("cannot wait for %s.%s: a declaration does not wait for itself", node, name)
			case a.Many:
				return &space{of: node + "." + name, get: func(key string) (starlark.Value, error) {
					return reference{graph.Ref{Name: node, Attr: name + "." + key}}, nil
				}}, nil
			}
		}
	}
	return reference{graph.Ref{Name: node, Attr: name}}, nil
}

// self is the declaration whose arguments are being written.
type self struct{}

func (self) String() string        { return "self" }
func (self) Type() string          { return "self" }
func (self) Freeze()               {}
func (self) Truth() starlark.Bool  { return true }
func (self) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: self") }
func (self) AttrNames() []string   { return laterNames() }
func (self) Attr(name string) (starlark.Value, error) {
	return lateAttr(graph.Self, name, false)
}

// failedCall is the type of poison; errors that name it follow from another.
const failedCall = "result of a failed call"

// poison is what a failed call returns. It takes part in anything and brings
// no further error.
type poison struct{}

func (poison) Poisoned()                           {}
func (poison) String() string                      { return "" }
func (poison) Type() string                        { return failedCall }
func (poison) Len() int                            { return 0 }
func (poison) Freeze()                             {}
func (poison) Truth() starlark.Bool                { return true }
func (poison) Hash() (uint32, error)               { return 0, nil }
func (poison) Name() string                        { return "failed" }
func (poison) AttrNames() []string                 { return nil }
func (poison) Attr(string) (starlark.Value, error) { return poison{}, nil }
func (poison) MarshalJSON() ([]byte, error)        { return []byte(`""`), nil }
func (poison) Iterate() starlark.Iterator          { return starlark.Tuple(nil).Iterate() }
func (poison) Get(starlark.Value) (starlark.Value, bool, error) {
	return poison{}, true, nil
}

func (poison) Binary(syntax.Token, starlark.Value, starlark.Side) (starlark.Value, error) {
	return poison{}, nil
}

func (poison) CallInternal(*starlark.Thread, starlark.Tuple, []starlark.Tuple) (starlark.Value, error) {
	return poison{}, nil
}

// callable is a namespace that can be called too, such as project.
type callable struct {
	*starlark.Builtin
	attrs starlark.StringDict
}

func (c callable) AttrNames() []string { return c.attrs.Keys() }
func (c callable) Attr(name string) (starlark.Value, error) {
	return c.attrs[name], nil // nil: no such attribute
}

// tool is a value with an attribute for each of its programs.
type tool struct {
	id       string
	programs []string
}

func (t *tool) Tool() string          { return t.id }
func (t *tool) String() string        { return fmt.Sprintf("tool(%q)", t.id) }
func (t *tool) Type() string          { return "tool" }
func (t *tool) Freeze()               {}
func (t *tool) Truth() starlark.Bool  { return true }
func (t *tool) Hash() (uint32, error) { return starlark.String(t.id).Hash() }
func (t *tool) AttrNames() []string   { return t.programs }
func (t *tool) Attr(name string) (starlark.Value, error) {
	if slices.Contains(t.programs, name) {
		return reference{graph.Ref{Scope: graph.ScopeTool, Name: t.id, Attr: name}}, nil
	}
	return nil, starlark.NoSuchAttrError(fmt.Sprintf("tool %q has no program %q; it has %s", t.id, name, strings.Join(t.programs, ", ")))
}

// Get is Attr, for programs whose name is no identifier: tools["pg_ctl-15"].
func (t *tool) Get(k starlark.Value) (starlark.Value, bool, error) {
	name, _ := starlark.AsString(k)
	v, err := t.Attr(name)
	return v, err == nil, err
}

// machine is what the files can see of the machine.
type machine struct{ run *run }

func (m machine) String() string        { return "host" }
func (m machine) Type() string          { return "host" }
func (m machine) Freeze()               {}
func (m machine) Truth() starlark.Bool  { return true }
func (m machine) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: host") }
func (m machine) AttrNames() []string   { return []string{"arch", "ci", "cpus", "os"} }
func (m machine) Attr(name string) (starlark.Value, error) {
	h := m.run.opt.Host
	switch name {
	case "os":
		return starlark.String(h.OS), nil
	case "arch":
		return starlark.String(h.Arch), nil
	case "cpus":
		return starlark.MakeInt(h.CPUs), nil
	case "ci":
		return starlark.Bool(h.CI), nil
	}
	return nil, nil
}
