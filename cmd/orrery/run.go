package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"orrery/lang/graph"
	"orrery/runtime/bind"
	"orrery/runtime/control"
	"orrery/runtime/control/api"
	"orrery/runtime/engine"
	"orrery/runtime/fresh"
	"orrery/runtime/history"
	"orrery/runtime/logs"
	"orrery/runtime/task"
)

// runFlags are the flags of run.
type runFlags struct {
	only       bool
	dependents bool
	all        bool
	keepGoing  bool
	force      bool
	verify     bool
	dryRun     bool
	watch      bool
	output     string
	explain    bool
	remote     remoteFlags
	engineFlags
}

func runCommand(a *app) *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run TARGET... [-- ARGS]",
		Short: "Run tasks with what they need",
		Long: `Runs tasks with what they need, in this process. Services that they need are
used as they are when they run already; those that this command started are
stopped after. ARGS are added to the command of the one task named.

Of the tasks that wait for one of the -j jobs, the one that holds up most starts
first. The tasks share these jobs with the makes that they run (also ninja, cargo
and gcc -flto=jobserver), through MAKEFLAGS; run from a recipe of make that begins
with "+", orrery shares the jobs of that make.

One task alone has the terminal. What several print is shown as --output says:
prefixed lines as they come; grouped, each task's lines together when it has
ended (the default when CI is set; with GITHUB_ACTIONS as groups of the log);
failed, only those of tasks that failed, at the end; or none. The last 20 lines
of each failed task are shown again at the end. What a cached task had printed is
shown again if it was named, or with -v. What is live on a terminal, heartbeats
and -q are as in orrery up. With GITHUB_ACTIONS nothing that a task prints is
taken for a command of the log.

--dry-run says in order what would become of each: "up to date", "restored from
cache", "run", "skip" (what it creates exists), "depends" (on what a task makes that
will run: if that is what it was, nothing is to be done), "not known" (before a service
runs that it refers to), and of services "start" or "running". --explain adds why. With
--dry-run --json it prints
  [{"name", "kind", "action": "up-to-date", "restore", "run", "skip", "depends",
    "unknown", "start" or "running", "why": [texts]}]


A result that is not in the user's cache is looked for in a remote one, if there
is one:

  ORRERY_REMOTE_CACHE          grpc://, grpcs://, http:// or https:// and the host
  ORRERY_REMOTE_CACHE_MODE     read (default), or readwrite: results go there, too
  ORRERY_REMOTE_CACHE_HEADERS  "Name: value", one a line, with every request
  ORRERY_REMOTE_CACHE_CA       certificates that the server's is signed by (PEM)
  ORRERY_REMOTE_CACHE_CERT, ORRERY_REMOTE_CACHE_KEY   our own certificate
  ORRERY_REMOTE_CACHE_TIMEOUT  what it may cost a run at most (default 2s)

One that is dead, slow or wrong never fails a task: it is said once, and left
alone. The engine of orrery up takes the same variables.

With --watch it then waits, and when an input of the tasks changes (declared
inputs, programs of the project, services.star and what it reads) it runs again
what is affected; a run that is under way and affected is cut off, the others go
on. Content decides, and what tasks make is no input. Services stay up between
runs. ^C ends it: with 0 when it was waiting after a run that went well, with the
code of the run when that had failed, and with 130 during a run. With --json it
prints the status of each run on a line.`,
		Example: `  orrery run test
  orrery run test --dry-run --explain
  orrery run test -- -run TestOrders -v
  orrery run lint build -j 4 --keep-going
  orrery run --watch test`,
		RunE: func(c *cobra.Command, args []string) error {
			if !f.watch {
				spareGC()
			}
			names, extra := args, []string(nil)
			if at := c.ArgsLenAtDash(); at >= 0 {
				names, extra = args[:at], args[at:]
			}
			return a.run(c.Context(), names, extra, f)
		},
	}
	fl := c.Flags()
	fl.BoolVar(&f.only, "only", false, "the targets alone, not what they need")
	fl.BoolVar(&f.dependents, "with-dependents", false, "also what waits for the targets")
	fl.BoolVar(&f.all, "all", false, "as --with-dependents; without targets: every task")
	fl.BoolVar(&f.keepGoing, "keep-going", false, "run what can still be run after a failure")
	fl.BoolVar(&f.force, "force", false, "run what is cached, too")
	fl.BoolVar(&f.verify, "verify", false, "run everything twice, fail where the results differ, and say what is touched and not declared")
	fl.BoolVar(&f.dryRun, "dry-run", false, "only say what would be done with each; runs and writes nothing")
	fl.BoolVar(&f.explain, "explain", false, "say of each task that runs why it does; with --dry-run of each that would")
	fl.BoolVar(&f.watch, "watch", false, "then run again what is affected by each change, until ^C")
	fl.StringVar(&f.output, "output", "", "what tasks print: `HOW` is prefixed, grouped, failed or none (default prefixed, under CI grouped)")
	f.remote.add(fl)
	f.add(c)
	c.MarkFlagsMutuallyExclusive("only", "with-dependents", "all")
	c.MarkFlagsMutuallyExclusive("watch", "dry-run")
	c.MarkFlagsMutuallyExclusive("remote-cache", "no-remote-cache")
	return c
}

