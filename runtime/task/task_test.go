package task

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"orrery/lang/graph"
	"orrery/runtime/proc"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == proc.Verb {
		os.Exit(proc.Shim(os.Args[2:]))
	}
	if len(os.Args) > 2 && os.Args[1] == "touch" {
		os.Exit(toucher(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func sh(script string, args ...string) Step {
	return Step{Argv: append([]string{"/bin/sh", "-euc", script, "sh"}, args...)}
}

// job is a job in a new project.
func job(t testing.TB, steps ...Step) *Job {
	dir := t.TempDir()
	return &Job{Name: "t", Steps: steps, Root: dir, Dir: dir, Env: []string{"PATH=" + os.Getenv("PATH")}, Grace: 5 * time.Second,
		Marker: "test-" + strconv.Itoa(os.Getpid()) + "/" + strings.ReplaceAll(t.Name(), "/", ".")}
}

func want(t *testing.T, r Result, state State, reason string) {
	t.Helper()
	if r.State != state || !strings.Contains(r.Reason, reason) || reason == "" && r.Reason != "" {
		t.Fatalf("got %s, %q, want %s, %q", r.State, r.Reason, state, reason)
	}
}

func TestEnds(t *testing.T) {
	for _, c := range []struct {
		name   string
		steps  []Step
		state  State
		reason string
	}{
		{"ok", []Step{sh("exit 0")}, Succeeded, ""},
		{"code", []Step{sh("exit 2")}, Failed, "exit 2"},
		{"signal", []Step{sh("kill -9 $$")}, Failed, "killed by SIGKILL"},
		{"steps", []Step{sh("echo 1 >a"), sh("cat a >b"), sh("test -s b")}, Succeeded, ""},
		{"second step", []Step{sh("true"), sh("exit 3"), sh("touch never")}, Failed, "step 2 of 3 (/bin/sh): exit 3"},
		{"missing program", []Step{{Argv: []string{"no-such-program"}}}, Failed, `cannot find the program "no-such-program"`},
		{"own env of a step", []Step{{Argv: []string{"/bin/sh", "-c", `test "$A$B" = 12`}, Env: []string{"A=1", "B=2"}}}, Succeeded, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := job(t, c.steps...)
			r := Run(t.Context(), j)
			want(t, r, c.state, c.reason)
			if _, err := os.Stat(filepath.Join(j.Root, "never")); err == nil {
				t.Error("a step ran after a failure")
			}
			if (r.Exit == nil) != (c.name == "missing program") || r.Ended.Before(r.Started) || r.Tries != 1 {
				t.Errorf("got %+v", r)
			}
		})
	}
	j := job(t, sh("true"))
	j.Dir = filepath.Join(j.Root, "absent")
	r := Run(t.Context(), j)
	want(t, r, Failed, "absent")
	if !errors.Is(r.Err, os.ErrNotExist) {
		t.Errorf("got %v", r.Err)
	}
}

func TestRetries(t *testing.T) {
	j := job(t, sh("echo x >>tries; test $(wc -l <tries) -eq 3"))
	j.Retries = 1
	r := Run(t.Context(), j)
	want(t, r, Failed, "exit 1")
	if r.Tries != 2 {
		t.Errorf("got %d tries, want 2", r.Tries)
	}
	want(t, Run(t.Context(), j), Succeeded, "")
}

func TestOutputs(t *testing.T) {
	j := job(t, sh("echo x >bin/deep/shop; mkdir dist; echo y >gen/a.txt"))
	j.Outputs = []Output{{Name: "bin", Path: "bin/deep/shop"}, {Name: "dist", Path: filepath.Join(j.Root, "dist")},
		{Name: "gen", Pattern: &graph.Pattern{Include: []string{"gen/*.txt"}}}}
	want(t, Run(t.Context(), j), Succeeded, "")
	os.RemoveAll(filepath.Join(j.Root, "dist"))
	j.Outputs = append(j.Outputs, Output{Name: "no", Path: "no/thing"}, Output{Name: "none", Pattern: &graph.Pattern{Include: []string{"gen/**/*.md", "gen/*"}, Exclude: []string{"gen/*.txt"}}})
	want(t, Run(t.Context(), j), Failed, "declared output no/thing is missing; declared output none: no file matches gen/**/*.md, gen/*")
	for _, bad := range []string{"../x", "/etc/x", ".", "a/../../x"} {
		j.Outputs = []Output{{Name: "bad", Path: bad}}
		want(t, Run(t.Context(), j), Failed, "want a path inside the project")
	}
	// A folder that leads out of the project is not followed.
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(j.Root, "link")); err != nil {
		t.Fatal(err)
	}
	j.Outputs = []Output{{Name: "bad", Path: "link/sub/x"}}
	if r := Run(t.Context(), j); r.State != Failed {
		t.Errorf("got %+v", r)
	}
	if entries, _ := os.ReadDir(outside); len(entries) > 0 {
		t.Errorf("got %v outside of the project", entries)
	}
}

func TestSkips(t *testing.T) {
	j := job(t, sh("echo ran >>log; echo x >made"))
	log := func() int {
		b, _ := os.ReadFile(filepath.Join(j.Root, "log"))
		return bytes.Count(b, []byte("\n"))
	}
	j.Creates = []string{filepath.Join(j.Root, "made"), filepath.Join(j.Root, "log")}
	want(t, Run(t.Context(), j), Succeeded, "")
	want(t, Run(t.Context(), j), Skipped, "what it creates exists")
	os.Remove(filepath.Join(j.Root, "made"))
	want(t, Run(t.Context(), j), Succeeded, "")
	j.Creates = nil
	ok, no := sh("echo noise; exit 0"), sh("echo noise >&2; exit 1")
	var out bytes.Buffer
	j.Stdout, j.Stderr = &out, &out
	j.Status = &ok
	want(t, Run(t.Context(), j), Skipped, "its status is 0")
	j.Status = &no
	want(t, Run(t.Context(), j), Succeeded, "")
	if log() != 3 || out.Len() != 0 {
		t.Errorf("got %d runs and %q, want 3 and no noise", log(), out.String())
	}
}

func TestValues(t *testing.T) {
	hostile := "a=b \"q\" 'r' $HOME \\ \t é\xff\r"
	j := job(t, Step{Argv: []string{"/bin/sh", "-euc", `printf 'a=%s\nempty=\nn<<E\n%s\nE\n' "$1" "$2" >"$ORRERY_VALUES"`, "sh", hostile, "l1\n\nl2"}})
	j.Values = []string{"a", "empty", "n"}
	j.Memo = filepath.Join(j.Root, "memo/t.json")
	check := func(r Result) {
		t.Helper()
		if r.Values["a"] != hostile || r.Values["n"] != "l1\n\nl2" || r.Values["empty"] != "" || len(r.Values) != 3 {
			t.Errorf("got %q", r.Values)
		}
	}
	r := Run(t.Context(), j)
	want(t, r, Succeeded, "")
	check(r)
	ok := sh("exit 0")
	j.Status = &ok
	r = Run(t.Context(), j)
	want(t, r, Skipped, "status")
	check(r)
	j.Memo = ""
	want(t, Run(t.Context(), j), Succeeded, "") // a skip would have no values
	j.Values = []string{"a", "missing", "other"}
	want(t, Run(t.Context(), j), Failed, "declared value missing was not written to $ORRERY_VALUES; declared value other was not written to $ORRERY_VALUES; "+
		"wrote the value empty, which it does not declare; add it to values; wrote the value n")
	j.Steps = []Step{sh(`echo garbage >"$ORRERY_VALUES"`)}
	want(t, Run(t.Context(), j), Failed, "$ORRERY_VALUES, line 1: got \"garbage\", want name=value")
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), "orrery-values-*"))
	for _, f := range left {
		t.Errorf("%s is left", f)
	}
}

