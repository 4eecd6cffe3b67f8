package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// cached is a checkout of two tasks whose outputs are known: a reads, b makes a
// folder of what a made. Only the shell itself does the work, so that a fault is
// a fault of a or b and not of a tool that hides it.
type cached struct {
	*checkout
	cache string
}

const cachedStar = `
a = task("a", command = "read x < a.txt; echo $x$x > a.out; echo a >> ran", inputs = ["a.txt"], outputs = {"out": "a.out"})
b = task(
    "b",
    command = "rm -rf tree; mkdir tree; read x < %s; echo 1 $x > tree/1; echo 2 $x > tree/2; umask 077; echo 3 $x > tree/3; echo b >> ran" % a.outputs.out,
    inputs = [a.outputs.out],
    outputs = {"tree": "tree"},
)
`

func newCached(t *testing.T) *cached {
	torture(t)
	c := &cached{checkout: newCheckout(t, cachedStar), cache: t.TempDir()}
	os.Chmod(c.cache, 0o700)
	c.env = append(c.env, "XDG_CACHE_HOME="+c.cache) // the last one counts
	c.write("a.txt", "x\n")
	return c
}

// right fails the test if an output is not what the tasks make of a.txt.
func (c *cached) right(when string) {
	c.t.Helper()
	x := strings.TrimSpace(c.read("a.txt"))
	x += x
	want := map[string]string{"a.out": x + "\n", "tree/1": "1 " + x + "\n", "tree/2": "2 " + x + "\n", "tree/3": "3 " + x + "\n"}
	for name, text := range want {
		if got := c.read(name); got != text {
			c.t.Fatalf("%s: a wrong output: %s holds %q, want %q", when, name, got, text)
		}
	}
	if fi, err := os.Stat(c.path("tree/3")); err != nil || fi.Mode().Perm() != 0o600 {
		c.t.Fatalf("%s: a wrong output: tree/3 is %v, %v", when, fi.Mode(), err)
	}
	if names, err := os.ReadDir(c.path("tree")); err != nil || len(names) != 3 {
		c.t.Fatalf("%s: a wrong output: the tree holds %v, %v", when, names, err)
	}
}

// next is an undisturbed run, of which the outputs have to be right.
func (c *cached) next(when string) ran {
	c.t.Helper()
	r := c.orrery("run", "b")
	if r.code != 0 {
		c.t.Fatalf("%s: %s", when, r)
	}
	c.right(when)
	return r
}

// gone removes what the tasks made.
func (c *cached) gone() {
	for _, name := range []string{"a.out", "tree", "ran"} {
		os.RemoveAll(c.path(name))
	}
}

// files are the records and blobs of the cache.
func (c *cached) files() []string {
	var all []string
	filepath.WalkDir(c.cache, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && (strings.Contains(p, "/records/") || strings.Contains(p, "/blobs/")) {
			all = append(all, p)
		}
		return nil
	})
	return all
}

