package orrery_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// The budgets: guard rails. When one is in the way, mend the structure; what
// has a better reason stands in exceptions.
const (
	fileMax, fileP95   = 800, 500 // lines; generated files aside, p95 of those that are no tests
	funcMax, funcP95   = 120, 60  // lines; tests aside
	nestingMax         = 5        // if, for, switch, select and func literals inside each other
	parametersMax      = 5
	liveFieldsMax      = 15 // fields of a struct of runtime/... without field tags
	exportedMax        = 25 // top-level names a package
	importsMax         = 6  // of ours, a package
	importsEngineMax   = 12
	importsCommandsMax = 14
)

// exceptions: what may be over a budget, and why. One that is no longer needed
// fails too.
func exceptions() map[string]string {
	return map[string]string{
		"exported lang/graph":           "the vocabulary of the whole tree, mostly generated from spec.star",
		"exported runtime/control/api":  "the words of the protocol: each method and message is one",
		"exported runtime/machine":      "enumerations: each phase, event, action and note is one word of the table in docs/states.md",
		"struct runtime/notify.Message": "one parsed datagram, a value: a field for each assignment of the protocol",
		"struct runtime/task.Result":    "how one run went, a value: what the screen, the history and the book want to know",
		"imports runtime/task":          "all that one task touches: its processes, the cache, the book, files",
		"imports cmd/orrery":            "the table of verbs: each room of the runtime has a verb that enters it",
		"struct runtime/task.Job":       "what to run, a value that is set once and never changed",
		"struct runtime/proc.Spec":      "what to start, a value that is set once and never changed",
	}
}

// budget collects what is over.
type budget struct {
	t    *testing.T
	used map[string]bool
}

func (b *budget) check(key, what string, got, most int) {
	b.t.Helper()
	if got <= most {
		return
	}
	if _, ok := exceptions()[key]; ok {
		b.used[key] = true
		return
	}
	b.t.Errorf("%s: got %d %s, want at most %d", key, got, what, most)
}

func TestBudgets(t *testing.T) {
	b := &budget{t: t, used: map[string]bool{}}
	files := tree(t)
	b.lengths(files)
	b.functions(files)
	b.structs(files)
	b.packages(files)
	for key := range exceptions() {
		if !b.used[key] {
			t.Errorf("the exception %q is not needed", key)
		}
	}
}

func (b *budget) lengths(files []file) {
	var all []int
	for _, f := range files {
		if f.generated {
			continue
		}
		b.check("file "+f.path, "lines", f.lines, fileMax)
		if !f.test {
			all = append(all, f.lines)
		}
	}
	b.check("files", "lines at the 95th percentile", p95(all), fileP95)
}

func p95(values []int) int {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[(len(values)-1)*95/100]
}

func (b *budget) functions(files []file) {
	var all []int
	for _, f := range files {
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || f.generated {
				continue
			}
			key := f.path + " " + fn.Name.Name
			if !f.test {
				lines := f.fset.Position(fn.End()).Line - f.fset.Position(fn.Pos()).Line + 1
				all = append(all, lines)
				b.check("func "+key, "lines", lines, funcMax)
				b.check("parameters "+key, "parameters", fn.Type.Params.NumFields(), parametersMax)
			}
			if fn.Body != nil {
				b.check("nesting "+key, "levels", nesting(fn.Body), nestingMax)
			}
		}
	}
	b.check("functions", "lines at the 95th percentile", p95(all), funcP95)
}

// nesting is the depth of statements that hold others. An else-if stands beside
// its if.
func nesting(body ast.Node) int {
	deepest := 0
	var walk func(n ast.Node, depth int)
	below := func(depth int, nodes ...ast.Node) bool {
		deepest = max(deepest, depth)
		for _, n := range nodes {
			walk(n, depth)
		}
		return false
	}
	walk = func(n ast.Node, depth int) {
		ast.Inspect(n, func(c ast.Node) bool {
			switch c := c.(type) {
			case *ast.IfStmt:
				walk(c.Cond, depth)
				below(depth+1, c.Body)
				if _, chain := c.Else.(*ast.IfStmt); chain {
					walk(c.Else, depth)
				} else if c.Else != nil {
					walk(c.Else, depth+1)
				}
				return false
			case *ast.ForStmt:
				return below(depth+1, c.Body)
			case *ast.RangeStmt:
				return below(depth+1, c.Body)
			case *ast.SwitchStmt:
				return below(depth+1, c.Body)
			case *ast.TypeSwitchStmt:
				return below(depth+1, c.Body)
			case *ast.SelectStmt:
				return below(depth+1, c.Body)
			case *ast.FuncLit:
				return below(depth+1, c.Body)
			}
			return true
		})
	}
	walk(body, 0)
	return deepest
}

// structs counts the fields of what holds live state: structs of the runtime.
// A tag on a field marks a struct as a message or a record; values that are set
// once (policies, specifications, options) say so in exceptions.
func (b *budget) structs(files []file) {
	for _, f := range files {
		if f.test || !strings.HasPrefix(f.dir, "runtime/") {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			s, ok := spec.Type.(*ast.StructType)
			if ok && !slices.ContainsFunc(s.Fields.List, func(f *ast.Field) bool { return f.Tag != nil }) {
				b.check("struct "+f.dir+"."+spec.Name.Name, "fields", s.Fields.NumFields(), liveFieldsMax)
			}
			return true
		})
	}
}

func (b *budget) packages(files []file) {
	exported, imports := map[string]map[string]bool{}, map[string]map[string]bool{}
	for _, f := range files {
		if f.test {
			continue
		}
		if exported[f.dir] == nil {
			exported[f.dir], imports[f.dir] = map[string]bool{}, map[string]bool{}
		}
		for _, name := range declared(f.ast) {
			if ast.IsExported(name.Name) {
				exported[f.dir][name.Name] = true
			}
		}
		for _, spec := range f.ast.Imports {
			if p := strings.Trim(spec.Path.Value, `"`); p == "orrery" || strings.HasPrefix(p, "orrery/") {
				imports[f.dir][p] = true
			}
		}
	}
	for dir, names := range exported {
		b.check("exported "+dir, fmt.Sprintf("exported names %v", keys(names)), len(names), exportedMax)
		most := importsMax
		switch {
		case dir == "runtime/engine":
			most = importsEngineMax
		case strings.HasPrefix(dir, "cmd/"):
			most = importsCommandsMax
		}
		b.check("imports "+dir, fmt.Sprintf("imports %v", keys(imports[dir])), len(imports[dir]), most)
	}
}

func keys(m map[string]bool) []string {
	var names []string
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

// declared lists the top-level names of a file, methods aside.
func declared(f *ast.File) []*ast.Ident {
	var names []*ast.Ident
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				names = append(names, d.Name)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					names = append(names, s.Name)
				case *ast.ValueSpec:
					names = append(names, s.Names...)
				}
			}
		}
	}
	return names
}

// TestNesting holds what the budget counts.
func TestNesting(t *testing.T) {
	for src, want := range map[string]int{
		"x()": 0,
		"if a { x() } else if b { x() } else if c { x() } else { x() }":       1,
		"for { switch a { case 1: if b { x() } } }":                           3,
		"if a { } else { for range b { x(func() { select { default: } }) } }": 4,
		"f := func() { for { } }; if a { }; if b { f() }":                     2,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "", "package p; func f() {"+src+"}", 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := nesting(f.Decls[0].(*ast.FuncDecl).Body); got != want {
			t.Errorf("%s: got %d, want %d", src, got, want)
		}
	}
}
