package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"orrery/lang"
	"orrery/lang/graph"
	"orrery/runtime/bind"
)

func planCommand(a *app) *cobra.Command {
	var resolve, only, all bool
	c := &cobra.Command{
		Use:   "plan [TARGET...]",
		Short: "Show what up would do, in order",
		Long: `Shows what "up" would start and run, in order, with commands and the reason of each
wait. Nothing is started and no port is taken: what is known only when it runs
stands as a reference, ⟦db.ports.tcp⟧. With --resolve it is filled in as if every
port were free; secrets, values of tasks and data_ids stay placeholders.

With --json it prints one object:
  {"version": 1, "order": [names], "project": {...}, "params": [...], "groups": [...],
   "nodes": [{"name", "kind", <the fields of service() or task()>, "pos", "stack"}],
   "edges": [{"from", "to", "cond", "field", "ref", "pos"}],
   "bound": {name: {"command", "script", "steps", "dir", "env", "ports"}}}
"bound" is there with --resolve. No value of a secret is ever in it.`,
		Example: `  orrery plan                 a bare up
  orrery plan web --resolve   with ports and paths
  orrery plan --json | jq -r '.order[]'`,
		RunE: func(c *cobra.Command, args []string) error {
			p, err := a.load(c.Context())
			if err != nil {
				return err
			}
			mode := upFlags{only: only, all: all}
			need, err := p.Graph.Need(args, graph.Selection(mode.mode()))
			if err != nil {
				return err
			}
			v := &planView{app: a, whole: p.Graph, graph: p.Graph.Only(need)}
			if resolve {
				if v.bound, err = bindPlan(p, need); err != nil {
					return err
				}
			}
			if a.json {
				return v.json()
			}
			return v.text()
		},
	}
	c.Flags().BoolVar(&resolve, "resolve", false, "fill in references as if every port were free")
	c.Flags().BoolVar(&only, "only", false, "the targets alone, not what they need")
	c.Flags().BoolVar(&all, "all", false, "also what is downstream of the targets")
	c.MarkFlagsMutuallyExclusive("only", "all")
	return c
}

// planView shows a plan.
type planView struct {
	app   *app
	whole *graph.Graph
	graph *graph.Graph // what up would bring up
	bound map[string]boundNode
}

// boundNode is a node with its references filled in.
type boundNode struct {
	Command []string          `json:"command,omitempty"`
	Script  bool              `json:"script,omitempty"` // the command is a shell with a script
	Steps   [][]string        `json:"steps,omitempty"`
	Dir     string            `json:"dir"`
	Env     map[string]string `json:"env"` // what the declarations add to the caller's
	Ports   map[string]string `json:"ports,omitempty"`

	vars []bind.Var
}

// bindPlan fills in what references would mean, without taking anything.
func bindPlan(p *lang.Project, names []string) (map[string]boundNode, error) {
	place, err := placeOf(p)
	if err != nil {
		return nil, err
	}
	b := bind.Resolve(p.Graph, viewDirs(place), bind.Options{})
	all := make(map[string]boundNode, len(names))
	for _, name := range names {
		n, err := bindNode(b, p.Graph.Node(name))
		if err != nil {
			return nil, err
		}
		all[name] = n
	}
	return all, nil
}

func bindNode(b *bind.Binding, n *graph.Node) (boundNode, error) {
	var out boundNode
	name := n.Name()
	if n.Kind == graph.KindTask && len(n.Task.Steps) > 0 {
		for _, step := range n.Task.Steps {
			argv, err := b.Argv(step, name)
			if err != nil {
				return out, err
			}
			out.Steps = append(out.Steps, argv)
		}
	} else {
		cmd, err := b.Command(name)
		if err != nil {
			return out, err
		}
		out.Command, out.Script = cmd.Argv, cmd.Script
	}
	var err error
	if out.Dir, err = b.Dir(name); err != nil {
		return out, err
	}
	if out.vars, err = b.Env(name); err != nil {
		return out, err
	}
	out.Env = map[string]string{}
	for _, v := range out.vars {
		if v.Origin == "cwd" { // says the same as dir
			continue
		}
		if v.Secret {
			v.Value = "<secret>"
		}
		out.Env[v.Key] = v.Value
	}
	if n.Kind == graph.KindService {
		for _, port := range n.Service.PortNames() {
			v, err := b.Value(graph.Ref{Name: name, Attr: "ports." + port}, "")
			if err != nil {
				return out, err
			}
			if out.Ports == nil {
				out.Ports = map[string]string{}
			}
			out.Ports[port] = v
		}
	}
	return out, nil
}

