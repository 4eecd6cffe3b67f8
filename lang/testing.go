package lang

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"orrery/lang/graph"
)

// TestOptions says how tests of factories run.
type TestOptions struct {
	Run    *regexp.Regexp                  // only tests whose name matches; nil: all
	Update bool                            // write snapshots instead of comparing
	Std    fs.FS                           // the libraries of @std
	Libs   Libraries                       // finds external libraries; nil: there are none
	Print  func(pos graph.Pos, msg string) // receives print(), from several goroutines; nil: dropped
}

// TestResult is how one test ended.
type TestResult struct {
	File     string        // as given
	Name     string        // of the function; "" when the file itself has mistakes
	Failures []Diagnostic  // none: passed
	Duration time.Duration // of the test
}

// Test runs the functions test_*(t) of files named *_test.star, several files
// at a time. A file is a path, or @std//x_test.star. Results come in order of
// files, then of definition.
func Test(ctx context.Context, files []string, opt TestOptions) []TestResult {
	results := make([][]TestResult, len(files))
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for i, file := range files {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			results[i] = testFile(ctx, file, opt)
		})
	}
	wg.Wait()
	return slices.Concat(results...)
}

// testFile evaluates a file and runs its tests.
func testFile(ctx context.Context, file string, opt TestOptions) []TestResult {
	r, from, err := newTestRun(file, opt)
	if err != nil {
		return []TestResult{{File: file, Failures: []Diagnostic{{Code: "cannot-read", File: file, Message: err.Error()}}}}
	}
	stop := r.limit(ctx)
	defer stop()
	m := r.modules.open(r, from, true)
	var globals starlark.StringDict
	if m != nil && len(r.errors) == 0 {
		r.modules.loading++
		globals, err = m.prog.Init(r.thread, r.globals)
		r.modules.loading--
		if err != nil {
			r.evalError(err)
		}
	}
	if len(r.errors) > 0 {
		return []TestResult{{File: file, Failures: r.sorted()}}
	}
	globals.Freeze()
	var results []TestResult
	for _, st := range m.file.Stmts {
		def, ok := st.(*syntax.DefStmt)
		if !ok || !strings.HasPrefix(def.Name.Name, "test_") || opt.Run != nil && !opt.Run.MatchString(def.Name.Name) {
			continue
		}
		t := &tester{run: r, name: def.Name.Name, file: file, update: opt.Update}
		begin := time.Now()
		r.errors, r.warnings, r.later, r.decl = nil, nil, nil, newDecls()
		if _, err := starlark.Call(r.thread, globals[def.Name.Name], starlark.Tuple{t}, nil); err != nil {
			r.evalError(err)
		}
		results = append(results, TestResult{File: file, Name: def.Name.Name, Failures: r.errors, Duration: time.Since(begin)})
	}
	return results
}

// newTestRun prepares the evaluation of a test file: the project is the folder
// of the nearest services.star, else that of the file.
func newTestRun(file string, opt TestOptions) (*run, ref, error) {
	if name, ok := strings.CutPrefix(file, string(inStd)); ok {
		dir, err := os.Getwd()
		if err != nil {
			return nil, ref{}, err
		}
		r, err := newRun(Options{File: filepath.Join(dir, name), Std: opt.Std, Libs: opt.Libs, Print: opt.Print, Host: testHost()})
		return r, ref{inStd, name}, err
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, ref{}, err
	}
	root := filepath.Dir(abs)
	for dir := root; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "services.star")); err == nil {
			root = dir
			break
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	r, err := newRun(Options{File: filepath.Join(root, "services.star"), Std: opt.Std, Libs: opt.Libs, Print: opt.Print, Host: testHost()})
	if err != nil {
		return nil, ref{}, err
	}
	rel, err := filepath.Rel(root, abs)
	r.main = filepath.ToSlash(rel)
	return r, ref{inProject, r.main}, err
}

// testHost is the same on every machine.
func testHost() *Host { return &Host{OS: "linux", Arch: "amd64", CPUs: 4} }

// tester is the argument of a test.
type tester struct {
	run       *run
	name      string
	file      string
	update    bool
	snapshots int
}

func (t *tester) String() string        { return "t" }
func (t *tester) Type() string          { return "tester" }
func (t *tester) Freeze()               {}
func (t *tester) Truth() starlark.Bool  { return true }
func (t *tester) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: tester") }
func (t *tester) AttrNames() []string {
	return []string{"contains", "eq", "fails", "ne", "plan", "snapshot", "true"}
}

