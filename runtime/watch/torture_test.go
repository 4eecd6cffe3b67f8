package watch

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"pgregory.net/rapid"
)

// tenThousand writes a tree of 10,000 files in 400 directories, and returns the
// longest time that it did not get on.
func tenThousand(tb testing.TB, dir, text string) time.Duration {
	var gap time.Duration
	last := time.Now()
	for i := range 400 {
		d := filepath.Join(dir, fmt.Sprintf("d%d/e%d", i%20, i))
		if err := os.MkdirAll(d, 0o755); err != nil {
			tb.Fatal(err)
		}
		for j := range 25 {
			if err := os.WriteFile(filepath.Join(d, fmt.Sprintf("f%d.go", j)), []byte(text), 0o644); err != nil {
				tb.Fatal(err)
			}
			now := time.Now()
			gap, last = max(gap, now.Sub(last)), now
		}
	}
	return gap
}

// TestStormIsOneChange counts the sets of a checkout. Where the machine stalls for
// longer than the quiet time there are rightly more.
func TestStormIsOneChange(t *testing.T) {
	const debounce = 250 * time.Millisecond
	dir, err := os.MkdirTemp("/dev/shm", "o") // a disk under load stalls
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := newProjectIn(t, dir, "s").open(Spec{ID: "x", Paths: []string{"."}, Debounce: debounce})
	for _, text := range []string{"package a", "package b"} {
		gap := tenThousand(t, p.dir, text)
		c := p.next()
		if gap < debounce/2 && (c.Count != 10000 || len(c.Files) != FilesMax || c.Files[0] != "d0/e0/f0.go") {
			t.Fatalf("got %d files from %q on, want 10000; longest gap %v", c.Count, c.Files, gap)
		}
		for count := c.Count; count < 10000; {
			count += p.next().Count
		}
		p.quiet("s")
		p.settle()
	}
	tenThousand(t, p.dir, "package b") // written again, as it was
	p.quiet("s")
}

// oracle reads the tree as a subscription to "." should see it.
func oracle(tb testing.TB, dir string) map[string]string {
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path != dir && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
		case d.Type().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fi, err := d.Info()
			if err != nil {
				return err
			}
			all[path[len(dir)+1:]] = fmt.Sprintf("%x %v", sha256.Sum256(data), fi.Mode()&0o111 != 0)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		tb.Fatal(err)
	}
	return all
}

// believes is what the subscription holds for true.
func (p *project) believes(id string) map[string]string {
	all := map[string]string{}
	p.w.do(func(l *loop) {
		for dir, n := range l.subs[id].tree.dirs {
			for name, v := range n.files {
				if !v.hashed { // as in a look that needs it
					l.contents.hash(join(dir, name), v)
				}
				all[join(dir, name)[len(p.dir)+1:]] = fmt.Sprintf("%x %v", v.sum, v.exec)
			}
		}
	})
	return all
}

// until collects what is reported until the sentinel is.
func (p *project) until(sentinel string) map[string]bool {
	p.write(sentinel, time.Now().String())
	seen := map[string]bool{}
	for !seen[sentinel] {
		c := p.next()
		for _, f := range c.Files {
			seen[f] = true
		}
		if c.Count > FilesMax {
			p.t.Fatalf("got %d files, the test wants at most %d", c.Count, FilesMax)
		}
	}
	delete(seen, sentinel)
	return seen
}

// round does random things to a small tree, and checks that what is reported is
// what changed.
func (p *project) round(intn func(n int) int, overflow bool) {
	before := oracle(p.t, p.dir)
	dirs := []string{".", "a", "a/b", "c", "a/b/d", "c/.h"}
	files := []string{"f", "g"}
	dir := func() string { return dirs[intn(len(dirs))] }
	file := func() string { return filepath.Join(dir(), files[intn(len(files))]) }
	touched := map[string]bool{}
	for range 1 + intn(8) {
		switch name := file(); intn(10) {
		case 0, 1, 2:
			_ = os.MkdirAll(filepath.Dir(p.path(name)), 0o755)
			_ = os.WriteFile(p.path(name), []byte{byte('0' + intn(4))}, 0o644)
		case 3:
			_ = os.Remove(p.path(name))
		case 4:
			_ = os.Rename(p.path(name), p.path(file()))
		case 5:
			if d := dir(); d != "." {
				_ = os.RemoveAll(p.path(d))
			}
		case 6:
			_ = os.Rename(p.path(dir()), p.path(dir()))
		case 7:
			_ = os.Chmod(p.path(name), []fs.FileMode{0o644, 0o755}[intn(2)])
		case 8:
			now := time.Now()
			_ = os.Chtimes(p.path(name), now, now)
		case 9:
			_ = os.MkdirAll(p.path(dir()), 0o755)
		}
		for f := range oracle(p.t, p.dir) {
			touched[f] = true
		}
	}
	if overflow { // what was told so far is lost
		p.w.do(func(l *loop) {
			l.src.take()
			l.src.lost()
		})
	}
	after := p.check(before, touched)
	if b := p.believes("all"); !maps.Equal(after, b) {
		p.t.Fatalf("believes %v\nwhile there is %v", b, after)
	}
}

