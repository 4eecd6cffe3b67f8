package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Info is the content of the lock file: who holds it, and where to reach them. Content without a lock is stale and means
// nothing.
type Info struct {
	// PID is the engine's process, Start its start time in clock ticks since boot and Boot the kernel's boot id: together
	// they name it for good. Start and Boot are zero where the system does not tell.
	PID   int    `json:"pid"`
	Start uint64 `json:"start,omitempty"`
	Boot  string `json:"boot,omitempty"`
	// Socket is the path of the control socket. Cron, sudo and another login compute another one; this one is right.
	Socket string `json:"socket"`
	// Version is the engine's.
	Version string `json:"version"`
	// Started is when the lock was taken.
	Started time.Time `json:"started"`
}

// alive tells whether the process that wrote i still runs, as far as can be seen from here.
func (i Info) alive() bool {
	if i.PID <= 0 || i.Boot != bootID() {
		return false
	}
	if i.Start != 0 {
		return startTime(i.PID) == i.Start
	}
	err := syscall.Kill(i.PID, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// ErrRunning says that another engine holds the checkout.
type ErrRunning struct{ Info }

// Error names the holder.
func (e *ErrRunning) Error() string {
	if e.PID == 0 {
		return "an engine runs already"
	}
	return fmt.Sprintf("an engine runs already: pid %d, since %s", e.PID, e.Started.Format(time.DateTime))
}

// Lock is the right to be the engine of a checkout. It ends with Release or with the process, however that ends; children
// do not inherit it. Safe for concurrent use.
type Lock struct {
	place Place
	info  Info
	mu    sync.Mutex
	file  *os.File // nil once released
}

// Acquire makes the place and takes its lock, without waiting. *ErrRunning says who has it.
func Acquire(place Place) (*Lock, error) {
	if err := place.Make(); err != nil {
		return nil, err
	}
	// A reader that looks whether the lock is held holds it for an instant: try again while no living engine is named.
	for try := 0; ; try++ {
		f, err := tryLock(place.Lock)
		if err == nil {
			return newLock(place, f)
		}
		if !errors.Is(err, errHeld) {
			return nil, fmt.Errorf("cannot lock %s: %w", place.Lock, explain(err, place.Lock))
		}
		if info := readInfo(place.Lock); info.alive() || try == 50 {
			return nil, &ErrRunning{info}
		}
		time.Sleep(4 * time.Millisecond)
	}
}

// errHeld: someone else has the lock.
var errHeld = errors.New("held")

// tryLock opens and locks path, and makes sure that path is still that file.
func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, err
	}
	if err = flock(f, unix.LOCK_EX); err == nil {
		var opened, named os.FileInfo
		if opened, err = f.Stat(); err == nil {
			named, err = os.Lstat(path)
		}
		if err == nil && os.SameFile(opened, named) {
			return f, nil
		}
		if err == nil || errors.Is(err, os.ErrNotExist) {
			err = errHeld // it was removed meanwhile: the caller looks again
		}
	}
	f.Close()
	return nil, err
}

// flock takes a lock on f without waiting; errHeld when another has it.
func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return errHeld
		default:
			return err
		}
	}
}

// newLock writes who we are into the locked file.
func newLock(place Place, f *os.File) (*Lock, error) {
	l := &Lock{place: place, file: f, info: Info{
		PID:     os.Getpid(),
		Start:   startTime(os.Getpid()),
		Boot:    bootID(),
		Socket:  place.Socket,
		Version: place.Version,
		Started: time.Now(),
	}}
	line, err := encode(l.info)
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt(line, 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot write %s: %w", place.Lock, err)
	}
	return l, nil
}

// Info is what the lock says of us.
func (l *Lock) Info() Info { return l.info }

// Release gives the lock back. Close the listener first. Harmless twice.
func (l *Lock) Release() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := errors.Join(l.file.Truncate(0), l.file.Close())
	l.file = nil
	if err != nil {
		return fmt.Errorf("cannot release %s: %w", l.place.Lock, err)
	}
	return nil
}

// listener is the control socket, with the version that Serve says in its hello.
type listener struct {
	net.Listener
	version string
}

// Listen opens the control socket, for Serve, with mode 0600. A socket file that a crash left is replaced: the lock is
// proof that nobody serves it. (Unless the lock file was deleted under a running engine: one that answers is an error.)
func (l *Lock) Listen() (net.Listener, error) {
	path := l.place.Socket
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil, fmt.Errorf("cannot listen on %s: the lock was released", path)
	}
	if err := l.place.CheckSocket(path); err != nil {
		return nil, err
	}
	if err := clearStale(path); err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	var failed error
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		if err := c.Control(func(fd uintptr) { failed = private(fd) }); err != nil {
			return err
		}
		return failed
	}}
	n, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		n.Close()
		return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	return &listener{n, l.place.Version}, nil
}

// clearStale removes a socket file that nobody serves.
func clearStale(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("got a file of mode %s, want a socket or nothing; remove it", st.Mode())
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		p, _ := peerOf(c)
		c.Close()
		return fmt.Errorf("an engine (pid %d) answers there although its lock file is gone; stop it first", p.pid)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Running tells whether an engine holds the checkout, and what it wrote into the lock. The answer may be old at once:
// Dial and Acquire are the proof. Info may be empty for the instant between lock and write.
func (p Place) Running() (Info, bool, error) {
	f, err := os.OpenFile(p.Lock, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, os.ErrNotExist) {
		return Info{}, false, nil
	}
	if err != nil {
		return Info{}, false, fmt.Errorf("cannot read %s: %w", p.Lock, explain(err, p.Lock))
	}
	defer f.Close()
	err = flock(f, unix.LOCK_SH)
	if errors.Is(err, errHeld) {
		return readInfo(p.Lock), true, nil
	}
	if err != nil {
		return Info{}, false, fmt.Errorf("cannot look at the lock %s: %w", p.Lock, err)
	}
	return Info{}, false, nil
}

// readInfo reads a lock's content; what is torn or garbage is as good as nothing.
func readInfo(path string) Info {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return Info{}
	}
	defer f.Close()
	var i Info
	if json.NewDecoder(io.LimitReader(f, 64<<10)).Decode(&i) != nil {
		return Info{}
	}
	return i
}
