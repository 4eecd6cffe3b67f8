package spec

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"orrery/lang/graph"
)

// Reference returns docs/reference.md.
func (s *Spec) Reference() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `# Language reference

<!-- Written from spec.star by go test ./lang/spec -fix. Do not edit. -->

This is version %d of the declaration language. `+"`orrery help NAME`"+` prints any part of it: `+"`orrery help service`, `orrery help service.ready`, `orrery help probe.http`"+`.

Names come first and by position, all else by keyword. Durations are text (`+"`\"200ms\"`, `\"1m30s\"`"+`), sizes too (`+"`\"512M\"`"+`), modes are numbers (`+"`0o600`"+`).
**text** is a string, a reference such as `+"`db.port`"+`, or both joined with `+"`+` or `%%`"+`; an int is taken as its digits. **path** is text that names a file, from the project's folder.

*references wait*: a reference in this field makes the node wait for what it names. *not yet effective*: checked and carried along, without effect so far.

`, s.Version)
	decl, ctor, unions := s.groups()
	s.contents(&b, decl, ctor)
	b.WriteString("## Declarations\n\n")
	for _, r := range decl {
		refRecord(&b, "### ", r)
	}
	b.WriteString("## Constructors\n\n")
	for _, r := range ctor {
		refRecord(&b, "### ", r)
	}
	for _, n := range s.Namespaces {
		refNamespace(&b, n)
	}
	b.WriteString("## Values of several types\n\n")
	for _, r := range unions {
		fmt.Fprintf(&b, "### %s\n\n%s\n\n", snake(r.Name), r.Doc)
		for _, f := range r.all {
			fmt.Fprintf(&b, "- `%s`: %s\n", f.Type.show(), f.Doc)
		}
		b.WriteString("\n")
	}
	b.WriteString("## Functions\n\n")
	for _, f := range s.Functions {
		refRecord(&b, "### ", f.Record)
		fmt.Fprintf(&b, "Returns %s.\n\n", f.Returns)
	}
	b.WriteString("## Values\n\n")
	for _, v := range s.Values {
		fmt.Fprintf(&b, "- `%s`: %s\n", v.Name, v.Doc)
	}
	b.WriteString("\n## Attributes\n\nWhat may be referred to. A reference is a value that is known when the graph runs; `.weak` of it gives the text without the waiting.\n\n")
	for _, kind := range []string{"service", "task"} {
		s.refAttributes(&b, kind)
	}
	return append(bytes.TrimRight(b.Bytes(), "\n"), '\n')
}

func (s *Spec) contents(b *bytes.Buffer, decl, ctor []*Record) {
	link := func(names []string) string {
		for i, n := range names {
			names[i] = fmt.Sprintf("[%s](#%s)", n, strings.ReplaceAll(n, ".", ""))
		}
		return strings.Join(names, " · ")
	}
	var a, c, n, f []string
	for _, r := range decl {
		a = append(a, r.Builtin)
	}
	for _, r := range ctor {
		c = append(c, r.Builtin)
	}
	for _, ns := range s.Namespaces {
		n = append(n, ns.Name)
	}
	for _, fn := range s.Functions {
		f = append(f, fn.Name)
	}
	fmt.Fprintf(b, "Declarations: %s  \nConstructors: %s  \nFamilies of constructors: %s  \nFunctions: %s\n\n", link(a), link(c), link(n), link(f))
}

func refRecord(b *bytes.Buffer, level string, r *Record) {
	fmt.Fprintf(b, "%s%s\n\n%s\n\n", level, r.Builtin, r.Doc)
	if r.Shorthand != "" {
		fmt.Fprintf(b, "Where one is wanted, a bare `%s` stands for it.\n\n", r.Shorthand)
	}
	for _, group := range r.Exactly {
		fmt.Fprintf(b, "Exactly one of `%s` must be given.\n\n", strings.Join(group, "`, `"))
	}
	refFields(b, r.all)
}

