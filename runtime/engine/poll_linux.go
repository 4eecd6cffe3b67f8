package engine

import (
	"bytes"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"orrery/runtime/notify"
)

// poller waits for descriptors without reading from them, accepting on them or
// changing anything of them: whether they block is shared with whoever else
// holds them. It costs a goroutine and no thread. The descriptors stay the
// caller's and must stay open as long as they are in it.
type poller struct {
	f  *os.File // an epoll instance, for which the runtime's own one waits
	fd int
}

// pollIn is input, or a connection; pollHup the end of the other side, which is
// always looked for.
const (
	pollIn  = unix.EPOLLIN
	pollHup = unix.EPOLLHUP | unix.EPOLLERR
)

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &poller{os.NewFile(uintptr(fd), "poll"), fd}, nil
}

// add looks out for events of a descriptor, pollHup or pollIn besides it, and
// calls it key. An error: it is of a kind that is always ready, such as a file.
func (p *poller) add(f *os.File, key int32, events uint32) error {
	return onFD(f, func(fd int) error {
		return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: key})
	})
}

// remove forgets a descriptor.
func (p *poller) remove(f *os.File) {
	onFD(f, func(fd int) error { return unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, fd, nil) })
}

// wait blocks until a descriptor is ready, and gives its key and events;
// ok is false once the poller is closed.
func (p *poller) wait() (key int32, events uint32, ok bool) {
	c, err := p.f.SyscallConn()
	if err != nil {
		return 0, 0, false
	}
	evs := make([]unix.EpollEvent, 1)
	err = c.Read(func(fd uintptr) bool {
		n, err := unix.EpollWait(int(fd), evs, 0)
		return n > 0 || err != nil && err != unix.EINTR
	})
	return evs[0].Fd, evs[0].Events, err == nil
}

func (p *poller) close() { p.f.Close() }

// onFD calls do with the number of f, without the change of blocking mode that
// (*os.File).Fd can make.
func onFD(f *os.File, do func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := c.Control(func(fd uintptr) { failed = do(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// acceptOn takes one connection, which blocks as programs expect; nil: there
// is none any more.
func acceptOn(listener *os.File) (*os.File, unix.Sockaddr, error) {
	fd, addr := -1, unix.Sockaddr(nil)
	err := onFD(listener, func(l int) error {
		// Nobody else has this socket, and a client that has left must not block us.
		if err := unix.SetNonblock(l, true); err != nil {
			return err
		}
		var err error
		fd, addr, err = unix.Accept4(l, unix.SOCK_CLOEXEC)
		return err
	})
	switch err {
	case nil:
		return os.NewFile(uintptr(fd), "connection"), addr, nil
	case unix.EAGAIN, unix.ECONNABORTED, unix.EINTR:
		return nil, nil, nil
	}
	return nil, nil, os.NewSyscallError("accept4", err)
}

// duplicate gives another descriptor of the same open file, close-on-exec.
func duplicate(f *os.File) (*os.File, error) {
	dup := -1
	err := onFD(f, func(fd int) error {
		var err error
		dup, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(dup), f.Name()), nil
}

// sameObject reports whether two descriptors are of one open file; where the
// kernel does not tell, whether they look so.
func sameObject(a, b *os.File) bool {
	same := false
	onFD(a, func(x int) error {
		return onFD(b, func(y int) error {
			const kcmpFile = 0
			pid := uintptr(os.Getpid())
			order, _, errno := unix.Syscall6(unix.SYS_KCMP, pid, pid, kcmpFile, uintptr(x), uintptr(y), 0)
			if errno == 0 {
				same = order == 0
				return nil
			}
			var s, t unix.Stat_t
			if unix.Fstat(x, &s) != nil || unix.Fstat(y, &t) != nil {
				return nil
			}
			f, _ := unix.FcntlInt(uintptr(x), unix.F_GETFL, 0)
			g, _ := unix.FcntlInt(uintptr(y), unix.F_GETFL, 0)
			same = s.Dev == t.Dev && s.Ino == t.Ino && s.Mode == t.Mode && s.Rdev == t.Rdev && f == g
			return nil
		})
	})
	return same
}

// awaitNewline calls ready once a newline is on a readiness descriptor, or does
// not when its other end is closed before. Only after ready has returned is the
// newline taken off: an engine that follows finds it again. It closes r.
func awaitNewline(r *os.File, ready func()) {
	defer r.Close()
	p, err := newPoller()
	if err != nil || p.add(r, 0, pollIn) != nil {
		notify.WaitNewline(r, ready)
		return
	}
	defer p.close()
	see, look, err := os.Pipe()
	if err != nil {
		notify.WaitNewline(r, ready)
		return
	}
	defer see.Close()
	defer look.Close()
	buf := make([]byte, 4096)
	for {
		if _, _, ok := p.wait(); !ok {
			return
		}
		n := int64(0)
		err := onFD(r, func(from int) error {
			return onFD(look, func(to int) (err error) {
				n, err = unix.Tee(from, to, len(buf), unix.SPLICE_F_NONBLOCK)
				return err
			})
		})
		switch {
		case err == unix.EINTR || err == unix.EAGAIN:
			continue
		case err != nil || n == 0:
			return
		}
		if _, err := io.ReadFull(see, buf[:n]); err != nil {
			return
		}
		if bytes.IndexByte(buf[:n], '\n') >= 0 {
			ready()
			notify.WaitNewline(r, func() {})
			return
		}
		if _, err := io.ReadFull(r, buf[:n]); err != nil { // nothing in it counts
			return
		}
	}
}
