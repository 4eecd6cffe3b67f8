package graph

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Kind says what a node is.
type Kind string

// The kinds of nodes.
const (
	KindService Kind = "service"
	KindTask    Kind = "task"
)

// Use is what spec.star says of the field that holds a text.
type Use struct {
	Type string // text, path, port or data
	Edge bool   // a reference in it makes the node wait
}

// Node is a service or a task, and where it was declared.
type Node struct {
	Kind    Kind     `json:"kind"`
	Service *Service `json:"service,omitempty"` // set if Kind is KindService
	Task    *Task    `json:"task,omitempty"`    // set if Kind is KindTask
	Pos     Pos      `json:"pos"`               // the user's line
	Stack   []Frame  `json:"stack,omitempty"`   // the calls below it, when a factory made it
}

// Common returns what services and tasks share.
func (n *Node) Common() *Common {
	if n.Kind == KindTask {
		return &n.Task.Common
	}
	return &n.Service.Common
}

// Name is the node's name.
func (n *Node) Name() string { return n.Common().Name }

// Texts calls yield for every text of the node.
func (n *Node) Texts(yield func(field string, use Use, t *Text)) {
	if n.Kind == KindTask {
		n.Task.Texts(yield)
		return
	}
	n.Service.Texts(yield)
}

// DefaultCond is what "after this node" means: ready, or succeeded.
func (n *Node) DefaultCond() Cond {
	if n.Kind == KindTask {
		return Succeeded
	}
	return Ready
}

// PortNames returns the names of the service's allocated ports: its ports, then
// its tcp and udp sockets, in order of declaration.
func (s *Service) PortNames() []string {
	names := s.Ports.Keys()
	for _, l := range s.Listen {
		if l.Value.Kind == "tcp" || l.Value.Kind == "udp" {
			names = append(names, l.Key)
		}
	}
	return names
}

// SocketNames returns the names of the unix sockets that orrery binds for it.
func (s *Service) SocketNames() []string {
	var names []string
	for _, l := range s.Listen {
		if l.Value.Kind != "tcp" && l.Value.Kind != "udp" {
			names = append(names, l.Key)
		}
	}
	return names
}

// Param is a parameter of the project, with the value that was used.
type Param struct {
	Name    string `json:"name"`
	Value   any    `json:"value"`
	Default any    `json:"default"`
	Choices []any  `json:"choices,omitempty"`
	Help    string `json:"help,omitempty"`
	Pos     Pos    `json:"-"`
}

// Decl is what the evaluation of a project has declared.
type Decl struct {
	Project Project
	Params  []Param
	Groups  []Group
	Nodes   []*Node
	Secrets []*Secret
	Tools   []*Tool
	Pools   []*Pool
	// Configs says which service took a config_file: its identity in
	// references -> the service and "config.<name>".
	Configs map[string]Ref
}

// Edge says that a node waits for a condition of another.
type Edge struct {
	From  string `json:"from"`
	To    string `json:"to"`
	Cond  Cond   `json:"cond"`
	Field string `json:"field"`         // the field of From that made it; for before, gates and template the other's
	Ref   string `json:"ref,omitempty"` // the marker, if a reference made it
	Pos   Pos    `json:"pos"`           // of the declaration that made it
}

// Graph is the graph of a project. It is immutable.
type Graph struct {
	Project Project
	Params  []Param
	Groups  []Group
	Nodes   []*Node // in order of declaration
	Secrets []*Secret
	Tools   []*Tool
	Pools   []*Pool

	index   map[string]int
	out     [][]Edge         // by index of From
	in      [][]Edge         // by index of To
	gates   map[int][]string // service -> tasks that gate it
	configs map[string]Ref
}

// New makes a Graph: it looks at names, makes references long, checks their
// kinds, draws the edges and looks for cycles. It returns every problem found,
// in order of declaration; the graph is usable only when there is none.
func New(d Decl) (*Graph, []*Problem) {
	g := &Graph{
		Project: d.Project, Params: d.Params, Groups: d.Groups, Nodes: d.Nodes,
		Secrets: d.Secrets, Tools: d.Tools, Pools: d.Pools,
		index: make(map[string]int, len(d.Nodes)),
		out:   make([][]Edge, len(d.Nodes)), in: make([][]Edge, len(d.Nodes)),
		gates: map[int][]string{}, configs: d.Configs,
	}
	b := &builder{g: g}
	b.names()
	b.members()
	b.references()
	b.exportLoops()
	b.edges()
	b.cycles()
	slices.SortStableFunc(b.problems, func(a, c *Problem) int { return a.order - c.order })
	return g, b.problems
}

// Node returns the node called name, or nil.
func (g *Graph) Node(name string) *Node {
	if i, ok := g.index[name]; ok {
		return g.Nodes[i]
	}
	return nil
}

// Index returns the place of a node in Nodes, or -1.
func (g *Graph) Index(name string) int {
	if i, ok := g.index[name]; ok {
		return i
	}
	return -1
}

