package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"orrery/runtime/control/api"
)

// The torture tests drive the built program from outside, through faults and
// abuse, and publish what they counted. The long form:
//
//	go test ./cmd/orrery -run Torture -v -timeout 60m -args -long
//
// docs/torture.md says what was counted, and where.
var long = flag.Bool("long", false, "torture tests: the long form")

// form picks a number for the short and for the long form.
func form(short, wide int) int {
	if *long {
		return wide
	}
	return short
}

// built are the programs under torture: orrery itself, as a user has it, and
// the services that torment it.
type built struct{ orrery, torture string }

// programs builds them once.
var programs = sync.OnceValues(func() (built, error) {
	former, _ := filepath.Glob(filepath.Join(os.TempDir(), "orrery-torture-*"))
	for _, dir := range former { // nothing runs after the last test
		if pid, err := strconv.Atoi(dir[strings.LastIndex(dir, "-")+1:]); err == nil && !alive(pid) {
			os.RemoveAll(dir)
		}
	}
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("orrery-torture-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil { // other users run them, too
		return built{}, err
	}
	b := built{filepath.Join(dir, "orrery"), filepath.Join(dir, "torture")}
	for _, p := range []struct{ out, pkg string }{{b.orrery, "."}, {b.torture, "./testdata/torture"}} {
		if out, err := exec.Command("go", "build", "-o", p.out, p.pkg).CombinedOutput(); err != nil {
			return b, fmt.Errorf("cannot build %s: %w\n%s", p.pkg, err, out)
		}
	}
	return b, nil
})

// checkout is a project under torture, with a run directory of its own.
type checkout struct {
	t        testing.TB
	programs built
	dir, run string
	env      []string
	as       *syscall.Credential // whom the commands run as; nil: as we are
}

// newCheckout writes services.star; $T in it is the program with the services.
func newCheckout(t testing.TB, star string) *checkout {
	t.Helper()
	b, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	run, err := os.MkdirTemp("/tmp", "o") // short: unix sockets lie in it
	if err != nil {
		t.Fatal(err)
	}
	c := &checkout{t: t, programs: b, dir: t.TempDir(), run: run}
	cache := t.TempDir()
	c.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "LANG=C.UTF-8", "USER=" + os.Getenv("USER"),
		"XDG_RUNTIME_DIR=" + run, "XDG_CACHE_HOME=" + cache}
	c.write("services.star", star)
	t.Cleanup(func() {
		if r := c.orrery("down", "--now"); r.code != 0 {
			t.Errorf("down --now at the end: %s", r)
		}
		killLeftovers(t, run, c.dir)
		if v := c.read("violations"); v != "" {
			t.Errorf("two instances of one service:\n%s", v)
		}
		if t.Failed() {
			t.Logf("engine.log:\n%s", tail(c.read(".orrery/engine.log"), 40))
		}
		os.RemoveAll(run)
	})
	return c
}

