package spec

import (
	"fmt"
	"sync"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"orrery"
)

// Kind is a type of the meta-vocabulary.
type Kind string

// The types that a field can have.
const (
	kindString   Kind = "string"
	kindText     Kind = "text"
	kindPath     Kind = "path"
	kindPort     Kind = "port"
	kindInt      Kind = "int"
	kindBool     Kind = "bool"
	kindDuration Kind = "duration"
	kindSize     Kind = "size"
	kindMode     Kind = "mode"
	kindSignal   Kind = "signal"
	kindPattern  Kind = "pattern"
	kindData     Kind = "data"
	kindAny      Kind = "any"
	kindCond     Kind = "cond"
	kindNode     Kind = "node"
	kindTool     Kind = "tool"
	kindRef      Kind = "ref"
	kindEnum     Kind = "enum"
	kindList     Kind = "list"
	kindDict     Kind = "dict"
)

// Type is the type of a field.
type Type struct {
	Kind     Kind
	Elem     *Type    // of a list or dict
	Enum     []string // of an enum
	Ref      string   // name of a record, of a ref; "service" or "task" (or "") of a node
	Min, Max *int     // of an int
	Single   bool     // of a list: a bare element stands for a list of it
	Optional bool     // None is allowed

	record *Record    // of a ref
	space  *Namespace // of a ref
}

// Field is one argument of a builtin.
type Field struct {
	Name       string
	Type       *Type
	Doc        string
	Default    starlark.Value // nil: required, or None when Type.Optional
	Positional bool
	Edge       bool   // a reference in it makes the node wait
	Later      bool   // carried into the graph, not yet effective
	Since      string // version of the language that brought it
	Deprecated string // what to use instead
}

// Required reports whether the argument must be given.
func (f *Field) Required() bool { return f.Default == nil && !f.Type.Optional }

// Record is a typed value of the language: its fields and how it is made.
type Record struct {
	Name      string
	Builtin   string // function that makes it: "service", "probe.http"; "" for none
	Kind      string // of a constructor in a namespace
	Shorthand string // field that a bare value stands for
	Varargs   string // list field that takes the positional arguments
	Extends   string
	Doc       string
	Union     bool // exactly one field is set, chosen by the value's type
	Abstract  bool
	Fields    []*Field   // own ones; AllFields has the inherited too
	Exactly   [][]string // groups of fields of which exactly one must be given

	all    []*Field
	byName map[string]int
	plan   *plan // nil of functions
}

// AllFields returns inherited fields, then own ones.
func (r *Record) AllFields() []*Field { return r.all }

// Namespace is a set of constructors of one Go type that differ by kind.
type Namespace struct {
	Name   string
	Record string
	Doc    string
	Common []*Field
	Kinds  []*Record // in order
}

// Function is a builtin that returns something else than a record. Its
// arguments are checked as a record's.
type Function struct {
	*Record
	Returns string
}

// Value is a global that is simply there.
type Value struct{ Name, Doc string }

// Attribute is something that a reference can name.
type Attribute struct {
	Name, Type, Doc string
	Edge, Many      bool
}

// Spec is the language as spec.star defines it. It is immutable.
type Spec struct {
	Version    int
	Records    []*Record // without those of namespaces
	Namespaces []*Namespace
	Functions  []*Function
	Values     []Value
	Attributes map[string][]Attribute // of "service" and "task"

	records   map[string]*Record    // by Go type name
	spaces    map[string]*Namespace // by Go type name
	order     []any                 // *Record, *Namespace, *Function in order of definition
	functions map[string]*Function
}

// Load returns the language of the embedded spec.star. It is read once.
var Load = sync.OnceValue(func() *Spec {
	s, err := parse(orrery.SpecSource)
	if err != nil {
		panic("spec.star: " + err.Error())
	}
	return s
})

// Record returns the record called name, or nil.
func (s *Spec) Record(name string) *Record { return s.records[name] }

// Function returns the function called name, or nil.
func (s *Spec) Function(name string) *Function { return s.functions[name] }

// Namespace returns the namespace whose constructors make the record called
// name, or nil.
func (s *Spec) Namespace(name string) *Namespace { return s.spaces[name] }

func parse(src string) (*Spec, error) {
	s := &Spec{
		Attributes: map[string][]Attribute{},
		records:    map[string]*Record{},
		spaces:     map[string]*Namespace{},
		functions:  map[string]*Function{},
	}
	m := &meta{spec: s}
	thread := &starlark.Thread{Name: "spec.star"}
	if _, err := starlark.ExecFileOptions(&syntax.FileOptions{}, thread, "spec.star", src, m.builtins()); err != nil {
		return nil, err
	}
	for _, r := range s.records {
		if err := s.link(r); err != nil {
			return nil, err
		}
	}
	for _, n := range s.spaces {
		for _, r := range n.Kinds {
			if err := s.link(r); err != nil {
				return nil, err
			}
		}
	}
	for _, f := range s.functions {
		if err := s.link(f.Record); err != nil {
			return nil, err
		}
	}
	return s, s.plans()
}

// link joins inherited fields and looks at every type name and doc.
func (s *Spec) link(r *Record) error {
	if r.Doc == "" {
		return fmt.Errorf("%s has no doc", r.Name)
	}
	if r.Extends != "" {
		base := s.records[r.Extends]
		if base == nil {
			return fmt.Errorf("%s extends unknown %s", r.Name, r.Extends)
		}
		r.all = append(r.all, base.Fields...)
	}
	r.all = append(r.all, r.Fields...)
	r.byName = make(map[string]int, len(r.all))
	for i, f := range r.all {
		if _, dup := r.byName[f.Name]; dup {
			return fmt.Errorf("%s.%s is defined twice", r.Name, f.Name)
		}
		r.byName[f.Name] = i
		if f.Doc == "" {
			return fmt.Errorf("%s.%s has no doc", r.Name, f.Name)
		}
		for t := f.Type; t != nil; t = t.Elem {
			if t.Kind == kindRef {
				t.record, t.space = s.records[t.Ref], s.spaces[t.Ref]
			}
			if t.Kind == kindRef && t.record == nil && t.space == nil {
				return fmt.Errorf("%s.%s: unknown type %s", r.Name, f.Name, t.Ref)
			}
		}
	}
	return nil
}
