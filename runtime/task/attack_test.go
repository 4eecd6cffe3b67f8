package task

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"orrery/runtime/cache"
)

// forge keeps a record that says what it likes, in the place of the task's.
func (p *place) forge(entries []cache.Entry) {
	p.t.Helper()
	key, _, err := p.c.Lines(p.job, p.in)
	if err != nil {
		p.t.Fatal(err)
	}
	b, err := p.c.Store.Add(p.t.Context(), strings.NewReader("evil"))
	if err != nil {
		p.t.Fatal(err)
	}
	for i := range entries {
		if entries[i].Kind == cache.File {
			entries[i].Blob = b
		}
	}
	if err := p.c.Store.Put(p.t.Context(), &cache.Record{Key: key, Outputs: entries}); err != nil {
		p.t.Logf("the cache refuses %q: %v", entries[0].Path, err)
		p.c.Store = &liar{Store: p.c.Store, rec: &cache.Record{Key: key, Outputs: entries}}
	}
}

// record is what the cache holds for the task.
func (p *place) record() *cache.Record {
	p.t.Helper()
	key, _, err := p.c.Lines(p.job, p.in)
	if err != nil {
		p.t.Fatal(err)
	}
	rec, err := p.c.Store.Get(p.t.Context(), key)
	if err != nil {
		p.t.Fatal(err)
	}
	return rec
}

// liar is a store that gives a record that no honest one would.
type liar struct {
	Store
	rec *cache.Record
}

func (l *liar) Get(context.Context, string) (*cache.Record, error) { return l.rec, nil }

// TestForgedRecords: whatever a record says, nothing but the declared outputs is written, and the task is run instead.
func TestForgedRecords(t *testing.T) {
	for name, entries := range map[string][]cache.Entry{
		"up":             {{Path: "../evil", Kind: cache.File, Mode: 0o644}, {Path: "dist", Kind: cache.Dir, Mode: 0o755}},
		"dots":           {{Path: "dist", Kind: cache.Dir, Mode: 0o755}, {Path: "dist/../../evil", Kind: cache.File}},
		"dots inside":    {{Path: "dist", Kind: cache.Dir, Mode: 0o755}, {Path: "dist/../evil", Kind: cache.File}},
		"absolute":       {{Path: "/tmp/evil", Kind: cache.File, Mode: 0o644}, {Path: "dist", Kind: cache.Dir, Mode: 0o755}},
		"undeclared":     {{Path: "dist", Kind: cache.Dir, Mode: 0o755}, {Path: "evil", Kind: cache.File, Mode: 0o644}},
		"the project":    {{Path: "dist", Kind: cache.Dir, Mode: 0o755}, {Path: "services.star", Kind: cache.File, Mode: 0o644}},
		"sibling":        {{Path: "dist", Kind: cache.Dir, Mode: 0o755}, {Path: "distevil", Kind: cache.File, Mode: 0o644}},
		"through a link": {{Path: "dist", Kind: cache.Dir, Mode: 0o755}, {Path: "dist/l", Kind: cache.Link, Target: "../.."}, {Path: "dist/l/evil", Kind: cache.File, Mode: 0o644}},
		"top is a link":  {{Path: "dist", Kind: cache.Link, Target: ".."}, {Path: "dist/evil", Kind: cache.File, Mode: 0o644}},
		"device":         {{Path: "dist", Kind: cache.Dir, Mode: 0o755}, {Path: "dist/d", Kind: "a device"}},
		"incomplete":     {{Path: "dist/evil", Kind: cache.File, Mode: 0o644}},
		"nothing":        nil,
	} {
		p := checkout(t, cacheIn(t), "mkdir -p dist; echo good >dist/a", "dist")
		if len(entries) == 0 {
			p.c.Store = &liar{Store: p.c.Store, rec: &cache.Record{}}
		} else {
			p.forge(entries)
		}
		p.do(false)
		p.eq("dist/a", "good\n")
		filepath.WalkDir(filepath.Dir(p.job.Root), func(f string, d fs.DirEntry, err error) error {
			if strings.Contains(d.Name(), "evil") {
				t.Errorf("%s: %s was written", name, f)
			}
			return nil
		})
	}
	if _, err := os.Lstat("/tmp/evil"); err == nil {
		t.Error("/tmp/evil was written")
	}
}

