package lang

import (
	"fmt"

	"go.starlark.net/syntax"

	"orrery/lang/graph"
)

// lint warns about what is legal Starlark and never what was meant.
func (r *run) lint(m *module) {
	if m.ref.kind == inStd {
		return
	}
	warn := func(n syntax.Node, code, hint, msg string) {
		from, _ := n.Span()
		d := Diagnostic{Code: code, Message: msg, Hint: hint}
		r.warnings = append(r.warnings, r.at(d, graph.Pos{File: m.ref.String(), Line: int(from.Line), Col: int(from.Col)}, nil, nil, ""))
	}
	syntax.Walk(m.file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.BinaryExpr:
			if attr := comparedReference(n); attr != "" {
				warn(n, "compared-reference", "the value of a reference is known only when the graph runs", fmt.Sprintf("a comparison of .%s with a literal is never true", attr))
			}
		case *syntax.DefStmt:
			for _, p := range n.Params {
				b, ok := p.(*syntax.BinaryExpr)
				if ok && mutates(n, b) {
					warn(p, "mutable-default", "copy it: dict(x), list(x)", "a default list or dict is frozen after load, so this function cannot change it")
				}
			}
		}
		return true
	})
}

// comparedReference returns the attribute of a comparison of x.port, x.url ...
// with a literal, or "".
func comparedReference(b *syntax.BinaryExpr) string {
	switch b.Op {
	case syntax.EQL, syntax.NEQ, syntax.LT, syntax.GT, syntax.LE, syntax.GE:
	default:
		return ""
	}
	for _, side := range [][2]syntax.Expr{{b.X, b.Y}, {b.Y, b.X}} {
		dot, isDot := side[0].(*syntax.DotExpr)
		_, isLit := side[1].(*syntax.Literal)
		if !isDot || !isLit {
			continue
		}
		if id, ok := dot.X.(*syntax.Ident); ok && id.Name == "host" {
			continue
		}
		switch dot.Name.Name {
		case "port", "url", "path", "address", "state_dir", "runtime_dir", "cache_dir", "log_file", "data_id":
			return dot.Name.Name
		}
		if in, ok := dot.X.(*syntax.DotExpr); ok {
			switch in.Name.Name {
			case "ports", "sockets", "exports", "outputs", "values":
				return in.Name.Name + "." + dot.Name.Name
			}
		}
	}
	return ""
}

// mutates reports whether the function changes its parameter, whose default is
// a list or dict, in place.
func mutates(def *syntax.DefStmt, param *syntax.BinaryExpr) bool {
	id, ok := param.X.(*syntax.Ident)
	if !ok {
		return false
	}
	switch param.Y.(type) {
	case *syntax.ListExpr, *syntax.DictExpr:
	default:
		return false
	}
	is := func(e syntax.Expr) bool {
		x, ok := e.(*syntax.Ident)
		return ok && x.Name == id.Name
	}
	found, rebound := false, false
	for _, st := range def.Body {
		syntax.Walk(st, func(n syntax.Node) bool {
			switch n := n.(type) {
			case *syntax.AssignStmt:
				if is(n.LHS) {
					rebound = true
				}
				if ix, ok := n.LHS.(*syntax.IndexExpr); ok && is(ix.X) {
					found = true
				}
			case *syntax.CallExpr:
				if dot, ok := n.Fn.(*syntax.DotExpr); ok && is(dot.X) {
					switch dot.Name.Name {
					case "append", "extend", "insert", "update", "pop", "remove", "clear", "setdefault":
						found = true
					}
				}
			}
			return true
		})
	}
	return found && !rebound
}
