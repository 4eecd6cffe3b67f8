package task

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
	"syscall"
	"testing"
	"time"

	"orrery/runtime/cache"
)

// room is the state directory of a service in a checkout.
type room struct {
	dir, tmp string
	taken    error // what Take says
}

func (r *room) Vacant() (bool, error) {
	_, err := os.Lstat(r.dir)
	return errors.Is(err, fs.ErrNotExist), nil
}

func (r *room) Make() error {
	old, _ := filepath.Glob(filepath.Join(filepath.Dir(r.dir), ".new-*"))
	for _, o := range old {
		os.RemoveAll(o)
	}
	return os.Mkdir(r.tmp, 0o700)
}

func (r *room) Take() error {
	if r.taken != nil {
		return r.taken
	}
	return os.Rename(r.tmp, r.dir)
}

func (r *room) Drop() { os.RemoveAll(r.tmp) }

// filled is a checkout whose template runs script with $1 = the state directory; each run adds a line to the file ran of all checkouts.
type filled struct {
	*place
	room *room
	t    *Template
}

func template(t testing.TB, s Store, ran, script string) *filled {
	t.Helper()
	p := checkout(t, s, "true")
	r := &room{dir: p.path("state/db"), tmp: p.path("state/.new-1")}
	if err := os.MkdirAll(p.path("state"), 0o700); err != nil {
		t.Fatal(err)
	}
	script = "echo x >>" + ran + "; " + script
	key := *p.job
	p.job.Steps, key.Steps = []Step{sh(script, r.tmp)}, []Step{sh(script, "STATE")}
	return &filled{p, r, &Template{Service: "db", Tmp: r.tmp, UID: -1, GID: -1, Lock: p.path("lock"), Target: r, Key: &key}}
}

func (f *filled) fill() Result { return f.t.Fill(context.Background(), f.job, f.in, f.c) }

func runs(t testing.TB, ran string) int {
	b, _ := os.ReadFile(ran)
	return strings.Count(string(b), "x\n")
}

const makeDB = `umask 077; mkdir "$1/base"; echo data >"$1/base/1"; chmod 640 "$1/base/1"; ln -s base/1 "$1/link"; cat src/a >"$1/a" 2>/dev/null || true`

func TestFill(t *testing.T) {
	s, ran := newStore(t, filepath.Join(t.TempDir(), "cache")), filepath.Join(t.TempDir(), "ran")
	one, two := template(t, s, ran, makeDB), template(t, s, ran, makeDB)
	r := one.fill()
	want(t, r, Succeeded, "")
	if r.Cached || len(r.Notes) > 0 || r.Key == "" {
		t.Errorf("got cached %v, notes %q, key %q", r.Cached, r.Notes, r.Key)
	}
	r = two.fill()
	want(t, r, Succeeded, "")
	if !r.Cached || runs(t, ran) != 1 {
		t.Errorf("got cached %v after %d runs, notes %q, want a copy after one", r.Cached, runs(t, ran), r.Notes)
	}
	for _, f := range []*filled{one, two} {
		if got := f.read("state/db/base/1"); got != "data\n" {
			t.Errorf("got %q", got)
		}
		fi, err := os.Stat(f.path("state/db/base/1"))
		if err != nil || fi.Mode().Perm() != 0o640 {
			t.Errorf("got %v, %v, want mode 0640", fi, err)
		}
		if to, _ := os.Readlink(f.path("state/db/link")); to != "base/1" {
			t.Errorf("got the link to %q", to)
		}
		if fi, _ := os.Stat(f.path("state/db")); fi.Mode().Perm() != 0o700 {
			t.Errorf("got mode %v of the directory", fi.Mode())
		}
		if _, err := os.Lstat(f.room.tmp); err == nil {
			t.Error("the temporary directory is still there")
		}
		if l := f.c.Last("t"); l.Key != r.Key || l.Dirty {
			t.Errorf("got the last run %+v", l)
		}
	}

	// What exists is never touched.
	two.write("state/db/base/1", "mine")
	two.c.Force = true
	want(t, two.fill(), Skipped, "the state directory of db exists")
	os.RemoveAll(two.path("state/db"))
	os.Mkdir(two.path("state/db"), 0o700)
	want(t, two.fill(), Skipped, "the state directory of db exists")

	// Absent, force runs it, and what that makes is kept.
	os.RemoveAll(two.path("state/db"))
	if r = two.fill(); r.State != Succeeded || r.Cached || runs(t, ran) != 2 {
		t.Errorf("got %+v after %d runs, want a run by force", r, runs(t, ran))
	}

	// Another input is another template.
	three := template(t, s, ran, makeDB)
	three.write("src/a", "input")
	if r = three.fill(); r.State != Succeeded || r.Cached || three.read("state/db/a") != "input" {
		t.Errorf("got %+v, want a run with the other input", r)
	}
}

