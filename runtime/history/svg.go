package history

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// The measures of the drawing, in pixels.
const (
	svgChart  = 1000 // of the time line
	svgRow    = 20
	svgLetter = 7 // of a fixed font of 12 px, a little more than it takes
	svgTop    = 70
	svgNames  = 48 // letters of a name that are shown; the rest is in the title
)

// svg draws one row a node, as systemd-analyze plot does. It is one file that loads nothing.
func svg(w io.Writer, t *Trace, _ TextOptions) error {
	names := 4
	for i := range t.Run.Nodes {
		names = max(names, min(utf8.RuneCountInString(t.Run.Nodes[i].Name), svgNames))
	}
	d := &drawing{t: t, left: names*svgLetter + 24, critical: t.critical()}
	height := svgTop + len(t.Run.Nodes)*svgRow + 40
	width := d.left + svgChart + 160
	fmt.Fprintf(&d.b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="monospace" font-size="12">`+"\n", width, height, width, height)
	d.b.WriteString(`<style>.bg{fill:#fff}.t{fill:#222}.g{stroke:#ddd}.w{fill:#d8d8d8}.b{fill:#7aa6d8}.c{fill:#d9534f}.n{fill:#8fbf8f}.f{stroke:#b00;stroke-width:2}</style>` + "\n")
	fmt.Fprintf(&d.b, `<rect class="bg" width="%d" height="%d"/>`+"\n", width, height)
	d.text(12, 22, "", fmt.Sprintf("%s: %s, %s", t.title(), t.Run.Outcome, span(t.Until)))
	d.text(12, 40, "", fmt.Sprintf("%s, %s", t.Run.ID, t.Run.Started.UTC().Format("2006-01-02 15:04:05 UTC")))
	d.legend(d.left+svgChart/2, 36)
	d.axis(height - 30)
	for i := range t.Run.Nodes {
		d.row(&t.Run.Nodes[i], svgTop+i*svgRow)
	}
	d.b.WriteString("</svg>\n")
	_, err := io.WriteString(w, d.b.String())
	return err
}

// drawing is an SVG that is being written.
type drawing struct {
	b        strings.Builder
	t        *Trace
	left     int
	critical map[string]bool
}

func escape(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s)) // also replaces what XML cannot hold
	return b.String()
}

func (d *drawing) text(x, y int, attr, s string) {
	fmt.Fprintf(&d.b, `<text class="t" x="%d" y="%d"%s>%s</text>`+"\n", x, y, attr, escape(s))
}

// x is where an offset lies.
func (d *drawing) x(us int64) float64 {
	return float64(d.left) + float64(us)*svgChart/float64(d.t.Until)
}

func (d *drawing) rect(class string, from, to int64, y int) {
	fmt.Fprintf(&d.b, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d"/>`, class, d.x(from), y+3, max(d.x(to)-d.x(from), 1.5), svgRow-6)
}

// legend says what the colours mean.
func (d *drawing) legend(x, y int) {
	for _, k := range []struct{ class, what string }{{"c", "critical path"}, {"b", "works"}, {"n", "cached"}, {"w", "waits"}} {
		fmt.Fprintf(&d.b, `<rect class="%s" x="%d" y="%d" width="12" height="12"/>`, k.class, x, y-10)
		d.text(x+16, y, "", k.what)
		x += 16 + (len(k.what)+2)*svgLetter
	}
}

// axis draws lines at round times: some ten at most.
func (d *drawing) axis(bottom int) {
	step := int64(1)
	for i := 0; d.t.Until/step > 10; i++ {
		step = step * []int64{2, 5, 2}[i%3] / []int64{1, 2, 1}[i%3]
	}
	for us := int64(0); us <= d.t.Until; us += step {
		fmt.Fprintf(&d.b, `<line class="g" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`, d.x(us), svgTop-8, d.x(us), bottom)
		d.text(int(d.x(us))+3, svgTop-10, "", span(us))
	}
}

// row draws one node.
func (d *drawing) row(n *Node, y int) {
	name := n.Name
	if utf8.RuneCountInString(name) > svgNames {
		name = string([]rune(name)[:svgNames-1]) + "…"
	}
	fmt.Fprintf(&d.b, "<g><title>%s</title>\n", escape(d.hover(n)))
	d.text(12, y+14, "", name)
	end := n.settled()
	if end == 0 {
		end = d.t.Until
	}
	if n.Waiting > 0 {
		until := n.Started
		if until == 0 {
			until = end
		}
		d.rect("w", n.Waiting, until, y)
	}
	if n.Started > 0 {
		class := "b"
		switch {
		case d.critical[n.Name]:
			class = "c"
		case n.Cached:
			class = "n"
		}
		if n.Bad() {
			class += " f"
		}
		d.rect(class, n.Started, end, y)
	}
	label := d.t.length(n) + d.t.about(n)
	if x := d.x(max(end, n.begin())); x < float64(d.left+svgChart)-40 {
		d.text(int(x)+6, y+14, "", label)
	} else {
		d.text(d.left+svgChart+6, y+14, "", label)
	}
	d.b.WriteString("</g>\n")
}

// hover is what is shown when the pointer rests on a row.
func (d *drawing) hover(n *Node) string {
	s := fmt.Sprintf("%s %s: %s", n.Kind, n.Name, n.State)
	if n.Reason != "" {
		s += " (" + n.Reason + ")"
	}
	var needs []string
	for _, x := range n.Needs {
		needs = append(needs, x.On+" "+x.Cond)
	}
	if len(needs) > 0 {
		s += "\nafter " + strings.Join(needs, ", ")
	}
	for _, why := range n.Why {
		s += "\n" + why
	}
	return s
}
