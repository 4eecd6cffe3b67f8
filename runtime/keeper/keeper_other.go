//go:build !linux

package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"orrery/runtime/proc"
)

// command is that of an engine: there is no keeper here. What Connect has to know of the orders goes by the environment.
func command(o Orders) (*exec.Cmd, error) {
	if o.Run == "" || len(o.Args) == 0 {
		return nil, errors.New("got orders without arguments for the engine or without a marker for the run")
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd, err := self(exe, o.Stdin, o.Args...)
	if err == nil {
		cmd.Env = append(os.Environ(), runVar+"="+o.Run)
	}
	return cmd, err
}

// runVar carries Orders.Run.
const runVar = "ORRERY_RUN"

func seal() {}

// memory is a file without a name that holds b, at its start.
func memory(name string, b []byte) (*os.File, error) {
	f, err := os.CreateTemp("", "orrery")
	if err != nil {
		return nil, err
	}
	os.Remove(f.Name())
	if _, err = f.Write(b); err == nil {
		_, err = f.Seek(0, 0)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Main has nothing to do here: Start starts the engine itself.
func Main() int {
	fmt.Fprintln(os.Stderr, "orrery "+Verb+": only Linux has a keeper")
	return 2
}

// Client stands for a keeper that is not there: the engine owns its processes. All methods may be called concurrently.
type Client struct {
	mu     sync.Mutex
	answer *os.File
	procs  map[string]*Process
	lost   chan struct{}
}

// Connect takes over the pipe to the starter. There is nothing to restore.
func Connect(f *os.File) (*Client, *State, error) {
	return &Client{answer: f, procs: map[string]*Process{}, lost: make(chan struct{})}, new(State), nil
}

func (c *Client) reply(kind byte, verdict []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answer == nil {
		return nil
	}
	_, err := c.answer.Write(append([]byte{kind}, verdict...))
	err = errors.Join(err, c.answer.Close())
	c.answer = nil
	return err
}

// Run is the Orders.Run of the start.
func (c *Client) Run() string { return os.Getenv(runVar) }

// Starts is 0: a dead engine is not replaced here.
func (c *Client) Starts() int { return 0 }

// Lost is never closed.
func (c *Client) Lost() <-chan struct{} { return c.lost }

// Close does nothing.
func (c *Client) Close() error { return nil }

// Serving tells the starter that this engine serves.
func (c *Client) Serving(verdict []byte) error { return c.reply(served, verdict) }

// Refuse tells the starter that this engine will not serve.
func (c *Client) Refuse(verdict []byte) error { return c.reply(refused, verdict) }

// Put does nothing: nobody would take it up.
func (c *Client) Put(key string, blob []byte, files ...*os.File) error { return checkKey(key) }

// Delete does nothing.
func (c *Client) Delete(key string) error { return nil }

// Replace needs a keeper.
func (c *Client) Replace(program *os.File) error {
	return errors.New("cannot replace the engine: only Linux has a keeper")
}

// Means says by what a tree is found: "group".
func (c *Client) Means() (string, error) { return "group", nil }

// Spawn starts a process under a key, by proc.Start.
func (c *Client) Spawn(key string, s *proc.Spec) (*Process, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	c.mu.Lock()
	if c.procs[key] != nil {
		c.mu.Unlock()
		return nil, fmt.Errorf("cannot start %q: %w", key, ErrKey)
	}
	p := &Process{c: c, key: key, name: s.Name, marker: s.Marker, ended: make(chan struct{})}
	c.procs[key] = p
	c.mu.Unlock()
	started, err := proc.Start(s)
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.procs, key)
		return nil, err
	}
	p.p = started
	go func() {
		p.exit = started.Wait()
		p.at = time.Now()
		close(p.ended)
	}()
	return p, nil
}

// Sweep needs Linux.
func (c *Client) Sweep(ctx context.Context) (int, error) { return proc.Sweep(ctx, c.Run()) }

// Process is a child of the engine. All methods may be called concurrently.
type Process struct {
	c            *Client
	p            *proc.Process
	key          string
	name, marker string
	ended        chan struct{} // closed once exit and at are set
	exit         proc.Exit
	at           time.Time
}

// Key is what Spawn was given.
func (p *Process) Key() string { return p.key }

// Name is the Name of its spec.
func (p *Process) Name() string { return p.name }

// Marker is the Marker of its spec.
func (p *Process) Marker() string { return p.marker }

// Pid is its process id, which means nothing after Wait has returned.
func (p *Process) Pid() int { return p.p.Pid() }

// Identity names it for records.
func (p *Process) Identity() proc.Identity { return p.p.Identity() }

// TTY is our end of its terminal, or nil.
func (p *Process) TTY() *os.File { return p.p.TTY() }

// Signal sends sig to the main process.
func (p *Process) Signal(sig syscall.Signal) error { return p.p.Signal(sig) }

// SignalGroup sends sig to all of its process group.
func (p *Process) SignalGroup(sig syscall.Signal) error { return p.p.SignalGroup(sig) }

// Wait blocks until the main process has ended, and says how.
func (p *Process) Wait() proc.Exit {
	<-p.ended
	return p.exit
}

// Ended is when the main process ended, once Wait has returned.
func (p *Process) Ended() time.Time {
	<-p.ended
	return p.at
}

// KillTree kills the process group.
func (p *Process) KillTree(ctx context.Context) error { return p.p.KillTree(ctx) }

// Close gives the key free, for a process that has ended.
func (p *Process) Close() error {
	select {
	case <-p.ended:
	default:
		return fmt.Errorf("cannot close %q: it still runs: %w", p.key, syscall.EBUSY)
	}
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if p.c.procs[p.key] == p {
		delete(p.c.procs, p.key)
	}
	return p.p.Close()
}