func tail(text string, lines int) string {
	all := strings.Split(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func (c *checkout) path(name string) string { return filepath.Join(c.dir, name) }

// write replaces a file in one step.
func (c *checkout) write(name, text string) {
	c.t.Helper()
	text = strings.ReplaceAll(text, "$T", c.programs.torture)
	tmp := c.path(name + ".new~")
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Rename(tmp, c.path(name)); err != nil {
		c.t.Fatal(err)
	}
}

// read is the content of a file; empty when there is none.
func (c *checkout) read(name string) string {
	b, _ := os.ReadFile(c.path(name))
	return string(b)
}

// number reads a file with a number, waiting until it is there.
func (c *checkout) number(name string) int64 {
	c.t.Helper()
	c.await(name, func() bool { return c.read(name) != "" })
	n, err := strconv.ParseInt(strings.TrimSpace(c.read(name)), 10, 64)
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// await waits until yes.
func (c *checkout) await(what string, yes func() bool) {
	c.t.Helper()
	if !await(yes) {
		c.t.Fatalf("waited %s in vain for: %s", patience, what)
	}
}

// ran is how a command ended.
type ran struct {
	args     []string
	code     int
	out, err string
	took     time.Duration
}

func (r ran) String() string {
	return fmt.Sprintf("orrery %s: exit %d after %s\n%s%s", strings.Join(r.args, " "), r.code, r.took.Round(time.Millisecond), tail(r.out, 30), tail(r.err, 30))
}

func (c *checkout) command(args ...string) *exec.Cmd {
	cmd := exec.Command(c.programs.orrery, args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	if c.as != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.as}
	}
	return cmd
}

// orrery runs a command to its end.
func (c *checkout) orrery(args ...string) ran { return c.finish(c.command(args...)) }

func (c *checkout) finish(cmd *exec.Cmd) ran {
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	r := ran{args: cmd.Args[1:]}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	began := time.Now()
	err := cmd.Start()
	if err == nil {
		defer context.AfterFunc(ctx, func() { cmd.Process.Kill() })()
		err = cmd.Wait()
	}
	r.took, r.out, r.err = time.Since(began), out.String(), errs.String()
	r.code = codeOf(err)
	if r.code < 0 {
		r.err += err.Error()
	}
	return r
}

// codeOf is the exit code as a shell gives it; -1 when the program did not run.
func codeOf(err error) int {
	var exit *exec.ExitError
	if err == nil {
		return 0
	}
	if !errors.As(err, &exit) {
		return -1
	}
	if s, ok := exit.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return 128 + int(s.Signal())
	}
	return exit.ExitCode()
}

// must runs a command that has to succeed.
func (c *checkout) must(args ...string) ran {
	c.t.Helper()
	r := c.orrery(args...)
	if r.code != 0 {
		c.t.Fatal(r)
	}
	return r
}

// status asks the engine; false when there is none.
func (c *checkout) status() (api.Status, bool) {
	c.t.Helper()
	r := c.orrery("status", "--json")
	var st api.Status
	if r.code != 0 {
		return st, false
	}
	if err := json.Unmarshal([]byte(r.out), &st); err != nil {
		c.t.Fatal(err, r)
	}
	return st, true
}

// node is the state of one.
func (c *checkout) node(name string) api.NodeStatus {
	c.t.Helper()
	st, _ := c.status()
	for _, n := range st.Nodes {
		if n.Name == name {
			return n
		}
	}
	return api.NodeStatus{Name: name, State: "unknown"}
}

// pids are the processes of this checkout whose arguments match, in no order.
// One between fork and exec counts as what it was forked from.
func (c *checkout) pids(match func(args []string) bool) []int {
	var found []int
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range procs {
		env, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil || !bytes.Contains(env, []byte("XDG_RUNTIME_DIR="+c.run+"\x00")) {
			continue
		}
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if match(strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")) && alive(pid) {
			found = append(found, pid)
		}
	}
	return found
}

// all are the processes of this checkout that live.
func (c *checkout) all() []int { return c.pids(func([]string) bool { return true }) }

// instances counts the processes that run `torture VERB NAME`.
func (c *checkout) instances(verb, name string) int {
	return len(c.pids(func(args []string) bool {
		return len(args) > 2 && args[0] == c.programs.torture && args[1] == verb && args[2] == name
	}))
}

// keeper is the pid of the keeper; 0 when there is none.
func (c *checkout) keeper() int {
	pids := c.pids(func(args []string) bool { return slices.Contains(args, "__keeper") })
	for _, pid := range pids {
		if p, ok := readProc(pid); ok && !slices.Contains(pids, p.parent) {
			return pid
		}
	}
	return 0
}

// engines are the engines below a keeper: one, or none for an instant.
func enginesOf(keeper int) []int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", keeper, keeper))
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", keeper))
	for _, f := range tasks {
		more, _ := os.ReadFile(f)
		b = append(append(b, ' '), more...)
	}
	var engines []int
	for _, f := range strings.Fields(string(b)) {
		pid, _ := strconv.Atoi(f)
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if bytes.Contains(line, []byte("\x00__engine")) && alive(pid) && !slices.Contains(engines, pid) {
			engines = append(engines, pid)
		}
	}
	return engines
}

// murder kills the engine below a keeper n times, each at a random instant of
// its life up to longest, and returns how many it got: fewer when the keeper ends.
func murder(keeper, n int, longest time.Duration) (kills int) {
	for kills < n && alive(keeper) {
		time.Sleep(time.Duration(rand.Int64N(int64(longest)))) // the instant of the kill is what varies
		if e := enginesOf(keeper); len(e) > 0 && syscall.Kill(e[0], syscall.SIGKILL) == nil {
			kills++
		}
	}
	return kills
}

// freePorts are ports that are free now; see portPool.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	for range 2000 {
		port := 30 * (28000/30 + rand.IntN(140)) // apart from those of the scripts, below those of clients
		if !slices.Contains(ports, port) && free(port) && free(port+1) {
			if ports = append(ports, port); len(ports) == n {
				return ports
			}
		}
	}
	t.Fatal("no free port")
	return nil
}

// torture announces a test of the suite.
func torture(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("torture takes its time")
	}
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("counts processes in /proc: ", err)
	}
}

// ms rounds a time for a report.
func ms(d time.Duration) string { return d.Round(time.Millisecond / 10).String() }

// p99 is the 99th percentile and the longest.
func p99(times []time.Duration) (p, most time.Duration) {
	slices.Sort(times)
	if len(times) == 0 {
		return 0, 0
	}
	return times[(len(times)-1)*99/100], times[len(times)-1]
}
