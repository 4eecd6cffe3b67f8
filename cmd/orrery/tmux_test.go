package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"

	"orrery/cmd/orrery/term"
)

// tmux is a real terminal with a shell in it, which can be looked at.
type tmux struct {
	*project
	socket string
	shell  string // what runs in it
}

// tmux starts a shell in a terminal of some size; vars are set in it.
func (p *project) tmux(cols, rows int, vars ...string) *tmux {
	p.t.Helper()
	for _, tool := range []string{"tmux", "bash"} {
		if _, err := exec.LookPath(tool); err != nil {
			p.t.Skipf("%s is missing: apt install %s", tool, tool)
		}
	}
	dir, err := os.MkdirTemp("/tmp", "o") // short: a unix socket lies in it
	if err != nil {
		p.t.Fatal(err)
	}
	m := &tmux{project: p, socket: filepath.Join(dir, "s"), shell: "env -u CI -u GITHUB_ACTIONS -u NO_COLOR PS1='> ' " + strings.Join(vars, " ") + " bash --norc --noprofile"}
	p.t.Cleanup(func() {
		m.do("kill-server")
		os.RemoveAll(dir)
	})
	m.do("new-session", "-d", "-x", fmt.Sprint(cols), "-y", fmt.Sprint(rows), m.shell)
	m.expect(`^>`)
	return m
}

