package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// project is a folder with a services.star and an environment of its own, in
// which the real command runs. What it leaves running fails the test.
type project struct {
	t   *testing.T
	dir string
	env []string
}

func newProject(t *testing.T, services string) *project {
	t.Helper()
	run, err := os.MkdirTemp("/tmp", "o") // short: unix sockets lie in it
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := &project{t: t, dir: dir, env: append(os.Environ(), "HOME="+dir, "XDG_RUNTIME_DIR="+run, "XDG_CACHE_HOME="+filepath.Join(dir, ".cache"), "TERM=xterm", "LANG=C.UTF-8", "PS1=> ")}
	if err := os.WriteFile(filepath.Join(dir, "services.star"), []byte(services), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if out, err := p.command("down", "--now").CombinedOutput(); err != nil {
			t.Errorf("orrery down: %v\n%s", err, out)
		}
		killLeftovers(t, run, dir)
		os.RemoveAll(run)
	})
	return p
}

func (p *project) command(args ...string) *exec.Cmd {
	c := exec.Command("orrery", args...)
	c.Dir, c.Env = p.dir, p.env
	return c
}

// run runs a command that must end with a code, and gives all that it printed.
func (p *project) run(code int, args ...string) string {
	p.t.Helper()
	out, err := p.command(args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	got := 0
	if exit != nil {
		got = exit.ExitCode()
	}
	if got != code {
		p.t.Fatalf("orrery %s: got exit code %d, want %d\n%s", strings.Join(args, " "), got, code, out)
	}
	return string(out)
}

func (p *project) file(name string) string { return filepath.Join(p.dir, name) }

// console is a terminal with a command in it, as a user has it.
type console struct {
	t     *testing.T
	cmd   *exec.Cmd
	own   *os.File // our end
	tty   *os.File // the other one, kept open to look at its settings
	ended chan struct{}
	mu    sync.Mutex
	text  []byte
}

// console starts a command in a terminal of its own.
func (p *project) console(args ...string) *console {
	p.t.Helper()
	own, tty, err := pty.Open()
	if err != nil {
		p.t.Skip(err)
	}
	pty.Setsize(own, &pty.Winsize{Rows: 30, Cols: 100})
	c := &console{t: p.t, cmd: p.command(args...), own: own, tty: tty, ended: make(chan struct{})}
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = tty, tty, tty
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		c.cmd.Wait()
		close(c.ended)
	}()
	p.t.Cleanup(func() {
		c.cmd.Process.Kill()
		<-c.ended
		own.Close()
		tty.Close()
	})
	return c
}

// read takes what comes until the terminal is closed.
func (c *console) read() *console {
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := c.own.Read(buf)
			c.mu.Lock()
			c.text = append(c.text, buf[:n]...)
			c.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return c
}

func (c *console) shown() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.text)
}

// expect waits until the text matches.
func (c *console) expect(re string) {
	c.t.Helper()
	x := regexp.MustCompile("(?m)" + re)
	if !await(func() bool { return x.Match(c.shown()) }) {
		c.t.Fatalf("no match for %q in:\n%s", re, c.shown())
	}
}

func (c *console) send(s string) {
	c.t.Helper()
	if _, err := c.own.WriteString(s); err != nil {
		c.t.Fatal(err)
	}
}

// exit waits for the end, and gives the code as a shell does.
func (c *console) exit() int {
	c.t.Helper()
	select {
	case <-c.ended:
	case <-time.After(patience):
		c.t.Fatalf("it has not ended:\n%s", c.shown())
	}
	if s, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return 128 + int(s.Signal())
	}
	return c.cmd.ProcessState.ExitCode()
}

// modes are the settings of the terminal.
func (c *console) modes() unix.Termios {
	c.t.Helper()
	m, err := unix.IoctlGetTermios(int(c.tty.Fd()), getTermios)
	if err != nil {
		c.t.Fatal(err)
	}
	return *m
}

// talker says what it is told in a way that tells it from the terminal's own echo.
const talker = `
service("talk", tty = True, restart = restart.never(), stop = stop.signal("TERM", timeout = "2s"), command = ["python3", "-uc", """
import os, signal, sys
def size(*_): print("size<%d %d>" % (os.get_terminal_size().lines, os.get_terminal_size().columns))
signal.signal(signal.SIGWINCH, size)
print("ready to talk")
for line in iter(sys.stdin.readline, "bye\\n"): print("heard<%s>" % line.strip())
"""])
`

// newTalker is a project with the talker in it, which is up.
func newTalker(t *testing.T, more string) *project {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is missing: apt install python3")
	}
	p := newProject(t, talker+more)
	p.run(0, "up", "-d", "--wait")
	await(func() bool { return strings.Contains(p.run(0, "logs", "talk"), "ready to talk") })
	return p
}

