package watch

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// calm waits until all events so far have been looked at.
func (p *project) calm() {
	for busy := true; busy; {
		select {
		case <-p.w.Changes():
			continue
		default:
		}
		p.w.do(func(l *loop) {
			l.src.mu.Lock()
			busy = len(l.src.events) > 0 || l.src.overflow || len(l.out) > 0
			l.src.mu.Unlock()
			for _, s := range l.subs {
				busy = busy || s.pending()
			}
		})
		if busy {
			time.Sleep(time.Millisecond) // no event: calm is that none comes
		}
	}
}

// shape is what a subscription watches: directories, files with their content,
// and the names that decide.
func (p *project) shape(id string) (dirs, files, anchors []string) {
	p.w.do(func(l *loop) {
		t := l.subs[id].tree
		dirs = slices.Sorted(maps.Keys(t.dirs))
		for dir, a := range t.anchors {
			for name, was := range a {
				anchors = append(anchors, join(dir, name))
				if pinOf(join(dir, name)) != was {
					dirs = append(dirs, "stale anchor "+join(dir, name))
				}
			}
		}
		for dir, n := range t.dirs {
			for name, v := range n.files {
				l.contents.hash(join(dir, name), v)
				files = append(files, fmt.Sprintf("%s %x", join(dir, name), v.sum[:4]))
			}
			if !t.current(dir) {
				dirs = append(dirs, "unwatched "+dir)
			}
		}
	})
	slices.Sort(files)
	return dirs, files, anchors
}

func specs() []Spec {
	return []Spec{
		{ID: "all", Paths: []string{"."}},
		{ID: "task", Patterns: []Pattern{{Include: []string{"a/**/*.go", "*/b/*", "**/.h/*"}, Exclude: []string{"a/b/**"}}}, Gitignored: true},
		{ID: "paths", Paths: []string{"a/b/f.go", "c/l", "c", "a/.h", "../out"}, Ignore: []string{"*.o"}},
		{ID: "deep", Patterns: []Pattern{{Include: []string{"a/b/c/*.go"}}}, Paths: []string{"c/l/b/f.go"}},
	}
}

// TestAsIfAddedNow: whatever happened, a subscription watches what a new one of
// the same Spec would.
func TestAsIfAddedNow(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := newProject(t, "a/b/f.go", "c/f.go").open()
		defer p.w.Close()
		p.w.do(func(l *loop) { l.contents.left = budget{} })
		for _, s := range specs() {
			s.Debounce = time.Millisecond
			p.ok(p.w.Add(s))
		}
		steps := rapid.IntRange(1, 25).Draw(rt, "steps")
		for i := range steps {
			p.step(rt)
			if rapid.IntRange(0, 5).Draw(rt, "look") == 0 || i == steps-1 {
				p.compare(rt)
			}
		}
	})
}

func (p *project) compare(rt *rapid.T) {
	last := p.path("zz-last") // its event comes after all others
	p.ok(os.MkdirAll(p.dir, 0o755))
	p.ok(os.WriteFile(last, []byte(time.Now().String()), 0o644))
	for known := false; !known; {
		p.calm()
		p.w.do(func(l *loop) {
			v := l.subs["all"].tree.version(last)
			_, sum, _ := digest(last)
			known = v != nil && l.contents.hash(last, v) && v.sum == sum
		})
	}
	wrong := "?"
	for deadline := time.Now().Add(5 * time.Second); wrong != ""; { // old events may still come, and cause a look
		if time.Now().After(deadline) {
			rt.Fatal(wrong)
		}
		p.calm()
		wrong = ""
		for _, s := range specs() {
			wrong += p.unlike(s)
		}
	}
}

// unlike tells in what a subscription differs from a new one.
func (p *project) unlike(s Spec) string {
	dirs, files, anchors := p.shape(s.ID)
	s.ID += " anew"
	p.ok(p.w.Add(s))
	dirs2, files2, anchors2 := p.shape(s.ID)
	p.w.Remove(s.ID)
	anchors = slices.DeleteFunc(anchors, func(a string) bool { return !slices.Contains(anchors2, a) }) // of earlier links
	slices.Sort(anchors)
	slices.Sort(anchors2)
	for what, pair := range map[string][2][]string{"directories": {dirs, dirs2}, "files": {files, files2}, "anchors": {anchors, anchors2}} {
		if !slices.Equal(pair[0], pair[1]) {
			return fmt.Sprintf("%s: got %s\n%q, want\n%q\n", s.ID, what, pair[0], pair[1])
		}
	}
	return ""
}

func (p *project) step(rt *rapid.T) {
	dirs := []string{"a", "a/b", "a/b/c", "c", "c/l", "a/.h", "..", "a/l2"}
	dir := func() string { return p.path(rapid.SampledFrom(dirs).Draw(rt, "dir")) }
	file := func() string {
		return filepath.Join(dir(), rapid.SampledFrom([]string{"f.go", "g.o", "out", "b"}).Draw(rt, "file"))
	}
	switch rapid.IntRange(0, 9).Draw(rt, "op") {
	case 0, 1:
		name := file()
		_ = os.MkdirAll(filepath.Dir(name), 0o755)
		_ = os.WriteFile(name, []byte(rapid.StringMatching("[ab]").Draw(rt, "text")), 0o644)
	case 2:
		_ = os.Remove(file())
	case 3:
		if d := dir(); d != filepath.Dir(p.dir) {
			_ = os.RemoveAll(d)
		}
	case 4:
		_ = os.Rename(dir(), dir())
	case 5:
		_ = os.Rename(file(), file())
	case 6:
		_ = os.MkdirAll(dir(), 0o755)
	case 7:
		target := rapid.SampledFrom([]string{"../a/b", "../a", ".", "b", "../a/.h", "f.go", "../a/b/f.go", "nowhere"}).Draw(rt, "target")
		link := filepath.Join(p.dir, rapid.SampledFrom([]string{"c/l", "a/l2", "c/b"}).Draw(rt, "link"))
		_ = os.Remove(link)
		_ = os.Symlink(target, link)
	case 8:
		d := dir()
		_ = os.WriteFile(filepath.Join(d, ignoreFile), []byte(rapid.SampledFrom([]string{"*.o\n", "b/\n", "", "!*.o\nf.go\n", "/c\n"}).Draw(rt, "rules")), 0o644)
	case 9:
		_ = os.Rename(p.dir, p.dir+"2")
		_ = os.Rename(p.dir+"2", p.dir)
	}
}
