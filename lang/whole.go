package lang

import (
	"fmt"
	"slices"
	"strings"

	"orrery/lang/graph"
)

// strictPort is a port that must be exactly the one declared.
type strictPort struct {
	n    *graph.Node
	name string
	base int
}

// strictPorts refuses two services that insist on one port.
func (r *run) strictPorts(g *graph.Graph) {
	taken := map[string]strictPort{}
	var used []int
	strict := func(s *bool) bool { return s != nil && *s || s == nil && g.Project.StrictPorts }
	visit := func(n *graph.Node, name, proto string, base int, isStrict bool) {
		used = append(used, base)
		if !isStrict {
			return
		}
		key := fmt.Sprintf("%s/%d", proto, base)
		first, dup := taken[key]
		if !dup {
			taken[key] = strictPort{n, name, base}
			return
		}
		slices.Sort(used)
		d := Diagnostic{Code: "strict-port", Message: fmt.Sprintf("port %d is wanted by %s.%s and by %s.%s, and both are strict", base, first.n.Name(), first.name, n.Name(), name),
			Hint:    fmt.Sprintf("give one another base (in use so far: %s), or strict = False", strings.Trim(fmt.Sprint(slices.Compact(used)), "[]")),
			Related: []graph.Related{{Pos: first.n.Pos, Message: fmt.Sprintf("%s.%s is declared here", first.n.Name(), first.name)}}}
		r.errors = append(r.errors, r.at(d, n.Pos, n.Stack, nil, "ports"))
	}
	for _, n := range g.Nodes {
		if n.Kind != graph.KindService {
			continue
		}
		for _, p := range n.Service.Ports {
			visit(n, p.Key, p.Value.Proto, p.Value.Base, strict(p.Value.Strict))
		}
		for _, l := range n.Service.Listen {
			if l.Value.Kind == "tcp" || l.Value.Kind == "udp" {
				visit(n, l.Key, l.Value.Kind, l.Value.Base, strict(l.Value.Strict))
			}
		}
	}
}

// unready warns of waiting for the readiness of a service that has none.
func (r *run) unready(g *graph.Graph) {
	for _, n := range g.Nodes {
		if n.Kind != graph.KindService || n.Service.Ready != nil || len(n.Service.Ports) > 0 || len(n.Service.Listen) > 0 || len(g.Gates(n.Name())) > 0 {
			continue
		}
		for _, e := range g.In(n.Name()) {
			if e.Cond != graph.Ready && e.Cond != graph.Healthy {
				continue
			}
			from := g.Node(e.From)
			field, _, _ := strings.Cut(e.Field, ".")
			d := Diagnostic{Code: "ready-means-started", Message: fmt.Sprintf("%s waits until %s is ready, and %s has no probe and no port: ready means started", e.From, n.Name(), n.Name()),
				Hint: "add ready = probe....", Related: []graph.Related{{Pos: n.Pos, Message: n.Name() + " is declared here"}}}
			r.warnings = append(r.warnings, r.at(d, from.Pos, from.Stack, nil, field))
			break
		}
	}
}
