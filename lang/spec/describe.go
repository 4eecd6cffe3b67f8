package spec

import (
	"fmt"
	"strconv"
	"strings"

	"go.starlark.net/starlark"
)

// show is the type as documentation writes it.
func (t *Type) show() string {
	s := t.showInner()
	if t.Optional {
		s += " or None"
	}
	return s
}

func (t *Type) showInner() string {
	switch t.Kind {
	case kindEnum:
		return strings.Join(quotedAll(t.Enum), " | ")
	case kindList:
		if t.Single {
			return t.Elem.show() + ", or a list"
		}
		return "[" + t.Elem.show() + "]"
	case kindDict:
		return "{name: " + t.Elem.show() + "}"
	case kindCond:
		return "node or condition"
	case kindNode:
		if t.Ref != "" {
			return t.Ref
		}
		return "node"
	case kindInt:
		if t.Min != nil && t.Max != nil {
			return fmt.Sprintf("int %d..%d", *t.Min, *t.Max)
		}
		if t.Min != nil && *t.Min > 0 {
			return fmt.Sprintf("int from %d", *t.Min)
		}
	case kindPattern:
		return "glob(...)"
	case kindAny:
		return "any value"
	case kindRef:
		return t.showRef()
	}
	return string(t.Kind)
}

func (t *Type) showRef() string {
	if t.space != nil {
		return t.space.Name + ".*"
	}
	r := t.record
	if r.Union {
		parts := make([]string, len(r.all))
		for i, f := range r.all {
			parts[i] = f.Type.show()
		}
		return strings.Join(parts, " or ")
	}
	s := r.Builtin + "(...)"
	if i, ok := r.byName[r.Shorthand]; ok {
		s = r.all[i].Type.showInner() + " or " + s
	}
	return s
}

func quotedAll(words []string) []string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = strconv.Quote(w)
	}
	return q
}

// def is the default as documentation writes it; "" when the field is required.
func (f *Field) def() string {
	if f.Default == nil {
		if f.Type.Optional {
			return "None"
		}
		return ""
	}
	if f.Type.constructor(f.Default) != nil {
		s, _ := starlark.AsString(f.Default)
		return s + "()"
	}
	if f.Type.Kind == kindMode {
		if n, ok := f.Default.(starlark.Int); ok {
			m, _ := n.Int64()
			return fmt.Sprintf("0o%o", m)
		}
	}
	return f.Default.String()
}

// marks are what else there is to say of a field.
func (f *Field) marks() string {
	var m []string
	if f.Required() {
		m = append(m, "required")
	}
	if f.Positional {
		m = append(m, "by position")
	}
	if f.Edge {
		m = append(m, "references wait")
	}
	if f.Later {
		m = append(m, "not yet effective")
	}
	if f.Since != "" {
		m = append(m, "since "+f.Since)
	}
	if f.Deprecated != "" {
		m = append(m, "deprecated: use "+f.Deprecated)
	}
	return strings.Join(m, "; ")
}

// signature is the call as it is written.
func (r *Record) signature() string {
	var args []string
	star := false
	for _, f := range r.all {
		arg := f.Name
		switch {
		case f.Name == r.Varargs:
			args = append(args, "*"+f.Name)
			star = true
			continue
		case !f.Positional && !star:
			args = append(args, "*")
			star = true
		}
		if d := f.def(); d != "" {
			arg += " = " + d
		}
		args = append(args, arg)
	}
	one := r.Builtin + "(" + strings.Join(args, ", ") + ")"
	if len(one) <= 96 {
		return one
	}
	return r.Builtin + "(\n    " + strings.Join(args, ",\n    ") + ",\n)"
}

// groups are the records by what they are for: declarations change the graph,
// constructors make values.
func (s *Spec) groups() (declarations, constructors, unions []*Record) {
	for _, r := range s.Records {
		switch {
		case r.Union:
			unions = append(unions, r)
		case r.Abstract:
		case declares(r):
			declarations = append(declarations, r)
		default:
			constructors = append(constructors, r)
		}
	}
	return declarations, constructors, unions
}

func declares(r *Record) bool {
	switch r.Name {
	case "Project", "Group", "Service", "Task":
		return true
	}
	return false
}
