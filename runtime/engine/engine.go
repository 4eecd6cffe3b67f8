// Package engine is the one loop: desired state in, events out. It owns all
// live state of a running graph.
//
// Clients hold targets (Hold); a node that somebody holds, or that a held one
// needs, is wanted. The loop starts a wanted node once every edge of it is
// satisfied, feeds what happens to it into machine.Step, carries out the
// actions, and stops nodes that nobody wants any more, dependents first.
//
// One goroutine (Run) touches the state; there is no mutex. Whatever is slow
// (spawning, waiting, probing, stopping commands, tasks) runs elsewhere and
// reports back by a function posted to the loop. The methods of Engine may be
// called from any goroutine; each is carried out by the loop.
//
// What decides about one service is runtime/machine, what a reference is worth
// runtime/bind, what a process is runtime/proc.
package engine

import (
	"context"
	"errors"
	"io"
	"syscall"
	"time"

	"orrery/lang/graph"
	"orrery/runtime/bind"
	"orrery/runtime/logs"
	"orrery/runtime/proc"
	"orrery/runtime/task"
	"orrery/runtime/watch"
)

// Process is one running instance, as the engine needs it.
type Process interface {
	Pid() int
	Signal(syscall.Signal) error
	SignalGroup(syscall.Signal) error
	// Wait blocks until the main process has ended.
	Wait() proc.Exit
	// KillTree kills all that is left of the tree, until nothing is.
	KillTree(context.Context) error
	Close() error
}

// Spawner starts processes. It is called from many goroutines at a time.
type Spawner interface {
	Spawn(*proc.Spec) (Process, error)
}

// Clock tells the time since an epoch that lasts as long as the machine is up,
// and calls f once after d unless stop is called before.
type Clock interface {
	Now() time.Duration
	Wall() time.Time // the time of day, which may be set
	AfterFunc(d time.Duration, f func()) (stop func())
}

// Options say what an engine runs and with what. All but the last group must
// be set.
type Options struct {
	Graph   *graph.Graph
	Table   *bind.Table                      // only the loop uses it; nil when no service runs here
	Bind    func(*graph.Graph) *bind.Binding // what the references of a graph mean
	Spawner Spawner
	Clock   Clock

	// Load evaluates the project anew, and says what it has read; nil: an edit
	// of the project changes nothing.
	Load func(context.Context) (*graph.Graph, []Input, error)
	// Watch says which files are watched; nil: none.
	Watch *Watching
	// Keeper keeps what must outlive this engine; nil: nothing does.
	Keeper Keeper
	// Logs captures the output of services and tasks; nil: see Local.
	Logs *logs.Store
	// RunDir is the directory under which each service has its notify socket.
	RunDir string
	// Results says how the results of tasks are kept.
	Results Results
	// Run marks the processes of this engine: ORRERY_ID=<Run>/<node>.
	Run string
	// Scheduling says which tasks run, and how many at a time.
	Scheduling
	// Local is set for an orrery run: the tasks run in the invoking process.
	Local *Local
}

// Scheduling says which tasks run, and how many at a time.
type Scheduling struct {
	// Jobs is how many run at a time, with those of the makes in them; 0: the number of processors, or that of the make above.
	Jobs int
	// KeepGoing starts tasks after another one has failed; otherwise what is
	// not yet running then fails as "cancelled". Services do not count.
	KeepGoing bool
	// Expected is how long tasks are likely to take, by name: of those that wait for room, the one with the longest way to
	// the end starts first. What it does not know counts as its median.
	Expected map[string]time.Duration
	// MakeFlags is the MAKEFLAGS that we were started with: the jobserver of a make that it names is joined if it can be
	// reached. Else, and when it is empty, the tasks are given one of ours. Linux only.
	MakeFlags string
}

// Results says how the results of tasks are kept.
type Results struct {
	Caching *task.Caching    // nil: every task is run
	Hashes  *task.FileHashes // remembers those of files
	Values  string           // directory for the values of skipped tasks; empty: none
}

// Watching says where files are watched.
type Watching struct {
	Root    string   // of the project
	Exclude []string // absolute paths that never count: state, logs
	Inputs  []Input  // what the evaluation of the graph has read
}

// Local says what an engine has that runs tasks in a terminal, perhaps beside
// the engine of the checkout.
type Local struct {
	// Output gives the standard output and error of a task; done is called when
	// the task has ended, with how.
	Output func(node string) (out, err io.Writer, done func(task.State))
	// Foreground names the task that gets the terminal: our own descriptors.
	Foreground string
	// ExtraArgs are added to the argv of a task (orrery run T -- ARGS).
	ExtraArgs map[string][]string
	// Asked names the nodes that the run is for: of these, a failure is one even where others only wait for the end.
	Asked []string
	// External names the nodes of a graph that the other engine runs; Mirror
	// tells their state. nil: there are none.
	External func(*graph.Graph) []string
	// Replay says whether the output of a task that is restored is shown again;
	// nil: of none.
	Replay func(node string) bool
	// Result is told how each task has ended, outside of the loop; nil: nobody is.
	Result func(node string, r task.Result)
	// AtOnce has tasks with a schedule run when they are asked for, like any other.
	AtOnce bool
	// BeforeTask is called before a task is bound, outside of the loop: the
	// bindings of the other engine are renewed there. May be nil.
	BeforeTask func(context.Context) error
}

