package export

import (
	"fmt"
	"io"
	"strings"

	"orrery/lang/graph"
)

// mermaid writes the graph as a flowchart. Nodes have numbers for identifiers,
// for a name such as "end" is a word of the language.
func mermaid(w io.Writer, g *graph.Graph, _ int) error {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	for i, r := range rooms(g) {
		indent := "  "
		if r.name != "" {
			fmt.Fprintf(&b, "  subgraph g%d [\"%s\"]\n", i, r.name)
			indent = "    "
		}
		for _, n := range r.nodes {
			left, right := "[", "]"
			if n.Kind == graph.KindTask {
				left, right = "([", "])"
			}
			fmt.Fprintf(&b, "%sn%d%s\"%s\"%s\n", indent, g.Index(n.Name()), left, n.Name(), right)
		}
		if r.name != "" {
			b.WriteString("  end\n")
		}
	}
	for _, e := range g.Edges() {
		line := "-->"
		if e.Cond == graph.Stopped {
			line = "-.->"
		}
		if l := label(g, e); l != "" {
			line += "|" + l + "|"
		}
		fmt.Fprintf(&b, "  n%d %s n%d\n", g.Index(e.From), line, g.Index(e.To))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
