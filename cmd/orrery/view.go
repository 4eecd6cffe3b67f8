package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mattn/go-isatty"

	"orrery/cmd/orrery/term"
	"orrery/lang/graph"
)

// columns is the width of the terminal on stdout, 0 when there is none.
func columns() int {
	if !isatty.IsTerminal(os.Stdout.Fd()) {
		return 0
	}
	return terminalWidth(os.Stdout.Fd())
}

// cell is one field of a table; its color is an SGR code, or empty.
type cell struct{ text, color string }

// table is rows of cells under a head, aligned in columns.
type table struct {
	head []string
	rows [][]cell
}

// write writes the table. Columns that are empty in every row are left out. On
// a terminal (width > 0) the last column is cut where the line ends, so that
// nothing wraps; elsewhere everything is written.
func (t *table) write(w io.Writer, a *app, width int) error {
	out := bufio.NewWriter(w)
	for _, l := range t.lines(width) {
		for _, span := range l {
			out.WriteString(a.tint(span.Color, span.Text))
		}
		out.WriteString("\n")
	}
	return out.Flush()
}

// lines are the table for a width, 0 for any.
func (t *table) lines(width int) []term.Line {
	var kept []int
	var widths []int
	for c := range t.head {
		most := 0
		for _, row := range t.rows {
			most = max(most, term.Width(row[c].text))
		}
		if most > 0 || c == 0 {
			kept = append(kept, c)
			widths = append(widths, max(most, term.Width(t.head[c])))
		}
	}
	line := func(get func(c int) cell) (l term.Line) {
		used := 0
		for i, c := range kept {
			f, room := get(c), -1
			if width > 0 {
				room = max(0, width-used)
			}
			text := term.Fit(f.text, room)
			l = append(l, term.Span{Text: text, Color: f.color})
			n := term.Width(text)
			used += n
			if i == len(kept)-1 || room >= 0 && n >= room {
				continue
			}
			gap := max(0, widths[i]-n) + 2
			if room >= 0 {
				gap = min(gap, room-n)
			}
			l = append(l, term.Span{Text: strings.Repeat(" ", gap)})
			used += gap
		}
		return l
	}
	lines := []term.Line{line(func(c int) cell { return cell{t.head[c], dim} })}
	for _, row := range t.rows {
		lines = append(lines, line(func(c int) cell { return row[c] }))
	}
	return lines
}

// oneLine makes a text fit for a table: no line breaks, no control characters.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' || r == '\t' || r < ' ' || r == 0x7f }), " ")
}

// position is where something was declared, as editors read it.
func position(p graph.Pos) string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// oneNode finds a node by its exact name; groups and subtrees are refused,
// with what they hold.
func oneNode(g *graph.Graph, verb, name string) (*graph.Node, error) {
	if n := g.Node(name); n != nil {
		return n, nil
	}
	names, err := g.Expand([]string{name})
	if err != nil {
		return nil, err
	}
	return nil, hinted{usageError{fmt.Errorf("%s takes one service or task; %s stands for %s", verb, name, strings.Join(names, ", "))}, "name one of them"}
}

// unknown is the error of a name that is none of those known.
func unknown(name string, known []string) error {
	return &graph.UnknownTarget{Name: name, Hint: graph.Suggest(name, known)}
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}
