package fresh

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// tick passes a step of the clock of files, so that nothing is young: only time does that.
func tick() { time.Sleep(15 * time.Millisecond) }

// shelf is a folder with a.in, b.in, c.in, and tasks a, b, c of which each needs the one before.
func shelf(t interface {
	TempDir() string
	Fatal(...any)
}) (dir string, c Contents) {
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "src"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.in", "b.in", "c.in", "src/x", "eval"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tick()
	c = Contents{Stamp: "now", Facts: []byte("facts"), Seen: []Sight{Look(filepath.Join(dir, "eval"), Target)}}
	var needs []string
	for _, name := range []string{"a", "b", "c"} {
		task := Task{Name: name, Needs: needs, Facts: []byte("of " + name), Node: []byte("node " + name)}
		task.Seen = []Sight{Look(filepath.Join(dir, name+".in"), Path), Look(filepath.Join(dir, name+".no"), Path)}
		if name == "b" {
			task.Seen = append(task.Seen, Look(filepath.Join(dir, "src"), Target), Look(filepath.Join(dir, "src/x"), Path))
		}
		c.Tasks = append(c.Tasks, task)
		needs = []string{name}
	}
	c.Requests = []Request{{Key: "all", Named: []string{"c"}, Need: []string{"a", "b", "c"}}, {Key: "one", Named: []string{"a"}, Need: []string{"a"}}}
	return dir, c
}

func written(t *testing.T, dir string, c Contents) *Book {
	t.Helper()
	path := filepath.Join(dir, ".orrery", "fresh", "book")
	if err := New(path, c).Write(t.Context()); err != nil {
		t.Fatal(err)
	}
	return reopen(t, path)
}

func reopen(t *testing.T, path string) *Book {
	t.Helper()
	b, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *Book) staleNames(key string) []string {
	_, need, _ := b.Request(key)
	names := []string{}
	for _, i := range b.Stale(need) {
		names = append(names, b.Name(i))
	}
	return names
}

func TestStale(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(dir string) error
		want []string
	}{
		"nothing":        {func(string) error { return nil }, []string{}},
		"content":        {func(d string) error { return os.WriteFile(d+"/b.in", []byte("B.IN"), 0o644) }, []string{"b", "c"}},
		"same size time": {sameTimes, []string{"c"}},
		"mode":           {func(d string) error { return os.Chmod(d+"/c.in", 0o755) }, []string{"c"}},
		"removed":        {func(d string) error { return os.Remove(d + "/a.in") }, []string{"a", "b", "c"}},
		"appears":        {func(d string) error { return os.WriteFile(d+"/c.no", nil, 0o644) }, []string{"c"}},
		"new in folder":  {func(d string) error { return os.WriteFile(d+"/src/y", nil, 0o644) }, []string{"b", "c"}},
		"replaced": {func(d string) error {
			if err := os.WriteFile(d+"/tmp", []byte("c.in"), 0o644); err != nil {
				return err
			}
			return os.Rename(d+"/tmp", d+"/c.in")
		}, []string{"c"}},
		"link instead": {func(d string) error {
			if err := os.Rename(d+"/c.in", d+"/other"); err != nil {
				return err
			}
			return os.Symlink("other", d+"/c.in")
		}, []string{"c"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, contents := shelf(t)
			b := written(t, dir, contents)
			if err := c.do(dir); err != nil {
				t.Fatal(err)
			}
			if got := b.staleNames("all"); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if !b.Holds() {
				t.Error("the evaluation does not hold")
			}
		})
	}
}

// sameTimes changes the content and puts size and modification time back.
func sameTimes(dir string) error {
	name := dir + "/c.in"
	fi, err := os.Stat(name)
	if err != nil {
		return err
	}
	if err := os.WriteFile(name, []byte("C.IN"), 0o644); err != nil {
		return err
	}
	return os.Chtimes(name, fi.ModTime(), fi.ModTime())
}

func TestYoungIsStale(t *testing.T) {
	dir, c := shelf(t)
	c.Tasks[2].Seen[0].State.Young = true
	b := written(t, dir, c)
	if got := b.staleNames("all"); !slices.Equal(got, []string{"c"}) {
		t.Errorf("got %v", got)
	}
	c.Tasks[1].Seen = nil
	b = written(t, dir, c)
	if got := b.staleNames("all"); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("got %v of a task of which nothing is known", got)
	}
}

