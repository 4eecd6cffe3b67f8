package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// dialer connects to the first of some addresses that answers. It belongs to
// one probe; dial may run concurrently with anything.
type dialer struct {
	net.Dialer
	network   string   // "tcp" or "unix"
	addresses []string // the one to name first
	warn      func(string)
	warned    bool
}

// dial tries one address after the other. The error is that of the first.
func (d *dialer) dial(ctx context.Context) (net.Conn, error) {
	var first error
	for _, address := range d.addresses {
		conn, err := d.DialContext(ctx, d.network, address)
		if err == nil && d.network == "tcp" && conn.LocalAddr().String() == conn.RemoteAddr().String() {
			// Nobody listens on a port of the ephemeral range, and the
			// kernel picked the same one for us: we met ourselves.
			conn.Close()
			err = syscall.ECONNREFUSED
		}
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// good notes a good answer from the address remote: if that is not the first
// one, it warns, once.
func (d *dialer) good(remote string) {
	if len(d.addresses) < 2 || remote != d.addresses[1] || d.warned || d.warn == nil {
		return
	}
	d.warned = true
	d.warn(fmt.Sprintf("it answers on %s only, not on %s: clients that use the latter do not reach it", remote, d.addresses[0]))
}

// reason puts an error into as few words as say it. The context is that of the
// try, which began at start.
func reason(ctx context.Context, start time.Time, err error) string {
	var errno syscall.Errno
	switch {
	case timedOut(ctx, err):
		return "got no answer in " + allowed(ctx, start)
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "got the end of the connection, want an answer"
	}
	return err.Error()
}

func timedOut(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

// allowed is the time that a try had, in two digits: the clock began to run a
// little before start.
func allowed(ctx context.Context, start time.Time) string {
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now()
	}
	d, grain := end.Sub(start), time.Duration(1)
	for d/grain >= 100 {
		grain *= 10
	}
	return d.Round(grain).String()
}
