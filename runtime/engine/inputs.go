package engine

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"orrery/lang/graph"
	"orrery/runtime/watch"
)

// A holder may ask that the tasks it holds run again when their inputs change.
// Who waits for such a task begins anew as well: a run that is under way is cut
// off, for what it reads is of the past; what has ended runs again if the task
// has made something else.

// inputWatch is the subscription to the inputs of a task.
type inputWatch struct {
	key  string // for what they are watched; "" when they are not
	spec string // what was subscribed to
	wait bool   // they are not watched yet: a change might not be seen
}

// HoldWatching is Hold, and has the tasks that it holds run again when their
// inputs change.
func (e *Engine) HoldWatching(holder string, targets []string, mode graph.Selection) ([]string, error) {
	return e.holdWanted(holder, want{Targets: targets, Mode: mode, Watch: true})
}

// watching reports whether a holder wants a task to run again when its inputs
// change.
func (e *Engine) watching(n *node) bool {
	for _, h := range e.holds {
		if h.watch && h.nodes[n.name()] {
			return true
		}
	}
	return false
}

// considerInputs watches the inputs of a task for which a holder wants that.
func (e *Engine) considerInputs(n *node) {
	if e.watcher == nil || n.task == nil || n.external {
		return
	}
	in, key := &n.task.inputs, ""
	if n.holders > 0 && !n.removed && e.watching(n) {
		key = e.digest
	}
	if key == in.key {
		return
	}
	in.key = key
	s := watch.Spec{}
	if key != "" {
		s = e.inputSpec(n)
	}
	text := ""
	if len(s.Paths)+len(s.Patterns) > 0 {
		text = fmt.Sprint(s)
	}
	switch {
	case text == in.spec:
		return // adding it again would lose a change that is under way
	case text == "":
		in.spec, in.wait = "", false
		e.watcher.Remove(inputsID(n))
		return
	}
	in.spec, in.wait = text, true
	w := e.watcher
	go func() {
		err := w.Add(s)
		e.post(func() {
			if err != nil {
				e.say("cannot watch the inputs of " + n.name() + ": " + err.Error())
			}
			if in.spec == text {
				in.wait = false
				e.touch(n)
			}
		})
	}()
}

// inputsID is the subscription to the inputs of a task.
func inputsID(n *node) string { return watchNode + n.name() + " inputs" }

// inputSpec is what a task reads of the project, in the watcher's words. What
// tasks make is no part of it.
func (e *Engine) inputSpec(n *node) watch.Spec {
	s := watch.Spec{ID: inputsID(n), Gitignored: true, Debounce: 50 * time.Millisecond}
	for _, in := range n.def.Task.Inputs {
		if in.Pattern != nil {
			s.Patterns = append(s.Patterns, watch.Pattern{Include: in.Pattern.Include, Exclude: in.Pattern.Exclude})
			continue
		}
		if r, ok := in.Path.Native(); ok && strings.HasPrefix(r.Attr, "outputs.") {
			continue
		}
		if path, err := e.bind.Path(in.Path, n.name()); err == nil {
			s.Paths = append(s.Paths, path)
		}
	}
	s.Paths = append(s.Paths, e.ownPrograms(n)...)
	e.leaveOutputs(&s)
	return s
}

// ownPrograms are the programs of a task that are files of the project: their
// content is in its key.
func (e *Engine) ownPrograms(n *node) (paths []string) {
	add := func(argv []graph.Text) {
		if len(argv) == 0 {
			return
		}
		program, plain := argv[0].Plain()
		dir, err := e.bind.Dir(n.name())
		if !plain || err != nil || !strings.Contains(program, "/") || filepath.IsAbs(program) {
			return
		}
		paths = append(paths, filepath.Join(dir, program))
	}
	if c := n.def.Task.Command; c != nil {
		add(c.Argv)
	}
	for _, argv := range n.def.Task.Steps {
		add(argv)
	}
	return paths
}

