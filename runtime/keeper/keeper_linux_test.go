package keeper

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"orrery/runtime/proc"
)

func TestStartPassesTheVerdict(t *testing.T) {
	h, o := plan(t, "refuse")
	verdict, err := Start(context.Background(), o)
	if !errors.Is(err, ErrRefused) || string(verdict) != "no, \xff not now" {
		t.Errorf("got %q, %v", verdict, err)
	}
	h.logged("refuses")

	h, o = plan(t, "early")
	if _, err = Start(context.Background(), o); err == nil || !strings.Contains(err.Error(), h.log) {
		t.Errorf("got %v, want an error that names the log", err)
	}
	h.logged("exit 4")
}

func TestAServiceOutlivesItsEngine(t *testing.T) {
	h := open(t, "")
	pid := h.ask(ask{Op: "spawn", Key: "web#1", Argv: []string{"sleep", "1000"}}).Pid
	if r := h.fail(ask{Op: "spawn", Key: "web#1", Argv: []string{"sleep", "1000"}}); !r.Taken {
		t.Errorf("got %q, want that the key is taken", r.Err)
	}
	if r := h.fail(ask{Op: "spawn", Key: "web#2", Argv: []string{"not-a-program"}}); r.Start == nil || r.Start.Op != "find" || !errors.Is(r.Start, unix.ENOENT) {
		t.Errorf("got %+v, want a StartError", r)
	}
	h.kill()
	if got := h.ask(ask{Op: "list"}).Procs; len(got) != 1 || got["web#1"] != pid {
		t.Fatalf("got %v, want web#1 with pid %d", got, pid)
	}
	if r := h.fail(ask{Op: "close", Key: "web#1"}); r.Errno != unix.EBUSY {
		t.Errorf("got %v, want EBUSY", r.Err)
	}
	h.ask(ask{Op: "signal", Key: "web#1", N: int(unix.SIGTERM)})
	if r := h.fail(ask{Op: "signal", Key: "nobody", N: 15}); r.Err != os.ErrProcessDone.Error() {
		t.Error(r.Err)
	}
	if x := h.ask(ask{Op: "wait", Key: "web#1"}).Exit; x.Signal != unix.SIGTERM {
		t.Errorf("got %s", x)
	}
	h.ask(ask{Op: "close", Key: "web#1"})
	h.ask(ask{Op: "spawn", Key: "web#1", Argv: []string{"sleep", "1000"}})
	if m := h.ask(ask{Op: "means"}).Text; m != "cgroup" && m != "subreaper" {
		t.Errorf("got means %q", m)
	}
}

// A status that came while the engine could not hear of it is told to the next one.
func TestAnEndWhileTheEngineIsDead(t *testing.T) {
	h := open(t, "")
	fifo := filepath.Join(h.dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	pid := h.ask(ask{Op: "spawn", Key: "a", Argv: []string{"sh", "-c", "read x < " + fifo + "; exit 42"}}).Pid
	before := h.ask(ask{Op: "who"})
	unix.Kill(before.Pid, unix.SIGSTOP)
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("go\n"))
	w.Close()
	until(t, "the keeper to take its status", func() bool { return !alive(pid) })
	unix.Kill(before.Pid, unix.SIGKILL)
	h.next(before)
	for range 2 {
		if x := h.ask(ask{Op: "wait", Key: "a"}).Exit; x.Code != 42 {
			t.Errorf("got %s, want exit 42", x)
		}
		h.kill() // until it is closed, the next one is told again
	}
	h.ask(ask{Op: "close", Key: "a"})
	h.kill()
	h.fail(ask{Op: "wait", Key: "a"}) // forgotten
}

func TestTerminal(t *testing.T) {
	h := open(t, "")
	h.ask(ask{Op: "tty", Key: "a", Argv: []string{"sh", "-c", "tty >&2; sleep 1000"}})
	if got := h.ask(ask{Op: "readtty", Key: "a"}).Text; !strings.HasPrefix(got, "/dev/pts/") {
		t.Errorf("got %q", got)
	}
	h.ask(ask{Op: "tty", Key: "b", Argv: []string{"sh", "-c", "read x; echo got $x; sleep 1000"}})
	h.kill()
	h.ask(ask{Op: "kill", Key: "a"})
	h.ask(ask{Op: "wait", Key: "a"})
	h.ask(ask{Op: "close", Key: "a"})
}

