package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// pairOf is a web that ends 100 ms after it is told to, and the db that it needs.
const pairOf = `
db = service("db", command = ["$T", "node", ".", "db", "20"], ready = probe.file("db.start"))
service("web", command = ["$T", "node", ".", "web", "100"], ready = probe.file("web.start"), after = [db])
`

// ordered checks that the dependent had ended when the dependency was told to.
func (c *checkout) ordered(dependent, dependency string) {
	c.t.Helper()
	if a, b := c.number(dependent+".exit"), c.number(dependency+".term"); a > b {
		c.t.Errorf("%s ended %s after %s was told to", dependent, time.Duration(a-b), dependency)
	}
}

// forget removes what nodes have written.
func (c *checkout) forget(pattern string) {
	files, _ := filepath.Glob(c.path(pattern))
	for _, f := range files {
		os.Remove(f)
	}
}

// downAfter awaits the end of all processes of a checkout and of its engine.
func (c *checkout) downAfter(what string, all []int, most time.Duration) time.Duration {
	c.t.Helper()
	left, took := survivors(all, most)
	if len(left) > 0 {
		c.t.Errorf("%s: %d of %d processes live on after %s", what, len(left), len(all), took)
	}
	return took
}

// inTerminal starts a command in a terminal, whose screen is read until it is
// closed.
func inTerminal(t *testing.T, cmd *exec.Cmd) *os.File {
	t.Helper()
	blocking, err := pty.Start(cmd)
	if err != nil {
		t.Skip("no pseudo terminal: ", err)
	}
	defer blocking.Close()
	fd, err := unix.FcntlInt(blocking.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // else Close waits for Read
		t.Fatal(err)
	}
	terminal := os.NewFile(uintptr(fd), "terminal")
	go io.Copy(io.Discard, terminal)
	return terminal
}

// TestTortureUpKilled: when the up in a terminal is killed, or its terminal is
// closed, its things go down, in order; those of an up -d do not.
func TestTortureUpKilled(t *testing.T) {
	torture(t)
	c := newCheckout(t, pairOf)
	ends := []struct {
		name string
		end  func(cmd *exec.Cmd, terminal *os.File)
	}{
		{"kill -9", func(cmd *exec.Cmd, _ *os.File) { cmd.Process.Kill() }},
		{"the terminal closes", func(_ *exec.Cmd, terminal *os.File) { terminal.Close() }},
	}
	for _, e := range ends {
		var took []time.Duration
		for range form(2, 20) {
			c.forget("*.start")
			c.forget("*.exit")
			c.forget("*.term")
			cmd := c.command("up")
			terminal := inTerminal(t, cmd)
			c.await("web", func() bool { return c.node("web").State == "ready" })
			all := c.all()
			e.end(cmd, terminal)
			took = append(took, c.downAfter(e.name, all, 5*time.Second))
			cmd.Wait()
			terminal.Close()
			c.ordered("web", "db")
		}
		_, most := p99(took)
		t.Logf("%s: %d times all gone in order, %s after it (most; web alone takes 100 ms to end)", e.name, len(took), ms(most))
	}

	cmd := c.command("up", "-d", "--wait")
	terminal := inTerminal(t, cmd)
	c.await("web", func() bool { return c.node("web").State == "ready" })
	pid := c.node("web").PID
	terminal.Close()
	cmd.Wait()
	time.Sleep(100 * time.Millisecond) // for what must not happen
	if n := c.node("web"); n.PID != pid || n.State != "ready" {
		t.Errorf("up -d and a closed terminal: got %+v, want pid %d, ready", n, pid)
	}
}

