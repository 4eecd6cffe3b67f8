package watch

import (
	"errors"
	"sync"
	"syscall"

	"github.com/fsnotify/fsnotify"
)

// seams are what the tests replace.
type seams struct {
	open func() (*fsnotify.Watcher, error)
	add  func(*fsnotify.Watcher, string) error
}

func system() seams {
	return seams{
		open: fsnotify.NewWatcher,
		add:  func(w *fsnotify.Watcher, dir string) error { return w.Add(dir) },
	}
}

// queueMax is how many events wait for the loop; beyond it a rescan is cheaper.
const queueMax = 1 << 17

// source takes events from fsnotify as fast as they come and keeps them for the
// loop. It is a goroutine of its own because fsnotify may report an error with
// the lock held that its Add takes: whoever calls Add must not be who receives.
type source struct {
	fs   *fsnotify.Watcher
	wake chan struct{} // holds one token while there is something to take
	done chan struct{}

	mu       sync.Mutex
	events   []fsnotify.Event
	overflow bool
}

func newSource(fs *fsnotify.Watcher) *source {
	s := &source{fs: fs, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go s.pump()
	return s
}

func (s *source) pump() {
	defer close(s.done)
	events, errs := s.fs.Events, s.fs.Errors
	for events != nil {
		select {
		case e, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			if e.Name != "" {
				s.put(e)
			}
		case err, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			// EINVAL: a watch ended by itself before fsnotify removed it.
			if !errors.Is(err, syscall.EINVAL) {
				s.lost()
			}
		}
	}
}

func (s *source) put(e fsnotify.Event) {
	s.mu.Lock()
	switch n := len(s.events); {
	case s.overflow:
	case n >= queueMax:
		s.events, s.overflow = nil, true
	case n > 0 && s.events[n-1] == e: // writes come in rows
	default:
		s.events = append(s.events, e)
	}
	s.mu.Unlock()
	s.signal()
}

// lost notes that events are missing: only a rescan helps.
func (s *source) lost() {
	s.mu.Lock()
	s.events, s.overflow = nil, true
	s.mu.Unlock()
	s.signal()
}

func (s *source) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *source) take() ([]fsnotify.Event, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	events, overflow := s.events, s.overflow
	s.events, s.overflow = nil, false
	return events, overflow
}

// close ends fsnotify and the pump.
func (s *source) close() {
	s.fs.Close()
	<-s.done
}
