package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"orrery/lang"
	"orrery/lang/graph"
	"orrery/runtime/control"
	"orrery/runtime/control/api"
	"orrery/runtime/logs"
)

// engineFlags are what up and run tell the engine that they start.
type engineFlags struct {
	strict   bool
	noStrict bool
	jobs     int
}

func (f *engineFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.BoolVar(&f.strict, "strict-ports", false, "fail when a port is taken rather than use another one")
	fl.BoolVar(&f.noStrict, "no-strict-ports", false, "use another port when one is taken, also for strict ones")
	fl.IntVarP(&f.jobs, "jobs", "j", 0, "`N` jobs at a time, of tasks and of the makes in them (default: the number of processors)")
	c.MarkFlagsMutuallyExclusive("strict-ports", "no-strict-ports")
}

// strictPorts is what was said of ports; nil: nothing.
func (f *engineFlags) strictPorts() *bool {
	if f.strict || f.noStrict {
		return &f.strict
	}
	return nil
}

// orders are what an engine is told that is started for a verb and its targets.
func (f *engineFlags) orders(verb string, targets []string) orders {
	return orders{Strict: f.strictPorts(), Jobs: f.jobs, Verb: verb, Targets: targets}
}

// upFlags are the flags of up.
type upFlags struct {
	detach bool
	wait   string
	only   bool
	all    bool
	engineFlags
	ui      string
	manager string
}

func upCommand(a *app) *cobra.Command {
	var f upFlags
	c := &cobra.Command{
		Use:   "up [TARGET...]",
		Short: "Build, start and look after targets and what they need",
		Long: `Builds, starts and looks after targets and what they need: named nodes, groups or
subtrees; none named: the project's default, else all services with autostart, and
every task with a schedule, which runs at its times and not when up begins.

In the foreground it shows what they print; the first ^C stops all that it
started, dependents first, the second at once. A second "up" joins the engine
that runs already and releases only what is its own.

With --manager another program looks after the services: orrery runs the tasks that
they wait for, allocates the ports, writes the program's file to .orrery/manager and
becomes it. It knows process-compose, overmind, hivemind, honcho, foreman, goreman
and mprocs; what they cannot do is said.

On a terminal the last lines tell how far it is and what is waited for, and the
lines above them scroll as always. Elsewhere, and under CI or with --ui=plain, a
line says what is waited for after 30 s of silence, then after twice that, and so
on; ORRERY_HEARTBEAT=TIME is another time, 0 never. -q leaves all that and our own
lines but for failures, -v adds the changes of state that go without saying.

With --json it prints an event a line while it is in the foreground, and with -d
--wait the status.`,
		Example: `  orrery up                  everything, in the foreground
  orrery up web worker       these and what they need
  orrery up -d --wait=60s    in the background; fails when it is not ready in time`,
		RunE: func(c *cobra.Command, args []string) error {
			return a.up(c.Context(), args, f)
		},
	}
	fl := c.Flags()
	fl.BoolVarP(&f.detach, "detach", "d", false, "in the background, until down")
	fl.StringVar(&f.wait, "wait", "", "with -d: return when all is ready; `TIME` at most")
	fl.Lookup("wait").NoOptDefVal = "120s"
	fl.BoolVar(&f.only, "only", false, "the targets alone, not what they need")
	fl.BoolVar(&f.all, "all", false, "also what is downstream of the targets")
	f.add(c)
	fl.StringVar(&f.manager, "manager", "", "have another process manager run the services: `NAME` is "+strings.Join(managerNames(), ", "))
	c.MarkFlagsMutuallyExclusive("manager", "detach")
	c.RegisterFlagCompletionFunc("manager", cobra.FixedCompletions(managerNames(), cobra.ShellCompDirectiveNoFileComp))
	fl.StringVar(&f.ui, "ui", "auto", "what is shown: `KIND` is auto, stream, plain or none (stream: a footer under CI, too; plain: no footer; none: no output of nodes)")
	c.MarkFlagsMutuallyExclusive("only", "all")
	return c
}

