package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// begin starts a shell script with a marker; it is killed at the end of the test whatever happens.
func begin(t *testing.T, script string, more func(*Spec)) *Process {
	t.Helper()
	s := &Spec{Name: "svc", Argv: []string{"bash", "-c", script}, Env: env(), Marker: marker(t)}
	if more != nil {
		more(s)
	}
	p, err := Start(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.KillTree(context.Background())
		p.Wait()
		p.Close()
	})
	return p
}

// endsAll kills the tree of p and checks that the pids are gone.
func endsAll(t *testing.T, p *Process, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		if !alive(pid) {
			t.Fatalf("pid %d was gone before", pid)
		}
	}
	if err := p.KillTree(soon(t)); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("pid %d survived", pid)
		}
	}
	p.Wait()
	if err := p.KillTree(soon(t)); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

func TestKillTree(t *testing.T) {
	for name, script := range map[string]string{
		"double fork and setsid": `setsid sh -c 'trap "" TERM HUP; sleep 3600 & echo $! > $0; wait' $F & disown; sleep 3600`,
		"orphan in a session":    `(setsid sh -c 'echo $$ > $0; exec sleep 3600' $F &) ; sleep 3600`,
		"private group":          `set -m; sleep 3600 & echo $! > $F; wait`,
		"orphan of the group":    `(sleep 3600 & echo $! > $F); sleep 3600`,
		"stopped":                `sh -c 'echo $$ > $0; kill -STOP $$; sleep 3600' $F & wait`,
		"ignores everything":     `sh -c 'trap "" TERM INT HUP; echo $$ > $0; while :; do sleep 1; done' $F & wait`,
		"clears its environment": `env -i /bin/sh -c 'echo $$ > $0; exec sleep 3600' $F & wait`,
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pid")
			p := begin(t, script, func(s *Spec) { s.Env = env("F=" + file) })
			endsAll(t, p, p.Pid(), pidIn(t, file))
		})
	}
}

func TestKillTreeAfterTheMainProcess(t *testing.T) {
	for name, script := range map[string]string{
		"by group":  `unset ORRERY_ID; sleep 3600 & echo $! > $F; exec true`,
		"by marker": `setsid sleep 3600 & echo $! > $F; until [ "$(ps -o sid= -p $!)" -eq $! ]; do :; done; exec true`,
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pid")
			p := begin(t, script, func(s *Spec) { s.Env = env("F=" + file) })
			if e := p.Wait(); !e.Ok() {
				t.Fatal(e)
			}
			pid := pidIn(t, file)
			if name == "by group" {
				if err := p.SignalGroup(0); err != nil {
					t.Errorf("a signal to the rest of the group: %v", err)
				}
			}
			endsAll(t, p, pid)
		})
	}
}

func TestKillTreeSparesOthers(t *testing.T) {
	other := begin(t, "sleep 3600", nil)
	front := begin(t, "sleep 3600 & wait", func(s *Spec) { s.Foreground = true })
	until(t, "the child", func() bool { return len(Tree(front.Pid())) == 1 })
	child := Tree(front.Pid())[0]
	endsAll(t, front, front.Pid(), child)
	if !alive(other.Pid()) {
		t.Error("another service was killed")
	}
}

