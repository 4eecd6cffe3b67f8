package engine

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"orrery/lang/graph"
	"orrery/runtime/machine"
	"orrery/runtime/watch"
)

// Input is something that the evaluation of the project has read: a change of
// it asks for another one.
type Input struct {
	Path    string // absolute; empty for a pattern
	Pattern string // relative to the project
}

// The subscriptions of the watcher: the inputs of the evaluation, and the
// declared ones of a node.
const (
	watchProject = "project"
	watchNode    = "node "
)

// watchBegin starts the watcher and subscribes to the inputs of the evaluation.
func (e *Engine) watchBegin() {
	if e.opt.Watch == nil {
		return
	}
	w, err := watch.New(watch.Options{
		Root: e.opt.Watch.Root, Exclude: e.opt.Watch.Exclude,
		Warn: func(text string) { e.later(func() { e.say(text) }) },
	})
	if err != nil {
		e.say("cannot watch files: " + err.Error())
		return
	}
	e.watcher = w
	e.watchInputs(e.opt.Watch.Inputs)
	go e.watchLoop(w)
}

func (e *Engine) watchEnd() {
	if e.watcher != nil {
		go e.watcher.Close()
	}
}

// watchLoop takes what the watcher sees into the loop, until the watcher is
// closed.
func (e *Engine) watchLoop(w *watch.Watcher) {
	for c := range w.Changes() {
		if c.ID == watchProject {
			e.CatchUp()
			continue
		}
		e.post(func() { e.filesChanged(c) })
	}
}

// CatchUp evaluates the project and applies what has changed, as after an edit,
// and says what came of it.
func (e *Engine) CatchUp() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := e.Reload(ctx); err != nil {
		e.post(func() { e.say("services.star was not applied; what runs goes on as it is:\n" + err.Error()) })
	}
}

// watchAnew subscribes to what another evaluation has read. The same files are
// not subscribed to again: a change that is under way would be lost.
func (e *Engine) watchAnew(inputs []Input) {
	if e.opt.Watch == nil {
		return
	}
	byName := func(a, b Input) int {
		return cmp.Or(strings.Compare(a.Path, b.Path), strings.Compare(a.Pattern, b.Pattern))
	}
	if slices.Equal(slices.SortedFunc(slices.Values(inputs), byName), slices.SortedFunc(slices.Values(e.opt.Watch.Inputs), byName)) {
		return
	}
	e.opt.Watch.Inputs = inputs
	e.watchInputs(inputs)
}

// watchInputs subscribes to what the evaluation has read, and then evaluates
// again: it may have been edited after it was read.
func (e *Engine) watchInputs(inputs []Input) {
	if e.watcher == nil || len(inputs) == 0 {
		return
	}
	s := watch.Spec{ID: watchProject, Debounce: 50 * time.Millisecond, Gitignored: true}
	for _, in := range inputs {
		if in.Pattern != "" {
			s.Patterns = append(s.Patterns, watch.Pattern{Include: []string{in.Pattern}})
			continue
		}
		s.Paths = append(s.Paths, in.Path)
	}
	e.subscribe(s, e.CatchUp)
}

// subscribe adds a subscription outside of the loop: it looks at the disk. then is called after it; may be nil.
func (e *Engine) subscribe(s watch.Spec, then func()) {
	w := e.watcher
	go func() {
		if err := w.Add(s); err != nil {
			e.post(func() { e.say("cannot watch: " + err.Error()) })
			return
		}
		if then != nil {
			then()
		}
	}()
}

// considerWatch watches for a held node what it declares, and for no other.
func (e *Engine) considerWatch(n *node) {
	if e.watcher == nil || n.external {
		return
	}
	declared := n.def.Common().Watch
	want := n.holders > 0 && !n.removed && len(declared) > 0
	key := ""
	if want {
		key = fmt.Sprint(len(declared), e.digest)
	}
	if key == n.watched.key {
		return
	}
	for i := range max(n.watched.count, len(declared)) {
		id := fmt.Sprintf("%s%s %d", watchNode, n.name(), i)
		if !want || i >= len(declared) {
			e.watcher.Remove(id)
			continue
		}
		e.subscribe(e.watchSpec(n, id, declared[i]), nil)
	}
	n.watched = watched{key, len(declared)}
}

// watchSpec is a declared watch in the watcher's words.
func (e *Engine) watchSpec(n *node, id string, w graph.Watch) watch.Spec {
	s := watch.Spec{ID: id, Ignore: w.Ignore, Extensions: w.Extensions, Debounce: time.Duration(w.Debounce)}
	for _, p := range w.Paths {
		if p.Pattern != nil {
			s.Patterns = append(s.Patterns, watch.Pattern{Include: p.Pattern.Include, Exclude: p.Pattern.Exclude})
			continue
		}
		if path, err := e.bind.Path(p.Path, n.name()); err == nil {
			s.Paths = append(s.Paths, path)
		}
	}
	for _, o := range e.outputsBelow(n) {
		s.Exclude = append(s.Exclude, filepath.Join(e.bind.Root(), o))
	}
	return s
}

// outputsBelow are the declared output paths of all tasks: their change is no
// change of sources.
func (e *Engine) outputsBelow(*node) []string {
	var paths []string
	for _, n := range e.graph.Nodes {
		if n.Kind != graph.KindTask {
			continue
		}
		for _, o := range n.Task.Outputs {
			if text, ok := o.Value.Path.Plain(); ok && o.Value.Path != nil {
				paths = append(paths, text)
			}
		}
	}
	return paths
}

// filesChanged does what a declared watch says.
func (e *Engine) filesChanged(c watch.Change) {
	name, i, ok := strings.Cut(strings.TrimPrefix(c.ID, watchNode), " ")
	n := e.byName[name]
	file, what := c.Files[0], "changed"
	if c.Count > 1 {
		what = fmt.Sprintf("and %d more changed", c.Count-1)
	}
	why := file + " " + what
	if i == "inputs" {
		if n != nil && n.task != nil && n.holders > 0 && !e.scheduled(n) {
			e.rerun(n, file, what)
		}
		return
	}
	index := 0
	if _, err := fmt.Sscan(i, &index); !ok || err != nil || n == nil || n.holders == 0 || index >= len(n.def.Common().Watch) {
		return
	}
	do := n.def.Common().Watch[index].Do
	switch {
	case do.Task != "":
		e.rerun(e.byName[do.Task], file, what)
	case n.task != nil:
		e.rerun(n, file, what)
	case do.Action == "reload":
		e.step(n, machine.Event{Kind: machine.EventFileChanged, Reload: true, Text: why})
	default:
		e.step(n, machine.Event{Kind: machine.EventFileChanged, Text: why})
	}
}

// rerun has a task run again: one that runs is stopped first, for its result
// is of the past. The cause is a file or a node; what became of it.
func (e *Engine) rerun(n *node, cause, what string) {
	if n == nil || n.task == nil {
		return
	}
	was := n.show.Cause
	n.show.Cause = cause
	e.publish(n, n.show.State, cause+" "+what)
	n.show.Cause = was
	e.uncancel()
	e.unsettle(n)
	if n.task.cancel != nil {
		n.task.again = true
		n.task.cancel()
		return
	}
	n.task.once = n.holders == 0
	e.reset(n)
	e.touch(n)
	if e.scheduled(n) {
		e.runNow(n)
	}
}
