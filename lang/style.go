package lang

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.starlark.net/resolve"
	"go.starlark.net/syntax"

	"orrery/lang/graph"
)

// style warns about what can be taken away or was forgotten. It is for those
// who write the files, so only Options.Lint asks for it.
func (r *run) style(m *module) {
	if m.ref.kind != inProject {
		return
	}
	s := &styler{run: r, module: m, used: map[*syntax.Ident]bool{}, bound: map[*syntax.Ident]bool{}}
	s.uses(m.file.Stmts)
	s.loads()
	s.variables()
	s.reassigned()
	s.unreachable(m.file.Stmts)
	s.undocumented()
}

// styler looks at one file.
type styler struct {
	run    *run
	module *module
	used   map[*syntax.Ident]bool // by the first binding of the name: it is read somewhere
	bound  map[*syntax.Ident]bool // identifiers that only bind
}

func (s *styler) warn(n syntax.Node, code, hint, format string, args ...any) {
	from, _ := n.Span()
	d := Diagnostic{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
	at := graph.Pos{File: s.module.ref.String(), Line: int(from.Line), Col: int(from.Col)}
	s.run.warnings = append(s.run.warnings, s.run.at(d, at, nil, nil, ""))
}

// firstOf is the place where a name was bound first, which stands for it.
func firstOf(id *syntax.Ident) *syntax.Ident {
	if b, ok := id.Binding.(*resolve.Binding); ok && b != nil {
		return b.First
	}
	return nil
}

// uses finds the names that are read.
func (s *styler) uses(stmts []syntax.Stmt) {
	for _, st := range stmts {
		syntax.Walk(st, func(n syntax.Node) bool {
			switch n := n.(type) {
			case *syntax.AssignStmt:
				s.binds(n.LHS)
			case *syntax.ForStmt:
				s.binds(n.Vars)
			case *syntax.ForClause:
				s.binds(n.Vars)
			case *syntax.LoadStmt:
				return false
			case *syntax.Ident:
				if first := firstOf(n); first != nil && !s.bound[n] {
					s.used[first] = true
				}
			}
			return true
		})
	}
}

// binds marks the names that an assignment binds: x, and those in (x, y).
func (s *styler) binds(e syntax.Expr) {
	switch e := e.(type) {
	case *syntax.Ident:
		s.bound[e] = true
	case *syntax.ParenExpr:
		s.binds(e.X)
	case *syntax.TupleExpr:
		for _, x := range e.List {
			s.binds(x)
		}
	case *syntax.ListExpr:
		for _, x := range e.List {
			s.binds(x)
		}
	}
}

func (s *styler) loads() {
	for _, st := range s.module.file.Stmts {
		ld, ok := st.(*syntax.LoadStmt)
		if !ok {
			continue
		}
		for _, to := range ld.To {
			if first := firstOf(to); first != nil && !s.used[first] {
				s.warn(to, "unused-load", "leave it out", "%s is loaded and not used", to.Name)
			}
		}
	}
}

// variables warns about locals that are set and never read, and private names
// of a file that nothing in it reads. What starts with _ in a function is meant.
func (s *styler) variables() {
	said := map[*syntax.Ident]bool{}
	check := func(e syntax.Expr, local bool) {
		id, ok := e.(*syntax.Ident)
		if !ok {
			return
		}
		first := firstOf(id)
		private := strings.HasPrefix(id.Name, "_")
		if first == nil || s.used[first] || said[first] || private == local {
			return
		}
		said[first] = true
		hint := "leave it out, or call it _" + id.Name
		if !local {
			hint = "leave it out; other files cannot see a name that starts with _"
		}
		s.warn(id, "unused-variable", hint, "%s is set and not used", id.Name)
	}
	for _, st := range s.module.file.Stmts {
		if a, ok := st.(*syntax.AssignStmt); ok && a.Op == syntax.EQ {
			check(a.LHS, false)
		}
	}
	syntax.Walk(s.module.file, func(n syntax.Node) bool {
		def, ok := n.(*syntax.DefStmt)
		if !ok {
			return true
		}
		for _, st := range def.Body {
			syntax.Walk(st, func(n syntax.Node) bool {
				if a, ok := n.(*syntax.AssignStmt); ok {
					check(a.LHS, true)
				}
				return true
			})
		}
		return true
	})
}

// reassigned warns about names of the top level that are bound twice, the
// second time without a look at the first.
func (s *styler) reassigned() {
	where := map[string]syntax.Node{}
	for _, st := range s.module.file.Stmts {
		var id *syntax.Ident
		reads := false
		switch st := st.(type) {
		case *syntax.AssignStmt:
			if id, _ = st.LHS.(*syntax.Ident); id == nil {
				continue
			}
			reads = st.Op != syntax.EQ || mentions(st.RHS, id.Name)
		case *syntax.DefStmt:
			id = st.Name
		default:
			continue
		}
		if before, twice := where[id.Name]; twice && !reads {
			from, _ := before.Span()
			s.warn(id, "reassigned", "give one of them another name", "%s has a value already, from line %d", id.Name, from.Line)
		}
		where[id.Name] = id
	}
}

func mentions(e syntax.Expr, name string) bool {
	found := false
	syntax.Walk(e, func(n syntax.Node) bool {
		id, ok := n.(*syntax.Ident)
		found = found || ok && id.Name == name
		return !found
	})
	return found
}

// unreachable warns about the first statement of a block that nothing reaches.
func (s *styler) unreachable(stmts []syntax.Stmt) {
	for i, st := range stmts {
		switch st := st.(type) {
		case *syntax.DefStmt:
			s.unreachable(st.Body)
		case *syntax.ForStmt:
			s.unreachable(st.Body)
		case *syntax.IfStmt:
			s.unreachable(st.True)
			s.unreachable(st.False)
		}
		if i < len(stmts)-1 && leaves(st) {
			s.warn(stmts[i+1], "unreachable", "leave it out", "nothing reaches this: the statement before it always leaves the block")
			return
		}
	}
}

// leaves tells whether nothing after a statement is carried out.
func leaves(st syntax.Stmt) bool {
	switch st := st.(type) {
	case *syntax.ReturnStmt:
		return true
	case *syntax.BranchStmt:
		return st.Token != syntax.PASS
	case *syntax.ExprStmt:
		call, ok := st.X.(*syntax.CallExpr)
		if !ok {
			return false
		}
		fn, ok := call.Fn.(*syntax.Ident)
		return ok && fn.Name == "fail"
	case *syntax.IfStmt:
		return len(st.False) > 0 && slices.ContainsFunc(st.True, leaves) && slices.ContainsFunc(st.False, leaves)
	}
	return false
}

// undocumented warns about public functions of a library without a docstring.
// A file is one when it says what it is for, or has tests beside it.
func (s *styler) undocumented() {
	m := s.module
	if m.ref.path == s.run.main || strings.HasSuffix(m.ref.path, "_test.star") {
		return
	}
	tests := filepath.Join(s.run.root, strings.TrimSuffix(m.ref.path, ".star")+"_test.star")
	if _, err := os.Stat(tests); err != nil && docstring(m.file.Stmts) == "" {
		return
	}
	for _, def := range publicFunctions(m.file) {
		if docstring(def.Body) == "" {
			s.warn(def.Name, "missing-doc", "say in a text below it what it declares, and what its arguments mean", "%s() has no documentation", def.Name.Name)
		}
	}
}

// disable is how a line says which warnings it does not want.
const disable = "# orrery: disable="

// silenced tells whether a warning is one that its line, or a comment on the
// line before, does not want.
func (ms *modules) silenced(d Diagnostic) bool {
	m := ms.byKey[d.File]
	before := strings.TrimSpace(m.line(d.Line - 1))
	if !strings.HasPrefix(before, "#") {
		before = ""
	}
	for _, line := range []string{m.line(d.Line), before} {
		_, codes, ok := strings.Cut(line, disable)
		if ok && slices.Contains(strings.FieldsFunc(codes, func(r rune) bool { return r == ',' || r == ' ' }), d.Code) {
			return true
		}
	}
	return false
}
