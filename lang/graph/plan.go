package graph

import (
	"encoding/json"
	"errors"
	"fmt"
)

// PlanVersion is the version that MarshalJSON writes. It grows when a reader
// would misread the new form; further fields do not change it.
const PlanVersion = 1

// plan is the JSON form of a graph.
type plan struct {
	Version int        `json:"version"`
	Project Project    `json:"project"`
	Params  []Param    `json:"params"`
	Groups  []Group    `json:"groups"`
	Secrets []*Secret  `json:"secrets,omitempty"`
	Tools   []*Tool    `json:"tools,omitempty"`
	Pools   []*Pool    `json:"pools,omitempty"`
	Nodes   []planNode `json:"nodes"`
	Edges   []Edge     `json:"edges"`
}

// planNode is a node with its fields beside its kind.
type planNode struct{ n *Node }

type planHead struct {
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
}

type planTail struct {
	Pos   Pos     `json:"pos"`
	Stack []Frame `json:"stack,omitempty"`
}

// MarshalJSON writes what `orrery plan --json` shows and the engine keeps:
//
//	{"version": 1, "project": {...}, "params": [...], "groups": [...],
//	 "secrets": [...], "tools": [...], "pools": [...],
//	 "nodes": [{"name", "kind", <the fields of service() or task()>, "pos", "stack"}],
//	 "edges": [{"from", "to", "cond", "field", "ref", "pos"}]}
//
// Nodes stand in order of declaration, fields that hold nothing are left out,
// references are markers such as ⟦db.ports.tcp⟧, durations texts, sizes numbers,
// modes octal texts. No value of a secret is in it: the graph knows none.
func (g *Graph) MarshalJSON() ([]byte, error) {
	p := plan{
		Version: PlanVersion, Project: g.Project,
		Params: append([]Param{}, g.Params...), Groups: append([]Group{}, g.Groups...),
		Secrets: g.Secrets, Tools: g.Tools, Pools: g.Pools,
		Nodes: make([]planNode, len(g.Nodes)), Edges: append([]Edge{}, g.Edges()...),
	}
	for i, n := range g.Nodes {
		p.Nodes[i] = planNode{n}
	}
	return marshal(p)
}

// UnmarshalJSON reads what MarshalJSON wrote and makes the graph anew, edges
// included: the one read has the Digest of the one written. A graph with a
// problem is an error.
func (g *Graph) UnmarshalJSON(b []byte) error {
	var p plan
	if err := json.Unmarshal(b, &p); err != nil {
		return fmt.Errorf("cannot read the graph: %w", err)
	}
	if p.Version != PlanVersion {
		return fmt.Errorf("cannot read the graph: got version %d, want %d", p.Version, PlanVersion)
	}
	for i := range p.Params {
		v := &p.Params[i]
		v.Value, v.Default, _ = whole(v.Value), whole(v.Default), whole(v.Choices)
	}
	d := Decl{Project: p.Project, Params: p.Params, Groups: p.Groups, Secrets: p.Secrets, Tools: p.Tools, Pools: p.Pools}
	for _, n := range p.Nodes {
		d.Nodes = append(d.Nodes, n.n)
	}
	made, problems := New(d)
	if len(problems) > 0 {
		var errs []error
		for _, p := range problems {
			errs = append(errs, fmt.Errorf("%s: %s", p.Pos, p.Message))
		}
		return fmt.Errorf("cannot read the graph: %w", errors.Join(errs...))
	}
	*g = *made
	return nil
}

// whole turns the integers of a decoded value, lists included, back to int64.
func whole(v any) any {
	switch v := v.(type) {
	case float64:
		if n := int64(v); float64(n) == v {
			return n
		}
	case []any:
		for i := range v {
			v[i] = whole(v[i])
		}
	}
	return v
}

// MarshalJSON writes the node's name and kind, its fields, its place.
func (p planNode) MarshalJSON() ([]byte, error) {
	head, tail := planHead{p.n.Name(), p.n.Kind}, planTail{p.n.Pos, p.n.Stack}
	if p.n.Kind == KindTask {
		return marshal(struct {
			planHead
			*Task
			planTail
		}{head, p.n.Task, tail})
	}
	return marshal(struct {
		planHead
		*Service
		planTail
	}{head, p.n.Service, tail})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (p *planNode) UnmarshalJSON(b []byte) error {
	var head planHead
	var tail planTail
	if err := errors.Join(json.Unmarshal(b, &head), json.Unmarshal(b, &tail)); err != nil {
		return err
	}
	p.n = &Node{Kind: head.Kind, Pos: tail.Pos, Stack: tail.Stack}
	switch head.Kind {
	case KindService:
		p.n.Service = &Service{}
		return json.Unmarshal(b, p.n.Service)
	case KindTask:
		p.n.Task = &Task{}
		return json.Unmarshal(b, p.n.Task)
	}
	return fmt.Errorf("node %q: got the kind %q, want service or task", head.Name, head.Kind)
}
