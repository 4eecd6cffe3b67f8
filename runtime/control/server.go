package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Handler is what the server calls: the engine, or a test's stand-in.
type Handler interface {
	// Call answers one request; calls run concurrently, each in a goroutine of its own. ctx ends when the client goes
	// away, cancels, or Serve ends; Call must then return soon, for Serve waits for it. emit sends one event of a stream:
	// it never blocks, may be called from any goroutine until Call returns, and fails once nobody listens. An *Error is
	// passed on as it is, any other error becomes CodeInternal.
	Call(ctx context.Context, conn *Conn, method string, params json.RawMessage, emit func(any) error) (any, error)
}

// Conn is one client's connection, as a Handler sees it. Safe for concurrent use.
type Conn struct {
	id      uint64
	peer    peer
	version string
	closed  chan struct{}
	nc      net.Conn
	out     *queue
	mu      sync.Mutex
	calls   map[uint64]context.CancelFunc // the requests that run, by their id
}

// ID tells the connections of one Serve apart: it counts from 1 and is not used again.
func (c *Conn) ID() uint64 { return c.id }

// PID is the client's process id when it connected, 0 where the system does not tell.
func (c *Conn) PID() int { return c.peer.pid }

// UID is the client's effective user when it connected, -1 where the system does not tell.
func (c *Conn) UID() int { return c.peer.uid }

// GID is the client's effective group when it connected, -1 where the system does not tell.
func (c *Conn) GID() int { return c.peer.gid }

// Version is what the client's hello says of its program.
func (c *Conn) Version() string { return c.version }

// Closed ends when the client has gone, was dropped, or Serve ends: the time to release what it held. It may end before
// the client's calls have returned.
func (c *Conn) Closed() <-chan struct{} { return c.closed }

// Serve answers clients on l until ctx ends, which gives nil, or l fails. It closes l, and returns when every call has
// returned and what they answered was sent. A listener from Lock.Listen brings the version for the hello.
func Serve(ctx context.Context, l net.Listener, h Handler) error {
	s := &server{handler: h, version: buildVersion(), limits: defaultLimits()}
	if v, ok := l.(*listener); ok {
		s.version = v.version
	}
	return s.serve(ctx, l)
}

// server is the state that the connections of one Serve share.
type server struct {
	handler Handler
	version string
	limits  limits
	conns   atomic.Uint64
}

