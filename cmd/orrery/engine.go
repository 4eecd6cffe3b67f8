package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
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
	"orrery/runtime/history"
	"orrery/runtime/keeper"
	"orrery/runtime/logs"
	"orrery/runtime/proc"
)

// engineVerb is the hidden verb of the engine process.
const engineVerb = "__engine"

// idleGrace is how long an engine that nobody has held yet stays.
const idleGrace = 10 * time.Second

// orders are what a client tells the engine process that it starts, on its
// standard input.
type orders struct {
	source
	Strict *bool `json:"strict,omitempty"`
	Jobs   int   `json:"jobs,omitempty"`
	// Verb and Targets are what the record of the run says that it is for.
	Verb    string   `json:"verb,omitempty"`
	Targets []string `json:"targets,omitempty"`
}

// refusal is why an engine does not serve.
type refusal struct {
	Error string `json:"error,omitempty"`
	Code  string `json:"code,omitempty"`
}

func engineCommand(*app) *cobra.Command {
	return &cobra.Command{
		Use: engineVerb, Hidden: true, Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return serveEngine() },
	}
}

// startEngine starts the keeper of a place, which starts the engine, and waits
// until it serves. One that another client has just started is as good.
func startEngine(ctx context.Context, place control.Place, o orders) error {
	if err := place.Make(); err != nil {
		return err
	}
	in, err := json.Marshal(o)
	if err != nil {
		return err
	}
	verdict, err := keeper.Start(ctx, keeper.Orders{
		Args: []string{engineVerb}, Stdin: in, Dir: place.Root,
		Log: filepath.Join(place.Dir, "engine.log"), Run: runID(),
	})
	if !errors.Is(err, keeper.ErrRefused) {
		return err
	}
	var v refusal
	if err := json.Unmarshal(verdict, &v); err != nil {
		return fmt.Errorf("cannot read the engine's answer %q", verdict)
	}
	if v.Code == codeRunning {
		return nil
	}
	return &control.Error{Code: v.Code, Message: v.Error}
}

// codeRunning says that another engine came first.
const codeRunning = "running"

// serveEngine is the engine process: it takes the checkout's lock, evaluates
// the project or goes on with what a killed engine has left, and serves clients
// until nothing is held any more.
func serveEngine() error {
	// Swallowed rather than ignored: children would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	client, state, err := keeper.Connect(os.NewFile(keeper.FD, "keeper"))
	if err != nil {
		return err
	}
	go func() {
		<-client.Lost()
		sweep, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		client.Sweep(sweep)
		os.Exit(exitInternal)
	}()
	h := &house{keeper: kept{client}}
	if err := h.open(ctx, state); err != nil {
		answer, _ := json.Marshal(refusalOf(err))
		return errors.Join(err, client.Refuse(answer))
	}
	return h.serve(ctx)
}

func refusalOf(err error) refusal {
	v := refusal{Error: err.Error(), Code: control.CodeInternal}
	var running *control.ErrRunning
	var load lang.Errors
	switch {
	case errors.As(err, &running):
		v.Code = codeRunning
	case errors.As(err, &load):
		v.Code, v.Error = control.CodeLoad, load.Error()
	}
	return v
}

// house is an engine process: the engine and all that it works with.
type house struct {
	keeper     kept
	place      control.Place
	lock       *control.Lock
	listener   net.Listener
	table      *bind.Table
	engine     *engine.Engine
	self       api.Engine
	catchUp    bool // the project may have been edited while no engine ran
	endCaching func()
	graph      atomic.Pointer[graph.Graph] // that was evaluated last
	record     *history.Recorder           // nil: it cannot be written
}

// What the house itself has kept.
const (
	keptLock   = "lock"
	keptSocket = "socket"
)

// open makes the engine: anew, or with what another one has left.
func (h *house) open(ctx context.Context, state *keeper.State) error {
	var o orders
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return fmt.Errorf("cannot read the orders: %w", err)
	}
	left := restored(state)
	p, err := projectOf(ctx, o, left)
	if err != nil {
		return err
	}
	if h.place, err = placeOf(p); err != nil {
		return err
	}
	if err := h.enter(ctx, left); err != nil {
		return err
	}
	if err := h.furnish(p, o); err != nil {
		return err
	}
	if len(left.Items) > 0 {
		if err := h.engine.Restore(left); err != nil {
			fmt.Fprintln(os.Stderr, "orrery:", err)
		}
		h.catchUp = true
	}
	return nil
}

// projectOf evaluates the project, or takes the graph that was applied: the
// files may have been edited since.
func projectOf(ctx context.Context, o orders, left engine.Restored) (*lang.Project, error) {
	item, ok := left.Items[engine.GraphKey]
	if !ok {
		return loadFile(ctx, o.source)
	}
	g := new(graph.Graph)
	if err := json.Unmarshal(item.Blob, g); err != nil {
		return nil, fmt.Errorf("cannot read the applied graph: %w", err)
	}
	return &lang.Project{Graph: g, File: o.File, Root: filepath.Dir(o.File)}, nil
}

