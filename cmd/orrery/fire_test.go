package main

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// slowStop counts how often it is told to stop, and takes its time.
const slowStop = `
service("web", command = """
    trap 'echo x >> terms; sleep 1.5; echo gone > gone; exit 0' TERM
    echo $$ > pid; touch up
    while :; do sleep 0.05; done""", ready = probe.file("up"), stop = stop.signal("TERM", timeout = "20s"))
`

func (p *project) await(file string) string {
	p.t.Helper()
	var b []byte
	if !await(func() bool {
		var err error
		b, err = os.ReadFile(p.file(file))
		return err == nil && len(b) > 0
	}) {
		p.t.Fatalf("%s did not come", file)
	}
	return strings.TrimSpace(string(b))
}

func (p *project) gone(pid string) {
	p.t.Helper()
	n := atoi(pid)
	if !await(func() bool { return !alive(n) }) {
		p.t.Fatalf("process %s still runs", pid)
	}
}

// TestStormOfSignals: a hundred signals within a second are one shutdown: the
// service is told once, then killed, as a second ^C asks for; nothing is left.
func TestStormOfSignals(t *testing.T) {
	p := newProject(t, slowStop)
	c := p.console("up")
	before := c.modes()
	c.read().expect(`ready`)
	pid := p.await("pid")
	for i := range 100 {
		c.cmd.Process.Signal([]syscall.Signal{syscall.SIGINT, syscall.SIGTERM}[i%2])
		time.Sleep(10 * time.Millisecond) // the pace is the test
	}
	if code := c.exit(); code != 130 && code != 143 {
		t.Errorf("got exit code %d, want 130 or 143", code)
	}
	p.gone(pid)
	if b, _ := os.ReadFile(p.file("terms")); len(strings.Fields(string(b))) > 1 {
		t.Errorf("it was told to stop %d times", len(strings.Fields(string(b))))
	}
	if text := string(c.shown()); strings.Contains(text, "panic") || strings.Count(text, "stopping (again to kill)") != 1 {
		t.Errorf("got:\n%s", text)
	}
	if c.modes() != before {
		t.Error("the terminal was not restored")
	}
	if !await(func() bool { return p.command("status").Run() != nil }) {
		t.Error("the engine still runs")
	}
}

// TestTerminalIsClosed: the end of a terminal stops a foreground up, in order,
// and leaves what is detached alone.
func TestTerminalIsClosed(t *testing.T) {
	p := newProject(t, slowStop+`
service("stays", command = "echo $$ > stays.pid; touch stays.up; exec sleep 1000", ready = probe.file("stays.up"))
`)
	d := p.console("up", "-d", "--wait", "stays").read()
	if code := d.exit(); code != 0 {
		t.Fatalf("got exit code %d\n%s", code, d.shown())
	}
	d.own.Close()
	d.tty.Close()
	c := p.console("up", "web")
	c.expectFile("up")
	pid := p.await("pid")
	c.tty.Close()
	c.own.Close() // SIGHUP
	p.gone(pid)
	if got := p.await("gone"); got != "gone" {
		t.Error(got)
	}
	c.exit()
	if stays := atoi(p.await("stays.pid")); !alive(stays) {
		t.Error("what was detached is gone")
	}
	if s := p.run(0, "status", "stays"); !strings.Contains(s, "ready") {
		t.Error(s)
	}
}

func (c *console) expectFile(name string) {
	c.t.Helper()
	if !await(func() bool { _, err := os.Stat(filepath.Join(c.cmd.Dir, name)); return err == nil }) {
		c.t.Fatalf("%s did not come:\n%s", name, c.shown())
	}
}

// TestOneOfTwoInTheForeground: each client holds what it asked for; what ends it,
// ^C or kill -9, releases only that.
func TestOneOfTwoInTheForeground(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		p := newProject(t, `
def s(name, **more):
    return service(name, command = "echo $$ > %s.pid; touch %s.up; exec sleep 1000" % (name, name), ready = probe.file(name + ".up"), **more)
db = s("db")
s("web", after = [db])
s("worker", after = [db])
task("look", command = "cat db.pid > looked", after = [db])
`)
		one := p.console("up", "web").read()
		one.expect(`web.*ready`)
		two := p.console("up", "worker").read()
		two.expect(`joined the engine`)
		two.expect(`worker.*ready`)
		p.run(0, "run", "look") // uses what runs and leaves it
		if p.await("looked") != p.await("db.pid") {
			t.Error("run started its own")
		}
		web, worker, db := p.await("web.pid"), p.await("worker.pid"), p.await("db.pid")
		two.cmd.Process.Signal(sig)
		if code := two.exit(); sig == syscall.SIGINT && code != 0 {
			t.Errorf("got exit code %d\n%s", code, two.shown())
		}
		p.gone(worker)
		if !alive(atoi(web)) || !alive(atoi(db)) {
			t.Errorf("%v took down what another one holds", sig)
		}
		one.cmd.Process.Signal(syscall.SIGINT)
		if code := one.exit(); code != 0 {
			t.Errorf("got exit code %d\n%s", code, one.shown())
		}
		p.gone(web)
		p.gone(db)
	}
}

// TestAnotherUserIsRefused: neither the folder of the socket nor the engine lets
// another user in.
func TestAnotherUserIsRefused(t *testing.T) {
	u, err := user.Lookup("nobody")
	if os.Geteuid() != 0 || err != nil {
		t.Skip("only root can be another user, and there must be a user nobody")
	}
	p := newProject(t, `service("web", command = ["sleep", "1000"])`)
	p.run(0, "up", "-d", "--wait")
	uid, _ := strconv.Atoi(u.Uid)
	program, err := exec.LookPath("orrery")
	if err != nil {
		t.Fatal(err)
	}
	// A copy where anybody can reach it, and everything open: only the engine itself is left to refuse.
	open, err := os.MkdirTemp("/tmp", "o")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(open)
	os.Chmod(open, 0o755)
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(open, "orrery")
	if err := os.WriteFile(copied, b, 0o755); err != nil {
		t.Fatal(err)
	}
	for dir := p.dir; dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		os.Chmod(dir, 0o755)
	}
	var run string
	for _, kv := range p.env {
		if v, ok := strings.CutPrefix(kv, "XDG_RUNTIME_DIR="); ok {
			run = v
		}
	}
	for _, root := range []string{run, p.file(".orrery")} {
		filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
			if err == nil {
				os.Chmod(path, 0o777)
			}
			return nil
		})
	}
	for _, verb := range [][]string{{"status"}, {"down"}, {"attach", "web"}} {
		c := p.command(verb...)
		c.Path = copied
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
		out, err := c.CombinedOutput()
		if err == nil || c.ProcessState.ExitCode() != 5 {
			t.Errorf("%v: got exit code %d\n%s", verb, c.ProcessState.ExitCode(), out)
		}
	}
	if s := p.run(0, "status"); !strings.Contains(s, "ready") {
		t.Error(s)
	}
}
