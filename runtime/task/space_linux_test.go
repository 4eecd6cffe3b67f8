package task

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestNoSpace: with a full cache a task succeeds, uncached, with one warning.
func TestNoSpace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("orrery-test", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skip("cannot mount a tmpfs:", err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	p := checkout(t, newStore(t, filepath.Join(dir, "c")), "rm -rf dist; mkdir dist; for i in 1 2 3 4; do head -c 400000 /dev/urandom >dist/$i; done", "dist")
	for range 2 {
		if r := p.do(false); len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "no space left on device") {
			t.Errorf("got %q", r.Notes)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "c/v1/tmp")); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skip(err)
	}
	if r := p.do(false); len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "read-only") {
		t.Errorf("got %q", r.Notes)
	}
}

// TestKilledRun: what a killed process left running is ended before the task runs again.
func TestKilledRun(t *testing.T) {
	setup := func(root, script string) *place {
		j := job(t, sh(script))
		j.Root, j.Dir = root, root
		j.Outputs = []Output{{Name: "out", Path: "out"}}
		return &place{t, j, &KeyInput{}, &Caching{Store: newStore(t, filepath.Join(root, "cache")), Dir: filepath.Join(root, ".orrery/tasks")}}
	}
	if root := os.Getenv("ORRERY_TEST_KILLED"); root != "" {
		p := setup(root, "echo $$ >pids; setsid sh -c 'echo $$ >>pids; echo up >up; sleep 300; echo wrong >out' & sleep 300")
		t.Errorf("got %+v", RunCached(t.Context(), p.job, p.in, p.c))
		return
	}
	root := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledRun$")
	cmd.Env = append(os.Environ(), "ORRERY_TEST_KILLED="+root, "TMPDIR="+t.TempDir()) // what it leaves goes with us
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, filepath.Join(root, "up"))
	cmd.Process.Kill()
	cmd.Wait()
	p := setup(root, "echo right >out")
	r := RunCached(t.Context(), p.job, p.in, p.c)
	if r.State != Succeeded || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "of an earlier run that was killed") {
		t.Errorf("got %+v", r)
	}
	gone(t, pids(t, filepath.Join(root, "pids")))
	p.eq("out", "right\n")
	if r := RunCached(t.Context(), p.job, p.in, p.c); !r.Cached || len(r.Notes) > 0 {
		t.Errorf("got %+v", r)
	}
}
