package watch

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// project is a directory with a watcher on it.
type project struct {
	t        *testing.T
	dir      string
	w        *Watcher
	warnings []string
}

func newProject(t *testing.T, files ...string) *project {
	t.Helper()
	return newProjectIn(t, t.TempDir(), files...)
}

func newProjectIn(t *testing.T, dir string, files ...string) *project {
	t.Helper()
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	p := &project{t: t, dir: filepath.Join(dir, "root")}
	p.mkdir("")
	for _, f := range files {
		p.write(f, "first "+f)
	}
	return p
}

func (p *project) open(specs ...Spec) *project {
	p.t.Helper()
	return p.openWith(Options{}, system(), specs...)
}

func (p *project) openWith(o Options, s seams, specs ...Spec) *project {
	p.t.Helper()
	o.Root = p.dir
	o.Warn = func(text string) { p.warnings = append(p.warnings, text) }
	w, err := newWatcher(o, s)
	if err != nil {
		p.t.Fatal(err)
	}
	p.w = w
	p.t.Cleanup(w.Close)
	for _, spec := range specs {
		if err := w.Add(spec); err != nil {
			p.t.Fatal(err)
		}
	}
	p.settle()
	return p
}

// settle waits until the background has hashed everything.
func (p *project) settle() {
	for busy := true; busy; {
		p.w.do(func(l *loop) { busy = len(l.contents.jobs) > 0 || l.hashing > 0 })
		if busy {
			time.Sleep(time.Millisecond) // no event: the background tells nobody
		}
	}
}

func (p *project) path(name string) string { return filepath.Join(p.dir, name) }

func (p *project) ok(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *project) mkdir(name string) {
	p.t.Helper()
	p.ok(os.MkdirAll(p.path(name), 0o755))
}

// write puts a file in place at once, so that nobody sees half of it.
func (p *project) write(name, text string) {
	p.t.Helper()
	dir := filepath.Dir(name)
	p.mkdir(dir)
	tmp := filepath.Join(dir, ".tmp")
	p.ok(os.WriteFile(p.path(tmp), []byte(text), 0o644))
	p.move(tmp, name)
}

// overwrite changes a file in place, to the same length.
func (p *project) overwrite(name, text string) {
	p.t.Helper()
	f, err := os.OpenFile(p.path(name), os.O_WRONLY, 0)
	p.ok(err)
	_, err = f.WriteString(text)
	p.ok(err)
	p.ok(f.Close())
}

func (p *project) move(from, to string) {
	p.t.Helper()
	p.ok(os.Rename(p.path(from), p.path(to)))
}

// next awaits a change set.
func (p *project) next() Change {
	p.t.Helper()
	select {
	case c := <-p.w.Changes():
		return c
	case <-time.After(20 * time.Second):
		p.t.Fatal("no change set in 20 s")
		return Change{}
	}
}

// want awaits a change set of exactly these files.
func (p *project) want(files ...string) {
	p.t.Helper()
	if c := p.next(); !slices.Equal(c.Files, files) || c.Count != len(files) {
		p.t.Fatalf("got a change of %q (%d), want %q", c.Files, c.Count, files)
	}
}

// quiet checks that nothing so far was a change: that a further one comes alone.
func (p *project) quiet(sentinel string) {
	p.t.Helper()
	p.write(sentinel, "sentinel "+time.Now().String())
	p.want(sentinel)
}

var all = Spec{ID: "all", Paths: []string{"."}, Debounce: 50 * time.Millisecond}

func TestWriteIsAChange(t *testing.T) {
	p := newProject(t, "a.go").open(all)
	p.overwrite("a.go", "second")
	c := p.next()
	if c.ID != "all" || c.Count != 1 || c.At.IsZero() || !slices.Equal(c.Files, []string{"a.go"}) {
		t.Errorf("got %+v", c)
	}
}

func TestSameSizeInTheSameTick(t *testing.T) {
	p := newProject(t)
	p.write("a", "1")
	p.open(all)
	for i := range 20 {
		p.overwrite("a", string(rune('a'+i)))
		p.want("a")
	}
}

