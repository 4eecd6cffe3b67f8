package lang

import (
	"unicode"

	"go.starlark.net/syntax"
)

// point moves a diagnostic from the bracket of a call to what is at fault: the
// value of the argument called field, else the name of the function. It adds
// the source line, and reports whether the argument was found.
func (ms *modules) point(d *Diagnostic, field string) bool {
	m := ms.byKey[d.File]
	if m == nil {
		return false
	}
	defer func() { d.Source = m.line(d.Line) }()
	call := m.call(d.Line, d.Col)
	if call == nil {
		m.attribute(d)
		return false
	}
	span := func(n syntax.Node) {
		from, to := n.Span()
		d.Line, d.Col, d.EndCol = int(from.Line), int(from.Col), int(to.Col)
		if to.Line != from.Line {
			d.EndCol = 0
		}
	}
	if field != "" {
		for _, a := range call.Args {
			if b, ok := a.(*syntax.BinaryExpr); ok && b.Op == syntax.EQ {
				if id, ok := b.X.(*syntax.Ident); ok && id.Name == field {
					span(b)
					return true
				}
			}
		}
	}
	span(call.Fn)
	return false
}

// attribute stretches a place that is the dot of x.name over the name.
func (m *module) attribute(d *Diagnostic) {
	line := []rune(m.line(d.Line))
	if d.Col < 1 || d.Col > len(line) || line[d.Col-1] != '.' {
		return
	}
	end := d.Col
	for end < len(line) && (line[end] == '_' || unicode.IsLetter(line[end]) || unicode.IsDigit(line[end])) {
		end++
	}
	d.EndCol = end + 1
}

// call returns the call whose opening bracket is at line:col.
func (m *module) call(line, col int) *syntax.CallExpr {
	if m.file == nil {
		return nil
	}
	var found *syntax.CallExpr
	for _, st := range m.file.Stmts {
		from, to := st.Span()
		if int(from.Line) > line || int(to.Line) < line {
			continue
		}
		syntax.Walk(st, func(n syntax.Node) bool {
			if c, ok := n.(*syntax.CallExpr); ok && int(c.Lparen.Line) == line && int(c.Lparen.Col) == col {
				found = c
			}
			return found == nil
		})
	}
	return found
}
