package spec

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.starlark.net/starlark"
)

// Problem is a mistake in the arguments of a call.
type Problem struct {
	Code    string // short and stable: "unknown-argument", "type" ...
	Field   string // the argument, or ""
	Message string // "ports[\"http\"]: got string, want int"
	Hint    string // what to do, or ""
}

// Call is what a builtin was called with.
type Call struct {
	Value    any              // pointer to the Go struct of a record
	Args     []starlark.Value // of a function: its arguments in order of the spec, None where not given
	Problems []Problem
	Later    []string  // arguments given that are not yet effective
	Taken    []*Object // objects with an identity, or bound late, that stand in it
	Local    bool      // it holds self, or refers to a config file
	Poisoned bool      // a part of it came from a call that failed
}

// checker is the state of one check.
type checker struct {
	call  *Call
	field string
	path  []string // below the field: `["http"]`, "[2]", ".timeout"
	free  bool     // strings may hold brackets: arguments of functions
}

func (c *checker) problem(code, hint, format string, args ...any) {
	msg := fmt.Sprintf(format, args...)
	if c.field != "" {
		msg = c.field + strings.Join(c.path, "") + ": " + msg
	}
	c.call.Problems = append(c.call.Problems, Problem{Code: code, Field: c.field, Message: msg, Hint: hint})
}

// Check reads the arguments of a call of the builtin that makes r. It collects
// every mistake; Value is filled as far as the arguments are right.
func (r *Record) Check(args starlark.Tuple, kwargs []starlark.Tuple) *Call {
	c := &checker{call: &Call{}}
	var v reflect.Value
	if r.plan.typ != nil {
		p := reflect.New(r.plan.typ)
		v = p.Elem()
		v.Set(r.plan.proto)
		c.call.Value = p.Interface()
	} else {
		c.free = true
		c.call.Args = make([]starlark.Value, len(r.all))
		for i, f := range r.all {
			c.call.Args[i] = f.Default
			if f.Default == nil {
				c.call.Args[i] = starlark.None
			}
		}
	}
	c.arguments(r, v, args, kwargs)
	return c.call
}

// arguments binds values to fields: by position, then by name.
func (c *checker) arguments(r *Record, v reflect.Value, args starlark.Tuple, kwargs []starlark.Tuple) {
	given := make([]starlark.Value, len(r.all))
	switch {
	case r.plan.varargs >= 0 && len(args) > 0:
		given[r.plan.varargs] = args
	case len(args) > len(r.plan.positional):
		c.tooMany(r, len(args))
		args = args[:len(r.plan.positional)]
		fallthrough
	default:
		for i, a := range args {
			given[r.plan.positional[i]] = a
		}
	}
	meant := map[string]bool{} // by unknown names
	for _, kv := range kwargs {
		name := string(kv[0].(starlark.String))
		i, ok := r.byName[name]
		switch {
		case !ok:
			meant[c.unknown(r, name)] = true
		case given[i] != nil:
			c.field = name
			c.problem("argument-twice", "", "given twice, by position and by name")
		default:
			given[i] = kv[1]
		}
	}
	for i, f := range r.all {
		c.field, c.path = f.Name, c.path[:0]
		switch {
		case given[i] != nil:
			c.given(r, i, given[i], v)
		case f.Required() && !meant[f.Name]:
			c.field = ""
			c.problem("missing-argument", f.Doc, "missing argument %s", f.Name)
		}
	}
	for _, group := range r.Exactly {
		c.exactly(r, group, given)
	}
}

func (c *checker) given(r *Record, i int, val starlark.Value, v reflect.Value) {
	f := r.all[i]
	if f.Later && val != starlark.None {
		c.call.Later = append(c.call.Later, f.Name)
	}
	if v.IsValid() {
		if r.plan.index[i] != nil {
			c.decode(f.Type, val, v.FieldByIndex(r.plan.index[i]))
		}
		return
	}
	c.call.Args[i] = val
	if _, bad := val.(Poison); bad {
		c.call.Poisoned = true
		return
	}
	if t, ok := goTypeOf(f.Type); ok {
		c.decode(f.Type, val, reflect.New(t).Elem())
	}
}

// goTypeOf returns the type that a function's argument is read into to check
// it; it is not ok for arguments that may be anything.
func goTypeOf(t *Type) (reflect.Type, bool) {
	switch {
	case t.Optional && t.Kind != kindString, t.Kind == kindAny, t.Kind == kindList, t.Kind == kindDict:
		return nil, false
	case t.Kind == kindInt:
		return reflect.TypeFor[int](), true
	case t.Kind == kindBool:
		return reflect.TypeFor[bool](), true
	case t.Kind == kindString, t.Kind == kindEnum:
		return reflect.TypeFor[string](), true
	}
	return nil, false
}