func (f *upFlags) mode() string {
	switch {
	case f.only:
		return string(graph.SelectOnly)
	case f.all:
		return string(graph.SelectAll)
	}
	return string(graph.SelectNeeds)
}

func (a *app) up(ctx context.Context, names []string, f upFlags) error {
	switch f.ui {
	case "auto", "stream", "plain", "none":
	default:
		return usageError{fmt.Errorf("--ui: got %q, want auto, stream, plain or none", f.ui)}
	}
	if f.wait != "" && !f.detach {
		return usageError{fmt.Errorf("--wait goes with -d: in the foreground up waits anyway")}
	}
	wait, err := waitTime(f.wait)
	if err != nil {
		return err
	}
	p, err := a.load(ctx)
	if err != nil {
		return err
	}
	need, err := p.Graph.Need(names, graph.Selection(f.mode()))
	if err != nil {
		return err
	}
	if len(need) == 0 {
		return hinted{fmt.Errorf("there is nothing to bring up"), "declare a service, or name a target"}
	}
	place, err := placeOf(p)
	if err != nil {
		return err
	}
	if f.manager != "" {
		return a.upManaged(ctx, p, place, names, f)
	}
	u := &upRun{app: a, project: p, place: place, targets: names, flags: f}
	if f.detach {
		return u.detached(ctx, wait)
	}
	return u.foreground(ctx, need)
}

// upRun is one orrery up.
type upRun struct {
	app     *app
	project *lang.Project
	place   control.Place
	targets []string
	flags   upFlags
}

// engine has the engine, or one that it starts, carry out what is asked, and
// says when it was there.
func (u *upRun) engine(ctx context.Context, ask func(*control.Client) error) (*control.Client, error) {
	c, started, err := u.app.engage(ctx, starting{u.project, u.place, u.flags.orders("up", u.targets)}, ask)
	if err == nil && !started {
		u.app.say("joined the engine that runs already (pid %d)", c.PID())
	}
	return c, err
}

// detached has the engine hold the targets for good.
func (u *upRun) detached(ctx context.Context, wait time.Duration) error {
	a, f, began := u.app, u.flags, time.Now()
	var held []string
	take := func(c *control.Client) (err error) {
		held, err = hold(ctx, c, api.Hold{Targets: u.targets, Mode: f.mode(), Detach: true, Digest: u.project.Graph.Digest()})
		return err
	}
	c, err := u.engine(ctx, take)
	if err != nil {
		return err
	}
	defer func() { c.Close() }() // of the engine that answered
	if f.wait == "" {
		a.say("starting %d in the background; orrery status shows them, orrery down stops them", len(held))
		return nil
	}
	first, end := c, a.watchNodes(ctx, c, held)
	err = persist(ctx, u.place, &c, func(c *control.Client) error {
		if c != first { // the one that took the hold was killed, perhaps before it had written it down
			if err := take(c); err != nil {
				return err
			}
		}
		return c.Call(ctx, api.MethodWait, api.Wait{Targets: held, TimeoutMS: wait.Milliseconds()}, nil)
	})
	end()
	st, serr := statusOf(ctx, c, held)
	if serr == nil {
		s := newScreen(a, held)
		s.began = began
		if err != nil {
			store, _ := logs.Open(u.place.Logs)
			s.failures(st, store)
		} else {
			s.summary(st)
		}
		if a.json {
			a.printJSON(st)
		}
	}
	return err
}

// session is one foreground client: it holds targets, shows what happens, and
// lets go.
type session struct {
	app    *app
	client *control.Client
	screen *screen
	live   *live
	nodes  *progress
	store  *logs.Store
	drain  func() // shows what the nodes have printed by now, and nothing more
	hold   api.Hold
	names  []string
	since  uint64 // events before it were not ours
	ready  bool
	last   bool // nobody else holds anything
}

