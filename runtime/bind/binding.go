package bind

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"orrery/lang/graph"
)

// maxDepth bounds exports that name exports.
const maxDepth = 32

// Binding says what the references of one graph mean. All methods but Prepare and Adopt may be called from any goroutine.
type Binding struct {
	g       *graph.Graph
	table   *Table // nil: the values came from elsewhere
	opts    Options
	dirs    Dirs
	plain   bool     // a Resolve: nothing is looked up
	instead *instead // of a template: what its state_dir means; else nil
	*facts
}

// facts are what a Binding has learned; those for templates share them.
type facts struct {
	mu      sync.RWMutex
	values  map[string]string // marker -> value: what is not computed from others
	tools   map[string]string // "name:program" -> path
	secrets map[string]string // name -> value
	bases   map[string][]Var  // what tasks have of the caller, by their patterns
}

// New returns a Binding over the ports and sockets of t. Ports get their values in Prepare.
func New(t *Table, g *graph.Graph, o Options) *Binding {
	return &Binding{g: g, table: t, opts: o, dirs: t.dirs, facts: newFacts(map[string]string{})}
}

func newFacts(values map[string]string) *facts {
	if values == nil {
		values = map[string]string{} // for those of tasks
	}
	return &facts{values: values, tools: map[string]string{}, secrets: map[string]string{}, bases: map[string][]Var{}}
}

// Resolve returns a Binding that never opens, looks up or writes anything, for plans and tests: every port is its base,
// tools are their names, secrets, values and data_ids are placeholders such as "<secret db>".
func Resolve(g *graph.Graph, d Dirs, o Options) *Binding {
	b := &Binding{g: g, opts: o, dirs: d, plain: true, facts: newFacts(map[string]string{})}
	for _, n := range g.Nodes {
		if n.Kind != graph.KindService {
			continue
		}
		for _, p := range declared(g, n.Service, o) {
			b.values[mark(n.Name(), "ports."+p.name)] = strconv.Itoa(p.spec.base)
		}
		b.values[mark(n.Name(), "data_id")] = "<data_id of " + n.Name() + ">"
	}
	return b
}

// FromSnapshot returns a Binding with the values that another process has; d are the same Dirs. Tools and secrets are
// looked up here, with the environment of o.
func FromSnapshot(g *graph.Graph, d Dirs, snapshot map[string]string, o Options) *Binding {
	values := make(map[string]string, len(snapshot)) // not a clone: without an engine there is no snapshot, and tasks write values all the same
	maps.Copy(values, snapshot)
	return &Binding{g: g, opts: o, dirs: d, facts: newFacts(values)}
}

// Snapshot is what another process needs for the same texts: ports, values of tasks and data_ids by the marker of their
// reference. It holds no secret.
func (b *Binding) Snapshot() map[string]string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	m := make(map[string]string, len(b.values))
	maps.Copy(m, b.values)
	if b.plain {
		return m
	}
	for _, n := range b.g.Nodes {
		if n.Kind == graph.KindService {
			if id, err := readDataID(b.dirs, n.Name()); err == nil {
				m[mark(n.Name(), "data_id")] = id
			}
		}
	}
	return m
}

// mark is the marker of an attribute of a node.
func mark(node, attr string) string { return graph.Ref{Name: node, Attr: attr}.String() }