// TestTortureCacheDamage damages each record and each blob in turn, in every
// way, in the long form each byte of it: the outputs are right after every run.
func TestTortureCacheDamage(t *testing.T) {
	c := newCached(t)
	c.next("first")
	names := c.files()
	if len(names) < 6 {
		t.Fatalf("got %v", names)
	}
	tried, again := 0, 0
	try := func(what, name string, damage func([]byte) []byte) {
		old, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		os.Remove(name)
		if damage != nil {
			if err := os.WriteFile(name, damage(bytes.Clone(old)), 0o400); err != nil {
				t.Fatal(err)
			}
		}
		c.gone()
		tried++
		when := fmt.Sprintf("%s of %s", what, strings.TrimPrefix(name, c.cache))
		c.next(when)
		if c.read("ran") != "" {
			again++
		}
		c.gone()
		c.next(when + ", once more")
		if ran := c.read("ran"); ran != "" {
			t.Fatalf("%s: it is not mended: %q ran", when, ran)
		}
		if b, err := os.ReadFile(name); err != nil || strings.Contains(name, "/blobs/") && !bytes.Equal(b, old) { // one that no restore reads
			os.Remove(name)
			if err := os.WriteFile(name, old, 0o400); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, name := range names {
		try("the loss", name, nil)
		try("emptying", name, func([]byte) []byte { return nil })
		try("zeroing", name, func(b []byte) []byte { clear(b); return b })
		try("cutting", name, func(b []byte) []byte { return b[:len(b)/2] })
		try("lengthening", name, func(b []byte) []byte { return append(b, 0) })
		fi, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < int(fi.Size()); at += form(max(1, int(fi.Size())/2), 1+int(fi.Size())/64) {
			try(fmt.Sprintf("flipping byte %d", at), name, func(b []byte) []byte { b[at] ^= 1; return b })
		}
	}
	t.Logf("%d records and blobs, %d damages, after %d of them something ran again, 0 wrong outputs", len(names), tried, again)
}

// kinds are the system calls that a run changes anything with.
var kinds = []string{"openat", "write", "renameat", "unlinkat", "mkdirat", "flock", "fsync", "fchmod", "fchmodat", "ftruncate", "copy_file_range", "ioctl", "close"}

// TestTortureCacheCalls fails the Nth system call of a run, and kills the
// process at it, for every N: when the result is kept, and when it is restored.
// What says that it succeeded has; the next run is right, and the cache clean.
func TestTortureCacheCalls(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	c := newCached(t)
	if out, err := exec.Command(strace, "-o", c.path("trace"), "true").CombinedOutput(); err != nil {
		t.Skipf("cannot trace here: %v: %s", err, out)
	}
	hits := map[string]int{}
	serial := 0
	one := func(kind, how, what string, n int) bool {
		c.gone()
		serial++
		c.write("a.txt", fmt.Sprintf("x%d\n", serial))
		if what == "restore" {
			c.next("before")
			c.gone()
		}
		when := fmt.Sprintf("%s of the %dth %s in a %s", how, n, kind, what)
		cmd := exec.Command(strace, "-f", "-o", c.path("trace"), "-e", "trace="+kind, "-e", fmt.Sprintf("inject=%s:%s:when=%d", kind, how, n), c.programs.orrery, "run", "b")
		cmd.Dir, cmd.Env = c.dir, c.env
		r := c.finish(cmd)
		trace := c.read("trace")
		if !strings.Contains(trace, "INJECTED") && !strings.Contains(trace, "killed by SIGKILL") {
			return false
		}
		hits[what+" "+how]++
		if r.code == 0 {
			c.right(when)
		}
		c.next(when)
		if *long {
			c.gone()
			c.next(when + ", restored")
		}
		return true
	}
	for _, what := range []string{"put", "restore"} {
		for _, how := range []string{"signal=KILL", "error=EIO"} {
			for _, kind := range kinds {
				if kind == "close" && how != "signal=KILL" {
					continue // Linux closes all the same, and a call that is left out does not: a pipe would never end
				}
				for n := 1; n < 200 && one(kind, how, what, n); n += form(3*n, 1) {
				}
			}
		}
	}
	if r := c.must("cache", "verify", "--json"); strings.Contains(r.out, `"reason"`) {
		t.Errorf("the cache is not clean: %s", r)
	}
	t.Logf("calls that failed or killed: %v; 0 wrong outputs, 0 that the next run did not mend", hits)
}

// inside gives a command in a mount name space of its own, after a script that
// mounts there; the script has the folder of the cache in $1.
func (c *cached) inside(mount string, args ...string) ran {
	c.t.Helper()
	if os.Geteuid() != 0 {
		c.t.Skip("mounting a small file system needs root")
	}
	cmd := exec.Command("unshare", append([]string{"-m", "sh", "-euc", "cache=$1; shift; " + mount + "\nexec \"$@\"", "sh", c.cache, c.programs.orrery}, args...)...)
	cmd.Dir, cmd.Env = c.dir, c.env
	r := c.finish(cmd)
	if strings.Contains(r.err, "mount:") || strings.Contains(r.err, "unshare:") {
		c.t.Skip("cannot mount in a private name space: ", r.err)
	}
	return r
}

// TestTortureCacheFull runs with a cache on a disk of 1 MB, and with one that
// cannot be written: every task succeeds, its outputs are right, and it is said.
func TestTortureCacheFull(t *testing.T) {
	c := newCached(t)
	c.write("services.star", cachedStar+`
[task("big/%d" % i, command = "head -c 400000 /dev/urandom > big.%d; echo big >> ran" % i, outputs = {"o": "big.%d" % i}, inputs = ["a.txt"]) for i in range(5)]
task("part", command = "head -c 6000 /dev/zero > disk/f", outputs = {"o": "disk/f"}, inputs = ["services.star"])
`)
	const small = "mount -t tmpfs -o size=1m,mode=700 tmpfs $cache\n"
	r := c.inside(small, "run", "big", "b")
	if r.code != 0 || !strings.Contains(r.err, "no space left on device") || strings.Count(r.err, "no space left on device") > 6 {
		t.Errorf("a full disk: %s", r)
	}
	c.right("a full disk")
	for i := range 5 {
		if fi, err := os.Stat(c.path(fmt.Sprint("big.", i))); err != nil || fi.Size() != 400000 {
			t.Errorf("a full disk: big.%d: %v, %v", i, fi, err)
		}
	}
	c.gone()
	c.next("before")
	c.gone()
	const locked = "mount --bind $cache $cache; mount -o remount,bind,ro $cache\n"
	if r := c.inside(locked, "run", "b"); r.code != 0 || c.read("ran") != "" || strings.Contains(r.err, "not cached") {
		t.Errorf("a cache that cannot be written is read: %s%s", r, c.read("ran"))
	}
	c.right("a cache that cannot be written, hit")
	c.write("a.txt", "y\n")
	if r := c.inside(locked, "run", "b"); r.code != 0 || c.read("ran") != "a\nb\n" || !strings.Contains(r.err, "read-only file system") {
		t.Errorf("a cache that cannot be written: %s%s", r, c.read("ran"))
	}
	c.right("a cache that cannot be written, miss")
	// The disk of the checkout is full: neither a restore nor a run can be, and that is said. With room again it is restored.
	c.must("run", "part")
	os.RemoveAll(c.path("disk"))
	os.Mkdir(c.path("disk"), 0o700)
	full := fmt.Sprintf("mount -t tmpfs -o size=8k,mode=700 tmpfs %s; head -c 8192 /dev/zero > %[1]s/junk\n", c.path("disk"))
	if r := c.inside(full, "run", "part"); r.code != 1 || !strings.Contains(r.err, "cannot restore disk/f") {
		t.Errorf("a full checkout: %s", r)
	}
	if r := c.must("run", "part", "--json"); !strings.Contains(r.out, `"cached": true`) || len(c.read("disk/f")) != 6000 {
		t.Errorf("a full checkout, with room again: %s", r)
	}
}

// TestTortureCacheTrim trims as hard as it can while 50 checkouts run and
// restore: nobody misses a blob.
func TestTortureCacheTrim(t *testing.T) {
	c := newCached(t)
	done := make(chan struct{})
	trims := 0
	var trimming, runs sync.WaitGroup
	trimming.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if r := c.orrery("cache", "trim", "--max-bytes", "1", "--max-age", "1ns"); r.code != 0 {
				t.Error(r)
			}
			trims++
		}
	})
	const checkouts = 50
	room := make(chan struct{}, 8)
	for i := range checkouts {
		dir := t.TempDir()
		runs.Go(func() {
			room <- struct{}{}
			defer func() { <-room }()
			for name, text := range map[string]string{"services.star": cachedStar, "a.txt": fmt.Sprintf("t%d\n", i%10)} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Error(err)
				}
			}
			for range form(2, 20) {
				cmd := c.command("run", "b")
				cmd.Dir = dir
				r := c.finish(cmd)
				want := fmt.Sprintf("2 t%dt%[1]d\n", i%10)
				got, err := os.ReadFile(filepath.Join(dir, "tree/2"))
				if r.code != 0 || strings.Contains(r.err, "not in the cache") || strings.Contains(r.err, "bad") || err != nil || string(got) != want {
					t.Errorf("%s\ngot %q, %v, want %q", r, got, err, want)
				}
				os.RemoveAll(filepath.Join(dir, "tree"))
				os.Remove(filepath.Join(dir, "a.out"))
			}
			if text, err := os.ReadFile(filepath.Join(dir, "ran")); err == nil && len(text) > 4 {
				t.Errorf("what was kept a moment ago was made again: %q", text)
			}
		})
	}
	runs.Wait()
	close(done)
	trimming.Wait()
	t.Logf("%d runs in %d checkouts under %d trims, 0 missing blobs", checkouts*form(2, 20), checkouts, trims)
}