// TestFillUncached holds that a template works without a cache, and that what cannot be kept is said.
func TestFillUncached(t *testing.T) {
	no := false
	for name, c := range map[string]struct {
		change func(*filled)
		script string
		note   string
	}{
		"cache = False": {func(f *filled) { f.in.Cache = &no }, makeDB, ""},
		"no caching":    {func(f *filled) { f.c = nil }, makeDB, ""},
		"a live task":   {func(f *filled) { f.in.Live = true }, makeDB, ""},
		"a pipe":        {func(f *filled) {}, makeDB + `; mkfifo "$1/pipe"`, "pipe is a pipe"},
		"an input":      {func(f *filled) {}, makeDB + `; echo 2 >src/b`, "input src/b is new, during the run"},
	} {
		s, ran := newStore(t, filepath.Join(t.TempDir(), "cache")), filepath.Join(t.TempDir(), "ran")
		for i := range 2 {
			f := template(t, s, ran, c.script)
			c.change(f)
			r := f.fill()
			if r.State != Succeeded || r.Cached || runs(t, ran) != i+1 || f.read("state/db/base/1") != "data\n" {
				t.Errorf("%s: got %+v after %d runs", name, r, runs(t, ran))
			}
			if all := strings.Join(r.Notes, "; "); c.note == "" && all != "" || !strings.Contains(all, c.note) {
				t.Errorf("%s: got the notes %q, want %q", name, all, c.note)
			}
		}
	}
}

// TestFillFails holds that a failure and a cancellation leave nothing behind, and that a further try begins with an empty folder.
func TestFillFails(t *testing.T) {
	s, ran := newStore(t, filepath.Join(t.TempDir(), "cache")), filepath.Join(t.TempDir(), "ran")
	f := template(t, s, ran, `mkdir "$1/half"; exit 3`)
	f.job.Retries = 1
	want(t, f.fill(), Failed, "exit 3")
	if runs(t, ran) != 2 {
		t.Errorf("got %d tries, want 2", runs(t, ran))
	}
	if all, _ := os.ReadDir(f.path("state")); len(all) != 0 {
		t.Errorf("a failure left %v", all)
	}

	f = template(t, s, ran, `mkdir "$1/half"; echo >ready; sleep 1000`)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan Result)
	go func() { done <- f.t.Fill(ctx, f.job, f.in, f.c) }()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(f.path("ready")); err == nil || time.Now().After(deadline) {
			break
		}
	}
	cancel()
	want(t, <-done, Cancelled, "cancelled")
	if all, _ := os.ReadDir(f.path("state")); len(all) != 0 {
		t.Errorf("a cancellation left %v", all)
	}

	// What a killed run left is no hindrance.
	f = template(t, s, ran, makeDB)
	f.write("state/.new-0/base/1", "half")
	f.write("state/.new-1/base/1", "half")
	want(t, f.fill(), Succeeded, "")
	if all, _ := os.ReadDir(f.path("state")); len(all) != 1 || f.read("state/db/base/1") != "data\n" {
		t.Errorf("got %v", all)
	}

	f = template(t, s, ran, makeDB)
	f.room.taken = errors.New("cannot take it")
	want(t, f.fill(), Failed, "cannot take it")
	if all, _ := os.ReadDir(f.path("state")); len(all) != 0 {
		t.Errorf("it left %v", all)
	}
}

// TestFillTogether holds that of many at once, in many checkouts and stores as of many processes, one runs.
func TestFillTogether(t *testing.T) {
	dir, ran := filepath.Join(t.TempDir(), "cache"), filepath.Join(t.TempDir(), "ran")
	var wg sync.WaitGroup
	results := make([]Result, 8)
	for i := range results {
		f := template(t, newStore(t, dir), ran, makeDB)
		wg.Go(func() { results[i] = f.fill() })
	}
	same := template(t, newStore(t, dir), ran, makeDB) // twice in one checkout
	var a, b Result
	wg.Go(func() { a = same.fill() })
	wg.Go(func() {
		other := *same.t
		key, j := *same.t.Key, *same.job
		other.Key = &key
		b = other.Fill(context.Background(), &j, same.in, same.c)
	})
	wg.Wait()
	cached := 0
	for _, r := range results {
		if r.State != Succeeded {
			t.Errorf("got %+v", r)
		}
		if r.Cached {
			cached++
		}
	}
	states := []State{a.State, b.State}
	slices.Sort(states)
	if runs(t, ran) != 1 || cached < len(results)-1 || !slices.Equal(states, []State{Skipped, Succeeded}) {
		t.Errorf("got %d runs, %d copies, %v in one checkout", runs(t, ran), cached, states)
	}
}