// leaveOutputs takes what tasks make out of a subscription: it is no source.
func (e *Engine) leaveOutputs(s *watch.Spec) {
	for _, o := range e.outputsBelow(nil) {
		s.Exclude = append(s.Exclude, filepath.Join(e.bind.Root(), o))
	}
	for _, n := range e.graph.Nodes {
		if n.Kind != graph.KindTask {
			continue
		}
		for _, o := range n.Task.Outputs {
			if o.Value.Pattern == nil {
				continue
			}
			for i := range s.Patterns {
				s.Patterns[i].Exclude = append(s.Patterns[i].Exclude[:len(s.Patterns[i].Exclude):len(s.Patterns[i].Exclude)], o.Value.Pattern.Include...)
			}
			for _, include := range o.Value.Pattern.Include {
				s.Ignore = append(s.Ignore, "/"+include)
			}
		}
	}
}

// unsettle has tasks begin anew that wait for one which runs again: runs are cut
// off, and what had been given up gets another chance.
func (e *Engine) unsettle(n *node) {
	for _, edge := range n.in {
		from := e.byName[edge.From]
		switch {
		case edge.Cond == graph.Stopped || from.holders == 0 || from.external || e.scheduled(from):
			continue
		case from.svc != nil:
			if from.show.State != stateBlocked {
				continue
			}
		case from.task.again:
			continue
		case from.task.cancel != nil:
			from.task.again = true
			from.task.cancel()
		case from.show.State == stateBlocked:
			e.reset(from)
			e.touch(from)
		default:
			continue
		}
		e.unsettle(from)
	}
}

// uncancel gives tasks another chance that were not begun because another one
// had failed.
func (e *Engine) uncancel() {
	e.failed = false
	for _, n := range e.nodes {
		if n.task != nil && n.task.done && n.holders > 0 && n.show.State == stateCancelled {
			e.reset(n)
			e.touch(n)
		}
	}
}

// followers run again that have no reference to what a task makes, but wait for
// it, and whose holder wants them to follow changes.
func (e *Engine) followers(n *node, changed bool) {
	silent := len(n.def.Task.Outputs)+len(n.def.Task.Values) == 0 // whatever it did, nobody can tell
	if !changed && !(silent && n.task.runs > 1) {
		return
	}
	for _, edge := range n.in {
		from := e.byName[edge.From]
		if edge.Ref == "" && edge.Cond != graph.Stopped && from.task != nil && from.task.done && !from.external && !e.scheduled(from) && e.watching(from) {
			e.rerun(from, n.name(), "ran again")
		}
	}
}

// mirrorAnew has tasks run again that stand on an external node which came up
// once more: it was restarted, or made anew.
func (e *Engine) mirrorAnew(n *node, gained conds) {
	if gained&(isReady|isSucceeded) == 0 {
		return
	}
	first := n.show.Ready.IsZero()
	n.show.Ready = time.Now()
	if first {
		return
	}
	for _, edge := range n.in {
		from := e.byName[edge.From]
		if edge.Cond != graph.Stopped && from.task != nil && !from.external && (from.task.done || from.live()) && e.watching(from) {
			e.rerun(from, n.name(), "came up anew")
		}
	}
}

// outsource notes which nodes the other engine runs, now that the graph is
// another one.
func (e *Engine) outsource() {
	if e.opt.Local == nil || e.opt.Local.External == nil {
		return
	}
	there := map[string]bool{}
	for _, name := range e.opt.Local.External(e.graph) {
		there[name] = true
	}
	for _, n := range e.nodes {
		was := n.external
		n.external = there[n.name()]
		switch {
		case n.external && !was:
			if n.task != nil {
				e.queue.leave(n)
				if n.task.cancel != nil {
					n.task.cancel()
				}
			}
			if c, ok := e.mirrors[n.name()]; ok {
				e.reflect(n, c)
			}
		case was && !n.external:
			n.conds = 0
			e.reset(n)
		}
	}
}
