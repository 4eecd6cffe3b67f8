package lang

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"orrery/lang/graph"
	"orrery/lang/spec"
)

// peer returns a node by name; that it exists is checked at the end.
func (r *run) peer(args []starlark.Value) (starlark.Value, error) {
	name := r.decl.prefix + string(args[0].(starlark.String))
	if !graph.ValidName(name) {
		return nil, fmt.Errorf("got the name %q, want [a-z0-9][a-z0-9_-]*, nested with /", name)
	}
	if _, seen := r.decl.peers[name]; !seen {
		r.decl.peers[name] = r.here(Diagnostic{Code: "unknown-node", Message: fmt.Sprintf("peer(%q): no such service or task is declared", name)}, 1, "")
	}
	return &later{r, name}, nil
}

// warning records a warning of a factory.
func (r *run) warning(args []starlark.Value) (starlark.Value, error) {
	r.warn(Diagnostic{Code: "warn", Message: r.inDeclaration() + string(args[0].(starlark.String))}, 1, "")
	return starlark.None, nil
}

// check records a mistake unless the condition holds.
func (r *run) check(args []starlark.Value) (starlark.Value, error) {
	if !args[0].Truth() {
		r.report(Diagnostic{Code: "check", Message: r.inDeclaration() + string(args[1].(starlark.String))}, 1, "")
	}
	return starlark.None, nil
}

// inDeclaration names what is being declared: the parameter called name of the
// nearest function that has one.
func (r *run) inDeclaration() string {
	for i := 1; i < r.thread.CallStackDepth(); i++ {
		fr := r.thread.DebugFrame(i)
		fn, ok := fr.Callable().(*starlark.Function)
		if !ok {
			continue
		}
		for p := range fn.NumParams() {
			if name, _ := fn.Param(p); name != "name" {
				continue
			}
			_, v := fr.Local(p)
			if s, ok := v.(starlark.String); ok {
				return "in " + r.decl.prefix + string(s) + ": "
			}
		}
	}
	if p := strings.TrimSuffix(r.decl.prefix, "/"); p != "" {
		return "in " + p + ": "
	}
	return ""
}

// duration returns nanoseconds.
func duration(args []starlark.Value) (starlark.Value, error) {
	d, err := graph.ParseDuration(string(args[0].(starlark.String)))
	return starlark.MakeInt64(int64(d)), err
}

func literal(args []starlark.Value) (starlark.Value, error) {
	return starlark.String(graph.Escape(string(args[0].(starlark.String)))), nil
}

// flags turns a dict into command-line flags.
func flags(args []starlark.Value) (starlark.Value, error) {
	d, ok := args[0].(*starlark.Dict)
	if !ok {
		return nil, fmt.Errorf("got %s, want a dict", args[0].Type())
	}
	sep, joined := starlark.AsString(args[1])
	var out []starlark.Value
	add := func(flag string, v starlark.Value) error {
		switch v := v.(type) {
		case starlark.NoneType:
			return nil
		case starlark.Bool:
			if v {
				out = append(out, starlark.String(flag))
			}
			return nil
		case starlark.String, starlark.Int, starlark.Float, spec.Referrer:
			text, isText := starlark.AsString(v)
			if !isText {
				text = v.String()
			}
			if joined {
				out = append(out, starlark.String(flag+sep+text))
			} else {
				out = append(out, starlark.String(flag), starlark.String(text))
			}
			return nil
		}
		return fmt.Errorf("%s: got %s, want text, a number, a bool, None or a list", flag, v.Type())
	}
	for k, v := range d.Entries() {
		name, ok := starlark.AsString(k)
		if !ok || name == "" {
			return nil, fmt.Errorf("got the key %s, want a string", k)
		}
		flag := "--" + name
		switch {
		case strings.HasPrefix(name, "-"):
			flag = name
		case len(name) == 1:
			flag = "-" + name
		}
		list, isList := v.(*starlark.List)
		if !isList {
			if err := add(flag, v); err != nil {
				return nil, err
			}
			continue
		}
		for e := range list.Elements() {
			if err := add(flag, e); err != nil {
				return nil, err
			}
		}
	}
	return starlark.NewList(out), nil
}

