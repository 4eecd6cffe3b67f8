package engine

import (
	"cmp"
	"container/heap"
	"slices"
)

// queue holds the tasks that only wait for room. Those of a pool stand in a
// line of their own, so that a full pool is looked at once and not once a task.
// Every act costs the logarithm of what waits.
type queue struct {
	lines  map[string]*line // by pool; "" is the line of the tasks without one
	open   openLines        // lines with somebody in them, and room
	joined []*node          // who came since the last admission
	steps  int              // comparisons, and edges looked at: a test counts them
}

// line is the tasks of one pool.
type line struct {
	pool    string
	size    int // how many may run; 0: any number
	running int
	waiting waitingTasks
	at      int // its place among the open lines; -1: it is not there
}

func newQueue() queue {
	q := queue{lines: map[string]*line{}}
	q.open.q = &q
	return q
}

// line returns that of a pool, which has room for size.
func (q *queue) line(pool string, size int) *line {
	l := q.lines[pool]
	if l == nil {
		l = &line{pool: pool, at: -1}
		q.lines[pool] = l
	}
	l.size = size
	return l
}

// join has a task wait in a line.
func (q *queue) join(n *node, l *line) {
	if n.task.place >= 0 {
		return
	}
	n.task.line = l
	l.waiting.steps = &q.steps
	heap.Push(&l.waiting, n)
	q.joined = append(q.joined, n)
	q.sort(l)
}

// leave takes a task out of its line; one that waits in none stays as it is.
func (q *queue) leave(n *node) {
	if n.task.place < 0 {
		return
	}
	heap.Remove(&n.task.line.waiting, n.task.place)
	q.sort(n.task.line)
}

// first is the task that comes next; nil: there is none, or no pool has room.
func (q *queue) first() *node {
	if len(q.open.lines) == 0 {
		return nil
	}
	return q.open.lines[0].first()
}

// started and ended count the tasks of a line that run.
func (q *queue) started(l *line) {
	l.running++
	q.sort(l)
}

func (q *queue) ended(l *line) {
	l.running--
	q.sort(l)
}

// sort puts a line where it belongs after a change of it.
func (q *queue) sort(l *line) {
	open := len(l.waiting.nodes) > 0 && !l.full()
	switch {
	case open && l.at < 0:
		heap.Push(&q.open, l)
	case open:
		heap.Fix(&q.open, l.at)
	case l.at >= 0:
		heap.Remove(&q.open, l.at)
	}
}

// resort is for when every rank has changed.
func (q *queue) resort() {
	for _, l := range q.lines {
		heap.Init(&l.waiting)
	}
	heap.Init(&q.open)
}

// all are the tasks that wait, as they were declared.
func (q *queue) all() []*node {
	var nodes []*node
	for _, l := range q.lines {
		nodes = append(nodes, l.waiting.nodes...)
	}
	slices.SortFunc(nodes, func(a, b *node) int { return cmp.Compare(a.task.order, b.task.order) })
	return nodes
}

func (l *line) full() bool { return l.size > 0 && l.running >= l.size }

func (l *line) first() *node { return l.waiting.nodes[0] }

// ahead reports whether a comes before b: the longer path to the end, then the
// order of declaration.
func ahead(a, b *node) bool {
	return cmp.Or(cmp.Compare(b.task.rank, a.task.rank), cmp.Compare(a.task.order, b.task.order)) < 0
}

// waitingTasks is a heap of tasks, the one that comes next first.
type waitingTasks struct {
	nodes []*node
	steps *int
}

func (w *waitingTasks) Len() int { return len(w.nodes) }

func (w *waitingTasks) Less(i, j int) bool {
	*w.steps++
	return ahead(w.nodes[i], w.nodes[j])
}

func (w *waitingTasks) Swap(i, j int) {
	w.nodes[i], w.nodes[j] = w.nodes[j], w.nodes[i]
	w.nodes[i].task.place, w.nodes[j].task.place = i, j
}

func (w *waitingTasks) Push(x any) {
	n := x.(*node)
	n.task.place = len(w.nodes)
	w.nodes = append(w.nodes, n)
}

func (w *waitingTasks) Pop() any {
	last := len(w.nodes) - 1
	n := w.nodes[last]
	w.nodes[last], w.nodes = nil, w.nodes[:last]
	n.task.place = -1
	return n
}

// openLines is a heap of lines, that of the task that comes next first.
type openLines struct {
	lines []*line
	q     *queue
}

func (o *openLines) Len() int { return len(o.lines) }

func (o *openLines) Less(i, j int) bool {
	o.q.steps++
	return ahead(o.lines[i].first(), o.lines[j].first())
}

func (o *openLines) Swap(i, j int) {
	o.lines[i], o.lines[j] = o.lines[j], o.lines[i]
	o.lines[i].at, o.lines[j].at = i, j
}

func (o *openLines) Push(x any) {
	l := x.(*line)
	l.at = len(o.lines)
	o.lines = append(o.lines, l)
}

func (o *openLines) Pop() any {
	last := len(o.lines) - 1
	l := o.lines[last]
	o.lines[last], o.lines = nil, o.lines[:last]
	l.at = -1
	return l
}