// Out returns what the node waits for. Callers must not change it.
func (g *Graph) Out(name string) []Edge {
	if i, ok := g.index[name]; ok {
		return g.out[i]
	}
	return nil
}

// In returns who waits for the node. Callers must not change it.
func (g *Graph) In(name string) []Edge {
	if i, ok := g.index[name]; ok {
		return g.in[i]
	}
	return nil
}

// Gates returns the tasks that gate a service, in order of declaration.
func (g *Graph) Gates(service string) []string { return g.gates[g.Index(service)] }

// Edges returns every edge, in order of the declaration that waits.
func (g *Graph) Edges() []Edge {
	var all []Edge
	for _, es := range g.out {
		all = append(all, es...)
	}
	return all
}

// Tool returns the tool that references call name, or nil: its first program
// and, from the second tool with the same first program on, "#2" and so on.
func (g *Graph) Tool(name string) *Tool {
	program, number, _ := strings.Cut(name, "#")
	n := 1
	if number != "" {
		var err error
		if n, err = strconv.Atoi(number); err != nil {
			return nil
		}
	}
	for _, t := range g.Tools {
		if len(t.Programs) > 0 && t.Programs[0] == program {
			if n--; n == 0 {
				return t
			}
		}
	}
	return nil
}

// ToolName is the name under which references have a tool of the graph, as Tool
// takes it.
func (g *Graph) ToolName(t *Tool) string {
	n := 0
	for _, other := range g.Tools {
		if other.Programs[0] == t.Programs[0] {
			n++
		}
		if other == t {
			break
		}
	}
	if n < 2 {
		return t.Programs[0]
	}
	return t.Programs[0] + "#" + strconv.Itoa(n)
}

