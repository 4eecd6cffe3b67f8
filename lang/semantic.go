package lang

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"orrery/lang/graph"
	"orrery/lang/spec"
)

// checkRecord looks at constructors beyond the types of their fields.
func (r *run) checkRecord(rec *spec.Record, call *spec.Call) {
	bad := func(field, hint, format string, args ...any) {
		r.report(Diagnostic{Code: "value", Message: rec.Builtin + ": " + field + ": " + fmt.Sprintf(format, args...), Hint: hint}, 1, field)
	}
	switch v := call.Value.(type) {
	case *graph.Probe:
		if v.Kind == "log" {
			if _, err := regexp.Compile(v.Regex); err != nil {
				bad("regex", "", "%v", err)
			}
		}
		if v.Kind == "http" && !validStatus(v.Status) {
			bad("status", "", "got %q, want such as \"2xx\", \"200\" or \"200-399\"", v.Status)
		}
	case *graph.Schedule:
		if field, err := v.Check(); err != nil {
			bad(field, "", "%v", err)
		}
	case *graph.Limits:
		if v.CPU != "" && !share.MatchString(v.CPU) {
			bad("cpu", "100% is one processor", "got %q, want a share of the processors such as \"50%%\" or \"150%%\"", v.CPU)
		}
	case *graph.Listen:
		if v.Kind == "unix" || v.Kind == "unix_dgram" || v.Kind == "unix_seqpacket" {
			name := strings.TrimPrefix(v.File, "@")
			if name == "" || !path.IsAbs(name) && strings.Contains("/"+name+"/", "/../") {
				bad("file", "", "got %q, want a file name or an absolute path", v.File)
			}
		}
	case *graph.Pattern:
		for _, p := range slices.Concat(v.Include, v.Exclude) {
			if path.IsAbs(p) || strings.Contains("/"+p+"/", "/../") || p == "" {
				bad("include", "", "got %q, want a pattern inside the project", p)
			}
		}
	}
}

// checkOverrides refuses what is for no exporter that there is or is to be, so
// that a slip of the pen does not stay silent until there is one.
func (r *run) checkOverrides(s *graph.Service) {
	if s.Overrides.Value == nil {
		return
	}
	bad := func(format string, args ...any) {
		r.report(Diagnostic{Code: "value", Message: fmt.Sprintf("service %q: overrides: ", s.Name) + fmt.Sprintf(format, args...),
			Hint: `write {"systemd": {...}}, "kubernetes" or "process-compose"`}, 1, "overrides")
	}
	entries, ok := s.Overrides.Value.(graph.Dict[any])
	if !ok {
		bad("want a dict by exporter")
		return
	}
	for _, e := range entries {
		if !slices.Contains([]string{"systemd", "kubernetes", "process-compose"}, e.Key) {
			bad("got %q, want the name of an exporter", e.Key)
		}
	}
}

var statusPart = regexp.MustCompile(`^([1-5]xx|[1-5][0-9][0-9](-[1-5][0-9][0-9])?)$`)

// share is a part of the processors.
var share = regexp.MustCompile(`^[1-9][0-9]{0,5}%$`)

func validStatus(s string) bool {
	for part := range strings.SplitSeq(s, ",") {
		if !statusPart.MatchString(strings.TrimSpace(part)) {
			return false
		}
	}
	return true
}

var execs = regexp.MustCompile(`(^|[\s;&|({])exec\s`)