// spareGC has the garbage collected late: a run lives shortly. Most end before it is needed once.
func spareGC() {
	debug.SetGCPercent(1600) // of 4 MiB
	runtime.SetFinalizer(new([16]byte), func(*[16]byte) { debug.SetGCPercent(400) })
}

func (f *runFlags) mode() graph.Selection {
	switch {
	case f.only:
		return graph.SelectOnly
	case f.dependents:
		return graph.SelectDependents
	case f.all:
		return graph.SelectAll
	}
	return graph.SelectNeeds
}

func (a *app) run(ctx context.Context, names, extra []string, f runFlags) error {
	switch f.output {
	case "", asPrefixed, asGrouped, asFailed, asNone:
		a.output = f.output
	default:
		return usageError{fmt.Errorf("--output: got %q, want prefixed, grouped, failed or none", f.output)}
	}
	bare, err := a.barePlace()
	if err != nil {
		return err
	}
	var k *known
	if !f.dryRun && !f.watch && len(extra) == 0 {
		if !a.verbose && !a.json && !f.force && !f.verify {
			if done, err := a.askGuard(ctx, bare, names, f.mode()); done {
				return err
			}
		}
		k = a.openBook(bare)
	}
	if r, done, err := a.knownRun(ctx, bare, k, names, f); done || err != nil {
		return err
	} else if r != nil {
		r.targets = names
		return r.run(ctx)
	}
	began := fresh.Clock()
	p, err := a.load(ctx)
	if err != nil {
		return err
	}
	r := &runner{app: a, flags: f, targets: names, extra: extra}
	w, err := r.workOf(p)
	if err != nil {
		return err
	}
	r.work.Store(w)
	if r.place, err = placeOf(p); err != nil {
		return err
	}
	if f.dryRun {
		return a.dryRun(ctx, r)
	}
	if len(extra) == 0 && !f.watch {
		if err := r.recall(w, k, began, fresh.Request{Key: requestKey(names, f.mode()), Named: w.named, Need: w.need}); err != nil {
			return err
		}
	}
	if len(r.work.Load().need) == 0 {
		return a.nothingToDo(ctx, r.place, r.clean, r.logs)
	}
	return r.run(ctx)
}

// runner is one orrery run: an engine in this process for the tasks, and the
// engine of the checkout for the services that they need.
type runner struct {
	app        *app
	place      control.Place
	flags      runFlags
	targets    []string                           // as they were named
	clean      []string                           // tasks that are needed, too, and known to be as they should
	values     map[string]map[string]string       // of tasks that are clean
	logs       []keptLog                          // what clean tasks printed that were asked for
	learned    func(map[string]task.Result) error // takes what the run has taught; may be nil
	results    results
	extra      []string
	id         string                         // of our hold on the services
	work       atomic.Pointer[work]           // as of the last evaluation
	client     atomic.Pointer[control.Client] // nil: no service is needed
	bound      atomic.Pointer[bind.Binding]   // what the references mean
	screen     *screen
	live       *live // nil: nothing is shown of how far it is
	progress   atomic.Pointer[progress]
	outputs    *outputs
	spawner    announced
	engine     *engine.Engine
	watch      watchedRun
	endCaching func(context.Context)
	record     *history.Recorder
}

// results are those of the tasks that have ended. Safe for concurrent use.
type results struct {
	mu  sync.Mutex
	all map[string]task.Result
}

func (r *results) add(name string, result task.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[string]task.Result{}
	}
	r.all[name] = result
}

// single reports whether the run is about one node.
func (r *runner) single() bool { return len(r.work.Load().need)+len(r.clean) == 1 }

// holder is the name of our own hold on our own engine.
const holder = "run"

// run runs it and keeps the record of that.
func (r *runner) run(ctx context.Context) error {
	r.record = r.beginRecord()
	err := r.carry(ctx)
	r.endRecord(err)
	return err
}