func TestContentDecides(t *testing.T) {
	p := newProject(t, "a.go", "s").open(all)
	later := time.Now().Add(time.Hour)
	p.ok(os.Chtimes(p.path("a.go"), later, later))
	p.quiet("s")
	p.write("a.go", "first a.go")
	p.quiet("s")
	p.ok(os.Rename(p.path("a.go"), p.path("b.go")))
	p.ok(os.Rename(p.path("b.go"), p.path("a.go")))
	p.quiet("s")
	p.ok(os.Chmod(p.path("a.go"), 0o600))
	p.quiet("s")
	p.ok(os.Chmod(p.path("a.go"), 0o755))
	p.want("a.go")
	p.ok(os.Remove(p.path("a.go")))
	p.want("a.go")
}

func TestTimeSetBackHidesNothing(t *testing.T) {
	p := newProject(t, "a.go").open(all)
	fi, err := os.Stat(p.path("a.go"))
	p.ok(err)
	p.overwrite("a.go", "FIRST a.go")
	p.ok(os.Chtimes(p.path("a.go"), fi.ModTime(), fi.ModTime()))
	p.want("a.go")
}

func TestNestedNewFile(t *testing.T) {
	p := newProject(t, "src/a.go").open(Spec{ID: "x", Paths: []string{"src"}})
	p.write("src/new/deep/er/b.go", "x")
	p.want("src/new/deep/er/b.go")
	p.write("src/new/deep/er/b.go", "y")
	p.want("src/new/deep/er/b.go")
}

func TestMkdirRace(t *testing.T) {
	p := newProject(t).open(all)
	var names []string
	for i := range 20 {
		name := strings.Repeat("d/", i+1) + "f"
		p.write(name, "x")
		names = append(names, name)
	}
	seen := map[string]bool{}
	for len(seen) < len(names) {
		for _, f := range p.next().Files {
			seen[f] = true
		}
	}
}

func TestIgnoreHiddenExtensions(t *testing.T) {
	p := newProject(t, "s.rs").open(Spec{ID: "x", Paths: []string{"."}, Ignore: []string{"*.log", ".hidden", "/target/", "gen/*.rs"}, Extensions: []string{"rs", ".log"}})
	for _, f := range []string{"a.log", ".hidden/a.rs", ".x.rs", "d/b.log", "a.txt", "target/x.rs", "gen/y.rs", "a.rs~", "#a.rs#", ".#a.rs", "4913", "x.swp",
		".git/index.rs", ".DS_Store", "node_modules/m/i.rs", ".orrery/x.rs", "__pycache__/x.rs"} {
		p.write(f, "x")
	}
	p.quiet("s.rs")
	p.write("d/target/x.rs", "x")
	p.want("d/target/x.rs")
	p.write("d/a.rs", "x")
	p.want("d/a.rs")
}

func TestNamedInSpiteOfEverything(t *testing.T) {
	p := newProject(t, ".env", "build/out/x.x", ".gitignore", "s.x").open()
	p.write(".gitignore", "build\n.env\n*.o\n")
	p.ok(p.w.Add(Spec{ID: "x", Paths: []string{".env", "build", "s.x"}, Extensions: []string{"x"}}))
	p.write(".env", "2")
	p.want(".env")
	p.write("build/out/x.x", "2")
	p.want("build/out/x.x")
	p.write("build/.hidden.x", "2")
	p.quiet("s.x")
}

func TestExcludeIsStronger(t *testing.T) {
	p := newProject(t, "out/bin", "state/db", "s")
	p.openWith(Options{Exclude: []string{p.path("state")}}, system(),
		Spec{ID: "x", Paths: []string{".", "out/bin", "state/db"}, Exclude: []string{p.path("out")}})
	p.write("out/bin", "2")
	p.write("out/more/bin", "2")
	p.write("state/db", "2")
	p.quiet("s")
}

func TestPatterns(t *testing.T) {
	p := newProject(t, "src/a.go", "s.go", "x/.env").open(Spec{ID: "x", Patterns: []Pattern{
		{Include: []string{"src/**/*.go", "*.go", "**/.env", ".github/**", "{p,q}/*.sql", "deep/*/x"}, Exclude: []string{"**/*_test.go", "src/gen/**"}},
	}})
	for _, f := range []string{"src/a_test.go", "src/gen/x.go", "src/a.txt", "other/b.go", "src/.x/y.go", "p/n/x.sql", "deep/x", "deep/a/b/x"} {
		p.write(f, "x")
	}
	p.quiet("s.go")
	for _, f := range []string{"src/b/c/d.go", "x/.env", ".github/w/x.yml", "q/x.sql", "deep/a/x"} {
		p.write(f, "changed")
		p.want(f)
	}
	var dirs []string
	p.w.do(func(l *loop) {
		for d := range l.subs["x"].tree.dirs {
			dirs = append(dirs, strings.TrimPrefix(d, p.dir+"/"))
		}
	})
	if slices.Contains(dirs, "src/gen") || slices.Contains(dirs, "src/.x") {
		t.Errorf("watches too much: %q", dirs)
	}
}