func TestKillTreeReportsWhatIsLeft(t *testing.T) {
	p := begin(t, "sleep 3600", nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.KillTree(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	p.Wait()
}

func TestSweep(t *testing.T) {
	m := marker(t)
	var ps []*Process
	for _, id := range []string{m, m + "/a", m + "/b", m + "x"} {
		ps = append(ps, begin(t, "sleep 3600 & wait", func(s *Spec) { s.Marker = id }))
	}
	for _, p := range ps {
		until(t, "the child", func() bool { return len(Tree(p.Pid())) == 1 })
	}
	if n, err := Sweep(soon(t), m); n != 6 || err != nil {
		t.Errorf("got %d, %v, want 6", n, err)
	}
	for i, p := range ps {
		if alive(p.Pid()) != (i == 3) {
			t.Errorf("process %d: alive %v", i, alive(p.Pid()))
		}
	}
	if n, err := Sweep(soon(t), m); n != 0 || err != nil {
		t.Errorf("a second time: got %d, %v", n, err)
	}
	if _, err := Sweep(soon(t), ""); err == nil {
		t.Error("an empty marker was taken")
	}
}

func TestTree(t *testing.T) {
	p := begin(t, "sleep 3600 & bash -c 'sleep 3600 & wait' & wait", nil)
	until(t, "three descendants", func() bool { return len(Tree(p.Pid())) == 3 })
	if got := Tree(p.Pid()); !slices.IsSorted(got) || slices.Contains(got, p.Pid()) {
		t.Errorf("got %v", got)
	}
	if got := Tree(os.Getpid()); !slices.Contains(got, p.Pid()) {
		t.Errorf("got %v, want %d among them", got, p.Pid())
	}
}

func TestKillIsGuarded(t *testing.T) {
	h := newHunt("x")
	if !h.spare[os.Getpid()] || !h.spare[os.Getppid()] || !h.spare[1] || !h.spare[0] {
		t.Errorf("got %v", h.spare)
	}
	for _, pid := range []int{-1, 0, 1, os.Getpid()} {
		if fd, err := kill(stat{pid: pid}); fd != -1 || err != nil {
			t.Errorf("%d: got %d, %v", pid, fd, err)
		}
	}
	p := begin(t, "sleep 3600", nil)
	st, _ := readStat(p.Pid())
	st.start-- // somebody else had the pid before
	if fd, _ := kill(st); fd != -1 || !alive(p.Pid()) {
		t.Error("a process with a reused pid was hit")
	}
}

func TestCgroup(t *testing.T) {
	dir, err := Cgroup(fmt.Sprintf("test/%d", os.Getpid()))
	if err != nil {
		t.Skip(err)
	}
	both(t, func(t *testing.T, way func(*Spec) *Spec) {
		file := filepath.Join(t.TempDir(), "pid")
		// Nothing but the cgroup tells that it belongs here.
		p := begin(t, `env -i setsid -f sh -c 'echo $$ > $0; exec sleep 3600' $F; sleep 3600`, func(s *Spec) {
			s.Env, s.Cgroup, s.Marker = env("F="+file), dir, ""
			way(s)
		})
		if p.Means() != "cgroup" {
			t.Errorf("got %q", p.Means())
		}
		endsAll(t, p, p.Pid(), pidIn(t, file))
		p.Close()
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s is still there", dir)
		}
	})
}

func TestCgroupPlace(t *testing.T) {
	const text = "24 30 0:22 / /proc rw - proc proc rw\n35 24 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n42 32 0:26 /sub /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
	if root, mount := cgroupMount(text); root != "/sub" || mount != "/sys/fs/cgroup" {
		t.Errorf("got %q, %q", root, mount)
	}
}

func TestAdopt(t *testing.T) {
	p := begin(t, "sleep 3600 & exec sleep 3600", nil)
	b, err := json.Marshal(p.Identity())
	if err != nil {
		t.Fatal(err)
	}
	var id Identity
	if err := json.Unmarshal(b, &id); err != nil || id != p.Identity() {
		t.Fatalf("JSON %s gives %+v, %v", b, id, err)
	}
	for _, bad := range []func(*Identity){
		func(i *Identity) { i.Start++ }, func(i *Identity) { i.Boot = "another" }, func(i *Identity) { i.Inode++ },
	} {
		wrong := id
		bad(&wrong)
		if _, err := Adopt(wrong, nil); !errors.Is(err, ErrGone) && (wrong.Inode == id.Inode || id.Inode != 0) {
			t.Errorf("%+v: got %v", wrong, err)
		}
	}
	for _, pid := range []int{-1, 0, 1, os.Getpid()} {
		if _, err := Adopt(Identity{Pid: pid}, nil); err == nil {
			t.Errorf("pid %d was adopted", pid)
		}
	}
	q, err := Adopt(id, &Spec{Name: "svc"})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if err := q.KillTree(soon(t)); err != nil {
		t.Error(err)
	}
	if len(Tree(p.Pid())) != 0 || alive(p.Pid()) {
		t.Error("the tree survived")
	}
	// Both see the same end: one while it is a zombie, the other by reaping it, in whichever order.
	var wg sync.WaitGroup
	for _, x := range []*Process{p, q} {
		wg.Go(func() {
			if e := x.Wait(); e.Signal != syscall.SIGKILL {
				t.Error(e)
			}
		})
	}
	wg.Wait()
	if _, err := Adopt(id, nil); !errors.Is(err, ErrGone) {
		t.Errorf("got %v for one that is gone", err)
	}
}

func TestAdoptedExitStatus(t *testing.T) {
	for range 20 {
		p := begin(t, "sleep 0.05; exit 42", nil)
		q, err := Adopt(p.Identity(), nil)
		if err != nil {
			t.Fatal(err)
		}
		go p.Wait()
		if e := q.Wait(); e.Code != 42 || e.Err != nil {
			t.Errorf("got %v", e)
		}
		q.Close()
	}
}

func TestSignals(t *testing.T) {
	for name, want := range map[string]syscall.Signal{"TERM": 15, "SIGTERM": 15, "term": 15, "9": 9, "hup": 1, "RTMIN+3": 37, "SIGRTMAX-1": 63, "RTMIN": 34, "USR1": syscall.SIGUSR1} {
		if got, err := SignalByName(name); got != want || err != nil {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "0", "65", "-9", "TERMINATE", "RTMIN+99", "RTMIN3", "RTMAX+1", "KILL -9"} {
		if got, err := SignalByName(name); err == nil {
			t.Errorf("%q: got %v", name, got)
		}
	}
	for sig, want := range map[syscall.Signal]string{15: "SIGTERM", 37: "SIGRTMIN+3", 33: "signal 33"} {
		if got := SignalName(sig); got != want {
			t.Errorf("%d: got %s", sig, got)
		}
	}
}

func TestMarked(t *testing.T) {
	for _, r := range []struct {
		env   string
		under bool
		want  bool
	}{
		{"A=1\x00ORRERY_ID=run/a\x00", false, true}, {"ORRERY_ID=run/a", false, true}, {"ORRERY_ID=run/ab\x00", false, false}, {"XORRERY_ID=run/a\x00", false, false},
		{"ORRERY_ID=run/a/b\x00", true, true}, {"ORRERY_ID=run/a/b\x00", false, false}, {"ORRERY_ID=run/ab\x00", true, false}, {"", true, false},
	} {
		if got := marked([]byte(r.env), "run/a", r.under); got != r.want {
			t.Errorf("%q: got %v", r.env, got)
		}
	}
}

func FuzzStat(f *testing.F) {
	b, _ := os.ReadFile("/proc/self/stat")
	f.Add(b)
	f.Add([]byte("12 (a) S (b)\n) R 1 12 12 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 777 1 1"))
	f.Add([]byte("("))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseStat(b)
		if err == nil && s.state == 0 {
			t.Errorf("%q has no state", b)
		}
	})
}

