package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"orrery/cmd/orrery/term"
	"orrery/lang/graph"
	"orrery/runtime/control/api"
	"orrery/runtime/engine"
	"orrery/runtime/logs"
	"orrery/runtime/proc"
)

// silent reports whether one named task is all that is run: then nothing is said
// besides what it prints.
func (r *runner) silent() bool {
	return r.single() && len(r.work.Load().asked) == 1 && !r.app.verbose && !r.flags.watch
}

// alone reports whether the one task of this run gets the terminal.
func (r *runner) alone() bool {
	w := r.work.Load()
	if len(w.need)+len(r.clean)-len(w.external) != 1 || len(w.asked) != 1 {
		return false
	}
	if n := w.project.Graph.Node(w.asked[0]); n != nil && n.Kind == graph.KindTask && n.Task.Interactive {
		return true
	}
	return r.flags.output == "" && !r.app.json
}

// beginLive shows how far the run is, unless one task has the terminal and there
// is nothing that it waits for.
func (r *runner) beginLive() {
	w := r.work.Load()
	if r.alone() && len(w.services) == 0 {
		return
	}
	r.track(w)
	r.live = r.app.follow(liveOptions{}, func() *term.Board { return r.progress.Load().board() })
}

// track counts the nodes of some work from now on.
func (r *runner) track(w *work) {
	p := newProgress(w.need)
	p.clean = len(r.clean)
	r.progress.Store(p)
}

// leaving says that all ends now.
func (r *runner) leaving(hint string) {
	if p := r.progress.Load(); p != nil {
		p.end(hint)
		r.live.changed()
	}
}

// announced starts processes, and tells the first one of each node: a task that
// is restored from the cache has none.
type announced struct {
	direct
	mu   sync.Mutex
	told map[string]bool
	tell func(node string)
}

// Spawn starts what s says.
func (a *announced) Spawn(s *proc.Spec) (engine.Process, error) {
	a.mu.Lock()
	first := !a.told[s.Name]
	if a.told == nil {
		a.told = map[string]bool{}
	}
	a.told[s.Name] = true
	a.mu.Unlock()
	if first {
		a.tell(s.Name)
	}
	return a.direct.Spawn(s)
}

// forget has each node told again.
func (a *announced) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.told)
}

// started says that a task really runs.
func (r *runner) started(node string) {
	if !r.silent() && !r.app.verbose {
		r.screen.own("·", dim, node, "running")
	}
}

// event shows what happens on our engine. Thousands of tasks that are as they
// should be are told by the summary, what could not start by the report.
func (r *runner) event(ev api.Event) {
	r.record.Event(ev)
	if p := r.progress.Load(); p != nil && p.event(ev) {
		r.live.changed()
	}
	w := r.work.Load()
	if r.silent() && !isNote(ev) || slices.Contains(w.external, ev.Node) {
		return
	}
	if !r.app.verbose && !isNews(ev) {
		switch upToDate := !isNote(ev) && (ev.State == "succeeded" && ev.Text == "cached" || ev.State == "skipped"); {
		case ev.State == "running":
			r.screen.took(ev)
			return
		case ev.State == "blocked", upToDate && !slices.Contains(w.asked, ev.Node):
			return
		}
	}
	r.screen.event(ev)
}

// summary is the line that ends a run: "9990 tasks: 3 ran, 9987 cached in 1.2 s".
func (r *runner) summary(st api.Status) {
	if r.app.quiet {
		return
	}
	count := map[string]int{}
	tasks := 0
	for _, n := range st.Nodes {
		what := n.State
		switch {
		case n.Kind != string(graph.KindTask):
			if what == "ready" || what == "unhealthy" || what == "reloading" || what == "listening" {
				count["services ready"]++
			}
			continue
		case n.Cached && n.State == "succeeded":
			what = "cached"
		case n.State == "succeeded":
			what = "ran"
		case n.State == "blocked", n.State == "cancelled" && n.StartedAt.IsZero():
			what = "not started"
		}
		tasks++
		count[what]++
	}
	var parts []string
	for _, what := range []string{"ran", "cached", "skipped", "failed", "cancelled", "not started", "services ready"} {
		if n := count[what]; n > 0 {
			if n == 1 {
				what = strings.Replace(what, "services", "service", 1)
			}
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	head := fmt.Sprintf("%d tasks: ", tasks)
	if tasks == 1 {
		head = "1 task: "
	}
	r.screen.mu.Lock()
	defer r.screen.mu.Unlock()
	fmt.Fprintf(r.screen.err, "%s in %s\n", r.screen.errStyle.Paint(bold, head+strings.Join(parts, ", ")), seconds(time.Since(r.screen.began)))
}

// failure reports what failed, after everything else, and passes on the code of
// the one task that was asked for.
func (r *runner) failure(st api.Status) error {
	var store *logs.Store
	if r.client.Load() != nil {
		store, _ = logs.Open(r.place.Logs)
	}
	if r.app.json && !r.flags.watch {
		r.app.printJSON(st)
	}
	if !r.single() {
		r.summary(st)
	}
	r.outputs.finish()
	if !r.single() || r.client.Load() != nil {
		r.screen.failures(st, store)
	}
	asked := r.work.Load().asked
	for _, n := range st.Nodes {
		if len(asked) != 1 || n.Name != asked[0] || n.State != "failed" {
			continue
		}
		if r.single() {
			fmt.Fprintf(r.screen.err, "%s %s failed: %s\n", r.screen.errStyle.Paint(red, "✗"), n.Name, n.Reason)
		}
		if n.Exit != nil && n.Exit.Signal == "" && n.Exit.Code != 0 {
			return exitError{n.Exit.Code}
		}
	}
	return exitError{exitFailed}
}