func TestAttachInATerminal(t *testing.T) {
	p := newTalker(t, "")
	c := p.console("attach", "talk")
	before := c.modes()
	c.read()
	c.expect(`ready to talk`) // its last lines
	c.expect(`size<30 100>`)  // it has the size of ours
	c.send("hello\r")
	c.expect(`heard<hello>`)
	if c.modes() == before {
		t.Error("our terminal is not in raw mode")
	}
	pty.Setsize(c.own, &pty.Winsize{Rows: 40, Cols: 120})
	c.expect(`size<40 120>`)
	c.send("\x1d")
	if code := c.exit(); code != 0 {
		t.Errorf("got exit code %d", code)
	}
	if c.modes() != before {
		t.Error("our terminal was not restored")
	}
	c.expect(`detached from talk`)
	if s := p.run(0, "status", "talk"); !strings.Contains(s, "ready") {
		t.Error(s)
	}

	// It ends with the service.
	d := p.console("attach", "talk").read()
	d.expect(`heard<hello>`)
	d.send("bye\r")
	if code := d.exit(); code != 0 {
		t.Errorf("got exit code %d", code)
	}
	d.expect(`talk is exited`)
	if d.modes() != before {
		t.Error("our terminal was not restored")
	}
}

func TestAttachIsKilled(t *testing.T) {
	for sig, code := range map[syscall.Signal]int{syscall.SIGTERM: 143, syscall.SIGHUP: 129} {
		p := newTalker(t, "")
		c := p.console("attach", "talk").read()
		before := c.modes()
		c.expect(`size<30 100>`)
		c.cmd.Process.Signal(sig)
		if got := c.exit(); got != code {
			t.Errorf("%v: got exit code %d, want %d", sig, got, code)
		}
		after := c.modes()
		if after.Lflag&unix.ECHO == 0 || after.Lflag&unix.ICANON == 0 {
			t.Errorf("%v: our terminal was not restored: %v, before %v", sig, after, before)
		}
	}
}

func TestSeveralAttached(t *testing.T) {
	p := newTalker(t, "")
	one, two := p.console("attach", "talk").read(), p.console("attach", "talk").read()
	one.expect(`ready to talk`)
	two.expect(`ready to talk`)
	one.send("from one\r")
	two.expect(`heard<from one>`)
	two.send("from two\r")
	one.expect(`heard<from two>`)
	one.cmd.Process.Kill()
	one.exit()
	two.send("alone\r")
	two.expect(`heard<alone>`)
	if s := p.run(0, "status", "talk"); !strings.Contains(s, "ready") {
		t.Error(s)
	}
}

func TestAttachedOverTheDeathOfTheEngine(t *testing.T) {
	p := newTalker(t, "")
	c := p.console("attach", "talk").read()
	c.expect(`size<30 100>`)
	for _, word := range []string{"first", "second", "third"} {
		b, err := os.ReadFile(p.file(".orrery/engine.lock"))
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(`"pid": ?(\d+)`).FindSubmatch(b)
		if m == nil {
			t.Fatalf("no pid in %s", b)
		}
		pid := atoi(string(m[1]))
		syscall.Kill(pid, syscall.SIGKILL)
		if !await(func() bool { return !alive(pid) }) {
			t.Fatal("the engine still runs")
		}
		c.send(word + "\r")
		c.expect(`heard<` + word + `>`)
	}
	c.send("\x1d")
	if code := c.exit(); code != 0 {
		t.Errorf("got exit code %d", code)
	}
}

func atoi(s string) int {
	n := 0
	for _, r := range s {
		n = n*10 + int(r-'0')
	}
	return n
}

// TestAttachedWhoDoesNotRead: a terminal that nobody reads, and a client that is
// stopped, hold up neither the service nor the engine nor each other.
func TestAttachedWhoDoesNotRead(t *testing.T) {
	p := newTalker(t, `
service("loud", tty = True, log = log(max_size = "1M", keep = 1), command = "i=0; while :; do i=$((i+1)); echo line $i is long enough to fill whatever lies between; echo $i > count; done")
`)
	deaf := p.console("attach", "loud") // nobody reads its terminal
	stopped := p.console("attach", "loud").read()
	stopped.expect(`line \d+ is long`)
	stopped.cmd.Process.Signal(syscall.SIGSTOP)
	count := func() int {
		b, _ := os.ReadFile(p.file("count"))
		return atoi(strings.TrimSpace(string(b)))
	}
	from := count()
	if !await(func() bool { return count() > from+3000 }) {
		t.Fatalf("the service stands still at line %d", count())
	}
	began := time.Now()
	p.run(0, "status", "--json")
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("status took %v", took)
	}
	c := p.console("attach", "talk").read()
	c.send("hello\r")
	c.expect(`heard<hello>`)
	stopped.cmd.Process.Signal(syscall.SIGCONT)
	stopped.send("\x1d")
	if code := stopped.exit(); code != 0 {
		t.Errorf("got exit code %d", code)
	}
	deaf.cmd.Process.Kill()
}