// Every process is known after a kill, or gone; never two under one key; exit statuses are right.
func TestKillTheEngineAtRandom(t *testing.T) {
	kills := 100
	if testing.Short() {
		kills = 20
	}
	h := open(t, "churn")
	var gaps []time.Duration
	for i := range kills {
		before := h.ask(ask{Op: "who"})
		most := []int{2000, 20000, 150000}[i%3]
		time.Sleep(time.Duration(rand.IntN(most)) * time.Microsecond) // at random: that is the test
		begin := time.Now()
		unix.Kill(before.Pid, unix.SIGKILL)
		h.next(before)
		gaps = append(gaps, time.Since(begin))
		if t.Failed() {
			break
		}
	}
	h.try(ask{Op: "exit", N: 0})
	h.gone()
	slices.Sort(gaps)
	b, _ := os.ReadFile(h.o.Report)
	report := string(b)
	counts := map[string]int{}
	for line := range strings.Lines(report) {
		word, _, _ := strings.Cut(line, " ")
		counts[strings.TrimSpace(word)]++
		if word == "WRONG" {
			t.Error(line)
		}
	}
	if left := marked(h.run); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if counts["adopted"] == 0 || counts["ended"] == 0 {
		t.Errorf("the test did not test: %v", counts)
	}
	t.Logf("%d kills, 0 lost, 0 twice: %d processes started, %d adopted after a kill, %d that the dead engine never heard of, %d exit statuses right; the next engine served after %v (median), %v (longest)",
		kills, counts["started"], counts["adopted"], counts["unheard"], counts["ended"], gaps[len(gaps)/2], gaps[len(gaps)-1])
}

// churn starts and ends processes as fast as it can, and says what is wrong. Key NAME#CODE#N ends with CODE by itself; CODE 0 never does.
func (e *fake) churn() {
	heard := map[string]bool{}
	if b, err := os.ReadFile(e.o.Report); err == nil {
		for line := range strings.Lines(string(b)) {
			if key, ok := strings.CutPrefix(strings.TrimSpace(line), "started "); ok {
				heard[key] = true
			}
		}
	}
	for key, pids := range marked(e.c.Run()) {
		if len(pids) > 1 {
			e.say("WRONG %s runs twice: %v", key, pids)
		}
		if p := e.procs[key]; p == nil || p.Pid() != pids[0] {
			e.say("WRONG %s with pid %d is not known", key, pids[0])
		}
	}
	var wg sync.WaitGroup
	for key, p := range e.procs {
		e.say("adopted %s", key)
		if !heard[key] {
			e.say("unheard %s", key)
		}
		wg.Go(func() { e.finish(p) })
	}
	for lane := range 4 {
		wg.Go(func() {
			for i := range 1000000 {
				code := rand.IntN(3) * (1 + rand.IntN(100))
				key := fmt.Sprintf("s#%d#%d.%d.%d", code, e.c.Starts(), lane, i)
				argv := []string{"sleep", "1000"}
				if code > 0 {
					argv = []string{"sh", "-c", "exit " + strconv.Itoa(code)}
				}
				s := e.spec(key, argv...)
				if i%3 == 0 {
					s.Limits.NoNewPrivs = true // by the shim
				}
				p, err := e.c.Spawn(key, s)
				if err != nil {
					e.say("WRONG %s: %v", key, err)
					continue
				}
				e.say("started %s", key)
				e.finish(p)
			}
		})
	}
	wg.Wait()
}

func (e *fake) finish(p *Process) {
	code, _ := strconv.Atoi(strings.Split(p.Key(), "#")[1])
	if code == 0 {
		if err := p.KillTree(context.Background()); err != nil {
			e.say("WRONG %s: %v", p.Key(), err)
		}
	}
	x := p.Wait()
	if code == 0 && x.Signal != unix.SIGKILL || x.Code != code || x.Err != nil {
		e.say("WRONG %s: %s", p.Key(), x)
	}
	e.say("ended %s", p.Key())
	if err := p.Close(); err != nil {
		e.say("WRONG %s: %v", p.Key(), err)
	}
}