func TestBookKeepsAll(t *testing.T) {
	dir, c := shelf(t)
	b := written(t, dir, c)
	if b.Stamp() != "now" || string(b.Facts()) != "facts" || b.Len() != 3 {
		t.Errorf("got stamp %q, facts %q, %d tasks", b.Stamp(), b.Facts(), b.Len())
	}
	for i, want := range c.Tasks {
		got := b.Seen(i)
		less := func(a, b Sight) int { return cmpSight(a, b) }
		slices.SortFunc(got, less)
		seen := slices.SortedFunc(slices.Values(want.Seen), less)
		if b.Name(i) != want.Name || string(b.TaskFacts(i)) != string(want.Facts) || !slices.Equal(got, seen) {
			t.Errorf("task %d: got %s %q %v, want %v", i, b.Name(i), b.TaskFacts(i), got, seen)
		}
	}
	nodes, err := b.Nodes([]int{2, 0})
	if err != nil || string(nodes[0]) != "node c" || string(nodes[1]) != "node a" {
		t.Errorf("got %q, %v", nodes, err)
	}
	if _, _, ok := b.Request("else"); ok {
		t.Error("a request that was never made is known")
	}
	named, need, ok := b.Request("one")
	if !ok || len(named) != 1 || len(need) != 1 || b.Name(named[0]) != "a" {
		t.Errorf("got %v %v %v", named, need, ok)
	}
}

func cmpSight(a, b Sight) int {
	if a.Name < b.Name {
		return -1
	}
	return 1
}

func TestUpdate(t *testing.T) {
	dir, c := shelf(t)
	b := written(t, dir, c)
	if err := os.WriteFile(dir+"/b.in", []byte("new"), 0o644); err != nil {
		t.Fatal(err)
	}
	tick()
	seen := slices.Clone(c.Tasks[1].Seen)
	seen[0] = Look(dir+"/b.in", Path)
	if err := b.Update(t.Context(), []Task{{Name: "b", Seen: seen, Facts: []byte("anew")}}, Request{Key: "two", Named: []string{"b"}, Need: []string{"b", "a"}}); err != nil {
		t.Fatal(err)
	}
	now := reopen(t, b.path)
	if got := now.staleNames("all"); len(got) > 0 {
		t.Errorf("got %v", got)
	}
	if _, need, ok := now.Request("two"); !ok || len(need) != 2 || string(now.TaskFacts(1)) != "anew" {
		t.Errorf("got %v %v %q", need, ok, now.TaskFacts(1))
	}
	// A failure takes its knowledge away.
	if err := now.Update(t.Context(), []Task{{Name: "a"}}); err != nil {
		t.Fatal(err)
	}
	if got := reopen(t, b.path).staleNames("one"); !slices.Equal(got, []string{"a"}) {
		t.Errorf("got %v", got)
	}
	// A book that was replaced meanwhile is not touched.
	c.Stamp = "later"
	later := written(t, dir, c)
	if err := b.Update(t.Context(), []Task{{Name: "c"}}); err != nil {
		t.Fatal(err)
	}
	if !reopen(t, later.path).Knows(2) {
		t.Error("an update of an old book changed the new one")
	}
}

// TestUpdatesAtOnce: what several processes learn is all kept.
func TestUpdatesAtOnce(t *testing.T) {
	dir, c := shelf(t)
	b := written(t, dir, c)
	done := make(chan error)
	for i := range 20 {
		go func() {
			done <- b.Update(context.Background(), nil, Request{Key: fmt.Sprint("r", i), Need: []string{"a"}})
		}()
	}
	for range 20 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	now := reopen(t, b.path)
	for i := range 20 {
		if _, _, ok := now.Request(fmt.Sprint("r", i)); !ok {
			t.Errorf("request %d is lost", i)
		}
	}
}

