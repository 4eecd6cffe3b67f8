package export

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"orrery/lang/graph"
)

// Values say what the references of a graph mean, for the formats that other
// programs run: whoever binds the graph hands them in.
type Values struct {
	Fill    func(t graph.Text, node string) (string, error)                     // a text
	Command func(c *graph.Command, node string) (argv, env []string, err error) // a command; env are K=V that a script reads its references from
	Env     func(node string) ([]string, error)                                 // what is declared for a node, as K=V; not what everybody has
	Dir     func(node string) (string, error)                                   // its folder, relative to the project where it lies in it
	Targets []string                                                            // what to run; none: as a bare orrery up
	Skip    func(n *graph.Node) bool                                            // nodes that somebody else looks after; nil: none
}

// Runner is a format that another program runs.
type Runner struct {
	Name string // as given to export
	Doc  string // one line about it
	// Write writes the graph; the warnings say what the format cannot express.
	Write func(w io.Writer, b *Bound) (warnings []string, err error)
}

// Runners returns every format that another program runs, in the order that
// help shows.
func Runners() []Runner {
	return []Runner{
		{"Procfile", "a Procfile for foreman, overmind, hivemind, honcho, goreman", procfile},
		{"process-compose", "a process-compose.yaml", processCompose},
		{"compose", "a compose.yaml for Docker or Podman", compose},
		{"mprocs", "an mprocs.yaml", mprocs},
	}
}

// Bound is a graph with its values.
type Bound struct {
	graph    *graph.Graph
	programs []*program // in an order in which each comes after what it waits for
	warnings []string
}

// program is a node, bound.
type program struct {
	node    *graph.Node
	name    string // with - for /
	argv    []string
	env     []string
	dir     string // "" is the project's folder
	enabled bool   // part of what is to run
	ready   *bound
	live    *bound
	stop    []string // argv; nil: by a signal
}

// bound is a probe, bound.
type bound struct {
	*graph.Probe
	argv             []string
	path, host, port string
	headers          []string // "K: V"
	file             string   // or the socket
}

// Bind fills what the formats need of a graph.
func Bind(g *graph.Graph, v Values) (*Bound, error) {
	b := &Bound{graph: g}
	need, err := g.Need(v.Targets, graph.SelectNeeds)
	if err != nil {
		return nil, err
	}
	for _, name := range g.Order() {
		p := &program{node: g.Node(name), name: strings.ReplaceAll(name, "/", "-"), enabled: slices.Contains(need, name)}
		if len(v.Targets) > 0 && !p.enabled || v.Skip != nil && v.Skip(p.node) {
			continue
		}
		if err := b.fill(p, v); err != nil {
			if !p.enabled {
				b.warn("%s is left out: %v", name, err)
				continue
			}
			return nil, err
		}
		b.programs = append(b.programs, p)
	}
	return b, nil
}

func (b *Bound) warn(format string, args ...any) {
	w := fmt.Sprintf(format, args...)
	if !slices.Contains(b.warnings, w) {
		b.warnings = append(b.warnings, w)
	}
}

func (b *Bound) fill(p *program, v Values) error {
	name := p.node.Name()
	env, err := v.Env(name)
	if err != nil {
		return err
	}
	if p.dir, err = v.Dir(name); err != nil {
		return err
	}
	var extra []string
	if p.node.Kind == graph.KindTask {
		p.argv, extra, err = taskArgv(p.node.Task, v)
	} else {
		p.argv, extra, err = v.Command(&p.node.Service.Command, name)
	}
	if err != nil {
		return err
	}
	p.env = append(env, extra...)
	if s := p.node.Service; s != nil {
		b.lost(name, s)
		if p.ready, err = fillProbe(readiness(s), s, v); err != nil {
			return err
		}
		if p.live, err = fillProbe(s.Live, s, v); err != nil {
			return err
		}
		if s.Stop.Kind == "exec" {
			p.stop, _, err = v.Command(&s.Stop.Command, name)
		}
	}
	return err
}

// taskArgv is what a task runs; several steps are one script.
func taskArgv(t *graph.Task, v Values) (argv, env []string, err error) {
	if t.Command != nil {
		return v.Command(t.Command, t.Name)
	}
	var lines []string
	for _, step := range t.Steps {
		argv, _, err := v.Command(&graph.Command{Argv: step}, t.Name)
		if err != nil {
			return nil, nil, err
		}
		lines = append(lines, shellLine(argv))
	}
	return []string{"sh", "-euc", strings.Join(lines, " && ")}, nil, nil
}

