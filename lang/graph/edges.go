package graph

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// edges draws what each node waits for: by field and by reference.
func (b *builder) edges() {
	for i, n := range b.g.Nodes {
		if b.g.index[n.Name()] != i {
			continue
		}
		c := n.Common()
		for _, d := range c.After {
			b.dep(i, "after", d)
		}
		for _, name := range c.Uses {
			if to := b.g.Node(name); to != nil && to.Kind != KindService {
				b.problem(i, "reference-kind", "uses", "got the task %q, want a service", name).Hint = "put it in after"
				continue
			}
			b.dep(i, "uses", Dep{Node: name})
		}
		for _, name := range c.Before {
			if to := b.known(i, "before", name); to >= 0 {
				b.edge(Edge{From: name, To: n.Name(), Cond: n.DefaultCond(), Field: "before", Pos: n.Pos})
			}
		}
		if n.Kind == KindTask {
			b.taskEdges(n)
		}
		n.Texts(func(field string, use Use, t *Text) {
			if use.Edge {
				b.textEdges(n, field, *t, 0)
			}
		})
	}
	b.gateEdges()
	for i := range b.g.out {
		b.g.out[i] = dedupe(b.g.out[i])
		for _, e := range b.g.out[i] {
			to := b.g.index[e.To]
			b.g.in[to] = append(b.g.in[to], e)
		}
	}
}

func dedupe(es []Edge) []Edge {
	type key struct {
		to   string
		cond Cond
	}
	if len(es) < 2 {
		return es
	}
	seen := make(map[key]bool, len(es))
	return slices.DeleteFunc(es, func(e Edge) bool {
		k := key{e.To, e.Cond}
		dup := seen[k]
		seen[k] = true
		return dup
	})
}

// known returns the index of a node that a field names, or says that it is
// unknown.
func (b *builder) known(i int, field, name string) int {
	if to, ok := b.g.index[name]; ok {
		return to
	}
	p := b.problem(i, "unknown-node", field, "%s refers to %q, which is not declared", field, name)
	p.Hint = b.suggest(name)
	return -1
}

func condsOf(k Kind) []Cond {
	if k == KindTask {
		return []Cond{Started, Succeeded, Completed}
	}
	return []Cond{Started, Probed, Ready, Healthy, Completed, Stopped}
}

func (b *builder) dep(i int, field string, d Dep) {
	to := b.known(i, field, d.Node)
	if to < 0 || d.Weak {
		return
	}
	n := b.g.Nodes[to]
	if d.Cond == "" {
		d.Cond = n.DefaultCond()
	}
	if !slices.Contains(condsOf(n.Kind), d.Cond) {
		var all []string
		for _, c := range condsOf(n.Kind) {
			all = append(all, "."+string(c))
		}
		p := b.problem(i, "unknown-condition", field, "%s %q has no condition .%s", n.Kind, d.Node, d.Cond)
		p.Hint = "a " + string(n.Kind) + " has " + strings.Join(all, ", ")
		return
	}
	b.edge(Edge{From: b.g.Nodes[i].Name(), To: d.Node, Cond: d.Cond, Field: field, Pos: b.g.Nodes[i].Pos})
}

func (b *builder) edge(e Edge) {
	from := b.g.index[e.From]
	b.g.out[from] = append(b.g.out[from], e)
}

func (b *builder) taskEdges(n *Node) {
	i := b.g.index[n.Name()]
	for _, f := range []struct{ field, name string }{{"gates", n.Task.Gates}, {"template", n.Task.Template}} {
		if f.name == "" {
			continue
		}
		to := b.known(i, f.field, f.name)
		if to < 0 {
			continue
		}
		if b.g.Nodes[to].Kind != KindService {
			b.problem(i, "reference-kind", f.field, "got the task %q, want a service", f.name)
			continue
		}
		if f.field == "gates" {
			b.g.gates[to] = append(b.g.gates[to], n.Name())
			b.edge(Edge{From: n.Name(), To: f.name, Cond: Probed, Field: "gates", Pos: n.Pos})
			continue
		}
		b.template(i, n, to)
		b.edge(Edge{From: f.name, To: n.Name(), Cond: Succeeded, Field: "template", Pos: n.Pos})
	}
}

// template looks that a state_dir can be filled by this task, and by it alone.
func (b *builder) template(i int, n *Node, service int) {
	name := b.g.Nodes[service].Name()
	if len(n.Task.Outputs) > 0 {
		p := b.problem(i, "template", "outputs", "got outputs beside template: what the task makes is the state_dir of %q", name)
		p.Hint = "make the outputs in another task"
	}
	for k, other := range b.g.Nodes {
		switch {
		case other.Kind == KindTask && k < i && other.Task.Template == name:
			p := b.problem(i, "template", "template", "the state_dir of %q is filled by %q already", name, other.Name())
			p.Related = []Related{{Pos: other.Pos, Message: "the other task is declared here"}}
		case other.Kind == KindService && strings.HasPrefix(other.Name(), name+"/"):
			p := b.problem(k, "template", "name", "its state_dir lies in that of %q, which %q fills", name, n.Name())
			p.Hint = fmt.Sprintf("give it another name, and part_of = %s", name)
		}
	}
}