// A served socket and a held one, over 30 kills.
func TestSocketsAreHeld(t *testing.T) {
	h := open(t, "")
	addr := h.ask(ask{Op: "listen", Key: "web"}).Text
	idle := h.ask(ask{Op: "listen", Key: "idle"}).Text
	pid := h.ask(ask{Op: "spawn", Key: "web#1", Item: "web", Argv: []string{"/proc/self/exe", "echo-server"}}).Pid
	const clients, each, kills = 4, 500, 30
	var served, failed atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range clients {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					if n >= each {
						return
					}
				default:
				}
				if err := ping(addr); err != nil {
					failed.Add(1)
					t.Error(err)
					return
				}
				served.Add(1)
			}
		})
	}
	for range kills {
		before := h.ask(ask{Op: "who"})
		unix.Kill(before.Pid, unix.SIGKILL)
		c, err := net.Dial("tcp", idle) // in the gap
		if err != nil {
			t.Errorf("the held socket: %v", err)
		} else {
			c.Close()
		}
		h.next(before)
	}
	close(stop)
	wg.Wait()
	if got := h.ask(ask{Op: "list"}).Procs["web#1"]; got != pid {
		t.Errorf("got pid %d, want %d throughout", got, pid)
	}
	if got := h.ask(ask{Op: "get", Key: "web"}); string(got.Blob) != addr || got.Fds != 1 {
		t.Errorf("got %q with %d descriptors", got.Blob, got.Fds)
	}
	t.Logf("%d requests, %d failed, over %d kills", served.Load(), failed.Load(), kills)
}

func ping(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	b, err := io.ReadAll(c)
	if err == nil && string(b) != "pong hello" {
		err = fmt.Errorf("got %q", b)
	}
	return err
}

func TestTheKeeperIsKilled(t *testing.T) {
	h := open(t, "")
	for i := range 5 {
		h.ask(ask{Op: "spawn", Key: fmt.Sprint("s#", i), Argv: []string{"sh", "-c", "setsid sleep 1000 & (setsid setsid sleep 1000 &) ; sleep 1000"}})
	}
	// It clears its environment: only its identity finds it.
	h.ask(ask{Op: "spawn", Key: "bare", Argv: []string{"env", "-i", "/bin/sleep", "1000"}})
	bare := h.ask(ask{Op: "list"}).Procs["bare"]
	engine := h.ask(ask{Op: "who"}).Pid
	begin := time.Now()
	unix.Kill(h.keeper, unix.SIGKILL)
	until(t, "the end of everybody", func() bool { return !alive(bare) && !alive(engine) && len(marked(h.run)) == 0 })
	took := time.Since(begin)
	if took > 10*time.Second {
		t.Errorf("it took %v, want 1 s", took)
	}
	b, _ := os.ReadFile(h.o.Report)
	if !strings.Contains(string(b), "swept ") || !strings.Contains(string(b), "<nil>") {
		t.Errorf("got %q", b)
	}
	t.Logf("keeper killed: nobody left after %v; the engine said: %s", took.Round(time.Millisecond), bytes.TrimSpace(b))
}

func TestNobodyIsLeft(t *testing.T) {
	h := open(t, "")
	h.ask(ask{Op: "spawn", Key: "a", Argv: []string{"sh", "-c", "(env -i setsid setsid /bin/sleep 1000 </dev/null >/dev/null 2>&1 &) ; exec sleep 1000"}})
	h.ask(ask{Op: "spawn", Key: "b", Argv: []string{"sh", "-c", "trap '' TERM HUP INT; while :; do sleep 1; done"}})
	var all []int
	until(t, "the daemon", func() bool { all = proc.Tree(h.keeper); return len(all) >= 5 })
	h.try(ask{Op: "exit", N: 0})
	h.gone()
	for _, pid := range all {
		if alive(pid) {
			t.Errorf("pid %d is left", pid)
		}
	}
}

