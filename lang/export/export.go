// Package export writes a graph in the forms that other programs and people
// read: text for the terminal, dot, mermaid, JSON.
//
// Every writer is pure: the same graph gives the same bytes. None of them binds
// a reference or asks the machine; what they do not show is in the graph still.
// A format is one file here and one line in Formats.
package export

import (
	"io"
	"strings"

	"orrery/lang/graph"
)

// Format is one form that a graph is written in.
type Format struct {
	Name string // as given to --format and export
	Doc  string // one line about it
	// Write writes the whole graph; for a part of it hand in graph.Only.
	// Width is the number of columns that text may take, 0 for 80; only ascii
	// looks at it. The error is that of w.
	Write func(w io.Writer, g *graph.Graph, width int) error
}

// Formats returns every format, in the order that help shows.
func Formats() []Format {
	return []Format{
		{"ascii", "text for the terminal: steps, and what each node waits for", ascii},
		{"dot", "a drawing for Graphviz", dot},
		{"svg", "a drawing", svg},
		{"mermaid", "a flowchart for Markdown", mermaid},
		{"json", "the plan: every declaration and edge", plan},
	}
}

// Find returns the format called name; ok is false if there is none.
func Find(name string) (f Format, ok bool) {
	for _, f := range Formats() {
		if f.Name == name {
			return f, true
		}
	}
	return Format{}, false
}

// room is the nodes under one prefix of names, as in shop/api and shop/db.
type room struct {
	name  string // "" for names without a slash
	nodes []*graph.Node
}

// rooms sorts the nodes by what stands before their last slash, in order of
// first declaration.
func rooms(g *graph.Graph) []room {
	var all []room
	place := map[string]int{}
	for _, n := range g.Nodes {
		name := ""
		if i := strings.LastIndexByte(n.Name(), '/'); i >= 0 {
			name = n.Name()[:i]
		}
		k, ok := place[name]
		if !ok {
			k = len(all)
			place[name] = k
			all = append(all, room{name: name})
		}
		all[k].nodes = append(all[k].nodes, n)
	}
	return all
}

// label is what is written at an arrow: nothing for the usual condition.
func label(g *graph.Graph, e graph.Edge) string {
	switch {
	case e.Field == "gates", e.Field == "template":
		return e.Field
	case e.Cond == g.Node(e.To).DefaultCond():
		return ""
	}
	return string(e.Cond)
}