// TestTortureCacheStrangers offers results that others have made, or could
// have: none is taken.
func TestTortureCacheStrangers(t *testing.T) {
	c := newCached(t)
	c.next("first")
	top := filepath.Join(c.cache, "orrery")
	refused := func(when string) {
		t.Helper()
		c.gone()
		if r := c.next(when); c.read("ran") != "a\nb\n" || !strings.Contains(r.err, "tasks are not cached: cannot open the cache: ") {
			t.Errorf("%s: %s%s", when, r, c.read("ran"))
		}
		if r := c.orrery("cache", "stats"); r.code == 0 {
			t.Errorf("%s: %s", when, r)
		}
	}
	for _, mode := range []os.FileMode{0o770, 0o702} {
		os.Chmod(top, mode)
		refused(fmt.Sprintf("a cache of mode %#o", mode))
	}
	os.Chmod(top, 0o700)
	if os.Geteuid() != 0 {
		return
	}
	const other = 65534
	os.Chown(top, other, other)
	refused("a cache of another user")
	os.Chown(top, 0, 0)
	names := c.files()
	for _, name := range names {
		if err := os.Chown(name, other, other); err != nil {
			t.Fatal(err)
		}
	}
	c.gone()
	c.next("files of another user")
	if c.read("ran") != "a\nb\n" {
		t.Errorf("results of another user were taken")
	}
	c.gone()
	c.next("after")
	if c.read("ran") != "" {
		t.Errorf("it is not mended")
	}
}
