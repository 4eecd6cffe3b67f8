package lang

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"orrery/lang/graph"
)

// origin says where a module lies: in the project, in the binary, or in an
// external library, "@name//".
type origin string

const (
	inProject origin = ""
	inStd     origin = "@std//"
)

// validLibrary tells whether it is the name of a library as load() has it.
func validLibrary(s string) bool {
	name := strings.TrimPrefix(s, "@")
	return name != s && name != "" && name[0] >= 'a' && name[0] <= 'z' && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}

// external reports whether it is a library of services.lock.
func (o origin) external() bool { return o != inProject && o != inStd }

// root is what // means in a file: an external library has a root of its own.
func (o origin) root() origin {
	if o.external() {
		return o
	}
	return inProject
}

// ref names a module: its place, and its slash path there.
type ref struct {
	kind origin
	path string
}

// String is the name shown in positions.
func (f ref) String() string { return string(f.kind) + f.path }

// module is a parsed file. Globals are set once it has been evaluated.
type module struct {
	ref     ref
	file    *syntax.File
	prog    *starlark.Program
	lines   []string
	globals starlark.StringDict
	opening bool // its loads are being opened
	failed  bool
}

// modules are the files of an evaluation.
type modules struct {
	byKey   map[string]*module  // also by the name shown in positions
	stack   []string            // being opened
	include []string            // being included
	loading int                 // libraries whose top level is being evaluated
	libs    map[string]*Library // external ones, by name
}

// hintOf is what an error says is to be done about it, or "".
func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// inputs are the files that were read.
type inputs struct {
	list []File
	seen map[string]bool
}

func (in *inputs) add(f File) {
	if key := f.Kind + f.Path; !in.seen[key] {
		in.seen[key] = true
		in.list = append(in.list, f)
	}
}

func digest(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:16])
}

// resolveLoad turns the text of a load into a ref.
func resolveLoad(name string, from ref) (ref, error) {
	var f ref
	switch {
	case strings.HasPrefix(name, "@std//"):
		f = ref{inStd, name[len("@std//"):]}
	case strings.HasPrefix(name, "@"):
		lib, inner, ok := strings.Cut(name, "//")
		if !ok || !validLibrary(lib) {
			return ref{}, fmt.Errorf("got %q, want \"@name//x.star\"", name)
		}
		f = ref{origin(lib + "//"), inner}
	case strings.HasPrefix(name, "//"):
		f = ref{from.kind.root(), name[2:]}
	case strings.HasPrefix(name, ":"):
		f = ref{from.kind, path.Join(path.Dir(from.path), name[1:])}
	default:
		return ref{}, fmt.Errorf("got %q, want \"//dir/x.star\" (from the project root), \":x.star\" (same folder) or \"@std//x.star\" (the library)", name)
	}
	inner := strings.TrimLeft(strings.TrimPrefix(name, string(f.kind)), ":/")
	if path.IsAbs(f.path) || f.path == "" || strings.Contains("/"+inner+"/", "/../") {
		return ref{}, fmt.Errorf("got %q, want a path without .. inside the project", name)
	}
	return f, nil
}

// noLibrary says which libraries there are, or the one that was meant.
func (r *run) noLibrary(name string) error {
	names, _ := fs.Glob(r.opt.Std, "*.star")
	names = slices.DeleteFunc(names, func(n string) bool { return strings.HasSuffix(n, "_test.star") })
	if near := graph.Suggest(name, names); near != "" {
		return fmt.Errorf("there is no such library; did you mean @std//%s?", near)
	}
	return fmt.Errorf("there is no such library; there is %s", strings.Join(names, ", "))
}

// read returns the text of a module.
func (r *run) readModule(f ref) ([]byte, error) {
	if f.kind == inStd {
		if r.opt.Std == nil {
			return nil, fmt.Errorf("there is no standard library here")
		}
		b, err := fs.ReadFile(r.opt.Std, f.path)
		if errors.Is(err, fs.ErrNotExist) {
			err = r.noLibrary(f.path)
		}
		return b, err
	}
	if f.kind.external() {
		lib, err := r.library(f.kind)
		if err != nil {
			return nil, err
		}
		return fs.ReadFile(lib.FS, f.path)
	}
	if r.text != nil && f.path == r.main {
		return r.text, nil
	}
	p, err := r.inside(f.path)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(p)
}

