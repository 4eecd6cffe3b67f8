package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"orrery/lang/graph"
	"orrery/runtime/control"
	"orrery/runtime/machine"
)

// Act starts, stops, restarts or reloads nodes by hand, and returns when that
// is done: what was started is ready, what was stopped is down, reload commands have ended. Starting adds to
// what is held for good; stopping ends a service also for those who hold it.
func (e *Engine) Act(ctx context.Context, verb string, targets []string, only bool) error {
	if verb == "start" {
		mode := graph.SelectNeeds
		if only {
			mode = graph.SelectOnly
		}
		if ran, err := e.startScheduled(ctx, targets); ran || err != nil {
			return err
		}
		names, err := e.Hold(detached, targets, mode)
		if err != nil {
			return err
		}
		return e.settleOrFail(ctx, names)
	}
	var failed error
	var names []string
	before := map[string]int{} // instances made so far
	err := e.call(func() {
		nodes, err := e.named(targets)
		failed = err
		for _, n := range nodes {
			if n.task != nil && !slices.Contains(targets, n.name()) {
				continue // of a subtree or group
			}
			if n.svc != nil {
				before[n.name()] = n.svc.state.Spawned
				if n.accepts() {
					before[n.name()] = -1 // no instance is to follow
				}
			}
			if err := e.actOn(n, verb); err != nil && failed == nil {
				failed = err
			}
			names = append(names, n.name())
		}
	})
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	switch verb {
	case "stop":
		return e.wait(ctx, names, func(n *node) bool { return len(n.svc.instances) == 0 && n.show.State == string(machine.Down) })
	case "restart":
		err := e.wait(ctx, names, func(n *node) bool {
			return n.bad() || n.conds&isReady != 0 && (n.svc.state.Main.ID > before[n.name()] || n.kept(before[n.name()]))
		})
		if err != nil {
			return err
		}
		if err := e.replaced(before); err != nil {
			return err
		}
		return e.settleOrFail(ctx, names)
	case "reload":
		if err := e.wait(ctx, names, func(n *node) bool { return !n.reloads() }); err != nil {
			return err
		}
		return e.reloaded(names)
	}
	return nil
}

// reloads tells whether a reload command runs, or is to follow.
func (n *node) reloads() bool {
	if n.svc == nil || n.def.Service.Reload == nil || len(n.def.Service.Reload.Argv) == 0 {
		return false
	}
	in := n.svc.state.Main
	return in.ID != 0 && (in.Reload.Runs || in.Reload.Due)
}

// reloaded is the failure of the reload commands of nodes.
func (e *Engine) reloaded(names []string) error {
	var failed error
	err := e.call(func() {
		for _, name := range names {
			if n := e.byName[name]; n != nil && n.svc != nil && n.svc.state.Main.Reload.Failed != "" && failed == nil {
				failed = &control.Error{
					Code: control.CodeFailed, Message: fmt.Sprintf("%s: reload command: %s", name, n.svc.state.Main.Reload.Failed), Hint: "orrery logs " + name,
				}
			}
		}
	})
	return errors.Join(err, failed)
}

// startScheduled runs targets at once that all wait for their times; they stay
// held as they are.
func (e *Engine) startScheduled(ctx context.Context, targets []string) (ran bool, err error) {
	var failed error
	var names []string
	err = e.call(func() {
		nodes, err := e.named(targets)
		if failed = err; err != nil || slices.ContainsFunc(nodes, func(n *node) bool { return !e.scheduled(n) }) {
			return
		}
		ran = true
		for _, n := range nodes {
			if names = append(names, n.name()); e.rests(n) && !n.live() {
				e.runNow(n)
			}
		}
	})
	if err = errors.Join(err, failed); err != nil || !ran {
		return ran, err
	}
	if err := e.wait(ctx, names, func(n *node) bool { return !n.live() && (e.rests(n) || !e.scheduled(n)) }); err != nil {
		return true, err
	}
	err = e.call(func() {
		for _, name := range names {
			if n := e.byName[name]; n != nil && n.task != nil && n.task.alarm.Failed != "" && failed == nil {
				failed = &control.Error{Code: control.CodeFailed, Message: name + ": " + n.task.alarm.Failed}
			}
		}
	})
	return true, errors.Join(err, failed)
}

// settleOrFail waits until nodes have settled; what failed is an error.
func (e *Engine) settleOrFail(ctx context.Context, names []string) error {
	failed, err := e.Settle(ctx, names)
	if err == nil && len(failed) > 0 {
		err = FailureError(failed)
	}
	return err
}

func (e *Engine) actOn(n *node, verb string) error {
	if n.svc == nil {
		return &control.Error{Code: control.CodeBadRequest, Message: fmt.Sprintf("%s is a task: cannot %s it", n.name(), verb), Hint: "orrery run " + n.name()}
	}
	kind := map[string]machine.EventKind{"stop": machine.EventStop, "restart": machine.EventRestart, "reload": machine.EventReload}[verb]
	if verb == "reload" && n.def.Service.Reload == nil {
		return &control.Error{Code: control.CodeFailed, Message: n.name() + " is not reloadable", Hint: "declare reload = \"HUP\" or a command, or use orrery restart"}
	}
	if verb == "restart" && n.holders == 0 {
		return &control.Error{Code: control.CodeFailed, Message: n.name() + " is not up", Hint: "orrery start " + n.name()}
	}
	switch {
	case verb == "stop" && e.unlisten(n, false):
		return nil
	case n.accepts():
		return e.actOnAccepting(n, verb)
	}
	e.step(n, machine.Event{Kind: kind, Text: "by hand"})
	return nil
}
