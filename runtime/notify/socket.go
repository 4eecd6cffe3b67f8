package notify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxPath is what fits sun_path with its final NUL on Linux.
	maxPath = 107
	// maxFDs is the kernel's SCM_MAX_FD: more cannot come in one datagram.
	maxFDs = 253
	// A service may send burst datagrams in each window; then its socket is
	// left alone until the window ends, and the kernel makes it wait.
	burst  = 500
	window = 50 * time.Millisecond
	// After a failing receive the next try is made after minPause, then after
	// twice that, and so on up to maxPause.
	minPause = 10 * time.Millisecond
	maxPause = time.Second
)

// Socket is the notify socket of one service. Its methods may be called
// concurrently, but Serve only once.
type Socket struct {
	conn   *net.UnixConn
	path   string
	uid    int
	inode  inode // of path, so that Close never removes another's socket
	ownDir bool
	closed chan struct{}
	once   sync.Once
	count  counts
}

// Stats counts the datagrams of a socket since it was opened.
type Stats struct {
	// Delivered were handed to the callback of Serve.
	Delivered uint64
	// Barriers were answered.
	Barriers uint64
	// Foreign came from another user, or without credentials.
	Foreign uint64
	// Malformed were too large, truncated, or no message; see Parse.
	Malformed uint64
	// Ignored are single assignments that were unknown or not valid, in
	// messages that were delivered.
	Ignored uint64
	// Errors are receives that failed.
	Errors uint64
}

type counts struct {
	delivered, barriers, foreign, malformed, ignored, errors atomic.Uint64
}

// Listen opens the notify socket of a service that runs as uid and gid, at a
// path in a directory of its own. The directory is made when it is absent; its
// parent must exist. As root the directory and the socket belong to the user of
// the service; else uid must be our own. The directory has mode 0700 and the
// socket 0600, so that nobody else can send.
//
// A socket that an earlier run left at the path is replaced. A directory that
// others can enter, that belongs to somebody else, or that would have to be
// given away with foreign files in it, is an error.
//
// Datagrams wait in the kernel until Serve takes them.
func Listen(path string, uid, gid int) (*Socket, error) {
	if len(path) > maxPath {
		return nil, fmt.Errorf("cannot open notify socket %s: the path has %d bytes, want at most %d; use a shorter runtime directory", path, len(path), maxPath)
	}
	made, err := makeDir(filepath.Dir(path), filepath.Base(path), uid)
	if err != nil {
		return nil, fmt.Errorf("cannot open notify socket %s: %w", path, err)
	}
	s, err := listen(path, uid, gid)
	if err != nil {
		if made {
			os.Remove(filepath.Dir(path))
		}
		return nil, fmt.Errorf("cannot open notify socket %s: %w", path, err)
	}
	s.ownDir = made
	return s, nil
}

func listen(path string, uid, gid int) (*Socket, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if e := c.Control(func(fd uintptr) { err = prepare(int(fd)) }); e != nil {
			return e
		}
		return err
	}}
	conn, err := config.ListenPacket(context.Background(), "unixgram", path)
	if err != nil {
		return nil, err
	}
	s := newSocket(conn.(*net.UnixConn), path, uid)
	if s.inode, err = give(path, uid, gid); err == nil && os.Geteuid() == 0 {
		// Last, because from here on the user of the service can replace
		// what lies in the directory.
		err = os.Lchown(filepath.Dir(path), uid, gid)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Adopt continues with a notify socket that was kept open while its receiver
// was away, so that what was sent meanwhile is not lost. The file, which is
// duplicated and stays the caller's, is one that File of a Socket gave; path and
// uid are those of its Listen.
func Adopt(f *os.File, path string, uid int) (*Socket, error) {
	conn, err := net.FilePacketConn(f)
	if err != nil {
		return nil, fmt.Errorf("cannot adopt notify socket %s: %w", path, err)
	}
	u, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, fmt.Errorf("cannot adopt notify socket %s: got a %s socket, want unixgram", path, conn.LocalAddr().Network())
	}
	s := newSocket(u, path, uid)
	s.inode, _ = inodeOf(path)
	s.ownDir = true
	return s, nil
}

func newSocket(conn *net.UnixConn, path string, uid int) *Socket {
	return &Socket{conn: conn, path: path, uid: uid, closed: make(chan struct{})}
}

// File returns a duplicate of the socket's descriptor for another process to
// hold, close-on-exec; the caller closes it.
func (s *Socket) File() (*os.File, error) {
	f, err := s.conn.File()
	if err != nil {
		return nil, fmt.Errorf("cannot duplicate notify socket %s: %w", s.path, err)
	}
	return f, nil
}