// enter takes the lock and the control socket, or takes them over, and has
// them kept, so that no other engine comes in between and no client is refused.
func (h *house) enter(ctx context.Context, left engine.Restored) error {
	var err error
	if item, ok := left.Items[keptLock]; ok && len(item.Files) == 1 {
		h.lock, err = h.place.Adopt(item.Files[0])
	} else if h.lock, err = control.Acquire(h.place); err == nil {
		err = h.sweepFormer(ctx)
	}
	if err != nil {
		return err
	}
	if item, ok := left.Items[keptSocket]; ok && len(item.Files) == 1 {
		h.listener, err = h.lock.ListenOn(item.Files[0])
		item.Files[0].Close()
		return err
	}
	if h.listener, err = h.lock.Listen(); err != nil {
		return err
	}
	for key, dup := range map[string]func() (*os.File, error){
		keptLock:   h.lock.File,
		keptSocket: func() (*os.File, error) { return h.lock.Keep(h.listener) },
	} {
		f, err := dup()
		if err != nil {
			return err
		}
		err = h.keeper.client.Put(key, nil, f)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// sweepFormer ends what is left of a run whose keeper and engine were both
// killed: its processes carry its name in their environment.
func (h *house) sweepFormer(ctx context.Context) error {
	file := filepath.Join(h.place.Dir, "run")
	if former, err := os.ReadFile(file); err == nil && len(former) > 0 {
		if n, err := proc.Sweep(ctx, string(former)); n > 0 || err != nil {
			fmt.Fprintf(os.Stderr, "orrery: ended %d processes of a run whose keeper was killed (%v)\n", n, err)
		}
	}
	return os.WriteFile(file, []byte(h.keeper.client.Run()), 0o600)
}

// furnish makes the engine of a place that is ours.
func (h *house) furnish(p *lang.Project, o orders) error {
	store, err := logs.Open(h.place.Logs)
	if err != nil {
		return err
	}
	if h.table, err = bind.NewTable(dirsOf(h.place, store)); err != nil {
		return err
	}
	rebind := func(g *graph.Graph) *bind.Binding {
		return bind.New(h.table, g, bind.Options{Environ: os.Environ(), Strict: o.Strict})
	}
	caching, hashes := new(app).openCaching(h.place, remoteFlags{}, remoteRetry)
	go trimCache(caching)
	h.endCaching = func() { endCaching(context.Background(), h.place, caching, hashes) }
	h.graph.Store(p.Graph)
	h.openRecord(o)
	info := h.lock.Info()
	h.self = api.Engine{PID: os.Getpid(), Version: version(), Started: info.Started, Project: h.place.Project, Root: h.place.Root}
	h.engine = engine.New(engine.Options{
		Graph: p.Graph, Table: h.table, Bind: rebind, Spawner: h.keeper, Clock: engine.SystemClock{},
		Load: func(ctx context.Context) (*graph.Graph, []engine.Input, error) {
			p, err := loadFile(ctx, o.source)
			if err != nil {
				return nil, nil, err
			}
			h.graph.Store(p.Graph)
			return p.Graph, inputsOf(p), nil
		},
		Watch:   &engine.Watching{Root: h.place.Root, Exclude: []string{h.place.Dir, h.place.Run, h.place.State}, Inputs: inputsOf(p)},
		Results: engine.Results{Caching: caching, Hashes: hashes, Values: filepath.Join(h.place.Dir, "values")},
		Keeper:  h.keeper.client, Logs: store, RunDir: filepath.Join(h.place.Run, "s"), Run: h.keeper.client.Run(),
		Scheduling: engine.Scheduling{Jobs: o.Jobs, Expected: historyOf(h.place).Durations(nil), KeepGoing: true},
	})
	return nil
}

// inputsOf is what the evaluation has read of the disk.
func inputsOf(p *lang.Project) []engine.Input {
	var inputs []engine.Input
	for _, f := range p.Files {
		switch {
		case f.Kind == "pattern":
			inputs = append(inputs, engine.Input{Pattern: f.Path})
		case filepath.IsAbs(f.Path):
			inputs = append(inputs, engine.Input{Path: f.Path})
		}
	}
	return inputs
}

// exitReplaced is how an engine ends whose successor is another binary: not 0,
// which would end everything.
const exitReplaced = 75

// replace has the keeper start the engine from another binary, and ends this
// one, which leaves all it has to the next.
func (h *house) replace(program string) error {
	f, err := os.Open(program)
	if err != nil {
		return fmt.Errorf("cannot replace the engine: %w", err)
	}
	defer f.Close()
	if err := h.keeper.client.Replace(f); err != nil {
		return err
	}
	time.AfterFunc(50*time.Millisecond, func() { os.Exit(exitReplaced) }) // after the answer
	return nil
}

// serve answers clients until nothing is held and nothing runs.
func (h *house) serve(ctx context.Context) error {
	sctx, stop := context.WithCancel(context.Background())
	defer stop()
	served := make(chan error, 1)
	guard := fresh.NewGuard(bookPath(h.place))
	defer guard.Close()
	go func() {
		served <- control.Serve(sctx, h.listener, &engine.Handler{Engine: h.engine, Self: h.self, Replace: h.replace, Fresh: freshness(guard)})
	}()
	if err := h.keeper.client.Serving(nil); err != nil {
		return err
	}
	// What concerns no node has no log of its own.
	go h.engine.Events(0, func(ev api.Event) {
		h.record.Event(ev)
		if ev.Node == "" {
			fmt.Fprintln(os.Stderr, "orrery:", ev.Text)
		}
	})
	if h.catchUp {
		go h.engine.CatchUp()
	}
	h.engine.Run(ctx, idleGrace)
	stop()
	err := <-served
	h.endCaching()
	if rerr := h.record.End("", exitOK); rerr != nil {
		fmt.Fprintln(os.Stderr, "orrery:", rerr)
	}
	h.table.Close()
	// Before the lock: whoever takes it next must find the keeper of this one gone.
	h.keeper.client.Delete(keptSocket)
	h.keeper.client.Delete(keptLock)
	// Nothing in it outlives what ran: sockets, config files, secrets.
	return errors.Join(err, os.RemoveAll(h.place.Run), h.lock.Release())
}

// runID names the processes of this engine in their environment.
func runID() string {
	var b [6]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