// TestFillPoisoned holds that a bad blob or record is a miss, and that the template is made anew.
func TestFillPoisoned(t *testing.T) {
	dir, ran := filepath.Join(t.TempDir(), "cache"), filepath.Join(t.TempDir(), "ran")
	spoil := map[string]func(path string, b []byte){
		"changed": func(path string, b []byte) { b[len(b)/2] ^= 1; os.WriteFile(path, b, 0o400) },
		"cut":     func(path string, b []byte) { os.WriteFile(path, b[:len(b)/2], 0o400) },
		"gone":    func(path string, b []byte) { os.Remove(path) },
	}
	n := 0
	for name, bad := range spoil {
		for _, kind := range []string{"blobs", "records"} {
			want(t, template(t, newStore(t, dir), ran, makeDB).fill(), Succeeded, "")
			n = runs(t, ran)
			err := filepath.WalkDir(filepath.Join(dir, "v1", kind), func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				b, err := os.ReadFile(path)
				if err == nil {
					err = os.Chmod(path, 0o600)
				}
				bad(path, b)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			f := template(t, newStore(t, dir), ran, makeDB)
			r := f.fill()
			if r.State != Succeeded || r.Cached || runs(t, ran) != n+1 || f.read("state/db/base/1") != "data\n" {
				t.Errorf("%s %s: got %+v after %d runs more", name, kind, r, runs(t, ran)-n)
			}
			if r = template(t, newStore(t, dir), ran, makeDB).fill(); !r.Cached {
				t.Errorf("%s %s: it was not kept anew: %+v", name, kind, r)
			}
		}
	}
}

// TestFillForeign holds that a record whose index leads elsewhere is a miss that writes nothing.
func TestFillForeign(t *testing.T) {
	s, ran := newStore(t, filepath.Join(t.TempDir(), "cache")), filepath.Join(t.TempDir(), "ran")
	r := template(t, s, ran, makeDB).fill()
	rec, err := s.Get(context.Background(), r.Key)
	if err != nil {
		t.Fatal(err)
	}
	bad, err := s.Add(context.Background(), strings.NewReader("orrery-archive 1\nd 700 \".\"\nf 600 0 0 \"../../evil\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	rec.Outputs[1] = cache.Entry{Path: indexName, Kind: cache.File, Mode: 0o400, Blob: bad}
	if err := s.Put(context.Background(), rec); err != nil {
		t.Fatal(err)
	}
	f := template(t, s, ran, makeDB)
	if r = f.fill(); r.State != Succeeded || r.Cached || runs(t, ran) != 2 {
		t.Errorf("got %+v", r)
	}
	if _, err := os.Lstat(f.path("evil")); err == nil {
		t.Error("it wrote outside of the state directory")
	}
}

func TestFillKey(t *testing.T) {
	s, ran := newStore(t, filepath.Join(t.TempDir(), "cache")), filepath.Join(t.TempDir(), "ran")
	f := template(t, s, ran, makeDB)
	f.in.Env = []Var{{"PASSWORD", "hunter22", "env", true}}
	f.job.Values, f.t.Key.Values = []string{"v"}, []string{"v"}
	f.job.Steps[0] = sh("echo v=1 >$ORRERY_VALUES; "+makeDB, f.room.tmp)
	f.job.Memo = f.path("memo")
	r := f.fill()
	want(t, r, Succeeded, "")
	lines := strings.Join(f.c.Last("t").Lines, "\n")
	for _, no := range []string{"hunter22", f.job.Root} {
		if strings.Contains(lines, no) {
			t.Errorf("the key holds %s:\n%s", no, lines)
		}
	}
	if !strings.Contains(lines, "secret PASSWORD ") || !strings.Contains(lines, "program /bin/sh ") || r.Values["v"] != "1" {
		t.Errorf("got %v and the key\n%s", r.Values, lines)
	}
	if r = f.fill(); r.State != Skipped || r.Values["v"] != "1" {
		t.Errorf("got %+v, want the values of the run", r)
	}
}

// TestFillOwner holds that a copy belongs to the user of the service, and that files of others are not kept.
func TestFillOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	s, ran := newStore(t, filepath.Join(t.TempDir(), "cache")), filepath.Join(t.TempDir(), "ran")
	const nobody = 65534
	chown := fmt.Sprintf(`; chown -hR %d:%d "$1"`, nobody, nobody)
	for i := range 2 {
		f := template(t, s, ran, makeDB+chown)
		f.t.UID, f.t.GID = nobody, nobody
		if r := f.fill(); r.State != Succeeded || r.Cached != (i == 1) {
			t.Fatalf("got %+v", r)
		}
		for _, name := range []string{"", "base", "base/1", "link"} {
			fi, err := os.Lstat(f.path("state/db/" + name))
			if err != nil {
				t.Fatal(err)
			}
			if st := fi.Sys().(*syscall.Stat_t); st.Uid != nobody || st.Gid != nobody {
				t.Errorf("%s belongs to %d:%d", name, st.Uid, st.Gid)
			}
		}
	}
	f := template(t, s, ran, makeDB+chown+"; :") // root's template
	if r := f.fill(); len(r.Notes) == 0 || !strings.Contains(r.Notes[0], "belongs to user 65534") {
		t.Errorf("got %+v, want that it is not kept", r)
	}
}
