package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Client is a connection to the engine. Safe for concurrent use: requests share the connection, and none waits for
// another. What the client holds in the engine ends with it.
type Client struct {
	nc      net.Conn
	peer    peer
	version string
	limits  limits
	write   sync.Mutex // one line at a time

	mu    sync.Mutex
	next  uint64
	calls map[uint64]*box
	err   error // why done was closed

	done  chan struct{} // the connection is over
	ended chan struct{} // the reader has returned
}

// newClient takes over a connection on which both sides have said hello.
func newClient(nc net.Conn, r *bufio.Reader, p peer, version string, l limits) *Client {
	c := &Client{
		nc:      nc,
		peer:    p,
		version: version,
		limits:  l,
		calls:   map[uint64]*box{},
		done:    make(chan struct{}),
		ended:   make(chan struct{}),
	}
	go c.read(r)
	return c
}

// Version is what the engine says of its program.
func (c *Client) Version() string { return c.version }

// PID is the engine's process id, 0 where the system does not tell.
func (c *Client) PID() int { return c.peer.pid }

// Done ends when the connection does: by Close, or because the engine has gone.
func (c *Client) Done() <-chan struct{} { return c.done }

// Close ends the connection; requests that run fail. Harmless twice.
func (c *Client) Close() error {
	c.fail(net.ErrClosed)
	<-c.ended
	return nil
}

// Call sends one request and reads its result into result, unless that is nil. Events that come before are dropped. The
// error is an *Error when the engine answered with one, ctx's when that ended first (the engine is told to cancel), and
// an *ErrNoEngine when the connection is lost.
func (c *Client) Call(ctx context.Context, method string, params, result any) error {
	got, err := c.request(ctx, method, params, nil)
	if err != nil || result == nil || got == nil {
		return err
	}
	if err := json.Unmarshal(got, result); err != nil {
		return fmt.Errorf("cannot read the engine's answer to %s: %w", method, err)
	}
	return nil
}

// Stream sends one request and calls event for each of its events, in order and in this goroutine, until the engine ends
// the stream. An error of event cancels the request and is returned; otherwise the errors are those of Call. A caller that
// lets more than some megabytes of events pile up loses the stream, and nothing else.
func (c *Client) Stream(ctx context.Context, method string, params any, event func(json.RawMessage) error) error {
	_, err := c.request(ctx, method, params, event)
	return err
}

// request sends a request and follows it to its end.
func (c *Client) request(ctx context.Context, method string, params any, event func(json.RawMessage) error) (json.RawMessage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	q := request{Method: method}
	if params != nil {
		p, err := raw(params)
		if err != nil {
			return nil, fmt.Errorf("cannot encode the params of %s: %w", method, err)
		}
		q.Params = p
	}
	b, err := c.open(&q)
	if err != nil {
		return nil, err
	}
	defer c.forget(q.ID)
	if err := c.send(ctx, q); err != nil {
		return nil, err
	}
	got, finished, err := c.follow(ctx, b, event)
	if !finished {
		c.cancel(q.ID)
	}
	return got, err
}

// follow takes the lines of one request until the last. finished tells whether the engine is through with it.
func (c *Client) follow(ctx context.Context, b *box, event func(json.RawMessage) error) (got json.RawMessage, finished bool, err error) {
	for over := false; ; {
		lines, spilled := b.take()
		for _, r := range lines {
			switch {
			case r.Error != nil:
				return nil, true, r.Error
			case r.last():
				return r.Result, true, nil
			case event == nil:
			case ctx.Err() != nil:
				return nil, false, ctx.Err()
			default:
				if err := event(r.Event); err != nil {
					return nil, false, err
				}
			}
		}
		switch {
		case spilled:
			return nil, false, fmt.Errorf("cannot keep up with the engine's events: over %d bytes wait", c.limits.line)
		case over:
			return nil, true, c.failure()
		}
		select {
		case <-b.some:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		case <-c.done:
			over = true // the reader puts nothing more: look once more, then give up
		}
	}
}

// open gives the request an id and a box for its answers.
func (c *Client) open(q *request) (*box, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	c.next++
	q.ID = c.next
	b := &box{max: c.limits.line, some: make(chan struct{}, 1)}
	c.calls[q.ID] = b
	return b, nil
}

func (c *Client) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, id)
}

func (c *Client) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// fail ends the connection, once.
func (c *Client) fail(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = &ErrNoEngine{Socket: c.nc.RemoteAddr().String(), Cause: cause}
	c.nc.Close()
	close(c.done)
}

// cancel tells the engine that nobody waits for id any more. A connection that does not even take this is given up.
func (c *Client) cancel(id uint64) {
	ctx, done := context.WithTimeout(context.Background(), c.limits.flush)
	defer done()
	c.send(ctx, request{ID: id, Cancel: true})
}

// send writes one line. When ctx ends in the middle of it the connection is lost: half a line cannot be taken back.
func (c *Client) send(ctx context.Context, q request) error {
	line, err := encode(q)
	if err != nil {
		return fmt.Errorf("cannot encode the request %s: %w", q.Method, err)
	}
	if len(line) > c.limits.line {
		return &Error{Code: CodeBadRequest, Message: fmt.Sprintf("cannot send %s: got %d bytes, want at most %d", q.Method, len(line), c.limits.line)}
	}
	c.write.Lock()
	defer c.write.Unlock()
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(cut); c.nc.SetWriteDeadline(time.Unix(1, 0)) })
	n, err := c.nc.Write(line)
	if !stop() {
		<-cut
		c.nc.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		if n == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		// The engine may have said why before it closed: let the reader find it.
		c.nc.SetReadDeadline(time.Now().Add(c.limits.flush))
		<-c.done
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return c.failure()
	}
	return nil
}

// read hands the engine's lines to their requests. It never waits for one of them.
func (c *Client) read(r *bufio.Reader) {
	defer close(c.ended)
	for {
		line, err := readLine(r, c.limits.line)
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("it closed the connection")
		}
		var a reply
		if err == nil {
			err = json.Unmarshal(line, &a)
		}
		if err == nil && a.ID == 0 {
			if a.Error == nil {
				err = fmt.Errorf("got line %s without an id", shorten(line))
			} else {
				err = a.Error
			}
		}
		if err != nil {
			c.fail(err)
			return
		}
		c.mu.Lock()
		b := c.calls[a.ID]
		if b != nil && (!b.put(a, len(line)) || a.last()) {
			delete(c.calls, a.ID)
		}
		c.mu.Unlock()
	}
}

// box holds the lines for one request until its caller takes them.
type box struct {
	mu      sync.Mutex
	lines   []reply
	size    int
	max     int
	spilled bool
	some    chan struct{} // holds a token when there is something to take
}

// put adds a line; false when the box is full, and nothing more will be taken.
func (b *box) put(r reply, size int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.size > b.max && !r.last() {
		b.spilled = true
	} else {
		b.lines = append(b.lines, r)
		b.size += size
	}
	select {
	case b.some <- struct{}{}:
	default:
	}
	return !b.spilled
}

// take empties the box.
func (b *box) take() (lines []reply, spilled bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines, b.lines, b.size = b.lines, nil, 0
	return lines, b.spilled
}
