package task

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"orrery/lang/graph"
	"orrery/runtime/cache"
	"orrery/runtime/sandbox"
)

// place is a checkout with a cache and one task.
type place struct {
	t   testing.TB
	job *Job
	in  *KeyInput
	c   *Caching
}

func newStore(t testing.TB, dir string) *cache.Store {
	t.Helper()
	s, err := cache.Open(dir, cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// checkout is a new one; its task reads src and counts its runs in the file ran.
func checkout(t testing.TB, s Store, script string, outs ...string) *place {
	t.Helper()
	j := job(t, sh("echo x >>../ran; "+script))
	j.Root = filepath.Join(j.Root, "checkout")
	j.Dir = j.Root
	j.Hashes = &FileHashes{Path: filepath.Join(j.Root, ".orrery/memo")}
	if err := os.MkdirAll(filepath.Join(j.Root, "src"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, o := range outs {
		j.Outputs = append(j.Outputs, Output{Name: strings.ReplaceAll(o, "/", "_"), Path: o})
	}
	return &place{t, j, &KeyInput{Inputs: []Input{{Path: "src"}}}, &Caching{Store: s, Dir: filepath.Join(j.Root, ".orrery/tasks"), Salt: []byte("salt")}}
}

func (p *place) path(rel string) string { return filepath.Join(p.job.Root, rel) }

func (p *place) write(rel, text string) {
	p.t.Helper()
	if err := os.MkdirAll(filepath.Dir(p.path(rel)), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(p.path(rel), []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) read(rel string) string {
	p.t.Helper()
	b, err := os.ReadFile(p.path(rel))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

// ran is how often the command was.
func (p *place) ran() int {
	b, _ := os.ReadFile(p.path("../ran"))
	return bytes.Count(b, []byte("\n"))
}

// do runs the task, and wants that it was run or cached.
func (p *place) do(cached bool) Result {
	p.t.Helper()
	before := p.ran()
	r := RunCached(context.Background(), p.job, p.in, p.c)
	if r.State != Succeeded || r.Cached != cached || (p.ran() == before) != cached {
		p.t.Fatalf("got %s %q, cached %v, %d runs, notes %q, why %v; want cached %v", r.State, r.Reason, r.Cached, p.ran()-before, r.Notes, r.Why, cached)
	}
	return r
}

// clean is do without any warning.
func (p *place) clean(cached bool) Result {
	p.t.Helper()
	r := p.do(cached)
	if len(r.Notes) > 0 {
		p.t.Fatalf("got the notes %q", r.Notes)
	}
	return r
}

func (p *place) eq(rel, want string) {
	p.t.Helper()
	if got := p.read(rel); got != want {
		p.t.Fatalf("%s: got %q, want %q", rel, got, want)
	}
}

func cacheIn(t testing.TB) *cache.Store { return newStore(t, filepath.Join(t.TempDir(), "cache")) }

// TestCases are the cases of tasks that are cached, one after the other.
func TestCases(t *testing.T) {
	s := cacheIn(t)
	p := checkout(t, s, "cat src/* >out; echo said; echo v=1 >$ORRERY_VALUES", "out")
	p.job.Values = []string{"v"}
	p.job.Env = append(p.job.Env, "MODE=1", "PORT=1")
	p.in.Env = []Var{{Key: "MODE", Value: "1", Origin: "env"}, {Key: "HOME", Value: "/root", Origin: "caller"}, {Key: "PWD", Value: p.job.Root, Origin: "cwd"}}
	p.write("src/a", "1")
	first := p.clean(false)
	if len(first.Why) != 0 || first.Key == "" {
		t.Errorf("got %+v", first)
	}
	again := p.clean(true)
	if again.Values["v"] != "1" || again.Digest != first.Digest || again.Key != first.Key || again.Exit != nil {
		t.Errorf("got %+v, want that of %+v", again, first)
	}
	// touch without a change.
	now := time.Now().Add(time.Hour)
	os.Chtimes(p.path("src/a"), now, now)
	p.clean(true)
	// a change that keeps size and mtime.
	p.write("src/a", "2")
	os.Chtimes(p.path("src/a"), now, now)
	r := p.clean(false)
	p.eq("out", "2")
	if len(r.Why) != 1 || r.Why[0].String() != "input src/a changed" {
		t.Errorf("got %v", r.Why)
	}
	// A -> B -> A.
	p.write("src/a", "1")
	p.clean(true)
	p.eq("out", "1")
	// a new file, and one that goes.
	p.write("src/b", "3")
	if r := p.clean(false); r.Why[0].String() != "input src/b is new" {
		t.Errorf("got %v", r.Why)
	}
	os.Remove(p.path("src/a"))
	if r := p.clean(false); r.Why[0].String() != "input src/a is gone" {
		t.Errorf("got %v", r.Why)
	}
	p.eq("out", "3")
	// environment: what is declared.
	p.in.Env[1].Value, p.in.Env[2].Value = "/other", "/other"
	p.clean(true)
	p.in.Env[0].Value = "2"
	if r := p.clean(false); r.Why[0].String() != "variable MODE: 1, now 2" {
		t.Errorf("got %v", r.Why)
	}
	// the command.
	p.job.Steps[0].Argv[2] += " # comment"
	if r := p.clean(false); !strings.HasPrefix(r.Why[0].String(), "the command: …") {
		t.Errorf("got %v", r.Why)
	}
	// outputs that are gone, or edited by hand.
	os.Remove(p.path("out"))
	p.clean(true)
	p.eq("out", "3")
	p.write("out", "4")
	p.clean(true)
	p.eq("out", "3")
	os.Chmod(p.path("out"), 0o700)
	p.clean(true)
	if st, _ := os.Stat(p.path("out")); st.Mode().Perm() != 0o644 {
		t.Errorf("got mode %v", st.Mode())
	}
	// --force.
	p.c.Force = true
	p.clean(false)
	p.c.Force = false
	// another checkout shares the result.
	q := checkout(t, s, "", "out")
	q.job.Steps, q.job.Values, q.job.Env = p.job.Steps, p.job.Values, p.job.Env
	q.in.Env = p.in.Env
	q.write("src/b", "3")
	q.clean(true)
	q.eq("out", "3")
}

// TestFailuresAreNotKept, and after the repair the result is.
func TestFailuresAreNotKept(t *testing.T) {
	p := checkout(t, cacheIn(t), "cp src/a out; grep -q good src/a", "out")
	p.write("src/a", "bad")
	for range 2 {
		if r := RunCached(t.Context(), p.job, p.in, p.c); r.State != Failed || r.Cached {
			t.Fatalf("got %+v", r)
		}
		if !p.c.Last("t").Dirty {
			t.Error("the outputs of a failed run are not known as such")
		}
	}
	p.write("src/a", "good")
	p.clean(false)
	p.clean(true)
	if l := p.c.Last("t"); l.Dirty || !slices.Equal(l.Made, []string{"out"}) || l.Digest == "" || len(l.Lines) == 0 {
		t.Errorf("got %+v", l)
	}
	// A task that does not make what it declares fails, and nothing is kept.
	p.job.Steps = []Step{sh("rm out")}
	p.in.CacheKey = []string{"other"}
	if r := RunCached(t.Context(), p.job, p.in, p.c); r.State != Failed || !strings.Contains(r.Reason, "out is missing") {
		t.Errorf("got %+v", r)
	}
	p.in.CacheKey = nil
}

func TestPatternsAndDotfiles(t *testing.T) {
	p := checkout(t, cacheIn(t), "cat src/*.txt >out", "out")
	p.in.Inputs = []Input{{Pattern: &graph.Pattern{Include: []string{"src/**/*.txt", "src/.env*"}, Exclude: []string{"src/**/no/**", "**/skip.txt"}}}}
	p.write("src/a.txt", "1")
	p.clean(false)
	for _, same := range []string{"src/skip.txt", "src/no/x.txt", "src/deep/no/x.txt", "src/other.md", "src/.hidden.txt", "src/.dir/x.txt", ".git/x.txt", "src/.git/x.txt"} {
		p.write(same, "x")
		p.clean(true)
	}
	for _, other := range []string{"src/b.txt", "src/deep/c.txt", "src/.env", "src/.env.local"} {
		p.write(other, "x")
		p.clean(false)
		p.clean(true)
	}
	p.job.Steps[0].Argv[2] += ";:"
	p.clean(false)
}

func TestWhichAreCached(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		name string
		in   *KeyInput
		job  Job
		want bool
	}{
		{"nothing", &KeyInput{}, Job{}, false},
		{"none", nil, Job{}, false},
		{"inputs", &KeyInput{Inputs: []Input{{Path: "x"}}}, Job{}, true},
		{"a reference alone", &KeyInput{Inputs: []Input{{Path: "x", From: "a.b", Implied: true}}}, Job{}, false},
		{"outputs", &KeyInput{}, Job{Outputs: []Output{{Path: "x"}}}, true},
		{"live", &KeyInput{Live: true}, Job{Outputs: []Output{{Path: "x"}}}, false},
		{"live, True", &KeyInput{Live: true, Cache: &yes}, Job{Outputs: []Output{{Path: "x"}}}, false},
		{"live with a key", &KeyInput{Live: true, CacheKey: []string{"id"}}, Job{}, true},
		{"never", &KeyInput{Cache: &no, CacheKey: []string{"id"}}, Job{Outputs: []Output{{Path: "x"}}}, false},
		{"asked for", &KeyInput{Cache: &yes}, Job{}, true},
		{"interactive", &KeyInput{Cache: &yes}, Job{Interactive: true}, false},
	} {
		if got := c.in.cached(&c.job); got != c.want {
			t.Errorf("%s: got %v", c.name, got)
		}
	}
	p := checkout(t, cacheIn(t), "true")
	p.in.Cache = &no
	p.do(false)
	p.do(false)
	p.c.Store = nil
	p.in.Cache = nil
	p.do(false)
}

// TestEditedDuringTheRun: the result is not kept, whatever became of the input, and going back to the first content runs it again.
func TestEditedDuringTheRun(t *testing.T) {
	for name, script := range map[string]string{
		"changed":           "cat src/a >out; echo 2 >src/a",
		"changed and back":  "cat src/a >out; cp -p src/a keep; echo 2 >src/a; cat src/a >out; cat keep >src/a",
		"new file":          "cat src/a >out; echo 2 >src/b",
		"replaced by equal": "cat src/a >out; cp src/a x; mv x src/a",
	} {
		p := checkout(t, cacheIn(t), script, "out")
		p.write("src/a", "1\n")
		for range 2 {
			p.write("src/a", "1\n")
			os.Remove(p.path("src/b"))
			r := p.do(false)
			if len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "not cached: input src/") || !strings.Contains(r.Notes[0], "during the run") {
				t.Errorf("%s: got %q", name, r.Notes)
			}
		}
	}
}

// TestProgram: what a command runs is part of the key, by content.
func TestProgram(t *testing.T) {
	p := checkout(t, cacheIn(t), "", "out")
	p.write("bin/gen", "#!/bin/sh\necho x >>../ran; echo 1 >out\n")
	os.Chmod(p.path("bin/gen"), 0o755)
	p.job.Steps = []Step{{Argv: []string{"gen"}}}
	p.job.Env = append(p.job.Env, "PATH="+p.path("bin")+":"+os.Getenv("PATH"))
	p.clean(false)
	p.clean(true)
	p.write("bin/gen", "#!/bin/sh\necho x >>../ran; echo 2 >out\n")
	if r := p.clean(false); r.Why[0].String() != "program gen changed" {
		t.Errorf("got %v", r.Why)
	}
	p.write("bin/helper", "1")
	p.in.Tools = []string{p.path("bin/helper")}
	p.clean(false)
	p.write("bin/helper", "2")
	if r := p.clean(false); r.Why[0].String() != "tool bin/helper changed" {
		t.Errorf("got %v", r.Why)
	}
}

// TestSecret: a secret is in the key by a keyed hash, and in no file of the cache or the checkout.
func TestSecret(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	p := checkout(t, newStore(t, dir), `printf "%s" "$TOKEN" | head -c 8; sleep 0.05; printf "%s\n" "$TOKEN" | tail -c +9; echo ok >out`, "out")
	const token = "hunter2-but-longer"
	set := func(v string) {
		p.in.Env = []Var{{Key: "TOKEN", Value: v, Origin: "env", Secret: true}}
		p.job.Env = append(p.job.Env, "TOKEN="+v)
	}
	set(token)
	p.clean(false)
	p.clean(true)
	for _, top := range []string{dir, p.path(".orrery")} {
		filepath.WalkDir(top, func(f string, d fs.DirEntry, err error) error {
			if b, _ := os.ReadFile(f); bytes.Contains(b, []byte("hunter2")) {
				t.Errorf("%s holds the secret", f)
			}
			return nil
		})
	}
	var out bytes.Buffer
	p.job.Stdout, p.c.Replay = &out, true
	p.clean(true)
	if want := strings.Repeat("*", len(token)) + "\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	set("another one")
	if r := p.clean(false); r.Why[0].String() != "variable TOKEN changed" {
		t.Errorf("got %v", r.Why)
	}
	p.c.Salt = []byte("other")
	p.clean(false)
}

// TestReplay: output comes back in its order, to where it belongs.
func TestReplay(t *testing.T) {
	p := checkout(t, cacheIn(t), `echo one; sleep 0.05; echo two >&2; sleep 0.05; printf 'three\377'`)
	var first, out, errs bytes.Buffer
	p.job.Stdout, p.job.Stderr = &first, &first
	p.clean(false)
	p.clean(true)
	if want := "one\ntwo\nthree\xff"; first.String() != want {
		t.Errorf("got %q: a hit that was not asked to wrote", first.String())
	}
	p.c.Replay = true
	p.job.Stdout, p.job.Stderr = &out, &out
	p.clean(true)
	if out.String() != first.String() {
		t.Errorf("got %q", out.String())
	}
	p.c.Force, p.job.Stderr = true, &errs
	out.Reset()
	p.clean(false)
	p.c.Force = false
	out.Reset()
	errs.Reset()
	p.clean(true)
	if out.String() != "one\nthree\xff" || errs.String() != "two\n" {
		t.Errorf("got %q and %q", out.String(), errs.String())
	}
	// Of several tries the last counts; a broken reader loses nothing.
	q := checkout(t, cacheIn(t), `echo try; test -e tried || { touch tried; exit 1; }`)
	q.job.Retries, q.job.Stdout = 1, broken{}
	if r := RunCached(t.Context(), q.job, q.in, q.c); r.State != Succeeded || r.Tries != 2 {
		t.Fatalf("got %+v", r)
	}
	out.Reset()
	q.job.Stdout, q.c.Replay = &out, true
	q.clean(true)
	if out.String() != "try\n" {
		t.Errorf("got %q", out.String())
	}
}

func TestReplayTo(t *testing.T) {
	for _, bad := range []string{"o", "o\x05abc", "x\x01a", "o\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"} {
		if err := replayTo([]byte(bad), io.Discard, nil); !errors.Is(err, errLog) {
			t.Errorf("%q: got %v", bad, err)
		}
	}
	r := &recorder{}
	w, _ := r.tee(nil, nil)
	w.Write(bytes.Repeat([]byte("x"), maxLog))
	w.Write([]byte("y"))
	w.Write([]byte("z"))
	if n := len(r.text(nil)); n < maxLog || n > maxLog+200 {
		t.Errorf("got %d bytes", n)
	}
}

// TestTrees: folders, empty folders, links, modes and patterns come back as they were, and what is right is not touched.
func TestTrees(t *testing.T) {
	s := cacheIn(t)
	script := `rm -rf dist; mkdir -p dist/empty dist/closed dist/sub; echo 1 >dist/a; echo 2 >dist/sub/b; echo '#!' >dist/run; chmod 755 dist/run; chmod 600 dist/sub/b
ln -s sub/b dist/link; ln -s /etc/passwd dist/abs; ln -s nowhere dist/dangling; echo c >dist/closed/c; chmod 555 dist/closed
mkdir -p gen; for f in $(cat src/list); do echo $f >gen/$f.pb; done; printf '' >dist/nothing`
	p, q := checkout(t, s, script, "dist"), checkout(t, s, "", "dist")
	p.job.Outputs = append(p.job.Outputs, Output{Name: "gen", Pattern: &graph.Pattern{Include: []string{"gen/*.pb"}}})
	p.write("src/list", "x y")
	p.write("gen/mine.txt", "by hand")
	t.Cleanup(func() { // closed folders cannot be removed by those who are not root
		for _, c := range []*place{p, q} {
			os.Chmod(c.path("dist/closed"), 0o755)
		}
	})
	p.clean(false)
	want := treeOf(t, p.path("dist"))
	times := mtimes(t, p.job.Root)
	p.clean(true)
	if now := mtimes(t, p.job.Root); !maps.Equal(times, now) {
		t.Errorf("a hit touched files: %v, then %v", times, now)
	}
	for name, break_ := range map[string]string{
		"all":           "chmod -R u+w dist; rm -rf dist gen/*.pb",
		"one":           "rm dist/a",
		"extra":         "echo x >dist/extra; mkdir -p dist/more/deep; echo x >dist/more/deep/f; chmod 500 dist/more",
		"types":         "rm -rf dist/sub; echo x >dist/sub; rm dist/link; mkdir -p dist/link/x; rm dist/a; ln -s /etc/hostname dist/a",
		"modes":         "chmod 777 dist dist/a dist/sub; chmod 755 dist/closed",
		"closed":        "chmod 755 dist/closed; rm dist/closed/c; chmod 555 dist/closed",
		"links":         "rm dist/abs; ln -s /etc/shadow dist/abs",
		"top is a file": "chmod -R u+w dist; rm -rf dist; echo x >dist",
		"top is a link": "chmod -R u+w dist; rm -rf dist; ln -s src dist",
	} {
		r := Run(t.Context(), &Job{Name: "break", Root: p.job.Root, Dir: p.job.Root, Env: p.job.Env, Steps: []Step{sh(break_)}})
		if r.State != Succeeded {
			t.Fatalf("%s: %s", name, r.Reason)
		}
		p.clean(true)
		if got := treeOf(t, p.path("dist")); !maps.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
		p.eq("src/list", "x y")
		p.eq("gen/x.pb", "x\n")
		p.eq("gen/mine.txt", "by hand")
	}
	// Another version takes its own away, in folders and among what matches a pattern, and nothing else.
	q.job.Steps, q.job.Outputs = p.job.Steps, p.job.Outputs
	q.write("src/list", "y z")
	q.clean(false)
	p.write("gen/other.pb", "by hand")
	p.write("src/list", "y z")
	p.clean(true)
	p.eq("gen/z.pb", "z\n")
	p.eq("gen/other.pb", "by hand")
	if _, err := os.Lstat(p.path("gen/x.pb")); err == nil {
		t.Error("gen/x.pb of the former version is left")
	}
}

// treeOf describes all that is in a folder.
func treeOf(t interface {
	Helper()
	Fatal(...any)
}, top string) map[string]string {
	t.Helper()
	m := map[string]string{}
	err := filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(top, p)
		fi, err := d.Info()
		if err != nil {
			return err
		}
		text := ""
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			text, err = os.Readlink(p)
		case d.Type().IsRegular():
			b, rerr := os.ReadFile(p)
			text, err = string(b), rerr
		}
		m[rel] = fi.Mode().String() + " " + text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// mtimes are the changes of all files outside of .orrery.
func mtimes(t testing.TB, top string) map[string]ident {
	t.Helper()
	m := map[string]ident{}
	filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if d.Name() == ".orrery" {
			return fs.SkipDir
		}
		if fi, err := d.Info(); err == nil && p != top {
			m[p] = identOf(fi)
		}
		return nil
	})
	return m
}

// TestLeftovers: what rests on files of an earlier run is true of this checkout only.
func TestLeftovers(t *testing.T) {
	s := cacheIn(t)
	script := "mkdir -p dist; for f in $(cat src/list); do echo $f >dist/$f; done"
	p := checkout(t, s, script, "dist")
	p.write("src/list", "x y")
	p.clean(false)
	p.write("src/list", "y")
	p.clean(false) // dist/x is still there, as the command does not remove it
	p.clean(true)
	if l := p.c.Last("t"); !strings.Contains(l.Note, "this checkout only: dist/x was there before") {
		t.Errorf("got %+v", l)
	}
	q := checkout(t, s, "", "dist")
	q.job.Steps = p.job.Steps
	q.write("src/list", "y")
	q.clean(false)
	if _, err := os.Stat(q.path("dist/x")); err == nil {
		t.Error("another checkout got a file that its inputs do not make")
	}
	p.clean(true) // and now there is a result for all
	if _, err := os.Stat(p.path("dist/x")); err == nil {
		t.Error("dist/x is still there")
	}
}

// TestVerifyMode runs twice, and finds what differs.
func TestVerifyMode(t *testing.T) {
	p := checkout(t, cacheIn(t), "mkdir -p dist; echo same >dist/a; cat src/a >>dist/a", "dist")
	p.c.Verify = true
	p.write("src/a", "1")
	if r := p.do(false); r.State != Succeeded || p.ran() != 2 {
		t.Errorf("got %+v after %d runs", r, p.ran())
	} else if sandbox.Watches() && (len(r.Notes) != 1 || !strings.HasPrefix(r.Notes[0], "undeclared: writing "+os.TempDir())) { // the file that counts
		t.Errorf("got the notes %q", r.Notes)
	}
	p.c.Verify = false
	p.clean(true)
	for script, want := range map[string]string{
		"date +%N >dist/time":                "dist/time differs",
		"touch dist/$$":                      "was made once only",
		"echo v=$$ >$ORRERY_VALUES":          "the value v differs",
		"test ! -e 2 || chmod +x dist/a; >2": "dist/a differs in kind or mode",
		"test ! -e 3; >3":                    "the second run of two failed: exit 1",
	} {
		q := checkout(t, cacheIn(t), "mkdir -p dist; echo same >dist/a; "+script, "dist")
		if strings.Contains(script, "v=") {
			q.job.Values = []string{"v"}
		}
		q.c.Verify = true
		r := RunCached(t.Context(), q.job, q.in, q.c)
		if r.State != Failed || !strings.Contains(r.Reason, want) {
			t.Errorf("%s: got %s %q, want %q", script, r.State, r.Reason, want)
		}
		q.c.Verify = false
		os.Remove(q.path("3"))
		q.do(false) // nothing was kept
	}
}

// TestOnce: one key runs once among many at the same time, in one checkout and in several.
func TestOnce(t *testing.T) {
	s := cacheIn(t)
	var places []*place
	for range 5 {
		p := checkout(t, s, "", "dist")
		p.job.Steps = []Step{sh("echo x >>$COUNT; sleep 0.05; mkdir -p dist; cat src/a >dist/a; echo said")}
		places = append(places, p)
	}
	count := filepath.Join(t.TempDir(), "count")
	const rounds, users = 5, 50
	for round := range rounds {
		for _, p := range places {
			p.job.Env = []string{"PATH=" + os.Getenv("PATH"), "COUNT=" + count}
			p.write("src/a", strings.Repeat("x", round+1))
		}
		digests := make([]string, users)
		var wg sync.WaitGroup
		for u := range users {
			wg.Go(func() {
				p := places[u%len(places)]
				r := RunCached(t.Context(), p.job, p.in, p.c)
				if r.State != Succeeded || len(r.Notes) > 0 {
					t.Errorf("got %s %q %q", r.State, r.Reason, r.Notes)
				}
				digests[u] = r.Digest
			})
		}
		wg.Wait()
		b, _ := os.ReadFile(count)
		if n := bytes.Count(b, []byte("\n")); n != round+1 {
			t.Errorf("round %d: got %d runs", round, n)
		}
		for _, d := range digests {
			if d == "" || d != digests[0] {
				t.Fatalf("round %d: digests differ", round)
			}
		}
	}
	t.Logf("%d rounds of %d: each ran once", rounds, users)
}

// TestSkipsFirst: creates and status come before the cache, and are no part of the key.
func TestSkipsFirst(t *testing.T) {
	p := checkout(t, cacheIn(t), "echo 1 >out", "out")
	r := p.clean(false)
	p.job.Creates = []string{p.path("out")}
	if s := RunCached(t.Context(), p.job, p.in, p.c); s.State != Skipped || s.Digest != r.Digest {
		t.Errorf("got %+v", s)
	}
	ok := sh("false")
	p.job.Creates, p.job.Status = nil, &ok
	p.clean(true)
}

// TestCancelled: neither a waiting nor a running one leaves a lock or a result.
func TestCancelled(t *testing.T) {
	p := checkout(t, cacheIn(t), "echo 1 >out; echo up >up; sleep 300", "out")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan Result, 2)
	for range 2 {
		go func() { done <- RunCached(ctx, p.job, p.in, p.c) }()
	}
	waitFor(t, p.path("up"))
	cancel()
	for range 2 {
		if r := <-done; r.State != Cancelled {
			t.Errorf("got %+v", r)
		}
	}
	if !p.c.Last("t").Dirty {
		t.Error("the outputs are not known to be dirty")
	}
	p.job.Steps = []Step{sh("echo x >>../ran; echo 2 >out")}
	p.clean(false)
	p.eq("out", "2\n")
}
