package lang

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.starlark.net/starlark"

	"orrery/lang/graph"
	"orrery/lang/spec"
)

// declare adds a service or task to the graph and returns its handle.
func (r *run) declare(n *graph.Node, call *spec.Call) (starlark.Value, error) {
	c := n.Common()
	if c.Name == "" {
		return poison{}, nil
	}
	c.Name = r.decl.prefix + c.Name
	n.Pos, n.Stack, _ = r.where(1)
	broken := len(call.Problems) > 0 || call.Poisoned
	if broken {
		r.decl.broken[c.Name] = true
	}
	r.own(n, call)
	if call.Local {
		r.bind(n, call)
	}
	if n.Kind == graph.KindService {
		r.checkService(n)
	} else {
		r.checkTask(n)
	}
	r.decl.Nodes = append(r.decl.Nodes, n)
	return &node{run: r, n: n, broken: broken}, nil
}

// own notes which config files the service has taken.
func (r *run) own(n *graph.Node, call *spec.Call) {
	for _, o := range call.Taken {
		delete(r.decl.locals, o)
		if o.ID == "" {
			continue
		}
		name := o.Value.(*graph.ConfigFile).Name
		r.decl.owners[o.ID] = append(r.decl.owners[o.ID], graph.Ref{Name: n.Name(), Attr: "config." + name})
	}
	if n.Kind != graph.KindService {
		return
	}
	for i, c := range n.Service.Config {
		for _, other := range n.Service.Config[:i] {
			if c.Name == other.Name {
				r.mistake(n, fault{"duplicate-config", "config", "give one of them another name"}, "two config files are called %q", c.Name)
			}
		}
	}
}

// bind replaces self, and config files that the declaration itself has taken.
// The texts are its own: objects that hold such references were copied.
func (r *run) bind(n *graph.Node, call *spec.Call) {
	own := map[string]string{}
	for _, o := range call.Taken {
		if o.ID != "" {
			own[o.ID] = "config." + o.Value.(*graph.ConfigFile).Name
		}
	}
	n.Texts(func(_ string, _ graph.Use, t *graph.Text) {
		for i, p := range *t {
			if p.Ref == nil {
				continue
			}
			ref := *p.Ref
			switch {
			case ref.Scope == graph.ScopeNode && ref.Name == graph.Self:
				ref.Name = n.Name()
			case ref.Scope == graph.ScopeConfig && own[ref.Name] != "":
				ref = graph.Ref{Name: n.Name(), Attr: own[ref.Name], Weak: ref.Weak}
			default:
				continue
			}
			(*t)[i].Ref = &ref
		}
	})
}

// fault is the kind of a mistake, the argument that holds it, and the remedy.
type fault struct{ code, field, hint string }

// mistake records a mistake of a declaration that is being made.
func (r *run) mistake(n *graph.Node, f fault, format string, args ...any) {
	r.report(Diagnostic{Code: f.code, Message: fmt.Sprintf("%s %q: ", n.Kind, n.Name()) + fmt.Sprintf(format, args...), Hint: f.hint}, 1, f.field)
	r.decl.broken[n.Name()] = true
}

// construct returns a record as a value.
func (r *run) construct(rec *spec.Record, call *spec.Call) (starlark.Value, error) {
	if len(call.Problems) > 0 || call.Poisoned {
		return poison{}, nil
	}
	r.checkRecord(rec, call)
	for _, in := range call.Taken {
		delete(r.decl.locals, in)
	}
	o := &spec.Object{Record: rec, Value: call.Value, Local: call.Local}
	if call.Local {
		r.decl.locals[o] = r.here(Diagnostic{Code: "unbound-self", Message: rec.Builtin + "() refers to self, and no declaration takes it",
			Hint: "pass it to service() or task()"}, 1, "")
	}
	switch v := call.Value.(type) {
	case *graph.ConfigFile:
		return r.configFile(o, v)
	case *graph.Pool:
		return r.pool(o, v)
	}
	return o, nil
}

// configFile gives a config file its identity in references.
func (r *run) configFile(o *spec.Object, c *graph.ConfigFile) (starlark.Value, error) {
	if c.Name == "" || strings.ContainsAny(c.Name, "/:#⟦⟧\n") || c.Name == "." || c.Name == ".." {
		r.report(Diagnostic{Code: "bad-name", Message: fmt.Sprintf("config_file: got the name %q, want a file name without / : #", c.Name)}, 1, "name")
		return poison{}, nil
	}
	r.decl.configs++
	o.ID = c.Name + "#" + strconv.Itoa(r.decl.configs)
	if d, ok := r.decl.locals[o]; ok {
		d.Message = fmt.Sprintf("config_file %q refers to self, and no service has it in its config", c.Name)
		r.decl.locals[o] = d
	}
	return &configFile{o}, nil
}

// configFile is the value of config_file().
type configFile struct{ *spec.Object }

func (c *configFile) AttrNames() []string { return []string{"path"} }
func (c *configFile) Attr(name string) (starlark.Value, error) {
	if name == "path" {
		return reference{graph.Ref{Scope: graph.ScopeConfig, Name: c.ID, Attr: "path"}}, nil
	}
	return nil, starlark.NoSuchAttrError(fmt.Sprintf("config_file has no .%s", name))
}

func (r *run) pool(o *spec.Object, p *graph.Pool) (starlark.Value, error) {
	for _, other := range r.decl.Pools {
		if other.Name != p.Name {
			continue
		}
		if other.Size != p.Size {
			r.report(Diagnostic{Code: "duplicate-name", Message: fmt.Sprintf("pool %q is declared with the sizes %d and %d", p.Name, other.Size, p.Size)}, 1, "")
		}
		return o, nil
	}
	r.decl.Pools = append(r.decl.Pools, p)
	return o, nil
}

