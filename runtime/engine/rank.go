package engine

import (
	"slices"
	"time"

	"orrery/lang/graph"
)

// ranks says of each node, by its place in g.Nodes, how long it takes from its
// start to the end of the last task that waits for it, over the longest way: of
// tasks that wait for room, the one that holds up most comes first. Nodes that
// are not wanted hold up nobody. A service takes no time unless expected says
// so; a task that expected does not know takes the median of what it knows, or
// a second. It looks at each edge once.
func ranks(g *graph.Graph, expected map[string]time.Duration, wanted func(name string) bool) []time.Duration {
	usual := median(expected)
	rank := make([]time.Duration, len(g.Nodes))
	order := g.Order()
	for _, name := range slices.Backward(order) { // those who wait come first
		if !wanted(name) {
			continue
		}
		i := g.Index(name)
		took, known := expected[name]
		if !known && g.Nodes[i].Kind == graph.KindTask {
			took = usual
		}
		rank[i] += max(took, 0)
		behind := func(name string) {
			to := g.Index(name)
			rank[to] = max(rank[to], rank[i])
		}
		for _, edge := range g.Out(name) {
			if edge.Cond == graph.Stopped {
				continue
			}
			behind(edge.To)
			if edge.Cond == graph.Ready || edge.Cond == graph.Healthy {
				for _, gate := range g.Gates(edge.To) {
					behind(gate)
				}
			}
		}
	}
	return rank
}

func median(expected map[string]time.Duration) time.Duration {
	if len(expected) == 0 {
		return time.Second
	}
	all := make([]time.Duration, 0, len(expected))
	for _, d := range expected {
		all = append(all, d)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// rank gives the tasks their ranks, once after each change of what is wanted.
func (e *Engine) rank() {
	if e.ranked {
		return
	}
	e.ranked = true
	by := ranks(e.graph, e.opt.Expected, func(name string) bool { return e.byName[name].holders > 0 })
	for i, def := range e.graph.Nodes {
		if n := e.byName[def.Name()]; n.task != nil {
			n.task.rank, n.task.order = by[i], i
		}
	}
	e.queue.resort()
}