// TestTortureEscape: a grandchild with a session of its own, no descriptor and an
// empty environment is gone with its service.
func TestTortureEscape(t *testing.T) {
	torture(t)
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip(err)
	}
	c := newCheckout(t, `
service("escape", command = "(setsid sh -c '(exec env -i sh -c \"exec 0<&- 1>&- 2>&-; echo \\$\\$ > escaped.pid; exec sleep 3600\" &)' &) ; exec $T sleep escape",
    ready = probe.file("escaped.pid"))
`)
	var took []time.Duration
	rounds := form(5, 50)
	for range rounds {
		os.Remove(c.path("escaped.pid"))
		c.must("up", "-d", "--wait")
		pid := int(c.number("escaped.pid"))
		if !alive(pid) {
			t.Fatal("it did not escape")
		}
		c.must("down")
		took = append(took, c.downAfter("down", []int{pid}, 5*time.Second))
	}
	_, most := p99(took)
	t.Logf("%d double-forked grandchildren: gone %s after down (most)", rounds, ms(most))
	if most > time.Second {
		t.Errorf("got %s, want at most 1s", most)
	}
}

// chaser forks and ends as fast as it can, for six seconds at most.
const chaser = `
import os, time
if os.fork() == 0:
    os.setsid()
    end = time.monotonic() + 6
    open("chaser.up", "w").close()
    while time.monotonic() < end:
        try:
            if os.fork() > 0:
                os._exit(0)
        except OSError:
            pass
    os._exit(0)
time.sleep(3600)
`

// pidsCgroup contains what runs in it; the test is skipped without.
func pidsCgroup(t *testing.T, most int) (procs string) {
	t.Helper()
	dir := fmt.Sprintf("/sys/fs/cgroup/pids/orrery-torture-%d", os.Getpid())
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skip("no pids cgroup to contain it: ", err)
	}
	t.Cleanup(func() {
		os.WriteFile(dir+"/pids.max", []byte("0"), 0o600) // whatever escaped cannot fork any more, and ends
		await(func() bool { return os.Remove(dir) == nil })
	})
	if err := os.WriteFile(dir+"/pids.max", fmt.Append(nil, most), 0o600); err != nil {
		t.Skip("no pids cgroup to contain it: ", err)
	}
	return dir + "/cgroup.procs"
}

// TestTortureForkChaser: a process that is a new one all the time is caught.
func TestTortureForkChaser(t *testing.T) {
	torture(t)
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip(err)
	}
	procs := pidsCgroup(t, 500)
	c := newCheckout(t, fmt.Sprintf(`service("chaser", command = [%q, "chaser.py"], ready = probe.file("chaser.up"), stop = stop.signal(timeout = "1s"))`, python))
	c.write("chaser.py", chaser)
	rounds := form(2, 10)
	var took []time.Duration
	for range rounds {
		os.Remove(c.path("chaser.up"))
		up := exec.Command("sh", "-c", `echo $$ > "$0" && exec "$@"`, procs, c.programs.orrery, "up", "-d", "--wait")
		up.Dir, up.Env = c.dir, c.env
		if r := c.finish(up); r.code != 0 {
			t.Fatal(r)
		}
		r := c.must("down")
		began := time.Now()
		c.await("the end of the chaser", func() bool { return len(leftovers(c.run, c.dir)) == 0 })
		took = append(took, time.Since(began))
		if r.took > 5*time.Second {
			t.Errorf("down took %s: the chaser ended by itself", r.took)
		}
	}
	_, most := p99(took)
	t.Logf("%d fork chasers in a pids cgroup of 500: gone %s after down (most)", rounds, ms(most))
	if most > time.Second {
		t.Errorf("got %s, want at most 1s", most)
	}
}