// foreground shows what happens until a signal, or until all has ended.
func (u *upRun) foreground(ctx context.Context, need []string) error {
	sigs := make(chan os.Signal, 8)
	signal.Notify(sigs, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(sigs)
	if err := u.place.Make(); err != nil {
		return err
	}
	store, err := logs.Open(u.place.Logs)
	if err != nil {
		return err
	}
	s := &session{app: u.app, store: store, names: need, screen: newScreen(u.app, need)}
	s.nodes = newProgress(need)
	s.nodes.serves, s.nodes.hint = true, "^C stops"
	s.live = u.app.follow(liveOptions{ui: u.flags.ui}, s.nodes.board)
	defer s.live.end()
	s.drain = func() {}
	if u.flags.ui != "none" {
		s.drain = sync.OnceFunc(s.screen.follow(store, need))
		defer s.drain()
	}
	s.hold = api.Hold{Targets: u.targets, Mode: u.flags.mode(), Client: runID(), Digest: u.project.Graph.Digest()}
	begin := func(c *control.Client) error { return s.begin(ctx, c) }
	c, err := u.engine(ctx, begin)
	for err == nil {
		err = s.attend(ctx, sigs)
		if !errors.Is(err, errLost) {
			break
		}
		for errors.Is(err, errLost) {
			if c, err = follow(ctx, u.place); err != nil {
				return err
			}
			if err = s.lost(begin(c)); err != nil {
				c.Close()
			}
		}
		if err == nil {
			u.app.say("the engine was replaced (pid %d); nothing was stopped", c.PID())
		}
	}
	if s.last {
		u.ended(ctx)
	}
	return err
}

// ended waits for the engine that nobody holds anything on any more, so that
// what follows an up finds nothing of it. Only the lock tells.
func (u *upRun) ended(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for {
		if _, running, err := u.place.Running(); !running || err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// begin holds the targets over a connection.
func (s *session) begin(ctx context.Context, c *control.Client) error {
	st, err := statusOf(ctx, c, nil)
	if err != nil {
		return err
	}
	names, err := hold(ctx, c, s.hold)
	if s.last = err != nil; s.last { // an engine that holds nothing is about to end
		return err
	}
	s.client, s.since, s.names = c, st.Seq, names
	s.nodes.seed(st)
	s.live.changed()
	return nil
}

// attend shows what happens to what was begun until the connection ends, or all
// does.
func (s *session) attend(ctx context.Context, sigs <-chan os.Signal) error {
	defer s.client.Close()
	ectx, unwatch := context.WithCancel(ctx)
	watched := s.watch(ectx, s.since)
	err := s.run(ctx, sigs)
	unwatch()
	if ended := <-watched; ended == nil && errors.Is(err, errLost) {
		s.app.say("stopped from elsewhere")
		return nil
	}
	return err
}

// lost is errLost for an error that says so.
func (s *session) lost(err error) error {
	var none *control.ErrNoEngine
	if errors.As(err, &none) {
		return errLost
	}
	return err
}

// watch shows the events of our nodes until ctx ends; no error means that the
// engine has ended in order.
func (s *session) watch(ctx context.Context, since uint64) (ended <-chan error) {
	ours := make(map[string]bool, len(s.names))
	for _, n := range s.names {
		ours[n] = true
	}
	done := make(chan error, 1)
	go func() {
		done <- s.client.Stream(ctx, api.MethodEvents, api.Events{Since: since}, func(raw json.RawMessage) error {
			var ev api.Event
			if err := json.Unmarshal(raw, &ev); err != nil {
				return err
			}
			if s.nodes.event(ev) {
				s.live.changed()
			}
			if ours[ev.Node] || ev.Node == "" {
				s.screen.event(ev)
				if s.app.json {
					os.Stdout.Write(append(bytes.TrimSpace(raw), '\n')) // an event a line; who reads no more is no reason to end
				}
			}
			return nil
		})
	}()
	return done
}

// run waits until all is ready, then until a signal, the end of the engine, or
// the end of everything.
func (s *session) run(ctx context.Context, sigs <-chan os.Signal) error {
	settled := make(chan error, 1)
	go func() { settled <- s.client.Call(ctx, api.MethodWait, api.Wait{Targets: s.names}, nil) }()
	over := make(chan error, 1)
	go func() { over <- s.gone(ctx) }()
	for {
		select {
		case err := <-settled:
			if errors.Is(s.lost(err), errLost) {
				return errLost
			}
			if err != nil {
				return s.failed(ctx, sigs, err)
			}
			shown := s.ready
			s.ready = true
			if shown {
				continue
			}
			if st, err := statusOf(ctx, s.client, s.names); err == nil {
				s.screen.summary(st)
			}
		case err := <-over:
			if errors.Is(s.lost(err), errLost) {
				return errLost
			}
			s.app.say("nothing runs any more")
			return s.outcome(ctx)
		case sig := <-sigs:
			return s.interrupted(ctx, sigs, sig)
		case <-s.client.Done():
			return errLost
		}
	}
}

// gone returns when all has settled and nothing of it runs any more.
func (s *session) gone(ctx context.Context) error {
	if err := s.client.Call(ctx, api.MethodWait, api.Wait{Targets: s.names}, nil); err != nil {
		<-s.client.Done() // reported by whoever waits for it
		return err
	}
	return s.client.Call(ctx, api.MethodGone, api.Names{Names: s.names}, nil)
}

// outcome is how a session ends whose nodes have all ended by themselves.
func (s *session) outcome(ctx context.Context) error {
	st, err := statusOf(ctx, s.client, s.names)
	if err != nil {
		return nil // stopped by a down from elsewhere
	}
	for _, n := range st.Nodes {
		if failedState(n) {
			s.drain()
			s.screen.failures(st, s.store)
			return exitError{exitFailed}
		}
	}
	return nil
}

// failed reports, lets go of everything, and waits until it is down.
func (s *session) failed(ctx context.Context, sigs <-chan os.Signal, cause error) error {
	st, err := statusOf(ctx, s.client, s.names)
	if err != nil {
		return cause
	}
	if err := s.letGo(ctx, sigs); err != nil {
		return err
	}
	s.drain()
	s.screen.failures(st, s.store)
	var wire *control.Error
	if errors.As(cause, &wire) && (wire.Code == control.CodeFailed || wire.Code == control.CodeGaveUp) {
		return exitError{exitFailed}
	}
	return cause
}

// echo is the time in which a second signal is taken for the first one: timeout,
// npm and others send it to the process and again to its group.
const echo = 250 * time.Millisecond

// letGo releases what we hold and waits until what nobody else holds is down;
// a signal meanwhile makes it happen at once.
func (s *session) letGo(ctx context.Context, sigs <-chan os.Signal) error {
	began := time.Now()
	s.nodes.end("^C kills")
	s.live.changed()
	done := make(chan error, 2)
	go func() { done <- s.client.Call(ctx, api.MethodRelease, api.Release{Client: s.hold.Client}, nil) }()
	for {
		select {
		case err := <-done:
			var none *control.ErrNoEngine
			if errors.As(err, &none) {
				return nil // it ended when nothing was left
			}
			if st, serr := statusOf(ctx, s.client, nil); serr == nil {
				s.last = st.Progress.Total == 0
			}
			return err
		case sig := <-sigs:
			if time.Since(began) < echo {
				continue
			}
			s.app.say("killing what is left")
			go func() {
				done <- s.client.Call(ctx, api.MethodRelease, api.Release{Client: s.hold.Client, Now: true}, nil)
			}()
			<-done
			return exitError{exitSignal + int(sig.(syscall.Signal))}
		}
	}
}

// interrupted is the first signal: a clean stop, with 0 when all was ready.
func (s *session) interrupted(ctx context.Context, sigs <-chan os.Signal, sig os.Signal) error {
	s.app.say("stopping (again to kill)")
	if !s.ready { // the news may be on its way
		s.ready = s.client.Call(ctx, api.MethodWait, api.Wait{Targets: s.names, TimeoutMS: 1}, nil) == nil
	}
	if err := s.letGo(ctx, sigs); err != nil {
		return err
	}
	if s.ready {
		return nil
	}
	return exitError{exitSignal + int(sig.(syscall.Signal))}
}

// waitTime reads a time limit; bare seconds are taken too.
func waitTime(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return d, nil
	}
	if d, err := time.ParseDuration(s + "s"); err == nil && d > 0 {
		return d, nil
	}
	return 0, usageError{fmt.Errorf("got %q, want a time such as 30s or 2m", s)}
}
