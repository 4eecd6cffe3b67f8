package engine

import (
	"context"
	"runtime"
	"slices"
	"time"

	"orrery/lang/graph"
	"orrery/runtime/control/api"
	"orrery/runtime/task"
)

// wantTask has a task start as soon as there is room for it.
func (e *Engine) wantTask(n *node) {
	if e.refuses(n) {
		e.refuse(n)
		return
	}
	pool, size := "", 0
	if p := n.def.Task.Pool; p != nil {
		pool, size = p.Name, e.poolSize(p)
	}
	e.queue.join(n, e.queue.line(pool, size))
}

// admit starts tasks that wait for room, as many as there is room for: those
// first that hold up most. It is called when all else is settled, so that it
// chooses among all that can start now.
func (e *Engine) admit() {
	if e.queue.first() != nil {
		e.rank()
	}
	for n := e.queue.first(); n != nil && e.room(); n = e.queue.first() {
		e.queue.leave(n)
		e.startTask(n)
	}
	for _, n := range e.queue.joined {
		if n.task.place >= 0 {
			n.show.Reason = "waits for a free job"
			if l := n.task.line; l.full() {
				n.show.Reason = "waits for the pool " + l.pool
			}
			e.become(n, stateWaiting, n.show.Reason)
		}
	}
	clear(e.queue.joined)
	e.queue.joined = e.queue.joined[:0]
	e.tokens.balance(e.running)
}

// room reports whether one more task may run.
func (e *Engine) room() bool {
	return e.running < e.jobs() && e.tokens.take(e.running, e.post)
}

// startTask runs a task elsewhere.
func (e *Engine) startTask(n *node) {
	ctx, cancel := context.WithCancel(e.work)
	n.task.cancel, n.task.end = cancel, nil
	e.running++
	e.queue.started(n.task.line)
	n.show.Reason, n.show.Cause, n.show.Exit = "", "", nil
	n.show.Started, n.show.Ready = time.Now(), time.Time{}
	e.become(n, stateRunning, "")
	if n.task.alarm.turn == due { // who waits for it goes on with its former result
		e.set(n, isStarted, 0)
	} else {
		e.set(n, isStarted, isSucceeded|isCompleted)
	}
	v := e.view(n)
	e.employ(func() {
		r := e.runTask(ctx, v)
		cancel()
		e.post(func() { e.finishTask(n, r) })
	})
}

// employ has a goroutine do something: one that has nothing to do, if there is one, for its stack has grown to what a task takes.
func (e *Engine) employ(do func()) {
	select {
	case e.idle <- do:
		return
	default:
	}
	go func() {
		for {
			do()
			select {
			case do = <-e.idle:
			case <-e.work.Done():
				return
			}
		}
	}()
}

// refuses reports whether a task is not to start because another one has
// failed.
func (e *Engine) refuses(n *node) bool {
	return e.failed && !e.opt.KeepGoing && n.task.alarm.turn != due && !e.follows(n)
}

// refuse says that a task will not be started.
func (e *Engine) refuse(n *node) {
	e.queue.leave(n)
	n.task.done, n.task.once = true, false
	n.show.Reason = "not started: another task has failed"
	e.become(n, stateCancelled, n.show.Reason)
	e.gone(n)
}

// tolerated reports whether the failure of a node is none to those among others
// who wait for it: there is one, each waits for its end only, however it ends,
// and nobody has asked for the node itself.
func (e *Engine) tolerated(n *node, among func(*node) bool) bool {
	soft := false
	for _, edge := range n.in {
		switch from := e.byName[edge.From]; {
		case !among(from):
		case edge.Cond != graph.Completed:
			return false
		default:
			soft = true
		}
	}
	if !soft || n.task != nil && n.def.Task.Gates != "" {
		return false
	}
	if l := e.opt.Local; l != nil && len(l.Asked) > 0 {
		return !slices.Contains(l.Asked, n.name()) // its holds name all that is needed
	}
	for _, h := range e.holds {
		for _, w := range h.wants {
			names, err := e.graph.Expand(w.Targets)
			if err != nil || slices.Contains(names, n.name()) {
				return false
			}
		}
	}
	return true
}

// refuseWaiting does so with all that wait, after a failure.
func (e *Engine) refuseWaiting() {
	e.rank() // which also numbers them
	for _, n := range e.queue.all() {
		if e.refuses(n) {
			e.refuse(n)
		}
	}
}

