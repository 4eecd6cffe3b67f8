package export

import (
	"fmt"
	"io"
	"strings"

	"orrery/lang/graph"
)

// dot writes the graph for Graphviz. An arrow leads from a node to what it
// waits for; services are boxes, tasks have round corners.
func dot(w io.Writer, g *graph.Graph, _ int) error {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %s {\n", quote(title(g)))
	b.WriteString("  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=10];\n")
	for i, r := range rooms(g) {
		indent := "  "
		if r.name != "" {
			fmt.Fprintf(&b, "  subgraph cluster_%d {\n    label=%s;\n", i, quote(r.name))
			indent = "    "
		}
		for _, n := range r.nodes {
			fmt.Fprintf(&b, "%s%s [%s];\n", indent, quote(n.Name()), looks(n))
		}
		if r.name != "" {
			b.WriteString("  }\n")
		}
	}
	for _, e := range g.Edges() {
		fmt.Fprintf(&b, "  %s -> %s [%s];\n", quote(e.From), quote(e.To), arrow(g, e))
	}
	b.WriteString("}\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func title(g *graph.Graph) string {
	if g.Project.Name == "" {
		return "orrery"
	}
	return g.Project.Name
}

func looks(n *graph.Node) string {
	attrs := "style=solid"
	switch {
	case n.Kind == graph.KindTask:
		attrs = "style=rounded"
	case !n.Service.Autostart:
		attrs = "style=dotted"
	}
	if d := n.Common().Description; d != "" {
		attrs += ", tooltip=" + quote(d)
	}
	return attrs
}

func arrow(g *graph.Graph, e graph.Edge) string {
	by := e.Field
	if e.Ref != "" {
		by += " = " + e.Ref
	}
	attrs := "tooltip=" + quote(by)
	if l := label(g, e); l != "" {
		attrs += ", label=" + quote(l)
	}
	if e.Cond == graph.Stopped {
		attrs += ", style=dashed, constraint=false"
	}
	return attrs
}

// quote writes a string of the dot language: no backslash in it is an escape
// such as \N, and it stays on one line.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " ", "\r", " ").Replace(s) + `"`
}