// TestSetuid: such bits do not come out of the cache.
func TestSetuid(t *testing.T) {
	p := checkout(t, cacheIn(t), "mkdir -p dist; echo 1 >dist/su; chmod 6755 dist/su; chmod 1777 dist", "dist")
	p.clean(false)
	os.RemoveAll(p.path("dist"))
	p.clean(true)
	for _, f := range []string{"dist", "dist/su"} {
		if st, err := os.Stat(p.path(f)); err != nil || st.Mode()&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0 {
			t.Errorf("got %v, %v", st.Mode(), err)
		}
	}
	p.forge([]cache.Entry{{Path: "dist", Kind: cache.Dir, Mode: 0o755 | fs.ModeSetgid}, {Path: "dist/su", Kind: cache.File, Mode: 0o755 | fs.ModeSetuid}})
	p.clean(true)
	if st, err := os.Stat(p.path("dist/su")); err != nil || st.Mode() != 0o755 {
		t.Errorf("got %v, %v", st.Mode(), err)
	}
}

// TestSpecialOutputs: a pipe, a socket or a device is not kept, and not opened.
func TestSpecialOutputs(t *testing.T) {
	p := checkout(t, cacheIn(t), "rm -rf dist; mkdir dist; mkfifo dist/pipe", "dist")
	for range 2 {
		if r := p.do(false); len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "dist/pipe is a named pipe, which cannot be kept") || r.Digest == "" {
			t.Errorf("got %+v", r)
		}
	}
	p.job.Steps = []Step{sh("true")}
	p.job.Outputs = nil
	if err := syscall.Mkfifo(p.path("src/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := RunCached(t.Context(), p.job, p.in, p.c) // an input that is one does not block
	if r.State != Succeeded || len(r.Notes) > 0 {
		t.Errorf("got %+v", r)
	}
}

// TestHardLinks: restoring never writes through a file that has other names.
func TestHardLinks(t *testing.T) {
	p := checkout(t, cacheIn(t), "mkdir -p dist; cat src/a >dist/a", "dist")
	p.write("src/a", "1")
	p.clean(false)
	outside := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(outside, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	os.Remove(p.path("dist/a"))
	if err := os.Link(outside, p.path("dist/a")); err != nil {
		t.Fatal(err)
	}
	p.clean(true)
	p.eq("dist/a", "1")
	if b, _ := os.ReadFile(outside); string(b) != "precious" {
		t.Errorf("got %q", b)
	}
	// Nor is a blob an output's file: writing into the output leaves the cache as it was.
	f, err := os.OpenFile(p.path("dist/a"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("2")
	f.Close()
	p.clean(true)
	p.eq("dist/a", "1")
}

// TestRacer swaps folders of the output for links that lead out, as fast as it can, while results are restored.
func TestRacer(t *testing.T) {
	p := checkout(t, cacheIn(t), "rm -rf dist; mkdir -p dist/a/b; for i in 1 2 3 4 5; do echo $i >dist/a/b/$i; echo $i >dist/a/$i; done", "dist")
	p.clean(false)
	outside := t.TempDir()
	if err := errors.Join(os.MkdirAll(filepath.Join(outside, "b"), 0o755), os.WriteFile(filepath.Join(outside, "1"), []byte("precious"), 0o644)); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	swaps := 0
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, name := range []string{"dist/a/b", "dist/a", "dist"} {
				old := p.path(name)
				if os.Rename(old, old+".away") != nil {
					continue
				}
				os.Symlink(outside, old)
				swaps++
				time.Sleep(50 * time.Microsecond) // a moment for the other side to fall into it
				os.Remove(old)
				os.Rename(old+".away", old)
			}
		}
	})
	// The command itself would follow the links: only restoring is tried.
	rec := p.record()
	outs, err := openOutputs(p.job)
	if err != nil {
		t.Fatal(err)
	}
	defer outs.close()
	hits := 0
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		outs.root.RemoveAll("dist/a/1")
		outs.root.RemoveAll("dist/a/b/2")
		plan, err := outs.compare(rec.Outputs, nil)
		if err == nil {
			err = plan.apply(t.Context(), p.c.Store)
		}
		if err == nil {
			hits++
		}
	}
	close(stop)
	wg.Wait()
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 2 {
		t.Errorf("got %v, %v outside", entries, err)
	}
	if b, err := os.ReadFile(filepath.Join(outside, "1")); string(b) != "precious" {
		t.Errorf("got %q, %v", b, err)
	}
	if entries, err = os.ReadDir(filepath.Join(outside, "b")); err != nil || len(entries) != 0 {
		t.Errorf("got %v, %v outside", entries, err)
	}
	t.Logf("%d swaps, %d hits, 0 writes outside", swaps, hits)
}