func (v *planView) json() error {
	raw, err := json.Marshal(v.graph)
	if err != nil {
		return err
	}
	var doc struct {
		Version json.RawMessage      `json:"version"`
		Order   []string             `json:"order"`
		Project json.RawMessage      `json:"project"`
		Params  json.RawMessage      `json:"params"`
		Groups  json.RawMessage      `json:"groups"`
		Secrets json.RawMessage      `json:"secrets,omitempty"`
		Tools   json.RawMessage      `json:"tools,omitempty"`
		Pools   json.RawMessage      `json:"pools,omitempty"`
		Nodes   json.RawMessage      `json:"nodes"`
		Edges   json.RawMessage      `json:"edges"`
		Bound   map[string]boundNode `json:"bound,omitempty"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return err
	}
	doc.Order, doc.Bound = v.graph.Order(), v.bound
	return v.app.printJSON(doc)
}

func (v *planView) text() error {
	w := bufio.NewWriter(os.Stdout)
	order := v.graph.Order()
	for i, name := range order {
		n := v.graph.Node(name)
		fmt.Fprintf(w, "%*d  %s %s", len(fmt.Sprint(len(order))), i+1, v.app.tint(dim, string(n.Kind)), v.app.tint(bold, name))
		if about := planAbout(n); about != "" {
			fmt.Fprintf(w, "  %s", v.app.tint(dim, about))
		}
		fmt.Fprintln(w)
		for _, line := range v.commands(n) {
			fmt.Fprintf(w, "     $ %s\n", indentRest(line))
		}
		v.details(w, name)
		for _, e := range v.whole.Out(name) {
			fmt.Fprintf(w, "     %s\n", v.app.tint(dim, edgeText(e)))
		}
	}
	if len(order) == 0 {
		v.app.say("there is nothing to bring up")
	}
	return w.Flush()
}

// planAbout is what the first line says of a node besides its name.
func planAbout(n *graph.Node) string {
	if n.Kind == graph.KindTask {
		switch {
		case n.Task.Gates != "":
			return "gates " + n.Task.Gates
		case n.Task.Template != "":
			return "fills " + n.Task.Template
		}
		return prefixed("not at once: ", scheduleText(n))
	}
	var ports []string
	for _, name := range n.Service.PortNames() {
		ports = append(ports, fmt.Sprintf("%s from %d", name, basePort(n.Service, name)))
	}
	return strings.Join(ports, ", ")
}

// commands shows what runs: bound if there is a binding, else with markers.
func (v *planView) commands(n *graph.Node) []string {
	if b, ok := v.bound[n.Name()]; ok {
		var lines []string
		for _, step := range b.Steps {
			lines = append(lines, quoteArgv(step))
		}
		switch {
		case b.Script:
			lines = append(lines, strings.TrimSpace(b.Command[len(b.Command)-1]))
		case len(b.Command) > 0:
			lines = append(lines, quoteArgv(b.Command))
		}
		return lines
	}
	c := graph.Command{}
	if n.Kind == graph.KindService {
		c = n.Service.Command
	} else if n.Task.Command != nil {
		c = *n.Task.Command
	}
	if c.Script != nil {
		return []string{strings.TrimSpace(c.Script.String())}
	}
	steps := [][]graph.Text{c.Argv}
	if n.Kind == graph.KindTask && len(n.Task.Steps) > 0 {
		steps = n.Task.Steps
	}
	var lines []string
	for _, step := range steps {
		argv := make([]string, len(step))
		for i, t := range step {
			argv[i] = t.String()
		}
		lines = append(lines, quoteArgv(argv))
	}
	return lines
}

// indentRest puts the further lines of a text below the first.
func indentRest(s string) string { return strings.ReplaceAll(s, "\n", "\n       ") }

// details shows the folder, ports and variables of a bound node.
func (v *planView) details(w *bufio.Writer, name string) {
	b, ok := v.bound[name]
	if !ok {
		return
	}
	fmt.Fprintf(w, "     in %s\n", b.Dir)
	if n := v.graph.Node(name); n.Kind == graph.KindService {
		for _, port := range n.Service.PortNames() {
			fmt.Fprintf(w, "     port %s = %s\n", port, b.Ports[port])
		}
	}
	for _, e := range b.vars {
		if e.Origin != "cwd" {
			fmt.Fprintf(w, "     %s=%s  %s\n", e.Key, indentRest(shellQuote(b.Env[e.Key])), v.app.tint(dim, "# "+e.Origin))
		}
	}
}

// edgeText says why a node waits: "after db (ready), by env.DATABASE_URL
// ⟦db.exports.url⟧".
func edgeText(e graph.Edge) string {
	s := fmt.Sprintf("after %s (%s), by %s", e.To, e.Cond, edgeField(e))
	if e.Ref != "" {
		s += " " + e.Ref
	}
	return s + "  " + position(e.Pos)
}

// edgeField names the argument that made an edge, and whose it is when that is
// not the node that waits.
func edgeField(e graph.Edge) string {
	switch e.Field {
	case "before", "template":
		return fmt.Sprintf("%s of %s", e.Field, e.To)
	}
	return e.Field
}