func TestGivesUp(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 16 seconds")
	}
	t.Parallel()
	h := open(t, "crash")
	polite := filepath.Join(h.dir, "polite")
	up := filepath.Join(h.dir, "up")
	h.ask(ask{Op: "spawn", Key: "a", Argv: []string{"sh", "-c", "trap 'echo > " + polite + "; exit 0' TERM; echo > " + up + "; while :; do sleep 0.05; done"}})
	stubborn := h.ask(ask{Op: "spawn", Key: "b", Argv: []string{"sleep", "1000"}}).Pid
	until(t, "the trap", func() bool { _, err := os.Stat(up); return err == nil })
	begin := time.Now()
	unix.Kill(h.ask(ask{Op: "who"}).Pid, unix.SIGKILL)
	h.gone()
	if _, err := os.Stat(polite); err != nil {
		t.Errorf("the service was not stopped politely: %v", err)
	}
	if alive(stubborn) {
		t.Error("the other service is left")
	}
	h.logged("giving up")
	t.Logf("gave up after %v", time.Since(begin).Round(time.Millisecond))
}

func TestTermWhileNoEngineServes(t *testing.T) {
	h := open(t, "crash")
	pid := h.ask(ask{Op: "spawn", Key: "a", Argv: []string{"sleep", "1000"}}).Pid
	unix.Kill(h.ask(ask{Op: "who"}).Pid, unix.SIGKILL)
	until(t, "some deaths", func() bool { b, _ := os.ReadFile(h.log); return strings.Count(string(b), "exit 5") >= 2 })
	unix.Kill(h.keeper, unix.SIGTERM)
	h.gone()
	if alive(pid) {
		t.Error("the service is left")
	}
}

func TestBlobs(t *testing.T) {
	h := open(t, "")
	for _, n := range []int{0, 1, maxInline, maxInline + 1, 5 << 20} {
		blob := bytes.Repeat([]byte("0123456789\x00\xff"), n/12+1)[:n]
		h.ask(ask{Op: "put", Key: fmt.Sprint("b", n), Blob: []byte("old")})
		h.ask(ask{Op: "put", Key: fmt.Sprint("b", n), Blob: blob})
		h.ask(ask{Op: "putpipes", Key: "pipes", N: 250})
		h.kill()
		if got := h.ask(ask{Op: "get", Key: fmt.Sprint("b", n)}).Blob; !bytes.Equal(got, blob) {
			t.Errorf("got %d bytes, want the %d that were put", len(got), n)
		}
		if got := h.ask(ask{Op: "get", Key: "pipes"}); got.Fds != 250 || string(got.Blob) != "pipes" {
			t.Errorf("got %q with %d descriptors", got.Blob, got.Fds)
		}
	}
	if r := h.fail(ask{Op: "putpipes", Key: "pipes", N: 251}); r.Errno != unix.E2BIG {
		t.Errorf("got %q", r.Err)
	}
	h.fail(ask{Op: "put", Key: ""})
	h.fail(ask{Op: "put", Key: strings.Repeat("x", 256)})
	h.ask(ask{Op: "delete", Key: "pipes"})
	h.ask(ask{Op: "delete", Key: "pipes"})
	h.kill()
	if got := h.ask(ask{Op: "get", Key: "pipes"}); got.Fds != 0 {
		t.Error("it is still there")
	}
}

func TestNoDescriptorIsLost(t *testing.T) {
	h := open(t, "")
	n := 1000
	if testing.Short() || raced {
		n = 200
	}
	h.ask(ask{Op: "cycle", N: 20})
	before, self, mem := fds(h.keeper), h.ask(ask{Op: "who"}).Fds, rss(h.keeper)
	h.ask(ask{Op: "cycle", N: n})
	until(t, "the descriptors", func() bool { return fds(h.keeper) <= before })
	until(t, "the engine's", func() bool { return h.ask(ask{Op: "who"}).Fds <= self })
	if pids := proc.Tree(h.keeper); len(pids) != 1 {
		t.Errorf("got the processes %v below the keeper, want the engine alone", pids)
	}
	t.Logf("%d cycles of spawn and put: %d descriptors before and after in the keeper, %d in the engine; keeper VmRSS %d kB before, %d kB after", n, before, self, mem, rss(h.keeper))
}

var long = flag.Bool("long", false, "also start 10,000 processes")