func (r *runner) carry(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	sigs := make(chan os.Signal, 4)
	signal.Notify(sigs, syscall.SIGINT, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // by nohup
		signal.Notify(sigs, syscall.SIGHUP)
	}
	defer signal.Stop(sigs)
	w := r.work.Load()
	r.id, r.screen = runID(), newScreen(r.app, w.need)
	r.outputs = newOutputs(r.screen)
	r.beginLive()
	defer r.live.end()
	r.spawner.tell = r.started
	if err := r.services(ctx, w); err != nil {
		return err
	}
	store, err := logs.Open(r.place.Logs)
	if err != nil {
		return err
	}
	r.engine = engine.New(r.options(w, store))
	sctx, leave := context.WithCancel(ctx)
	defer leave()
	r.watch.stay = sync.OnceFunc(func() { go r.stay(sctx) })
	if r.client.Load() != nil {
		r.watch.stay()
	}
	ectx, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		crashed := true
		defer func() {
			if crashed {
				r.app.outlets.end()
			}
		}()
		r.engine.Run(ectx, 0)
		crashed = false
	}()
	go r.interrupt(ctx, sigs, cancel)
	err = r.follow(ctx)
	leave()
	stop()
	<-ended
	r.endCaching(ctx)
	if r.learned != nil {
		if lerr := r.learned(r.results.all); lerr != nil {
			r.app.say("%v", lerr)
		}
	}
	if r.client.Load() != nil {
		if rerr := r.letGo(); err == nil {
			err = rerr
		}
	}
	return err
}

// interrupt has the run end at the first signal, and this process at the
// second.
func (r *runner) interrupt(ctx context.Context, sigs <-chan os.Signal, cancel context.CancelCauseFunc) {
	first := true
	for {
		select {
		case <-ctx.Done():
			if first {
				return
			}
			ctx = context.WithoutCancel(ctx)
		case sig := <-sigs:
			code := exitError{exitSignal + int(sig.(syscall.Signal))}
			if !first {
				r.live.end()
				os.Exit(code.code)
			}
			first = false
			r.leaving("again to kill")
			cancel(code)
		}
	}
}

// services has the engine of the checkout bring up what the targets need of
// services, with all that these need.
func (r *runner) services(ctx context.Context, w *work) error {
	if len(w.services) == 0 {
		return nil
	}
	ask := func(c *control.Client) error {
		_, err := hold(ctx, c, r.holdOf(w))
		return err
	}
	if c := r.client.Load(); c != nil {
		return ask(c)
	}
	c, _, err := r.app.engage(ctx, starting{w.project, r.place, r.flags.orders("services", r.targets)}, ask)
	if err == nil {
		r.client.Store(c)
	}
	return err
}

// holdOf is what we ask of the engine of the checkout.
func (r *runner) holdOf(w *work) api.Hold {
	return api.Hold{Targets: w.services, Mode: string(r.serviceMode()), Client: r.id, Watch: r.flags.watch, Digest: w.project.Graph.Digest()}
}

// stay mirrors the engine, and follows the one that replaces a killed one. When
// it has ended for good, as by a down, so have the services: nobody may go on
// waiting for them.
func (r *runner) stay(ctx context.Context) {
	for {
		c, mirrored := r.client.Load(), make(chan struct{})
		go func() {
			defer close(mirrored)
			r.mirror(ctx, c)
		}()
		select {
		case <-ctx.Done():
			return
		case <-c.Done():
		}
		<-mirrored
		next, err := follow(ctx, r.place)
		if err == nil {
			_, err = hold(ctx, next, r.holdOf(r.work.Load()))
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			for _, name := range r.work.Load().external {
				r.engine.Mirror(name, engine.Cond{State: "failed", Reason: "was taken down, with the engine that ran it"})
			}
			return
		}
		r.client.Store(next)
		c.Close()
	}
}

// renew takes in what the engine of the checkout has bound since.
func (r *runner) renew(ctx context.Context) error {
	c := r.client.Load()
	if c == nil {
		return nil
	}
	var b api.Bindings
	err := c.Call(ctx, api.MethodBindings, nil, &b)
	if err == nil {
		r.bound.Load().Renew(b.Values)
	}
	return err
}

// bind is what the references of a graph mean: what was known, until the next
// renew.
func (r *runner) bind(g *graph.Graph, store *logs.Store) *bind.Binding {
	known := map[string]string{}
	if former := r.bound.Load(); former != nil {
		known = former.Snapshot()
	}
	b := bind.FromSnapshot(g, dirsOf(r.place, store), known, bind.Options{Environ: os.Environ()})
	for name, values := range r.values {
		b.SetValues(name, values)
	}
	r.bound.Store(b)
	return b
}