// readiness is the probe that stands, or the usual one: the first port answers.
func readiness(s *graph.Service) *graph.Probe {
	if s.Ready != nil || len(s.Ports) == 0 {
		return s.Ready
	}
	return &graph.Probe{Kind: "tcp", Success: 1, Failure: 3, Host: graph.Lit("127.0.0.1")}
}

func fillProbe(p *graph.Probe, s *graph.Service, v Values) (*bound, error) {
	if p == nil {
		return nil, nil
	}
	b, node := &bound{Probe: p}, s.Name
	var err error
	fill := func(t graph.Text) (s string) {
		if t != nil && err == nil {
			s, err = v.Fill(t, node)
		}
		return s
	}
	b.path, b.host, b.port, b.file = fill(p.Path), fill(p.Host), fill(p.Port), fill(p.File)+fill(p.Socket)
	if names := s.PortNames(); p.Port == nil && p.Socket == nil && (p.Kind == "http" || p.Kind == "tcp") && len(names) > 0 {
		b.port = fill(graph.RefText(graph.Ref{Name: node, Attr: "ports." + names[0]}))
	}
	for _, h := range p.Headers {
		b.headers = append(b.headers, h.Key+": "+fill(h.Value))
	}
	if p.Kind == "exec" && err == nil {
		b.argv, _, err = v.Command(&p.Command, node)
	}
	return b, err
}

// lost warns about what no other manager does.
func (b *Bound) lost(name string, s *graph.Service) {
	for _, x := range []struct {
		has  bool
		text string
	}{
		{len(s.Listen) > 0, "the sockets of %s are bound by orrery alone (listen)"},
		{len(s.Config) > 0, "the config files of %s are written by orrery, before each start; orrery up --manager writes them once"},
		{s.Watchdog != nil, "the watchdog of %s is left out"},
		{len(s.Watch) > 0, "%s is not restarted when its files change (watch)"},
		{s.Limits != nil || s.Harden != nil, "limits and harden of %s are left out"},
		{s.Reload != nil, "reload of %s is left out"},
		{s.Lazy, "%s starts at once, not at the first connection (lazy)"},
	} {
		if x.has {
			b.warn(x.text, name)
		}
	}
}

// wants are the conditions that a node waits for, with the tasks that gate what
// it wants ready.
func (b *Bound) wants(name string) []graph.Edge {
	var all []graph.Edge
	add := func(e graph.Edge) {
		same := func(o graph.Edge) bool { return o.To == e.To && o.Cond == e.Cond }
		if !slices.ContainsFunc(all, same) && slices.ContainsFunc(b.programs, func(p *program) bool { return p.node.Name() == e.To }) {
			all = append(all, e)
		}
	}
	for _, e := range b.graph.Out(name) {
		if e.Cond == graph.Stopped {
			continue
		}
		add(e)
		if e.Cond == graph.Ready || e.Cond == graph.Healthy {
			for _, t := range b.graph.Gates(e.To) {
				if t != name {
					add(graph.Edge{From: name, To: t, Cond: graph.Succeeded})
				}
			}
		}
	}
	return all
}

// shellLine is an argv as a line for sh that does the same. It holds no line
// break.
func shellLine(argv []string) string {
	var words []string
	for _, a := range argv {
		words = append(words, shellWord(a))
	}
	return strings.Join(words, " ")
}

// shellWord is a word for sh that stands for s.
func shellWord(s string) string {
	plain := s != ""
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("@%+=:,./-_", c) >= 0) {
			plain = false
		}
	}
	switch {
	case plain:
		return s
	case strings.ContainsAny(s, "\n\r"): // line breaks at the very end are lost, which no script minds
		return `"$(printf '%b' '` + strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, `'`, `\0047`).Replace(s) + `')"`
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// commandLine is a program as one line for a shell: its folder, its
// environment, its command.
func (p *program) commandLine() string {
	line := ""
	if p.dir != "" {
		line = "cd " + shellWord(p.dir) + " && "
	}
	words := shellLine(p.argv)
	if strings.Contains(strings.SplitN(words, " ", 2)[0], "=") {
		words = "env " + words
	}
	env := ""
	for _, kv := range p.env {
		k, v, _ := strings.Cut(kv, "=")
		env += k + "=" + shellWord(v) + " "
	}
	if env != "" || line != "" || strings.ContainsAny(words, `'"`) { // a shell will stand between, and must not stay there
		return line + env + "exec " + words
	}
	return words
}
