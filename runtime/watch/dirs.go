package watch

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// Dirs says where in some directories something happens, and nothing more: it looks at nothing, waits for nothing and has no fallback. Its
// methods may be called from any goroutine.
type Dirs struct {
	watcher *fsnotify.Watcher
	done    chan struct{}
	once    sync.Once
}

// NewDirs begins to tell happened of the path of every event, in the order of the kernel, on one goroutine. Where events may have been
// lost, or the kernel gives none any more, lost is called. Close ends it.
func NewDirs(happened func(path string), lost func(error)) (*Dirs, error) {
	w, err := fsnotify.NewBufferedWatcher(4096)
	if err != nil {
		return nil, fmt.Errorf("cannot watch directories: %w", err)
	}
	d := &Dirs{watcher: w, done: make(chan struct{})}
	go func() {
		defer close(d.done)
		for {
			select {
			case e, ok := <-w.Events:
				if !ok {
					return
				}
				happened(e.Name)
			case err, ok := <-w.Errors:
				if !ok {
					return
				}
				lost(err)
			}
		}
	}()
	return d, nil
}

// Add watches one more directory, not those in it. An error says that the kernel watches no more.
func (d *Dirs) Add(dir string) error {
	if err := d.watcher.Add(filepath.Clean(dir)); err != nil {
		return fmt.Errorf("cannot watch %s: %w", dir, err)
	}
	return nil
}

// Close ends it, and waits until no event is told any more.
func (d *Dirs) Close() error {
	var err error
	d.once.Do(func() {
		err = d.watcher.Close()
		<-d.done
	})
	return errors.Join(err)
}