func TestGitignore(t *testing.T) {
	p := newProject(t, "s", "old/x", "keep/a.tmp").open()
	p.write(".gitignore", "*.tmp\n/old\n!keep/*.tmp\n")
	p.write("sub/.gitignore", "!*.tmp\nlocal/\n")
	p.ok(p.w.Add(all))
	p.ok(p.w.Add(Spec{ID: "task", Patterns: []Pattern{{Include: []string{"old/*"}}, {Include: []string{"*.tmp"}}}, Gitignored: true}))
	p.write("a.tmp", "x")
	if c := p.next(); c.ID != "task" {
		t.Errorf("got %+v, want the task's", c)
	}
	p.write("d/b.tmp", "x")
	p.write("sub/local/x", "x")
	p.quiet("s")
	p.write("sub/c.tmp", "x")
	p.want("sub/c.tmp")
	p.write("keep/a.tmp", "x")
	p.want("keep/a.tmp")
}

func TestGitignoreChanges(t *testing.T) {
	p := newProject(t, "s", "gen/a", "gen/b", ".gitignore").open(all)
	time.Sleep(2 * grain) // by the clock: files as old as the watcher's last look cannot be told from new ones
	p.quiet("s")
	p.write(".gitignore", "gen/\n")
	p.quiet("s")
	p.write("gen/a", "2")
	p.quiet("s")
	time.Sleep(2 * grain) // as above
	p.quiet("s")
	p.write(".gitignore", "")
	p.quiet("s")
	p.write("gen/b", "2")
	p.want("gen/b")
}

func TestTenWritesAreOneOrTwo(t *testing.T) {
	p := newProject(t, "a", "s").open(Spec{ID: "x", Paths: []string{"."}})
	for i := range 10 {
		p.overwrite("a", strings.Repeat("x", i+1))
		time.Sleep(50 * time.Millisecond) // the pace is the test
	}
	sets := 0
	for {
		p.w.do(func(l *loop) {
			for _, s := range l.subs {
				if len(l.out) == 0 && !s.pending() {
					sets = max(sets, 1)
				}
			}
		})
		c := p.next()
		if sets++; sets > 2 {
			t.Fatalf("got %d sets", sets)
		}
		if slices.Contains(c.Files, "a") {
			break
		}
	}
	p.quiet("s")
}

func TestEndlessStreamIsCut(t *testing.T) {
	p := newProject(t, "a").open(all)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				_ = os.WriteFile(p.path("a"), []byte(time.Now().String()), 0o644)
			}
		}
	}()
	p.want("a")
	p.want("a")
	close(stop)
	<-stopped
}

func TestEditors(t *testing.T) {
	rows := map[string]func(p *project){
		"in place":   func(p *project) { p.overwrite("f.go", "FIRST f.go") },
		"tmp+rename": func(p *project) { p.write("f.go.tmp123", "new"); p.move("f.go.tmp123", "f.go") },
		"vim": func(p *project) {
			p.write("4913", "")
			p.ok(os.Remove(p.path("4913")))
			p.move("f.go", "f.go~")
			p.write("f.go", "new")
			p.ok(os.Remove(p.path("f.go~")))
		},
		"backup copy": func(p *project) { p.write("f.go~", "first f.go"); p.write("f.go", "new") },
		"emacs lock": func(p *project) {
			p.ok(os.Symlink("user@host.1:2", p.path(".#f.go")))
			p.write("#f.go#", "x")
			p.write("f.go", "new")
			p.ok(os.Remove(p.path(".#f.go")))
			p.ok(os.Remove(p.path("#f.go#")))
		},
		"jetbrains": func(p *project) {
			p.write("f.go___jb_tmp___", "new")
			p.move("f.go", "f.go___jb_old___")
			p.move("f.go___jb_tmp___", "f.go")
			p.ok(os.Remove(p.path("f.go___jb_old___")))
		},
	}
	for name, save := range rows {
		for what, spec := range map[string]Spec{
			"directory": {ID: "x", Paths: []string{"."}},
			"file":      {ID: "x", Paths: []string{"f.go", "s"}},
			"pattern":   {ID: "x", Patterns: []Pattern{{Include: []string{"*.go", "s"}}}},
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				t.Parallel()
				p := newProject(t, "f.go", "s").open(spec)
				save(p)
				p.want("f.go")
				p.quiet("s")
				p.write("f.go", "and again")
				p.want("f.go")
			})
		}
	}
}