func (p *project) check(before map[string]string, touched map[string]bool) map[string]string {
	p.t.Helper()
	seen := p.until("s")
	after := oracle(p.t, p.dir)
	for f := range seen {
		if !touched[f] && before[f] == "" {
			p.t.Fatalf("reported %q, which never was", f)
		}
	}
	for _, m := range []map[string]string{before, after} {
		for f := range m {
			if f != "s" && before[f] != after[f] && !seen[f] {
				p.t.Fatalf("%q changed and was not reported (%v)", f, seen)
			}
		}
	}
	return after
}

var quick = Spec{ID: "all", Paths: []string{"."}, Debounce: 10 * time.Millisecond}

func TestOverflowRounds(t *testing.T) {
	rounds := 100
	if testing.Short() {
		rounds = 20
	}
	seed := time.Now().UnixNano()
	t.Log("seed", seed)
	r := rand.New(rand.NewSource(seed))
	p := newProject(t, "a/f", "s").open(quick)
	for range rounds {
		p.round(r.Intn, r.Intn(2) == 0)
	}
}

func TestReportedStateIsTheFileSystems(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := newProject(t, "a/f", "a/b/g", "s").open(quick, Spec{ID: "other", Paths: []string{"a/b", "c/f"}, Debounce: time.Hour})
		defer p.w.Close()
		for range rapid.IntRange(1, 3).Draw(rt, "rounds") {
			p.round(func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "n") }, rapid.Bool().Draw(rt, "overflow"))
		}
		p.w.Remove("all")
		p.w.Remove("other")
		p.w.do(func(l *loop) {
			if n := len(l.table.inodes) + len(l.table.names) + len(l.table.paths) + len(l.src.fs.WatchList()); n != 0 {
				rt.Fatalf("%d left over: %v %v", n, l.table.names, l.src.fs.WatchList())
			}
		})
	})
}

// TestKernelOverflow fills the kernel's queue for real: while the pump waits for
// the lock, nobody reads.
func TestKernelOverflow(t *testing.T) {
	p := newProject(t, "s").open(all)
	var src *source
	p.w.do(func(l *loop) { src = l.src })
	src.mu.Lock()
	for i := range 3000 {
		for _, name := range []string{"f", "g"} {
			p.write(name, fmt.Sprint(i)) // create, write, two of renaming: events that do not fold
		}
	}
	p.write("last", "x")
	src.mu.Unlock()
	seen := map[string]bool{}
	for !seen["f"] || !seen["g"] || !seen["last"] {
		for _, f := range p.next().Files {
			seen[f] = true
		}
	}
	if want, got := oracle(t, p.dir), p.believes("all"); !maps.Equal(got, want) {
		t.Errorf("believes %v\nwhile there is %v", got, want)
	}
}

func TestPollingWhenTheLimitIsReached(t *testing.T) {
	s := system()
	left := 3
	s.add = func(w *fsnotify.Watcher, dir string) error {
		if left == 0 {
			return fmt.Errorf("add %s: %w", dir, syscall.ENOSPC)
		}
		left--
		return w.Add(dir)
	}
	p := newProject(t, "a/b/x", "c/y", "s")
	p.openWith(Options{}, s)
	p.w.do(func(l *loop) { l.poll.least = 20 * time.Millisecond })
	p.ok(p.w.Add(quick))
	p.settle()
	p.write("a/b/x", "2")
	p.write("c/y", "2")
	p.write("new/deep/z", "2")
	seen := p.until("s")
	for _, f := range []string{"a/b/x", "c/y", "new/deep/z"} {
		for !seen[f] {
			maps.Copy(seen, p.until("s"))
		}
	}
	if len(p.warnings) != 1 || !strings.Contains(p.warnings[0], "max_user_watches") {
		t.Errorf("got the warnings %q, want one that names the limit", p.warnings)
	}
	p.w.do(func(*loop) { left = 1000 })                         // raised
	for polled := 1; polled > 0; time.Sleep(time.Millisecond) { // no event: that a poll became a watch is not told
		p.w.do(func(l *loop) { polled = len(l.table.polled) })
	}
	p.write("a/b/x", "3")
	p.want("a/b/x")
}

