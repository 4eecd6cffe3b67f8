package spec

import (
	"bytes"
	"fmt"
	"go/format"
	"slices"
	"strings"

	"go.starlark.net/starlark"
)

// GoSource returns lang/graph/nodes_gen.go: the Go types of the records, the
// walk over their texts, and the table of attributes.
func (s *Spec) GoSource() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("// Code generated from spec.star by go test ./lang/spec -fix. DO NOT EDIT.\n\npackage graph\n\n")
	for _, o := range s.order {
		switch o := o.(type) {
		case *Record:
			s.goRecord(&b, o)
		case *Namespace:
			if err := s.goNamespace(&b, o); err != nil {
				return nil, err
			}
		}
	}
	s.goNew(&b)
	s.goAttributes(&b)
	return format.Source(b.Bytes())
}

func goName(name string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(name, "_") {
		switch word {
		case "cpu", "json", "yaml", "toml", "ini", "tty", "oom":
			b.WriteString(strings.ToUpper(word))
		default:
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return b.String()
}

func goType(t *Type) string {
	opt := ""
	if t.Optional {
		opt = "*"
	}
	switch t.Kind {
	case kindString, kindEnum, kindSignal, kindNode, kindTool:
		return "string"
	case kindText, kindPath, kindPort:
		return "Text"
	case kindInt, kindBool:
		return opt + string(t.Kind)
	case kindDuration, kindSize, kindMode:
		return opt + goName(string(t.Kind))
	case kindPattern:
		return "*Pattern"
	case kindData:
		return "Tree"
	case kindCond:
		return "Dep"
	case kindRef:
		return opt + t.Ref
	case kindList:
		return "[]" + goType(t.Elem)
	case kindDict:
		return "Dict[" + goType(t.Elem) + "]"
	}
	return "any"
}

// zeroIsDefault reports whether a field left out of JSON reads as its default.
func zeroIsDefault(f *Field) bool {
	switch d := f.Default.(type) {
	case nil:
		return f.Type.Optional || f.Type.Kind != kindBool && f.Type.Kind != kindInt
	case starlark.Bool:
		return !bool(d)
	case starlark.Int:
		return d.Sign() == 0
	}
	return true
}

func goFields(b *bytes.Buffer, fields []*Field) {
	for _, f := range fields {
		tag := f.Name
		if zeroIsDefault(f) {
			tag += ",omitzero"
		}
		fmt.Fprintf(b, "\t%s %s `json:%q` // %s\n", goName(f.Name), goType(f.Type), tag, f.Doc)
	}
}

func (s *Spec) goRecord(b *bytes.Buffer, r *Record) {
	fmt.Fprintf(b, "// %s: %s\ntype %s struct {\n", r.Name, r.Doc, r.Name)
	if r.Extends != "" {
		fmt.Fprintf(b, "\t%s\n", r.Extends)
	}
	goFields(b, r.Fields)
	b.WriteString("}\n\n")
	s.goTexts(b, r.Name, r.Extends, r.Fields)
}

func (s *Spec) goNamespace(b *bytes.Buffer, n *Namespace) error {
	fields, err := n.merged()
	if err != nil {
		return err
	}
	var kinds []string
	for _, k := range n.Kinds {
		kinds = append(kinds, k.Kind)
	}
	fmt.Fprintf(b, "// %s: %s\n// Kind is %s; it says which fields count.\ntype %s struct {\n", n.Record, n.Doc, strings.Join(kinds, ", "), n.Record)
	b.WriteString("\tKind string `json:\"kind\"` // The constructor that made it.\n")
	goFields(b, fields)
	b.WriteString("}\n\n")
	s.goTexts(b, n.Record, "", fields)
	return nil
}

// merged returns the fields of all kinds, then the common ones.
func (n *Namespace) merged() ([]*Field, error) {
	var fields []*Field
	add := func(f *Field) error {
		for _, g := range fields {
			if g.Name != f.Name {
				continue
			}
			if goType(g.Type) != goType(f.Type) {
				return fmt.Errorf("%s: field %s has two types", n.Name, f.Name)
			}
			return nil
		}
		fields = append(fields, f)
		return nil
	}
	for _, k := range n.Kinds {
		for _, f := range k.Fields {
			if slices.Contains(n.Common, f) {
				continue
			}
			if err := add(f); err != nil {
				return nil, err
			}
		}
	}
	for _, f := range n.Common {
		if err := add(f); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

// hasTexts reports whether values of the type can hold a Text.
func (s *Spec) hasTexts(t *Type) bool {
	switch t.Kind {
	case kindText, kindPath, kindPort, kindData:
		return true
	case kindList, kindDict:
		return s.hasTexts(t.Elem)
	case kindRef:
		return len(s.textFields(t.Ref)) > 0
	}
	return false
}

func (s *Spec) textFields(name string) []*Field {
	var fields []*Field
	if r := s.records[name]; r != nil {
		fields = r.all
		if fields == nil {
			fields = r.Fields
		}
	} else if n := s.spaces[name]; n != nil {
		fields, _ = n.merged()
	}
	var texts []*Field
	for _, f := range fields {
		if s.hasTexts(f.Type) {
			texts = append(texts, f)
		}
	}
	return texts
}

// goTexts writes the walk over the texts of a record.
func (s *Spec) goTexts(b *bytes.Buffer, name, extends string, fields []*Field) {
	var body bytes.Buffer
	if extends != "" {
		fmt.Fprintf(&body, "\tv.%s.Texts(yield)\n", extends)
	}
	for _, f := range fields {
		if s.hasTexts(f.Type) {
			s.walk(&body, visit{"v." + goName(f.Name), fmt.Sprintf("%q", f.Name), f.Edge}, f.Type, 0)
		}
	}
	if body.Len() == 0 {
		return
	}
	fmt.Fprintf(b, "// Texts calls yield for every text that is present, with the field that holds it and\n// what spec.star says of that field.\nfunc (v *%s) Texts(yield func(field string, use Use, t *Text)) {\n%s}\n\n", name, body.String())
}

// visit is a Go expression that holds texts, the field that it is said to be,
// and whether the field makes edges.
type visit struct {
	expr, field string
	edge        bool
}

// walk writes the statements that visit the texts of a value.
func (s *Spec) walk(b *bytes.Buffer, v visit, t *Type, depth int) {
	expr, field, edge := v.expr, v.field, v.edge
	use := fmt.Sprintf("Use{%q, %v}", t.Kind, edge)
	switch t.Kind {
	case kindText, kindPath, kindPort:
		fmt.Fprintf(b, "if %s != nil { yield(%s, %s, &%s) }\n", expr, field, use, expr)
	case kindData:
		fmt.Fprintf(b, "%s.Texts(func(t *Text) { yield(%s, %s, t) })\n", expr, field, use)
	case kindList:
		i := fmt.Sprintf("i%d", depth)
		fmt.Fprintf(b, "for %s := range %s {\n", i, expr)
		s.walk(b, visit{expr + "[" + i + "]", field, edge}, t.Elem, depth+1)
		b.WriteString("}\n")
	case kindDict:
		i := fmt.Sprintf("i%d", depth)
		fmt.Fprintf(b, "for %s := range %s {\n", i, expr)
		s.walk(b, visit{expr + "[" + i + "].Value", fmt.Sprintf("%s+\".\"+%s[%s].Key", field, expr, i), edge}, t.Elem, depth+1)
		b.WriteString("}\n")
	case kindRef:
		s.walkRef(b, expr, field, t, edge)
	}
}

// walkRef visits the texts of a record inside a record. A union adds no name
// to the field; an edge field makes an edge of all that is inside.
func (s *Spec) walkRef(b *bytes.Buffer, expr, field string, t *Type, edge bool) {
	inner, name := field+`+"."+f`, "f"
	if r := s.records[t.Ref]; r != nil && r.Union {
		inner, name = field, "_"
	}
	use := "use"
	if edge {
		use = "Use{use.Type, true}"
	}
	if t.Optional {
		fmt.Fprintf(b, "if %s != nil {\n", expr)
	}
	fmt.Fprintf(b, "%s.Texts(func(%s string, use Use, t *Text) { yield(%s, %s, t) })\n", expr, name, inner, use)
	if t.Optional {
		b.WriteString("}\n")
	}
}

// goNew writes the constructor of zero records by name.
func (s *Spec) goNew(b *bytes.Buffer) {
	b.WriteString("// NewRecord returns a pointer to a zero record of spec.star, or nil.\nfunc NewRecord(name string) any {\n\tswitch name {\n")
	for _, o := range s.order {
		name := ""
		switch o := o.(type) {
		case *Record:
			name = o.Name
		case *Namespace:
			name = o.Record
		}
		if name != "" {
			fmt.Fprintf(b, "\tcase %q:\n\t\treturn new(%s)\n", name, name)
		}
	}
	b.WriteString("\t}\n\treturn nil\n}\n\n")
}

func (s *Spec) goAttributes(b *bytes.Buffer) {
	b.WriteString("// Attribute is what spec.star says of something that a reference can name.\ntype Attribute struct {\n\tName string // as written\n\tType string // port, host, address, socket, export, output, value, path, string or cond\n\tEdge bool // a reference to it makes the node wait\n\tMany bool // it has names below it: ports.http\n}\n\n")
	b.WriteString("// Attributes returns what a service or task offers, in order of documentation.\nfunc Attributes(k Kind) []Attribute {\n\tif k == KindTask {\n\t\treturn []Attribute{\n")
	row := func(a Attribute) {
		fmt.Fprintf(b, "\t\t\t{Name: %q, Type: %q, Edge: %v, Many: %v},\n", a.Name, a.Type, a.Edge, a.Many)
	}
	for _, a := range s.Attributes["task"] {
		row(a)
	}
	b.WriteString("\t\t}\n\t}\n\treturn []Attribute{\n")
	for _, a := range s.Attributes["service"] {
		row(a)
	}
	b.WriteString("\t}\n}\n")
}