// do gives tmux a command.
func (m *tmux) do(args ...string) string {
	c := exec.Command("tmux", append([]string{"-S", m.socket, "-f", "/dev/null"}, args...)...)
	c.Dir, c.Env = m.dir, m.env
	out, err := c.CombinedOutput()
	if err != nil && args[0] != "kill-server" {
		m.t.Errorf("tmux %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (m *tmux) keys(keys ...string) { m.do(append([]string{"send-keys"}, keys...)...) }

// shown is what is on the screen; all is that and what has scrolled away, with lines that the terminal has wrapped in one
// piece.
func (m *tmux) shown() string { return strings.TrimRight(m.do("capture-pane", "-p"), "\n") }
func (m *tmux) all() string   { return m.do("capture-pane", "-p", "-J", "-S", "-") }

// expect waits until the screen matches, and does not match what comes after "!".
func (m *tmux) expect(patterns ...string) string {
	m.t.Helper()
	var text string
	ok := await(func() bool {
		text = m.shown()
		for _, re := range patterns {
			re, not := strings.CutPrefix(re, "!")
			if regexp.MustCompile("(?m)"+re).MatchString(text) == not {
				return false
			}
		}
		return true
	})
	if !ok {
		m.t.Fatalf("the screen does not come to match %q:\n%s", patterns, text)
	}
	return text
}

// clean checks that the terminal is as a shell wants it: the cursor is seen, at the prompt, and nothing of a footer is left.
func (m *tmux) clean() {
	m.t.Helper()
	m.expect(`^> *\z`, `!^\[\d+/\d+\]`, `! · `)
	var got string
	if !await(func() bool {
		got = strings.TrimSpace(m.do("display-message", "-p", "#{cursor_flag} #{alternate_on} #{wrap_flag} #{cursor_x}"))
		return got == "1 0 1 2"
	}) {
		m.t.Errorf("cursor seen, alternate screen, wrapping, column: got %s, want 1 0 1 2", got)
	}
}

// slowly is a project whose services wait for files, and that prints lines with wide characters.
const slowly = `
db = service("db", command = "echo db is here; exec sleep 1000", ready = probe.exec(["test", "-e", "db.ok"]))
prepare = task("prepare", command = "while ! test -e prepare.ok; do sleep 0.05; done", after = [db])
service("web", command = "for i in $(seq 300); do echo line $i 日本語 é; done; exec sleep 1000", after = [prepare])
`

func (p *project) touch(name string) {
	p.t.Helper()
	if err := os.WriteFile(p.file(name), nil, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// TestFooterOfUp: what is waited for stands below the lines, which are all there in the end, whatever happened to the size;
// after ^C nothing of it is left.
func TestFooterOfUp(t *testing.T) {
	p := newProject(t, slowly)
	m := p.tmux(80, 24)
	m.keys("clear; orrery up", "Enter")
	m.expect(`^\[0/3\] 1 running, 2 waiting · \d+ s · \^C stops\n  db starting \d+ s +1 waits for it\z`, `^db +\| db is here$`)
	m.do("resize-window", "-x", "40", "-y", "10")
	m.expect(`^\[0/3\] 1 running, 2 waiting · \d+ s · \^C ?…\n  db starting \d+ s +1 waits for it\z`)
	m.do("resize-window", "-x", "100", "-y", "5")
	m.expect(`^\[0/3\] db starting \d+ s · 1 running, 2 waiting · \d+ s · \^C stops\z`)
	m.do("resize-window", "-x", "30", "-y", "12")
	m.expect(`^\[0/3\] 1 running, 2 waiting`)
	m.do("resize-window", "-x", "80", "-y", "24")
	p.touch("db.ok")
	m.expect(`^\[1/3\] 1 running, 1 waiting · .*\n  prepare running \d+ s +1 waits for it\z`)
	p.touch("prepare.ok")
	m.expect(`line 300 日本語 é\n\n2 ready, 1 done · under 1 min · \^C stops\z`)
	m.keys("C-c")
	m.clean()
	if n := strings.Count(m.all(), "[0/3]"); n > 0 {
		t.Errorf("%d lines of the footer are left in the history:\n%s", n, m.all())
	}
	next := 1
	for line := range strings.Lines(m.all()) {
		var i int
		if _, text, ok := strings.Cut(line, "| line "); ok {
			if fmt.Sscanf(text, "%d", &i); i != next || strings.TrimSpace(text) != fmt.Sprintf("%d 日本語 é", i) {
				t.Fatalf("after line %d comes %q", next-1, line)
			}
			next++
		}
	}
	if next != 301 {
		t.Errorf("got %d lines, want 300", next-1)
	}
}

// TestFooterIsTakenAway: by ^Z, to come back with fg; in the background; by a TERM and by ^\.
func TestFooterIsTakenAway(t *testing.T) {
	p := newProject(t, slowly)
	m := p.tmux(80, 24)
	m.keys("orrery up", "Enter")
	m.expect(`^\[0/3\] `)
	m.keys("C-z")
	m.expect(`Stopped +orrery up\n>\z`, `!^\[0/3\] `)
	m.keys("fg", "Enter")
	m.expect(`^fg|^> fg`, `^\[0/3\] 1 running`)
	m.keys("C-z")
	m.expect(`>\z`, `!^\[0/3\] `)
	m.keys("bg; echo with $((1+1)) jobs; touch db.ok", "Enter")
	m.expect(`^with 2 jobs$`, `prepare running`, `!^\[1/3\] `)
	m.keys("clear", "Enter", "fg", "Enter")
	m.expect(`^\[1/3\] 1 running`)
	m.keys("C-z")
	m.expect(`Stopped`, `!^\[1/3\] `)
	m.keys("clear; kill -TERM %1; fg", "Enter")
	m.expect(`stopping \(again to kill\)`)
	m.clean()
	m.keys("clear; crasher", "Enter")
	m.expect(`^\[1/2\] `)
	m.keys(`C-\`)
	m.expect(`^rflags|^goroutine`, `!^\[1/2\] `)
}

// TestFooterOfRun: tasks above each other, and one alone that has the terminal, with a footer for as long as it waits for a
// service.
func TestFooterOfRun(t *testing.T) {
	p := newProject(t, slowly+`
task("talk", command = "test -t 1 && echo a terminal; while ! test -e talk.ok; do sleep 0.05; done", after = [db])
gens = [task("gen%d" % i, command = "while ! test -e gen.ok; do sleep 0.05; done; echo made") for i in range(1, 30)]
task("build", command = "true", after = gens)
`)
	m := p.tmux(60, 15)
	m.keys("clear; orrery run build -j 7", "Enter")
	m.expect(`^\[0/30\] 7 running, 23 waiting · \d+ s\n(  gen\d+ running \d+ s.*\n){3}  and 4 more\z`)
	p.touch("gen.ok")
	m.expect(`30 tasks: 30 ran in`)
	m.clean()
	m.keys("clear; orrery run talk", "Enter")
	m.expect(`^\[0/2\] .*\n  db starting`, `!a terminal`)
	p.touch("db.ok")
	m.expect(`^a terminal`, `!^\[`)
	p.touch("talk.ok")
	m.clean()
}

// TestFooterAndPanic: what a crash says stands alone.
func TestFooterAndPanic(t *testing.T) {
	p := newProject(t, slowly)
	m := p.tmux(80, 24)
	m.keys("clear; crasher", "Enter")
	m.expect(`^\[1/2\] 1 running · \d+ s\n  one starting`)
	p.touch("crash")
	m.expect(`^panic: as asked for`, `^goroutine 1`)
	m.clean()
}

// crasher shows a footer and panics when the file is there.
func crasher() {
	a := newApp()
	defer a.outlets.end()
	b := &term.Board{Began: time.Now(), Done: 1, Total: 2, Counts: []string{"1 running"}, Rows: []term.Row{{Name: "one", State: "starting"}}}
	a.follow(liveOptions{}, func() *term.Board { return b })
	await(func() bool { _, err := os.Stat("crash"); return err == nil })
	panic("as asked for")
}

// TestStatusInPlace: status -w draws over itself, also a table that is higher than the terminal, and leaves the last one.
func TestStatusInPlace(t *testing.T) {
	p := newProject(t, slowly)
	p.run(0, "up", "-d")
	m := p.tmux(60, 10)
	m.keys("clear; orrery status -w", "Enter")
	m.expect(`\A *name +state.*\ndb +starting.*\nprepare +waiting.*\nweb +waiting.*\z`)
	p.touch("db.ok")
	m.expect(`\A *name +state.*\ndb +ready.*\nprepare +running.*\nweb +waiting.*\z`)
	m.do("resize-window", "-x", "60", "-y", "3")
	m.expect(`^name +state.*\nand 3 more\z`)
	m.do("resize-window", "-x", "60", "-y", "10")
	m.keys("C-c")
	m.expect(`name +state.*\ndb +ready.*\nprepare +running.*\nweb +waiting.*\n>\z`)
}

// TestTerminalsWithoutAFooter: no sequence goes to a dumb terminal, to one of CI, beside tee, and with --ui=plain.
func TestTerminalsWithoutAFooter(t *testing.T) {
	p := newProject(t, `
one = task("one", command = "echo says; sleep 0.4")
task("all", command = "true", after = [one])
service("web", command = "echo web says; exec sleep 1000")
`)
	for _, row := range []struct{ vars, args string }{
		{"TERM=dumb", "run all --force"},
		{"TERM=xterm CI=true", "run all --force --output=prefixed"},
		{"TERM=xterm NO_COLOR=1", "run all --force -q"},
		{"TERM=xterm NO_COLOR=1", "run all --force | cat"},
		{"TERM=xterm NO_COLOR=1", "up web --ui=plain"},
	} {
		own, tty, err := pty.Open()
		if err != nil {
			t.Skip(err)
		}
		c := &console{t: t, own: own, tty: tty, ended: make(chan struct{})}
		c.cmd = exec.Command("sh", "-c", "exec env "+row.vars+" orrery "+row.args)
		if strings.Contains(row.args, "|") {
			c.cmd.Args[2] = strings.TrimPrefix(c.cmd.Args[2], "exec ")
		}
		c.cmd.Dir, c.cmd.Env, c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = p.dir, p.env, tty, tty, tty
		if err := c.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() {
			c.cmd.Wait()
			close(c.ended)
		}()
		c.read().expect(`says`)
		if strings.HasPrefix(row.args, "up") {
			c.expect(`1 ready in`)
			c.cmd.Process.Signal(os.Interrupt)
		}
		if code := c.exit(); code != 0 {
			t.Errorf("%s orrery %s: got exit code %d", row.vars, row.args, code)
		}
		own.Close()
		tty.Close()
		if text := string(c.shown()); strings.Contains(text, "\x1b") || strings.Contains(text, "[0/2]") || !utf8.ValidString(text) {
			t.Errorf("%s orrery %s: got %q", row.vars, row.args, text)
		}
	}
}
