package engine

import (
	"os"

	"golang.org/x/sys/unix"
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