// Secret returns the secret called name, or nil.
func (g *Graph) Secret(name string) *Secret {
	for _, s := range g.Secrets {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// PartOf reports whether a node belongs to the subtree called top: by its name
// or by part_of.
func (g *Graph) PartOf(n *Node, top string) bool {
	found := false
	g.above(n, func(t string) { found = found || t == top })
	return found
}

// UnknownTarget is the error of a name that no node, group or subtree has.
type UnknownTarget struct {
	Name string
	Hint string // the nearest name, or ""
}

// Error names the target and the nearest one.
func (e *UnknownTarget) Error() string {
	s := fmt.Sprintf("unknown target %q", e.Name)
	if e.Hint != "" {
		s += fmt.Sprintf("; did you mean %q?", e.Hint)
	}
	return s
}

// Expand turns targets (nodes, groups, subtrees) into names of nodes, in order
// of declaration. No target: the project's default, else every service with
// autostart; and every task with a schedule. The error is an *UnknownTarget.
func (g *Graph) Expand(targets []string) ([]string, error) {
	if len(targets) > 0 {
		return g.expand(targets)
	}
	targets = slices.Clone(g.Project.Default)
	for _, n := range g.Nodes {
		if n.Kind == KindTask && n.Task.Schedule != nil ||
			n.Kind == KindService && n.Service.Autostart && len(g.Project.Default) == 0 {
			targets = append(targets, n.Name())
		}
	}
	return g.expand(targets)
}

// expand marks the nodes of every target in one pass over the graph.
func (g *Graph) expand(targets []string) ([]string, error) {
	want := make([]bool, len(g.Nodes))
	tops := make(map[string]bool, len(targets)) // name of a node or subtree -> found
	for _, t := range targets {
		if members, ok := g.group(t); ok {
			for _, m := range members {
				if i, ok := g.index[m]; ok {
					want[i] = true
				}
			}
			continue
		}
		tops[t] = false
	}
	for i, n := range g.Nodes {
		g.above(n, func(top string) {
			if _, ok := tops[top]; ok {
				want[i], tops[top] = true, true
			}
		})
	}
	for _, t := range targets {
		if found, ok := tops[t]; ok && !found {
			return nil, &UnknownTarget{Name: t, Hint: Suggest(t, g.targets())}
		}
	}
	return g.named(want), nil
}

func (g *Graph) group(name string) (members []string, ok bool) {
	for _, gr := range g.Groups {
		if gr.Name == name {
			return gr.Members, true
		}
	}
	return nil, false
}

// above calls yield for every subtree that the node belongs to: its own name,
// the names it is nested under, and those of the nodes it is part of.
func (g *Graph) above(n *Node, yield func(top string)) {
	for range len(g.Nodes) { // bounds a loop of part_of
		name := n.Name()
		yield(name)
		for i := len(name) - 1; i > 0; i-- {
			if name[i] == '/' {
				yield(name[:i])
			}
		}
		if n = g.Node(n.Common().PartOf); n == nil {
			return
		}
	}
}

// targets lists every name that Expand takes.
func (g *Graph) targets() []string {
	var names []string
	for _, gr := range g.Groups {
		names = append(names, gr.Name)
	}
	for _, n := range g.Nodes {
		names = append(names, n.Name())
	}
	return names
}

func (g *Graph) named(want []bool) []string {
	var names []string
	for i, w := range want {
		if w {
			names = append(names, g.Nodes[i].Name())
		}
	}
	return names
}

// Selection says which nodes go with the targets.
type Selection string

// The selections of Need.
const (
	SelectNeeds      Selection = "needs"      // the targets and what they wait for
	SelectOnly       Selection = "only"       // the targets alone
	SelectDependents Selection = "dependents" // the targets, who waits for them, and what all these wait for
	SelectAll        Selection = "all"        // as dependents; no target: every node
	SelectExact      Selection = "exact"      // the nodes named alone, without what is nested under them
)

// Need returns the nodes that the targets take, in order of declaration. A
// service takes the tasks that gate it; a condition stopped takes nothing.
func (g *Graph) Need(targets []string, mode Selection) ([]string, error) {
	if mode == SelectAll && len(targets) == 0 {
		names := make([]string, len(g.Nodes))
		for i, n := range g.Nodes {
			names[i] = n.Name()
		}
		return names, nil
	}
	if mode == SelectExact {
		want := make([]bool, len(g.Nodes))
		for _, t := range targets {
			i, ok := g.index[t]
			if !ok {
				return nil, &UnknownTarget{Name: t, Hint: Suggest(t, g.targets())}
			}
			want[i] = true
		}
		return g.named(want), nil
	}
	names, err := g.Expand(targets)
	if err != nil || mode == SelectOnly {
		return names, err
	}
	if mode == SelectDependents || mode == SelectAll {
		names = g.reach(names, func(i int, visit func(string)) {
			for _, e := range g.in[i] {
				visit(e.From)
			}
		})
	}
	return g.reach(names, func(i int, visit func(string)) {
		for _, e := range g.out[i] {
			if e.Cond != Stopped {
				visit(e.To)
			}
		}
		for _, t := range g.gates[i] {
			visit(t)
		}
	}), nil
}

// reach returns what next leads to from names, in order of declaration.
func (g *Graph) reach(names []string, next func(i int, visit func(string))) []string {
	seen := make([]bool, len(g.Nodes))
	var stack []int
	visit := func(name string) {
		if i := g.index[name]; !seen[i] {
			seen[i] = true
			stack = append(stack, i)
		}
	}
	for _, n := range names {
		visit(n)
	}
	for len(stack) > 0 {
		i := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		next(i, visit)
	}
	return g.named(seen)
}

// Only returns the graph of the named nodes and the edges between them, in
// order of declaration; for showing a part. References to other nodes stay in
// their texts, so it is not what New or UnmarshalJSON would take.
func (g *Graph) Only(names []string) *Graph {
	want := make([]bool, len(g.Nodes))
	for _, n := range names {
		if i, ok := g.index[n]; ok {
			want[i] = true
		}
	}
	o := *g
	o.Nodes, o.out, o.in = nil, nil, nil
	o.index, o.gates = map[string]int{}, map[int][]string{}
	foreign := func(end func(Edge) string) func(Edge) bool {
		return func(e Edge) bool { return !want[g.index[end(e)]] }
	}
	for i, n := range g.Nodes {
		if !want[i] {
			continue
		}
		k := len(o.Nodes)
		o.index[n.Name()] = k
		o.Nodes = append(o.Nodes, n)
		o.out = append(o.out, slices.DeleteFunc(slices.Clone(g.out[i]), foreign(func(e Edge) string { return e.To })))
		o.in = append(o.in, slices.DeleteFunc(slices.Clone(g.in[i]), foreign(func(e Edge) string { return e.From })))
		for _, t := range g.gates[i] {
			if want[g.index[t]] {
				o.gates[k] = append(o.gates[k], t)
			}
		}
	}
	return &o
}

// Order returns the nodes such that each comes after all that it waits for,
// and otherwise as declared. A condition stopped does not count: it comes at
// the end of a run.
func (g *Graph) Order() []string {
	done := make([]bool, len(g.Nodes))
	order := make([]string, 0, len(g.Nodes))
	var visit func(i int)
	visit = func(i int) {
		if done[i] {
			return
		}
		done[i] = true
		for _, e := range g.out[i] {
			if e.Cond == Stopped {
				continue
			}
			to := g.index[e.To]
			visit(to)
			if e.Cond == Ready || e.Cond == Healthy {
				for _, t := range g.gates[to] {
					visit(g.index[t])
				}
			}
		}
		order = append(order, g.Nodes[i].Name())
	}
	for i := range g.Nodes {
		visit(i)
	}
	return order
}

// Suggest returns the candidate nearest to name, or "" when none is near.
func Suggest(name string, candidates []string) string {
	best, bestDist := "", 3
	switch {
	case len(name) == 1:
		bestDist = 1 // anything is near one letter
	case len(name) < 5:
		bestDist = 2
	}
	for _, c := range candidates {
		if d := distance(name, c, bestDist); d < bestDist {
			best, bestDist = c, d
		}
	}
	return best
}

// distance is the edit distance of a and b, two neighbours swapped counting as
// one edit, or limit when it is no less.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
			least = min(least, next[j])
		}
		if least >= limit {
			return limit
		}
		before, row = row, next
	}
	return min(row[len(b)], limit)
}
