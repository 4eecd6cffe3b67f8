package main

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"orrery/lang/graph"
	"orrery/runtime/cache"
	"orrery/runtime/control/api"
	"orrery/runtime/history"
	"orrery/runtime/libs"
)

// printed is what a verb prints with --json. A new verb gets a line here, or in
// refusals, and a step in TestJSON.
type printed struct {
	verb   string // with the flags that change it
	value  any    // of the type that is printed
	stream bool   // a value a line
	note   string
}

func allPrinted() []printed {
	return []printed{
		{"up", api.Event{}, true, "In the foreground, until it ends."},
		{"up -d --wait", api.Status{}, false, "Without --wait nothing is printed."},
		{"down", api.Progress{}, true, "At each change; nothing when nothing runs."},
		{"run", api.Status{}, false, "Also when a task has failed; a run that needs no look at the project has no engine."},
		{"run --watch", api.Status{}, true, "After each run."},
		{"run --dry-run", []forecast{}, false, ""},
		{"start", api.Status{}, false, "Of the nodes that were named."},
		{"stop", api.Status{}, false, "Of the nodes that were named."},
		{"restart", api.Status{}, false, "Of the nodes that were named; with --engine of all."},
		{"reload", api.Status{}, false, "Of the nodes that were named."},
		{"wait", api.Status{}, false, "Of the targets."},
		{"status", api.Status{}, false, ""},
		{"status -w", api.Status{}, true, "At each change."},
		{"logs", logLine{}, true, "raw is there when the text is not valid UTF-8; mark when it is no line of the program."},
		{"list", []listed{}, false, ""},
		{"list --params", []graph.Param{}, false, ""},
		{"list --groups", []graph.Group{}, false, ""},
		{"graph", drawn{}, false, ""},
		{"plan", planned{}, false, "No value of a secret is ever in it."},
		{"check", []finding{}, false, "Empty: there is nothing to say."},
		{"why", explained{}, false, "One name."},
		{"why A B", related{}, false, "Two names."},
		{"why NAME.PORT", portStory{}, false, "A port."},
		{"trace", traced{}, false, "Offsets are microseconds since started."},
		{"log", []history.Summary{}, false, ""},
		{"log what-ran", []deed{}, false, ""},
		{"log failed", []deed{}, false, ""},
		{"log restarts", []restarted{}, false, ""},
		{"log slowest", []slow{}, false, ""},
		{"log critical-path", []criticalStep{}, false, ""},
		{"env", map[string]string{}, false, ""},
		{"port", portInfo{}, false, ""},
		{"url", located{}, false, ""},
		{"open", located{}, false, "Nothing is opened."},
		{"doctor", diagnosis{}, false, ""},
		{"cache stats", cacheStats{}, false, ""},
		{"cache verify", cache.Report{}, false, ""},
		{"cache trim", cache.Report{}, false, ""},
		{"cache clear", cache.Report{}, false, ""},
		{"import", written{}, false, "With -o - the text, and no file."},
		{"init", written{}, false, "With -n the text, and no file."},
		{"fmt", []string{}, false, "The files that changed, or with --check would."},
		{"test", []testResult{}, false, ""},
		{"doc", []offered{}, false, ""},
		{"doc MODULE", moduleDoc{}, false, ""},
		{"repl", evaluated{}, true, "For each input."},
		{"lib add", libs.Pin{}, false, ""},
		{"lib update", []change{}, false, ""},
		{"lib fetch", []string{}, false, "The libraries that were fetched."},
		{"lib vendor", []string{}, false, "The libraries that were copied."},
		{"lib verify", []string{}, false, "What is wrong; empty: nothing."},
		{"lib remove", []string{}, false, "The libraries that were removed."},
		{"lib list", []pinned{}, false, ""},
		{"version", versions{}, false, ""},
		{"help", described{}, false, "Also of VERB --help, and of verbs that only have others below them."},
		{"help WORD", topic{}, false, "A word of the language, or a guide."},
		{"help --man", manuals{}, false, ""},
	}
}

// planned is the form of a plan, which the graph writes by itself.
type planned struct {
	drawn
	Order []string             `json:"order"`           // in which nodes come up
	Bound map[string]boundNode `json:"bound,omitempty"` // with --resolve
}

