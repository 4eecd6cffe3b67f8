package lang

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

// inputName is how positions name what is typed.
const inputName = "<input>"

// Repl evaluates what is typed against a project: its names are in scope, with
// the words of the language. The arguments of what is declared are checked, the
// graph as a whole is not, and nothing is started. It is used by one goroutine.
type Repl struct {
	run *run
	env starlark.StringDict
	own []string // names of the project file
}

// OpenRepl evaluates the project file, if there is one: Options.File may name a
// file that does not exist, in a folder that does. The error is Errors when the
// files have mistakes.
func OpenRepl(ctx context.Context, opt Options, project bool) (*Repl, error) {
	r, err := newRun(opt)
	if err != nil {
		return nil, err
	}
	repl := &Repl{run: r, env: maps.Clone(r.globals)}
	if !project {
		return repl, nil
	}
	defer r.limit(ctx)()
	m := r.modules.open(r, ref{kind: inProject, path: r.main}, true)
	if m != nil && len(r.errors) == 0 {
		globals, err := m.prog.Init(r.thread, r.globals)
		if err != nil {
			r.evalError(err)
		}
		globals.Freeze()
		maps.Copy(repl.env, globals)
		repl.own = globals.Keys()
		for _, st := range m.file.Stmts { // what a file loads is local to it, and here wanted too
			if ld, ok := st.(*syntax.LoadStmt); ok && err == nil {
				repl.loaded(m.ref, ld)
			}
		}
	}
	if len(r.errors) > 0 {
		return nil, r.sorted()
	}
	return repl, nil
}

func (p *Repl) loaded(from ref, ld *syntax.LoadStmt) {
	f, err := resolveLoad(ld.ModuleName(), from)
	if err != nil {
		return
	}
	m := p.run.modules.byKey[f.String()]
	if m == nil {
		return
	}
	for i, to := range ld.To {
		if v, ok := m.globals[ld.From[i].Name]; ok {
			p.env[to.Name] = v
			p.own = append(p.own, to.Name)
		}
	}
}

// Names are those that the project and the input have defined, sorted.
func (p *Repl) Names() []string {
	names := slices.Clone(p.own)
	for name := range p.env {
		if !p.run.globals.Has(name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Words are all names that can be written, sorted.
func (p *Repl) Words() []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(p.env.Keys(), starlark.Universe.Keys()))))
}

// Eval reads one statement or expression, of several lines where it needs them,
// and carries it out. text is the value of an expression, and empty where there
// is none to show. readLine gives a line with its end, and io.EOF when there is
// no more, which Eval returns then. Any other error is Errors.
func (p *Repl) Eval(ctx context.Context, readLine func() ([]byte, error)) (text string, err error) {
	r := p.run
	m := &module{ref: ref{inProject, inputName}}
	r.modules.byKey[inputName] = m
	ended := false
	next := func() ([]byte, error) {
		line, err := readLine()
		ended = ended || errors.Is(err, io.EOF) && len(line) == 0 && len(m.lines) == 0
		if err == nil || len(line) > 0 {
			m.lines = append(m.lines, strings.TrimRight(string(line), "\n"))
		}
		return line, err
	}
	r.errors, r.warnings = nil, nil
	defer func() { r.errors, r.warnings = nil, nil }()
	opts := &syntax.FileOptions{Set: true, TopLevelControl: true, GlobalReassign: true, LoadBindsGlobally: true}
	f, err := opts.ParseCompoundStmt(inputName, next)
	if ended {
		return "", io.EOF
	}
	if err != nil {
		r.syntaxError(m, err)
		return "", r.sorted()
	}
	m.file = f
	r.thread.Uncancel()
	r.opt.MaxSteps += r.thread.ExecutionSteps() // the budget is that of one input
	stop := r.limit(ctx)
	text, err = p.exec(opts, f)
	stop()
	r.opt.MaxSteps -= r.thread.ExecutionSteps()
	r.opt.MaxSteps = max(r.opt.MaxSteps, DefaultMaxSteps)
	if err != nil {
		r.evalError(err)
	}
	if len(r.errors) > 0 {
		return "", r.sorted()
	}
	return text, nil
}

func (p *Repl) exec(opts *syntax.FileOptions, f *syntax.File) (string, error) {
	r := p.run
	if len(f.Stmts) == 1 {
		if e, ok := f.Stmts[0].(*syntax.ExprStmt); ok {
			v, err := starlark.EvalExprOptions(opts, r.thread, e.X, p.env)
			if err != nil || v == starlark.None {
				return "", p.resolved(err)
			}
			return v.String(), nil
		}
	}
	return "", p.resolved(starlark.ExecREPLChunk(f, r.thread, p.env))
}

// resolved records the undefined names that an error is about.
func (p *Repl) resolved(err error) error {
	var ev *starlark.EvalError
	if err == nil || errors.As(err, &ev) {
		return err
	}
	before := len(p.run.errors)
	p.run.resolveErrors(err)
	for i := before; i < len(p.run.errors); i++ {
		if p.run.errors[i].File == "" {
			p.run.errors[i].File = inputName
		}
	}
	return nil
}