func TestPollingWithoutInotify(t *testing.T) {
	s := system()
	s.open = func() (*fsnotify.Watcher, error) { return nil, syscall.EMFILE }
	p := newProject(t, "a/x", "s")
	p.openWith(Options{}, s)
	p.w.do(func(l *loop) { l.poll.least = 20 * time.Millisecond })
	p.ok(p.w.Add(quick))
	p.ok(p.w.Add(Spec{ID: "later", Paths: []string{"k/l/m"}, Debounce: 10 * time.Millisecond}))
	for i := range 5 {
		p.write("a/x", fmt.Sprint(i))
		p.want("a/x")
		p.ok(os.RemoveAll(p.path("a")))
		p.want("a/x")
		p.write("a/x", "again")
		p.want("a/x")
	}
	p.w.Remove("all")
	p.write("k/l/m", "1")
	p.want("k/l/m")
	p.ok(os.RemoveAll(p.dir))
	p.want("k/l/m")
	p.write("k/l/m", "1")
	p.want("k/l/m")
	if len(p.warnings) != 1 || !strings.Contains(p.warnings[0], "max_user_instances") {
		t.Errorf("got the warnings %q, want one that names the limit", p.warnings)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 10 {
		p := newProject(t, "a/x").open(all)
		tenDirs(p)
		p.w.Close()
		for range p.w.Changes() {
			t.Error("got a change after Close")
		}
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<16)
			t.Fatalf("%s", buf[:runtime.Stack(buf, true)])
		}
	}
}

func tenDirs(p *project) {
	for i := range 10 {
		p.write(fmt.Sprintf("d%d/x", i), "x")
	}
}

func TestPulse(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(1_000_000 + ms)) }
	for _, r := range []struct {
		debounce                int // ms
		first, grown, last, due int
	}{
		{100, 0, 0, 0, 100},
		{100, 0, 0, 950, 1000},        // writes go on: cut at ten times
		{100, 0, 900, 1500, 1600},     // new names came: quiet decides
		{100, 0, 14900, 14990, 15000}, // a storm ends as well
		{500, 0, 0, 1900, 2000},       // at most 2 s
		{5000, 0, 0, 4000, 5000},      // but never before the quiet time
	} {
		p := pulse{time.Duration(r.debounce) * time.Millisecond, at(r.first), at(r.grown), at(r.last)}
		if got := p.due(); !got.Equal(at(r.due)) {
			t.Errorf("%+v: got %d, want %d", r, got.Sub(at(0)).Milliseconds(), r.due)
		}
	}
}

func TestUnhashedFiles(t *testing.T) {
	old := &version{meta: meta{size: 1, mtime: 1}}
	for what, r := range map[string]struct {
		now  *version
		want bool
	}{
		"the same":     {old, false},
		"gone":         {nil, true},
		"only ctime":   {&version{meta: meta{size: 1, mtime: 1, ctime: 5}}, false},
		"touched":      {&version{meta: meta{size: 1, mtime: 2}}, true},
		"larger":       {&version{meta: meta{size: 2, mtime: 1}}, true},
		"executable":   {&version{meta: meta{size: 1, mtime: 1, exec: true}}, true},
		"another file": {&version{meta: meta{size: 1, mtime: 1, ino: identify(t.TempDir())}}, true},
	} {
		if got := differs(old, r.now); got != r.want {
			t.Errorf("%s: got %v, want %v", what, got, r.want)
		}
	}
}

func BenchmarkAdd10k(b *testing.B) {
	dir := b.TempDir()
	tenThousand(b, dir, "package a")
	for b.Loop() {
		w, err := New(Options{Root: dir})
		if err != nil {
			b.Fatal(err)
		}
		if err := w.Add(Spec{ID: "x", Paths: []string{"."}}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		w.Close()
		b.StartTimer()
	}
}

// BenchmarkLatency is from a write to its change set, with the shortest debounce.
func BenchmarkLatency(b *testing.B) {
	dir := b.TempDir()
	w, err := New(Options{Root: dir})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	if err := w.Add(Spec{ID: "x", Paths: []string{"."}, Debounce: 1}); err != nil {
		b.Fatal(err)
	}
	name := filepath.Join(dir, "f")
	for i := 0; b.Loop(); i++ {
		want := []byte(fmt.Sprint(i))
		if err := os.WriteFile(name, want, 0o644); err != nil {
			b.Fatal(err)
		}
		if c := <-w.Changes(); !slices.Equal(c.Files, []string{"f"}) {
			b.Fatalf("got %v", c)
		}
	}
}
