package lang

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	stjson "go.starlark.net/lib/json"
	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"orrery/lang/graph"
)

// plan evaluates a factory as a project of its own.
func (t *tester) plan(thread *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var fn starlark.Callable
	var ports, params, host *starlark.Dict
	if err := starlark.UnpackArgs(b.Name(), args, kwargs, "fn", &fn, "ports?", &ports, "params?", &params, "host?", &host); err != nil {
		return nil, err
	}
	r := t.run
	outer, errs, warnings, opt := r.decl, r.errors, r.warnings, r.opt
	defer func() { r.decl, r.errors, r.warnings, r.opt = outer, errs, warnings, opt }()
	r.decl, r.errors, r.warnings = newDecls(), nil, nil
	r.opt.Params = map[string]string{}
	if params != nil {
		for k, v := range params.Entries() {
			text, ok := starlark.AsString(v)
			if !ok {
				text = v.String()
			}
			name, _ := starlark.AsString(k)
			r.opt.Params[name] = text
		}
	}
	if host != nil {
		h, err := hostOf(*r.opt.Host, host)
		if err != nil {
			return nil, err
		}
		r.opt.Host = h
	}
	p := &plan{ports: map[string]int{}}
	if ports != nil {
		for k, v := range ports.Entries() {
			n, err := starlark.AsInt32(v)
			name, ok := starlark.AsString(k)
			if err != nil || !ok {
				return nil, fmt.Errorf("t.plan: ports: got %s: %s, want \"service.port\": int", k, v)
			}
			p.ports[name] = n
		}
	}
	var err error
	if p.result, err = starlark.Call(thread, fn, nil, nil); err != nil {
		return nil, err
	}
	p.g = r.finish()
	for _, w := range r.warnings {
		p.warnings = append(p.warnings, starlark.String(w.Message))
	}
	if len(r.errors) == 0 {
		return p, nil
	}
	var msgs []string
	for _, d := range r.sorted() {
		msgs = append(msgs, strings.TrimSuffix(d.Message+"; "+d.Hint, "; "))
	}
	return nil, fmt.Errorf("t.plan: %s", strings.Join(msgs, "\n"))
}

// hostOf changes what the files see of the machine.
func hostOf(h Host, d *starlark.Dict) (*Host, error) {
	for k, v := range d.Entries() {
		name, _ := starlark.AsString(k)
		text, _ := starlark.AsString(v)
		switch name {
		case "os":
			h.OS = text
		case "arch":
			h.Arch = text
		case "ci":
			h.CI = bool(v.Truth())
		case "cpus":
			n, err := starlark.AsInt32(v)
			if err != nil {
				return nil, fmt.Errorf("t.plan: host: cpus: %w", err)
			}
			h.CPUs = n
		default:
			return nil, fmt.Errorf("t.plan: host: got %q, want os, arch, cpus or ci", name)
		}
	}
	return &h, nil
}

// plan is the graph that a factory made, as tests look at it.
type plan struct {
	g        *graph.Graph
	ports    map[string]int // chosen by the test: "db.tcp"
	result   starlark.Value
	warnings []starlark.Value
}

func (p *plan) String() string        { return fmt.Sprintf("plan(%s)", strings.Join(p.g.Order(), ", ")) }
func (p *plan) Type() string          { return "plan" }
func (p *plan) Freeze()               {}
func (p *plan) Truth() starlark.Bool  { return true }
func (p *plan) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: plan") }
func (p *plan) AttrNames() []string {
	return []string{"edges", "names", "order", "resolved", "result", "services", "tasks", "warnings"}
}

// MarshalJSON writes what was declared, without places.
func (p *plan) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{"services": p.nodes(graph.KindService), "tasks": p.nodes(graph.KindTask), "edges": p.edges()})
}

func (p *plan) nodes(k graph.Kind) graph.Dict[any] {
	d := graph.Dict[any]{}
	for _, n := range p.g.Nodes {
		switch {
		case n.Kind != k:
		case k == graph.KindTask:
			d = append(d, graph.Entry[any]{Key: n.Name(), Value: n.Task})
		default:
			d = append(d, graph.Entry[any]{Key: n.Name(), Value: n.Service})
		}
	}
	return d
}

func (p *plan) edges() []string {
	list := []string{}
	for _, e := range p.g.Edges() {
		list = append(list, fmt.Sprintf("%s -> %s.%s", e.From, e.To, e.Cond))
	}
	return list
}

