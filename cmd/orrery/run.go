package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"orrery/lang"
	"orrery/lang/graph"
	"orrery/runtime/bind"
	"orrery/runtime/control"
	"orrery/runtime/control/api"
	"orrery/runtime/engine"
	"orrery/runtime/fresh"
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
	engineFlags
}

func runCommand(a *app) *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run TARGET... [-- ARGS]",
		Short: "Run tasks with what they need",
		Long: `Runs tasks with what they need, in this process. Services that they need are
used as they are when they run already; those that this command started are
stopped after. ARGS are added to the command of the one task named.`,
		Example: `  orrery run test
  orrery run test -- -run TestOrders -v
  orrery run lint build -j 4 --keep-going`,
		RunE: func(c *cobra.Command, args []string) error {
			debug.SetGCPercent(400) // it lives shortly
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
	fl.BoolVar(&f.verify, "verify", false, "run everything twice, and fail where the results differ")
	fl.BoolVar(&f.dryRun, "dry-run", false, "only say what would run")
	f.add(c)
	c.MarkFlagsMutuallyExclusive("only", "with-dependents", "all")
	return c
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
	bare, err := a.barePlace()
	if err != nil {
		return err
	}
	var k *known
	if !f.dryRun && len(extra) == 0 {
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
		return r.run(ctx)
	}
	began := fresh.Clock()
	p, err := a.load(ctx)
	if err != nil {
		return err
	}
	named, err := a.runTargets(p.Graph, names, extra, f)
	if err != nil {
		return err
	}
	need, err := p.Graph.Need(named, f.mode())
	if err != nil {
		return err
	}
	if f.dryRun {
		return a.dryRun(p.Graph, need)
	}
	place, err := placeOf(p)
	if err != nil {
		return err
	}
	r := &runner{app: a, project: p, place: place, flags: f, need: need, extra: extra}
	r.asked = byName(named, names)
	if len(extra) > 0 {
		r.asked = named
	}
	if len(extra) == 0 {
		if err := r.recall(k, began, fresh.Request{Key: requestKey(names, f.mode()), Named: named, Need: need}); err != nil {
			return err
		}
	}
	if len(r.need) == 0 {
		return a.nothingToDo(ctx, place, r.clean, r.logs)
	}
	return r.run(ctx)
}

// byName are the nodes that were named themselves, rather than by a group, a subtree or a default.
func byName(nodes, names []string) []string {
	return slices.DeleteFunc(slices.Clone(nodes), func(n string) bool { return !slices.Contains(names, n) })
}

// runTargets are the targets of a run: as named, or the project's default.
func (a *app) runTargets(g *graph.Graph, names, extra []string, f runFlags) ([]string, error) {
	named, err := g.Expand(names)
	if len(names) == 0 {
		named = g.Project.Default
		if f.all {
			for _, n := range g.Nodes {
				if n.Kind == graph.KindTask {
					named = append(named, n.Name())
				}
			}
		}
		err = nil
	}
	if err != nil {
		return nil, err
	}
	if len(named) == 0 {
		return nil, usageError{errors.New("run needs a target: name one, or give the project a default")}
	}
	if len(extra) > 0 && (len(named) != 1 || g.Node(named[0]) == nil || g.Node(named[0]).Kind != graph.KindTask) {
		return nil, usageError{errors.New("arguments after -- need exactly one task as the target")}
	}
	return named, nil
}

func (a *app) dryRun(g *graph.Graph, need []string) error {
	type step struct {
		Name string `json:"name"`
		Kind string `json:"kind"`
	}
	steps := []step{}
	want := map[string]bool{}
	for _, n := range need {
		want[n] = true
	}
	for _, name := range g.Order() {
		if want[name] {
			steps = append(steps, step{name, string(g.Node(name).Kind)})
		}
	}
	if a.json {
		return a.printJSON(steps)
	}
	for _, s := range steps {
		fmt.Printf("%-7s %s\n", s.Kind, s.Name)
	}
	return nil
}

