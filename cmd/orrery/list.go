package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"orrery/lang/graph"
)

func listCommand(a *app) *cobra.Command {
	var params, groups bool
	c := &cobra.Command{
		Use:   "list [TARGET...]",
		Short: "Show what is declared: services, tasks, groups, parameters",
		Long: `Shows what services.star declares, in order of declaration: each service and task
with what it waits for, then groups and parameters. Nothing is started.

With --json it prints an array of nodes:
  {"name", "kind", "description", "labels", "part_of",
   "after": [{"node", "cond"}], "autostart", "schedule", "pos": {"file", "line", "col"}}
--params --json prints [{"name", "value", "default", "choices", "help"}],
--groups --json [{"name", "members"}].`,
		Example: `  orrery list               everything
  orrery list shop          the subtree shop
  orrery list --params      what --set takes
  orrery list --json | jq -r '.[].name'`,
		RunE: func(c *cobra.Command, args []string) error {
			p, err := a.load(c.Context())
			if err != nil {
				return err
			}
			g := p.Graph
			switch {
			case params:
				return a.listParams(g)
			case groups:
				return a.listGroups(g)
			}
			return a.list(g, args)
		},
	}
	c.Flags().BoolVar(&params, "params", false, "only the parameters, with values and help")
	c.Flags().BoolVar(&groups, "groups", false, "only the groups")
	c.MarkFlagsMutuallyExclusive("params", "groups")
	return c
}

// listed is a node in the JSON of list.
type listed struct {
	Name        string      `json:"name"`
	Kind        graph.Kind  `json:"kind"` // service or task
	Description string      `json:"description"`
	Labels      []string    `json:"labels"`
	PartOf      string      `json:"part_of"`            // the service that it is a part of, or empty
	After       []graph.Dep `json:"after"`              // what it waits for, references included
	Autostart   bool        `json:"autostart"`          // a bare up starts it
	Schedule    string      `json:"schedule,omitempty"` // when it runs by itself
	Pos         graph.Pos   `json:"pos"`
}

func (a *app) list(g *graph.Graph, names []string) error {
	whole := len(names) == 0
	nodes := g.Nodes
	if !whole {
		picked, err := g.Expand(names)
		if err != nil {
			return err
		}
		nodes = make([]*graph.Node, len(picked))
		for i, name := range picked {
			nodes[i] = g.Node(name)
		}
	}
	if a.json {
		return a.listJSON(g, nodes)
	}
	w := bufio.NewWriter(os.Stdout)
	for _, kind := range []graph.Kind{graph.KindService, graph.KindTask} {
		a.section(w, g, nodes, kind)
	}
	if whole && len(g.Groups) > 0 {
		fmt.Fprintln(w, a.tint(bold, "groups"))
		for _, gr := range g.Groups {
			fmt.Fprintf(w, "  %s: %s\n", gr.Name, strings.Join(gr.Members, ", "))
		}
	}
	if whole && len(g.Params) > 0 {
		fmt.Fprintln(w, a.tint(bold, "parameters"))
		for _, p := range g.Params {
			fmt.Fprintf(w, "  %s=%s%s\n", p.Name, valueText(p.Value), a.tint(dim, prefixed("  ", p.Help)))
		}
	}
	if len(nodes) == 0 {
		a.say("nothing is declared yet; orrery help service shows how")
	}
	return w.Flush()
}

func prefixed(by, s string) string {
	if s == "" {
		return ""
	}
	return by + s
}

// section writes the nodes of one kind.
func (a *app) section(w *bufio.Writer, g *graph.Graph, nodes []*graph.Node, kind graph.Kind) {
	t := table{head: []string{string(kind) + "s", "needs", "description"}}
	for _, n := range nodes {
		if n.Kind != kind {
			continue
		}
		about := oneLine(n.Common().Description)
		if n.Kind == graph.KindService && !n.Service.Autostart {
			about = strings.TrimSpace("(on demand) " + about)
		}
		if s := scheduleText(n); s != "" {
			about = strings.TrimSpace("(" + s + ") " + about)
		}
		t.rows = append(t.rows, []cell{{"  " + n.Name(), ""}, {needs(g, n.Name()), dim}, {about, ""}})
	}
	if len(t.rows) > 0 {
		t.write(w, a, columns())
	}
}

// scheduleText says when a task runs by itself; "" if it does not.
func scheduleText(n *graph.Node) string {
	if n.Kind != graph.KindTask || n.Task.Schedule == nil {
		return ""
	}
	return n.Task.Schedule.String()
}

// needs is what a node waits for, in few words.
func needs(g *graph.Graph, name string) string {
	var all []string
	for _, d := range depsOf(g, name) {
		if d.Cond == g.Node(d.Node).DefaultCond() {
			all = append(all, d.Node)
		} else {
			all = append(all, d.Node+"."+string(d.Cond))
		}
	}
	if len(all) > 4 {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:3], ", "), len(all)-3)
	}
	return strings.Join(all, ", ")
}

// depsOf are the conditions that a node waits for, in order, references
// included.
func depsOf(g *graph.Graph, name string) []graph.Dep {
	deps := []graph.Dep{}
	for _, e := range g.Out(name) {
		deps = append(deps, graph.Dep{Node: e.To, Cond: e.Cond})
	}
	return deps
}

func (a *app) listJSON(g *graph.Graph, nodes []*graph.Node) error {
	all := make([]listed, len(nodes))
	for i, n := range nodes {
		c := n.Common()
		all[i] = listed{
			Name: c.Name, Kind: n.Kind, Description: c.Description, Labels: append([]string{}, c.Labels...),
			PartOf: c.PartOf, After: depsOf(g, c.Name), Autostart: n.Kind == graph.KindService && n.Service.Autostart,
			Schedule: scheduleText(n), Pos: n.Pos,
		}
	}
	return a.printJSON(all)
}

func (a *app) listParams(g *graph.Graph) error {
	if a.json {
		return a.printJSON(append([]graph.Param{}, g.Params...))
	}
	t := table{head: []string{"parameter", "value", "default", "choices", "help"}}
	for _, p := range g.Params {
		var choices []string
		for _, c := range p.Choices {
			choices = append(choices, valueText(c))
		}
		t.rows = append(t.rows, []cell{{p.Name, ""}, {valueText(p.Value), ""}, {valueText(p.Default), dim}, {strings.Join(choices, ", "), dim}, {oneLine(p.Help), ""}})
	}
	if len(t.rows) == 0 {
		a.say("no parameters are declared; param(\"workers\", default = 2) declares one")
		return nil
	}
	return t.write(os.Stdout, a, columns())
}

// valueText shows a parameter's value as --set takes it.
func valueText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []any:
		all := make([]string, len(v))
		for i, e := range v {
			all[i] = valueText(e)
		}
		return strings.Join(all, ",")
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

func (a *app) listGroups(g *graph.Graph) error {
	if a.json {
		return a.printJSON(append([]graph.Group{}, g.Groups...))
	}
	t := table{head: []string{"group", "members"}}
	for _, gr := range g.Groups {
		t.rows = append(t.rows, []cell{{gr.Name, ""}, {strings.Join(gr.Members, ", "), ""}})
	}
	if len(t.rows) == 0 {
		a.say("no groups are declared; group(\"data\", [db, cache]) declares one")
		return nil
	}
	return t.write(os.Stdout, a, columns())
}