// checkService looks at a service beyond the types of its fields.
func (r *run) checkService(n *graph.Node) {
	s := n.Service
	r.checkPortNames(n)
	if len(s.Command.Argv) == 0 && s.Command.Script == nil && !r.decl.broken[n.Name()] {
		r.mistake(n, fault{"empty-command", "command", ""}, "command is empty")
	}
	if len(s.Listen) > 0 && s.Command.Script != nil && !execs.MatchString(s.Command.Script.String()) {
		r.warn(Diagnostic{Code: "script-without-exec", Message: fmt.Sprintf("service %q has sockets and a script that does not exec", n.Name()),
			Hint: "write exec before the program: sockets are for the process whose pid is in LISTEN_PID"}, 1, "command")
	}
	for _, p := range []struct {
		field string
		probe *graph.Probe
	}{{"ready", s.Ready}, {"live", s.Live}} {
		if p.probe != nil {
			r.checkProbe(n, p.field, p.probe)
		}
	}
	if s.Restart.Overlap && !r.decl.broken[n.Name()] {
		switch {
		case len(s.Listen) == 0:
			r.mistake(n, fault{"overlap", "restart", "add listen = {...}: two instances can share a socket that orrery holds"}, "overlap needs listen")
		case s.Ready == nil:
			r.mistake(n, fault{"overlap", "restart", "add ready = probe.notify(), fd, exec or file"}, "overlap needs a ready probe that the new instance answers itself")
		}
	}
	r.checkSockets(n)
	r.checkEnvNames(n, "env_exports", s.EnvExports)
	r.checkCommon(n)
	r.checkScript(n, "command", &s.Command)
	if s.Stop.Kind == "exec" {
		r.checkScript(n, "stop", &s.Stop.Command)
	}
	for _, e := range s.Exports {
		if !identifier(e.Key) {
			r.mistake(n, fault{"bad-name", "exports", ""}, "got the export %q, want an identifier", e.Key)
		}
		for _, a := range graph.Attributes(graph.KindService) {
			if a.Name == e.Key {
				r.mistake(n, fault{"bad-name", "exports", "give it another name"}, "the export %q hides the attribute .%s", e.Key, e.Key)
			}
		}
	}
}

func (r *run) checkPortNames(n *graph.Node) {
	s := n.Service
	for _, name := range slices.Concat(s.Ports.Keys(), s.Listen.Keys()) {
		if strings.ContainsAny(name, ":./ ") || !graph.ValidName(strings.ToLower(name)) {
			r.mistake(n, fault{"bad-name", "ports", ""}, "got the port name %q, want letters, digits, - and _", name)
		}
	}
	for _, p := range s.Ports {
		if _, both := s.Listen.Get(p.Key); both {
			r.mistake(n, fault{"duplicate-name", "listen", "orrery binds what is in listen, the program what is in ports"}, "%q is both in ports and in listen", p.Key)
		}
	}
}