// drawn is the form of a graph, which writes itself.
type drawn struct {
	Version int              `json:"version"` // of this form
	Project map[string]any   `json:"project"` // the fields of project()
	Params  []graph.Param    `json:"params"`
	Groups  []graph.Group    `json:"groups"`
	Secrets []map[string]any `json:"secrets,omitempty"` // the fields of secret(): no values
	Tools   []map[string]any `json:"tools,omitempty"`   // the fields of tool()
	Pools   []map[string]any `json:"pools,omitempty"`   // the fields of pool()
	Nodes   []plannedNode    `json:"nodes"`             // in order of declaration
	Edges   []graph.Edge     `json:"edges"`
}

// plannedNode is a node of a plan; it has the fields of service() or task() too.
type plannedNode struct {
	Name  string        `json:"name"`
	Kind  graph.Kind    `json:"kind"`
	Pos   graph.Pos     `json:"pos"`
	Stack []graph.Frame `json:"stack,omitempty"`
}

// schema is a JSON Schema, as far as we write them.
type schema struct {
	Ref         string             `json:"$ref,omitempty"`
	Type        any                `json:"type,omitempty"` // a word, or a word and "null"
	Format      string             `json:"format,omitempty"`
	Description string             `json:"description,omitempty"`
	Properties  map[string]*schema `json:"properties,omitempty"`
	Required    []string           `json:"required,omitempty"`
	Items       *schema            `json:"items,omitempty"`
	Values      *schema            `json:"additionalProperties,omitempty"`
	AnyOf       []*schema          `json:"anyOf,omitempty"`
}

// schemer writes schemas of types.
type schemer struct {
	t    *testing.T
	docs map[string]string // "package.Type" and "package.Type.Field"
	defs map[string]*schema
}

func nullable(s *schema) *schema {
	if s.Ref != "" {
		return &schema{AnyOf: []*schema{s, {Type: "null"}}}
	}
	s.Type = []string{s.Type.(string), "null"}
	return s
}

func (s *schemer) of(t reflect.Type) *schema {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return &schema{Type: "string", Format: "date-time"}
	case t == reflect.TypeFor[graph.Text](), t.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return &schema{Type: "string"}
	case t == reflect.TypeFor[json.RawMessage](), t.Kind() == reflect.Interface:
		return &schema{}
	case t.Implements(reflect.TypeFor[json.Marshaler]()):
		if strings.HasPrefix(t.Name(), "Dict[") {
			return &schema{Type: "object", Values: s.of(t.Elem().Field(1).Type)}
		}
		return &schema{} // it writes itself: a tree
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.String:
		return &schema{Type: "string"}
	case reflect.Bool:
		return &schema{Type: "boolean"}
	case reflect.Float64:
		return &schema{Type: "number"}
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Uint64, reflect.Uint32:
		return &schema{Type: "integer"}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return &schema{Type: "string", Format: "base64"}
		}
		return &schema{Type: "array", Items: s.of(t.Elem())}
	case reflect.Map:
		return &schema{Type: "object", Values: s.of(t.Elem())}
	case reflect.Struct:
		return s.ref(t)
	}
	s.t.Fatalf("there is no schema for %v", t)
	return nil
}

// ref is a reference to the definition of a struct.
func (s *schemer) ref(t reflect.Type) *schema {
	name := t.Name()
	if path := t.PkgPath(); path != "orrery/cmd/orrery" && path != "orrery/runtime/control/api" {
		name = filepath.Base(path) + "." + name
	}
	if s.defs[name] == nil {
		def := &schema{Type: "object", Description: s.docs[key(t)], Properties: map[string]*schema{}}
		s.defs[name] = def
		s.fields(def, t)
		slices.Sort(def.Required)
	}
	return &schema{Ref: "#/$defs/" + name}
}

func key(t reflect.Type) string { return t.PkgPath() + "." + t.Name() }

func (s *schemer) fields(def *schema, t reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && tag == "":
			in := f.Type
			if in.Kind() == reflect.Pointer {
				in = in.Elem()
			}
			s.fields(def, in)
			continue
		case !f.IsExported(), tag == "-":
			continue
		case tag == "":
			s.t.Errorf("%v.%s has no name in JSON", t, f.Name)
		}
		field := s.of(f.Type)
		optional := strings.Contains(options, "omit")
		if f.Type.Kind() == reflect.Pointer && !optional || t == reflect.TypeFor[related]() && f.Name == "Path" {
			field = nullable(field)
		}
		field.Description = s.docs[key(t)+"."+f.Name]
		def.Properties[tag] = field
		if !optional {
			def.Required = append(def.Required, tag)
		}
	}
}

