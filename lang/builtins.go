package lang

import (
	"strings"

	"go.starlark.net/lib/json"
	"go.starlark.net/lib/math"
	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"orrery/lang/graph"
	"orrery/lang/spec"
)

type builtinFunc = func(*starlark.Thread, *starlark.Builtin, starlark.Tuple, []starlark.Tuple) (starlark.Value, error)

// predeclared are the globals of every file: what spec.star defines, bound to
// this evaluation.
func (r *run) predeclared() starlark.StringDict {
	d := starlark.StringDict{}
	s := spec.Load()
	for _, rec := range s.Records {
		if rec.Builtin != "" {
			d[rec.Builtin] = starlark.NewBuiltin(rec.Builtin, r.record(rec))
		}
	}
	for _, ns := range s.Namespaces {
		members := starlark.StringDict{}
		for _, rec := range ns.Kinds {
			members[rec.Kind] = starlark.NewBuiltin(rec.Builtin, r.record(rec))
		}
		d[ns.Name] = &starlarkstruct.Module{Name: ns.Name, Members: members}
	}
	for _, f := range s.Functions {
		d[f.Name] = starlark.NewBuiltin(f.Name, r.function(f))
	}
	d["project"] = callable{d["project"].(*starlark.Builtin), starlark.StringDict{
		"root":     reference{graph.Ref{Scope: graph.ScopeProject, Attr: "root"}},
		"git_root": reference{graph.Ref{Scope: graph.ScopeProject, Attr: "git_root"}},
	}}
	d["self"] = self{}
	d["host"] = machine{r}
	d["struct"] = starlark.NewBuiltin("struct", starlarkstruct.Make)
	d["json"] = json.Module
	d["math"] = math.Module
	for name, encode := range encoders() {
		d[name] = &starlarkstruct.Module{Name: name, Members: starlark.StringDict{
			"encode": starlark.NewBuiltin(name+".encode", encoder(encode)),
		}}
	}
	return d
}

// record returns the builtin that makes a record: a declaration changes the
// graph, a constructor returns a value.
func (r *run) record(rec *spec.Record) builtinFunc {
	return func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		switch rec.Name {
		case "Service", "Task", "Project", "Group":
			if !r.mayDeclare(rec.Builtin) {
				return poison{}, nil
			}
		}
		call := rec.Check(args, kwargs)
		r.problems(rec, call)
		switch v := call.Value.(type) {
		case *graph.Service:
			r.checkOverrides(v)
			return r.declare(&graph.Node{Kind: graph.KindService, Service: v}, call)
		case *graph.Task:
			return r.declare(&graph.Node{Kind: graph.KindTask, Task: v}, call)
		case *graph.Project:
			return r.declareProject(v, call)
		case *graph.Group:
			return r.declareGroup(v, call)
		case *graph.Secret:
			return r.declareSecret(v, call)
		case *graph.Tool:
			return r.declareTool(v, call)
		}
		return r.construct(rec, call)
	}
}

// mayDeclare reports whether declarations are allowed here: not at the top
// level of a library.
func (r *run) mayDeclare(builtin string) bool {
	if r.modules.loading == 0 {
		return true
	}
	r.report(Diagnostic{
		Code:    "library-declares",
		Message: "cannot call " + builtin + "() while a library loads: its top level only defines",
		Hint:    "put it in a function, and call that from the project file; include() evaluates another project file",
	}, 1, "")
	return false
}

// problems records the mistakes of a call and its fields without effect.
func (r *run) problems(rec *spec.Record, call *spec.Call) {
	if len(call.Problems) == 0 && len(call.Later) == 0 {
		return
	}
	label := rec.Builtin
	if name := nameOf(call.Value); name != "" {
		label += " \"" + r.decl.prefix + name + "\""
	}
	for _, p := range call.Problems {
		r.report(Diagnostic{Code: p.Code, Message: label + ": " + p.Message, Hint: p.Hint}, 1, p.Field)
	}
	for _, f := range call.Later {
		d := Diagnostic{Code: "later", Message: "not yet effective: " + rec.Builtin + "." + f}
		arg, _, _ := strings.Cut(f, ".")
		r.later = append(r.later, r.here(d, 1, arg))
	}
}

// nameOf returns the name of what was declared, or "".
func nameOf(v any) string {
	switch v := v.(type) {
	case *graph.Service:
		return v.Name
	case *graph.Task:
		return v.Name
	case *graph.Group:
		return v.Name
	case *graph.Secret:
		return v.Name
	case *graph.ConfigFile:
		return v.Name
	}
	return ""
}

// function returns a builtin that is no record.
func (r *run) function(f *spec.Function) builtinFunc {
	run := map[string]func(args []starlark.Value) (starlark.Value, error){
		"param": r.param, "peer": r.peer, "include": r.include, "files": r.files, "read": r.read,
		"flags": flags, "literal": literal, "check": r.check, "warn": r.warning, "duration": duration,
	}[f.Name]
	return func(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		call := f.Check(args, kwargs)
		r.problems(f.Record, call)
		if len(call.Problems) > 0 || call.Poisoned {
			return poison{}, nil
		}
		v, err := run(call.Args)
		if err != nil && err != errReported && !strings.HasPrefix(err.Error(), b.Name()) {
			r.report(Diagnostic{Code: b.Name(), Message: b.Name() + ": " + err.Error()}, 1, "")
			return poison{}, nil
		}
		return v, err
	}
}
