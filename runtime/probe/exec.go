package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"orrery/lang/graph"
)

const (
	// tailSize is how much of the end of a program's output is kept.
	tailSize = 4 << 10
	// maxReason is the length in runes of an output line in an error.
	maxReason = 200
	// outputGrace is how long output is waited for after the end of the
	// program; only a process that left its group can make it last.
	outputGrace = 100 * time.Millisecond
	// markVar marks the environment of an exec probe and of all its children,
	// so that those which left its process group are found.
	markVar = "ORRERY_PROBE"
)

// execProbe: a program exits with 0. Each try is a process group of its own.
type execProbe struct {
	argv []string
	name string // what errors call it
	dir  string
	env  []string
	user *syscall.Credential
}

func newExec(p *graph.Probe, t Target) (Probe, error) {
	argv, err := t.argv(p.Command)
	if err != nil {
		return nil, err
	}
	e := &execProbe{argv: argv, name: filepath.Base(argv[0]), dir: t.Dir, env: t.Env, user: t.User}
	if p.Command.Script != nil {
		e.name = "script"
	}
	return e, nil
}

// Check runs the program. When ctx ends first, all its processes are killed.
func (p *execProbe) Check(ctx context.Context) error {
	start := time.Now()
	mark := markVar + "=" + rand.Text()
	cmd, output, err := p.command(mark)
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("exec %s: cannot start it: %w", p.name, p.cause(err))
	}
	ended := make(chan struct{})
	go func() {
		awaitEnd(cmd.Process.Pid) // it stays a zombie: its pid, and group, are not reused
		close(ended)
	}()
	select {
	case <-ended:
		killGroup(cmd.Process.Pid)
	case <-ctx.Done():
		killTree(cmd.Process.Pid, mark)
		<-ended
		killTree(cmd.Process.Pid, mark) // what was born meanwhile
		cmd.Wait()
		return fmt.Errorf("exec %s: got no exit in %s, want exit 0%s", p.name, allowed(ctx, start), output.lastLine())
	}
	err = cmd.Wait()
	state := cmd.ProcessState
	switch {
	case state != nil && state.Success():
		return nil // also if somebody still holds its output
	case state == nil:
		return fmt.Errorf("exec %s: %w", p.name, err)
	}
	return fmt.Errorf("exec %s: got %s, want exit 0%s", p.name, outcome(state), output.lastLine())
}

// command makes the command of one try.
func (p *execProbe) command(mark string) (*exec.Cmd, *tail, error) {
	path, err := lookPath(p.argv[0], p.dir, p.env)
	if err != nil {
		return nil, nil, err
	}
	output := &tail{}
	return &exec.Cmd{
		Path:        path,
		Args:        p.argv,
		Dir:         p.dir,
		Env:         append(p.env[:len(p.env):len(p.env)], mark),
		Stdout:      output,
		Stderr:      output,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Credential: p.user},
		WaitDelay:   outputGrace,
	}, output, nil
}

// lookPath finds a program as the service would: in the PATH of its
// environment, not ours.
func lookPath(name, dir string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil // execve takes it relative to dir
	}
	list := "/usr/local/bin:/usr/bin:/bin"
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			list = v
		}
	}
	for _, folder := range filepath.SplitList(list) {
		path := filepath.Join(folder, name)
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if info, err := os.Stat(path); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("no such program in PATH=%s", list)
}

// cause is the reason inside an error of starting. The kernel tells it the same
// way for the program and for its folder.
func (p *execProbe) cause(err error) error {
	if _, e := os.Stat(p.dir); p.dir != "" && e != nil {
		err = e
	}
	var at *fs.PathError
	if errors.As(err, &at) {
		return fmt.Errorf("%s: %w", at.Path, at.Err)
	}
	return err
}

// outcome says how a program ended.
func outcome(state *os.ProcessState) string {
	if w, ok := state.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return "killed by " + w.Signal().String()
	}
	return fmt.Sprintf("exit %d", state.ExitCode())
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

// Write never fails and never blocks the program that is read from.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(b)
	if n > tailSize {
		b = b[n-tailSize:]
	}
	if over := len(t.buf) + len(b) - tailSize; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	t.buf = append(t.buf, b...)
	return n, nil
}

// lastLine returns ": " and the last line that is not blank, printable and not
// too long; nothing if there is none.
func (t *tail) lastLine() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := bytes.TrimSpace(t.buf)
	if i := bytes.LastIndexAny(text, "\r\n"); i >= 0 {
		text = text[i+1:]
	}
	runes := []rune(strings.Map(printable, string(bytes.ToValidUTF8(text, []byte("?")))))
	if len(runes) == 0 {
		return ""
	}
	if len(runes) > maxReason {
		runes = append(runes[:maxReason], '…')
	}
	return ": " + string(runes)
}

func printable(r rune) rune {
	switch {
	case r == '\t':
		return ' '
	case unicode.IsPrint(r):
		return r
	}
	return '?'
}
