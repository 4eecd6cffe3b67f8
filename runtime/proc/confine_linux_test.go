package proc

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// needCgroup skips where the limit would not be kept by a cgroup.
func needCgroup(t *testing.T, which int) {
	t.Helper()
	m, n, c := LimitMeans()
	if by := [...]string{m, n, c}[which]; !strings.HasPrefix(by, "cgroup") {
		t.Skipf("no cgroup can be written here for it: %q", by)
	}
}

// stale gives the directories of cgroups that a marker has left.
func stale(marker string) []string {
	var left []string
	for _, pattern := range []string{"/sys/fs/cgroup/*", "/sys/fs/cgroup/*/*", "/sys/fs/cgroup/*/*/*", "/sys/fs/cgroup/*/*/*/*"} {
		found, _ := filepath.Glob(filepath.Join(pattern, cgroupName(marker)))
		left = append(left, found...)
	}
	return left
}

func wantNoneLeft(t *testing.T, marker string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); len(stale(marker)) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("left: %v", stale(marker))
		}
	}
}

func TestMemoryOfATree(t *testing.T) {
	needCgroup(t, 0)
	// What is used up is used up by a child; the kernel kills it, and its shell says so.
	for script, want := range map[string]string{
		"exec tail /dev/zero":    "killed: out of memory",
		"tail /dev/zero; exit 5": "exit 5 after an out-of-memory kill",
		"exit 5":                 "exit 5",
	} {
		out, e := run(t, &Spec{Argv: []string{"sh", "-c", script}, Marker: "confine/memory", Limits: Limits{Memory: 40 << 20}})
		if e.String() != want && !(strings.HasPrefix(want, "exit 5 after") && e.OOM) { // or the shell was chosen
			t.Errorf("%s: got %v, %s, want %s", script, e, out, want)
		}
		wantNoneLeft(t, "confine/memory")
	}
}

func TestTasksOfATree(t *testing.T) {
	needCgroup(t, 1)
	out, e := run(t, &Spec{Argv: []string{"sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1000 & done; jobs -p | wc -l"}, Marker: "confine/tasks",
		Limits: Limits{Tasks: 8}})
	if !strings.Contains(out, "fork") || e.Ok() {
		t.Errorf("got %q, %v, want a fork that fails", out, e)
	}
	if n, err := Sweep(context.Background(), "confine/tasks"); n == 0 || err != nil {
		t.Errorf("got %d swept, %v", n, err)
	}
	for _, dir := range stale("confine/tasks") {
		removeCgroup(dir)
	}
}

func TestShareOfTheProcessors(t *testing.T) {
	needCgroup(t, 2)
	spin := func(l Limits) time.Duration {
		p, err := Start(&Spec{Argv: []string{"sh", "-c", "while :; do :; done"}, Env: env(), Marker: "confine/cpu", Limits: l})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		time.Sleep(600 * time.Millisecond) // a measurement: the share of the processor is one over time
		p.Signal(syscall.SIGSTOP)
		st, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.Pid()), "schedstat"))
		if err != nil {
			t.Fatal(err)
		}
		p.Signal(syscall.SIGKILL)
		p.Wait()
		d, _ := time.ParseDuration(strings.Fields(string(st))[0] + "ns")
		return d
	}
	if got := spin(Limits{CPU: 10}); got > 200*time.Millisecond {
		t.Errorf("got %v of the processor in 600 ms, want about 60 ms", got)
	}
	wantNoneLeft(t, "confine/cpu")
}

func TestConfinedUser(t *testing.T) {
	nobody(t)
	needCgroup(t, 1)
	out, e := run(t, &Spec{Argv: []string{"sh", "-c", "id -u; cat /proc/self/cgroup"}, User: "nobody", Marker: "confine/user", Limits: Limits{Tasks: 50, Memory: 64 << 20, CPU: 150}})
	if !strings.HasPrefix(out, "65534\n") || strings.Count(out, cgroupName("confine/user")) == 0 {
		t.Errorf("got %q, %v", out, e)
	}
	wantNoneLeft(t, "confine/user")
}

func TestEachProcessConfinedForItself(t *testing.T) {
	needCgroup(t, 1)
	both := []string{"confine/a", "confine/b"}
	var ps []*Process
	for _, m := range both {
		p, err := Start(&Spec{Argv: []string{"sleep", "1000"}, Env: env(), Marker: m, Limits: Limits{Tasks: 9}})
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	for i, p := range ps {
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.Pid()), "cgroup"))
		if err != nil || !strings.Contains(string(b), cgroupName(both[i])) {
			t.Errorf("%s: got %s, %v", both[i], b, err)
		}
	}
	for i, p := range ps {
		if err := p.KillTree(context.Background()); err != nil {
			t.Error(err)
		}
		p.Wait()
		p.Close()
		wantNoneLeft(t, both[i])
	}
}
