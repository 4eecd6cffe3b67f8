package proc

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tree makes a folder that looks like a cgroup of v2: its files take what is written.
func tree(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func wanted(l *Limits) (ks []controller) {
	for _, k := range controllers() {
		if k.want(l) {
			ks = append(ks, k)
		}
	}
	return ks
}

// TestUnifiedLimits: what is written into a cgroup of v2. The folder is an ordinary one: no kernel looks at it.
func TestUnifiedLimits(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "orrery-x")
	tree(t, dir, map[string]string{"cgroup.procs": "", "memory.max": "max", "memory.swap.max": "max", "memory.oom.group": "0", "pids.max": "max", "cpu.max": "max 100000"})
	l := &Limits{Memory: 64 << 20, Tasks: 7, CPU: 150}
	var files [][2]string
	for _, k := range wanted(l) {
		files = append(files, k.v2(l)...)
	}
	if !limitIn(dir, files) {
		t.Fatal("want it to be written")
	}
	for name, want := range map[string]string{"memory.max": "67108864", "memory.swap.max": "0", "memory.oom.group": "1", "pids.max": "7", "cpu.max": "150000 100000"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != want {
			t.Errorf("%s: got %q, %v, want %s", name, b, err, want)
		}
	}
	tree(t, dir, map[string]string{"memory.events": "low 0\nhigh 0\nmax 12\noom 2\noom_kill 3\noom_group_kill 1\n"})
	if n := (&confine{memory: dir}).killedInside(); n != 3 {
		t.Errorf("got %d killed, want 3", n)
	}
	if limitIn(filepath.Join(dir, "memory.max", "not a folder"), files) {
		t.Error("want no cgroup below a file")
	}
}

// TestUnifiedEnabled: a cgroup whose children have the controllers is taken as it is; else those that are missing are turned on.
func TestUnifiedEnabled(t *testing.T) {
	all := wanted(&Limits{Memory: 1, Tasks: 1, CPU: 1})
	dir := t.TempDir()
	tree(t, dir, map[string]string{"cgroup.subtree_control": "cpu io memory pids\n"})
	if !enabled(dir, all) {
		t.Error("want it to be taken")
	}
	// The kernel would answer with all of them; this file only keeps what was asked for.
	tree(t, dir, map[string]string{"cgroup.subtree_control": "memory\n"})
	if enabled(dir, all) {
		t.Error("want none where the request has no effect")
	}
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	if asked := strings.Fields(string(b)); err != nil || !slices.Contains(asked, "+pids") || !slices.Contains(asked, "+cpu") {
		t.Errorf("got %q, %v, want +pids and +cpu to be asked for", b, err)
	}
	if enabled(filepath.Join(dir, "none"), all) {
		t.Error("want none where there is no cgroup")
	}
}
