package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/mattn/go-isatty"
	"orrery/lang/graph"
)

// outColor says whether data on stdout is coloured: as color says, and not
// into a pipe or a file unless asked for.
func (a *app) outColor() bool {
	if !a.color() {
		return false
	}
	if a.colorBy == "always" || isatty.IsTerminal(os.Stdout.Fd()) {
		return true
	}
	for _, force := range []string{"FORCE_COLOR", "CLICOLOR_FORCE"} {
		if v := os.Getenv(force); v != "" && v != "0" {
			return true
		}
	}
	return false
}

// tint is paint for what goes to stdout.
func (a *app) tint(code, s string) string {
	if s == "" || !a.outColor() {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

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
	var kept []int
	var widths []int
	for c := range t.head {
		most := 0
		for _, row := range t.rows {
			most = max(most, utf8.RuneCountInString(row[c].text))
		}
		if most > 0 || c == 0 {
			kept = append(kept, c)
			widths = append(widths, max(most, utf8.RuneCountInString(t.head[c])))
		}
	}
	out := bufio.NewWriter(w)
	line := func(get func(c int) cell) {
		used := 0
		for i, c := range kept {
			f, last := get(c), i == len(kept)-1
			room := -1
			if width > 0 {
				room = max(0, width-used)
			}
			pad := widths[i]
			if last {
				pad = 0
			}
			text := fit(f.text, room)
			out.WriteString(a.tint(f.color, text))
			n := utf8.RuneCountInString(text)
			used += n
			if !last && (room < 0 || n < room) {
				gap := max(0, pad-n) + 2
				if room >= 0 {
					gap = min(gap, room-n)
				}
				out.WriteString(strings.Repeat(" ", gap))
				used += gap
			}
		}
		out.WriteString("\n")
	}
	line(func(c int) cell { return cell{t.head[c], dim} })
	for _, row := range t.rows {
		line(func(c int) cell { return row[c] })
	}
	return out.Flush()
}

// fit cuts a text to a number of characters; a negative one is no limit.
func fit(s string, room int) string {
	if room < 0 || utf8.RuneCountInString(s) <= room {
		return s
	}
	if room == 0 {
		return ""
	}
	r := []rune(s)
	return string(r[:room-1]) + "…"
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