func refFields(b *bytes.Buffer, fields []*Field) {
	if len(fields) == 0 {
		return
	}
	b.WriteString("| argument | type | default | meaning |\n|---|---|---|---|\n")
	for _, f := range fields {
		d := f.def()
		if d != "" {
			d = "`" + d + "`"
		}
		doc := f.Doc
		if m := f.marks(); m != "" {
			doc += " *" + m + "*"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", f.Name, cell(f.Type.show()), cell(d), cell(doc))
	}
	b.WriteString("\n")
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func refNamespace(b *bytes.Buffer, n *Namespace) {
	fmt.Fprintf(b, "### %s\n\n%s\n\n", n.Name, n.Doc)
	for _, k := range n.Kinds {
		fmt.Fprintf(b, "#### %s\n\n%s\n\n", k.Builtin, k.Doc)
		refFields(b, k.own(n))
	}
	if len(n.Common) > 0 {
		fmt.Fprintf(b, "Arguments of all of them:\n\n")
		refFields(b, n.Common)
	}
}

// own are the fields of a constructor that its family does not share.
func (r *Record) own(n *Namespace) []*Field { return r.Fields[:len(r.Fields)-len(n.Common)] }

func (s *Spec) refAttributes(b *bytes.Buffer, kind string) {
	fmt.Fprintf(b, "### Attributes of a %s\n\n| attribute | is | meaning |\n|---|---|---|\n", kind)
	for _, a := range s.Attributes[kind] {
		name := "." + a.Name
		if a.Many {
			name += ".NAME"
		}
		doc := a.Doc
		if a.Edge {
			doc += " *references wait*"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", name, a.Type, cell(doc))
	}
	b.WriteString("\n")
}

// Help returns what the reference says of a name, such as "service",
// "service.ready", "probe.http", "restart" or "glob", as plain text. For an
// unknown name ok is false, and suggestion is the nearest one or "".
func Help(name string) (text string, ok bool, suggestion string) {
	s := Load()
	topics := s.topics()
	if write, found := topics[name]; found {
		var b bytes.Buffer
		write(&b)
		return b.String(), true, ""
	}
	var names []string
	for n := range topics {
		names = append(names, n)
	}
	return "", false, nearest(name, names)
}

func nearest(name string, names []string) string {
	best := graph.Suggest(name, names)
	if best == "" {
		for _, n := range names {
			if _, field, ok := strings.Cut(n, "."); ok && field == name && (best == "" || n < best) {
				best = n
			}
		}
	}
	return best
}

// topics are the writers of every part of the help.
func (s *Spec) topics() map[string]func(*bytes.Buffer) {
	t := map[string]func(*bytes.Buffer){}
	record := func(r *Record) {
		t[r.Builtin] = func(b *bytes.Buffer) { helpRecord(b, r) }
		for _, f := range r.all {
			t[r.Builtin+"."+f.Name] = func(b *bytes.Buffer) { s.helpField(b, r, f) }
		}
	}
	for _, f := range s.Functions {
		record(f.Record)
	}
	for _, r := range s.Records {
		if r.Builtin != "" {
			record(r)
		}
	}
	for _, n := range s.Namespaces {
		for _, k := range n.Kinds {
			record(k)
		}
		t[n.Name] = func(b *bytes.Buffer) { helpNamespace(b, n) }
	}
	for _, v := range s.Values {
		t[v.Name] = func(b *bytes.Buffer) { fmt.Fprintf(b, "%s\n\n%s\n", v.Name, v.Doc) }
	}
	for kind, attrs := range s.Attributes {
		for _, a := range attrs {
			if _, taken := t[kind+"."+a.Name]; !taken {
				t[kind+"."+a.Name] = func(b *bytes.Buffer) { fmt.Fprintf(b, "%s.%s: a %s\n\n%s\n", kind, a.Name, a.Type, a.Doc) }
			}
		}
	}
	return t
}

func helpRecord(b *bytes.Buffer, r *Record) {
	fmt.Fprintf(b, "%s\n\n%s\n", r.signature(), r.Doc)
	for _, f := range r.all {
		fmt.Fprintf(b, "\n  %s: %s\n      %s\n", f.Name, f.Type.show(), f.Doc)
		if m := f.marks(); m != "" {
			fmt.Fprintf(b, "      (%s)\n", m)
		}
	}
}

func helpNamespace(b *bytes.Buffer, n *Namespace) {
	fmt.Fprintf(b, "%s\n\n%s\n", n.Name, n.Doc)
	for _, k := range n.Kinds {
		fmt.Fprintf(b, "\n  %s\n      %s\n", strings.ReplaceAll(k.signature(), "\n", "\n  "), k.Doc)
	}
}

func (s *Spec) helpField(b *bytes.Buffer, r *Record, f *Field) {
	fmt.Fprintf(b, "%s(%s = ...)\n\n%s\n\n  type: %s\n", r.Builtin, f.Name, f.Doc, f.Type.show())
	if d := f.def(); d != "" {
		fmt.Fprintf(b, "  default: %s\n", d)
	}
	if m := f.marks(); m != "" {
		fmt.Fprintf(b, "  %s\n", m)
	}
	t := f.Type
	for t.Elem != nil {
		t = t.Elem
	}
	switch {
	case t.space != nil:
		b.WriteString("\n")
		helpNamespace(b, t.space)
	case t.record != nil && !t.record.Union:
		b.WriteString("\n")
		helpRecord(b, t.record)
	case t.record != nil:
		for _, u := range t.record.all {
			fmt.Fprintf(b, "  %s: %s\n", u.Type.show(), u.Doc)
		}
	}
}

// Topics lists every name that Help knows, sorted.
func Topics() []string { return slices.Sorted(maps.Keys(Load().topics())) }
