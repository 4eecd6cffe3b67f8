package lang

import (
	"errors"
	"fmt"
	"strings"

	"go.starlark.net/starlark"

	"orrery/lang/graph"
)

// run is one evaluation. It is used by one goroutine.
type run struct {
	opt     Options
	root    string // absolute folder of the project
	main    string // name of the project file in it
	text    []byte // of the project file; nil: it is read from the disk
	thread  *starlark.Thread
	globals starlark.StringDict

	modules modules
	inputs  inputs
	decl    *decls

	errors   []Diagnostic
	warnings []Diagnostic
	later    []Diagnostic
}

// decls is what has been declared so far.
type decls struct {
	graph.Decl
	prefix    string // of include(), "" or ended by a slash
	broken    map[string]bool
	tools     map[string]*tool
	owners    map[string][]graph.Ref // config file -> the services that took it
	locals    map[any]Diagnostic     // objects that hold self and are not taken yet
	peers     map[string]Diagnostic  // peer() by name, with its place
	used      map[string]bool        // parameters of --set that a param() took
	projectAt *graph.Pos
	configs   int // config files made
}

func newDecls() *decls {
	return &decls{
		broken: map[string]bool{}, tools: map[string]*tool{}, owners: map[string][]graph.Ref{},
		locals: map[any]Diagnostic{}, peers: map[string]Diagnostic{}, used: map[string]bool{},
	}
}

const toplevel = "<toplevel>"

// where returns the user's line, the calls below it, and the lines that loaded
// or included the file. skip is the number of innermost frames that are builtins.
func (r *run) where(skip int) (graph.Pos, []graph.Frame, []graph.Related) {
	stack := r.thread.CallStack()
	if skip < len(stack) {
		stack = stack[:len(stack)-skip]
	}
	return place(stack)
}

func place(stack starlark.CallStack) (pos graph.Pos, below []graph.Frame, rel []graph.Related) {
	base := 0
	for i, f := range stack {
		if f.Name == toplevel {
			base = i
		}
	}
	for i, f := range stack {
		p := graph.Pos{File: f.Pos.Filename(), Line: int(f.Pos.Line), Col: int(f.Pos.Col)}
		switch {
		case p.Line == 0: // a builtin
		case i < base:
			rel = append(rel, graph.Related{Pos: p, Message: "loaded from here"})
		case i == base || pos.Line == 0:
			pos = p
		default:
			below = append(below, graph.Frame{Func: f.Name, Pos: p})
		}
	}
	return pos, below, rel
}

// report records a mistake at the current call; field is the argument at fault.
func (r *run) report(d Diagnostic, skip int, field string) {
	r.errors = append(r.errors, r.here(d, skip, field))
}

func (r *run) warn(d Diagnostic, skip int, field string) {
	r.warnings = append(r.warnings, r.here(d, skip, field))
}

// here fills in the place of the current call.
func (r *run) here(d Diagnostic, skip int, field string) Diagnostic {
	pos, stack, rel := r.where(skip)
	return r.at(d, pos, stack, rel, field)
}

// at fills in a place, and finds the argument in the source.
func (r *run) at(d Diagnostic, pos graph.Pos, stack []graph.Frame, rel []graph.Related, field string) Diagnostic {
	d.File, d.Line, d.Col = pos.File, pos.Line, pos.Col
	d.Stack = append([]graph.Frame(nil), stack...)
	d.Related = append(d.Related, rel...)
	found := r.modules.point(&d, field)
	if n := len(d.Stack); n > 0 {
		in := Diagnostic{File: d.Stack[n-1].Pos.File, Line: d.Stack[n-1].Pos.Line, Col: d.Stack[n-1].Pos.Col}
		if found {
			field = ""
		}
		r.modules.point(&in, field)
		d.Stack[n-1].Pos, d.inner = in.Pos(), in.Source
	}
	return d
}

// project evaluates the project file.
func (r *run) project() {
	m := r.modules.open(r, ref{kind: inProject, path: r.main}, true)
	if m == nil || len(r.errors) > 0 {
		return
	}
	if _, err := m.prog.Init(r.thread, r.globals); err != nil {
		r.evalError(err)
	}
}

// errReported says that the mistake is already among the errors.
var errReported = errors.New("reported")

// evalError records an error that ended the evaluation.
func (r *run) evalError(err error) {
	if errors.Is(err, errReported) {
		return
	}
	var inner *starlark.EvalError
	for e := err; e != nil; e = errors.Unwrap(e) {
		if ev, ok := e.(*starlark.EvalError); ok {
			inner = ev
		}
	}
	if inner == nil {
		r.errors = append(r.errors, Diagnostic{Code: "evaluation", File: r.main, Message: err.Error()})
		return
	}
	if len(r.errors) > 0 && strings.Contains(inner.Msg, failedCall) {
		return
	}
	stack := inner.CallStack
	if n := len(stack); n > 0 && stack[n-1].Pos.Line == 0 {
		stack = stack[:n-1]
	}
	pos, below, rel := place(stack)
	d := Diagnostic{Code: "evaluation", Message: strings.TrimPrefix(inner.Msg, "fail: "), Related: nil}
	if reason, ok := strings.CutPrefix(d.Message, "Starlark computation cancelled: "); ok {
		d.Code, d.Message = "budget", reason
		if last := lastPos(pos, below); len(below) > 0 {
			d.Message += fmt.Sprintf("; it was at %s", last)
		}
		d.Hint = "look for a loop that runs too long, or raise the budget: --max-steps N"
	} else if d.Hint = hintFor(d.Message); d.Hint == "" && strings.HasPrefix(inner.Msg, "fail: ") {
		d.Code = "fail"
	}
	r.errors = append(r.errors, r.at(d, pos, below, rel, ""))
}

func lastPos(pos graph.Pos, below []graph.Frame) graph.Pos {
	if n := len(below); n > 0 {
		return below[n-1].Pos
	}
	return pos
}

// hintFor returns what to do about an error that Starlark itself words.
func hintFor(msg string) string {
	switch {
	case strings.Contains(msg, "pattern") && (strings.Contains(msg, "iterable") || strings.Contains(msg, "len") || strings.Contains(msg, "index")):
		return "a glob() is matched when a task runs; files(glob(...)) lists what matches now"
	case strings.Contains(msg, "want string, got reference"), strings.Contains(msg, "got reference, want string"):
		return "write str(x)"
	case strings.Contains(msg, "known only when the graph runs"):
		return "put it in text with %s or +"
	case strings.Contains(msg, "⟦"), strings.Contains(msg, "reference"):
		return "the value of a reference is known only when the graph runs: put it in text with %s or +"
	}
	return ""
}
