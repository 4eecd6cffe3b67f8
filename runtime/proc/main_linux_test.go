package proc

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain makes the test binary the shim, and the helper programs that some tests need.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case Verb:
			os.Exit(Shim(os.Args[2:]))
		case "helper":
			os.Exit(helper(os.Args[2:]))
		}
	}
	os.Exit(m.Run())
}

// env is a small environment for programs under test.
func env(more ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}, more...)
}

// run starts s with its output captured, waits, and gives both.
func run(t *testing.T, s *Spec) (string, Exit) {
	t.Helper()
	return runBy(t, s, Start)
}

// bare is Start where no cgroup can be written: limits are rlimits.
func bare(s *Spec) (*Process, error) {
	l := &launch{spec: s}
	if err := l.prepare(); err != nil {
		return nil, err
	}
	sealDescriptors()
	return l.byShim(&confine{rest: s.Limits})
}

// runBy is run with a way to start.
func runBy(t *testing.T, s *Spec, start func(*Spec) (*Process, error)) (string, Exit) {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if s.Stdout == nil && !s.TTY {
		s.Stdout = out
	}
	if s.Stderr == nil && !s.TTY {
		s.Stderr = s.Stdout
	}
	if s.Env == nil {
		s.Env = env()
	}
	p, err := start(s)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	e := p.Wait()
	b, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(b), e
}

// startErr starts s, which must fail.
func startErr(t *testing.T, s *Spec) *StartError {
	t.Helper()
	return errBy(t, s, Start)
}

func errBy(t *testing.T, s *Spec, start func(*Spec) (*Process, error)) *StartError {
	t.Helper()
	if s.Env == nil {
		s.Env = env()
	}
	p, err := start(s)
	if err == nil {
		p.Signal(syscall.SIGKILL)
		p.Wait()
		t.Fatal("it started")
	}
	se, ok := err.(*StartError)
	if !ok {
		t.Fatalf("got %T %v, want a *StartError", err, err)
	}
	return se
}

// shimmed makes s need the shim without changing what it does.
func shimmed(s *Spec) *Spec {
	n := 0
	s.Limits.OOMScoreAdj = &n
	s.Limits.NoNewPrivs = true
	if b, err := os.ReadFile("/proc/self/oom_score_adj"); err == nil {
		n, _ = strconv.Atoi(strings.TrimSpace(string(b)))
	}
	return s
}

// inNamespace makes s start in a pid namespace of its own.
func inNamespace(s *Spec) *Spec {
	s.PidNamespace = true
	return s
}

// needNamespace skips where there can be none.
func needNamespace(t *testing.T) {
	t.Helper()
	p, err := Start(inNamespace(&Spec{Name: "try", Argv: []string{"true"}, Env: env()}))
	if err != nil {
		t.Skip(err)
	}
	p.Wait()
	p.Close()
}

// every is both, and in a pid namespace.
func every(t *testing.T, f func(t *testing.T, way func(*Spec) *Spec)) {
	both(t, f)
	t.Run("namespace", func(t *testing.T) {
		needNamespace(t)
		f(t, inNamespace)
	})
}

// both runs a test with and without the shim.
func both(t *testing.T, f func(t *testing.T, way func(*Spec) *Spec)) {
	t.Run("plain", func(t *testing.T) { f(t, func(s *Spec) *Spec { return s }) })
	t.Run("shim", func(t *testing.T) { f(t, shimmed) })
}

func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed", program)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can do this")
	}
}

// write makes a file in a new folder and gives its path.
func write(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return file
}

// until polls for what has no event to wait for.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 20 s in vain for %s", what)
		}
	}
}

// pidIn reads a pid that a program writes to a file.
func pidIn(t *testing.T, file string) int {
	t.Helper()
	pid := 0
	until(t, file, func() bool {
		b, _ := os.ReadFile(file)
		if !bytes.HasSuffix(b, []byte("\n")) {
			return false
		}
		pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
		return pid > 0
	})
	return pid
}

func alive(pid int) bool {
	st, err := readStat(pid)
	return err == nil && !st.dead()
}

func fdCount(t *testing.T) int {
	t.Helper()
	ents, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(ents)
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// marker is unique to a test.
func marker(t *testing.T) string {
	return fmt.Sprintf("test-%d/%s-%d", os.Getpid(), t.Name(), time.Now().UnixNano())
}

// asHelper runs the test binary as one of the helper programs and gives its output.
func asHelper(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", append([]string{"helper"}, args...)...)
	b, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("helper %v: %v\n%s", args, err, b)
	}
	return string(b)
}

// helper is the body of the helper programs.
func helper(args []string) int {
	fail := func(err error) int {
		fmt.Println("failed:", err)
		return 1
	}
	switch args[0] {
	case "nostdin": // starts a program while its own descriptor 0 is closed
		syscall.Close(0)
		for _, s := range []*Spec{{}, shimmed(&Spec{})} {
			r, w, err := os.Pipe()
			if err != nil {
				return fail(err)
			}
			s.Argv = []string{"sh", "-c", "cat; ls -l /proc/$$/fd/0 | sed 's/.*-> //'"}
			s.Env, s.Stdout, s.Stderr = env(), w, os.Stderr
			p, err := Start(s)
			w.Close()
			if err != nil {
				return fail(err)
			}
			b, _ := io.ReadAll(r)
			r.Close()
			p.Wait()
			p.Close()
			os.Stdout.Write(b)
		}
	case "replaced": // starts a program by the shim after its own binary was replaced by something else
		if err := os.Remove(args[1]); err != nil {
			return fail(err)
		}
		if err := os.WriteFile(args[1], []byte("#!/bin/false\n"), 0o755); err != nil {
			return fail(err)
		}
		p, err := Start(shimmed(&Spec{Argv: []string{"echo", "still us"}, Env: env(), Stdout: os.Stdout}))
		if err != nil {
			return fail(err)
		}
		p.Wait()
	case "nofile": // the number of descriptors of plain, shimmed and memory-limited programs
		for _, s := range []*Spec{{}, shimmed(&Spec{}), {Limits: Limits{Memory: 1 << 30}}} {
			s.Argv, s.Env, s.Stdout = []string{"bash", "-c", "ulimit -Sn"}, env(), os.Stdout
			p, err := Start(s)
			if err != nil {
				return fail(err)
			}
			p.Wait()
			p.Close()
		}
	case "lonely":
		return lonely()
	case "orphans":
		return orphans()
	case "spawner":
		return spawner(args[1], args[2])
	case "chaser":
		return chaser(args[1])
	}
	return 0
}