// TestDamagedCache: each file of the cache, damaged: never a wrong output, and the next run mends it.
func TestDamagedCache(t *testing.T) {
	ways := map[string]func([]byte) []byte{
		"flip": func(b []byte) []byte { b[len(b)/2] ^= 1; return b }, "cut": func(b []byte) []byte { return b[:len(b)/2] },
		"zero": func(b []byte) []byte { clear(b); return b }, "empty": func([]byte) []byte { return nil }, "delete": nil,
	}
	dir := filepath.Join(t.TempDir(), "cache")
	p := checkout(t, newStore(t, dir), "rm -rf dist; mkdir dist; echo one >dist/a; echo two >dist/b; echo said", "dist")
	p.c.Replay = true
	p.clean(false)
	tried, ran := 0, 0
	for name, way := range ways {
		var all []string
		filepath.WalkDir(filepath.Join(dir, "v1"), func(f string, d fs.DirEntry, err error) error {
			if d.Type().IsRegular() && (strings.Contains(f, "/blobs/") || strings.Contains(f, "/records/")) {
				all = append(all, f)
			}
			return nil
		})
		for _, f := range all {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			os.Chmod(f, 0o600)
			if way == nil {
				err = os.Remove(f)
			} else {
				err = os.WriteFile(f, way(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			tried++
			os.RemoveAll(p.path("dist"))
			r := RunCached(t.Context(), p.job, p.in, p.c)
			if r.State != Succeeded || !r.Cached && way != nil && len(r.Notes) == 0 {
				t.Errorf("%s of %s: got %+v", name, f, r)
			}
			if !r.Cached {
				ran++
			}
			p.eq("dist/a", "one\n")
			p.eq("dist/b", "two\n")
			os.RemoveAll(p.path("dist"))
			p.do(true)
		}
	}
	t.Logf("%d damages, %d of them run again, 0 wrong outputs", tried, ran)
}

// dying is a store of which the nth call fails, or kills: nothing after it is done.
type dying struct {
	Store
	mu    sync.Mutex
	n, at int
}

var errDead = &cache.UnavailableError{Op: "reach", Err: errors.New("it died")}

func (d *dying) step() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n++
	if d.n >= d.at {
		return errDead
	}
	return nil
}

func (d *dying) Get(ctx context.Context, k string) (*cache.Record, error) {
	if err := d.step(); err != nil {
		return nil, err
	}
	return d.Store.Get(ctx, k)
}

func (d *dying) Fetch(ctx context.Context, b []cache.Blob) error {
	if err := d.step(); err != nil {
		return err
	}
	return d.Store.Fetch(ctx, b)
}

func (d *dying) Open(ctx context.Context, b cache.Blob) (io.ReadCloser, error) {
	if err := d.step(); err != nil {
		return nil, err
	}
	return d.Store.Open(ctx, b)
}

func (d *dying) Add(ctx context.Context, r io.Reader) (cache.Blob, error) {
	if err := d.step(); err != nil {
		return cache.Blob{}, err
	}
	return d.Store.Add(ctx, r)
}

func (d *dying) Put(ctx context.Context, r *cache.Record) error {
	if err := d.step(); err != nil {
		return err
	}
	return d.Store.Put(ctx, r)
}

func (d *dying) Lock(ctx context.Context, k string) (func(), error) {
	if err := d.step(); err != nil {
		return nil, err
	}
	return d.Store.Lock(ctx, k)
}

// TestDyingStore: whenever the store goes, the task succeeds with the right outputs and one warning.
func TestDyingStore(t *testing.T) {
	for _, warm := range []bool{false, true} {
		for at := 1; ; at++ {
			s := cacheIn(t)
			p := checkout(t, s, "rm -rf dist; mkdir dist; echo 1 >dist/a; echo 2 >dist/b", "dist")
			if warm {
				p.clean(false)
				os.RemoveAll(p.path("dist"))
			}
			d := &dying{Store: s, at: at}
			p.c.Store = d
			r := RunCached(t.Context(), p.job, p.in, p.c)
			p.eq("dist/a", "1\n")
			p.eq("dist/b", "2\n")
			if r.State != Succeeded {
				t.Errorf("call %d: got %+v", at, r)
			}
			if d.n < at {
				t.Logf("%d calls", at-1)
				break
			}
			if len(r.Notes) != 1 {
				t.Errorf("call %d: got %q", at, r.Notes)
			}
			p.c.Store = s
			p.do(warm || r.Cached)
		}
	}
}

// TestKilledRestore kills processes that restore and run, and looks that the next one makes it right.
func TestKilledRestore(t *testing.T) {
	setup := func(root, dir string) *place {
		j := job(t, sh("rm -rf dist; mkdir -p dist/sub; for i in 1 2 3 4 5 6 7 8; do echo $(cat src/a) $i >dist/sub/$i; done"))
		j.Root, j.Dir = root, root
		j.Outputs = []Output{{Name: "dist", Path: "dist"}}
		j.Hashes = &FileHashes{Path: filepath.Join(root, ".orrery/memo")}
		return &place{t, j, &KeyInput{Inputs: []Input{{Path: "src"}}}, &Caching{Store: newStore(t, dir), Dir: filepath.Join(root, ".orrery/tasks")}}
	}
	if root := os.Getenv("ORRERY_TEST_ROOT"); root != "" {
		p := setup(root, os.Getenv("ORRERY_TEST_CACHE"))
		for n := 0; ; n++ {
			p.write("src/a", strings.Repeat("x", n%3))
			if n%2 == 0 {
				os.RemoveAll(p.path("dist"))
			}
			if r := RunCached(t.Context(), p.job, p.in, p.c); r.State != Succeeded {
				t.Fatalf("got %+v", r)
			}
			p.job.Hashes.Save(t.Context())
		}
	}
	root, dir, tmp := t.TempDir(), filepath.Join(t.TempDir(), "cache"), t.TempDir()
	const kills = 25
	ended := 0
	for i := range kills {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledRestore$")
		cmd.Env = append(os.Environ(), "ORRERY_TEST_ROOT="+root, "ORRERY_TEST_CACHE="+dir, "TMPDIR="+tmp) // what it leaves goes with us
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(30+3*i) * time.Millisecond) // the instant of the kill is what varies
		cmd.Process.Kill()
		if err := cmd.Wait(); !strings.Contains(err.Error(), "killed") {
			t.Fatal(err)
		}
		p := setup(root, dir)
		p.write("src/a", strings.Repeat("x", i%3))
		// A step of the killed process may still be at work: it must not write into what is made now.
		r := RunCached(t.Context(), p.job, p.in, p.c)
		if r.State != Succeeded || r.Digest != digestNow(t, p) {
			t.Fatalf("got %+v", r)
		}
		if strings.Contains(strings.Join(r.Notes, " "), "processes of an earlier run") {
			ended++
		}
		if b, err := os.ReadFile(p.path("dist/sub/8")); err != nil || strings.TrimSpace(string(b)) != strings.TrimSpace(strings.Repeat("x", i%3)+" 8") {
			t.Fatalf("got %q, %v", b, err)
		}
	}
	t.Logf("%d kills, %d of them left processes, 0 wrong outputs", kills, ended)
}

func digestNow(t testing.TB, p *place) string {
	t.Helper()
	outs, err := openOutputs(p.job)
	if err != nil {
		t.Fatal(err)
	}
	defer outs.close()
	entries, err := outs.entries(outs.hashed)
	if err != nil {
		return ""
	}
	return digestOf(entries, nil)
}
