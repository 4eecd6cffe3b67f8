// Package watch turns paths and patterns into debounced change sets.
//
// One Watcher serves a whole project, because inotify instances are scarce;
// many subscriptions share its watches on directories. It promises:
//
//   - Content decides. A change is one of content, of existence or of the
//     executable bit; a touch, a rewrite with the same bytes or a change that
//     was taken back is none.
//   - Events are only hints where to look; what is reported comes from looking.
//     So an overflow of the kernel's queue, an editor's way of saving, a moved
//     directory and a polled one all end in the state of the file system.
//   - A burst gives one change set.
//
// Only directories are watched, never files: a watch on a file dies with the
// first editor that saves by renaming.
//
// # What belongs to a subscription
//
// A named file always does. Below a named directory or the literal head of a
// pattern ("src" of "src/**/*.go") these do not, unless a part of the pattern
// names them ("**/.env", ".github/**"): hidden files and directories,
// node_modules, __pycache__, editors' files (*~, #*#, *.swp, 4913 and the like),
// and what .gitignore hides. Ignore, Exclude and Options.Exclude are stronger
// than any name. Sockets, pipes and devices are never watched.
//
// A link to a file stands for the file's content. A link to a directory is
// followed when it leads to a place inside the root that does not hold the link
// itself; below it no further link to a directory is followed. What lies behind
// it appears under the link's name.
//
// Of .gitignore the files in the directories themselves and upwards to the root
// of the checkout are read (not .git/info/exclude and not the user's global
// file), with comments, negation, "dir/", anchors, * ? [a-z] and **; POSIX
// classes such as [[:alpha:]] are not understood. A changed .gitignore changes
// what is watched and is no change itself.
//
// # How content is known
//
// To see that content changed one must know it from before. A small tree
// (256 files, 4 MiB) is hashed when it is added, more of it in the background:
// files of at most 4 MiB each, 256 MiB a subscription. Of a file that has not
// been hashed, a new time or size counts as a change. Files over 64 MiB are
// never hashed. What is written through mmap sends no event on Linux.
package watch

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"
)

// Options are what a Watcher is made with.
type Options struct {
	// Root is the project's directory, absolute. It need not exist yet.
	Root string
	// Exclude are absolute paths of files and directories that no subscription
	// ever reports: state, sockets, logs.
	Exclude []string
	// Warn gets at most one text, when the kernel's limits force polling; nil
	// drops it. It may be called within New and on the watcher's goroutine, and
	// must not block.
	Warn func(string)
}

// Spec says what a subscription watches.
type Spec struct {
	ID string // ID is its name in Change and for Remove.
	// Paths are files and directories (with all below them), absolute or
	// relative to the root. They may not exist yet.
	Paths []string
	// Patterns are watched besides Paths.
	Patterns []Pattern
	// Ignore are left out: each is a line as in a .gitignore of the root.
	Ignore []string
	// Exclude are absolute paths that this subscription does not report: the
	// outputs of what it starts.
	Exclude []string
	// Extensions, with or without their dot, restrict directories and patterns
	// to files that end so. None: all files.
	Extensions []string
	// Debounce is the quiet time that ends a burst; 0 means 100 ms. Under a
	// stream of writes that never ends, a set is cut after ten times as long
	// (at most 2 s); while ever new files appear, after 15 s.
	Debounce time.Duration
	// Gitignored means that .gitignore hides nothing: for inputs of a task,
	// which count whether they are committed or not.
	Gitignored bool
}

// Pattern is a set of files, relative to the root.
type Pattern struct {
	Include []string // Include has patterns with * ? [a-z] {a,b} and **.
	Exclude []string // Exclude takes files out of Include.
}

// Change is one set of changes of one subscription.
type Change struct {
	ID    string    // ID is that of the Spec.
	Files []string  // Files names the first FilesMax, sorted, with slashes; relative to the root if they lie below it.
	Count int       // Count is how many there are.
	At    time.Time // At is when the first of them was noticed.
}

// FilesMax is how many files a Change names.
const FilesMax = 20

// ErrClosed is returned by Add after Close.
var ErrClosed = errors.New("the watcher is closed")

// Watcher watches for many subscriptions. Its methods may be called from any
// goroutine; Close ends everything it started.
type Watcher struct {
	calls   chan func(*loop)
	changes chan Change
	stop    chan struct{}
	done    chan struct{}
	once    sync.Once
}

// New starts a watcher without subscriptions. Without inotify (instances used
// up) it polls, and warns; the error is only of a root that is not absolute.
func New(o Options) (*Watcher, error) { return newWatcher(o, system()) }

func newWatcher(o Options, s seams) (*Watcher, error) {
	if !filepath.IsAbs(o.Root) {
		return nil, fmt.Errorf("cannot watch %q: got a relative root, want an absolute path", o.Root)
	}
	w := &Watcher{
		calls:   make(chan func(*loop)),
		changes: make(chan Change),
		stop:    make(chan struct{}),
		done:    make(chan struct{}),
	}
	l := newLoop(o, s)
	go func() {
		defer close(w.done)
		defer close(w.changes)
		l.run(w)
	}()
	return w, nil
}

// Add starts a subscription; one of the same ID is replaced. When it returns,
// every later change will be seen. Paths that cannot be watched are no error:
// what does not exist is waited for, and what the kernel refuses is polled.
func (w *Watcher) Add(s Spec) error {
	err := ErrClosed
	w.do(func(l *loop) { err = l.add(s) })
	if err != nil {
		return fmt.Errorf("cannot watch for %q: %w", s.ID, err)
	}
	return nil
}

// Remove ends a subscription; a change set of it that was not received yet is
// dropped. It is no error if there is none.
func (w *Watcher) Remove(id string) { w.do(func(l *loop) { l.remove(id) }) }

// Changes delivers the change sets. While nobody receives, those of one
// subscription are merged, so nothing blocks and nothing is lost. It is closed
// by Close.
func (w *Watcher) Changes() <-chan Change { return w.changes }

// Close ends all subscriptions and returns when nothing of the watcher runs any
// more. It may be called again.
func (w *Watcher) Close() {
	w.once.Do(func() { close(w.stop) })
	<-w.done
}

// do runs f on the goroutine that owns everything, unless the watcher is closed.
func (w *Watcher) do(f func(*loop)) {
	ran := make(chan struct{})
	select {
	case w.calls <- func(l *loop) { f(l); close(ran) }:
		<-ran
	case <-w.done:
	}
}
