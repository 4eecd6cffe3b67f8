package probe

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"orrery/lang/graph"
)

func script(text string) graph.Probe {
	return graph.Probe{Kind: "exec", Command: graph.Command{Script: graph.Lit(text)}}
}

func argv(words ...string) graph.Probe {
	p := graph.Probe{Kind: "exec"}
	for _, w := range words {
		p.Command.Argv = append(p.Command.Argv, graph.Lit(w))
	}
	return p
}

func here(dir string) Target { return Target{Dir: dir, Env: os.Environ()} }

func TestExec(t *testing.T) {
	dir := t.TempDir()
	gate := makeProbe(t, argv("test", "-f", "gate"), here(dir))
	want(t, check(t, gate, long), "exec test: got exit 1, want exit 0")
	if err := os.WriteFile(filepath.Join(dir, "gate"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, check(t, gate, long))

	for _, test := range []struct{ script, want string }{
		{"echo one; echo two >&2; exit 3", "exec script: got exit 3, want exit 0: two"},
		{"printf 'no newline'; exit 1", ": no newline"},
		{"printf 'last\\n\\n \\n'; exit 1", ": last"},
		{"printf '\\033[31mred\\377\\n'; exit 1", ": ?[31mred?"},
		{"kill -SEGV $$", "exec script: got killed by segmentation fault"},
		{"head -c 1000000 /dev/zero | tr '\\0' x; echo; echo end; exit 1", "exit 0: end"},
		{"no-such-program", "got exit 127"},
	} {
		want(t, check(t, makeProbe(t, script(test.script), here(dir)), long), test.want)
	}
	want(t, check(t, makeProbe(t, argv("no-such-program"), here(dir)), long), "exec no-such-program: cannot start it: no such program in PATH=")
	want(t, check(t, makeProbe(t, argv("./gate"), here(dir)), long), "exec gate: cannot start it: ./gate: permission denied")
	want(t, check(t, makeProbe(t, argv("true"), here(dir+"/absent")), long), "absent: no such file")
}

// A probe sees the service's environment and folder, not ours.
func TestExecEnvironment(t *testing.T) {
	t.Setenv("OURS", "1")
	bin := t.TempDir()
	os.WriteFile(filepath.Join(bin, "asked"), []byte("#!/bin/sh\necho \"$A ${OURS-none} $(pwd -P) $#\"; exit 1\n"), 0o700)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	target := Target{Dir: dir, Env: []string{"A=b", "PATH=/nowhere", "PATH=" + bin + ":/usr/bin:/bin"}}
	want(t, check(t, makeProbe(t, argv("asked", "x", ""), target), long), ": b none "+dir+" 2")
	target.Argv = func(graph.Command) ([]string, error) { return []string{"sh", "-c", "exit 7"}, nil }
	want(t, check(t, makeProbe(t, argv("asked"), target), long), "exec sh: got exit 7")
}

func TestExecUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to act as another user")
	}
	target := Target{Dir: "/", Env: os.Environ(), User: &syscall.Credential{Uid: 64321, Gid: 64322}}
	want(t, check(t, makeProbe(t, script("echo $(id -u) $(id -g); exit 1"), target), long), ": 64321 64322")
}

// pids waits until the file holds n pids, and returns them.
func pids(t *testing.T, path string, n int) []int {
	t.Helper()
	for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		data, _ := os.ReadFile(path)
		if words := strings.Fields(string(data)); len(words) >= n && strings.HasSuffix(string(data), "\n") {
			var all []int
			for _, w := range words {
				pid, err := strconv.Atoi(w)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, pid)
			}
			return all
		}
	}
	t.Fatalf("got no %d pids in %s", n, path)
	return nil
}

// gone waits until no process has the pid, or a zombie.
func gone(t *testing.T, pid int) {
	t.Helper()
	var out []byte
	for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if unix.Kill(pid, 0) == unix.ESRCH {
			return
		}
		out, _ = exec.Command("ps", "-o", "stat=,args=", "-p", strconv.Itoa(pid)).Output()
		if len(out) == 0 || out[0] == 'Z' {
			return
		}
	}
	t.Errorf("process %d of the probe lives on: %s", pid, out)
}

// A probe that hangs is killed at its timeout, with children that ignore
// signals, and those that made a session of their own.
func TestExecTimeout(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip("setsid is not installed (package util-linux)")
	}
	file := filepath.Join(t.TempDir(), "pids")
	hang := `trap '' TERM HUP INT
sh -c 'trap "" TERM; echo $$ >> "$0"; sleep 600' "$F" &
(setsid sh -c 'echo $$ >> "$0"; sleep 600' "$F" &) 
echo $$ >> "$F"
echo waiting for the moon
wait; sleep 600`
	target := here("/")
	target.Env = append(target.Env, "F="+file)
	p := makeProbe(t, script(hang), target)
	results := make(chan error, 10)
	r := Start(p, Pace{Timeout: 2 * time.Second, Period: time.Hour, Steady: true}, func(err error) { results <- err })
	defer r.Stop()
	want(t, <-results, "exec script: got no exit in ", ", want exit 0: waiting for the moon")
	for _, pid := range pids(t, file, 3) {
		gone(t, pid)
	}
}

// What an ended probe leaves in its group goes with it, and does not delay it.
func TestExecLeftover(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	target := here("/")
	target.Env = append(target.Env, "F="+file)
	p := makeProbe(t, script(`sh -c 'echo $$ > "$0"; exec sleep 600' "$F" & while ! test -s "$F"; do sleep 0.01; done`), target)
	want(t, check(t, p, time.Minute))
	gone(t, pids(t, file, 1)[0])
}

// Stop ends the try under way, and its processes.
func TestExecStopped(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pids")
	target := here("/")
	target.Env = append(target.Env, "F="+file)
	p := makeProbe(t, script(`echo $$ > "$F"; sleep 600`), target)
	r := Start(p, Pace{Timeout: time.Hour, Period: time.Hour}, func(err error) { t.Errorf("got report %v after Stop", err) })
	pid := pids(t, file, 1)[0]
	r.Stop()
	<-r.Done()
	gone(t, pid)
}
