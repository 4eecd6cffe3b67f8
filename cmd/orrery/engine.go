package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"orrery/lang"
	"orrery/lang/graph"
	"orrery/runtime/bind"
	"orrery/runtime/control"
	"orrery/runtime/control/api"
	"orrery/runtime/engine"
	"orrery/runtime/logs"
)

// engineVerb is the hidden verb of the engine process.
const engineVerb = "__engine"

// idleGrace is how long an engine that nobody has held yet stays.
const idleGrace = 10 * time.Second

// orders are what a client tells the engine process that it starts, on its
// standard input.
type orders struct {
	File   string            `json:"file"`
	Params map[string]string `json:"params,omitempty"`
	Strict *bool             `json:"strict,omitempty"`
	Jobs   int               `json:"jobs,omitempty"`
}

// verdict is the engine's answer on descriptor 3: it serves, or why not.
type verdict struct {
	Error string `json:"error,omitempty"`
	Code  string `json:"code,omitempty"`
}

func engineCommand(*app) *cobra.Command {
	return &cobra.Command{
		Use: engineVerb, Hidden: true, Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return serveEngine() },
	}
}

// startEngine starts the engine process of a place and waits until it serves.
// One that another client has just started is as good.
func startEngine(place control.Place, o orders) error {
	if err := place.Make(); err != nil {
		return err
	}
	in, err := json.Marshal(o)
	if err != nil {
		return err
	}
	logFile, err := os.OpenFile(filepath.Join(place.Dir, "engine.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	stdin, err := memoryFile(in)
	if err != nil {
		return err
	}
	defer stdin.Close()
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(exe, engineVerb)
	cmd.Dir = place.Root
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, logFile, logFile
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return fmt.Errorf("cannot start the engine: %w", err)
	}
	go cmd.Wait()
	var v verdict
	answer, _ := io.ReadAll(r)
	if len(answer) == 0 {
		return fmt.Errorf("the engine ended before it served; see %s", logFile.Name())
	}
	if err := json.Unmarshal(answer, &v); err != nil {
		return fmt.Errorf("cannot read the engine's answer %q", answer)
	}
	if v.Error != "" && v.Code != codeRunning {
		return &control.Error{Code: v.Code, Message: v.Error}
	}
	return nil
}

// codeRunning says that another engine came first.
const codeRunning = "running"

// memoryFile is an unlinked file with some content, to be read from its start.
func memoryFile(b []byte) (*os.File, error) {
	f, err := os.CreateTemp("", "orrery")
	if err != nil {
		return nil, err
	}
	os.Remove(f.Name())
	if _, err := f.Write(b); err != nil {
		f.Close()
		return nil, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return f, err
}

// serveEngine is the engine process: it takes the checkout's lock, evaluates
// the project, and serves clients until nothing is held any more.
func serveEngine() error {
	// Swallowed rather than ignored: children would inherit that.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	answer := os.NewFile(3, "answer")
	var o orders
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return fmt.Errorf("cannot read the orders: %w", err)
	}
	h, err := openHouse(ctx, o)
	if err != nil {
		json.NewEncoder(answer).Encode(verdictOf(err))
		return err
	}
	defer h.close()
	json.NewEncoder(answer).Encode(verdict{})
	answer.Close()
	return h.serve(ctx)
}

func verdictOf(err error) verdict {
	v := verdict{Error: err.Error(), Code: control.CodeInternal}
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
	place  control.Place
	lock   *control.Lock
	table  *bind.Table
	engine *engine.Engine
	self   api.Engine
}

func openHouse(ctx context.Context, o orders) (*house, error) {
	p, err := loadFile(ctx, o.File, o.Params)
	if err != nil {
		return nil, err
	}
	place, err := placeOf(p)
	if err != nil {
		return nil, err
	}
	lock, err := control.Acquire(place)
	if err != nil {
		return nil, err
	}
	h := &house{place: place, lock: lock}
	if err := h.furnish(p, o); err != nil {
		lock.Release()
		return nil, err
	}
	return h, nil
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
	info := h.lock.Info()
	h.self = api.Engine{PID: os.Getpid(), Version: version(), Started: info.Started, Project: h.place.Project, Root: h.place.Root}
	h.engine = engine.New(engine.Options{
		Graph: p.Graph, Table: h.table, Bind: rebind, Spawner: spawner{}, Clock: engine.SystemClock{},
		Logs: store, MemoDir: filepath.Join(h.place.Dir, "values"), RunDir: filepath.Join(h.place.Run, "s"), Run: runID(), Jobs: o.Jobs,
	})
	return nil
}

// serve answers clients until nothing is held and nothing runs.
func (h *house) serve(ctx context.Context) error {
	l, err := h.lock.Listen()
	if err != nil {
		return err
	}
	sctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- control.Serve(sctx, l, &engine.Handler{Engine: h.engine, Self: h.self}) }()
	h.engine.Run(ctx, idleGrace)
	stop()
	return <-served
}

func (h *house) close() {
	h.table.Close()
	h.lock.Release()
}

// runID names the processes of this engine in their environment.
func runID() string {
	var b [6]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
