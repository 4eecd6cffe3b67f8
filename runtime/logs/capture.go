package logs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Options say how a node is captured. The zero value is what a service gets that says nothing.
type Options struct {
	// MaxSize is the size in bytes at which a data file is rotated. 0: 50 MiB. Negative: never.
	MaxSize int64
	// Keep is how many rotated files of a stream are kept. 0: 5. Negative: none.
	Keep int
	// MaxAge rotates a file that is older when the next byte comes. 0: never.
	MaxAge time.Duration
	// Single captures one stream only, named Stdout: stderr is the same pipe (a pty, or merged output).
	Single bool
	// Ends are read ends that somebody else made and holds (the keeper, a pty's master): stdout, and unless Single,
	// stderr. The capture takes them over and closes them. Empty: the capture makes its own pipes.
	Ends []*os.File
	// OnData is called after bytes were written, from the pump: it must not block. May be nil.
	OnData func()
}

const (
	defaultMaxSize = 50 << 20
	defaultKeep    = 5
)

func (o Options) withDefaults() Options {
	if o.MaxSize == 0 {
		o.MaxSize = defaultMaxSize
	}
	if o.Keep == 0 {
		o.Keep = defaultKeep
	}
	o.Keep = max(o.Keep, 0)
	return o
}

// Capture pumps the output of one node into its files, over any number of its instances: the pipes stay open
// between them, so nothing is lost when an instance dies. One process at a time can capture a node. All
// methods may be called concurrently.
type Capture struct {
	node    string
	lock    *os.File // the node's directory, locked
	streams []*stream
	writers []*os.File
}

// lockPatience bounds the wait for the lock of a predecessor that is just being killed.
const lockPatience = 2 * time.Second

// Capture begins to capture a node: it makes the directory, the files and, unless Options.Ends holds them, the
// pipes, and starts the pumps. Bytes that a killed predecessor left in Ends are taken up where it stopped. It fails when
// another process captures the same node.
func (s *Store) Capture(node string, o Options) (*Capture, error) {
	c, err := s.capture(node, o.withDefaults())
	if err != nil {
		return nil, fmt.Errorf("cannot capture the output of %s: %w", node, err)
	}
	return c, nil
}

func (s *Store) capture(node string, o Options) (*Capture, error) {
	names := []string{Stdout, Stderr}
	if o.Single {
		names = names[:1]
	}
	if node == "" || len(escape(node)) > 255 {
		return nil, fmt.Errorf("got a name of %d bytes, want 1 to 255", len(node))
	}
	if len(o.Ends) != 0 && len(o.Ends) != len(names) {
		return nil, fmt.Errorf("got %d read ends, want %d", len(o.Ends), len(names))
	}
	dir := filepath.Join(s.dir, escape(node))
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	c := &Capture{node: node, lock: lock}
	for i, name := range names {
		r, err := c.end(s, o, i)
		if err != nil {
			c.Close()
			return nil, err
		}
		st, err := newStream(r, newFile(s.disk, dir, name), o)
		if err != nil {
			r.Close()
			c.Close()
			return nil, err
		}
		st.onData = func() {
			s.notify()
			if o.OnData != nil {
				o.OnData()
			}
		}
		c.streams = append(c.streams, st)
	}
	for _, st := range c.streams {
		st.start()
	}
	return c, nil
}

// end returns the read end for stream i: the given one, or that of a new pipe whose write end is kept.
func (c *Capture) end(s *Store, o Options, i int) (*os.File, error) {
	if len(o.Ends) != 0 {
		return adopt(o.Ends[i])
	}
	r, w, err := pipe()
	if err != nil {
		return nil, err
	}
	if s.raised.Add(1) <= maxRaised {
		raisePipe(w)
	}
	c.writers = append(c.writers, w)
	return r, nil
}

// maxRaised is how many pipes of a store get a larger buffer: a user without privileges has 64 MiB for all pipes of all
// processes (pipe-user-pages-soft), and beyond that each new pipe shrinks to two pages.
const maxRaised = 64

// adopt duplicates a read end into one that the poller of this process can wait for, and closes the given one.
func adopt(f *os.File) (*os.File, error) {
	rc, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, ferr := -1, error(nil)
	err = rc.Control(func(u uintptr) {
		if fd, ferr = unix.FcntlInt(u, unix.F_DUPFD_CLOEXEC, 0); ferr == nil {
			ferr = unix.SetNonblock(fd, true)
		}
	})
	if err = errors.Join(err, ferr); err != nil {
		return nil, err
	}
	f.Close()
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// lockDir opens and locks a directory. A lock on the directory rather than on a file outlives rotations.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(lockPatience); ; time.Sleep(5 * time.Millisecond) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR || time.Now().After(deadline) {
			break
		}
	}
	f.Close()
	if err == unix.EWOULDBLOCK {
		return nil, fmt.Errorf("another process writes to %s: stop it first", dir)
	}
	return nil, fmt.Errorf("cannot lock %s: %w", dir, err)
}

// Stdout is the write end to give to a child as its standard output. It blocks, as programs expect, and is closed on
// exec unless passed on. Nil when the pipes came as Options.Ends.
func (c *Capture) Stdout() *os.File {
	if len(c.writers) == 0 {
		return nil
	}
	return c.writers[0]
}

// Stderr is as Stdout for the standard error; with Options.Single it is the same file.
func (c *Capture) Stderr() *os.File {
	if len(c.writers) == 0 {
		return nil
	}
	return c.writers[len(c.writers)-1]
}

// ReadEnds are the ends that the pumps read, stdout first, for handing copies to a process that outlives this one.
// They belong to the capture: do not read from or close them.
func (c *Capture) ReadEnds() []*os.File {
	var fs []*os.File
	for _, s := range c.streams {
		fs = append(fs, s.r)
	}
	return fs
}

// ReleaseWriters closes this process's copies of the write ends. Once the last child is gone too, the pumps see the end
// of the stream; a service that will be started again must not be released.
func (c *Capture) ReleaseWriters() {
	for _, w := range c.writers {
		w.Close()
	}
}

// Mark puts a separator behind what was captured so far ("started", "exited" ...): readers show it between
// the lines, the bytes of the log do not hold it. Text is cut at 4000 bytes. It may wait for the disk.
func (c *Capture) Mark(kind, text string) {
	now := time.Now()
	for _, s := range c.streams {
		s.mark(now, kind, text)
	}
}

// Drain writes out all that is in the pipes now, then returns: nil when nothing of it is left. Call it when
// an instance has exited. It does not wait for more, so a grandchild that still holds the pipe cannot keep it busy.
func (c *Capture) Drain(ctx context.Context) error {
	for _, s := range c.streams {
		if err := s.drain(ctx); err != nil {
			return fmt.Errorf("cannot drain the output of %s: %w", c.node, err)
		}
	}
	return nil
}

// Close writes out what is in the pipes, and lets go of them and of the files. Services whose read ends nobody else
// holds get SIGPIPE at their next write. A second Close does nothing.
func (c *Capture) Close() {
	for _, s := range c.streams {
		s.close()
	}
	c.ReleaseWriters()
	c.lock.Close()
}