// textEdges draws an edge for each reference that makes the node wait, also
// through the exports that it names, its own among them.
func (b *builder) textEdges(n *Node, field string, t Text, depth int) {
	for _, p := range t {
		if p.Ref == nil || p.Ref.Weak || p.Ref.Scope != ScopeNode {
			continue
		}
		to := b.g.Node(p.Ref.Name)
		if to == nil || !edgeAttr(to.Kind, p.Ref.Attr) {
			continue
		}
		if to != n {
			b.edge(Edge{From: n.Name(), To: p.Ref.Name, Cond: to.DefaultCond(), Field: field, Ref: p.Ref.String(), Pos: n.Pos})
		}
		if key, ok := strings.CutPrefix(p.Ref.Attr, "exports."); ok && depth < 8 && to.Kind == KindService {
			text, _ := to.Service.Exports.Get(key)
			b.textEdges(n, field, text, depth+1)
		}
	}
}

// edgeAttr reports whether spec.star says that the attribute makes an edge.
func edgeAttr(k Kind, attr string) bool {
	top, _, _ := strings.Cut(attr, ".")
	for _, a := range Attributes(k) {
		if a.Name == top {
			return a.Edge
		}
	}
	return false
}

// gateEdges makes the tasks that gate a service, and all that these need,
// wait for .probed rather than .ready of it, which would never come. Where two
// services need each other's gates, the one declared first is probed first.
func (b *builder) gateEdges() {
	for _, svc := range slices.Sorted(maps.Keys(b.g.gates)) {
		name := b.g.Nodes[svc].Name()
		for _, n := range b.g.reach(b.g.gates[svc], b.needOfGate(name)) {
			out := b.g.out[b.g.index[n]]
			for k := range out {
				if out[k].To == name && out[k].Cond == Ready {
					out[k].Cond = Probed
				}
			}
		}
	}
}

// needOfGate leads from a node to what it waits for, the service called name
// aside, and to the tasks that gate what it wants ready.
func (b *builder) needOfGate(name string) func(i int, visit func(string)) {
	return func(i int, visit func(string)) {
		for _, e := range b.g.out[i] {
			if e.To == name || e.Cond == Stopped {
				continue
			}
			visit(e.To)
			if e.Cond == Ready || e.Cond == Healthy {
				for _, t := range b.g.gates[b.g.index[e.To]] {
					visit(t)
				}
			}
		}
	}
}

// vertex is a moment in the life of a node: that it starts or, of a service
// that tasks gate, that it is ready.
type vertex struct {
	node  int
	ready bool
}

// cycleSearch is a depth-first search over vertices.
type cycleSearch struct {
	b     *builder
	state map[vertex]int // 1: on the path, 2: done
	path  []Edge
}

// cycles reports each loop of waiting, with every line of it, once.
func (b *builder) cycles() {
	s := &cycleSearch{b: b, state: make(map[vertex]int, len(b.g.Nodes))}
	for i := range b.g.Nodes {
		s.visit(vertex{node: i})
	}
}

func (s *cycleSearch) visit(v vertex) {
	s.state[v] = 1
	g := s.b.g
	if v.ready {
		s.follow(vertex{node: v.node}, Edge{})
		for _, t := range g.gates[v.node] {
			s.follow(vertex{node: g.index[t]}, Edge{From: g.Nodes[v.node].Name(), To: t, Cond: Succeeded, Field: "gates", Pos: g.Node(t).Pos})
		}
	} else {
		for _, e := range g.out[v.node] {
			if e.Cond == Stopped {
				continue
			}
			to := g.index[e.To]
			gated := (e.Cond == Ready || e.Cond == Healthy) && len(g.gates[to]) > 0
			s.follow(vertex{node: to, ready: gated}, e)
		}
	}
	s.state[v] = 2
}

func (s *cycleSearch) follow(to vertex, e Edge) {
	switch s.state[to] {
	case 0:
		s.path = append(s.path, e)
		s.visit(to)
		s.path = s.path[:len(s.path)-1]
	case 1:
		s.report(to, e)
	}
}

// report writes the loop that closes with e back to the vertex to.
func (s *cycleSearch) report(to vertex, e Edge) {
	g := s.b.g
	name := g.Nodes[to.node].Name()
	loop := []Edge{e}
	for i := len(s.path) - 1; i >= 0 && e.From != name; i-- {
		e = s.path[i]
		if e.From != "" {
			loop = append(loop, e)
		}
	}
	slices.Reverse(loop)
	var names []string
	var rel []Related
	for _, e := range loop {
		if e.From == "" {
			continue
		}
		names = append(names, e.From)
		by := e.Field
		if e.Ref != "" {
			by += " = " + e.Ref
		}
		rel = append(rel, Related{e.Pos, fmt.Sprintf("%s waits for %s.%s (%s)", e.From, e.To, e.Cond, by)})
	}
	names = append(names, name)
	p := s.b.problem(to.node, "cycle", "", "cycle: %s", strings.Join(names, " -> "))
	p.Related = rel
	p.Hint = "break the loop: use .weak for a text that needs no waiting, or another condition"
}