// ErrEnded is the error of a call to an engine whose Run has returned.
var ErrEnded = errors.New("the engine has ended")

// Engine runs one graph. Make it with New.
type Engine struct {
	opt   Options
	mail  chan func()
	ended chan struct{}

	applied
	schedule
	keep    *keep          // nil without a Keeper
	watcher *watch.Watcher // nil when nothing is watched
	nodes   []*node
	byName  map[string]*node
	dirty   []*node // to be considered before the loop sleeps
	holds   map[string]*hold
	log     eventLog
	waits   []*waiter
	closing bool // Run was told to end
	held    bool // something was held, or the idle time is over
}

// applied is the graph that runs, and what its references mean.
type applied struct {
	graph   *graph.Graph
	digest  string // of graph
	bind    *bind.Binding
	loads   int             // evaluations that were begun
	newest  int             // the one that runs; 0: the first
	mirrors map[string]Cond // what the other engine has told of its nodes
}

// schedule is which tasks run and wait.
type schedule struct {
	work    context.Context // of the tasks
	idle    chan func()     // to goroutines that have run tasks
	running int             // tasks that run
	queue   queue           // tasks that only wait for room
	pools   map[string]int  // sizes of the declared pools
	ranked  bool            // the ranks of the tasks are right
	failed  bool            // a task has failed
	tokens  *jobserver      // what it shares with the makes below it, or above; nil: nothing
}

// New makes an engine; nothing runs until Run.
func New(o Options) *Engine {
	e := &Engine{
		opt: o, applied: applied{graph: o.Graph, digest: o.Graph.Digest(), bind: o.Bind(o.Graph)}, mail: make(chan func(), 256), ended: make(chan struct{}),
		byName: make(map[string]*node, len(o.Graph.Nodes)),
		holds:  map[string]*hold{}, schedule: schedule{idle: make(chan func()), queue: newQueue(), pools: poolSizes(o.Graph)},
	}
	if o.Keeper != nil {
		e.keep = newKeep(o.Keeper, func(err error) { e.post(func() { e.say(err.Error()) }) })
		e.keep.put(keptGraph, o.Graph, nil)
	}
	e.nodes = make([]*node, len(o.Graph.Nodes))
	for i, def := range o.Graph.Nodes {
		n := newNode(def, o.Graph)
		e.nodes[i], e.byName[def.Name()] = n, n
	}
	e.outsource()
	return e
}

// Run is the loop. It ends when ctx is done and everything has stopped. With
// an idle time above 0 it also ends when nothing is held and nothing runs: at
// once when something was held before, after that time when nothing ever was.
func (e *Engine) Run(ctx context.Context, idle time.Duration) {
	defer close(e.ended)
	defer e.keep.end()
	e.watchBegin()
	defer e.watchEnd()
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	e.work = work
	e.tokens = newJobserver(e.opt.Scheduling)
	defer e.tokens.close()
	if idle > 0 {
		stop := e.opt.Clock.AfterFunc(idle, func() { e.post(func() { e.held = true }) })
		defer stop()
	}
	done := ctx.Done()
	for {
		e.settle()
		if e.quiet() && (e.closing || idle > 0 && e.held) {
			return
		}
		select {
		case f := <-e.mail:
			f()
			e.drain()
		case <-done:
			done = nil
			e.closing = true
			e.releaseAll()
		}
	}
}

// drain takes what else has come, so that a burst is settled once.
func (e *Engine) drain() {
	for range cap(e.mail) {
		select {
		case f := <-e.mail:
			f()
		default:
			return
		}
	}
}

// settle considers every node that something has happened to, until nothing
// follows any more, and then answers those who wait.
func (e *Engine) settle() {
	for {
		for len(e.dirty) > 0 {
			batch := e.dirty
			e.dirty = nil
			for _, n := range batch {
				n.queued = false
				e.considerInputs(n)
				e.consider(n)
				e.considerWatch(n)
				e.save(n)
				e.prune(n)
			}
		}
		if e.admit(); len(e.dirty) == 0 {
			break
		}
	}
	e.answer()
}

// touch has a node considered before the loop sleeps.
func (e *Engine) touch(n *node) {
	if !n.queued {
		n.queued = true
		e.dirty = append(e.dirty, n)
	}
}

// quiet reports whether nothing is held and nothing runs.
func (e *Engine) quiet() bool {
	if len(e.holds) > 0 {
		return false
	}
	for _, n := range e.nodes {
		if n.live() {
			return false
		}
	}
	return true
}

// post has the loop call f. It never blocks the loop itself: the loop does not
// call it. After the end of Run it does nothing.
func (e *Engine) post(f func()) {
	select {
	case e.mail <- f:
	case <-e.ended:
	}
}

// call has the loop call f, and returns when it has.
func (e *Engine) call(f func()) error {
	done := make(chan struct{})
	e.post(func() {
		defer close(done)
		f()
	})
	select {
	case <-done:
		return nil
	case <-e.ended:
		return ErrEnded
	}
}
