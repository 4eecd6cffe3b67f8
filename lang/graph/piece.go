package graph

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Frame is a graph without its nodes, as text, for Assemble.
func (g *Graph) Frame() ([]byte, error) {
	p := plan{Version: PlanVersion, Project: g.Project, Params: g.Params, Secrets: g.Secrets, Tools: g.Tools, Pools: g.Pools}
	p.Project.Default = nil
	return marshal(p)
}

// Piece is a task as text, for Assemble, and the tasks that it refers to. The edges that others drew to it are its own there. There is
// none of a node that has to do with a service.
func (g *Graph) Piece(name string) (text []byte, refers []string, ok bool) {
	n := g.Node(name)
	if n == nil || n.Kind != KindTask {
		return nil, nil, false
	}
	t := *n.Task
	if t.Gates != "" || t.Template != "" || t.User != "" || t.PartOf != "" || len(t.Uses) > 0 {
		return nil, nil, false
	}
	for i := len(name) - 1; i > 0; i-- {
		if name[i] == '/' && g.Node(name[:i]) != nil {
			return nil, nil, false // it may run as the user of what it is nested under
		}
	}
	t.Before, t.Watch, t.After = nil, nil, nil
	for _, e := range g.Out(name) {
		t.After = append(t.After, Dep{Node: e.To, Cond: e.Cond})
		refers = append(refers, e.To)
	}
	t.Texts(func(_ string, _ Use, x *Text) {
		for _, p := range *x {
			if p.Ref != nil && p.Ref.Scope == ScopeNode && p.Ref.Name != name {
				refers = append(refers, p.Ref.Name)
			}
		}
	})
	slices.Sort(refers)
	refers = slices.Compact(refers)
	if slices.ContainsFunc(refers, func(to string) bool { return g.Node(to).Kind != KindTask }) {
		return nil, nil, false
	}
	text, err := marshal(planNode{&Node{Kind: KindTask, Task: &t, Pos: n.Pos, Stack: n.Stack}})
	return text, refers, err == nil
}

// Assemble makes a graph of pieces and, for the tasks that these refer to and that are not among them, of stubs: of those only the
// outputs and values are taken, they wait for nothing. The graph is one to run, not to show.
func Assemble(frame []byte, pieces, stubs [][]byte) (*Graph, error) {
	var p plan
	if err := json.Unmarshal(frame, &p); err != nil {
		return nil, fmt.Errorf("cannot read the frame of a graph: %w", err)
	}
	d := Decl{Project: p.Project, Params: p.Params, Secrets: p.Secrets, Tools: p.Tools, Pools: p.Pools}
	for i, text := range slices.Concat(pieces, stubs) {
		var n planNode
		if err := json.Unmarshal(text, &n); err != nil {
			return nil, fmt.Errorf("cannot read a piece of a graph: %w", err)
		}
		if n.n.Kind != KindTask {
			return nil, fmt.Errorf("cannot take the %s %s as a piece of a graph: want a task", n.n.Kind, n.n.Name())
		}
		if i >= len(pieces) {
			t := n.n.Task
			n.n.Task = &Task{Common: Common{Name: t.Name}, Outputs: t.Outputs, Values: t.Values}
		}
		d.Nodes = append(d.Nodes, n.n)
	}
	g, problems := New(d)
	var errs []error
	for _, p := range problems {
		errs = append(errs, errors.New(strings.TrimSpace(p.Pos.String()+": "+p.Message)))
	}
	return g, errors.Join(errs...)
}