func (r *run) declareProject(p *graph.Project, call *spec.Call) (starlark.Value, error) {
	if r.decl.prefix != "" || len(r.modules.include) > 0 {
		if len(p.Env) > 0 || len(p.PassEnv) > 0 || len(p.Dotenv) > 0 || p.StrictPorts {
			r.warn(Diagnostic{Code: "included-project", Message: "project() of an included file says only its name: env, pass_env, dotenv and strict_ports are those of the including one"}, 1, "")
		}
		return starlark.None, nil
	}
	if p.Manager != "" {
		r.report(Diagnostic{Code: "value", Message: fmt.Sprintf("project: manager: got %q: nothing but orrery can run the graph yet", p.Manager), Hint: "leave it out"}, 1, "manager")
	}
	pos, _, _ := r.where(1)
	switch {
	case r.decl.projectAt != nil:
		r.report(Diagnostic{Code: "duplicate-project", Message: "project() is called twice", Related: []graph.Related{{Pos: *r.decl.projectAt, Message: "first called here"}}}, 1, "")
		return starlark.None, nil
	case len(r.decl.Nodes) > 0:
		r.report(Diagnostic{Code: "late-project", Message: "project() comes after a declaration", Hint: "call it first",
			Related: []graph.Related{{Pos: r.decl.Nodes[0].Pos, Message: "declared here"}}}, 1, "")
	}
	r.decl.projectAt = &pos
	r.decl.Project = *p
	return starlark.None, nil
}

func (r *run) declareGroup(g *graph.Group, call *spec.Call) (starlark.Value, error) {
	if len(call.Problems) > 0 || g.Name == "" {
		return poison{}, nil
	}
	g.Name = r.decl.prefix + g.Name
	for _, other := range r.decl.Groups {
		if other.Name == g.Name {
			r.report(Diagnostic{Code: "duplicate-name", Message: fmt.Sprintf("group %q is declared twice", g.Name)}, 1, "name")
		}
	}
	members := g.Members[:0]
	for _, m := range g.Members {
		if m != "" {
			members = append(members, m)
		}
	}
	g.Members = members
	r.decl.Groups = append(r.decl.Groups, *g)
	return starlark.None, nil
}

func (r *run) declareSecret(s *graph.Secret, call *spec.Call) (starlark.Value, error) {
	if len(call.Problems) > 0 || call.Poisoned {
		return poison{}, nil
	}
	if !graph.ValidName(s.Name) {
		r.report(Diagnostic{Code: "bad-name", Message: fmt.Sprintf("secret: got the name %q, want [a-z0-9][a-z0-9_-]*", s.Name)}, 1, "name")
		return poison{}, nil
	}
	switch {
	case s.Key != "" && s.Env != "":
		r.report(Diagnostic{Code: "secret", Message: fmt.Sprintf("secret %q: key picks a line of file, age or command; env holds one value", s.Name)}, 1, "key")
	case len(s.Identities) > 0 && s.Age == "":
		r.report(Diagnostic{Code: "secret", Message: fmt.Sprintf("secret %q: identities decrypt a file of age, and none is given", s.Name)}, 1, "identities")
	}
	s.Name = r.decl.prefix + s.Name
	v := secret{reference{graph.Ref{Scope: graph.ScopeSecret, Name: s.Name, Attr: "value"}}}
	for _, other := range r.decl.Secrets {
		if other.Name != s.Name {
			continue
		}
		if !reflect.DeepEqual(other, s) {
			r.report(Diagnostic{Code: "duplicate-name", Message: fmt.Sprintf("secret %q is declared twice, differently", s.Name)}, 1, "name")
		}
		return v, nil
	}
	r.decl.Secrets = append(r.decl.Secrets, s)
	return v, nil
}

func (r *run) declareTool(t *graph.Tool, call *spec.Call) (starlark.Value, error) {
	if len(call.Problems) > 0 || call.Poisoned {
		return poison{}, nil
	}
	if len(t.Programs) == 0 {
		r.report(Diagnostic{Code: "missing-argument", Message: "tool: got no program, want at least one"}, 1, "")
		return poison{}, nil
	}
	for _, p := range t.Programs {
		if p == "" || strings.ContainsAny(p, "/:#⟦⟧ \x00") {
			r.report(Diagnostic{Code: "bad-name", Message: fmt.Sprintf("tool: got %q, want the name of a program", p), Hint: "folders to look in go to paths"}, 1, "")
			return poison{}, nil
		}
	}
	if t.Version != "" {
		if _, err := graph.Satisfies("", t.Version); err != nil {
			r.report(Diagnostic{Code: "version", Message: "tool: " + err.Error()}, 1, "version")
			return poison{}, nil
		}
	}
	same := 0
	for _, other := range r.decl.Tools {
		if other.Programs[0] != t.Programs[0] {
			continue
		}
		same++
		if reflect.DeepEqual(other, t) {
			return &tool{toolID(t, same), t.Programs}, nil
		}
	}
	r.decl.Tools = append(r.decl.Tools, t)
	return &tool{toolID(t, same+1), t.Programs}, nil
}

// toolID names a tool in references: by its first program, and its number
// where several tools begin with the same program.
func toolID(t *graph.Tool, n int) string {
	if n == 1 {
		return t.Programs[0]
	}
	return t.Programs[0] + "#" + strconv.Itoa(n)
}