// Prepare allocates the ports and opens the sockets of services that are going to run; see [Table.Prepare]. It must be
// called by the goroutine that owns the Table, and again when further services are to run. The data_id of a service whose
// state_dir is gone is forgotten, so that whoever fills it anew, a template too, has a new one.
func (b *Binding) Prepare(nodes []string) error {
	if b.table == nil {
		return fmt.Errorf("cannot open ports: this binding has the values of another process")
	}
	if err := b.table.Prepare(b.g, nodes, b.opts); err != nil {
		return err
	}
	for _, n := range nodes {
		if err := b.forget(n); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for k, e := range b.table.ports.all() {
		b.values[mark(k.node, "ports."+k.name)] = strconv.Itoa(e.number)
	}
	return nil
}

// SetValues says which values a task has written. They replace earlier ones.
func (b *Binding) SetValues(task string, values map[string]string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, v := range values {
		b.values[mark(task, "values."+name)] = v
	}
}

// Value says what a reference means to the node that asks; an empty node asks from outside of the graph, as `orrery port`
// does. To a task, outputs and project paths are relative to its cwd, else all paths are absolute.
func (b *Binding) Value(r graph.Ref, node string) (string, error) {
	f := filler{b: b, node: node}
	return f.value(r)
}

// Fill is the text with every reference replaced, as Value says for the node that asks.
func (b *Binding) Fill(t graph.Text, node string) (string, error) {
	f := filler{b: b, node: node}
	return t.Fill(f.value)
}

// Path is a text that is a path, filled and made absolute: a relative one means the folder of the project file.
func (b *Binding) Path(t graph.Text, node string) (string, error) {
	f := filler{b: b, node: node, absolute: true}
	s, err := t.Fill(f.value)
	if err != nil {
		return "", err
	}
	return b.abs(s), nil
}

func (b *Binding) abs(p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(b.dirs.Root, p)
}

// Dir is the directory in which a node runs.
func (b *Binding) Dir(node string) (string, error) {
	n := b.g.Node(node)
	if n == nil || n.Common().Cwd == nil {
		return b.dirs.Root, nil
	}
	dir, err := b.Path(n.Common().Cwd, node)
	if err != nil {
		return "", fmt.Errorf("cannot tell the cwd of %s: %w", node, err)
	}
	return dir, nil
}

// User is whom a node runs as, and its group; empty: as we are, which is so whenever we are not root. A task without a
// user runs as the service that it is part of, gates or templates.
func (b *Binding) User(node string) (user, group string) {
	n := b.g.Node(node)
	if n == nil {
		return "", ""
	}
	if o, err := ownerOf(b.g, n); err == nil && o == us {
		return "", ""
	}
	return userOf(b.g, n)
}

// filler fills texts for one asker.
type filler struct {
	b        *Binding
	node     string
	absolute bool // paths are absolute whoever asks
	depth    int
	secret   bool // a secret was among the values
}

func cutAttr(attr string) (top, name string) {
	top, name, _ = strings.Cut(attr, ".")
	return top, name
}

func (f *filler) value(r graph.Ref) (string, error) {
	switch r.Scope {
	case graph.ScopeNode:
		n := f.b.g.Node(r.Name)
		if n == nil {
			return "", fmt.Errorf("cannot tell %s: there is no %q", r, r.Name)
		}
		return f.attribute(n, r)
	case graph.ScopeProject:
		return f.project(r)
	case graph.ScopeTool:
		path, err := f.b.tool(r)
		return path, f.b.neededBy(f.node, err)
	case graph.ScopeSecret:
		return f.secretValue(r)
	}
	return "", fmt.Errorf("cannot tell %s: no service has it in its config", r)
}

func (f *filler) project(r graph.Ref) (string, error) {
	dir := f.b.dirs.Root
	if r.Attr == "git_root" && f.b.dirs.GitRoot != "" {
		dir = f.b.dirs.GitRoot
	}
	return f.local(dir)
}

// local is a path in the project as the asker sees it.
func (f *filler) local(path string) (string, error) {
	n := f.b.g.Node(f.node)
	if f.absolute || n == nil || n.Kind != graph.KindTask {
		return path, nil
	}
	cwd, err := f.b.Dir(f.node)
	if err != nil {
		return "", err
	}
	rel, err := filepath.Rel(cwd, path)
	if err != nil {
		return "", err
	}
	if !strings.Contains(rel, "/") && rel != "." && rel != ".." {
		rel = "./" + rel // a bare name would be looked for on the PATH, or taken for a flag
	}
	return rel, nil
}

// attribute says what an attribute of a node means; short forms are taken too.
func (f *filler) attribute(n *graph.Node, r graph.Ref) (string, error) {
	long, _, err := n.Attribute(r.Attr)
	if err != nil {
		return "", fmt.Errorf("cannot tell %s: %w", r, err)
	}
	b, name := f.b, n.Name()
	top, below := cutAttr(long)
	switch top {
	case "name":
		return name, nil
	case "ports":
		return b.known(r, mark(name, long), "its service is not going to run; name it as a target as well")
	case "host":
		return hostOf(n.Service), nil
	case "address":
		return f.address(n, r)
	case "sockets":
		l, _ := n.Service.Listen.Get(below)
		return socketPath(b.dirs, name, l.File), nil
	case "exports":
		return f.export(n, r, below)
	case "config":
		return b.configPath(name, below), nil
	case "state_dir":
		return b.stateDir(name), nil
	case "runtime_dir":
		return b.dirs.Path("run", name), nil
	case "cache_dir":
		return b.dirs.Path("cache", name), nil
	case "log_file":
		if b.dirs.LogFile == nil {
			return "", fmt.Errorf("cannot tell %s: no log is kept", r)
		}
		return b.dirs.LogFile(name), nil
	case "data_id":
		return b.dataID(name)
	case "outputs":
		return f.output(n, below)
	case "values":
		if b.plain {
			return "<" + name + ".values." + below + ">", nil
		}
		return b.known(r, mark(name, long), "the task has not run")
	}
	return "", fmt.Errorf("cannot tell %s: it is a condition, and no text", r)
}

// known is a value that must be there by now.
func (b *Binding) known(r graph.Ref, marker, why string) (string, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if v, ok := b.values[marker]; ok {
		return v, nil
	}
	return "", fmt.Errorf("cannot tell %s: %s", r, why)
}

// hostOf is where clients on this machine reach the service: the host of its first port or socket.
func hostOf(s *graph.Service) string {
	host := ""
	if len(s.Ports) > 0 {
		host = s.Ports[0].Value.Host
	} else {
		for _, l := range s.Listen {
			if l.Value.Kind == "tcp" || l.Value.Kind == "udp" {
				host = l.Value.Host
				break
			}
		}
	}
	switch host {
	case "", "0.0.0.0", "*", "::":
		return "127.0.0.1"
	}
	return host
}

func (f *filler) address(n *graph.Node, r graph.Ref) (string, error) {
	port, err := f.attribute(n, graph.Ref{Name: r.Name, Attr: "port"})
	if err != nil {
		return "", err
	}
	host := hostOf(n.Service)
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + port, nil
}

func (f *filler) export(n *graph.Node, r graph.Ref, name string) (string, error) {
	if f.depth >= maxDepth {
		return "", fmt.Errorf("cannot tell %s: exports name each other in a loop", r)
	}
	text, _ := n.Service.Exports.Get(name)
	f.depth++
	defer func() { f.depth-- }()
	return text.Fill(f.value)
}

func (f *filler) output(n *graph.Node, name string) (string, error) {
	in, _ := n.Task.Outputs.Get(name)
	path, err := f.b.outputPath(n, name, in)
	if err != nil {
		return "", err
	}
	return f.local(path)
}

// outputPath is the absolute path of an output; of a pattern, that of the folder above it.
func (b *Binding) outputPath(n *graph.Node, name string, in graph.Input) (string, error) {
	if in.Pattern != nil {
		if len(in.Pattern.Include) == 0 {
			return b.dirs.Root, nil
		}
		return b.abs(patternRoot(in.Pattern.Include[0])), nil
	}
	path, err := b.Path(in.Path, n.Name())
	if err != nil {
		return "", fmt.Errorf("cannot tell the output %s of %s: %w", name, n.Name(), err)
	}
	return path, nil
}

// patternRoot is the folder above the first component of a pattern that is no plain name.
func patternRoot(p string) string {
	var plain []string
	for part := range strings.SplitSeq(p, "/") {
		if strings.ContainsAny(part, `*?[{\`) {
			break
		}
		plain = append(plain, part)
	}
	return filepath.Join(slices.Concat([]string{"."}, plain)...)
}