func TestMoveDirectories(t *testing.T) {
	p := newProject(t, "a/x", "a/b/y", "s").open(all)
	p.ok(os.Rename(p.path("a"), p.dir+"-outside"))
	p.want("a/b/y", "a/x")
	p.ok(os.WriteFile(p.dir+"-outside/x", []byte("elsewhere"), 0o644))
	p.quiet("s")
	p.ok(os.Rename(p.dir+"-outside", p.path("a")))
	p.want("a/b/y", "a/x")
	p.move("a", "c")
	p.want("a/b/y", "a/x", "c/b/y", "c/x")
	p.write("c/b/y", "2")
	p.want("c/b/y")
	p.mkdir("a")
	p.write("a/x", "new")
	p.want("a/x")
	p.move("a", "d")
	p.move("c", "a")
	p.want("a/b/y", "a/x", "c/b/y", "c/x", "d/x")
	p.write("a/b/y", "3")
	p.want("a/b/y")
}

func TestDirectoryMadeAnew(t *testing.T) {
	p := newProject(t, "a/b/x", "s").open(all)
	for range 5 {
		p.ok(os.RemoveAll(p.path("a")))
		p.write("a/b/x", "first a/b/x")
		p.quiet("s")
		p.ok(os.RemoveAll(p.path("a")))
		p.want("a/b/x")
		p.write("a/b/x", "first a/b/x")
		p.want("a/b/x")
	}
}

func TestRootMadeAnew(t *testing.T) {
	p := newProject(t, "a/x", "s").open(all, Spec{ID: "file", Paths: []string{"a/x"}})
	both := func(want ...string) {
		t.Helper()
		ids := map[string][]string{}
		for len(ids["all"]) < len(want) || len(ids["file"]) < 1 {
			c := p.next()
			ids[c.ID] = append(ids[c.ID], c.Files...)
		}
		slices.Sort(ids["all"])
		if !slices.Equal(ids["all"], want) || !slices.Equal(ids["file"], []string{"a/x"}) {
			t.Fatalf("got %q", ids)
		}
	}
	p.ok(os.RemoveAll(p.dir))
	both("a/x", "s")
	p.write("a/x", "2")
	both("a/x")
	p.ok(os.Rename(p.dir, p.dir+"2"))
	both("a/x")
	p.ok(os.Rename(p.dir+"2", p.dir))
	both("a/x")
	p.write("a/x", "3")
	both("a/x")
}

func TestNotThereYet(t *testing.T) {
	p := newProject(t, "s").open(Spec{ID: "x", Paths: []string{"conf/deep/app.toml", "src/gen", "s", "f"}, Patterns: []Pattern{{Include: []string{"q/r/*.sql"}}}})
	for range 3 {
		p.write("conf/deep/app.toml", "1")
		p.want("conf/deep/app.toml")
		p.write("conf/deep/other", "1")
		p.write("src/gen/a/b", "1")
		p.want("src/gen/a/b")
		p.write("q/r/1.sql", "1")
		p.want("q/r/1.sql")
		p.mkdir("f") // named, and a directory after all
		p.write("f/x", "1")
		p.want("f/x")
		for _, d := range []string{"conf", "src", "q", "f"} {
			p.ok(os.RemoveAll(p.path(d)))
		}
		p.want("conf/deep/app.toml", "f/x", "q/r/1.sql", "src/gen/a/b")
	}
}

func TestOutsideTheRoot(t *testing.T) {
	p := newProject(t)
	out := p.dir + "-lib"
	p.ok(os.MkdirAll(out, 0o755))
	p.open(Spec{ID: "x", Paths: []string{out, "../other.txt"}})
	p.ok(os.WriteFile(out+"/a", []byte("1"), 0o644))
	p.want(out + "/a")
	p.write("../other.txt", "1")
	p.want(filepath.Dir(p.dir) + "/other.txt")
}

