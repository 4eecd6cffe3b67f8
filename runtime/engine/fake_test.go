package engine

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"orrery/lang/graph"
	"orrery/runtime/bind"
	"orrery/runtime/proc"
)

// fakeSpawner starts no process; it writes down what happens, in order.
type fakeSpawner struct {
	mu    sync.Mutex
	log   []string
	procs map[string]*fakeProc // the last of each node
	fail  map[string]error     // by node: Spawn fails
	deaf  map[string]bool      // by node: TERM is ignored
}

func newFakeSpawner() *fakeSpawner {
	return &fakeSpawner{procs: map[string]*fakeProc{}, fail: map[string]error{}, deaf: map[string]bool{}}
}

func (f *fakeSpawner) note(format string, args ...any) {
	f.log = append(f.log, fmt.Sprintf(format, args...))
}

// Spawn makes a process that lives until it is told to end. Tasks (sh) are real.
func (f *fakeSpawner) Spawn(s *proc.Spec) (Process, error) {
	if s.Argv[0] == "sh" {
		return proc.Start(s)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.fail[s.Name]; err != nil {
		return nil, err
	}
	p := &fakeProc{f: f, name: s.Name, pid: 100000 + len(f.log), ended: make(chan struct{})}
	f.procs[s.Name] = p
	f.note("start %s", s.Name)
	return p, nil
}

func (f *fakeSpawner) proc(name string) *fakeProc {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.procs[name]
}

func (f *fakeSpawner) events() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.log...)
}

type fakeProc struct {
	f     *fakeSpawner
	name  string
	pid   int
	once  sync.Once
	exit  proc.Exit
	ended chan struct{}
}

func (p *fakeProc) Pid() int { return p.pid }

func (p *fakeProc) Signal(s syscall.Signal) error { return p.SignalGroup(s) }

func (p *fakeProc) SignalGroup(s syscall.Signal) error {
	p.f.mu.Lock()
	deaf := p.f.deaf[p.name]
	if s != syscall.SIGCONT {
		p.f.note("%s %s", proc.SignalName(s), p.name)
	}
	p.f.mu.Unlock()
	if !deaf && s != syscall.SIGCONT {
		p.die(proc.Exit{Signal: s})
	}
	return nil
}

func (p *fakeProc) die(e proc.Exit) {
	p.once.Do(func() {
		p.f.mu.Lock()
		p.f.note("end %s", p.name)
		p.f.mu.Unlock()
		p.exit = e
		close(p.ended)
	})
}

func (p *fakeProc) Wait() proc.Exit {
	<-p.ended
	return p.exit
}

func (p *fakeProc) KillTree(context.Context) error {
	p.die(proc.Exit{Signal: syscall.SIGKILL})
	return nil
}

func (p *fakeProc) Close() error { return nil }

// fakeClock stands still until it is moved.
type fakeClock struct {
	mu     sync.Mutex
	now    time.Duration
	zero   time.Time // the time of day at 0
	timers map[int]*fakeTimer
	next   int
}

type fakeTimer struct {
	at time.Duration
	f  func()
}

func newFakeClock() *fakeClock { return &fakeClock{timers: map[int]*fakeTimer{}} }

func (c *fakeClock) Now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) AfterFunc(d time.Duration, f func()) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	id := c.next
	c.timers[id] = &fakeTimer{c.now + d, f}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.timers, id)
	}
}

// Wall is the time of day.
func (c *fakeClock) Wall() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.zero.Add(c.now)
}

// set sets the time of day.
func (c *fakeClock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.zero = t.Add(-c.now)
}

// move lets time pass and runs what is due.
func (c *fakeClock) move(d time.Duration) {
	c.mu.Lock()
	c.now += d
	var due []func()
	for id, t := range c.timers {
		if t.at <= c.now {
			due = append(due, t.f)
			delete(c.timers, id)
		}
	}
	c.mu.Unlock()
	for _, f := range due {
		f()
	}
}

// rig is an engine with fakes, running.
type rig struct {
	t     *testing.T
	e     *Engine
	spawn *fakeSpawner
	clock *fakeClock
}

