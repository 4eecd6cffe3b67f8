package lang

import (
	"fmt"
	"strings"

	"orrery/lang/graph"
)

// Diagnostic is a mistake or a warning, with its place.
type Diagnostic struct {
	Code    string          `json:"code"` // short and stable: "type", "unknown-argument", "cycle" ...
	File    string          `json:"file"` // relative to the project root, or a module such as @std//postgres.star
	Line    int             `json:"line"` // counts from 1; 0 when there is no place
	Col     int             `json:"col"`
	EndCol  int             `json:"end,omitempty"` // column after the last one; 0 when unknown
	Message string          `json:"message"`
	Hint    string          `json:"hint,omitempty"`
	Stack   []graph.Frame   `json:"stack,omitempty"`   // the calls below the user's line, innermost last
	Related []graph.Related `json:"related,omitempty"` // other places that have to do with it
	Source  string          `json:"source,omitempty"`  // the line

	inner string // source line of the innermost frame
}

// Errors are all mistakes of a Load, in order of place.
type Errors []Diagnostic

// Error is every mistake as Format writes it, without colour.
func (e Errors) Error() string {
	var b strings.Builder
	for i := range e {
		b.WriteString(e[i].Format(false))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

const (
	bold  = "\x1b[1m"
	red   = "\x1b[31m"
	faint = "\x1b[2m"
	reset = "\x1b[0m"
)

// Format writes "file:line:col: message", the line with a caret, the library's
// line, the hint and the related places, each line ended.
func (d *Diagnostic) Format(color bool) string {
	paint := func(code, s string) string {
		if !color {
			return s
		}
		return code + s + reset
	}
	var b strings.Builder
	if d.Line > 0 {
		b.WriteString(paint(bold, fmt.Sprintf("%s:%d:%d: ", d.File, d.Line, d.Col)))
	} else if d.File != "" {
		b.WriteString(paint(bold, d.File+": "))
	}
	b.WriteString(paint(bold, d.Message) + "\n")
	if d.Source != "" {
		src, caret := underline(d.Source, d.Col, d.EndCol)
		fmt.Fprintf(&b, "    %s\n    %s\n", src, paint(red, caret))
	}
	for i, f := range d.Stack {
		fmt.Fprintf(&b, "  in %s %s\n", f.Func, paint(faint, f.Pos.String()))
		if i == len(d.Stack)-1 && d.inner != "" {
			fmt.Fprintf(&b, "      %s\n", strings.TrimSpace(d.inner))
		}
	}
	if d.Hint != "" {
		fmt.Fprintf(&b, "  hint: %s\n", d.Hint)
	}
	for _, r := range d.Related {
		fmt.Fprintf(&b, "  %s: %s\n", paint(faint, r.Pos.String()), r.Message)
	}
	return b.String()
}

// underline returns the line without indentation and the carets below it.
func underline(line string, col, end int) (src, caret string) {
	src = strings.TrimLeft(line, " \t")
	at := max(0, col-1-(len([]rune(line))-len([]rune(src))))
	n := 1
	if end > col {
		n = min(end-col, max(1, len([]rune(src))-at))
	}
	const wide = 160
	if runes := []rune(src); len(runes) > wide {
		from := min(max(0, at-wide/2), len(runes)-wide)
		src, at, n = string(runes[from:from+wide]), at-from, min(n, wide)
	}
	return strings.TrimRight(src, " \t\r"), strings.Repeat(" ", at) + strings.Repeat("^", n)
}

// Pos is the place of the diagnostic.
func (d *Diagnostic) Pos() graph.Pos { return graph.Pos{File: d.File, Line: d.Line, Col: d.Col} }