func TestParseValues(t *testing.T) {
	for text, want := range map[string]string{"x": "1: got", "=1": "name of a value", "a b=1": "name of a value", "a=1\nb<<E\nc": "2: want a line with \"E\"", "b<<\n\n": "1: want a line", "a=\x00": "NUL"} {
		if v, err := parseValues([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v, want %q", text, v, err, want)
		}
	}
	v, err := parseValues([]byte("\na=1\na=2\nb<<E\nE\nc==<<\nd<<X=Y\n\nX=Y\n"))
	if err != nil || v["a"] != "2" || v["b"] != "" || v["c"] != "=<<" || v["d"] != "" || len(v) != 4 {
		t.Errorf("got %q, %v", v, err)
	}
}

func FuzzParseValues(f *testing.F) {
	f.Add([]byte("a=1\nb<<E\nx\nE\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		values, err := parseValues(text)
		if err != nil {
			return
		}
		var again []byte
		for k, v := range values {
			end := "E"
			for strings.Contains("\n"+v+"\n", "\n"+end+"\n") {
				end += "E"
			}
			again = append(again, k+"<<"+end+"\n"+v+"\n"+end+"\n"...)
		}
		round, err := parseValues(again)
		if err != nil || len(round) != len(values) {
			t.Fatalf("%q: got %q, %v", again, round, err)
		}
		for k, v := range values {
			if round[k] != v {
				t.Fatalf("%s: got %q, want %q", k, round[k], v)
			}
		}
	})
}

// TestMemoBytes: kept values need not be UTF-8.
func TestMemoBytes(t *testing.T) {
	j := &Job{Values: []string{"v"}, Memo: filepath.Join(t.TempDir(), "x/memo")}
	if err := j.remember(map[string]string{"v": "\xff\x00"}); err != nil {
		t.Fatal(err)
	}
	if v, ok := j.recall(); !ok || v["v"] != "\xff\x00" {
		t.Errorf("got %q, %v", v, ok)
	}
	j.Values = append(j.Values, "new")
	if _, ok := j.recall(); ok {
		t.Error("a value is missing, but recall is content")
	}
}

func TestOutput(t *testing.T) {
	j := job(t, sh(`printf 'a\n'; printf 'b\n' >&2; printf 'no newline'`))
	var both, out, errs bytes.Buffer
	j.Stdout, j.Stderr = &both, &both
	want(t, Run(t.Context(), j), Succeeded, "")
	j.Stdout, j.Stderr = &out, &errs
	want(t, Run(t.Context(), j), Succeeded, "")
	if both.String() != "a\nb\nno newline" || out.String() != "a\nno newline" || errs.String() != "b\n" {
		t.Errorf("got %q, %q, %q", &both, &out, &errs)
	}
	// A writer that breaks does not break the task.
	j.Steps = []Step{sh("i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done")}
	j.Stdout = broken{}
	want(t, Run(t.Context(), j), Succeeded, "")
	// A big output is copied to its end.
	out.Reset()
	j.Stdout = &out
	want(t, Run(t.Context(), j), Succeeded, "")
	if out.Len() != 3000*41 {
		t.Errorf("got %d bytes, want %d", out.Len(), 3000*41)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	j.Stdout, j.Steps = f, []Step{sh("echo file")}
	want(t, Run(t.Context(), j), Succeeded, "")
	if got, _ := os.ReadFile(f.Name()); string(got) != "file\n" {
		t.Errorf("got %q", got)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken") }

// pids reads the numbers that a test program wrote.
func pids(t *testing.T, file string) []int {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []int
	for _, s := range strings.Fields(string(b)) {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

// gone waits until none of the processes runs.
func gone(t *testing.T, pids []int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		alive := 0
		for _, p := range pids {
			stat, err := os.ReadFile("/proc/" + strconv.Itoa(p) + "/stat")
			if err == nil && !bytes.Contains(stat, []byte(") Z ")) {
				alive = p
			}
		}
		if alive == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("process %d still runs", alive)
		}
	}
}

func waitFor(t *testing.T, file string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if st, err := os.Stat(file); err == nil && st.Size() > 0 {
			return
		}
	}
	t.Fatalf("%s does not appear", file)
}

// tree is a program with a child, and a grandchild in a session of its own, which all ignore TERM. The last one writes "up".
const tree = `trap '' TERM
echo $$ >>pids
sh -c 'trap "" TERM; echo $$ >>pids; sleep 300' &
setsid sh -c 'trap "" TERM; echo $$ >>pids; echo 1 >up; sleep 300' &
wait; sleep 300`

func TestTimeout(t *testing.T) {
	j := job(t, sh(tree))
	j.Timeout, j.Grace = 700*time.Millisecond, 100*time.Millisecond
	r := Run(t.Context(), j)
	want(t, r, Failed, "timed out after 700ms")
	if r.Exit == nil || r.Exit.Signal != syscall.SIGKILL {
		t.Errorf("got %v", r.Exit)
	}
	gone(t, pids(t, filepath.Join(j.Root, "pids")))
	// A program that ends well when told to has failed all the same.
	j = job(t, sh("trap 'exit 0' TERM; while :; do sleep 0.01; done"))
	j.Timeout = 200 * time.Millisecond
	want(t, Run(t.Context(), j), Failed, "timed out after 200ms")
	// The status has the time of the task.
	slow := sh("sleep 300")
	j = job(t, sh("true"))
	j.Status, j.Timeout = &slow, 100*time.Millisecond
	want(t, Run(t.Context(), j), Succeeded, "")
}

func TestCancel(t *testing.T) {
	j := job(t, sh(tree))
	j.Grace, j.Retries = 50*time.Millisecond, 3
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan Result)
	go func() { done <- Run(ctx, j) }()
	waitFor(t, filepath.Join(j.Root, "up"))
	cancel(errors.New("another task failed"))
	r := <-done
	want(t, r, Cancelled, "cancelled: another task failed")
	gone(t, pids(t, filepath.Join(j.Root, "pids")))
	want(t, Run(ctx, j), Cancelled, "cancelled")
}

// TestFailureLeavesNothing: what a failed program left running is ended.
func TestFailureLeavesNothing(t *testing.T) {
	j := job(t, sh("sleep 300 & echo $! >pids; exit 4"))
	want(t, Run(t.Context(), j), Failed, "exit 4")
	gone(t, pids(t, filepath.Join(j.Root, "pids")))
}

// TestBackground: what a good program left running neither hangs the task nor dies, and its last words are not lost.
func TestBackground(t *testing.T) {
	j := job(t, sh("sleep 300 & echo $! >pids; echo last"))
	var out bytes.Buffer
	j.Stdout = &out
	start := time.Now()
	want(t, Run(t.Context(), j), Succeeded, "")
	if d := time.Since(start); d > 20*time.Second || out.String() != "last\n" {
		t.Errorf("got %q after %v", out.String(), d)
	}
	for _, pid := range pids(t, filepath.Join(j.Root, "pids")) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Errorf("the background program is gone: %v", err)
		}
	}
}

func TestAsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	j := job(t, sh("id -un >out/who; echo v=1 >$ORRERY_VALUES"))
	// The folders of the test belong to root: the user must be able to get there.
	for d := j.Root; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o711)
	}
	j.User, j.Values, j.Outputs = "nobody", []string{"v"}, []Output{{Name: "who", Path: "out/who"}}
	want(t, Run(t.Context(), j), Succeeded, "")
	if got, _ := os.ReadFile(filepath.Join(j.Root, "out/who")); string(got) != "nobody\n" {
		t.Errorf("got %q", got)
	}
}

func TestArgumentsByteExact(t *testing.T) {
	args := []string{"", "a\nb", "$HOME", "${X}", "%n", ";", `\;`, `"`, "'", "é", "\x1b[1m", strings.Repeat("x", 5000), "\xff"}
	j := job(t, sh(`printf '%s\0' "$@"`, args...))
	var out bytes.Buffer
	j.Stdout = &out
	want(t, Run(t.Context(), j), Succeeded, "")
	if got := strings.Join(args, "\x00") + "\x00"; out.String() != got {
		t.Errorf("got %q, want %q", out.String(), got)
	}
}
