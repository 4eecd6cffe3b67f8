package task

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"orrery/lang/graph"
	"orrery/runtime/proc"
	"orrery/runtime/sandbox"
)

// boxed is a job in a project with some files, of which in/a.txt is declared.
func boxed(t testing.TB, mode string, steps ...Step) *Job {
	t.Helper()
	if mode == sandboxStrict && sandbox.ABI() == 0 {
		t.Skip("this kernel has no Landlock")
	}
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has sandboxes")
	}
	j := job(t, steps...)
	for _, f := range []string{"in/a.txt", "in/b.txt", "other.txt", "sub/c.txt", "out/keep.txt"} {
		put(t, filepath.Join(j.Root, f), f)
	}
	outside := t.TempDir()
	put(t, filepath.Join(outside, "far.txt"), "far")
	if err := os.Symlink(filepath.Join(outside, "far.txt"), filepath.Join(j.Root, "in/hop")); err != nil {
		t.Fatal(err)
	}
	j.Outputs = []Output{{Name: "x", Path: "out/x"}}
	j.Sandbox, j.Declared = mode, &KeyInput{Inputs: []Input{{Path: "in/a.txt"}}}
	return j
}

func put(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// touches runs the toucher and gives what it printed, act by act.
func touches(t *testing.T, j *Job, acts ...string) (map[string]string, Result) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	j.Steps = []Step{{Argv: append([]string{self, "touch"}, acts...)}}
	j.Stdout, j.Stderr = &out, &out
	r := Run(context.Background(), j)
	got := map[string]string{}
	for line := range strings.Lines(out.String()) {
		if act, what, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			got[act] = what
		}
	}
	if len(got) != len(acts) {
		t.Fatalf("got %s, %s", out.String(), r.Reason)
	}
	return got, r
}

// TestSandboxTable is what each mode does to each way out, one after the other.
func TestSandboxTable(t *testing.T) {
	table := []struct {
		act               string
		off, warn, strict string
	}{
		{"read:in/a.txt", "ok", "ok", "ok"},
		{"read:in/b.txt", "ok", "ok", "EACCES"},
		{"read:missing", "ENOENT", "ENOENT", "ENOENT"},
		{"read:FAR", "ok", "ok", "EACCES"},
		{"read:/etc/passwd", "ok", "ok", "ok"},
		{"link:in/hop", "ok", "ok", "EACCES"},
		{"fdhop:in/b.txt", "ok", "ok", "EACCES"},
		{"fdhop:in/a.txt", "ok", "ok", "ok"},
		{"list:in", "ok", "ok", "EACCES"},
		{"list:.", "ok", "ok", "EACCES"},
		{"list:/usr", "ok", "ok", "ok"},
		{"write:in/a.txt", "ok", "ok", "EACCES"},
		{"new:in/new", "ok", "ok", "EACCES"},
		{"new:FAR.new", "ok", "ok", "EACCES"},
		{"new:out/x", "ok", "ok", "ok"},
		{"new:out/x.tmp", "ok", "ok", "ok"},
		{"new:out/y", "ok", "ok", "EACCES"},
		{"write:out/keep.txt", "ok", "ok", "EACCES"},
		{"read:out/keep.txt", "ok", "ok", "EACCES"},
		{"read:out/x.old", "ok", "ok", "EACCES"},
		{"mkdir:made", "ok", "ok", "EACCES"},
		{"chmod:sub/c.txt", "ok", "ok", "EACCES"},
		{"run:./other.txt", "ok", "ok", "EACCES"},
		{"child:in/b.txt", "ok", "ok", "EACCES"},
		{"child:in/a.txt", "ok", "ok", "ok"},
		{"leak:LEAK", "EBADF", "EBADF", "EBADF"},
		{"tcp:ADDR", "ok", "ok", "ok"},
		{"signal:ENGINE", "ok", "ok", "EPERM"},
		{"unix:ABSTRACT", "ok", "ok", "EPERM"},
		{"remove:in/b.txt", "ok", "ok", "EACCES"},
		{"rename:out/x:out/x.tmp", "ok", "ok", "ok"},
		{"rename:out/keep.txt:out/x", "ok", "ok", "EACCES"},
	}
	for _, mode := range []string{sandboxOff, sandboxWarn, sandboxStrict} {
		t.Run(mode, func(t *testing.T) {
			j := boxed(t, mode)
			put(t, filepath.Join(j.Root, "out/x.old"), "of an earlier run")
			put(t, filepath.Join(j.Root, "out/x"), "of an earlier run")
			put(t, filepath.Join(j.Root, "other.txt"), "#!/bin/sh\n")
			far := t.TempDir() + "/far.txt"
			put(t, far, "far")
			name := listener(t, "unix", "@orrery-test-"+strconv.Itoa(os.Getpid())+"-"+mode)
			names := strings.NewReplacer("FAR", far, "LEAK", strconv.Itoa(leak(t)), "ADDR", listener(t, "tcp", "127.0.0.1:0"),
				"ABSTRACT", name, "ENGINE", strconv.Itoa(os.Getpid()))
			var acts []string
			for _, c := range table {
				acts = append(acts, names.Replace(c.act))
			}
			got, r := touches(t, j, acts...)
			for i, c := range table {
				want := map[string]string{sandboxOff: c.off, sandboxWarn: c.warn, sandboxStrict: c.strict}[mode]
				if want == "EPERM" && sandbox.ABI() < 6 {
					want = "ok"
				}
				if got[acts[i]] != want {
					t.Errorf("%s: got %s, want %s", c.act, got[acts[i]], want)
				}
			}
			if t.Failed() {
				t.Logf("%s %q", r.Reason, r.Notes)
			}
		})
	}
}