func TestLinks(t *testing.T) {
	p := newProject(t, "s", "real/x", ".hidden/y", "rel/1/conf", "rel/2/conf")
	p.write("../far/z", "1")
	p.write("../file", "1")
	for name, to := range map[string]string{"loop": ".", "real/up": "..", "link": ".hidden", "far": "../far", "file": "../file", "real/self": "self", "current": "rel/1", ".hidden/back": "../real"} {
		p.ok(os.Symlink(to, p.path(name)))
	}
	p.open(all, Spec{ID: "conf", Paths: []string{"current/conf"}})
	p.write("real/x", "2")
	p.want("real/x")
	p.write(".hidden/y", "2")
	p.want("link/y")
	p.write("../far/z", "2")
	p.quiet("s")
	p.write("rel/2/conf", "changed")
	p.want("rel/2/conf")
	p.ok(os.Symlink("rel/2", p.path("next")))
	p.w.Remove("all")
	p.move("next", "current")
	p.want("current/conf")
	p.write("rel/2/conf", "again")
	p.want("current/conf")
}

func TestLinkedFiles(t *testing.T) {
	p := newProject(t, "d/..1/f", "d/..2/f", "t/.x/target", "s")
	p.ok(os.Symlink("..1", p.path("d/..data")))
	p.ok(os.Symlink("..data/f", p.path("d/f")))
	p.ok(os.Symlink(".x/target", p.path("t/ln")))
	p.open(all)
	p.write("t/.x/target", "2")
	p.want("t/ln")
	p.ok(os.Symlink("..2", p.path("d/..new")))
	p.move("d/..new", "d/..data") // as Kubernetes swaps a mounted ConfigMap
	p.want("d/f")
	p.write("d/..2/f", "3")
	p.want("d/f")
}

func TestManySubscriptionsShareWatches(t *testing.T) {
	p := newProject(t, "a/x", "b/y").open()
	count := func() (watches, known int) {
		p.w.do(func(l *loop) { watches, known = len(l.src.fs.WatchList()), len(l.contents.known) })
		return
	}
	for _, id := range []string{"1", "2", "3", "3"} {
		p.ok(p.w.Add(Spec{ID: id, Paths: []string{"."}}))
		if n, known := count(); n != 4 || known != 2 { // root, a, b and the root's parent
			t.Fatalf("got %d watches, %d files, want 4 and 2", n, known)
		}
	}
	p.write("a/x", "2")
	ids := []string{p.next().ID, p.next().ID, p.next().ID}
	slices.Sort(ids)
	if !slices.Equal(ids, []string{"1", "2", "3"}) {
		t.Errorf("got %q", ids)
	}
	for _, id := range []string{"1", "2", "3", "none"} {
		p.w.Remove(id)
	}
	if n, known := count(); n != 0 || known != 0 {
		t.Errorf("got %d watches and %d files after all are removed", n, known)
	}
	p.w.do(func(l *loop) {
		if len(l.table.inodes)+len(l.table.names)+len(l.table.paths) != 0 {
			t.Errorf("the table is not empty: %v", l.table.names)
		}
	})
}

func TestMergedWhileNobodyReceives(t *testing.T) {
	p := newProject(t).open(all)
	for i := range 3 {
		p.write(string(rune('a'+i)), "x")
		for n := 0; n <= i; {
			p.w.do(func(l *loop) {
				if len(l.out) > 0 {
					n = len(l.out[0].files)
				}
			})
			time.Sleep(time.Millisecond) // no event: who asked for one would receive
		}
	}
	p.want("a", "b", "c")
}

func TestWrongSpecs(t *testing.T) {
	p := newProject(t).open()
	for _, s := range []Spec{
		{Paths: []string{""}},
		{Patterns: []Pattern{{Include: []string{"a[b"}}}},
		{Patterns: []Pattern{{Include: []string{"/etc/*"}}}},
		{Patterns: []Pattern{{Include: []string{"a"}, Exclude: []string{"{"}}}},
		{Ignore: []string{""}},
		{Exclude: []string{"relative"}},
	} {
		if err := p.w.Add(s); err == nil || !strings.Contains(err.Error(), "got ") {
			t.Errorf("%+v: got %v, want an error", s, err)
		}
	}
	if _, err := New(Options{Root: "x"}); err == nil {
		t.Error("got no error for a relative root")
	}
	p.w.Close()
	p.w.Close()
	if err := p.w.Add(all); err == nil {
		t.Error("got no error from Add after Close")
	}
	p.w.Remove("all")
	if _, open := <-p.w.Changes(); open {
		t.Error("got a change after Close")
	}
}
