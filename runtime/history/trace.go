package history

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Format is one form that a trace is written in.
type Format struct {
	Name string // as given to --format
	Doc  string // one line about it
	// Write writes the trace; pure but for w, whose error it gives back. Only text looks at the options.
	Write func(w io.Writer, t *Trace, o TextOptions) error
}

// TextOptions say how a trace is written for a terminal.
type TextOptions struct {
	// Width is the number of columns, 0 for 80. Rows is how many nodes are shown, besides those of the critical path; 0: all.
	Width, Rows int
	// Mark colours what is critical; nil: nothing is coloured.
	Mark func(string) string
}

// Formats returns every format, in the order that help shows.
func Formats() []Format {
	return []Format{
		{"text", "bars for the terminal", text},
		{"svg", "a drawing that needs nothing else", svg},
		{"chrome", "Trace Event Format, for ui.perfetto.dev", chrome},
	}
}

// span shows a length of time in microseconds.
func span(us int64) string {
	d := time.Duration(us) * time.Microsecond
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(us)/1000)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// title says which run it is.
func (t *Trace) title() string {
	r := t.Run
	words := append([]string{r.Verb}, r.Targets...)
	if len(r.Args) > 0 {
		words = append(append(words, "--"), r.Args...)
	}
	return strings.Join(words, " ")
}

// text writes bars: dots while a node waits, full while it works.
func text(w io.Writer, t *Trace, o TextOptions) error {
	if o.Width <= 0 {
		o.Width = 80
	}
	if o.Mark == nil {
		o.Mark = func(s string) string { return s }
	}
	var b strings.Builder
	total := int64(0)
	for _, s := range t.Path {
		total += s.To - s.From
	}
	fmt.Fprintf(&b, "%s  %s  %s  %s, %s of it on the critical path (*)\n", t.title(), t.Run.ID, t.Run.Outcome, span(t.Until), span(total))
	rows, left := t.rows(o.Rows)
	names := 0
	for _, n := range rows {
		if l := utf8.RuneCountInString(n.Name); l <= o.Width/3 { // a longer one stands out
			names = max(names, l)
		}
	}
	const took = 8
	bars := max(o.Width-names-took-7, 10)
	critical := t.critical()
	for _, n := range rows {
		mark, bar := " ", t.bar(n, bars)
		if critical[n.Name] {
			mark, bar = "*", o.Mark(bar)
		}
		fmt.Fprintf(&b, "%s %-*s %*s  %s%s\n", mark, names, n.Name, took, t.length(n), bar, t.about(n))
	}
	if left > 0 {
		fmt.Fprintf(&b, "  and %d more that took less\n", left)
	}
	t.steps(&b, names, took)
	_, err := io.WriteString(w, b.String())
	return err
}

// rows are the nodes that are shown: those of the path, and of the others those that took longest; left are not shown.
func (t *Trace) rows(most int) (rows []*Node, left int) {
	critical := t.critical()
	var others []*Node
	for i := range t.Run.Nodes {
		n := &t.Run.Nodes[i]
		if !critical[n.Name] {
			others = append(others, n)
		}
	}
	keep := map[*Node]bool{}
	slices.SortStableFunc(others, func(a, b *Node) int { return cmp.Compare(b.Took(), a.Took()) })
	for i, n := range others {
		keep[n] = most == 0 || i < most
	}
	for i := range t.Run.Nodes {
		if n := &t.Run.Nodes[i]; critical[n.Name] || keep[n] {
			rows = append(rows, n)
		} else {
			left++
		}
	}
	return rows, left
}

// length is how long a node worked, in words.
func (t *Trace) length(n *Node) string {
	switch {
	case n.Started == 0:
		return "-"
	case n.settled() == 0:
		return span(t.Until-n.Started) + "…"
	}
	return span(n.settled() - n.Started)
}

// about is what is to be said of a node behind its bar.
func (t *Trace) about(n *Node) string {
	var words []string
	if a := n.Action(); a != "ran" && a != "started" {
		words = append(words, a)
	}
	if n.Nth > 0 {
		words = append(words, fmt.Sprintf("start %d", n.Nth+1))
	}
	if n.settled() == 0 && n.Started == 0 && n.Waited != "" {
		words = append(words, n.Waited)
	}
	if len(words) == 0 {
		return ""
	}
	return "  " + strings.Join(words, ", ")
}

// bar draws a node into so many columns.
func (t *Trace) bar(n *Node, columns int) string {
	at := func(us int64) int { return min(int(us*int64(columns)/t.Until), columns-1) }
	begin, end := n.begin(), n.settled()
	if end == 0 {
		end = t.Until
	}
	start := n.Started
	if start == 0 {
		start = end
	}
	start, end = max(start, begin), max(end, begin)
	cells := []rune(strings.Repeat(" ", at(begin)))
	cells = append(cells, []rune(strings.Repeat("·", at(start)-at(begin)))...)
	if n.Started > 0 {
		cells = append(cells, []rune(strings.Repeat("█", max(at(end)-at(start), 1)))...)
	}
	return string(cells)
}

// steps lists the critical path.
func (t *Trace) steps(b *strings.Builder, names, took int) {
	if len(t.Path) == 0 {
		return
	}
	fmt.Fprintln(b, "critical path:")
	for _, s := range t.Path {
		fmt.Fprintf(b, "  %-*s %*s  from %s to %s", names, s.Name, took, span(s.To-s.From), span(s.From), span(s.To))
		if s.Waited >= 1000 {
			fmt.Fprintf(b, ", after %s", strings.TrimSpace(span(s.Waited)+" "+waitedFor(s.For)))
		}
		fmt.Fprintln(b)
	}
}

// waitedFor says in words what a step waited for: the engine says "waits for a free job".
func waitedFor(what string) string {
	if rest, ok := strings.CutPrefix(what, "waits "); ok {
		return "of waiting " + rest
	}
	return "of waiting"
}
