package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"orrery/lang/graph"
	"orrery/runtime/machine"
)

// Reload evaluates the project anew and applies it: only nodes that changed
// restart. A project that does not load, or that cannot be applied, changes
// nothing; the error says why.
func (e *Engine) Reload(ctx context.Context) error {
	if e.opt.Load == nil {
		return nil
	}
	turn := 0
	if err := e.call(func() { e.loads++; turn = e.loads }); err != nil {
		return err
	}
	g, inputs, err := e.opt.Load(ctx)
	if err != nil {
		return err
	}
	var failed error
	err = e.call(func() {
		if turn < e.newest {
			return // one that began later was quicker, and knows better
		}
		if failed = e.apply(g); failed == nil {
			e.newest = turn
			e.watchAnew(inputs)
		}
	})
	if err == nil {
		err = failed
	}
	return err
}

// apply replaces the graph that runs by another one.
func (e *Engine) apply(g *graph.Graph) error {
	changes := graph.Diff(e.graph, g)
	if err := e.applicable(g, changes); err != nil {
		return err
	}
	all := !slices.Equal(e.graph.Project.Dotenv, g.Project.Dotenv) || !slices.Equal(e.graph.Project.Env, g.Project.Env)
	e.graph, e.digest, e.bind = g, g.Digest(), e.opt.Bind(g)
	e.keep.put(keptGraph, g, nil)
	for _, n := range e.queue.all() {
		e.queue.leave(n) // touched below, and back
	}
	e.pools, e.ranked = poolSizes(g), false
	e.replaceNodes(g)
	e.outsource()
	e.rehold()
	for _, c := range changes {
		if n := e.byName[c.Name]; c.Op == "changed" {
			e.changed(n, c.Fields)
		}
	}
	for _, n := range e.nodes {
		if all && n.svc != nil && n.live() {
			n.stale = "the environment of the project changed"
		}
		if n.task != nil && len(n.task.values) > 0 {
			e.bind.SetValues(n.name(), n.task.values)
		}
		e.touch(n)
	}
	if len(changes) > 0 {
		e.say("services.star applied: " + summary(changes))
	}
	return nil
}

// applicable refuses what cannot be applied to a running graph.
func (e *Engine) applicable(g *graph.Graph, changes []graph.Change) error {
	for _, c := range changes {
		if n := e.byName[c.Name]; slices.Contains(c.Fields, "kind") && n.live() {
			return fmt.Errorf("%s is now a %s and was a %s: stop it first, by orrery down", c.Name, g.Node(c.Name).Kind, n.def.Kind)
		}
	}
	return nil
}

// summary counts changes: "1 changed (web: env), 2 added".
func summary(changes []graph.Change) string {
	var parts []string
	for _, op := range []string{"changed", "added", "removed"} {
		var names []string
		for _, c := range changes {
			if c.Op != op {
				continue
			}
			name := c.Name
			if op == "changed" {
				name += ": " + strings.Join(c.Fields, ", ")
			}
			names = append(names, name)
		}
		if len(names) > 0 {
			parts = append(parts, fmt.Sprintf("%d %s (%s)", len(names), op, strings.Join(names[:min(len(names), 5)], "; ")))
		}
	}
	return strings.Join(parts, ", ")
}

// replaceNodes keeps the live state of nodes that are still declared, makes
// new ones, and leaves removed ones until they have stopped.
func (e *Engine) replaceNodes(g *graph.Graph) {
	nodes := make([]*node, 0, len(g.Nodes))
	var leaving []*node
	for _, n := range e.nodes {
		if g.Node(n.name()) == nil && (n.live() || n.removed) {
			leaving = append(leaving, n)
		}
		if g.Node(n.name()) == nil {
			n.removed = true
			n.holders = 0
		}
	}
	byName := make(map[string]*node, len(g.Nodes))
	for _, def := range g.Nodes {
		n := e.byName[def.Name()]
		fresh := newNode(def, g)
		if n == nil || n.def.Kind != def.Kind {
			n = fresh
		} else {
			n.def, n.in, n.out, n.gates, n.lacks = def, fresh.in, fresh.out, fresh.gates, -1
			if n.svc != nil {
				n.svc.policy = fresh.svc.policy
			}
		}
		nodes = append(nodes, n)
		byName[def.Name()] = n
	}
	for _, n := range leaving {
		byName[n.name()] = n
	}
	e.nodes, e.byName = append(nodes, leaving...), byName
	for _, n := range leaving {
		e.trim(n)
	}
}

// trim drops the edges of a removed node to nodes that are gone.
func (e *Engine) trim(n *node) {
	n.in = slices.DeleteFunc(slices.Clone(n.in), func(edge graph.Edge) bool { return e.byName[edge.From] == nil })
	n.out = slices.DeleteFunc(slices.Clone(n.out), func(edge graph.Edge) bool { return e.byName[edge.To] == nil })
	n.gates = slices.DeleteFunc(slices.Clone(n.gates), func(name string) bool { return e.byName[name] == nil })
	n.lacks = -1
}