// TestTortureDeaf: who ignores TERM is killed at its deadline, with all of its group.
func TestTortureDeaf(t *testing.T) {
	torture(t)
	c := newCheckout(t, `service("deaf", command = "trap '' TERM; sh -c \"trap '' TERM; echo \\$\\$ > child.pid; while :; do sleep 0.1; done\" & echo $$ > deaf.pid; while :; do sleep 0.1; done",
    ready = probe.file("child.pid"), stop = stop.signal(timeout = "1s"))`)
	var worst time.Duration
	rounds := form(3, 20)
	for range rounds {
		c.forget("*.pid")
		c.must("up", "-d", "--wait")
		pids := []int{int(c.number("child.pid")), int(c.number("deaf.pid"))}
		cmd, began := c.command("down"), time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		left, _ := survivors(pids, 10*time.Second)
		took := time.Since(began)
		cmd.Wait()
		if len(left) > 0 || took < 900*time.Millisecond || took > 3*time.Second {
			t.Errorf("got %d left after %s, want none after 1s", len(left), took)
		}
		worst = max(worst, (took - time.Second).Abs())
	}
	t.Logf("%d services that ignore TERM, grace 1s: killed with their children, at most %s off", rounds, ms(worst))
}

// TestTortureSignalStorm: a hundred signals within a second are one shutdown.
func TestTortureSignalStorm(t *testing.T) {
	torture(t)
	c := newCheckout(t, strings.ReplaceAll(pairOf, `"100"`, `"700"`))
	codes := map[int]int{}
	rounds := form(3, 20)
	for range rounds {
		c.forget("*.start")
		c.forget("*.told")
		c.forget("*.term")
		c.forget("*.exit")
		cmd := c.command("up")
		var shown strings.Builder
		cmd.Stdout, cmd.Stderr = &shown, &shown
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		c.await("web", func() bool { return c.node("web").State == "ready" })
		all := c.all()
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		var err error
		over := false
		for i := 0; i < 100 && !over; i++ {
			cmd.Process.Signal([]os.Signal{syscall.SIGTERM, syscall.SIGINT}[rand.IntN(2)])
			select {
			case err = <-ended:
				over = true
			case <-time.After(10 * time.Millisecond):
			}
		}
		if !over {
			err = <-ended
		}
		codes[codeOf(err)]++
		if code := codeOf(err); code != 130 && code != 143 { // the second signal means now
			t.Errorf("got exit %d, want 130 or 143\n%s", code, tail(shown.String(), 20))
		}
		if strings.Contains(shown.String(), "panic") || strings.Contains(shown.String(), "goroutine ") {
			t.Errorf("it panicked:\n%s", shown.String())
		}
		c.downAfter("the storm", all, 5*time.Second)
		if told := strings.Count(c.read("web.told"), "\n"); told > 1 {
			t.Errorf("web was told %d times to end, want once", told)
		}
	}
	t.Logf("%d storms of up to 100 signals: exit codes %v, nothing left", rounds, codes)
}

// dag is n nodes with random edges to those before, as text and as pairs.
func dag(n int) (star string, edges [][2]string) {
	var b strings.Builder
	for i := range n {
		name, after := fmt.Sprintf("n%02d", i), ""
		for j := range i {
			if rand.IntN(i+2) < 2 {
				dep := fmt.Sprintf("n%02d", j)
				after += dep + ", "
				edges = append(edges, [2]string{name, dep})
			}
		}
		fmt.Fprintf(&b, "%s = service(%q, command = [\"$T\", \"node\", \".\", %q, \"%d\"], ready = probe.file(\"%s.start\"), after = [%s])\n",
			name, name, name, rand.IntN(40), name, after)
	}
	return b.String(), edges
}

// TestTortureOrder: in random graphs each dependent has ended before what it
// needs is told to, and has started after that did.
func TestTortureOrder(t *testing.T) {
	torture(t)
	c := newCheckout(t, "")
	rounds, checked := form(20, 100), 0
	for range rounds {
		c.forget("n*.*")
		star, edges := dag(20)
		c.write("services.star", star)
		c.must("up", "-d", "--wait")
		c.must("down")
		for _, e := range edges {
			c.ordered(e[0], e[1])
			if c.number(e[0]+".start") < c.number(e[1]+".start") {
				t.Errorf("%s started before %s, which it needs", e[0], e[1])
			}
			checked++
		}
	}
	t.Logf("%d random graphs of 20 services: %d edges, all in order up and down", rounds, checked)
}