// runner is one orrery run: an engine in this process for the tasks, and the
// engine of the checkout for the services that they need.
type runner struct {
	app        *app
	project    *lang.Project
	place      control.Place
	flags      runFlags
	asked      []string                           // tasks that were named, not those that a default or --all stands for
	need       []string                           // what is to be looked at
	clean      []string                           // tasks that are needed, too, and known to be as they should
	values     map[string]map[string]string       // of tasks that are clean
	logs       []keptLog                          // what clean tasks printed that were asked for
	learned    func(map[string]task.Result) error // takes what the run has taught; may be nil
	results    results
	extra      []string
	client     atomic.Pointer[control.Client] // nil: no service is needed
	hold       api.Hold
	external   []string // what the checkout's engine runs for us
	screen     *screen
	engine     *engine.Engine
	endCaching func()
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
func (r *runner) single() bool { return len(r.need)+len(r.clean) == 1 }

// holder is the name of our own hold on our own engine.
const holder = "run"

func (r *runner) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	sigs := make(chan os.Signal, 4)
	signal.Notify(sigs, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(sigs)
	r.screen = newScreen(r.app, r.need)
	if err := r.services(ctx); err != nil {
		return err
	}
	b, err := r.bindings(ctx)
	if err != nil {
		return err
	}
	r.engine = engine.New(r.options(b))
	ectx, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.engine.Run(ectx, 0)
	}()
	go r.interrupt(ctx, sigs, cancel)
	err = r.follow(ctx)
	stop()
	<-ended
	r.endCaching()
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
				os.Exit(code.code)
			}
			first = false
			cancel(code)
		}
	}
}

// services has the engine of the checkout bring up what the targets need of
// services, with all that these need.
func (r *runner) services(ctx context.Context) error {
	g := r.project.Graph
	var services []string
	for _, name := range r.need {
		if g.Node(name).Kind == graph.KindService {
			services = append(services, name)
		}
	}
	if len(services) == 0 {
		return nil
	}
	mode := graph.SelectNeeds
	if r.flags.only {
		mode = graph.SelectOnly
	}
	external, err := g.Need(services, mode)
	if err != nil {
		return err
	}
	r.external = external
	c, _, err := r.app.connectOrStart(ctx, r.project, r.place, r.flags.strictPorts(), r.flags.jobs)
	if err != nil {
		return err
	}
	r.client.Store(c)
	r.hold = api.Hold{Targets: services, Mode: string(mode), Client: runID(), Digest: g.Digest()}
	_, err = hold(ctx, c, r.hold)
	return err
}

// stay mirrors the engine, and follows the one that replaces a killed one.
func (r *runner) stay(ctx context.Context) {
	for {
		c := r.client.Load()
		go r.mirror(ctx, c)
		select {
		case <-ctx.Done():
			return
		case <-c.Done():
		}
		next, err := redial(ctx, r.place)
		if err != nil {
			return // its tasks say that the services are gone
		}
		if _, err := hold(ctx, next, r.hold); err != nil {
			r.app.say("cannot hold the services again: %v", err)
			return
		}
		r.client.Store(next)
		c.Close()
	}
}

// bindings are the values that references have: those of the checkout's engine
// when there is one.
func (r *runner) bindings(ctx context.Context) (*bind.Binding, error) {
	store, err := logs.Open(r.place.Logs)
	if err != nil {
		return nil, err
	}
	var snapshot api.Bindings
	if c := r.client.Load(); c != nil {
		if err := c.Call(ctx, api.MethodBindings, nil, &snapshot); err != nil {
			return nil, err
		}
	}
	b := bind.FromSnapshot(r.project.Graph, dirsOf(r.place, store), snapshot.Values, bind.Options{Environ: os.Environ()})
	for name, values := range r.values {
		b.SetValues(name, values)
	}
	return b, nil
}

func (r *runner) options(b *bind.Binding) engine.Options {
	caching, hashes := r.app.openCaching(r.place)
	if caching != nil {
		caching.Force, caching.Verify = r.flags.force, r.flags.verify
	}
	r.endCaching = func() {
		trimCache(caching)
		endCaching(caching, hashes)
	}
	local := &engine.Local{External: r.external, Output: r.output, AtOnce: true, ExtraArgs: map[string][]string{}, Result: r.results.add}
	local.Replay = func(node string) bool { return r.app.verbose || slices.Contains(r.asked, node) }
	if len(r.extra) > 0 {
		local.ExtraArgs[r.asked[0]] = r.extra
	}
	if len(r.need)+len(r.clean)-len(r.external) == 1 && len(r.asked) == 1 {
		local.Foreground = r.asked[0]
	}
	if r.client.Load() != nil {
		local.BeforeTask = func(ctx context.Context) error {
			var snapshot api.Bindings
			if err := r.client.Load().Call(ctx, api.MethodBindings, nil, &snapshot); err != nil {
				return err
			}
			b.Renew(snapshot.Values)
			return nil
		}
	}
	return engine.Options{
		Graph: r.project.Graph, Bind: func(*graph.Graph) *bind.Binding { return b },
		Spawner: direct{}, Clock: engine.SystemClock{}, Results: engine.Results{Caching: caching, Hashes: hashes, Values: filepath.Join(r.place.Dir, "values")},
		Run: runID(), Jobs: r.flags.jobs, KeepGoing: r.flags.keepGoing, Local: local,
	}
}

