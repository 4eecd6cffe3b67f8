package watch

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// table holds the watches on directories, counted by their users. A directory is
// known by its inode, because the kernel has one watch for it however many names
// lead to it, and reports events under the name that was first.
type table struct {
	src    *source // nil: no inotify at all
	addDir func(dir string) error
	warn   func(error)
	inodes map[inode]*dirWatch
	names  map[string]*dirWatch // by every name in use
	paths  map[string]*dirWatch // by the name that fsnotify knows
	polled map[*dirWatch]struct{}
	gaps   []string // names whose events ended or were missed, for their users to look again
}

// dirWatch is a watch on one directory.
type dirWatch struct {
	ino   inode
	path  string         // as fsnotify knows it
	names map[string]int // the names in use, with their users
	live  bool           // events come, or it is polled
	turn  int            // how often it was started: what was seen before an earlier start may be out of date
}

var errNoInotify = errors.New("no inotify")

func newTable(src *source, add func(string) error, warn func(error)) *table {
	return &table{
		src: src, addDir: add, warn: warn,
		inodes: map[inode]*dirWatch{}, names: map[string]*dirWatch{}, paths: map[string]*dirWatch{},
		polled: map[*dirWatch]struct{}{},
	}
}

// identify is the inode of the directory that a name leads to, or the zero one.
func identify(name string) inode {
	fi, err := os.Stat(name)
	if err != nil || !fi.IsDir() {
		return inode{}
	}
	return inodeOf(name, fi)
}

// hold is the use of a watch as it was when it was acquired.
type hold struct {
	dir  *dirWatch
	turn int
}

// acquire watches a directory for one more user. False: it is none, or gone.
func (t *table) acquire(name string) (hold, bool) {
	fi, err := os.Stat(name)
	if err != nil || !fi.IsDir() {
		return hold{}, false
	}
	ino, users := inodeOf(name, fi), 0
	if d := t.names[name]; d != nil {
		if d.ino == ino && d.live {
			d.names[name]++
			return hold{d, d.turn}, true
		}
		users = d.names[name]
		t.detach(d, name)
	}
	d := t.inodes[ino]
	if d == nil {
		d = &dirWatch{ino: ino, path: name, names: map[string]int{}}
		t.inodes[ino] = d
	}
	if d.path != name && identify(d.path) != ino { // it was moved
		t.unwatch(d)
		d.path = name
	}
	d.names[name] = users + 1
	t.names[name] = d
	if !d.live {
		t.start(d)
	}
	return hold{d, d.turn}, true
}

// start asks for events, or has the directory polled.
func (t *table) start(d *dirWatch) {
	if old := t.paths[d.path]; old != nil && old != d { // the name went to another directory
		t.unwatch(old)
		t.gap(old)
	}
	t.paths[d.path] = d
	if t.src != nil {
		_ = t.src.fs.Remove(d.path) // what fsnotify remembers of an earlier directory of this name
	}
	d.live = true
	if d.turn++; d.turn > 1 {
		t.gap(d)
	}
	err := t.addDir(d.path)
	if err == nil {
		return
	}
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENOTDIR) {
		d.live = false // gone again, which its parent tells; or closed to us, and a change of mode is told too
		return
	}
	t.polled[d] = struct{}{}
	t.warn(err)
}

// gap notes that events of a directory may be missing.
func (t *table) gap(d *dirWatch) {
	for name := range d.names {
		t.gaps = append(t.gaps, name)
	}
}

// unwatch ends the events of a directory; its users stay.
func (t *table) unwatch(d *dirWatch) {
	if t.paths[d.path] == d {
		delete(t.paths, d.path)
		if t.src != nil {
			_ = t.src.fs.Remove(d.path) // an error says that it is gone already
		}
	}
	delete(t.polled, d)
	d.live = false
}

// release gives back one use.
func (t *table) release(name string) {
	d := t.names[name]
	if d == nil {
		return
	}
	if d.names[name]--; d.names[name] <= 0 {
		t.detach(d, name)
	}
}

func (t *table) detach(d *dirWatch, name string) {
	delete(d.names, name)
	delete(t.names, name)
	if len(d.names) == 0 {
		t.unwatch(d)
		if t.inodes[d.ino] == d {
			delete(t.inodes, d.ino)
		}
	}
}

// current tells whether a name still leads to the directory of the hold, and
// that has been watched since. Another subscription may have moved the watch on
// already.
func (t *table) current(name string, h hold) bool {
	d := t.names[name]
	return d != nil && d == h.dir && d.turn == h.turn && d.live && identify(name) == d.ino
}

// locate finds what an event is about: the directory that holds the entry, and
// the entry itself if it is watched too.
func (t *table) locate(event string) (parent, self *dirWatch) {
	return t.paths[filepath.Dir(event)], t.paths[event]
}

// retry asks again for the events of what is polled, until the kernel refuses,
// and returns what is watched now.
func (t *table) retry() []*dirWatch {
	var back []*dirWatch
	if t.src == nil {
		return nil
	}
	for d := range t.polled {
		if err := t.addDir(d.path); errors.Is(err, syscall.ENOENT) {
			continue // a look will find out
		} else if err != nil {
			break
		}
		delete(t.polled, d)
		back = append(back, d)
	}
	return back
}