// comments reads what the source says of types and fields.
func comments(t *testing.T, dirs ...string) map[string]string {
	docs := map[string]string{}
	set := token.NewFileSet()
	for _, dir := range dirs {
		pkg := "orrery/" + dir
		files, err := filepath.Glob("../../" + dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			f, err := parser.ParseFile(set, name, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				if d, ok := d.(*ast.GenDecl); ok {
					commentsOf(docs, pkg, d)
				}
			}
		}
	}
	return docs
}

func commentsOf(docs map[string]string, pkg string, d *ast.GenDecl) {
	for _, spec := range d.Specs {
		ts, ok := spec.(*ast.TypeSpec)
		if !ok {
			continue
		}
		docs[pkg+"."+ts.Name.Name] = said(ts.Doc, d.Doc)
		st, ok := ts.Type.(*ast.StructType)
		if !ok {
			continue
		}
		last := ""
		for _, f := range st.Fields.List {
			own := said(f.Doc, f.Comment)
			if own != "" {
				last = own
			}
			for _, name := range f.Names {
				if own == "" && regexp.MustCompile(`\b`+name.Name+`\b`).MatchString(last) { // one comment for several
					own = last
				}
				docs[pkg+"."+ts.Name.Name+"."+name.Name] = own
			}
		}
	}
}

func said(groups ...*ast.CommentGroup) string {
	for _, g := range groups {
		if g != nil {
			return strings.Join(strings.Fields(g.Text()), " ")
		}
	}
	return ""
}

// writtenBook is schema.json as it is to be.
type writtenBook struct {
	Schema  string                 `json:"$schema"`
	Version int                    `json:"version"`
	Verbs   map[string]writtenVerb `json:"verbs"`
	Defs    map[string]*schema     `json:"$defs"`
}

type writtenVerb struct {
	Stream bool    `json:"stream,omitempty"`
	Note   string  `json:"note,omitempty"`
	Schema *schema `json:"schema"`
}

func theBook(t *testing.T) writtenBook {
	s := &schemer{t: t, defs: map[string]*schema{}, docs: comments(t, "cmd/orrery", "runtime/control/api", "runtime/history", "runtime/cache", "runtime/libs", "runtime/remote", "lang", "lang/graph")}
	b := writtenBook{"https://json-schema.org/draft/2020-12/schema", jsonVersion, map[string]writtenVerb{}, s.defs}
	for _, p := range allPrinted() {
		b.Verbs[p.verb] = writtenVerb{p.stream, p.note, s.of(reflect.TypeOf(p.value))}
	}
	return b
}