// output gives a task its prefixed lines on our standard output.
func (r *runner) output(node string) (out, errOut io.Writer, done func()) {
	show := func(text []byte) { r.screen.line(logs.Line{Node: node, Text: text}) }
	o, e := &lines{show: show}, &lines{show: show}
	return o, e, func() {
		o.flush()
		e.flush()
	}
}

// lines cuts a stream into lines. Not safe for concurrent use.
type lines struct {
	show func([]byte)
	rest []byte
}

// Write shows the lines that are complete.
func (l *lines) Write(b []byte) (int, error) {
	n := len(b)
	for {
		i := indexByte(b, '\n')
		if i < 0 {
			l.rest = append(l.rest, b...)
			return n, nil
		}
		l.show(append(l.rest, b[:i]...))
		l.rest, b = nil, b[i+1:]
	}
}

func (l *lines) flush() {
	if len(l.rest) > 0 {
		l.show(l.rest)
		l.rest = nil
	}
}

func indexByte(b []byte, c byte) int {
	for i := range b {
		if b[i] == c {
			return i
		}
	}
	return -1
}

// follow runs the targets on our engine and reports.
func (r *runner) follow(ctx context.Context) error {
	e := r.engine
	quiet := r.single() && !r.app.verbose
	r.app.replay(ctx, r.place, r.logs, false)
	stop, err := e.Events(0, func(ev api.Event) {
		if !quiet && !r.isExternal(ev.Node) {
			r.screen.event(ev)
		}
	})
	if err != nil {
		return err
	}
	defer stop()
	if _, err := e.Hold(holder, r.need, graph.SelectExact); err != nil {
		return err
	}
	if r.client.Load() != nil {
		sctx, leave := context.WithCancel(ctx)
		defer leave()
		go r.stay(sctx)
	}
	failed, err := e.Settle(ctx, r.need)
	st, _ := e.Status(r.need)
	st.Nodes = append(st.Nodes, cleanStatus(r.clean)...)
	_, rerr := e.Release(holder, nil, false)
	if rerr == nil {
		rerr = e.Gone(context.WithoutCancel(ctx), r.need)
	}
	switch {
	case err != nil:
		return err
	case len(failed) > 0:
		return r.failure(st)
	case !quiet:
		r.screen.summary(st)
	}
	if r.app.json {
		return errors.Join(rerr, r.app.printJSON(st))
	}
	return rerr
}

func (r *runner) isExternal(name string) bool {
	for _, x := range r.external {
		if x == name {
			return true
		}
	}
	return false
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

// failure reports what failed, and passes on the code of the one task that was
// asked for.
func (r *runner) failure(st api.Status) error {
	var store *logs.Store
	if r.client.Load() != nil {
		store, _ = logs.Open(r.place.Logs)
	}
	if r.app.json {
		r.app.printJSON(st)
	}
	if !r.single() || r.client.Load() != nil {
		r.screen.failures(st, store)
	}
	for _, n := range st.Nodes {
		if len(r.asked) != 1 || n.Name != r.asked[0] || n.State != "failed" {
			continue
		}
		if r.single() {
			fmt.Fprintf(os.Stderr, "%s %s failed: %s\n", r.app.paint(red, "✗"), n.Name, n.Reason)
		}
		if n.Exit != nil && n.Exit.Signal == "" && n.Exit.Code != 0 {
			return exitError{n.Exit.Code}
		}
	}
	return exitError{exitFailed}
}

// letGo releases the services and waits until those that nobody else holds
// are down.
func (r *runner) letGo() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c := r.client.Load()
	defer c.Close()
	err := c.Call(ctx, api.MethodRelease, api.Release{Client: r.hold.Client}, nil)
	var none *control.ErrNoEngine
	if errors.As(err, &none) {
		return nil
	}
	return err
}