func (r *runner) options(w *work, store *logs.Store) engine.Options {
	caching, hashes := r.app.openCaching(r.place, r.flags.remote, 0)
	if caching != nil {
		caching.Force, caching.Verify = r.flags.force, r.flags.verify
	}
	r.endCaching = func(ctx context.Context) {
		trimCache(caching)
		endCaching(ctx, r.place, caching, hashes)
	}
	if r.flags.explain {
		if caching == nil {
			caching = &task.Caching{}
		}
		caching.Explain = r.explained
	}
	local := r.local()
	local.BeforeTask = func(ctx context.Context) error {
		if local.Foreground != "" {
			r.live.end() // the terminal is the task's now
		}
		return r.renew(ctx)
	}
	o := engine.Options{
		Graph: w.project.Graph, Bind: func(g *graph.Graph) *bind.Binding { return r.bind(g, store) },
		Spawner: &r.spawner, Clock: engine.SystemClock{}, Results: engine.Results{Caching: caching, Hashes: hashes, Values: filepath.Join(r.place.Dir, "values")},
		Run: runID(), Local: local,
		Scheduling: engine.Scheduling{Jobs: r.flags.jobs, Expected: historyOf(r.place).Durations(r.expected(w)), KeepGoing: r.flags.keepGoing, MakeFlags: os.Getenv("MAKEFLAGS")},
	}
	if r.flags.watch {
		r.watched(&o)
	}
	return o
}

// expected are the tasks whose durations matter: all, where the graph may change.
func (r *runner) expected(w *work) []string {
	if r.flags.watch {
		return nil
	}
	return w.need
}

// local says which tasks run here, and how.
func (r *runner) local() *engine.Local {
	w := r.work.Load()
	local := &engine.Local{External: r.external, Output: r.outputs.of, AtOnce: true, ExtraArgs: map[string][]string{}, Result: r.results.add, Asked: w.named}
	local.Replay = func(node string) bool { return r.app.verbose || slices.Contains(r.work.Load().asked, node) }
	if len(r.extra) > 0 {
		local.ExtraArgs[w.asked[0]] = r.extra
	}
	if r.alone() {
		local.Foreground = w.asked[0]
	}
	return local
}

// follow runs the targets on our engine and reports.
func (r *runner) follow(ctx context.Context) error {
	e, w := r.engine, r.work.Load()
	r.app.replay(ctx, r.place, r.logs, false)
	if r.alone() && onGitHub() {
		defer shield(os.Stdout)()
	}
	stop, err := e.Events(0, func(ev api.Event) {
		r.event(ev)
		r.watch.heard(ev)
	})
	if err != nil {
		return err
	}
	defer stop()
	if r.flags.watch {
		if _, err := e.HoldWatching(holder, w.named, r.flags.mode()); err != nil {
			return err
		}
		return errors.Join(r.again(ctx), r.release(ctx))
	}
	if _, err := e.Hold(holder, w.need, graph.SelectExact); err != nil {
		return err
	}
	failed, err := e.Settle(ctx, w.need)
	st, _ := e.Status(w.need)
	if len(failed) > 0 || r.app.json || !r.app.quiet {
		st.Nodes = append(st.Nodes, cleanStatus(r.clean)...)
	}
	rerr := r.release(ctx)
	r.leaving("")
	switch {
	case err != nil:
		return err
	case len(failed) > 0:
		return r.failure(st)
	case !r.silent():
		r.summary(st)
		r.outputs.finish() // of failures that were tolerated
	}
	if r.app.json {
		return errors.Join(rerr, r.app.printJSON(st))
	}
	return rerr
}

// release lets go of the tasks and waits until none runs.
func (r *runner) release(ctx context.Context) error {
	if _, err := r.engine.Release(holder, nil, false); err != nil {
		return err
	}
	return r.engine.Gone(context.WithoutCancel(ctx), r.work.Load().need)
}

// mirror tells our engine what the checkout's engine does for us, from its
// state now on.
func (r *runner) mirror(ctx context.Context, c *control.Client) {
	st, err := statusOf(ctx, c, nil)
	if err != nil {
		return
	}
	for _, n := range st.Nodes {
		r.engine.Mirror(n.Name, engine.Cond{State: n.State, Reason: n.Reason})
	}
	c.Stream(ctx, api.MethodEvents, api.Events{Since: st.Seq}, func(raw json.RawMessage) error {
		var ev api.Event
		if err := json.Unmarshal(raw, &ev); err != nil {
			return err
		}
		if ev.State == "failed" || ev.State == "blocked" || ev.State == "gave-up" || r.app.verbose {
			r.screen.event(ev)
		}
		return r.engine.Mirror(ev.Node, engine.Cond{State: ev.State, Reason: ev.Text})
	})
}

// letGo releases the services and waits until those that nobody else holds
// are down.
func (r *runner) letGo() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c := r.client.Load()
	defer c.Close()
	err := c.Call(ctx, api.MethodRelease, api.Release{Client: r.id}, nil)
	var none *control.ErrNoEngine
	if errors.As(err, &none) {
		return nil
	}
	return err
}