func identifier(s string) bool {
	for i, c := range s {
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// checkProbe refuses probes of sockets that orrery holds: they would always
// succeed, or never.
func (r *run) checkProbe(n *graph.Node, field string, p *graph.Probe) {
	if p.Kind == "exec" {
		r.checkScript(n, field, &p.Command)
	}
	held := r.heldBy(n, p)
	if held == "" {
		return
	}
	switch p.Kind {
	case "tcp", "unix":
		r.mistake(n, fault{"held-socket", field, "use probe.notify(), http, exec, fd or file"}, "%s: probe.%s connects to the socket %q, which orrery holds: it always succeeds", field, p.Kind, held)
	case "http":
		if n.Service.Restart.Overlap || n.Service.Lazy {
			why := "with overlap the old instance would answer"
			if n.Service.Lazy {
				why = "with lazy nobody would answer"
			}
			r.mistake(n, fault{"held-socket", field, "use probe.notify(), fd, exec or file"}, "%s: probe.http asks the socket %q, which orrery holds: %s", field, held, why)
		}
	}
}

// heldBy returns the name of the listen socket that the probe asks, or "".
func (r *run) heldBy(n *graph.Node, p *graph.Probe) string {
	s := n.Service
	text, top := p.Port, "ports."
	if p.Kind == "unix" || p.Kind == "http" && p.Socket != nil {
		text, top = p.Socket, "sockets."
	} else if p.Kind != "tcp" && p.Kind != "http" {
		return ""
	}
	if text == nil {
		if len(s.Ports) == 0 && len(s.PortNames()) == 1 {
			return s.PortNames()[0]
		}
		if len(s.PortNames()) != 1 {
			r.mistake(n, fault{"probe-port", "", "say which: port = self.ports.http"}, "probe.%s says no port, and there are %d", p.Kind, len(s.PortNames()))
		}
		return ""
	}
	for _, part := range text {
		if part.Ref == nil || part.Ref.Scope != graph.ScopeNode || part.Ref.Name != n.Name() {
			continue
		}
		name := strings.TrimPrefix(part.Ref.Attr, top)
		if part.Ref.Attr == "port" && len(s.PortNames()) == 1 {
			name = s.PortNames()[0]
		}
		if _, ok := s.Listen.Get(name); ok {
			return name
		}
	}
	return ""
}

// checkTask looks at a task beyond the types of its fields.
func (r *run) checkTask(n *graph.Node) {
	t := n.Task
	for _, o := range t.Outputs {
		if p, ok := o.Value.Path.Plain(); ok && o.Value.Path != nil {
			clean := path.Clean(p)
			switch {
			case !filepath.IsLocal(clean) || clean == ".":
				r.mistake(n, fault{"outside", "outputs", ""}, "output %q: got %q, want a path inside the project", o.Key, p)
			case clean == ".orrery" || strings.HasPrefix(clean, ".orrery/"):
				r.mistake(n, fault{"outside", "outputs", "state belongs to the services"}, "output %q: got %q, which is under orrery's own folder", o.Key, p)
			case clean == ".git" || strings.HasPrefix(clean, ".git/"):
				r.mistake(n, fault{"outside", "outputs", ""}, "output %q: got %q, which is not the task's to change", o.Key, p)
			}
		}
		for _, part := range o.Value.Path {
			if part.Ref != nil {
				r.mistake(n, fault{"reference-kind", "outputs", "outputs are plain paths in the project"}, "output %q: got the reference %s, want a path", o.Key, part.Ref)
			}
		}
		if !identifier(strings.ReplaceAll(o.Key, "-", "_")) {
			r.mistake(n, fault{"bad-name", "outputs", ""}, "got the output name %q, want letters, digits, - and _", o.Key)
		}
	}
	for _, v := range t.Values {
		if !identifier(v) {
			r.mistake(n, fault{"bad-name", "values", ""}, "got the value name %q, want an identifier", v)
		}
	}
	if t.Command != nil {
		r.checkScript(n, "command", t.Command)
	}
	if t.Status != nil {
		r.checkScript(n, "status", t.Status)
	}
	for i, step := range t.Steps {
		if len(step) == 0 {
			r.mistake(n, fault{"empty-command", "steps", ""}, "steps[%d] is empty", i)
		}
	}
	r.checkCommon(n)
}

func (r *run) checkCommon(n *graph.Node) {
	r.checkEnvNames(n, "env", n.Common().Env)
}

func (r *run) checkEnvNames(n *graph.Node, field string, env graph.Dict[graph.Text]) {
	for _, e := range env {
		if strings.ContainsAny(e.Key, "=") {
			r.mistake(n, fault{"bad-name", field, ""}, "got the variable %q, want a name without =", e.Key)
		}
	}
}

// checkScript looks at how references stand in a script.
func (r *run) checkScript(n *graph.Node, field string, c *graph.Command) {
	if c.Script == nil {
		return
	}
	if _, err := c.Script.Shell(); err != nil {
		msg, hint, _ := strings.Cut(err.Error(), "; ")
		r.mistake(n, fault{"script", field, hint}, "%s: %s", field, msg)
	}
}

// finish makes the graph and looks at it as a whole.
func (r *run) finish() *graph.Graph {
	d := r.decl
	r.peers()
	r.pools()
	r.configs()
	r.unknownParams()
	g, problems := graph.New(d.Decl)
	for _, p := range problems {
		r.problem(p)
	}
	r.strictPorts(g)
	r.outputs(g)
	if len(r.errors) == 0 {
		r.unready(g)
	}
	return g
}

// problem turns a problem of the graph into a diagnostic, unless it follows
// from a mistake that is already known.
func (r *run) problem(p *graph.Problem) {
	d := r.decl
	if p.Code != "duplicate-name" && d.broken[p.Node] {
		return
	}
	if p.Code == "unknown-attribute" || p.Code == "unknown-node" || p.Code == "unknown-target" {
		if len(r.errors) > 0 && len(d.Nodes) == 0 {
			return
		}
		for name := range d.broken {
			if strings.Contains(p.Message, strconv.Quote(name)) || strings.Contains(p.Message, "⟦"+name+".") {
				return
			}
		}
		for name := range d.peers {
			if !r.declared(name) && strings.Contains(p.Message, strconv.Quote(name)) {
				return
			}
		}
	}
	if p.Field == "group" {
		return // said where the group is declared
	}
	out := Diagnostic{Code: p.Code, Message: p.Message, Hint: p.Hint, Related: p.Related}
	pos := p.Pos
	if pos.Line == 0 && d.projectAt != nil {
		pos = *d.projectAt
	}
	field, _, _ := strings.Cut(p.Field, ".")
	if p.Code == "cycle" && len(p.Related) > 0 {
		field = ""
	}
	r.errors = append(r.errors, r.at(out, pos, p.Stack, nil, field))
}

func (r *run) declared(name string) bool {
	return slices.ContainsFunc(r.decl.Nodes, func(n *graph.Node) bool { return n.Name() == name })
}

// peers reports those that nobody declared.
func (r *run) peers() {
	if len(r.decl.peers) == 0 {
		return
	}
	names := make([]string, len(r.decl.Nodes))
	for i, n := range r.decl.Nodes {
		names[i] = n.Name()
	}
	for name, d := range r.decl.peers {
		if slices.Contains(names, name) {
			continue
		}
		if near := graph.Suggest(name, names); near != "" {
			d.Hint = fmt.Sprintf("did you mean %q?", near)
		}
		r.errors = append(r.errors, d)
	}
}

// pools gives every task the pool that its name means.
func (r *run) pools() {
	byName := map[string]*graph.Pool{}
	for _, p := range r.decl.Pools {
		byName[p.Name] = p
	}
	for _, n := range r.decl.Nodes {
		if n.Kind != graph.KindTask || n.Task.Pool == nil {
			continue
		}
		if p := byName[n.Task.Pool.Name]; p != nil {
			n.Task.Pool = p
			continue
		}
		d := Diagnostic{Code: "unknown-pool", Message: fmt.Sprintf("task %q: pool %q is not declared", n.Name(), n.Task.Pool.Name),
			Hint: fmt.Sprintf("declare it: pool(%q, 2)", n.Task.Pool.Name)}
		r.errors = append(r.errors, r.at(d, n.Pos, n.Stack, nil, "pool"))
	}
}

// configs says which service each config file belongs to; one that several
// services took can only be referred to inside them.
func (r *run) configs() {
	d := r.decl
	for _, local := range d.locals {
		r.errors = append(r.errors, local)
	}
	d.Configs = make(map[string]graph.Ref, len(d.owners))
	shared := map[string]bool{}
	for id, owners := range d.owners {
		d.Configs[id] = owners[0]
		if len(owners) > 1 {
			shared[id] = true
		}
	}
	if len(shared) == 0 {
		return
	}
	for _, n := range d.Nodes {
		n.Texts(func(field string, _ graph.Use, t *graph.Text) {
			for _, p := range *t {
				if p.Ref == nil || p.Ref.Scope != graph.ScopeConfig || !shared[p.Ref.Name] {
					continue
				}
				name, _, _ := strings.Cut(p.Ref.Name, "#")
				top, _, _ := strings.Cut(field, ".")
				diag := Diagnostic{Code: "shared-config", Message: fmt.Sprintf("config_file %q belongs to %d services, so .path says nothing here", name, len(d.owners[p.Ref.Name])),
					Hint: fmt.Sprintf("name the service: %s.config[%q]", d.owners[p.Ref.Name][0].Name, name)}
				r.errors = append(r.errors, r.at(diag, n.Pos, n.Stack, nil, top))
			}
		})
	}
}

// unknownParams reports values of --set that nobody asked for.
func (r *run) unknownParams() {
	var names []string
	for name := range r.decl.used {
		names = append(names, name)
	}
	slices.Sort(names)
	for name := range r.opt.Params {
		if r.decl.used[name] || len(r.errors) > 0 {
			continue
		}
		d := Diagnostic{Code: "unknown-param", File: r.main, Message: fmt.Sprintf("--set %s: there is no such parameter", name)}
		if near := graph.Suggest(name, names); near != "" {
			d.Hint = fmt.Sprintf("did you mean %q?", near)
		} else if len(names) > 0 {
			d.Hint = "there is " + strings.Join(names, ", ")
		}
		r.errors = append(r.errors, d)
	}
}
