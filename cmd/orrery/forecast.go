package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"orrery/lang"
	"orrery/lang/graph"
	"orrery/runtime/bind"
	"orrery/runtime/cache"
	"orrery/runtime/control"
	"orrery/runtime/control/api"
	"orrery/runtime/engine"
	"orrery/runtime/task"
)

// forecast is what run would do with one node.
type forecast struct {
	Name   string     `json:"name"`
	Kind   graph.Kind `json:"kind"`   // service or task
	Action string     `json:"action"` // up-to-date, restore, run, skip, depends, unknown; of a service start or running
	Why    []string   `json:"why"`    // the reasons, each a text
}

// The actions of a forecast; those of a task are task.Forecast's, and two that
// come of others.
const (
	actCurrent = "up-to-date"
	actRestore = "restore"
	actRun     = "run"
	actSkip    = "skip"
	actDepends = "depends" // on what another task makes
	actUnknown = "unknown" // before a service runs
	actStart   = "start"
	actRunning = "running"
)

// actionText says how they are shown.
func actionText(action string) string {
	switch action {
	case actCurrent:
		return "up to date"
	case actRestore:
		return "restored from cache"
	case actDepends:
		return "depends"
	case actUnknown:
		return "not known"
	}
	return action
}

// forecaster asks an engine that never runs what it would do.
type forecaster struct {
	graph  *graph.Graph
	engine *engine.Engine
	states map[string]string // of the nodes that the checkout's engine runs
	will   map[string]string // the action of each node so far
	end    func()            // lets go of the cache
}

// nothing is a store that holds nothing.
type nothing struct{ task.Store }

// Peek finds nothing.
func (nothing) Peek(context.Context, string) (*cache.Record, error) { return nil, cache.ErrMiss }

// newForecaster binds a graph as it is now: with the values of the running
// engine, if there is one. It starts and writes nothing.
func (a *app) newForecaster(ctx context.Context, p *lang.Project, local *engine.Local, caching *task.Caching) (*forecaster, error) {
	place, err := placeOf(p)
	if err != nil {
		return nil, err
	}
	f := &forecaster{graph: p.Graph, states: map[string]string{}, will: map[string]string{}}
	values, err := f.ask(ctx, place)
	if err != nil {
		return nil, err
	}
	b := bind.FromSnapshot(p.Graph, viewDirs(place), values, bind.Options{Environ: os.Environ(), Still: true})
	c, end := peekCaching(place)
	c.Force, c.Verify = caching.Force, caching.Verify
	f.end = end
	f.engine = engine.New(engine.Options{
		Graph: p.Graph, Bind: func(*graph.Graph) *bind.Binding { return b }, Clock: engine.SystemClock{}, Local: local,
		Results: engine.Results{Caching: c, Hashes: &task.FileHashes{Path: filepath.Join(place.Dir, "memo")}, Values: filepath.Join(place.Dir, "values")},
	})
	return f, nil
}

// ask takes the states and values of the engine that runs; none if none does.
func (f *forecaster) ask(ctx context.Context, place control.Place) (values map[string]string, err error) {
	c, err := control.Dial(ctx, place)
	var none *control.ErrNoEngine
	if errors.As(err, &none) && none.Cause == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer c.Close()
	st, err := statusOf(ctx, c, nil)
	if err != nil {
		return nil, err
	}
	for _, n := range st.Nodes {
		f.states[n.Name] = n.State
	}
	var b api.Bindings
	if err := c.Call(ctx, api.MethodBindings, nil, &b); err != nil {
		return nil, err
	}
	return b.Values, nil
}

// peekCaching opens the user's cache only if there is one.
func peekCaching(place control.Place) (c *task.Caching, end func()) {
	c, end = &task.Caching{Dir: filepath.Join(place.Dir, "tasks")}, func() {}
	if _, err := os.Stat(place.Cache); err != nil {
		c.Store = nothing{}
		return c, end
	}
	store, err := cache.Open(place.Cache, cache.Options{})
	if err != nil {
		return c, end
	}
	if c.Salt, err = store.Salt(); err == nil {
		c.Store, end = store, func() { store.Close() }
	}
	return c, end
}

