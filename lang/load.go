package lang

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"go.starlark.net/starlark"

	"orrery/lang/graph"
)

// The budget of an evaluation, unless Options says otherwise.
const (
	DefaultMaxSteps = 200_000_000
	DefaultTimeout  = 20 * time.Second
)

// Host is what the files can see of the machine.
type Host struct {
	OS, Arch string
	CPUs     int
	CI       bool
}

// Options says what to load and with what.
type Options struct {
	File     string                           // the project file
	Params   map[string]string                // values of --set
	Getenv   func(name string) (string, bool) // looks up ORRERY_PARAM_*; nil: none
	Print    func(pos graph.Pos, msg string)  // receives print(); nil: dropped
	MaxSteps uint64                           // 0: DefaultMaxSteps
	Timeout  time.Duration                    // 0: DefaultTimeout
	Std      fs.FS                            // the libraries of @std
	Libs     Libraries                        // finds external libraries; nil: there are none
	Version  string                           // of this binary, for project(requires =); "": satisfies all
	Host     *Host                            // nil: this machine
	Lint     bool                             // warn about style, too: names that are not used, code that is not reached ...
}

// Library is an external library, as load("@name//x.star") reads it.
type Library struct {
	FS   fs.FS    // its files
	Dir  string   // absolute folder of these files
	From []string // absolute paths of files that say which library this is; they need not exist
}

// Libraries finds the external library of a name for the project at root, an
// absolute folder. It fetches nothing. An error may have a method Hint() string.
type Libraries func(root, name string) (*Library, error)

// File is something that the evaluation has read.
type File struct {
	Path   string `json:"path"`   // absolute; a module such as @std//postgres.star; or, of files(), the pattern
	Digest string `json:"digest"` // of the content; of files(), of the list of names
	Kind   string `json:"kind"`   // "source", "read" or "pattern"
}

// Project is a loaded project.
type Project struct {
	Graph    *graph.Graph
	Warnings []Diagnostic
	Later    []Diagnostic // arguments given that are not yet effective
	Files    []File       // all that was read, in order; a change of one asks for a new Load
	Root     string       // absolute folder of the project file, links resolved
	File     string       // absolute path of the project file
}

// Load evaluates a project file. The error is Errors when the files have
// mistakes, and another error when the project file cannot be read. The graph
// depends only on the files, the parameters and the host.
func Load(ctx context.Context, opt Options) (*Project, error) {
	r, err := newRun(opt)
	if err != nil {
		return nil, err
	}
	stop := r.limit(ctx)
	defer stop()
	r.project()
	g := r.finish()
	if len(r.errors) > 0 {
		return nil, r.sorted()
	}
	return &Project{
		Graph: g, Warnings: slices.DeleteFunc(r.warnings, r.modules.silenced), Later: r.later, Files: r.inputs.list,
		Root: r.root, File: filepath.Join(r.root, r.main),
	}, nil
}

// newRun prepares an evaluation.
func newRun(opt Options) (*run, error) {
	path, err := filepath.Abs(opt.File)
	if err != nil {
		return nil, fmt.Errorf("cannot load %s: %w", opt.File, err)
	}
	root, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("cannot load %s: %w", opt.File, err)
	}
	if opt.Host == nil {
		ci := false
		if opt.Getenv != nil {
			v, ok := opt.Getenv("CI")
			ci = ok && v != "" && v != "false" && v != "0"
		}
		opt.Host = &Host{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), CI: ci}
	}
	if opt.MaxSteps == 0 {
		opt.MaxSteps = DefaultMaxSteps
	}
	if opt.Timeout == 0 {
		opt.Timeout = DefaultTimeout
	}
	r := &run{opt: opt, root: root, main: filepath.Base(path), decl: newDecls()}
	r.modules.byKey, r.modules.libs = map[string]*module{}, map[string]*Library{}
	r.inputs.seen = map[string]bool{}
	r.thread = &starlark.Thread{Name: r.main, Load: r.load}
	r.thread.Print = func(_ *starlark.Thread, msg string) {
		if opt.Print != nil {
			pos, _, _ := r.where(1)
			opt.Print(pos, msg)
		}
	}
	r.globals = r.predeclared()
	return r, nil
}

// limit starts the budget of the evaluation; stop ends it.
func (r *run) limit(ctx context.Context) (stop func()) {
	r.thread.SetMaxExecutionSteps(r.opt.MaxSteps)
	r.thread.OnMaxSteps = func(t *starlark.Thread) {
		t.Cancel(fmt.Sprintf("evaluation took more than %d steps", r.opt.MaxSteps))
	}
	timer := time.AfterFunc(r.opt.Timeout, func() {
		r.thread.Cancel(fmt.Sprintf("evaluation took longer than %s", r.opt.Timeout))
	})
	undo := context.AfterFunc(ctx, func() { r.thread.Cancel("evaluation was interrupted") })
	return func() { timer.Stop(); undo() }
}

// sorted returns the errors in order of place: the project file first.
func (r *run) sorted() Errors {
	errs := Errors(r.errors)
	slices.SortStableFunc(errs, func(a, b Diagnostic) int {
		if c := strings.Compare(a.File, b.File); c != 0 {
			if a.File == r.main {
				return -1
			}
			if b.File == r.main {
				return 1
			}
			return c
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		if a.Col != b.Col {
			return a.Col - b.Col
		}
		return strings.Compare(a.Message, b.Message)
	})
	return slices.CompactFunc(errs, func(a, b Diagnostic) bool {
		return a.File == b.File && a.Line == b.Line && a.Col == b.Col && a.Message == b.Message
	})
}
