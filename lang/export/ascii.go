package export

import (
	"fmt"
	"io"
	"strings"

	"orrery/lang/graph"
)

// ascii writes the graph in steps: a node stands below all that it waits for.
// Names are never cut, so that they can be copied; lists wrap.
func ascii(w io.Writer, g *graph.Graph, width int) error {
	if width <= 0 {
		width = 80
	}
	var b strings.Builder
	for i, names := range steps(g) {
		fmt.Fprintf(&b, "step %d\n", i+1)
		column := 0
		for _, name := range names {
			if len(name) <= width/2 { // a longer one stands out
				column = max(column, len(name))
			}
		}
		for _, name := range names {
			fmt.Fprintf(&b, "  %-*s  %s\n", column, name, kind(g, name))
			wrap(&b, "    <- ", waits(g, name), width)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// steps sorts the nodes into layers: one more than the deepest that a node
// waits for. A wait for a stop does not count; it comes at the end of a run.
func steps(g *graph.Graph) [][]string {
	depth := make(map[string]int, len(g.Nodes))
	deepest := -1
	for _, name := range g.Order() {
		d := 0
		for _, e := range g.Out(name) {
			if e.Cond == graph.Stopped {
				continue
			}
			d = max(d, depth[e.To]+1)
			if e.Cond == graph.Ready || e.Cond == graph.Healthy {
				for _, t := range g.Gates(e.To) {
					d = max(d, depth[t]+1)
				}
			}
		}
		depth[name] = d
		deepest = max(deepest, d)
	}
	layers := make([][]string, deepest+1)
	for _, n := range g.Nodes {
		d := depth[n.Name()]
		layers[d] = append(layers[d], n.Name())
	}
	return layers
}

func kind(g *graph.Graph, name string) string {
	n := g.Node(name)
	switch {
	case n.Kind == graph.KindTask && n.Task.Gates != "":
		return "task, gates " + n.Task.Gates
	case n.Kind == graph.KindTask && n.Task.Template != "":
		return "task, fills " + n.Task.Template
	case n.Kind == graph.KindService && !n.Service.Autostart:
		return "service, on demand"
	}
	return string(n.Kind)
}

// waits lists what a node waits for; the usual condition is not written.
func waits(g *graph.Graph, name string) []string {
	var list []string
	for _, e := range g.Out(name) {
		if e.Cond == g.Node(e.To).DefaultCond() {
			list = append(list, e.To)
		} else {
			list = append(list, e.To+"."+string(e.Cond))
		}
	}
	return list
}

// wrap writes words with commas after first, in lines of at most width columns
// where the words allow it.
func wrap(b *strings.Builder, first string, words []string, width int) {
	line := first
	for i, word := range words {
		if i < len(words)-1 {
			word += ","
		}
		switch {
		case i == 0:
			line += word
		case len(line)+1+len(word) <= width:
			line += " " + word
		default:
			b.WriteString(line + "\n")
			line = strings.Repeat(" ", len(first)) + word
		}
	}
	if len(words) > 0 {
		b.WriteString(line + "\n")
	}
}