// Attr returns what tests look at.
func (p *plan) Attr(name string) (starlark.Value, error) {
	switch name {
	case "services":
		return fromJSON(p.nodes(graph.KindService))
	case "tasks":
		return fromJSON(p.nodes(graph.KindTask))
	case "edges":
		return texts(p.edges()), nil
	case "warnings":
		return starlark.NewList(p.warnings), nil
	case "result":
		return p.result, nil
	case "names":
		return starlark.NewBuiltin("names", func(*starlark.Thread, *starlark.Builtin, starlark.Tuple, []starlark.Tuple) (starlark.Value, error) {
			var names []string
			for _, n := range p.g.Nodes {
				names = append(names, n.Name())
			}
			return texts(names), nil
		}), nil
	case "order":
		return starlark.NewBuiltin("order", p.order), nil
	case "resolved":
		return starlark.NewBuiltin("resolved", p.resolved), nil
	}
	return nil, nil
}

func texts(list []string) *starlark.List {
	out := make([]starlark.Value, len(list))
	for i, s := range list {
		out[i] = starlark.String(s)
	}
	return starlark.NewList(out)
}

// fromJSON turns Go data into Starlark data by way of its JSON.
func fromJSON(v any) (starlark.Value, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return starlark.Call(&starlark.Thread{Name: "json"}, stjson.Module.Members["decode"], starlark.Tuple{starlark.String(b)}, nil)
}

func snapshotText(thread *starlark.Thread, v starlark.Value) (string, error) {
	enc, err := starlark.Call(thread, stjson.Module.Members["encode_indent"], starlark.Tuple{v}, []starlark.Tuple{{starlark.String("indent"), starlark.String("  ")}})
	if err != nil {
		return "", err
	}
	s, _ := starlark.AsString(enc)
	return s + "\n", nil
}

// order lists all that a node needs, and itself, as they are started.
func (p *plan) order(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var name string
	if err := starlark.UnpackArgs(b.Name(), args, kwargs, "name?", &name); err != nil {
		return nil, err
	}
	order := p.g.Order()
	if name == "" {
		return texts(order), nil
	}
	need, err := p.g.Need([]string{name}, graph.SelectNeeds)
	if err != nil {
		return nil, err
	}
	return texts(slices.DeleteFunc(order, func(n string) bool { return !slices.Contains(need, n) })), nil
}

// resolved returns env, command, cwd, exports and config of a node, with every
// reference filled in: ports are their bases, folders are /state/NAME ...
func (p *plan) resolved(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var name string
	if err := starlark.UnpackArgs(b.Name(), args, kwargs, "name", &name); err != nil {
		return nil, err
	}
	n := p.g.Node(name)
	if n == nil {
		_, err := p.g.Expand([]string{name})
		if err == nil {
			err = fmt.Errorf("got %q, want the name of one service or task", name)
		}
		return nil, err
	}
	b2 := &resolver{p: p}
	out := starlark.StringDict{"env": b2.dict(n.Common().Env), "cwd": b2.text(n.Common().Cwd)}
	command := &graph.Command{}
	if n.Kind == graph.KindTask {
		if n.Task.Command != nil {
			command = n.Task.Command
		}
		var steps []starlark.Value
		for _, s := range n.Task.Steps {
			steps = append(steps, b2.list(s))
		}
		out["steps"] = starlark.NewList(steps)
	} else {
		command = &n.Service.Command
		out["exports"], out["env_exports"], out["links"] = b2.dict(n.Service.Exports), b2.dict(n.Service.EnvExports), b2.dict(n.Service.Links)
		config := starlark.NewDict(len(n.Service.Config))
		for i := range n.Service.Config {
			c := &n.Service.Config[i]
			if err := config.SetKey(starlark.String(c.Name), b2.config(c)); err != nil {
				return nil, err
			}
		}
		out["config"] = config
	}
	out["command"] = b2.list(command.Argv)
	if command.Script != nil {
		out["command"] = b2.text(command.Script)
	}
	return starlarkstruct.FromStringDict(starlark.String("resolved"), out), b2.err
}

// resolver fills references with values that are the same on every machine.
type resolver struct {
	p     *plan
	depth int
	err   error
}

func (b *resolver) fill(t graph.Text) string {
	s, err := t.Fill(b.value)
	if err != nil && b.err == nil {
		b.err = err
	}
	return s
}