func (c *checker) tooMany(r *Record, n int) {
	var names []string
	for _, i := range r.plan.positional {
		names = append(names, r.all[i].Name)
	}
	want := "none"
	if len(names) > 0 {
		want = fmt.Sprintf("%d (%s)", len(names), strings.Join(names, ", "))
	}
	c.field = ""
	c.problem("positional", "give the rest by name: "+c.example(r), "got %d positional arguments, want %s", n, want)
}

// example names the first field that must be given by name.
func (c *checker) example(r *Record) string {
	for _, f := range r.all {
		if !f.Positional {
			return f.Name + " = ..."
		}
	}
	return ""
}

// unknown reports an argument that there is none of, and gives the name that may be meant.
func (c *checker) unknown(r *Record, name string) (meant string) {
	var names []string
	for _, f := range r.all {
		names = append(names, f.Name)
	}
	hint := "it takes " + strings.Join(names, ", ")
	if len(names) > 12 {
		hint = "orrery help " + r.Builtin + " lists what it takes"
	}
	if meant = meantBy(name, names); meant != "" {
		hint = fmt.Sprintf("did you mean %q?", meant)
	}
	c.field, c.path = "", c.path[:0]
	c.problem("unknown-argument", hint, "unknown argument %q", name)
	c.call.Problems[len(c.call.Problems)-1].Field = name
	return meant
}

func (c *checker) exactly(r *Record, group []string, given []starlark.Value) {
	var got []string
	for _, name := range group {
		if v := given[r.byName[name]]; v != nil && v != starlark.None {
			got = append(got, name)
		}
	}
	c.field, c.path = "", c.path[:0]
	switch {
	case len(got) == 0:
		c.problem("exactly-one", "", "got none of %s, want exactly one", strings.Join(group, ", "))
	case len(got) > 1:
		c.problem("exactly-one", "", "got %s, want only one of %s", strings.Join(got, " and "), strings.Join(group, ", "))
		c.call.Problems[len(c.call.Problems)-1].Field = got[1]
	}
}

// wrong reports a value of another type than wanted.
func (c *checker) wrong(t *Type, v starlark.Value, hint string) {
	c.problem("type", hint, "got %s, want %s", got(v), t.want())
}

// got names a value in an error: scalars by value, others by type.
func got(v starlark.Value) string {
	switch v := v.(type) {
	case starlark.NoneType, starlark.Bool:
		return v.String()
	case starlark.String:
		if len(v) <= 40 {
			return v.String()
		}
	case starlark.Int:
		return "int " + v.String()
	case starlark.Float:
		return "float " + v.String()
	case Noder:
		if name, kind := v.Node(); kind != "" {
			return "the " + string(kind) + " " + strconv.Quote(name)
		}
	}
	return v.Type()
}

// want says in words what a type takes.
func (t *Type) want() string {
	switch t.Kind {
	case kindText:
		return "text"
	case kindPort:
		return "a port: an int or a reference"
	case kindDuration:
		return `a duration such as "10s"`
	case kindSize:
		return `a size such as "512M"`
	case kindMode:
		return "a mode such as 0o600"
	case kindSignal:
		return `the name of a signal such as "TERM"`
	case kindEnum:
		return quoted(t.Enum)
	case kindPattern:
		return "a glob(...)"
	case kindData:
		return "a tree of dicts, lists and scalars"
	case kindCond:
		return "a node or a condition"
	case kindNode:
		if t.Ref != "" {
			return "a " + t.Ref
		}
		return "a service or task"
	case kindTool:
		return "a tool(...)"
	case kindList:
		if t.Single {
			return t.Elem.want() + ", or a list of them"
		}
		return "a list"
	case kindDict:
		return "a dict"
	case kindRef:
		return t.wantRef()
	}
	return string(t.Kind)
}

func (t *Type) wantRef() string {
	if t.space != nil {
		var names []string
		for _, k := range t.space.Kinds {
			names = append(names, k.Builtin)
		}
		return strings.Join(names, ", ")
	}
	if t.record.Union {
		var wants []string
		for _, f := range t.record.all {
			wants = append(wants, f.Type.want())
		}
		return strings.Join(wants, " or ")
	}
	w := t.record.Builtin + "(...)"
	if i, ok := t.record.byName[t.record.Shorthand]; ok {
		w = t.record.all[i].Type.want() + " or " + w
	}
	return w
}

func quoted(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = strconv.Quote(w)
	}
	if len(q) > 1 {
		return strings.Join(q[:len(q)-1], ", ") + " or " + q[len(q)-1]
	}
	return strings.Join(slices.Clip(q), "")
}