// all says what becomes of nodes, in the order of the graph.
func (f *forecaster) all(ctx context.Context, want []string) ([]forecast, error) {
	in := make(map[string]bool, len(want))
	for _, name := range want {
		in[name] = true
	}
	steps := []forecast{}
	for _, name := range f.graph.Order() {
		if !in[name] {
			continue
		}
		s := forecast{Name: name, Kind: f.graph.Node(name).Kind, Action: actStart, Why: []string{}}
		if s.Kind == graph.KindTask {
			if err := f.task(ctx, &s); err != nil {
				return nil, err
			}
		} else if f.up(name) {
			s.Action = actRunning
		}
		f.will[name] = s.Action
		steps = append(steps, s)
	}
	return steps, nil
}

// up tells whether the checkout's engine has the service ready.
func (f *forecaster) up(name string) bool {
	return slices.Contains([]string{"ready", "listening", "reloading", "unhealthy"}, f.states[name])
}

// task says what becomes of a task: what it says itself, unless that rests on
// what others are going to make.
func (f *forecaster) task(ctx context.Context, s *forecast) error {
	p, err := f.engine.Preview(ctx, s.Name)
	if err != nil {
		return err
	}
	s.Action, s.Why = p.Action, append(s.Why, p.Why...)
	if !p.Kept {
		return nil // it is run, or skipped, whatever others do
	}
	var upstream, services []string
	for _, e := range f.graph.Out(s.Name) {
		switch f.will[e.To] {
		case actRun:
			upstream = append(upstream, "depends on "+e.To+", which will run")
		case actRestore:
			upstream = append(upstream, "depends on "+e.To+", which will be restored")
		case actDepends, actUnknown:
			upstream = append(upstream, "depends on "+e.To+", of which that is not known yet")
		case actStart:
			services = append(services, "its key is known only when "+e.To+" runs")
		}
	}
	upstream = slices.Compact(upstream)
	switch {
	case len(upstream) > 0 && p.Action == actCurrent:
		s.Action, s.Why = actDepends, upstream
	case len(upstream) > 0:
		s.Action, s.Why = actDepends, append(upstream, own(p)...)
	case p.Action == actUnknown && len(services) > 0:
		s.Why = slices.Compact(services)
	}
	return nil
}

// own is what a task says of itself besides what others make for it, which is
// still to come.
func own(p task.Forecast) []string {
	switch {
	case p.Action == actUnknown:
		return nil
	case len(p.Changes) == 0:
		return p.Why
	}
	var why []string
	for _, c := range p.Changes {
		if c.Kind != "upstream" {
			why = append(why, c.String())
		}
	}
	return first(why, 10)
}

// dryRun says what a run would do.
func (a *app) dryRun(ctx context.Context, r *runner) error {
	work := r.work.Load()
	f, err := a.newForecaster(ctx, work.project, r.local(), &task.Caching{Force: r.flags.force, Verify: r.flags.verify})
	if err != nil {
		return err
	}
	defer f.end()
	steps, err := f.all(ctx, work.need)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(steps)
	}
	width := 0
	for _, s := range steps {
		width = max(width, len(s.Name))
	}
	w := bufio.NewWriter(os.Stdout)
	for _, s := range steps {
		text := actionText(s.Action)
		if r.flags.explain && len(s.Why) > 0 {
			text += ": " + s.Why[0]
			for _, why := range s.Why[1:] {
				text += "\n" + strings.Repeat(" ", 8+width+2) + why
			}
		}
		fmt.Fprintf(w, "%-7s %-*s  %s\n", s.Kind, width, s.Name, text)
	}
	return w.Flush()
}

// explained shows why a task runs, when it begins to.
func (r *runner) explained(name string, why []string) {
	r.app.say("%s: runs: %s", name, oneLine(strings.Join(why, "; ")))
}

// next says what a run would do with one task now, after what it needs; nil
// where that cannot be told.
func (a *app) next(ctx context.Context, p *lang.Project, name string) *forecast {
	need, err := p.Graph.Need([]string{name}, graph.SelectNeeds)
	if err != nil {
		return nil
	}
	f, err := a.newForecaster(ctx, p, nil, &task.Caching{})
	if err != nil {
		return nil
	}
	defer f.end()
	steps, err := f.all(ctx, need)
	if err != nil {
		return nil
	}
	for _, s := range steps {
		if s.Name == name {
			return &s
		}
	}
	return nil
}
