package logs

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stream is the pump of one pipe. Its goroutine waits in the poller of the Go runtime, so a thousand idle
// services cost no threads; step does the work, under the lock, for the goroutine and for Drain alike.
type stream struct {
	r      *os.File // the read end, non-blocking
	fd     int
	opts   Options
	onData func()
	done   chan struct{} // closed when the goroutine is gone; nil before start

	mu       sync.Mutex
	file     *file
	total    int64     // bytes taken out of the pipe
	plain    bool      // splice does not work here
	held     []byte    // with plain: read but not yet written
	stalled  time.Time // since when the disk takes nothing; zero: it does
	lastDrop time.Time
	ended    bool // end of the stream, or closed
	shut     bool // closed
}

const (
	chunk         = 1 << 20
	patience      = 250 * time.Millisecond // how long a full disk may hold a service up
	dropMemory    = 10 * time.Second       // after a drop the next stall has no patience for so long
	stallInterval = 20 * time.Millisecond
)

// outcome is what a step did.
type outcome int

const (
	moved   outcome = iota // bytes left the pipe
	empty                  // nothing there
	stalled                // the disk takes nothing: try again soon
	ended                  // no more will come
)

// newStream owns r from when it returns without an error.
func newStream(r *os.File, f *file, o Options) (*stream, error) {
	rc, err := r.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &stream{r: r, file: f, opts: o}
	if err := rc.Control(func(fd uintptr) { s.fd = int(fd) }); err != nil {
		return nil, err
	}
	if err := f.open(); err != nil && len(o.Ends) == 0 { // who writes already goes on: the file is opened when it can be
		return nil, err
	}
	return s, nil
}

func (s *stream) start() {
	s.done = make(chan struct{})
	go s.run()
}

func (s *stream) run() {
	defer close(s.done)
	rc, err := s.r.SyscallConn()
	if err != nil {
		return
	}
	for {
		switch s.step() {
		case empty:
			if rc.Read(func(fd uintptr) bool { return ready(int(fd)) != 0 }) != nil {
				return // closed
			}
		case stalled:
			time.Sleep(stallInterval)
		case ended:
			return
		}
	}
}

// ready polls a read end without waiting: 0 means nothing to read and writers are there.
func ready(fd int) int16 {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if _, err := unix.Poll(p, 0); err != nil {
		return 0
	}
	return p[0].Revents
}

// step moves one chunk.
func (s *stream) step() outcome {
	s.mu.Lock()
	out := s.stepLocked()
	s.mu.Unlock()
	if out == moved && s.onData != nil {
		s.onData()
	}
	return out
}

func (s *stream) stepLocked() outcome {
	if s.ended {
		return ended
	}
	if len(s.held) == 0 {
		switch ev := ready(s.fd); {
		case ev == 0:
			return empty
		case ev&unix.POLLIN == 0: // only POLLHUP or POLLERR
			s.ended = true
			return ended
		}
	}
	now := time.Now()
	size, err := s.file.size()
	if err != nil {
		return s.refused(0, err, now)
	}
	s.file.mend(size, now)
	if s.file.due(size, &s.opts, now) && s.file.rotate(s.opts.Keep, now) == nil {
		size = 0
	}
	n := int64(chunk)
	if room := s.opts.MaxSize - size; room > 0 {
		n = min(n, room)
	}
	s.file.index.note(size, now)
	got, err := s.move(size, int(n))
	switch {
	case got > 0:
		s.stalled = time.Time{}
		return moved
	case err == nil:
		s.ended = true
		return ended
	case errors.Is(err, unix.EAGAIN):
		return empty
	case errors.Is(err, unix.EINTR):
		return moved
	}
	return s.refused(size, err, now)
}

// move takes up to n bytes from the pipe to the file at offset.
func (s *stream) move(offset int64, n int) (int, error) {
	if !s.plain {
		got, err := s.file.disk.splice(s.fd, s.file.data, offset, n)
		if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
			s.total += int64(max(got, 0))
			return got, err
		}
		s.plain = true
	}
	if len(s.held) == 0 {
		b := make([]byte, min(n, 64<<10))
		got, err := unix.Read(s.fd, b)
		if errors.Is(err, unix.EIO) { // a pty whose last user is gone
			return 0, nil
		}
		if got <= 0 {
			return 0, err
		}
		s.held = b[:got]
	}
	got, err := s.file.disk.write(s.file.data, s.held, offset)
	s.held = s.held[got:]
	s.total += int64(got)
	if got > 0 {
		return got, nil
	}
	return 0, err
}

// refused decides what to do when the disk does not take bytes: wait a little, then drop what is in the pipe, so
// that the service can go on.
func (s *stream) refused(offset int64, cause error, now time.Time) outcome {
	if s.stalled.IsZero() {
		s.stalled = now
	}
	if now.Sub(s.stalled) < patience && now.Sub(s.lastDrop) > dropMemory {
		return stalled
	}
	n := int64(len(s.held))
	s.held = nil
	buf := make([]byte, 64<<10)
	for left := pending(s.fd); left > 0; {
		got, err := unix.Read(s.fd, buf[:min(left, len(buf))])
		if got <= 0 {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			break
		}
		n += int64(got)
		left -= got
	}
	if n == 0 {
		return stalled
	}
	s.total += n
	s.lastDrop = now
	var errno syscall.Errno
	errors.As(cause, &errno)
	s.file.drop(offset, n, errno, now)
	return moved
}

// mark writes a mark at the end of what is captured.
func (s *stream) mark(at time.Time, kind, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut {
		return
	}
	if size, err := s.file.size(); err == nil {
		s.file.mend(size, at)
		s.file.index.mark(size, at, kind, text)
	}
	if s.onData != nil {
		s.onData()
	}
}

// drain steps until all is written that is in the pipe at the call.
func (s *stream) drain(ctx context.Context) error {
	s.mu.Lock()
	var target int64
	if !s.ended {
		target = s.total + int64(len(s.held)+pending(s.fd))
	}
	s.mu.Unlock()
	for {
		s.mu.Lock()
		reached := s.total >= target
		s.mu.Unlock()
		if reached {
			return nil
		}
		switch s.step() {
		case empty, ended:
			return nil
		case stalled:
			select {
			case <-time.After(stallInterval):
			case <-ctx.Done():
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// close drains and stops. It is called before start only when the capture could not be set up.
func (s *stream) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	if s.done != nil {
		s.drain(ctx) // what the disk does not take in time stays in the pipe, for whoever else holds it
	}
	s.mu.Lock()
	was := s.shut
	s.shut, s.ended = true, true
	s.mu.Unlock()
	if was {
		return
	}
	s.r.Close()
	if s.done != nil {
		<-s.done
	}
	if size, err := s.file.size(); err == nil {
		s.file.index.retry = time.Time{}
		s.file.mend(size, time.Now())
		if n := int64(len(s.held)); n > 0 {
			s.file.drop(size, n, 0, time.Now())
		}
	}
	s.file.close()
}
