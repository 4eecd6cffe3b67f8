package engine

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// ttyChunk is how much is moved at a time.
const ttyChunk = 64 << 10

// pollable is a duplicate of a terminal that the poller can wait for. The
// original is closed.
func pollable(f *os.File) (*os.File, error) {
	c, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, ferr := -1, error(nil)
	err = c.Control(func(u uintptr) {
		if fd, ferr = unix.FcntlInt(u, unix.F_DUPFD_CLOEXEC, 0); ferr == nil {
			ferr = unix.SetNonblock(fd, true)
		}
	})
	if err := errors.Join(err, ferr); err != nil {
		return nil, err
	}
	f.Close()
	return os.NewFile(uintptr(fd), "terminal"), nil
}

// pump moves what a terminal says into a pipe until nobody holds the other end.
// The kernel takes the bytes out of the one and puts them into the other in one
// call: an engine that is killed in between loses and repeats nothing.
func pump(tty, to *os.File) error {
	from, err := tty.SyscallConn()
	if err != nil {
		return err
	}
	into, err := to.SyscallConn()
	if err != nil {
		return err
	}
	for {
		var moved int64
		var err, gone error
		closed := from.Read(func(fd uintptr) bool {
			gone = into.Control(func(w uintptr) { moved, err = unix.Splice(int(fd), nil, int(w), nil, ttyChunk, 0) })
			return gone != nil || err != unix.EAGAIN
		})
		switch {
		case closed != nil, gone != nil, errors.Is(err, unix.EIO), errors.Is(err, unix.EPIPE), errors.Is(err, unix.EBADF):
			return nil
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case moved == 0:
			return nil
		}
	}
}
