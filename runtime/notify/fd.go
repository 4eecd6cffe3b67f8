package notify

import (
	"bytes"
	"errors"
	"fmt"
	"os"
)

// ReadyPipe makes the pipe of an s6 readiness descriptor. The service inherits
// w; our copy of it must be closed after the spawn, or the end of the service
// is never seen. r goes to WaitNewline. Both are close-on-exec; w blocks, as
// programs expect.
func ReadyPipe() (r, w *os.File, err error) {
	r, w, err = os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a readiness pipe: %w", err)
	}
	w.Fd() // os.Pipe made it non-blocking; this undoes it
	return r, w, nil
}

// errNoNewline is a readiness descriptor that was closed too early.
var errNoNewline = errors.New("got the end of the readiness descriptor, want a newline on it")

// WaitNewline reads from a readiness pipe until the other end is closed, and
// calls ready once, at the first newline. What else is written has no meaning,
// but is read, so that its writer is not killed by SIGPIPE. It closes r; an
// error says that no newline came. Closing r from elsewhere ends it.
func WaitNewline(r *os.File, ready func()) error {
	defer r.Close()
	buf := make([]byte, 512)
	seen := false
	for {
		n, err := r.Read(buf)
		if !seen && bytes.IndexByte(buf[:n], '\n') >= 0 {
			seen = true
			ready()
		}
		switch {
		case err == nil:
		case seen:
			return nil
		case errors.Is(err, os.ErrClosed):
			return err
		default:
			return errNoNewline
		}
	}
}
