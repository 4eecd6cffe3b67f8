package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"orrery/runtime/proc"
)

// Client is the engine's end. All methods may be called concurrently.
type Client struct {
	c      *conn
	run    string
	starts int
	lost   chan struct{}

	inherit bool // the keeper knows Spec.Inherit

	mu     sync.Mutex
	last   uint64
	calls  map[uint64]*call
	procs  map[string]*Process
	closed bool
}

// call is a request that is not answered yet.
type call struct {
	key    string
	spawn  *specWire // of a spawn; proc is what came of it
	proc   *Process
	answer *frame // nil when done: the keeper is gone
	done   chan struct{}
}

// Connect takes over the socket that an engine was started with, as descriptor [FD], and is told the state that the engine
// before it left. From then on the ends of processes are told as they come.
func Connect(f *os.File) (*Client, *State, error) {
	c, err := newConn(f)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot connect to the keeper (an engine is started by it, not by hand): %w", err)
	}
	k := &Client{c: c, lost: make(chan struct{}), calls: map[uint64]*call{}, procs: map[string]*Process{}}
	// The first packet is read here: what it says must be known before any notice of an end.
	w := &call{done: make(chan struct{})}
	k.last, k.calls[1] = 1, w
	err = c.send(packet(head{Op: opHello, ID: 1, Hello: &helloWire{Version: version}}))
	state := new(State)
	for err == nil && len(k.calls) > 0 {
		var part *frame
		if part, err = c.receive(); err == nil {
			err = k.restore(part, state)
		}
	}
	if err != nil {
		c.u.Close()
		return nil, nil, fmt.Errorf("cannot connect to the keeper: %w", err)
	}
	go k.read()
	return k, state, nil
}

// restore takes one part of the answer to hello.
func (c *Client) restore(f *frame, to *State) error {
	switch {
	case f.short:
		return syscall.EMFILE
	case f.Err != nil:
		return f.Err.error()
	case f.Item:
		b, err := f.bytes()
		if err != nil {
			return err
		}
		to.Items = append(to.Items, Item{Key: f.Key, Blob: b, Files: filesOf(f.files, f.Key)})
		f.files = nil
		f.close()
	case f.Proc != nil:
		p := c.process(f.Key, f, f.Proc)
		if f.Proc.Exit != nil {
			p.end(*f.Proc.Exit, f.Proc.Ended)
		}
		to.Processes = append(to.Processes, p)
	case f.Hello != nil:
		if f.Hello.Version != version {
			return fmt.Errorf("got a keeper of protocol %d, want %d: stop everything with the binary that started it (orrery down), then start again", f.Hello.Version, version)
		}
		c.run, c.starts, c.inherit = f.Hello.Run, f.Hello.Starts, f.Hello.Inherit
		delete(c.calls, f.ID)
	default:
		return errMalformed
	}
	return nil
}

// process makes the Process of an answer, known from now on.
func (c *Client) process(key string, f *frame, w *procWire) *Process {
	p := &Process{c: c, key: key, id: w.ID, name: w.Name, marker: w.Marker, cgroup: w.Cgroup, ended: make(chan struct{})}
	if len(f.files) > 0 {
		p.tty = filesOf(f.files[:1], "tty")[0]
		f.files = f.files[1:]
	}
	c.procs[p.key] = p
	return p
}

// read takes answers and notices until the keeper is gone.
func (c *Client) read() {
	for {
		f, err := c.c.receive()
		if err != nil {
			break
		}
		c.take(f)
	}
	c.c.u.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	closed := c.closed
	c.closed = true
	for id, w := range c.calls {
		delete(c.calls, id)
		close(w.done)
	}
	for _, p := range c.procs {
		if p.running() {
			p.end(proc.Exit{Err: ErrLost}, time.Now())
		}
	}
	if !closed {
		close(c.lost)
	}
}

// take passes a packet on to whom it is for. It never blocks: the keeper could not tell anything else meanwhile.
func (c *Client) take(f *frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.Op == opExit {
		if p := c.procs[f.Key]; p != nil && f.Proc != nil && f.Proc.Exit != nil && p.running() {
			p.end(*f.Proc.Exit, f.Proc.Ended)
		}
		f.close()
		return
	}
	w := c.calls[f.ID]
	if w == nil { // nobody waits any more
		f.close()
		return
	}
	delete(c.calls, f.ID)
	if w.spawn != nil && f.Proc != nil && f.Err == nil {
		// Here, so that a notice of its end, which may be the next packet, finds it.
		w.proc = c.process(w.key, f, f.Proc)
	}
	w.answer = f
	f.close()
	close(w.done)
}

// send makes a request. The files stay the caller's.
func (c *Client) send(w *call, h head, payload []byte, files ...*os.File) error {
	if len(payload) > maxPayload {
		return fmt.Errorf("got %d bytes, want at most %d: %w", len(payload), maxPayload, syscall.E2BIG)
	}
	fds, err := numbers(files)
	if err != nil {
		return err
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return ErrLost
	}
	c.last++
	h.ID = c.last
	c.calls[h.ID] = w
	c.mu.Unlock()
	f := packet(h, fds...)
	f.payload = payload
	err = c.c.send(f)
	runtime.KeepAlive(files)
	if err == nil {
		return nil
	}
	c.mu.Lock()
	delete(c.calls, h.ID)
	c.mu.Unlock()
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, os.ErrClosed) {
		return ErrLost
	}
	return err
}

// result is the answer to a request, once it is done.
func (w *call) result() (*frame, error) {
	switch f := w.answer; {
	case f == nil:
		return nil, ErrLost
	case f.short:
		return nil, syscall.EMFILE
	default:
		return f, f.Err.error()
	}
}

