package engine

import (
	"context"
	"runtime"
	"time"

	"orrery/lang/graph"
	"orrery/runtime/control/api"
	"orrery/runtime/task"
)

// startTask runs a task elsewhere, when there is room for it.
func (e *Engine) startTask(n *node) {
	scheduled := n.task.alarm.turn == due
	if e.failed && !e.opt.KeepGoing && !scheduled && !e.follows(n) {
		n.task.done, n.task.once = true, false
		n.show.Reason = "not started: another task has failed"
		e.become(n, stateCancelled, n.show.Reason)
		e.gone(n)
		return
	}
	if why := e.full(n); why != "" {
		if n.show.Reason != why {
			n.show.Reason = why
			e.queue = append(e.queue, n)
			e.become(n, stateWaiting, why)
		}
		return
	}
	ctx, cancel := context.WithCancel(e.work)
	n.task.cancel = cancel
	e.running++
	if p := n.def.Task.Pool; p != nil {
		e.pools[p.Name]++
	}
	n.show.Reason, n.show.Cause, n.show.Exit = "", "", nil
	n.show.Started, n.show.Ready = time.Now(), time.Time{}
	e.become(n, stateRunning, "")
	if scheduled { // who waits for it goes on with its former result
		e.set(n, isStarted, 0)
	} else {
		e.set(n, isStarted, isSucceeded|isCompleted)
	}
	v := e.view(n)
	go func() {
		r := e.runTask(ctx, v)
		cancel()
		e.post(func() { e.finishTask(n, r) })
	}()
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

// full says what a task waits for that could start otherwise; "" if there is
// room.
func (e *Engine) full(n *node) string {
	if e.running >= e.jobs() {
		return "waits for a free job"
	}
	if p := n.def.Task.Pool; p != nil && e.pools[p.Name] >= e.poolSize(p) {
		return "waits for the pool " + p.Name
	}
	return ""
}

func (e *Engine) jobs() int {
	if e.opt.Jobs > 0 {
		return e.opt.Jobs
	}
	return runtime.NumCPU()
}

// poolSize is the size that a declared pool has; a pool that is only named
// has the size of the declaration with that name.
func (e *Engine) poolSize(p *graph.Pool) int {
	for _, d := range e.graph.Pools {
		if d.Name == p.Name {
			return d.Size
		}
	}
	return p.Size
}

// finishTask takes the result of a task into the state.
func (e *Engine) finishTask(n *node, r task.Result) {
	n.task.cancel, n.task.done = nil, true
	e.running--
	if p := n.def.Task.Pool; p != nil {
		e.pools[p.Name]--
	}
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
		e.failed = e.failed || n.task.alarm.turn != due
	}
	if n.task.values = r.Values; on&isSucceeded != 0 && len(r.Values) > 0 {
		e.bind.SetValues(n.name(), r.Values)
	}
	if n.task.again {
		n.task.again = false
		e.uncancel() // by a run that is of the past
		e.admit()
		e.reset(n)
		e.touch(n)
		return
	}
	n.task.once = false
	n.show.Cached = r.Cached
	text := r.Reason
	if r.Cached {
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
	e.set(n, on, 0)
	e.gone(n)
	e.admit()
	if n.holders == 0 {
		e.reset(n)
	}
	for _, edge := range n.in {
		e.touch(e.byName[edge.From])
	}
}

// admit has tasks considered that waited for room: as many as there is room
// for, those first that waited first.
func (e *Engine) admit() {
	room := e.jobs() - e.running
	kept := e.queue[:0]
	for i, n := range e.queue {
		if room == 0 {
			kept = append(kept, e.queue[i:]...)
			break
		}
		if p := n.def.Task.Pool; p != nil && e.pools[p.Name] >= e.poolSize(p) {
			kept = append(kept, n)
			continue
		}
		room--
		n.show.Reason = ""
		e.touch(n)
	}
	e.queue = kept
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
			e.rerun(from, n.name()+" made something new")
		}
	}
}