// library finds an external library, once. What says which it is, is an input
// of the evaluation.
func (r *run) library(kind origin) (*Library, error) {
	name := strings.TrimSuffix(strings.TrimPrefix(string(kind), "@"), "//")
	if lib := r.modules.libs[name]; lib != nil {
		return lib, nil
	}
	if r.opt.Libs == nil {
		return nil, fmt.Errorf("there are no external libraries here")
	}
	lib, err := r.opt.Libs(r.root, name)
	if err != nil {
		return nil, err
	}
	for _, file := range lib.From {
		b, _ := os.ReadFile(file) // one that is not there is an input, too
		r.inputs.add(File{Path: file, Digest: digest(b), Kind: "source"})
	}
	r.modules.libs[name] = lib
	return lib, nil
}

// inside returns the absolute path of a file of the project; a link that leads
// out of it is an error.
func (r *run) inside(rel string) (string, error) {
	p, err := filepath.EvalSymlinks(filepath.Join(r.root, filepath.FromSlash(rel)))
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return "", pathErr.Err
	} else if err != nil {
		return "", err
	}
	if in, err := filepath.Rel(r.root, p); err != nil || !filepath.IsLocal(in) {
		return "", fmt.Errorf("it leads out of the project, to %s", p)
	}
	return p, nil
}

// open reads and parses a file and all that it loads; mistakes are recorded.
// It returns nil when the file itself cannot be used.
func (ms *modules) open(r *run, f ref, project bool) *module {
	key := f.String()
	if m := ms.byKey[key]; m != nil {
		if m.failed {
			return nil
		}
		return m
	}
	m := &module{ref: f, opening: true, failed: true}
	ms.byKey[key] = m
	src, err := r.readModule(f)
	if err != nil {
		r.errors = append(r.errors, Diagnostic{Code: "cannot-read", File: key, Message: "cannot read " + key + ": " + err.Error(), Hint: hintOf(err)})
		return nil
	}
	m.lines = strings.Split(string(src), "\n")
	name := key
	if f.kind == inProject {
		name = filepath.Join(r.root, f.path)
	} else if f.kind.external() {
		name = filepath.Join(r.modules.libs[strings.Trim(string(f.kind), "@/")].Dir, f.path)
	}
	r.inputs.add(File{Path: name, Digest: digest(src), Kind: "source"})
	opts := &syntax.FileOptions{Set: true, TopLevelControl: project, GlobalReassign: project}
	if project && !r.satisfied(key, src) {
		return nil
	}
	m.file, err = opts.Parse(key, src, 0)
	if err != nil {
		r.syntaxError(m, err)
		return nil
	}
	ms.stack = append(ms.stack, key)
	loads := ms.openLoads(r, m)
	ms.stack = ms.stack[:len(ms.stack)-1]
	m.prog, err = starlark.FileProgram(m.file, r.globals.Has)
	m.opening = false
	if err != nil {
		r.resolveErrors(err)
		return nil
	}
	r.lint(m)
	if r.opt.Lint {
		r.style(m)
	}
	if !loads {
		return nil
	}
	m.failed = false
	return m
}