// read returns the content of a file of the project.
func (r *run) read(args []starlark.Value) (starlark.Value, error) {
	name := string(args[0].(starlark.String))
	p, err := r.projectPath(name)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(p)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", name, err)
	}
	r.inputs.add(File{Path: p, Digest: digest(b), Kind: "read"})
	return starlark.String(b), nil
}

// projectPath returns the absolute path of a file named from the root.
func (r *run) projectPath(name string) (string, error) {
	clean := path.Clean(strings.TrimPrefix(name, "//"))
	if path.IsAbs(clean) || !filepath.IsLocal(clean) {
		return "", fmt.Errorf("got %q, want a path inside the project", name)
	}
	p, err := r.inside(clean)
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", name, err)
	}
	return p, nil
}

// files lists what matches now, sorted.
func (r *run) files(args []starlark.Value) (starlark.Value, error) {
	var p graph.Pattern
	switch v := args[0].(type) {
	case starlark.String:
		p.Include = []string{string(v)}
	case spec.Maker:
		if g, ok := v.Made().Value.(*graph.Pattern); ok {
			p = *g
		}
	}
	if p.Include == nil {
		return nil, fmt.Errorf("got %s, want a glob(...) or a pattern", args[0].Type())
	}
	var names []string
	root := os.DirFS(r.root)
	for _, pat := range p.Include {
		if !filepath.IsLocal(pat) {
			return nil, fmt.Errorf("got the pattern %q, want one inside the project", pat)
		}
		found, err := doublestar.Glob(root, path.Clean(pat), doublestar.WithFilesOnly(), doublestar.WithNoFollow())
		if err != nil {
			return nil, fmt.Errorf("got the pattern %q: %w", pat, err)
		}
		names = append(names, found...)
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return strings.HasPrefix(name, ".orrery/") || strings.HasPrefix(name, ".git/") || slices.ContainsFunc(p.Exclude, func(ex string) bool {
			ok, _ := doublestar.Match(ex, name)
			return ok
		})
	})
	slices.Sort(names)
	names = slices.Compact(names)
	r.inputs.add(File{Path: strings.Join(p.Include, " "), Digest: digest([]byte(strings.Join(names, "\n"))), Kind: "pattern"})
	list := make([]starlark.Value, len(names))
	for i, n := range names {
		list[i] = starlark.String(n)
	}
	return starlark.NewList(list), nil
}

// include evaluates another project file.
func (r *run) include(args []starlark.Value) (starlark.Value, error) {
	if !r.mayDeclare("include") {
		return poison{}, nil
	}
	from := ref{inProject, r.main}
	if m := r.modules.byKey[r.thread.CallFrame(1).Pos.Filename()]; m != nil {
		from = m.ref
	}
	f, err := resolveLoad(string(args[0].(starlark.String)), from)
	if err != nil {
		return nil, err
	}
	key := f.String()
	if slices.Contains(r.modules.include, key) || key == r.main {
		return nil, fmt.Errorf("the files include each other: %s", strings.Join(append(append([]string{r.main}, r.modules.include...), key), " -> "))
	}
	if m := r.modules.byKey[key]; m != nil && m.file != nil && !m.file.Options.TopLevelControl {
		delete(r.modules.byKey, key) // it was loaded as a library before
	}
	m := r.modules.open(r, f, true)
	if m == nil {
		return poison{}, nil
	}
	outer := r.decl.prefix
	if p, ok := starlark.AsString(args[1]); ok && p != "" {
		r.decl.prefix += strings.TrimSuffix(p, "/") + "/"
	}
	r.modules.include = append(r.modules.include, key)
	globals, err := m.prog.Init(r.thread, r.globals)
	r.modules.include = r.modules.include[:len(r.modules.include)-1]
	r.decl.prefix = outer
	if err != nil {
		return nil, err
	}
	globals.Freeze()
	return starlarkstruct.FromStringDict(starlark.String("include"), globals), nil
}