// TestSchemas fails when schema.json or docs/json.md is stale.
func TestSchemas(t *testing.T) {
	book := theBook(t)
	var want bytes.Buffer
	enc := json.NewEncoder(&want)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(book); err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		path string
		want []byte
	}{{"schema.json", want.Bytes()}, {"../../docs/json.md", jsonPage(book)}} {
		if *fix {
			if err := os.WriteFile(f.path, f.want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, _ := os.ReadFile(f.path); !bytes.Equal(got, f.want) {
			t.Errorf("%s is stale: run go test ./cmd/orrery -run TestSchemas -fix", f.path)
		}
	}
}

// jsonPage is docs/json.md.
func jsonPage(b writtenBook) []byte {
	var w bytes.Buffer
	fmt.Fprintf(&w, "# What --json prints\n\n<!-- Written from the types by go test ./cmd/orrery -run TestSchemas -fix. Do not edit. -->\n\n")
	guide, _, _ := strings.Cut(jsonGuide, "\n\n")
	fmt.Fprintf(&w, "%s\n\nThis is version %d. `orrery help json VERB` prints the JSON Schema of a verb, `orrery help json --json` all of them.\n", guide, b.Version)
	fmt.Fprintf(&w, "\n## Verbs\n\n| verb | prints | |\n|---|---|---|\n")
	for _, p := range allPrinted() {
		v := b.Verbs[p.verb]
		what := shapeName(v.Schema)
		if v.Stream {
			what += ", one a line"
		}
		fmt.Fprintf(&w, "| `orrery %s` | %s | %s |\n", p.verb, what, v.Note)
	}
	fmt.Fprintf(&w, "\nWithout JSON:")
	for i, verb := range sortedKeys(refusals()) {
		if i > 0 {
			fmt.Fprint(&w, ";")
		}
		fmt.Fprintf(&w, " `%s` (%s)", verb, refusals()[verb])
	}
	fmt.Fprintf(&w, ".\n\n## Objects\n\nA field with ? may be absent.\n")
	for _, name := range sortedKeys(b.Defs) {
		d := b.Defs[name]
		fmt.Fprintf(&w, "\n### %s\n\n%s\n\n| field | type | |\n|---|---|---|\n", name, d.Description)
		for _, field := range sortedKeys(d.Properties) {
			f := d.Properties[field]
			mark := ""
			if !slices.Contains(d.Required, field) {
				mark = "?"
			}
			fmt.Fprintf(&w, "| `%s`%s | %s | %s |\n", field, mark, shapeName(f), strings.ReplaceAll(f.Description, "|", `\|`))
		}
	}
	return w.Bytes()
}

// shapeName is a schema in words.
func shapeName(s *schema) string {
	switch {
	case s.Ref != "":
		name := strings.TrimPrefix(s.Ref, "#/$defs/")
		return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(strings.ReplaceAll(name, ".", "")))
	case s.AnyOf != nil:
		return shapeName(s.AnyOf[0]) + " or null"
	case s.Items != nil:
		return "array of " + shapeName(s.Items)
	case s.Values != nil:
		return "object of " + shapeName(s.Values)
	case s.Format != "":
		return s.Format
	}
	switch t := s.Type.(type) {
	case string:
		return t
	case []string:
		return strings.Join(t, " or ")
	}
	return "any"
}

// valid says where a value is not as its schema says; "" where it is. Fields
// that are not in the schema are wrong, but for those of the language.
func (b *writtenBook) valid(s *schema, v any, at string) string {
	if s.Ref != "" {
		return b.object(strings.TrimPrefix(s.Ref, "#/$defs/"), v, at)
	}
	if s.AnyOf != nil {
		if v == nil {
			return ""
		}
		return b.valid(s.AnyOf[0], v, at)
	}
	types, _ := s.Type.([]string)
	if one, ok := s.Type.(string); ok {
		types = []string{one}
	}
	got := "null"
	switch v := v.(type) {
	case bool:
		got = "boolean"
	case string:
		got = "string"
	case []any:
		got = "array"
		for i, e := range v {
			if wrong := b.valid(s.Items, e, fmt.Sprintf("%s[%d]", at, i)); s.Items != nil && wrong != "" {
				return wrong
			}
		}
	case map[string]any:
		got = "object"
		for k, e := range v {
			if s.Values == nil {
				break
			}
			if wrong := b.valid(s.Values, e, at+"."+k); wrong != "" {
				return wrong
			}
		}
	case json.Number:
		got = "number"
		if _, err := v.Int64(); err == nil && !slices.Contains(types, "number") {
			got = "integer"
		}
	}
	if len(types) > 0 && !slices.Contains(types, got) {
		return fmt.Sprintf("%s: got %s, want %v", at, got, types)
	}
	return ""
}

func (b *writtenBook) object(name string, v any, at string) string {
	def := b.Defs[name]
	m, ok := v.(map[string]any)
	if !ok {
		return fmt.Sprintf("%s: got %T, want the object %s", at, v, name)
	}
	for _, field := range def.Required {
		if _, has := m[field]; !has {
			return fmt.Sprintf("%s: %s has no %q", at, name, field)
		}
	}
	loose := name == "plannedNode" // it has those of the language, too
	for k, e := range m {
		f := def.Properties[k]
		if f == nil {
			if loose {
				continue
			}
			return fmt.Sprintf("%s: %s has %q, which is not in the schema", at, name, k)
		}
		if wrong := b.valid(f, e, at+"."+k); wrong != "" {
			return wrong
		}
	}
	return ""
}
