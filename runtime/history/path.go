package history

import (
	"cmp"
	"slices"
)

// idleGap is how long nothing may be on its way, in microseconds, before a start-up is taken to be over.
const idleGap = 250_000

// Step is one part of a critical path. All offsets and lengths are microseconds, as those of Node.
type Step struct {
	// Name and Kind are those of the node.
	Name string `json:"name"`
	Kind string `json:"kind"`
	// From and To are the part of its time in which the run waited for it.
	From int64 `json:"from_us"`
	To   int64 `json:"to_us"`
	// Waited is the time before From in which it could have begun, and For what it waited for then, such as a free job.
	Waited int64  `json:"waited_us,omitempty"`
	For    string `json:"waited_for,omitempty"`
}

// Trace is a timeline of a run, or of its start-up.
type Trace struct {
	// Run is what is shown: with the nodes of the timeline only, sorted by when they began.
	Run *Run
	// Until is where the timeline ends, in microseconds: what has no end yet is drawn up to there.
	Until int64
	// Path is the critical path, in the order of time.
	Path []Step
}

// Trace makes the timeline of a run; whole adds to that of an up what happened after its start-up. now is the offset in
// microseconds up to which what still runs is drawn; 0 for a run that has ended.
func (r *Run) Trace(whole bool, now int64) *Trace {
	shown := *r
	shown.Nodes = slices.Clone(r.Nodes)
	slices.SortStableFunc(shown.Nodes, func(a, b Node) int { return cmp.Compare(a.begin(), b.begin()) })
	until := now
	if until == 0 {
		for i := range shown.Nodes {
			until = max(until, shown.Nodes[i].begin(), shown.Nodes[i].settled())
		}
	}
	if r.Verb != "run" && !whole {
		shown.Nodes = startUp(shown.Nodes, until)
		if end, open := lastOf(shown.Nodes); !open && end > 0 {
			until = end
		}
	}
	t := &Trace{Run: &shown, Until: max(until, 1)}
	t.Path = criticalPath(shown.Nodes, t.Until)
	return t
}

// lastOf is when the last node was settled; open says that one is not yet.
func lastOf(nodes []Node) (end int64, open bool) {
	for i := range nodes {
		end = max(end, nodes[i].settled())
		open = open || nodes[i].settled() == 0
	}
	return end, open
}

// startUp cuts sorted nodes where first nothing was on its way for some time.
func startUp(nodes []Node, until int64) []Node {
	busy := int64(0)
	for i := range nodes {
		n := &nodes[i]
		if i > 0 && n.begin() > busy+idleGap {
			return nodes[:i]
		}
		if busy = max(busy, n.settled()); n.settled() == 0 {
			busy = until
		}
	}
	return nodes
}

// walk looks for the critical path, from its end.
type walk struct {
	byName map[string][]*Node
	path   []Step // backwards
	until  int64
	seen   map[*Node]bool
}

// criticalPath walks back from the node that was settled last, each time through what was the last to let a node start.
func criticalPath(nodes []Node, until int64) []Step {
	w := &walk{byName: map[string][]*Node{}, until: until, seen: map[*Node]bool{}}
	var last *Node
	for i := range nodes {
		n := &nodes[i]
		w.byName[n.Name] = append(w.byName[n.Name], n)
		if n.Started > 0 && (last == nil || w.end(n) > w.end(last)) {
			last = n
		}
	}
	for last != nil {
		last = w.step(last)
	}
	slices.Reverse(w.path)
	return w.path
}

// end is when a node was settled, or the end of all that is known.
func (w *walk) end(n *Node) int64 {
	if n.settled() == 0 {
		return w.until
	}
	return n.settled()
}

// step adds a node, and says which one let it start.
func (w *walk) step(n *Node) *Node {
	if w.seen[n] {
		return nil
	}
	w.seen[n] = true
	end := w.end(n)
	if at := len(w.path) - 1; at >= 0 {
		end = min(end, w.path[at].From) // a gate needs a part of its service only
	}
	if gate := w.gate(n, end); gate != nil {
		if end > gate.Ended {
			w.path = append(w.path, Step{Name: n.Name, Kind: n.Kind, From: gate.Ended, To: end})
		}
		w.add(gate, gate.Ended, n, gate.Started) // it waited while n worked
		w.seen[gate] = true
		end = gate.Started
	}
	before, at := w.before(n)
	w.add(n, end, before, at)
	return before
}

// add adds the part of a node up to end; before let it start at the time at.
func (w *walk) add(n *Node, end int64, before *Node, at int64) {
	s := Step{Name: n.Name, Kind: n.Kind, From: min(n.Started, end), To: end}
	if before == nil {
		at = n.Waiting
	}
	if at > 0 && n.Started > at {
		s.Waited = n.Started - at
		if before == nil {
			s.For = n.Waited
		}
	}
	w.path = append(w.path, s)
}

// gate is the task that made a service ready so late, if one did.
func (w *walk) gate(n *Node, end int64) *Node {
	var last *Node
	for _, name := range n.Gates {
		for _, g := range w.byName[name] {
			if g.Started > n.Started && g.Ended > 0 && g.Ended <= end && (last == nil || g.Ended > last.Ended) {
				last = g
			}
		}
	}
	return last
}

// before is the node whose condition was the last to hold before n started, and when it held.
func (w *walk) before(n *Node) (last *Node, at int64) {
	for _, need := range n.Needs {
		for _, m := range w.byName[need.On] {
			if t := m.when(need.Cond); t > 0 && t <= n.Started && m.Started > 0 && t > at {
				last, at = m, t
			}
		}
	}
	return last, at
}

// when is the offset at which a condition came to hold; 0 if it did not.
func (n *Node) when(cond string) int64 {
	switch cond {
	case "started", "probed":
		return n.Started
	case "ready", "healthy":
		return n.Ready
	}
	return n.Ended
}

// Critical tells of each node, by name and start, whether it is on the path.
func (t *Trace) critical() map[string]bool {
	on := map[string]bool{}
	for _, s := range t.Path {
		on[s.Name] = true
	}
	return on
}