func TestSoak(t *testing.T) {
	if !*long {
		t.Skip("takes minutes: go test -run Soak -args -long")
	}
	h := open(t, "")
	h.ask(ask{Op: "cycle", N: 200})
	before, mem := fds(h.keeper), rss(h.keeper)
	for range 20 {
		h.ask(ask{Op: "cycle", N: 500})
	}
	until(t, "the descriptors", func() bool { return fds(h.keeper) <= before })
	t.Logf("10,000 spawns: %d descriptors before, %d after; VmRSS %d kB before, %d kB after; %d processes below it", before, fds(h.keeper), mem, rss(h.keeper), len(proc.Tree(h.keeper)))
	if grown := rss(h.keeper) - mem; grown > 5<<10 {
		t.Errorf("the keeper grew by %d kB, want at most 5 MB", grown)
	}
}

// A stopped engine holds up nobody but itself, however much there is to tell it.
func TestStoppedEngine(t *testing.T) {
	h := open(t, "")
	const n = 400 // more notices than the socket takes
	pids := map[string]int{}
	for i := range n {
		key := fmt.Sprint("s#", i)
		pids[key] = h.ask(ask{Op: "spawn", Key: key, Argv: []string{"sleep", "1000"}}).Pid
	}
	engine := h.ask(ask{Op: "who"})
	unix.Kill(engine.Pid, unix.SIGSTOP)
	for _, pid := range pids {
		unix.Kill(pid, unix.SIGTERM)
	}
	until(t, "the end of all", func() bool { return len(proc.Tree(h.keeper)) == 1 })
	unix.Kill(engine.Pid, unix.SIGCONT)
	for key := range pids {
		if x := h.ask(ask{Op: "wait", Key: key}).Exit; x.Signal != unix.SIGTERM {
			t.Fatalf("%s: %s", key, x)
		}
	}
	h.kill()
	for key := range pids {
		if x := h.ask(ask{Op: "wait", Key: key}).Exit; x.Signal != unix.SIGTERM {
			t.Fatalf("%s: %s", key, x)
		}
	}
}

func fds(pid int) int {
	ents, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(ents)
}

func rss(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	n, _ := strconv.Atoi(strings.Fields(rest + " 0")[0])
	return n
}

// What no engine sends ends the engine that sends it, and nothing else.
func TestMalformed(t *testing.T) {
	h := open(t, "")
	pid := h.ask(ask{Op: "spawn", Key: "a", Argv: []string{"sleep", "1000"}}).Pid
	base := fds(h.keeper)
	for _, raw := range []string{"x", "{}", "\n", `{"op":"hello"}` + "\n", `{"op":"spawn","key":""}` + "\n{}",
		`{"op":"put","files":3}` + "\n", `{"op":"put","files":-1}` + "\n", `{"op":"put","big":9}` + "\n", strings.Repeat("y", maxFrame+1), "\xff\xfe\n"} {
		before := h.ask(ask{Op: "who"})
		h.try(ask{Op: "raw", Blob: []byte(raw)})
		h.next(before)
	}
	for n := range 8 {
		before := h.ask(ask{Op: "who"})
		h.try(ask{Op: "odd", Key: []string{opSpawn, opPut}[n/4], N: n, Blob: []byte(`{"std":[true,true,true]}`)})
		h.next(before)
	}
	// An unknown request is one of a newer engine.
	h.ask(ask{Op: "raw", Blob: []byte(`{"op":"dance"}` + "\n")})
	if got := h.ask(ask{Op: "list"}).Procs["a"]; got != pid {
		t.Errorf("got pid %d, want %d", got, pid)
	}
	h.ask(ask{Op: "delete", Key: "odd"})
	until(t, "the descriptors", func() bool { return fds(h.keeper) <= base })
	h.logged("malformed")
}

