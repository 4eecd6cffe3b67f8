package main

import (
	"context"
	"os"
	"slices"
	"time"

	"orrery/lang"
	"orrery/lang/graph"
	"orrery/runtime/cache"
	"orrery/runtime/control"
	"orrery/runtime/control/api"
	"orrery/runtime/fresh"
	"orrery/runtime/task"
)

// knownRun is a run that needs no evaluation of the project: nil if there is none. done says that there was nothing to do at all.
func (a *app) knownRun(ctx context.Context, place control.Place, k *known, names []string, f runFlags) (r *runner, done bool, err error) {
	if k == nil || !k.same || a.verbose || f.force || f.verify {
		return nil, false, nil
	}
	named, need, ok := k.book.Request(requestKey(names, f.mode()))
	if !ok {
		return nil, false, nil
	}
	stale := k.book.Stale(need)
	r = &runner{app: a, place: place, flags: f}
	w := &work{asked: byName(k.names(named), names), named: k.names(named)}
	if len(stale) == 0 {
		a.warn(k.facts.Warnings)
		return nil, true, a.nothingToDo(ctx, place, k.names(need), k.logs(w.asked))
	}
	g, values := k.part(stale)
	if g == nil {
		return nil, false, nil
	}
	a.warn(k.facts.Warnings)
	in := make(map[int]bool, len(stale))
	for _, i := range stale {
		in[i] = true
	}
	w.project = &lang.Project{Graph: g, Root: place.Root}
	w.need, r.values = k.names(stale), values
	r.work.Store(w)
	r.logs = k.logs(slices.DeleteFunc(slices.Clone(w.asked), func(name string) bool { return slices.Contains(w.need, name) }))
	r.clean = k.names(slices.DeleteFunc(need, func(i int) bool { return in[i] }))
	r.learned = func(results map[string]task.Result) error { return k.update(context.WithoutCancel(ctx), results) }
	return r, false, nil
}

func (k *known) names(tasks []int) []string {
	all := make([]string, len(tasks))
	for i, t := range tasks {
		all[i] = k.book.Name(t)
	}
	return all
}

// recall leaves out of an evaluated run what is known to be as it should, and has it write down what it learns.
func (r *runner) recall(w *work, k *known, began time.Time, req fresh.Request) error {
	c, err := r.app.evaluated(w.project, r.place, k, began)
	if err != nil {
		return err
	}
	c.request(w.project.Graph, req)
	if !r.app.verbose && !r.flags.force && !r.flags.verify {
		clean, err := c.clean(r.place, w.need)
		if err != nil {
			return err
		}
		r.values = c.values(clean)
		for i, t := range c.contents.Tasks {
			if log := c.facts[i].Log; clean[t.Name] && log.Hash != "" && slices.Contains(w.asked, t.Name) {
				r.logs = append(r.logs, keptLog{t.Name, log})
			}
		}
		r.clean = slices.DeleteFunc(slices.Clone(w.need), func(name string) bool { return !clean[name] })
		w = w.only(slices.DeleteFunc(slices.Clone(w.need), func(name string) bool { return clean[name] }))
		r.work.Store(w)
	}
	r.learned = func(results map[string]task.Result) error {
		c.learn(results)
		b, err := c.book(r.place)
		if err != nil {
			return err
		}
		return b.Write(context.Background())
	}
	if len(w.need) == 0 {
		return r.learned(nil)
	}
	return nil
}

// nothingToDo ends a run whose tasks are all as they should be. Those that were asked for say what they said.
func (a *app) nothingToDo(ctx context.Context, place control.Place, clean []string, logs []keptLog) error {
	a.replay(ctx, place, logs, len(clean) == 1)
	switch {
	case a.json:
		return a.printJSON(api.Status{Nodes: cleanStatus(clean)})
	case len(clean) == 1:
		a.say("%s %s: nothing to do", a.paint(green, "✓"), clean[0])
	default:
		a.say("%s nothing to do: %d tasks are as they should be", a.paint(green, "✓"), len(clean))
	}
	return nil
}

// keptLog is what a task printed when it last ran.
type keptLog struct {
	node string
	log  cache.Blob
}

// logs of tasks that printed something.
func (k *known) logs(names []string) []keptLog {
	if len(names) == 0 {
		return nil
	}
	index := k.book.Index()
	var all []keptLog
	for _, name := range names {
		if f := k.taskFacts(index[name]); f.Log.Hash != "" {
			all = append(all, keptLog{name, f.Log})
		}
	}
	return all
}

// replay shows what tasks printed: as it is, or in prefixed lines.
func (a *app) replay(ctx context.Context, place control.Place, logs []keptLog, raw bool) {
	if len(logs) == 0 {
		return
	}
	c, hashes := a.openCaching(place, remoteFlags{no: true}, 0)
	if c == nil {
		return
	}
	defer endCaching(ctx, place, c, hashes)
	var names []string
	for _, l := range logs {
		names = append(names, l.node)
	}
	shown := newOutputs(newScreen(a, names))
	for _, l := range logs {
		out, errOut, done := shown.of(l.node)
		if raw && a.output == "" && !a.json {
			out, errOut = os.Stdout, os.Stderr
		}
		err := task.Replay(ctx, c.Store, l.log, out, errOut)
		done(task.Succeeded)
		if err != nil {
			a.say("cannot show again what %s printed: %v", l.node, err)
		}
	}
}

// cleanStatus is the state of tasks that were not looked at further.
func cleanStatus(names []string) []api.NodeStatus {
	all := make([]api.NodeStatus, len(names))
	for i, name := range names {
		all[i] = api.NodeStatus{Name: name, Kind: string(graph.KindTask), State: "succeeded", Cached: true}
	}
	return all
}

// values are those of clean tasks.
func (c *chapter) values(clean map[string]bool) map[string]map[string]string {
	all := map[string]map[string]string{}
	for i, t := range c.contents.Tasks {
		if clean[t.Name] && len(c.facts[i].Values) > 0 {
			all[t.Name] = c.facts[i].Values
		}
	}
	return all
}