// svc and job are the smallest declarations.
func svc(name string, change ...func(*graph.Service)) *graph.Node {
	s := &graph.Service{
		Common:  graph.Common{Name: name},
		Command: graph.Command{Argv: []graph.Text{graph.Lit("x")}}, Autostart: true,
		Restart:      graph.Restart{Kind: "never"},
		Stop:         graph.Stop{Kind: "signal", Signal: "TERM", Timeout: graph.Duration(10 * time.Second)},
		SuccessCodes: []graph.CleanExit{{}},
		Log:          graph.Log{MaxSize: 1 << 20, Keep: 1},
	}
	for _, f := range change {
		f(s)
	}
	return &graph.Node{Kind: graph.KindService, Service: s}
}

func job(name, script string, change ...func(*graph.Task)) *graph.Node {
	t := &graph.Task{Common: graph.Common{Name: name}, Command: &graph.Command{Argv: []graph.Text{graph.Lit("sh"), graph.Lit("-c"), graph.Lit(script)}}}
	for _, f := range change {
		f(t)
	}
	return &graph.Node{Kind: graph.KindTask, Task: t}
}

func after(deps ...graph.Dep) func(*graph.Service) {
	return func(s *graph.Service) { s.After = append(s.After, deps...) }
}

func newRig(t *testing.T, nodes ...*graph.Node) *rig {
	t.Helper()
	return newRigWith(t, func(*Options) {}, graph.Decl{Nodes: nodes})
}

// newRigWith is for other options and declarations.
func newRigWith(t *testing.T, change func(*Options), d graph.Decl) *rig {
	t.Helper()
	return restoredRig(t, Restored{}, change, d)
}

// restoredRig is one that follows a killed engine.
func restoredRig(t *testing.T, left Restored, change func(*Options), d graph.Decl) *rig {
	t.Helper()
	g, problems := graph.New(d)
	for _, p := range problems {
		t.Fatalf("%s: %s", p.Node, p.Message)
	}
	r := &rig{t: t, spawn: newFakeSpawner(), clock: newFakeClock()}
	dir := t.TempDir()
	dirs := bind.Dirs{Root: dir, State: dir + "/state", Run: dir + "/run", Cache: dir + "/cache"}
	table, err := bind.NewTable(dirs)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Graph: g, Table: table,
		Bind: func(g *graph.Graph) *bind.Binding {
			return bind.New(table, g, bind.Options{Environ: []string{"PATH=/usr/bin:/bin"}})
		},
		Spawner: r.spawn, Clock: r.clock, RunDir: dir + "/n", Run: "test", Scheduling: Scheduling{Jobs: 2},
		Local: &Local{Output: discard},
	}
	change(&o)
	r.e = New(o)
	if len(left.Items) > 0 {
		if err := r.e.Restore(left); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.e.Run(ctx, 0)
	}()
	t.Cleanup(func() {
		cancel()
		r.spawn.mu.Lock()
		clear(r.spawn.deaf)
		r.spawn.mu.Unlock()
		<-done
		table.Close()
	})
	return r
}

// up holds targets and waits until all has settled.
func (r *rig) up(targets ...string) (failed []string) {
	r.t.Helper()
	names, err := r.e.Hold("test", targets, graph.SelectNeeds)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.settle(names...)
}

func (r *rig) settle(names ...string) (failed []string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	bad, err := r.e.Settle(ctx, names)
	if err != nil {
		st, _ := r.e.Status(nil)
		r.t.Fatalf("not settled: %v\n%+v", err, st.Nodes)
	}
	for _, b := range bad {
		failed = append(failed, b.Name+" "+b.State)
	}
	return failed
}

// down releases all and waits until nothing runs.
func (r *rig) down() {
	r.t.Helper()
	freed, err := r.e.Release("test", nil, false)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := r.e.Gone(ctx, freed); err != nil {
		r.t.Fatal(err)
	}
}

// until waits for the state of a node.
func (r *rig) until(name, state string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := r.e.wait(ctx, []string{name}, func(n *node) bool { return n.show.State == state }); err != nil {
		st, _ := r.e.Status([]string{name})
		r.t.Fatalf("%s is not %s: %+v", name, state, st.Nodes)
	}
}
