package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"orrery/lang/graph"
	"orrery/runtime/control"
	"orrery/runtime/control/api"
	"orrery/runtime/machine"
)

// waiter is somebody who waits for nodes to settle, or to be gone.
type waiter struct {
	nodes []*node
	done  func(*node) bool
	tell  chan struct{} // closed when all are done
}

// answer tells those whose wait is over.
func (e *Engine) answer() {
	kept := e.waits[:0]
	for _, w := range e.waits {
		if w.over() {
			close(w.tell)
			continue
		}
		kept = append(kept, w)
	}
	clear(e.waits[len(kept):])
	e.waits = kept
}

// over drops what is done, so that a long wait looks at each node few times.
func (w *waiter) over() bool {
	for len(w.nodes) > 0 {
		if !w.done(w.nodes[len(w.nodes)-1]) {
			return false
		}
		w.nodes = w.nodes[:len(w.nodes)-1]
	}
	return true
}

func (e *Engine) wait(ctx context.Context, names []string, done func(*node) bool) error {
	w := &waiter{done: done, tell: make(chan struct{})}
	if err := e.call(func() {
		for _, name := range names {
			if n := e.byName[name]; n != nil {
				w.nodes = append(w.nodes, n)
			}
		}
		e.waits = append(e.waits, w)
	}); err != nil {
		return err
	}
	select {
	case <-w.tell:
		return nil
	case <-ctx.Done():
		e.post(func() { w.nodes = nil })
		return context.Cause(ctx)
	case <-e.ended:
		return ErrEnded
	}
}

// Settle waits until each node is ready or has succeeded, or will not come
// there by itself; it returns what has failed, but for tasks of which the others
// only wait for the end. No error means that all settled.
func (e *Engine) Settle(ctx context.Context, names []string) (failed []api.NodeStatus, err error) {
	if err := e.wait(ctx, names, e.settled); err != nil {
		return nil, err
	}
	err = e.call(func() {
		asked := make(map[*node]bool, len(names))
		for _, name := range names {
			asked[e.byName[name]] = true
		}
		for _, name := range names {
			if n := e.byName[name]; n != nil && n.bad() && !e.tolerated(n, func(o *node) bool { return asked[o] }) {
				failed = append(failed, e.status(n))
			}
		}
	})
	return failed, err
}

// proven is how long a service that has no readiness check must have lived for a wait to take it for ready: most programs that cannot
// run end sooner.
const proven = 100 * time.Millisecond

// settleProven is Settle, and takes a service without a readiness check for ready only when it has lived for a moment. What depends on
// it does not wait for that.
func (e *Engine) settleProven(ctx context.Context, names []string) (failed []api.NodeStatus, err error) {
	for {
		failed, err = e.Settle(ctx, names)
		if err != nil || len(failed) > 0 {
			return failed, err
		}
		rest, all := time.Duration(0), false
		if err := e.call(func() { rest, all = e.unproven(names) }); err != nil {
			return nil, err
		}
		if all {
			return e.Settle(ctx, names) // one may have ended for good since
		}
		passed := make(chan struct{})
		stop := e.opt.Clock.AfterFunc(rest, func() { close(passed) })
		select {
		case <-passed:
		case <-ctx.Done():
			stop()
			return nil, context.Cause(ctx)
		}
	}
}

// unproven is how long it takes until the last of the services without a readiness check has lived for a moment. They are proven when all
// have, and none has ended since they settled.
func (e *Engine) unproven(names []string) (rest time.Duration, all bool) {
	now, all := e.opt.Clock.Now(), true
	for _, name := range names {
		n := e.byName[name]
		if n == nil || n.svc == nil || readyProbe(n.def.Service) != nil {
			continue
		}
		all = all && e.settled(n)
		if in := n.svc.state.Main; in.Alive && in.Phase != machine.Stopping {
			rest = max(rest, in.Since+proven-now)
		}
	}
	return max(rest, 0), all && rest <= 0
}

// Gone waits until nothing of the nodes runs any more, nor is going to by its
// schedule.
func (e *Engine) Gone(ctx context.Context, names []string) error {
	return e.wait(ctx, names, func(n *node) bool {
		return !n.live() && !e.scheduled(n) && (n.task == nil || !n.task.once)
	})
}

// withCleanup adds to nodes that stop the tasks that run after that, but for
// those that wait for something else to stop which somebody holds.
func (e *Engine) withCleanup(names []string) []string {
	all := slices.Clone(names)
	e.call(func() {
		for i := 0; i < len(all); i++ {
			n := e.byName[all[i]]
			if n == nil {
				continue
			}
			for _, edge := range n.in {
				if from := e.byName[edge.From]; edge.Cond == graph.Stopped && e.cleansUp(from) && !slices.Contains(all, edge.From) {
					all = append(all, edge.From)
				}
			}
		}
	})
	slices.Reverse(all) // a wait looks at the last ones first, and these begin when the services have stopped
	return all
}

// cleansUp reports whether a task waits for services to stop of which none is
// held.
func (e *Engine) cleansUp(n *node) bool {
	return n.task != nil && !slices.ContainsFunc(n.out, func(edge graph.Edge) bool {
		return edge.Cond == graph.Stopped && e.byName[edge.To].holders > 0
	})
}

// FailureError says that nodes have failed, as an error of the control protocol.
func FailureError(failed []api.NodeStatus) error {
	first := failed[0]
	for _, f := range failed {
		if f.State != stateBlocked { // the root rather than what waits for it
			first = f
			break
		}
	}
	code := control.CodeFailed
	if first.State == string(machine.GaveUp) {
		code = control.CodeGaveUp
	}
	msg := fmt.Sprintf("%s: %s", first.Name, first.Reason)
	if first.Reason == "" {
		msg = fmt.Sprintf("%s: %s", first.Name, first.State)
	}
	if more := len(failed) - 1; more > 0 {
		msg += fmt.Sprintf(" (and %d more)", more)
	}
	return &control.Error{Code: code, Message: msg}
}