func (s *server) serve(ctx context.Context, l net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for wait := time.Duration(0); ; {
		nc, err := l.Accept()
		switch {
		case err == nil:
			wait = 0
			wg.Go(func() { s.connection(ctx, nc) })
		case ctx.Err() != nil:
			return nil
		case !passing(err):
			return fmt.Errorf("cannot accept clients on %s: %w", l.Addr(), err)
		default:
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// passing tells whether an accept may work later: too many open files is no reason to leave the engine without control.
func passing(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// connection looks after one client from accept to close.
func (s *server) connection(ctx context.Context, nc net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { nc.SetReadDeadline(time.Unix(1, 0)) })()
	c := &Conn{
		id:     s.conns.Add(1),
		nc:     nc,
		closed: make(chan struct{}),
		out:    newQueue(s.limits.queue),
		calls:  map[uint64]context.CancelFunc{},
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		if c.out.drain(nc) != nil {
			nc.Close()
		}
	}()

	var calls sync.WaitGroup
	fault := s.read(ctx, c, &calls)
	cancel()
	close(c.closed)
	calls.Wait()
	if fault != nil {
		c.send(reply{Error: fault}, s.limits.line)
	}
	nc.SetWriteDeadline(time.Now().Add(s.limits.flush))
	c.out.close()
	<-written
	nc.Close()
}

// read takes the client's lines until it goes or must go. The error, if any, is told to the client.
func (s *server) read(ctx context.Context, c *Conn, calls *sync.WaitGroup) *Error {
	if line, err := encode(hello{Orrery: protocol, Version: s.version}); err != nil || c.out.put(line) != nil {
		return nil
	}
	var err error
	if c.peer, err = peerOf(c.nc); err == nil {
		err = admit(c.peer, os.Geteuid())
	}
	if err != nil {
		return &Error{Code: codeRefused, Message: err.Error()}
	}
	r := bufio.NewReader(c.nc)
	if fault, ok := s.greet(ctx, c, r); !ok {
		return fault
	}
	for {
		line, err := readLine(r, s.limits.line)
		if errors.Is(err, errLineTooLong) {
			return &Error{Code: CodeBadRequest, Message: fmt.Sprintf("got a line over %d bytes, want less", s.limits.line)}
		}
		if err != nil {
			return nil
		}
		q, err := parseRequest(line)
		if err != nil {
			return &Error{Code: CodeBadRequest, Message: err.Error()}
		}
		if q.Cancel {
			c.cancel(q.ID)
			continue
		}
		if fault := s.start(ctx, c, q, calls); fault != nil {
			return fault
		}
	}
}

// greet reads the client's hello. It gives false when the connection must end.
func (s *server) greet(ctx context.Context, c *Conn, r *bufio.Reader) (*Error, bool) {
	c.nc.SetReadDeadline(time.Now().Add(s.limits.hello))
	if ctx.Err() != nil {
		return nil, false
	}
	line, err := readLine(r, helloLine)
	if err != nil && !errors.Is(err, errLineTooLong) {
		return nil, false
	}
	h, err := parseHello(line)
	if err != nil {
		return &Error{Code: CodeBadRequest, Message: err.Error()}, false
	}
	if h.Orrery != protocol {
		return &Error{Code: codeRefused, Message: fmt.Sprintf("got protocol %d, want %d", h.Orrery, protocol)}, false
	}
	c.version = h.Version
	c.nc.SetReadDeadline(time.Time{})
	// The end of ctx may have set the deadline that was just cleared.
	return nil, ctx.Err() == nil
}

// start runs one request. The error, if any, ends the connection.
func (s *server) start(ctx context.Context, c *Conn, q request, calls *sync.WaitGroup) *Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.calls[q.ID]; ok {
		return &Error{Code: CodeBadRequest, Message: fmt.Sprintf("got id %d for a second request while the first runs, want a new id", q.ID)}
	}
	if len(c.calls) >= s.limits.calls {
		e := &Error{Code: CodeBadRequest, Message: fmt.Sprintf("got more than %d requests at once on one connection", s.limits.calls)}
		c.send(reply{ID: q.ID, Error: e}, s.limits.line)
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	c.calls[q.ID] = cancel
	calls.Go(func() { s.run(ctx, c, q) })
	return nil
}

// run calls the handler and sends what it says.
func (s *server) run(ctx context.Context, c *Conn, q request) {
	var streamed atomic.Bool
	emit := func(v any) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		event, err := raw(v)
		if err != nil {
			return fmt.Errorf("cannot encode an event of %s: %w", q.Method, err)
		}
		streamed.Store(true)
		return c.send(reply{ID: q.ID, Event: event}, s.limits.line)
	}
	result, err := s.call(ctx, c, q, emit)
	c.forget(q.ID)
	end := reply{ID: q.ID, Done: streamed.Load()}
	if err == nil && (result != nil || !end.Done) {
		end.Result, err = raw(result)
	}
	if err != nil {
		end = reply{ID: q.ID, Error: asError(err, q.Method, s.version)}
	}
	if err := c.send(end, s.limits.line); err != nil && !errors.Is(err, errQueueClosed) && !errors.Is(err, errQueueFull) {
		c.send(reply{ID: q.ID, Error: asError(err, q.Method, s.version)}, s.limits.line)
	}
}

// call keeps a handler's panic from ending the engine, and with it every other client's services.
func (s *server) call(ctx context.Context, c *Conn, q request, emit func(any) error) (result any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &Error{
				Code:    CodeInternal,
				Message: fmt.Sprintf("%s: panic: %v", q.Method, p),
				Hint:    "this is a defect of orrery; please report it with these lines:\n" + string(debug.Stack()),
			}
		}
	}()
	return s.handler.Call(ctx, c, q.Method, q.Params, emit)
}

// cancel ends the request with this id, if it still runs.
func (c *Conn) cancel(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cancel, ok := c.calls[id]; ok {
		cancel()
	}
}

// forget frees the id of a request that has returned; its emit fails from now on.
func (c *Conn) forget(id uint64) {
	c.cancel(id)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, id)
}

// send queues a line and never blocks. A client whose queue is full is dropped.
func (c *Conn) send(r reply, max int) error {
	line, err := encode(r)
	if err != nil {
		return fmt.Errorf("cannot encode an answer: %w", err)
	}
	if len(line) > max {
		return fmt.Errorf("cannot send an answer of %d bytes: over the bound of %d", len(line), max)
	}
	err = c.out.put(line)
	if errors.Is(err, errQueueFull) {
		c.nc.Close()
	}
	return err
}