// ask makes a request and waits for the answer.
func (c *Client) ask(h head, payload []byte, files ...*os.File) (*frame, error) {
	w := &call{done: make(chan struct{})}
	if err := c.send(w, h, payload, files...); err != nil {
		return nil, err
	}
	<-w.done
	return w.result()
}

// Run is the Orders.Run of this keeper: what the markers of all its processes are to begin with, "RUN/...".
func (c *Client) Run() string { return c.run }

// Starts is how many engines this keeper has started before us: 0 for the first.
func (c *Client) Starts() int { return c.starts }

// Lost is closed when the keeper is gone, but for our own Close. Nothing that was asked is answered any more, and the processes
// are nobody's: Sweep, and end.
func (c *Client) Lost() <-chan struct{} { return c.lost }

// Close lets go of the keeper, just before the engine ends: one that lives on for long after it is killed.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	return c.c.u.Close()
}

// Serving says that this engine serves, so that the starter goes on: the verdict is for it. Until the first engine has said so,
// the end of an engine is the end of the keeper; from then on it is replaced.
func (c *Client) Serving(verdict []byte) error {
	if _, err := c.ask(head{Op: opServing}, verdict); err != nil {
		return fmt.Errorf("cannot tell that the engine serves: %w", err)
	}
	return nil
}

// Refuse says that this engine will not serve, and why, for the starter and the log. The engine is to end then; with a code other
// than 0, as 0 always ends everything. A first engine's keeper ends; a later one is started again, a limited number of times.
func (c *Client) Refuse(verdict []byte) error {
	if _, err := c.ask(head{Op: opRefuse}, verdict); err != nil {
		return fmt.Errorf("cannot tell that the engine refuses: %w", err)
	}
	return nil
}

// Put keeps a blob and up to 250 descriptors, which stay the caller's, under a key, in place of what was there. An
// engine that follows finds them.
func (c *Client) Put(key string, blob []byte, files ...*os.File) error {
	err := checkKey(key)
	if err == nil {
		_, err = c.ask(head{Op: opPut, Key: key}, blob, files...)
	}
	if err != nil {
		return fmt.Errorf("cannot have %q kept: %w", key, err)
	}
	return nil
}

// Delete drops what was put. What is not there is no error.
func (c *Client) Delete(key string) error {
	if _, err := c.ask(head{Op: opDelete, Key: key}, nil); err != nil {
		return fmt.Errorf("cannot drop %q: %w", key, err)
	}
	return nil
}

// Replace has the engines to come started from another binary, which is opened for reading and stays the caller's. This engine is to end
// then, with any code, and leaves its state as if it were killed. If the new one ends before it serves, the old binary is
// started again. The keeper itself stays what it is.
func (c *Client) Replace(program *os.File) error {
	if _, err := c.ask(head{Op: opReplace}, nil, program); err != nil {
		return fmt.Errorf("cannot replace the engine: %w", err)
	}
	return nil
}

// Means says by what the keeper would find the tree of a process that is given a cgroup where there can be one: "cgroup"
// or "subreaper". See proc.Process.Means.
func (c *Client) Means() (string, error) {
	f, err := c.ask(head{Op: opMeans}, nil)
	if err != nil {
		return "", err
	}
	return f.Text, nil
}

// Spawn starts a process under a key, such as "web#3", as proc.Start does: the error is ErrKey, a *proc.StartError, or ErrLost. The
// Reaper of s is not used. A Dir that is empty or relative is seen from our own working directory. The terminal of
// a spec with TTY is held by the keeper, too, and can be had from the Process.
func (c *Client) Spawn(key string, s *proc.Spec) (*Process, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(s.Dir)
	if err != nil {
		return nil, &proc.StartError{Op: "enter", Path: s.Dir, Err: err}
	}
	for _, l := range s.Listen {
		if l.File == nil {
			return nil, &proc.StartError{Op: "listen", Path: l.Name, Err: errors.New("it has no socket")}
		}
	}
	if len(s.Inherit) > 0 && !c.inherit {
		without := *s
		without.Inherit = nil
		s = &without
	}
	w, files := wireOf(s)
	w.Dir = []byte(dir)
	b, err := json.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("cannot start %q: %w", key, err)
	}
	call := &call{key: key, spawn: w, done: make(chan struct{})}
	if err := c.send(call, head{Op: opSpawn, Key: key}, b, files...); err != nil {
		return nil, fmt.Errorf("cannot start %q: %w", key, err)
	}
	<-call.done
	if _, err := call.result(); err != nil {
		return nil, err
	}
	if call.proc == nil {
		return nil, fmt.Errorf("cannot start %q: %w", key, errMalformed)
	}
	return call.proc, nil
}

// Sweep kills everything that this keeper's engines have started, as far as it can be found without the keeper, and says how many
// there were: by the marker "RUN/...", and all processes that we know with what belongs to them. It is for when the keeper is lost.
func (c *Client) Sweep(ctx context.Context) (int, error) {
	n, err := proc.Sweep(ctx, c.run)
	c.mu.Lock()
	var known []*Process
	for _, p := range c.procs {
		known = append(known, p)
	}
	c.mu.Unlock()
	for _, p := range known {
		a, aerr := proc.Adopt(p.id, &proc.Spec{Name: p.name, Marker: p.marker, Cgroup: p.cgroup})
		if errors.Is(aerr, proc.ErrGone) {
			continue
		}
		if aerr == nil {
			n++
			aerr = a.KillTree(ctx)
			a.Close()
		}
		err = errors.Join(err, aerr)
	}
	return n, err
}
