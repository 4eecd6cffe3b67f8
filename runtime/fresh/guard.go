package fresh

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"orrery/runtime/watch"
)

// Guard knows of a book, without looking, that nothing has changed: it watches the folders of all that the book rests on. A request that
// was found good stays so until something happens there, or another book is written. It may be asked from any goroutine. What is written
// through a shared mapping of memory is no event on Linux, nor is what another machine does on a shared file system.
type Guard struct {
	path string

	mu      sync.Mutex // held for the whole of a question
	watched *watched
	cookies int
}

// watched is a book under watch.
type watched struct {
	book   *Book
	file   State // of the book
	dirs   *watch.Dirs
	cookie string

	ways []string // folders whose removal or appearance makes the watch void; sorted

	mu    sync.Mutex
	names map[string]bool // of sights and ways, and with a slash of folders of which everything counts
	good  map[string]bool // requests found good since something happened
	turn  int             // counts what happened
	lost  bool
	seen  chan string // cookies that have come
}

// NewGuard guards the book at a path, from the first question on. Close ends it.
func NewGuard(path string) *Guard { return &Guard{path: path} }

// errLost says that a watch is void and a new one is to be made.
var errLost = errors.New("what is watched is no longer what was")

// syncTime is how long the kernel may take to tell of the cookie. After that, nothing is known.
const syncTime = 100 * time.Millisecond

// maxFolders is how many folders are watched at most.
const maxFolders = 20_000

// Good tells whether all tasks of a request are as they should be, and gives the book. Without a book, or one that does not know the
// request, nothing is.
func (g *Guard) Good(ctx context.Context, key string) (*Book, bool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w, err := g.current()
	if err != nil || w == nil {
		return nil, false, err
	}
	turn, err := g.sync(ctx, w)
	if errors.Is(err, errLost) {
		g.drop()
		if w, err = g.current(); err == nil && w != nil {
			turn, err = g.sync(ctx, w)
		}
	}
	if err != nil || w == nil {
		g.drop()
		return nil, false, err
	}
	w.mu.Lock()
	good := w.good[key]
	w.mu.Unlock()
	if good {
		return w.book, true, nil
	}
	_, need, ok := w.book.Request(key)
	if !ok || !w.book.Holds() || len(w.book.Stale(need)) > 0 {
		return w.book, false, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.turn == turn && !w.lost { // else something happened while it was looked at
		w.good[key] = true
	}
	return w.book, true, nil
}

// current gives the book that is there, under watch; nil if there is none.
func (g *Guard) current() (*watched, error) {
	now := Look(g.path, Path).State
	now.Young = false
	if g.watched != nil && g.watched.file == now {
		return g.watched, nil
	}
	g.drop()
	if now == (State{}) {
		return nil, nil
	}
	b, err := Open(g.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	w := &watched{book: b, file: now, names: map[string]bool{}, good: map[string]bool{}, seen: make(chan string, 16)}
	w.cookie = filepath.Join(filepath.Dir(g.path), "cookie-")
	if err := w.begin(filepath.Dir(g.path)); err != nil {
		return nil, err
	}
	g.watched = w
	return w, nil
}

// begin watches what leads to every sight.
func (w *watched) begin(home string) error {
	p := places{root: filepath.Dir(filepath.Dir(home)), w: w, folders: map[string]bool{home: true}, ways: map[string]bool{}}
	b := w.book
	for i := 0; i < len(b.sights); i += sightSize {
		e := b.sights[i : i+sightSize]
		name := string(b.text(b.folders, int(u32(e, sightFolder))*folderSize)) + string(b.text(e, sightName))
		how, state := How(e[sightHow]), stateAt(e)
		p.add(name)
		if how != Path {
			p.follow(name)
		}
		if state.Mode&modeType == modeDir && how != There {
			p.folders[name] = true
			w.names[name+"/"] = true
		}
	}
	if len(p.folders) > maxFolders {
		return fmt.Errorf("cannot watch %d folders: want at most %d", len(p.folders), maxFolders)
	}
	slices.Sort(w.ways)
	d, err := watch.NewDirs(w.happened, func(error) { w.lose() })
	if err != nil {
		return err
	}
	for dir := range p.folders {
		if err := d.Add(dir); err != nil {
			d.Close()
			return err
		}
	}
	w.dirs = d
	return nil
}

// The bits of a mode that tell a folder.
const (
	modeType = 0o170000
	modeDir  = 0o040000
)

// places collects the folders to be watched.
type places struct {
	root    string // of the project
	w       *watched
	folders map[string]bool
	ways    map[string]bool // folders whose way from above is watched
}

// add has a file watched: its folder, and whatever may put another one in the place of that.
func (p *places) add(name string) {
	p.w.names[name] = true
	dir := filepath.Dir(name)
	if p.folders[dir] && p.ways[dir] {
		return
	}
	for !isDir(dir) && dir != "/" { // where it is missing, what would be its beginning
		p.w.ways = append(p.w.ways, dir)
		p.w.names[dir] = true
		dir = filepath.Dir(dir)
	}
	p.folders[dir] = true
	for !p.ways[dir] {
		p.ways[dir] = true
		if dir == p.root || dir == "/" {
			return
		}
		p.w.names[dir] = true
		p.w.ways = append(p.w.ways, dir)
		dir = filepath.Dir(dir)
		p.folders[dir] = true
	}
}

// follow has what a link leads to watched, too.
func (p *places) follow(name string) {
	for range 40 {
		to, err := os.Readlink(name)
		if err != nil {
			break
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(name), to)
		}
		name = to
		p.add(name)
	}
	if real, err := filepath.EvalSymlinks(name); err == nil && real != name {
		p.add(real)
	}
}

func isDir(name string) bool {
	fi, err := os.Stat(name)
	return err == nil && fi.IsDir()
}

// happened takes an event.
func (w *watched) happened(name string) {
	if strings.HasPrefix(name, w.cookie) {
		select {
		case w.seen <- name:
		default:
		}
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.names[name] || w.names[filepath.Dir(name)+"/"] {
		w.turn++
		clear(w.good)
		_, way := slices.BinarySearch(w.ways, name)
		w.lost = w.lost || way
	}
}

func (w *watched) lose() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost = true
	w.turn++
	clear(w.good)
}

// sync waits until the events of all that happened before have come, and gives their count.
func (g *Guard) sync(ctx context.Context, w *watched) (turn int, err error) {
	g.cookies++
	name := fmt.Sprintf("%s%d-%d", w.cookie, os.Getpid(), g.cookies)
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		return 0, err
	}
	defer os.Remove(name)
	timer := time.NewTimer(syncTime)
	defer timer.Stop()
	for {
		select {
		case got := <-w.seen:
			if got != name {
				continue
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.lost {
				return 0, errLost
			}
			return w.turn, nil
		case <-timer.C:
			return 0, errors.New("the kernel does not tell of changes in time")
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (g *Guard) drop() {
	if g.watched != nil {
		g.watched.dirs.Close()
		g.watched = nil
	}
}

// Close ends the watching.
func (g *Guard) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.drop()
}
