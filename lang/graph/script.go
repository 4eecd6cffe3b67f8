package graph

import (
	"fmt"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// Script is a shell script whose references have become environment variables:
// the text is constant, and each value reaches the shell as it is, whatever
// the quoting around it.
type Script struct {
	Text string // for sh -euc
	Refs []Ref  // the value of Refs[i] belongs in the variable ScriptVar(i)
}

// ScriptVar is the name of the environment variable of the i-th reference of a
// Script.
func ScriptVar(i int) string { return "ORRERY_REF_" + strconv.Itoa(i+1) }

// Shell prepares the text as a script. A reference where a shell can take no
// value (a quoted here-document, the name of a variable) is an error, with
// the remedy after "; ".
func (t Text) Shell() (Script, error) {
	if s, ok := t.Plain(); ok {
		return Script{Text: s}, nil
	}
	s := &scripter{}
	src := s.source(t, func(i int) string { return fmt.Sprintf("\uE000%d\uE001", i) })
	file, err := parseShell(src)
	if err != nil {
		// In arithmetic only a name can stand.
		s = &scripter{}
		src = s.source(t, func(i int) string { return fmt.Sprintf("ORRERYREF%dX", i) })
		if file, err = parseShell(src); err != nil {
			return Script{}, fmt.Errorf("cannot read the script: %v", err)
		}
	}
	s.src = src
	s.walk(file)
	return s.render(t)
}

func parseShell(src string) (*syntax.File, error) {
	return syntax.NewParser(syntax.Variant(syntax.LangBash), syntax.KeepComments(true)).Parse(strings.NewReader(src), "")
}

// scripter finds how each reference of a script is quoted.
type scripter struct {
	src   string
	spans [][2]int // of the placeholders
	quote []quoting
	up    []syntax.Node
}

// quoting is the place of a reference in a script.
type quoting struct {
	open, close string // what goes around ${NAME}
	comment     bool
	err         string
}

// source joins literals and placeholders.
func (s *scripter) source(t Text, placeholder func(int) string) string {
	var b strings.Builder
	for i, p := range t {
		if p.Ref == nil {
			b.WriteString(p.Lit)
			continue
		}
		from := b.Len()
		b.WriteString(placeholder(i))
		s.spans = append(s.spans, [2]int{from, b.Len()})
	}
	s.quote = make([]quoting, len(s.spans))
	for i := range s.quote {
		s.quote[i].err = "a reference cannot stand here; put it in a variable of env first"
	}
	return b.String()
}

// walk visits the nodes; an inner node overrides what an outer one said.
func (s *scripter) walk(file *syntax.File) {
	syntax.Walk(file, func(n syntax.Node) bool {
		if n == nil {
			s.up = s.up[:len(s.up)-1]
			return true
		}
		s.up = append(s.up, n)
		switch n.(type) {
		case *syntax.Lit, *syntax.SglQuoted, *syntax.Comment, *syntax.ParamExp:
			from, to := int(n.Pos().Offset()), int(n.End().Offset())
			for i, sp := range s.spans {
				if sp[0] >= from && sp[1] <= to {
					s.quote[i] = s.place(n, sp)
				}
			}
		}
		return true
	})
}

// place says how to write the expansion inside the node.
func (s *scripter) place(n syntax.Node, span [2]int) quoting {
	switch n := n.(type) {
	case *syntax.Comment:
		return quoting{comment: true}
	case *syntax.SglQuoted:
		if n.Dollar {
			return quoting{open: `'"`, close: `"$'`}
		}
		return quoting{open: `'"`, close: `"'`}
	case *syntax.ParamExp:
		return quoting{err: "a reference cannot be the name of a variable"}
	}
	if s.escaped(span[0]) {
		return quoting{err: "a backslash stands before a reference; leave it out: the value needs no quoting"}
	}
	if at := span[0]; at > 0 && s.src[at-1] == '$' && !s.escaped(at-1) {
		return quoting{err: "a $ stands before a reference; leave it out"}
	}
	return s.inWord()
}

// inWord looks at what is around a literal, from inside out.
func (s *scripter) inWord() quoting {
	bare := quoting{}
	quoted := quoting{open: `"`, close: `"`}
	pattern, back := false, false
	for i := len(s.up) - 2; i >= 0; i-- {
		child := s.up[i+1]
		switch n := s.up[i].(type) {
		case *syntax.DblQuoted:
			switch {
			case back:
				return quoting{err: "a reference stands in backquotes inside double quotes; write $(...)"}
			case pattern:
				return quoted
			}
			return bare
		case *syntax.ArithmExp, *syntax.ArithmCmd, *syntax.LetClause:
			return bare
		case *syntax.ParamExp:
			if n.Param != nil && child == syntax.Node(n.Param) {
				return quoting{err: "a reference cannot be the name of a variable"}
			}
			pattern = pattern || removes(n)
		case *syntax.CmdSubst:
			back = back || n.Backquotes
			if !back {
				return quoted
			}
		case *syntax.Redirect:
			switch {
			case child == syntax.Node(n.Word) && (n.Op == syntax.Hdoc || n.Op == syntax.DashHdoc):
				return quoting{err: "a reference cannot end a here-document"}
			case n.Hdoc != nil && child == syntax.Node(n.Hdoc):
				if quotedWord(n.Word) {
					return quoting{err: "a here-document with a quoted delimiter takes no values; unquote the delimiter: <<EOF"}
				}
				return bare
			}
		case *syntax.Assign:
			if n.Name != nil && child == syntax.Node(n.Name) {
				return quoting{err: "a reference cannot be the name of a variable"}
			}
		case *syntax.FuncDecl:
			if n.Name != nil && child == syntax.Node(n.Name) {
				return quoting{err: "a reference cannot be the name of a function"}
			}
		case *syntax.WordIter:
			if n.Name != nil && child == syntax.Node(n.Name) {
				return quoting{err: "a reference cannot be the name of a variable"}
			}
		}
	}
	return quoted
}

// removes reports whether the words of the expansion are patterns.
func removes(p *syntax.ParamExp) bool {
	if p.Repl != nil {
		return true
	}
	if p.Exp == nil {
		return false
	}
	switch p.Exp.Op {
	case syntax.RemSmallPrefix, syntax.RemLargePrefix, syntax.RemSmallSuffix, syntax.RemLargeSuffix:
		return true
	}
	return false
}

func quotedWord(w *syntax.Word) bool {
	for _, p := range w.Parts {
		switch p := p.(type) {
		case *syntax.Lit:
			if strings.Contains(p.Value, `\`) {
				return true
			}
		default:
			return true
		}
	}
	return false
}

// escaped reports whether an odd number of backslashes stands before the offset.
func (s *scripter) escaped(at int) bool {
	n := 0
	for at-n > 0 && s.src[at-n-1] == '\\' {
		n++
	}
	return n%2 == 1
}

// render writes the script with expansions.
func (s *scripter) render(t Text) (Script, error) {
	var out Script
	var b strings.Builder
	k := 0
	for _, p := range t {
		if p.Ref == nil {
			b.WriteString(p.Lit)
			continue
		}
		q := s.quote[k]
		k++
		switch {
		case q.err != "":
			msg, hint, ok := strings.Cut(q.err, "; ")
			if ok {
				hint = "; " + hint
			}
			return Script{}, fmt.Errorf("%s: %s%s", p.Ref, msg, hint)
		case q.comment:
			b.WriteString(p.Ref.Attr)
		default:
			b.WriteString(q.open + "${" + ScriptVar(out.add(*p.Ref)) + "}" + q.close)
		}
	}
	out.Text = b.String()
	return out, nil
}

// add returns the index of the reference in Refs.
func (s *Script) add(r Ref) int {
	for i, have := range s.Refs {
		if have == r {
			return i
		}
	}
	s.Refs = append(s.Refs, r)
	return len(s.Refs) - 1
}