// prune forgets removed nodes of which nothing runs any more.
func (e *Engine) prune(n *node) {
	if !n.removed || n.live() {
		return
	}
	e.nodes = slices.DeleteFunc(e.nodes, func(o *node) bool { return o == n })
	delete(e.byName, n.name())
	e.keep.drop(keptNode + n.name())
	for _, o := range e.nodes {
		if o.removed {
			e.trim(o)
			e.touch(o)
		}
	}
}

// rehold works out anew what each hold takes, from the targets it was made
// with. Targets that are gone are gone from the hold.
func (e *Engine) rehold() {
	for _, n := range e.nodes {
		n.holders = 0
	}
	var fresh []string
	for _, h := range e.holds {
		nodes := map[string]bool{}
		for _, w := range h.wants {
			for _, name := range e.needed(w) {
				nodes[name] = true
			}
		}
		for name, held := range h.nodes { // released by hand, and still stopping
			if _, ok := nodes[name]; ok && !held {
				nodes[name] = false
			}
		}
		h.nodes = nodes
		for name, held := range nodes {
			if held {
				e.byName[name].holders++
			}
		}
	}
	for _, n := range e.nodes {
		if n.svc != nil && n.holders > 0 && !n.external {
			fresh = append(fresh, n.name())
		}
	}
	if err := e.prepare(fresh); err != nil {
		e.say(err.Error())
	}
	for _, name := range fresh {
		e.savePorts(e.byName[name])
	}
	e.saveHolds()
}

// needed are the nodes that a wish takes in the graph of now.
func (e *Engine) needed(w want) []string {
	targets := slices.DeleteFunc(slices.Clone(w.Targets), func(t string) bool {
		_, err := e.graph.Expand([]string{t})
		return err != nil
	})
	if len(targets) == 0 && len(w.Targets) > 0 {
		return nil
	}
	names, err := e.graph.Need(targets, w.Mode)
	if err != nil {
		return nil
	}
	return names
}

// calm are the fields of a service that a running one need not restart for.
func calm() []string {
	return []string{"description", "labels", "links", "log", "autostart", "restart", "stop", "reload", "after", "before", "part_of",
		"watch", "data", "site", "overrides", "cascade", "success_codes", "exports", "env_exports"}
}

// changed marks what an edit of a declaration asks for.
func (e *Engine) changed(n *node, fields []string) {
	why := "services.star changed: " + strings.Join(fields, ", ")
	if n.task != nil {
		if slices.Contains(fields, "schedule") {
			n.task.alarm.disarm()
		}
		if len(fields) == 1 && fields[0] == "schedule" {
			return
		}
		if n.task.cancel != nil {
			n.task.cancel()
			n.task.again = true
			return
		}
		if n.task.done {
			e.reset(n)
		}
		return
	}
	loud := slices.DeleteFunc(slices.Clone(fields), func(f string) bool { return slices.Contains(calm(), f) })
	switch {
	case len(loud) == 0:
	case slices.Equal(loud, []string{"config"}):
		e.reconfigure(n, why)
	default:
		n.stale = why
	}
	if slices.Contains(fields, "exports") || slices.Contains(fields, "ports") || slices.Contains(fields, "listen") {
		for _, edge := range n.in {
			if from := e.byName[edge.From]; from.svc != nil && edge.Ref != "" {
				from.stale = n.name() + " changed: " + strings.Join(fields, ", ")
			}
		}
	}
	if n.ended() && n.holders > 0 {
		e.revive(n)
	}
}

// reconfigure writes the config files of a running service and has it reload
// or restart as they say.
func (e *Engine) reconfigure(n *node, why string) {
	if !n.live() {
		return
	}
	v := e.view(n)
	go func() {
		changes, err := v.bind.WriteConfigs(v.def.Name())
		e.post(func() {
			if err != nil {
				e.publish(n, n.show.State, err.Error())
				return
			}
			reload, restart := false, false
			for _, c := range changes {
				reloads := c.Apply == "reload" || c.Apply == "auto" && n.def.Service.Reload != nil
				reload = reload || reloads
				restart = restart || !reloads && c.Apply != "none"
			}
			switch {
			case restart:
				n.stale = why
				e.touch(n)
			case reload:
				e.step(n, machine.Event{Kind: machine.EventFileChanged, Reload: true, Text: why})
			}
		})
	}()
}

// considerStale restarts a running service for which something has changed,
// once all that it waits for holds again; it goes on as it is while a task
// upstream has failed.
func (e *Engine) considerStale(n *node) {
	for _, edge := range n.out {
		to := e.byName[edge.To]
		if edge.Cond == graph.Stopped || to.holders == 0 && !to.external {
			continue
		}
		if to.conds&condBit(edge.Cond) == 0 || to.stale != "" {
			return
		}
	}
	why := n.stale
	n.stale = ""
	if e.relistened(n) {
		return
	}
	e.step(n, machine.Event{Kind: machine.EventFileChanged, Text: why})
}
