package control

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// File is a duplicate of the locked file for another process to hold: the lock
// lasts as long as anybody holds it. The caller closes it.
func (l *Lock) File() (*os.File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil, os.ErrClosed
	}
	return duplicate(l.file)
}

// Adopt takes over the lock of an engine that was killed, from a file that
// Lock.File gave; the file becomes the lock's.
func (p Place) Adopt(f *os.File) (*Lock, error) {
	if err := flock(f, unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("cannot take over %s: %w", p.Lock, err)
	}
	return newLock(p, f)
}

// Keep is a duplicate of a listener of Listen for another process to
// hold, so that clients who come while no engine serves wait instead of being
// refused. The caller closes it.
func (l *Lock) Keep(n net.Listener) (*os.File, error) {
	u, ok := n.(*listener).Listener.(*net.UnixListener)
	if !ok {
		return nil, fmt.Errorf("got a listener of type %T, want one of Listen", n)
	}
	return u.File()
}

// ListenOn is Listen with the socket that an engine before us has opened and
// Keep has kept; the file stays the caller's.
func (l *Lock) ListenOn(f *os.File) (net.Listener, error) {
	n, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("cannot take over the control socket: %w", err)
	}
	u, ok := n.(*net.UnixListener)
	if !ok {
		n.Close()
		return nil, fmt.Errorf("cannot take over the control socket: got %T", n)
	}
	u.SetUnlinkOnClose(true)
	return &listener{u, l.place.Version}, nil
}

func duplicate(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