func (b *resolver) text(t graph.Text) starlark.Value {
	if t == nil {
		return starlark.None
	}
	return starlark.String(b.fill(t))
}

func (b *resolver) list(ts []graph.Text) starlark.Value {
	out := make([]starlark.Value, len(ts))
	for i, t := range ts {
		out[i] = b.text(t)
	}
	return starlark.NewList(out)
}

func (b *resolver) dict(d graph.Dict[graph.Text]) starlark.Value {
	out := starlark.NewDict(len(d))
	for _, e := range d {
		if err := out.SetKey(starlark.String(e.Key), b.text(e.Value)); err != nil && b.err == nil {
			b.err = err
		}
	}
	return out
}

// config is the text of a config file, or its tree.
func (b *resolver) config(c *graph.ConfigFile) starlark.Value {
	switch {
	case c.Text != nil:
		return b.text(c.Text)
	case c.Source != nil:
		return b.text(c.Source)
	case c.Lines != nil:
		var s strings.Builder
		for _, l := range c.Lines {
			s.WriteString(b.fill(l) + "\n")
		}
		return starlark.String(s.String())
	}
	for _, t := range []graph.Tree{c.JSON, c.YAML, c.TOML, c.INI} {
		if t.Value == nil {
			continue
		}
		v, err := fromJSON(b.tree(t.Value))
		if err != nil && b.err == nil {
			b.err = err
		}
		return v
	}
	return starlark.None
}

func (b *resolver) tree(v any) any {
	switch v := v.(type) {
	case graph.Text:
		s := b.fill(v)
		if r, ok := v.Native(); ok && strings.HasPrefix(r.Attr, "ports.") {
			if n, err := strconv.Atoi(s); err == nil {
				return n
			}
		}
		return s
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = b.tree(v[i])
		}
		return out
	case graph.Dict[any]:
		out := make(graph.Dict[any], len(v))
		for i := range v {
			out[i] = graph.Entry[any]{Key: v[i].Key, Value: b.tree(v[i].Value)}
		}
		return out
	}
	return v
}

// value is what a reference is filled with.
func (b *resolver) value(r graph.Ref) (string, error) {
	switch r.Scope {
	case graph.ScopeProject:
		return "/project", nil
	case graph.ScopeTool:
		return "/tools/" + r.Attr, nil
	case graph.ScopeSecret:
		if r.Attr == "path" {
			return "/run/secrets/" + r.Name, nil
		}
		return "secret:" + r.Name, nil
	}
	n := b.p.g.Node(r.Name)
	if n == nil {
		return "", fmt.Errorf("%s refers to nothing", r)
	}
	top, name, _ := strings.Cut(r.Attr, ".")
	switch top {
	case "state_dir", "runtime_dir", "cache_dir":
		return map[string]string{"state_dir": "/state/", "runtime_dir": "/run/", "cache_dir": "/cache/"}[top] + r.Name, nil
	case "log_file":
		return "/logs/" + r.Name + ".log", nil
	case "data_id":
		return "data-" + r.Name, nil
	case "config", "sockets":
		return "/run/" + r.Name + "/" + name, nil
	case "values":
		return "<" + r.Name + ".values." + name + ">", nil
	case "outputs":
		o, _ := n.Task.Outputs.Get(name)
		return b.fill(o.Path), nil
	case "host", "name":
		return map[string]string{"host": "127.0.0.1", "name": r.Name}[top], nil
	case "ports":
		return strconv.Itoa(b.p.port(n, name)), nil
	case "address":
		names := n.Service.PortNames()
		return "127.0.0.1:" + strconv.Itoa(b.p.port(n, names[0])), nil
	case "exports":
		if b.depth++; b.depth > 16 {
			return "", fmt.Errorf("%s refers to itself", r)
		}
		defer func() { b.depth-- }()
		t, _ := n.Service.Exports.Get(name)
		return b.fill(t), nil
	}
	return "", fmt.Errorf("%s has no value in a test", r)
}

// port is the one that the test chose, else the base.
func (p *plan) port(n *graph.Node, name string) int {
	if chosen, ok := p.ports[n.Name()+"."+name]; ok {
		return chosen
	}
	if l, ok := n.Service.Listen.Get(name); ok {
		return l.Base
	}
	l, _ := n.Service.Ports.Get(name)
	return l.Base
}
