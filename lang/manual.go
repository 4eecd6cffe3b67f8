package lang

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"go.starlark.net/syntax"

	"orrery/lang/graph"
)

// Manual is the documentation of a library: what its docstrings say, and what
// its examples declare. It is a value, safe for concurrent use.
type Manual struct {
	Module   string // as load() has it, or the path of a file
	About    string // the docstring of the library, without its examples and its mark
	Untested string // why no test has run the server; "": the library has no such mark
	Tested   string // how the tests have, from the standard library's tested.txt; "": nothing is known

	examples []example
	defs     []function
}

// example is a block of the docstring that begins with a load.
type example struct {
	source   string
	tools    []*graph.Tool
	services []*graph.Node // that the library's functions have declared
}

// function is a public function with its docstring, cut up.
type function struct {
	name, signature string
	doc             string      // the docstring
	about           string      // it without its Args and examples
	examples        []example   // not evaluated
	params          []parameter // its Args
}

// parameter is one of the Args of a docstring.
type parameter struct{ name, value, about string }

// untestedMark begins the paragraph of a library's docstring that says why no
// test has run its server.
const untestedMark = "Untested: "

// Doc returns the manual of a library. module is the path of a file, or
// @name//x.star, which std is to have. An example that cannot be evaluated here,
// as it needs files of a project, is shown without what it declares.
func Doc(std fs.FS, module string) (*Manual, error) {
	f, err := parseLibrary(std, module)
	if err != nil {
		return nil, err
	}
	m := &Manual{Module: module}
	m.about(docstring(f.Stmts))
	for n := range m.examples {
		m.examples[n].evaluate(std, module)
	}
	for _, def := range publicFunctions(f) {
		m.defs = append(m.defs, cutFunction(def))
	}
	if m.Tested, err = tested(std, module); err != nil {
		return nil, err
	}
	return m, nil
}

// Examples are the texts of the examples, those of the functions too, each a project file.
func (m *Manual) Examples() []string {
	var all []string
	for _, e := range m.examples {
		all = append(all, e.source)
	}
	for _, f := range m.defs {
		for _, e := range f.examples {
			all = append(all, e.source)
		}
	}
	return all
}

// about cuts the docstring of a library: examples are the indented blocks that
// begin with a load, up to a line that stands further to the left.
func (m *Manual) about(doc string) {
	var kept []string
	for paragraph := range strings.SplitSeq(outsideExamples(doc, &m.examples), "\n\n") {
		if why, ok := strings.CutPrefix(paragraph, untestedMark); ok {
			m.Untested = strings.Join(strings.Fields(why), " ")
		} else if paragraph = strings.Trim(paragraph, "\n"); paragraph != "" {
			kept = append(kept, paragraph)
		}
	}
	m.About = strings.Join(kept, "\n\n")
}

// outsideExamples returns the text without its examples, which are added to a list.
func outsideExamples(doc string, examples *[]example) string {
	var rest strings.Builder
	indent := ""
	for line := range strings.Lines(doc) {
		text := strings.TrimLeft(line, " ")
		if indent == "" && strings.HasPrefix(text, "load(") && text != line {
			indent = line[:len(line)-len(text)]
			*examples = append(*examples, example{})
		}
		if indent != "" && (text == "\n" || strings.HasPrefix(line, indent)) {
			last := &(*examples)[len(*examples)-1]
			last.source += strings.TrimPrefix(line, indent)
			continue
		}
		if indent != "" {
			indent = ""
			rest.WriteString("\n")
		}
		rest.WriteString(line)
	}
	for n := range *examples {
		(*examples)[n].source = strings.TrimRight((*examples)[n].source, "\n") + "\n"
	}
	return rest.String()
}

// evaluate finds what the library's functions declare in the example, as on a
// machine with Linux.
func (e *example) evaluate(std fs.FS, module string) {
	r, err := newRun(Options{File: "/services.star", Std: std, Host: testHost()})
	if err != nil {
		return
	}
	r.text = []byte(e.source)
	stop := r.limit(context.Background())
	defer stop()
	r.project()
	g := r.finish()
	if len(r.errors) > 0 {
		return
	}
	for _, n := range g.Nodes {
		if n.Kind == graph.KindService && slices.ContainsFunc(n.Stack, func(f graph.Frame) bool { return f.Pos.File == module }) {
			e.services = append(e.services, n)
		}
	}
	e.tools = g.Tools
}

// cutFunction reads a definition.
func cutFunction(def *syntax.DefStmt) function {
	f := function{name: def.Name.Name, signature: signature(def), doc: docstring(def.Body)}
	about, args, _ := strings.Cut(f.doc, "Args:\n")
	f.about = strings.TrimSpace(outsideExamples(about, &f.examples))
	values := map[string]string{}
	for _, p := range def.Params {
		name, value := param(p)
		values[name] = value
	}
	for line := range strings.Lines(args) {
		text := strings.TrimSpace(line)
		name, said, ok := strings.Cut(text, ": ")
		if value, known := values[name]; ok && known && len(line)-len(strings.TrimLeft(line, " ")) <= 4 {
			f.params = append(f.params, parameter{name, value, said})
		} else if len(f.params) > 0 && text != "" {
			f.params[len(f.params)-1].about += " " + text
		}
	}
	return f
}

// tested returns the line of the standard library's tested.txt that belongs to
// a module: "name: how it was tested".
func tested(std fs.FS, module string) (string, error) {
	name, ok := strings.CutPrefix(module, string(inStd))
	if !ok || std == nil {
		return "", nil
	}
	b, err := fs.ReadFile(std, "tested.txt")
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot read tested.txt of the library: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if how, ok := strings.CutPrefix(line, strings.TrimSuffix(name, ".star")+": "); ok {
			return strings.TrimSpace(how), nil
		}
	}
	return "", nil
}
