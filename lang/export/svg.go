package export

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"orrery/lang/graph"
)

// Sizes of the drawing, in pixels.
const (
	svgChar = 8 // width of a letter of the names
	svgHigh = 30
	svgGapX = 70
	svgGapY = 16
	svgEdge = 16
)

type svgBox struct{ x, y, w int }

// svg draws the graph without another program: a column for each step, an arrow
// from each node to what it waits for, which stands left of it.
func svg(w io.Writer, g *graph.Graph, _ int) error {
	columns := steps(g)
	boxes := map[string]svgBox{}
	x, high := svgEdge, 0
	for _, names := range columns {
		wide := 0
		for _, n := range names {
			wide = max(wide, utf8.RuneCountInString(n)*svgChar+24)
		}
		for i, n := range names {
			boxes[n] = svgBox{x, svgEdge + i*(svgHigh+svgGapY), wide}
		}
		high = max(high, svgEdge+len(names)*(svgHigh+svgGapY))
		x += wide + svgGapX
	}
	var b strings.Builder
	width := max(x-svgGapX+svgEdge, 2*svgEdge)
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" font-size=\"13\">\n", width, max(high, 2*svgEdge), width, max(high, 2*svgEdge))
	fmt.Fprintf(&b, "<title>%s</title>\n", xmlText(title(g)))
	b.WriteString("<defs><marker id=\"to\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0 8 4 0 8z\" fill=\"#888\"/></marker></defs>\n")
	b.WriteString("<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n")
	for _, e := range g.Edges() {
		svgArrow(&b, g, e, boxes)
	}
	for _, n := range g.Nodes {
		svgNode(&b, n, boxes[n.Name()])
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func svgArrow(b *strings.Builder, g *graph.Graph, e graph.Edge, boxes map[string]svgBox) {
	from, to := boxes[e.From], boxes[e.To]
	x1, y1, x2, y2 := from.x, from.y+svgHigh/2, to.x+to.w, to.y+svgHigh/2
	bend := max(30, (x1-x2)/2)
	dash := ""
	if e.Cond == graph.Stopped {
		dash = " stroke-dasharray=\"4 3\""
	}
	fmt.Fprintf(b, "<path d=\"M%d %dC%d %d %d %d %d %d\" fill=\"none\" stroke=\"#888\"%s marker-end=\"url(#to)\"><title>%s waits for %s.%s</title></path>\n",
		x1, y1, x1-bend, y1, x2+bend, y2, x2, y2, dash, xmlText(e.From), xmlText(e.To), e.Cond)
	if l := label(g, e); l != "" {
		fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" font-size=\"10\" fill=\"#555\">%s</text>\n", (x1+x2)/2, (y1+y2)/2-3, xmlText(l))
	}
}

func svgNode(b *strings.Builder, n *graph.Node, at svgBox) {
	round, fill := 2, "#eef4fb"
	if n.Kind == graph.KindTask {
		round, fill = svgHigh/2, "#f6f3e8"
	}
	dash := ""
	if n.Kind == graph.KindService && !n.Service.Autostart {
		dash = " stroke-dasharray=\"3 2\""
	}
	fmt.Fprintf(b, "<g><title>%s</title><rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"%d\" fill=\"%s\" stroke=\"#456\"%s/><text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text></g>\n",
		xmlText(strings.TrimSpace(string(n.Kind)+" "+n.Common().Description)), at.x, at.y, at.w, svgHigh, round, fill, dash, at.x+at.w/2, at.y+svgHigh/2+5, xmlText(n.Name()))
}

func xmlText(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\"", "&quot;").Replace(s)
}
