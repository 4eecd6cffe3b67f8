package engine

import (
	"errors"

	"orrery/lang/graph"
	"orrery/runtime/machine"
)

// hold is what one client keeps up.
type hold struct {
	wants []want          // what was asked for
	nodes map[string]bool // false: released, and perhaps still stopping
	conns int             // connections that its client has
	watch bool            // tasks run again when their inputs change
}

// want is one wish of a client.
type want struct {
	Targets []string        `json:"targets,omitempty"`
	Mode    graph.Selection `json:"mode"`
	Watch   bool            `json:"watch,omitempty"`
}

// Hold has the engine bring up targets and what mode adds to them, under the
// name of a holder; a second Hold of the same holder adds to the first. It
// returns the nodes that are held now. The error is a *graph.UnknownTarget, or
// one of bind: a strict port that is taken.
func (e *Engine) Hold(holder string, targets []string, mode graph.Selection) ([]string, error) {
	return e.holdWanted(holder, want{Targets: targets, Mode: mode})
}

func (e *Engine) holdWanted(holder string, w want) (names []string, failed error) {
	err := e.call(func() {
		if names, failed = e.graph.Need(w.Targets, w.Mode); failed == nil {
			failed = e.hold(holder, w, names)
		}
	})
	return names, errors.Join(err, failed)
}

func (e *Engine) hold(holder string, w want, names []string) error {
	e.held = true // also if it fails: then there is nothing to stay for
	var fresh []string
	for _, name := range names {
		if n := e.byName[name]; n.svc != nil && n.holders == 0 && !n.live() && !n.external {
			fresh = append(fresh, name)
		}
	}
	if err := e.prepare(fresh); err != nil {
		return err
	}
	for _, name := range fresh {
		e.savePorts(e.byName[name])
	}
	h := e.holds[holder]
	if h == nil {
		h = &hold{nodes: map[string]bool{}}
		e.holds[holder] = h
	}
	h.wants = append(h.wants, w)
	h.watch = h.watch || w.Watch
	e.failed, e.ranked = false, false
	for _, name := range names {
		n := e.byName[name]
		if !h.nodes[name] {
			h.nodes[name] = true
			n.holders++
		}
		e.revive(n)
		e.touch(n)
	}
	e.saveHolds()
	return nil
}

// revive gives what has failed, or was stopped by hand, a new chance: it is
// asked for anew.
func (e *Engine) revive(n *node) {
	switch {
	case n.external:
	case n.task != nil && n.task.done && n.conds&isSucceeded == 0:
		e.reset(n)
	case n.svc == nil || len(n.svc.instances) > 0:
	case n.onDemand():
		e.relisten(n)
	case n.ended():
		n.svc.wanted = true
		e.step(n, machine.Event{Kind: machine.EventRevive})
	case n.svc.wanted && (n.svc.state.Phase == "" || n.svc.state.Phase == machine.Down): // stopped by hand
		e.step(n, machine.Event{Kind: machine.EventStart})
	}
}

// Release ends what a holder keeps up: the nodes named, or all; a holder of
// which nothing is left may be released again with now. What nobody else holds
// is stopped, in order; now kills it at once. It returns what is stopped.
func (e *Engine) Release(holder string, names []string, now bool) (freed []string, err error) {
	err = e.call(func() { freed = e.release(holder, names, now) })
	return freed, err
}

func (e *Engine) release(holder string, names []string, now bool) (freed []string) {
	h := e.holds[holder]
	if h == nil {
		return nil
	}
	if len(names) == 0 {
		for name := range h.nodes {
			names = append(names, name)
		}
	}
	for _, name := range names {
		held, known := h.nodes[name]
		if !known {
			continue
		}
		n := e.byName[name]
		if held {
			h.nodes[name] = false
			n.holders--
			e.touch(n)
		}
		if n.holders > 0 {
			continue
		}
		freed = append(freed, name)
		if now {
			e.stopNow(n)
		}
	}
	e.saveHolds()
	return freed
}

// attach says that a holder has one more connection, detach that it has one
// less: with the last one all that it holds is released.
func (e *Engine) attach(holder string) {
	e.call(func() {
		if h := e.holds[holder]; h != nil {
			h.conns++
		}
	})
}

func (e *Engine) detach(holder string) {
	e.call(func() {
		if h := e.holds[holder]; h != nil {
			h.conns--
			e.abandon(holder)
		}
	})
}

// abandon drops a holder that has no connection.
func (e *Engine) abandon(holder string) {
	if h := e.holds[holder]; h != nil && h.conns <= 0 {
		e.release(holder, nil, false)
		delete(e.holds, holder)
		e.saveHolds()
	}
}

// releaseAll ends every hold.
func (e *Engine) releaseAll() {
	for holder := range e.holds {
		e.release(holder, nil, false)
		delete(e.holds, holder)
	}
	e.saveHolds() // else a successor would hold nothing for ever
}

// stopNow kills a node without regard to order or grace.
func (e *Engine) stopNow(n *node) {
	switch {
	case n.external:
	case n.task != nil && n.task.cancel != nil:
		n.task.cancel()
	case e.unlisten(n, true):
	case n.svc != nil && n.live():
		n.svc.wanted = false
		e.step(n, machine.Event{Kind: machine.EventStopNow})
	}
}

// Down ends every hold; now also kills what is stopping already.
func (e *Engine) Down(now bool) error {
	return e.call(func() {
		e.releaseAll()
		if now {
			for _, n := range e.nodes {
				e.stopNow(n)
			}
		}
	})
}

// Cond is the state of a node that another engine runs.
type Cond struct {
	State  string // as NodeStatus.State
	Reason string
	Done   bool // it has ended and will not run by itself
}

// Mirror tells the state of an external node.
func (e *Engine) Mirror(name string, c Cond) error {
	return e.call(func() {
		if e.mirrors == nil {
			e.mirrors = map[string]Cond{}
		}
		e.mirrors[name] = c
		if n := e.byName[name]; n != nil && n.external {
			e.reflect(n, c)
		}
	})
}

// reflect gives an external node the state that it has elsewhere.
func (e *Engine) reflect(n *node, c Cond) {
	on := conds(0)
	switch c.State {
	case string(machine.Ready), string(machine.Reloading):
		on = isStarted | isProbed | isReady | isHealthy
	case string(machine.Unhealthy):
		on = isStarted | isProbed
	case string(machine.Starting), stateRunning:
		on = isStarted
	case stateSucceeded, stateSkipped:
		on = isStarted | isSucceeded | isCompleted
	case stateFailed, string(machine.Exited), string(machine.GaveUp):
		on = isStarted | isCompleted
	}
	n.show.Reason = c.Reason
	if n.show.State != c.State {
		from := n.show.State
		n.show.State = c.State
		e.disappoint(n)
		e.publish(n, from, c.Reason)
	}
	gained := on &^ n.conds
	e.set(n, on, ^on)
	for _, edge := range n.in {
		e.touch(e.byName[edge.From])
	}
	e.mirrorAnew(n, gained)
}