func TestNoDescriptorsLeft(t *testing.T) {
	h := open(t, "")
	h.ask(ask{Op: "putpipes", Key: "a", N: 10})
	var old unix.Rlimit
	tight := unix.Rlimit{Cur: uint64(fds(h.keeper) + 4), Max: 4096}
	if err := unix.Prlimit(h.keeper, unix.RLIMIT_NOFILE, nil, &old); err != nil {
		t.Fatal(err)
	}
	tight.Max = old.Max
	if err := unix.Prlimit(h.keeper, unix.RLIMIT_NOFILE, &tight, nil); err != nil {
		t.Fatal(err)
	}
	if r := h.fail(ask{Op: "putpipes", Key: "b", N: 20}); r.Errno != unix.EMFILE {
		t.Errorf("got %q, want EMFILE", r.Err)
	}
	tight.Cur = uint64(fds(h.keeper))
	if err := unix.Prlimit(h.keeper, unix.RLIMIT_NOFILE, &tight, nil); err != nil {
		t.Fatal(err)
	}
	if r := h.fail(ask{Op: "spawn", Key: "c", Argv: []string{"true"}}); r.Errno != unix.EMFILE && (r.Start == nil || !errors.Is(r.Start, unix.EMFILE)) {
		t.Errorf("got %q, want EMFILE", r.Err)
	}
	if err := unix.Prlimit(h.keeper, unix.RLIMIT_NOFILE, &old, nil); err != nil {
		t.Fatal(err)
	}
	h.ask(ask{Op: "spawn", Key: "c", Argv: []string{"true"}})
	h.ask(ask{Op: "wait", Key: "c"})
}

func TestReplace(t *testing.T) {
	h := open(t, "")
	pid := h.ask(ask{Op: "spawn", Key: "a", Argv: []string{"sleep", "1000"}}).Pid
	exe := h.ask(ask{Op: "who"}).Exe
	newer, broken := filepath.Join(h.dir, "newer"), filepath.Join(h.dir, "broken")
	b, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(newer, b, 0o700), os.WriteFile(broken, []byte("#!/bin/false\n"), 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ program, want string }{{newer, newer}, {broken, exe}, {newer, newer}} {
		h.ask(ask{Op: "replace", Key: step.program})
		before := h.ask(ask{Op: "who"})
		h.try(ask{Op: "exit", N: 0})
		if got := h.next(before); got.Exe != step.want {
			t.Errorf("got an engine from %s, want %s", got.Exe, step.want)
		}
	}
	h.kill()
	if got := h.ask(ask{Op: "who"}).Exe; got != newer {
		t.Errorf("got an engine from %s after a kill, want %s", got, newer)
	}
	if got := h.ask(ask{Op: "list"}).Procs["a"]; got != pid {
		t.Errorf("got pid %d, want %d", got, pid)
	}
}

func TestSignalsDoNothingToTheKeeper(t *testing.T) {
	h := open(t, "")
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE, unix.SIGALRM} {
		unix.Kill(h.keeper, sig)
	}
	// A child has none of them ignored.
	h.ask(ask{Op: "spawn", Key: "a", Argv: []string{"grep", "-q", "SigIgn:\t0000000000000000", "/proc/self/status"}})
	if x := h.ask(ask{Op: "wait", Key: "a"}).Exit; x.Code != 0 {
		t.Errorf("signals are ignored: %s", x)
	}
	if sid, _ := unix.Getsid(h.keeper); sid != h.keeper {
		t.Errorf("got session %d, want its own %d", sid, h.keeper)
	}
}

func TestAnEngineThatHangsUpIsKilled(t *testing.T) {
	t.Parallel()
	h, o := plan(t, "orphan")
	o.Grace = 100 * time.Millisecond
	if _, err := Start(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	until(t, "the third engine", func() bool {
		b, _ := os.ReadFile(h.log)
		return strings.Count(string(b), "killed by SIGKILL") > 2
	})
	b, _ := os.ReadFile(h.log)
	if len(b) == 0 {
		t.Fatal("no log")
	}
	for _, pid := range keepersOf(h.dir) {
		unix.Kill(pid, unix.SIGTERM)
		h.keeper = pid
		h.gone()
	}
}

// keepersOf finds a keeper by its working directory.
func keepersOf(dir string) (pids []int) {
	ents, _ := os.ReadDir("/proc")
	for _, e := range ents {
		pid, err := strconv.Atoi(e.Name())
		cwd, _ := os.Readlink("/proc/" + e.Name() + "/cwd")
		args, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err == nil && cwd == dir && strings.HasPrefix(string(args), "orrery\x00"+Verb) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestStartIsCancelled(t *testing.T) {
	_, o := plan(t, "")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Start(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	until(t, "the end of the keeper", func() bool { return len(keepersOf(o.Dir)) == 0 })
}