func listener(t *testing.T, network, addr string) string {
	ln, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

// leak opens a file and forgets to have it closed on exec.
func leak(t *testing.T) int {
	fd, err := syscall.Open("/etc/passwd", syscall.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	return fd
}

func TestSandboxNetwork(t *testing.T) {
	for _, mode := range []string{sandboxOff, sandboxWarn, sandboxStrict} {
		j := boxed(t, mode)
		j.NoNetwork = true
		got, _ := touches(t, j, "tcp:"+listener(t, "tcp", "127.0.0.1:0"), "udp:127.0.0.1:9")
		for act, what := range got {
			if what != "EACCES" {
				t.Errorf("%s: %s: got %s, want EACCES", mode, act, what)
			}
		}
	}
}

// TestSandboxAdvice: a failure names the path and the line to add, warn does it in a note.
func TestSandboxAdvice(t *testing.T) {
	for _, c := range []struct {
		mode, script, reason, note string
	}{
		{sandboxStrict, "cat in/b.txt", `exit 1; the sandbox refused reading in/b.txt: add inputs = [..., "in/b.txt"]`, ""},
		{sandboxStrict, "echo >made.txt", `; the sandbox refused writing made.txt: add outputs = {..., "made": "made.txt"}`, ""},
		{sandboxStrict, "cat in/b.txt || echo >out/x", "", `the sandbox refused reading in/b.txt, and it succeeded all the same: add inputs = [..., "in/b.txt"]`},
		{sandboxStrict, "cat in/a.txt >out/x; cat out/x; test -d $TMPDIR; echo >$TMPDIR/y; ls $TMPDIR >/dev/null; echo hello >/dev/stderr", "", ""},
		{sandboxWarn, "cat in/a.txt in/b.txt >out/x", "", `undeclared: reading in/b.txt; add inputs = [..., "in/b.txt"]`},
		{sandboxWarn, "cat in/a.txt >out/x", "", ""},
		{sandboxWarn, "cat in/b.txt; echo >out/y; exit 3", "exit 3", `undeclared: reading in/b.txt, writing out/y; add inputs = [..., "in/b.txt"]; add outputs = {..., "y": "out/y"}`},
	} {
		t.Run(c.mode+"/"+c.script, func(t *testing.T) {
			j := boxed(t, c.mode, sh(c.script))
			r := Run(context.Background(), j)
			if !strings.HasSuffix(r.Reason, c.reason) || c.reason == "" && r.State != Succeeded {
				t.Errorf("got %s %q, want %q", r.State, r.Reason, c.reason)
			}
			if got := strings.Join(r.Notes, "\n"); got != c.note {
				t.Errorf("got notes %q, want %q", got, c.note)
			}
		})
	}
}

// TestSandboxOutputs: folders and patterns as outputs.
func TestSandboxOutputs(t *testing.T) {
	j := boxed(t, sandboxStrict, sh(`mkdir -p out/d/e; echo >out/d/e/f; ls out/d/e; mkdir gen/k; echo >gen/k/x.go; ! echo >gen/k/x.c; echo v=1 >>$ORRERY_VALUES; echo >out/x`))
	j.Outputs = append(j.Outputs, Output{Name: "d", Path: "out/d"}, Output{Name: "g", Pattern: &graph.Pattern{Include: []string{"gen/**/*.go"}}})
	j.Values = []string{"v"}
	if r := Run(context.Background(), j); r.State != Succeeded || r.Values["v"] != "1" {
		t.Errorf("got %s %q %v", r.State, r.Reason, r.Notes)
	}
}

// TestSandboxInputs: folders without .git, patterns whose folders can be listed, and programs in the project with their interpreter.
func TestSandboxInputs(t *testing.T) {
	j := boxed(t, sandboxStrict)
	put(t, filepath.Join(j.Root, "src/a.c"), "")
	put(t, filepath.Join(j.Root, "src/b.h"), "")
	put(t, filepath.Join(j.Root, "sub/.git/HEAD"), "")
	put(t, filepath.Join(j.Root, "tool.sh"), "#!/bin/sh\nset -e\nls src sub; cat src/a.c sub/c.txt; ! cat src/b.h; ! cat sub/.git/HEAD; echo >out/x\n")
	j.Steps = []Step{{Argv: []string{"./tool.sh"}}}
	j.Declared.Inputs = []Input{{Path: "sub"}, {Pattern: &graph.Pattern{Include: []string{"src/*.c"}}}}
	var out bytes.Buffer
	j.Stdout, j.Stderr = &out, &out
	if r := Run(context.Background(), j); r.State != Succeeded {
		t.Errorf("got %s %q %v\n%s", r.State, r.Reason, r.Notes, out.String())
	}
}

// TestSandboxMissing: strict fails before anything runs where there is no Landlock; warn runs.
func TestSandboxMissing(t *testing.T) {
	for mode, state := range map[string]State{sandboxStrict: Failed, sandboxWarn: Succeeded, sandboxOff: Succeeded} {
		j := job(t, sh("echo >ran"))
		j.Sandbox = mode
		j.landlock = func() int { return 0 }
		r := Run(context.Background(), j)
		_, err := os.Stat(filepath.Join(j.Root, "ran"))
		if r.State != state || (err == nil) != (state == Succeeded) {
			t.Errorf("%s: got %s %q, %v", mode, r.State, r.Reason, err)
		}
		if state == Failed {
			want(t, r, Failed, "this kernel has no Landlock (it needs Linux 5.13, and landlock in the lsm= list)")
		}
	}
}

// TestSandboxIgnored: whoever starts the program may not know of sandboxes. It does not run then.
func TestSandboxIgnored(t *testing.T) {
	j := boxed(t, sandboxStrict, sh("sleep 100"))
	j.Spawn = func(s *proc.Spec) (Process, error) { // as a keeper that knows nothing of it would
		without := *s
		without.Sandbox, without.Watch = nil, nil
		return proc.Start(&without)
	}
	want(t, Run(context.Background(), j), Failed, "knows of no sandbox")
}

// TestSandboxKey: what refuses is in the key, what only looks is not.
func TestSandboxKey(t *testing.T) {
	keys := map[string][]string{}
	for _, mode := range []string{"", sandboxOff, sandboxWarn, sandboxStrict, "closed"} {
		j := &Job{Name: "t", Root: "/", Dir: "/", Sandbox: mode}
		if mode == "closed" {
			j.Sandbox, j.NoNetwork = "", true
		}
		key, _, err := (&Caching{}).Lines(j, &KeyInput{})
		if err != nil {
			t.Fatal(err)
		}
		keys[key] = append(keys[key], mode)
	}
	if got := fmt.Sprint(slices.SortedFunc(maps.Values(keys), func(a, b []string) int { return len(b) - len(a) })); len(keys) != 3 || !strings.HasPrefix(got, "[[ off warn]") {
		t.Errorf("got %s", got)
	}
}

// TestSandboxUser: root runs the task as somebody else, confined as well.
func TestSandboxUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run a task as another user")
	}
	j := boxed(t, sandboxStrict, sh("id -u; cat in/a.txt; echo >$TMPDIR/y; cat in/b.txt"))
	for dir := j.Root; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		os.Chmod(dir, 0o755)
	}
	j.User = "nobody"
	r := Run(context.Background(), j)
	want(t, r, Failed, `add inputs = [..., "in/b.txt"]`)
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "orrery-tmp-*")); len(left) > 0 {
		t.Logf("left: %v", left) // of other tests, perhaps
	}
}

// BenchmarkSandbox is what each mode costs a trivial task, and one that opens 1,000 files.
func BenchmarkSandbox(b *testing.B) {
	for _, work := range []struct {
		name string
		step Step
	}{{"true", Step{Argv: []string{"/bin/true"}}}, {"opens", sh("i=0; while [ $i -lt 1000 ]; do : <in/a.txt; i=$((i+1)); done")}} {
		for _, mode := range []string{sandboxOff, sandboxWarn, sandboxStrict} {
			b.Run(work.name+"/"+mode, func(b *testing.B) {
				j := boxed(b, mode, work.step)
				j.Outputs = nil
				for b.Loop() {
					if r := Run(context.Background(), j); r.State != Succeeded {
						b.Fatal(r.Reason)
					}
				}
			})
		}
	}
}
