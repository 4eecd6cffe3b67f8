package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// ErrNoEngine says that no engine can be talked to.
type ErrNoEngine struct {
	// Socket is the path that was tried.
	Socket string
	// Cause is nil when simply no engine runs, and one may be started. Else one runs, or ran until now, and this is why
	// there is no talking to it.
	Cause error
}

// Error says which of the two it is.
func (e *ErrNoEngine) Error() string {
	if e.Cause == nil {
		return "no engine runs here"
	}
	return fmt.Sprintf("cannot reach the engine at %s: %v", e.Socket, e.Cause)
}

// Unwrap gives the cause.
func (e *ErrNoEngine) Unwrap() error { return e.Cause }

// Dial connects to the engine of a place. It looks at the place's own socket first and then where the lock says; an engine
// that holds the lock and is still starting is waited for, some seconds and not beyond ctx. The error is an *ErrNoEngine,
// or ctx's.
func Dial(ctx context.Context, place Place) (*Client, error) {
	return dial(ctx, place, defaultLimits())
}

func dial(ctx context.Context, place Place, l limits) (*Client, error) {
	deadline := time.Now().Add(l.dial)
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		c, err := connect(ctx, place, place.Socket, l)
		if err == nil || !absent(err) {
			return c, err
		}
		info, held, lockErr := place.Running()
		switch {
		case lockErr != nil:
			return nil, &ErrNoEngine{Socket: place.Socket, Cause: lockErr}
		case !held:
			return nil, &ErrNoEngine{Socket: place.Socket}
		}
		socket := place.Socket
		if info.Socket != "" && info.Socket != socket {
			socket = info.Socket
			if c, err = connect(ctx, place, socket, l); err == nil || !absent(err) {
				return c, err
			}
		}
		if time.Now().After(deadline) {
			return nil, &ErrNoEngine{Socket: socket, Cause: fmt.Errorf("process %d holds %s and does not answer: %w", info.PID, place.Lock, err)}
		}
		// No event tells that another process has begun to listen: ask again.
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// errHungUp: the engine ended before its hello was complete, as one that shuts down does.
var errHungUp = errors.New("it closed the connection before its hello")

// absent tells whether an error means that nobody serves the socket at this moment.
func absent(err error) bool {
	for _, e := range []error{syscall.ENOENT, syscall.ENOTDIR, syscall.ECONNREFUSED, syscall.EAGAIN, errHungUp} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// connect dials one socket and exchanges hellos.
func connect(ctx context.Context, place Place, socket string, l limits) (*Client, error) {
	if err := place.CheckSocket(socket); err != nil {
		return nil, &ErrNoEngine{Socket: socket, Cause: err}
	}
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", socket)
	if err == nil {
		var c *Client
		if c, err = greet(ctx, nc, place, l); err == nil {
			return c, nil
		}
		nc.Close()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, &ErrNoEngine{Socket: socket, Cause: err}
}

// greet checks who listens, and exchanges hellos. On error the connection is the caller's to close.
func greet(ctx context.Context, nc net.Conn, place Place, l limits) (*Client, error) {
	p, err := peerOf(nc)
	if err != nil {
		return nil, err
	}
	if err := trust(p, place); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	nc.SetDeadline(time.Now().Add(l.hello))
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	line, err := encode(hello{Orrery: protocol, Version: place.Version})
	if err != nil {
		return nil, err
	}
	_, wrote := nc.Write(line)
	r := bufio.NewReader(nc)
	theirs, err := hear(r, p, place)
	if err == nil && wrote != nil {
		err = fmt.Errorf("%w: %w", errHungUp, wrote)
	}
	if err != nil {
		return nil, err
	}
	if !stop() {
		return nil, ctx.Err()
	}
	nc.SetDeadline(time.Time{})
	return newClient(nc, r, p, theirs.Version, l), nil
}

// trust decides whether we talk to whoever listens: our own user, root, or the owner of the checkout, whose engine root
// may ask.
func trust(p peer, place Place) error {
	if p.uid == -1 || p.uid == 0 || p.uid == os.Geteuid() {
		return nil
	}
	if owner, ok := ownerOf(place.Dir); ok && owner == p.uid {
		return nil
	}
	return fmt.Errorf("refused: process %d that listens there belongs to uid %d, want ours or that of the checkout", p.pid, p.uid)
}

// hear reads the engine's hello.
func hear(r *bufio.Reader, p peer, place Place) (hello, error) {
	line, err := readLine(r, helloLine)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return hello{}, fmt.Errorf("process %d accepts connections and says nothing; is it stopped? (kill -CONT %d)", p.pid, p.pid)
	case errors.Is(err, errLineTooLong):
		return hello{}, fmt.Errorf("process %d does not speak our protocol: %w", p.pid, err)
	case err != nil:
		return hello{}, fmt.Errorf("%w: %w", errHungUp, err)
	}
	h, err := parseHello(line)
	if err != nil {
		return hello{}, err
	}
	if h.Orrery != protocol {
		return hello{}, fmt.Errorf("the engine (pid %d, version %s) speaks protocol %d, this orrery (version %s) speaks %d; stop it with its own version's `orrery down`",
			p.pid, h.Version, h.Orrery, place.Version, protocol)
	}
	return h, nil
}