func TestStatWithHostileName(t *testing.T) {
	s, err := parseStat([]byte("12 (a) S (b)\n) R 1 13 14 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 777 1 1"))
	if err != nil || s != (stat{pid: 12, ppid: 1, pgrp: 13, sid: 14, start: 777, state: 'R'}) {
		t.Errorf("got %+v, %v", s, err)
	}
}

// orphans is a helper: services that leave orphans behind run beside a Reaper. Every status must be right and no zombie be left.
func TestReaper(t *testing.T) {
	if out := asHelper(t, "orphans"); out != "ok\n" {
		t.Error(out)
	}
}

func orphans() int {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var r Reaper
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 50 {
				p, err := Start(&Spec{Argv: []string{"bash", "-c", `(true & true &) ; setsid -f true; exit $0`, strconv.Itoa(i + w)}, Env: env(), Reaper: &r})
				if err != nil {
					fmt.Println(err)
					continue
				}
				if e := p.Wait(); e.Code != i+w || e.Err != nil {
					fmt.Println("got", e, "want", i+w)
				}
				p.Close()
			}
		})
	}
	wg.Wait()
	if err := KillDescendants(ctx); err != nil {
		fmt.Println(err)
	}
	for end := time.Now().Add(20 * time.Second); len(children(os.Getpid())) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			fmt.Println("zombies are left:", children(os.Getpid()))
			return 1
		}
	}
	stop()
	if err := <-done; err != nil {
		fmt.Println(err)
	}
	fmt.Println("ok")
	return 0
}

// chase forks and ends twice a millisecond, so that no list of pids is ever true.
const chase = `
import os, time, sys
open(sys.argv[2] + "/cgroup.procs", "w").write("0")
open(sys.argv[3], "w").write("1\n")
while True:
    if os.fork():
        os._exit(0)
    if sys.argv[1] != "group":
        os.setsid()
    time.sleep(0.0005)
`

// TestForkChaser runs it only inside a pids cgroup: loose, it would take all pids of the machine.
func TestForkChaser(t *testing.T) {
	need(t, "python3")
	dir := fmt.Sprintf("/sys/fs/cgroup/pids/orrery-test-%d", os.Getpid())
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skip("no pids cgroup to contain it: ", err)
	}
	defer func() {
		os.WriteFile(dir+"/pids.max", []byte("0"), 0) // whatever escaped cannot fork any more, and ends
		until(t, "an empty cgroup", func() bool { return os.Remove(dir) == nil })
	}()
	if err := os.WriteFile(dir+"/pids.max", []byte("300"), 0); err != nil {
		t.Skip("no pids cgroup to contain it: ", err)
	}
	for _, kind := range []string{"group", "marker", "descent"} {
		t.Run(kind, func(t *testing.T) {
			if out := asHelper(t, "chaser", kind+" "+dir); out != "ok\n" {
				t.Error(out)
			}
		})
	}
}

func chaser(arg string) int {
	kind, dir, _ := strings.Cut(arg, " ")
	var r Reaper
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	go r.Run(ctx)
	tmp, err := os.MkdirTemp("", "o")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(tmp)
	started := filepath.Join(tmp, "started")
	s := &Spec{Name: kind, Argv: []string{"python3", "-S", "-c", chase, kind, dir, started}, Env: env(), Reaper: &r}
	if kind == "marker" {
		s.Marker = fmt.Sprintf("chaser-%d", os.Getpid())
	}
	p, err := Start(s)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	p.Wait()
	if _, err := os.Stat(started); err != nil {
		fmt.Println("it did not get going")
		return 1
	}
	kill := p.KillTree
	if kind == "descent" {
		kill = func(ctx context.Context) error { return KillDescendants(ctx) }
	}
	err = kill(ctx)
	if b, _ := os.ReadFile(dir + "/cgroup.procs"); len(b) > 0 && living(string(b)) {
		fmt.Println("still there:", strings.Fields(string(b)))
		return 1
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ok")
	return 0
}

// living says whether any of the listed pids is more than a zombie.
func living(list string) bool {
	for _, f := range strings.Fields(list) {
		if pid, err := strconv.Atoi(f); err == nil && alive(pid) {
			return true
		}
	}
	return false
}