// Path returns the path of the socket, the value of NOTIFY_SOCKET.
func (s *Socket) Path() string { return s.path }

// Stats returns the counts so far.
func (s *Socket) Stats() Stats {
	return Stats{
		Delivered: s.count.delivered.Load(),
		Barriers:  s.count.barriers.Load(),
		Foreign:   s.count.foreign.Load(),
		Malformed: s.count.malformed.Load(),
		Ignored:   s.count.ignored.Load(),
		Errors:    s.count.errors.Load(),
	}
}

// Close ends Serve and removes the socket from its directory, and the directory
// if Listen made it and nothing else is in it. Datagrams not yet received are
// lost. A callback that runs is not waited for.
func (s *Socket) Close() error {
	var err error
	s.once.Do(func() {
		close(s.closed)
		err = s.conn.Close()
		if at, e := inodeOf(s.path); e == nil && at == s.inode {
			os.Remove(s.path)
		}
		if s.ownDir {
			os.Remove(filepath.Dir(s.path)) // fails if it is in use: then it stays
		}
	})
	return err
}

// Serve receives until the socket is closed, and calls handle with one message
// after the other, from this goroutine. The message is the callback's: it must
// Close it, now or later, if it carries descriptors.
//
// A barrier is answered when the callbacks of all earlier messages have
// returned. A client such as systemd-notify lives until then, so a callback that
// must look at the sender (is it of this service?) does so before it returns.
func (s *Socket) Serve(handle func(Message)) {
	data := make([]byte, MaxDatagram+1)
	control := make([]byte, unix.CmsgSpace(4*maxFDs)+credentialSpace)
	taken, opened, pause := 0, time.Now(), minPause
	for {
		n, cn, flags, _, err := s.conn.ReadMsgUnix(data, control)
		if err != nil {
			if errors.Is(err, net.ErrClosed) || !s.wait(pause) {
				return
			}
			s.count.errors.Add(1)
			pause = min(2*pause, maxPause)
			continue
		}
		pause = minPause
		s.receive(data[:n], control[:cn], flags, handle)
		if taken++; taken < burst {
			continue
		}
		if !s.wait(window - time.Since(opened)) {
			return
		}
		taken, opened = 0, time.Now()
	}
}

// wait pauses for d and reports whether the socket is still open.
func (s *Socket) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.closed:
		return false
	case <-timer.C:
		return true
	}
}

// receive judges one datagram and delivers what is left of it.
func (s *Socket) receive(data, control []byte, flags int, handle func(Message)) {
	from, fds, err := split(control)
	rest := fds
	defer func() {
		for _, f := range rest {
			f.Close()
		}
	}()
	if err != nil || flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		s.count.malformed.Add(1)
		return
	}
	if !s.trusts(from) {
		s.count.foreign.Add(1)
		return
	}
	m, err := Parse(data)
	if err == nil {
		rest, err = m.attach(fds)
	}
	if err != nil {
		s.count.malformed.Add(1)
		return
	}
	if m.Barrier {
		s.count.barriers.Add(1)
		return
	}
	m.Pid, m.Uid, m.Gid = from.pid, from.uid, from.gid
	s.count.delivered.Add(1)
	s.count.ignored.Add(uint64(m.Ignored))
	handle(m)
}

// sender is who the kernel says has sent a datagram.
type sender struct {
	pid, uid, gid int
	known         bool
}

// trusts reports whether a datagram may come from this sender at all: the user
// of the service, root, or ourselves.
func (s *Socket) trusts(from sender) bool {
	if !from.known {
		return !hasCredentials
	}
	return from.pid > 0 && (from.uid == s.uid || from.uid == 0 || from.uid == os.Geteuid())
}

// split takes the sender and the descriptors out of the control part of a
// datagram. It returns the descriptors also beside an error.
func split(control []byte) (from sender, fds []*os.File, err error) {
	from = sender{uid: -1, gid: -1}
	parts, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return from, nil, err
	}
	for i := range parts {
		if who, ok := credentials(&parts[i]); ok {
			from = who
			continue
		}
		numbers, e := unix.ParseUnixRights(&parts[i])
		if e != nil {
			err = e
			continue
		}
		for _, fd := range numbers {
			unix.CloseOnExec(fd)
			fds = append(fds, os.NewFile(uintptr(fd), "notify"))
		}
	}
	return from, fds, err
}