// param returns the value of a parameter, of the default's type.
func (r *run) param(args []starlark.Value) (starlark.Value, error) {
	if !r.mayDeclare("param") {
		return poison{}, nil
	}
	name := r.decl.prefix + string(args[0].(starlark.String))
	def := args[1]
	if !graph.ValidName(name) {
		return nil, fmt.Errorf("got the name %q, want [a-z0-9][a-z0-9_-]*", name)
	}
	for _, p := range r.decl.Params {
		if p.Name == name {
			return nil, fmt.Errorf("%q is declared twice, first at %s", name, p.Pos)
		}
	}
	plain, err := plainValue(def)
	if err != nil {
		return nil, err
	}
	v := def
	if text, origin, ok := r.paramText(name); ok {
		if v, err = parseParam(text, def); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", name, origin, err)
		}
	}
	p := graph.Param{Name: name, Default: plain, Help: string(args[3].(starlark.String))}
	p.Pos, _, _ = r.where(1)
	p.Value, _ = plainValue(v)
	if choices, ok := args[2].(*starlark.List); ok {
		found := false
		for c := range choices.Elements() {
			pc, err := plainValue(c)
			if err != nil {
				return nil, err
			}
			p.Choices = append(p.Choices, pc)
			eq, err := starlark.Equal(c, v)
			found = found || err == nil && eq
		}
		if !found {
			return nil, fmt.Errorf("%s: got %s, want one of %s", name, v, choices)
		}
	}
	r.decl.Params = append(r.decl.Params, p)
	v.Freeze()
	return v, nil
}

// paramText looks for a value given from outside, and says where it is from.
func (r *run) paramText(name string) (text, origin string, ok bool) {
	r.decl.used[name] = true
	if v, ok := r.opt.Params[name]; ok {
		return v, "--set", true
	}
	env := "ORRERY_PARAM_" + strings.ToUpper(strings.NewReplacer("-", "_", "/", "_").Replace(name))
	if r.opt.Getenv != nil {
		if v, ok := r.opt.Getenv(env); ok {
			return v, env, true
		}
	}
	return "", "", false
}

// parseParam reads a text as a value of the default's type.
func parseParam(text string, def starlark.Value) (starlark.Value, error) {
	switch def.(type) {
	case starlark.Int:
		n, err := strconv.ParseInt(text, 0, 64)
		if err != nil {
			return nil, fmt.Errorf("got %q, want an int", text)
		}
		return starlark.MakeInt64(n), nil
	case starlark.Bool:
		switch strings.ToLower(text) {
		case "true", "1", "yes", "on":
			return starlark.True, nil
		case "false", "0", "no", "off", "":
			return starlark.False, nil
		}
		return nil, fmt.Errorf("got %q, want true or false", text)
	case *starlark.List:
		var list []starlark.Value
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, starlark.String(part))
			}
		}
		return starlark.NewList(list), nil
	}
	return starlark.String(graph.Escape(text)), nil
}

// plainValue returns the Go value of a parameter.
func plainValue(v starlark.Value) (any, error) {
	switch v := v.(type) {
	case starlark.String:
		return string(v), nil
	case starlark.Bool:
		return bool(v), nil
	case starlark.Int:
		if n, ok := v.Int64(); ok {
			return n, nil
		}
	case *starlark.List:
		list := []string{}
		for e := range v.Elements() {
			s, ok := starlark.AsString(e)
			if !ok {
				return nil, fmt.Errorf("got a list with %s, want a list of texts", e.Type())
			}
			list = append(list, s)
		}
		return list, nil
	}
	return nil, fmt.Errorf("got %s, want text, int, bool or a list of texts", v.Type())
}