func (t *tester) Attr(name string) (starlark.Value, error) {
	f := map[string]builtinFunc{
		"contains": t.contains, "eq": t.compare(true), "ne": t.compare(false), "fails": t.fails,
		"plan": t.plan, "snapshot": t.snapshot, "true": t.truth,
	}[name]
	if f == nil {
		return nil, nil
	}
	return starlark.NewBuiltin("t."+name, f), nil
}

func (t *tester) fail(format string, args ...any) (starlark.Value, error) {
	t.run.report(Diagnostic{Code: "assertion", Message: fmt.Sprintf(format, args...)}, 1, "")
	return starlark.None, nil
}

func (t *tester) compare(equal bool) builtinFunc {
	return func(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		var got, want starlark.Value
		if err := starlark.UnpackArgs(b.Name(), args, kwargs, "got", &got, "want", &want); err != nil {
			return nil, err
		}
		same, err := starlark.Equal(got, want)
		if s, isText := want.(starlark.String); isText && !same {
			if _, isRef := got.(reference); isRef {
				same = got.String() == string(s)
			}
		}
		switch {
		case err != nil:
			return nil, err
		case equal && !same:
			return t.fail("got %s, want %s", got, want)
		case !equal && same:
			return t.fail("got %s, want something else", got)
		}
		return starlark.None, nil
	}
}

func (t *tester) truth(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var cond starlark.Value
	msg := "got false, want true"
	if err := starlark.UnpackArgs(b.Name(), args, kwargs, "cond", &cond, "msg?", &msg); err != nil {
		return nil, err
	}
	if !cond.Truth() {
		return t.fail("%s", msg)
	}
	return starlark.None, nil
}

func (t *tester) contains(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var in, what starlark.Value
	if err := starlark.UnpackArgs(b.Name(), args, kwargs, "in", &in, "what", &what); err != nil {
		return nil, err
	}
	found, err := starlark.Binary(syntax.IN, what, in)
	if err != nil {
		return nil, err
	}
	if !found.Truth() {
		return t.fail("got %s, want %s in it", in, what)
	}
	return starlark.None, nil
}

// fails calls a function that must fail with a message that matches.
func (t *tester) fails(thread *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var fn starlark.Callable
	var pattern string
	if err := starlark.UnpackArgs(b.Name(), args, kwargs, "fn", &fn, "pattern?", &pattern); err != nil {
		return nil, err
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	r := t.run
	before := len(r.errors)
	if _, err := starlark.Call(thread, fn, nil, nil); err != nil {
		r.evalError(err)
	}
	var got []string
	for _, d := range r.errors[before:] {
		got = append(got, d.Message+"; "+d.Hint)
	}
	r.errors = r.errors[:before]
	switch {
	case len(got) == 0:
		return t.fail("got no failure, want one that matches %q", pattern)
	case !re.MatchString(strings.Join(got, "\n")):
		return t.fail("got %q, want a failure that matches %q", strings.Join(got, "\n"), pattern)
	}
	return starlark.None, nil
}

// snapshot compares a value with the file written by an earlier -update.
func (t *tester) snapshot(thread *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var v starlark.Value
	if err := starlark.UnpackArgs(b.Name(), args, kwargs, "value", &v); err != nil {
		return nil, err
	}
	text, err := snapshotText(thread, v)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(t.file, string(inStd)) {
		return nil, fmt.Errorf("t.snapshot: an embedded test has no folder for snapshots")
	}
	t.snapshots++
	path := filepath.Join(strings.TrimSuffix(t.file, ".star")+".snap", fmt.Sprintf("%s-%d.json", t.name, t.snapshots))
	if t.update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		return starlark.None, os.WriteFile(path, []byte(text), 0o644)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		return t.fail("there is no snapshot %s: run orrery test -update", path)
	}
	if string(want) != text {
		line, got, old := firstDifference(text, string(want))
		return t.fail("%s:%d: got %q, want %q; orrery test -update accepts it", path, line, got, old)
	}
	return starlark.None, nil
}

func firstDifference(got, want string) (line int, g, w string) {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(a), len(b)) {
		g, w = "", ""
		if i < len(a) {
			g = a[i]
		}
		if i < len(b) {
			w = b[i]
		}
		if g != w {
			return i + 1, g, w
		}
	}
	return 0, "", ""
}