func TestTorn(t *testing.T) {
	dir, c := shelf(t)
	b := written(t, dir, c)
	text, err := os.ReadFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range text {
		torn := slices.Clone(text)
		torn[n] ^= 1
		for _, bad := range [][]byte{text[:n], torn} {
			if new(Book).decode(bad) == nil {
				t.Fatalf("a book that is bad at byte %d is believed", n)
			}
		}
	}
	nodes, err := os.ReadFile(b.nodesFile())
	if err != nil {
		t.Fatal(err)
	}
	nodes[0] ^= 1
	if err := os.WriteFile(b.nodesFile(), nodes, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Nodes([]int{0}); err == nil {
		t.Error("a declaration that was altered is believed")
	}
	if _, err := b.Nodes([]int{1}); err != nil {
		t.Error(err)
	}
}

// TestAnyChange: whatever is done to the files, the tasks that rest on them are stale, and no others; and a guard says the same.
func TestAnyChange(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "o")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		var c Contents
		c.Stamp = "s"
		all := []string{}
		for i := range 4 {
			name := fmt.Sprintf("%s/f%d", dir, i)
			if err := os.WriteFile(name, []byte("0"), 0o644); err != nil {
				rt.Fatal(err)
			}
			all = append(all, fmt.Sprint("t", i))
		}
		tick()
		for i, name := range all {
			c.Tasks = append(c.Tasks, Task{Name: name, Seen: []Sight{Look(fmt.Sprintf("%s/f%d", dir, i), Path)}})
		}
		c.Requests = []Request{{Key: "all", Need: all}}
		path := dir + "/.orrery/fresh/book"
		if err := New(path, c).Write(context.Background()); err != nil {
			rt.Fatal(err)
		}
		b, err := Open(path)
		if err != nil {
			rt.Fatal(err)
		}
		g := NewGuard(path)
		defer g.Close()
		want := map[string]bool{}
		for range rapid.IntRange(1, 6).Draw(rt, "n") {
			if _, good, err := g.Good(context.Background(), "all"); err != nil || good != (len(want) == 0) {
				rt.Fatalf("the guard says %v, %v; stale are %v", good, err, want)
			}
			i := rapid.IntRange(0, 3).Draw(rt, "file")
			name := fmt.Sprintf("%s/f%d", dir, i)
			switch rapid.SampledFrom([]string{"write", "remove", "rename", "chmod", "nothing", "other"}).Draw(rt, "what") {
			case "write":
				err = os.WriteFile(name, []byte("1"), 0o644)
			case "remove":
				os.Remove(name)
			case "rename":
				if err = os.WriteFile(dir+"/new", []byte("0"), 0o644); err == nil {
					err = os.Rename(dir+"/new", name)
				}
			case "chmod":
				os.Chmod(name, 0o600)
			case "nothing":
				continue
			case "other":
				if err := os.WriteFile(dir+"/unrelated", nil, 0o644); err != nil {
					rt.Fatal(err)
				}
				continue
			}
			if err != nil {
				rt.Fatal(err)
			}
			want[fmt.Sprint("t", i)] = true
			got := b.staleNames("all")
			if len(got) != len(want) || slices.ContainsFunc(got, func(n string) bool { return !want[n] }) {
				rt.Fatalf("got %v, want %v", got, want)
			}
		}
	})
}

// TestGuard: what happens to the folders that lead to a file is noticed, and so is a new book.
func TestGuard(t *testing.T) {
	dir, c := shelf(t)
	deep := filepath.Join(dir, "one", "two")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(deep+"/in", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(deep+"/in", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	tick()
	c.Tasks[0].Seen = append(c.Tasks[0].Seen, Look(deep+"/in", Path), Look(dir+"/absent/file", Path), Look(dir+"/link", Target))
	b := written(t, dir, c)
	g := NewGuard(b.path)
	defer g.Close()
	good := func(want bool) {
		t.Helper()
		if _, got, err := g.Good(t.Context(), "all"); err != nil || got != want {
			t.Fatalf("got %v, %v, want %v", got, err, want)
		}
	}
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	good(true)
	good(true)
	move("one", "else")
	good(false)
	move("else", "one")
	good(true) // the files are the same
	if err := os.MkdirAll(dir+"/absent", 0o755); err != nil {
		t.Fatal(err)
	}
	good(true)
	if err := os.WriteFile(dir+"/absent/file", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	good(false)
	if err := os.Remove(dir + "/absent/file"); err != nil {
		t.Fatal(err)
	}
	good(true)
	if err := os.WriteFile(deep+"/in", []byte("x"), 0o644); err != nil { // also behind the link
		t.Fatal(err)
	}
	good(false)
	tick()
	for i, s := range c.Tasks[0].Seen {
		c.Tasks[0].Seen[i] = Look(s.Name, s.How)
	}
	written(t, dir, c)
	good(true)
	if err := os.WriteFile(dir+"/eval", []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	good(false)
	os.Remove(b.path)
	good(false)
}
