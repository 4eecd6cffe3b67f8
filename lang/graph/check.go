package graph

import (
	"fmt"
	"math"
	"strings"
)

// maxHints bounds the search for nearest names, each a walk over all of them.
const maxHints = 50

// suggest returns the hint for a name that nothing has.
func (b *builder) suggest(name string) string {
	if b.hints++; b.hints > maxHints {
		return ""
	}
	if s := Suggest(name, b.g.targets()); s != "" {
		return fmt.Sprintf("did you mean %q?", s)
	}
	return ""
}

// members looks at the names that make no edge: groups, part_of, the tasks of
// watches, the project's default targets. A peer() may stand in any of them.
func (b *builder) members() {
	groups := make(map[string]bool, len(b.g.Groups))
	for _, gr := range b.g.Groups {
		if i, dup := b.g.index[gr.Name]; dup {
			b.problem(i, "duplicate-name", "name", "%q names both a group and a node", gr.Name)
		}
		if groups[gr.Name] {
			b.problem(-1, "duplicate-name", "group", "group %q is declared twice", gr.Name)
		}
		groups[gr.Name] = true
		for _, m := range gr.Members {
			if _, ok := b.g.index[m]; !ok {
				b.known(-1, fmt.Sprintf("group %q", gr.Name), m)
			}
		}
	}
	for i, n := range b.g.Nodes {
		b.nodeMembers(i, n)
	}
	if _, err := b.g.expand(b.g.Project.Default); err != nil {
		b.problem(-1, "unknown-target", "default", "project default: %v", err)
	}
}

func (b *builder) nodeMembers(i int, n *Node) {
	c := n.Common()
	if c.PartOf != "" {
		b.known(i, "part_of", c.PartOf)
	}
	for _, w := range c.Watch {
		if w.Do.Task == "" {
			continue
		}
		if to := b.known(i, "watch.do", w.Do.Task); to >= 0 && b.g.Nodes[to].Kind != KindTask {
			b.problem(i, "reference-kind", "watch.do", "got the service %q, want a task", w.Do.Task)
		}
	}
	if n.Kind != KindService {
		return
	}
	for k := range n.Service.Config {
		f := &n.Service.Config[k]
		for _, t := range []Tree{f.JSON, f.YAML, f.TOML, f.INI} {
			b.numbers(i, "config."+f.Name, t.Value)
		}
	}
	b.numbers(i, "overrides", n.Service.Overrides.Value)
}

// numbers refuses infinities and NaN, which JSON has no form for.
func (b *builder) numbers(i int, field string, v any) {
	switch v := v.(type) {
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			b.problem(i, "bad-number", field, "got %v, want a finite number", v)
		}
	case []any:
		for _, e := range v {
			b.numbers(i, field, e)
		}
	case Dict[any]:
		for _, e := range v {
			b.numbers(i, field, e.Value)
		}
	}
}

// exportLoops refuses exports that are made of each other: they make no edge,
// so that cycles does not see them, and no binding could fill them.
func (b *builder) exportLoops() {
	type export struct{ node, key string }
	const open, done = 1, 2
	state := map[export]int{}
	var visit func(e export, path []string)
	visit = func(e export, path []string) {
		path = append(path, e.node+"."+e.key)
		if state[e] == open {
			b.problem(b.g.index[e.node], "cycle", "exports."+e.key, "cycle of exports: %s", strings.Join(path, " -> ")).Hint = "write one of them without the others"
			return
		}
		if state[e] == done {
			return
		}
		state[e] = open
		text, _ := b.g.Node(e.node).Service.Exports.Get(e.key)
		for _, p := range text {
			if p.Ref == nil || p.Ref.Scope != ScopeNode {
				continue
			}
			n := b.g.Node(p.Ref.Name)
			if key, ok := strings.CutPrefix(p.Ref.Attr, "exports."); ok && n != nil && n.Kind == KindService {
				visit(export{p.Ref.Name, key}, path)
			}
		}
		state[e] = done
	}
	for i, n := range b.g.Nodes {
		if n.Kind != KindService || b.g.index[n.Name()] != i {
			continue
		}
		for _, e := range n.Service.Exports {
			visit(export{n.Name(), e.Key}, nil)
		}
	}
}