// openLoads opens what the file loads.
func (ms *modules) openLoads(r *run, m *module) bool {
	ok := true
	for _, st := range m.file.Stmts {
		ld, isLoad := st.(*syntax.LoadStmt)
		if !isLoad {
			continue
		}
		fail := func(format string, args ...any) {
			ok = false
			lit := ld.Module
			d := Diagnostic{Code: "load", Message: fmt.Sprintf(format, args...), File: m.ref.String(),
				Line: int(lit.TokenPos.Line), Col: int(lit.TokenPos.Col), EndCol: int(lit.TokenPos.Col) + len(lit.Raw)}
			d.Source = m.line(d.Line)
			r.errors = append(r.errors, d)
		}
		f, err := resolveLoad(ld.ModuleName(), m.ref)
		if err != nil {
			fail("cannot load: %v", err)
			continue
		}
		if dep := ms.byKey[f.String()]; dep != nil && dep.opening {
			fail("cannot load %s: the files load each other: %s", f, ms.loop(f.String()))
			continue
		}
		_, seen := ms.byKey[f.String()]
		before := len(r.errors)
		if ms.open(r, f, false) != nil {
			continue
		}
		ok = false
		if !seen && len(r.errors) == before+1 && r.errors[before].Code == "cannot-read" {
			msg := strings.Replace(r.errors[before].Message, "cannot read", "cannot load", 1)
			hint := r.errors[before].Hint
			r.errors = r.errors[:before]
			fail("%s", msg)
			r.errors[before].Hint = hint
		} else if seen && ms.byKey[f.String()].file == nil {
			fail("cannot load %s", f)
		}
	}
	return ok
}

// loop shows the files from key to the end of the stack, and key again.
func (ms *modules) loop(key string) string {
	for i, k := range ms.stack {
		if k == key {
			return strings.Join(append(append([]string(nil), ms.stack[i:]...), key), " -> ")
		}
	}
	return key
}

// line returns a line of the file, counted from 1.
func (m *module) line(n int) string {
	if m == nil || n < 1 || n > len(m.lines) {
		return ""
	}
	return m.lines[n-1]
}

// load evaluates a library, once; it is the thread's Load. All files have been
// opened before the evaluation began.
func (r *run) load(t *starlark.Thread, name string) (starlark.StringDict, error) {
	from := ref{inProject, r.main}
	if m := r.modules.byKey[t.CallFrame(0).Pos.Filename()]; m != nil {
		from = m.ref
	}
	f, err := resolveLoad(name, from)
	if err != nil {
		return nil, err
	}
	m := r.modules.open(r, f, false)
	if m == nil {
		return nil, errReported
	}
	if m.globals == nil {
		r.modules.loading++
		m.globals, err = m.prog.Init(t, r.globals)
		r.modules.loading--
		if err != nil {
			m.failed = true
			return nil, err
		}
		m.globals.Freeze()
	}
	return m.globals, nil
}

// resolveErrors records every undefined name and misuse of the file.
func (r *run) resolveErrors(err error) {
	var list resolve.ErrorList
	if !errors.As(err, &list) {
		r.errors = append(r.errors, Diagnostic{Code: "syntax", Message: err.Error()})
		return
	}
	for _, e := range list {
		msg, hint, _ := strings.Cut(e.Msg, " (did you mean ")
		d := Diagnostic{Code: "name", Message: msg}
		if hint != "" {
			d.Hint = "did you mean " + hint[:len(hint)-1]
		}
		if strings.Contains(msg, "while loops") {
			d.Hint = "Starlark has no while: write for i in range(n)"
		}
		name, undefined := strings.CutPrefix(msg, "undefined: ")
		if undefined {
			if near := graph.Suggest(name, r.globals.Keys()); d.Hint == "" && near != "" {
				d.Hint = "did you mean " + near + "?"
			}
			d.Hint = r.undefinedHint(name, d.Hint)
		}
		p := graph.Pos{File: e.Pos.Filename(), Line: int(e.Pos.Line), Col: int(e.Pos.Col)}
		d = r.at(d, p, nil, nil, "")
		if undefined {
			d.EndCol = d.Col + len(name)
		}
		r.errors = append(r.errors, d)
	}
}

// undefinedHint knows names that lie in the standard library, and Python's.
func (r *run) undefinedHint(name, hint string) string {
	if r.opt.Std != nil {
		if _, err := fs.Stat(r.opt.Std, name+".star"); err == nil {
			return fmt.Sprintf("load it first: load(\"@std//%s.star\", %q)", name, name)
		}
	}
	switch name {
	case "open":
		return "read(path) gives the content of a file"
	case "os", "environ", "getenv":
		return "the environment is not visible; declare a param(), or pass_env"
	case "time", "random", "datetime":
		return "there is no clock and no randomness: the same files give the same graph"
	case "import":
		return "write load(\"//lib/x.star\", \"name\")"
	}
	return hint
}