// follows reports whether a task waits for the end of another, however it
// ends, so that a failure is no reason not to start it.
func (e *Engine) follows(n *node) bool {
	for _, edge := range n.out {
		if edge.Cond == graph.Completed && e.byName[edge.To].bad() {
			return true
		}
	}
	return false
}

// jobs is how many tasks may run at a time.
func (e *Engine) jobs() int {
	if e.opt.Jobs > 0 {
		return e.opt.Jobs
	}
	if n := e.tokens.outer(); n > 0 {
		return n
	}
	return runtime.NumCPU()
}

// poolSize is the size that a declared pool has; a pool that is only named
// has the size of the declaration with that name.
func (e *Engine) poolSize(p *graph.Pool) int {
	if size, ok := e.pools[p.Name]; ok {
		return size
	}
	return p.Size
}

// poolSizes are the sizes of the declared pools.
func poolSizes(g *graph.Graph) map[string]int {
	sizes := make(map[string]int, len(g.Pools))
	for _, p := range g.Pools {
		if _, twice := sizes[p.Name]; !twice {
			sizes[p.Name] = p.Size
		}
	}
	return sizes
}

// finishTask takes the result of a task into the state.
func (e *Engine) finishTask(n *node, r task.Result) {
	n.task.cancel, n.task.done = nil, true
	e.running--
	e.queue.ended(n.task.line)
	n.show.Reason = r.Reason
	n.show.Ready = time.Now()
	if r.Exit != nil {
		n.show.Exit = &api.Exit{Code: r.Exit.Code}
		if r.Exit.Signal != 0 {
			n.show.Exit = &api.Exit{Signal: "SIG" + signalName(r.Exit.Signal)}
		}
	}
	on := isCompleted
	state := stateFailed
	switch r.State {
	case task.Succeeded:
		state, on = stateSucceeded, on|isSucceeded
	case task.Skipped:
		state, on = stateSkipped, on|isSucceeded
	case task.Cancelled:
		state = stateCancelled
	default:
		e.failed = e.failed || n.task.alarm.turn != due && !e.tolerated(n, func(o *node) bool { return o.holders > 0 })
	}
	if n.task.values = r.Values; on&isSucceeded != 0 && len(r.Values) > 0 {
		e.bind.SetValues(n.name(), r.Values)
	}
	if n.task.again {
		n.task.again = false
		e.uncancel() // by a run that is of the past
		e.reset(n)
		e.touch(n)
		return
	}
	n.task.once, n.task.end = false, endOf(r)
	n.show.Cached, n.show.Remote = r.Cached, r.Remote
	text := r.Reason
	switch {
	case r.Remote:
		text = "restored from the remote cache"
	case r.Cached:
		text = "cached"
	}
	e.become(n, state, text)
	e.concluded(n)
	for _, note := range r.Notes {
		e.publish(n, n.show.State, note)
	}
	if on&isSucceeded != 0 {
		e.rebuilt(n, r)
	}
	if state == stateFailed {
		e.refuseWaiting()
	}
	e.set(n, on, 0)
	e.gone(n)
	if n.holders == 0 {
		e.reset(n)
	}
	for _, edge := range n.in {
		e.touch(e.byName[edge.From])
	}
}

// endOf is what events tell of a result.
func endOf(r task.Result) *api.TaskEnd {
	end := &api.TaskEnd{Cached: r.Cached, Key: r.Key, Tries: r.Tries}
	for _, c := range r.Why {
		end.Why = append(end.Why, c.String())
	}
	return end
}

// rebuilt has the running services restart that refer to an output or a value
// of a task, when these are not what they were.
func (e *Engine) rebuilt(n *node, r task.Result) {
	old := n.task.digest
	n.task.digest = r.Digest
	if !r.Cached {
		n.task.runs++
	}
	changed := old != "" && old != r.Digest
	e.followers(n, changed)
	if !changed {
		return
	}
	for _, edge := range n.in {
		from := e.byName[edge.From]
		if edge.Ref == "" || edge.To != n.name() {
			continue
		}
		switch {
		case from.svc != nil && from.live():
			from.stale = n.name() + " made something new"
			e.touch(from)
		case from.task != nil && from.task.done && from.holders > 0 && !e.scheduled(from):
			e.rerun(from, n.name(), "made something new")
		}
	}
}
