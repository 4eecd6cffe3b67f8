package main

import (
	"errors"
	"slices"

	"orrery/lang"
	"orrery/lang/graph"
)

// work is what a run does by one evaluation of the project. It is not changed.
type work struct {
	project  *lang.Project
	named    []string // what the targets stand for
	asked    []string // tasks that were named, not those that a default or --all stands for
	need     []string // what is to be looked at
	services []string // among need
	external []string // what the checkout's engine runs for us
}

// workOf is what the targets mean in a project.
func (r *runner) workOf(p *lang.Project) (*work, error) {
	w := &work{project: p}
	var err error
	if w.named, err = r.app.runTargets(p.Graph, r.targets, r.extra, r.flags); err != nil {
		return nil, err
	}
	if w.need, err = p.Graph.Need(w.named, r.flags.mode()); err != nil {
		return nil, err
	}
	if w.asked = byName(w.named, r.targets); len(r.extra) > 0 {
		w.asked = w.named
	}
	for _, name := range w.need {
		if p.Graph.Node(name).Kind == graph.KindService {
			w.services = append(w.services, name)
		}
	}
	if len(w.services) > 0 {
		w.external, err = p.Graph.Need(w.services, r.serviceMode())
	}
	return w, err
}

// only returns the work without what need not be looked at.
func (w *work) only(need []string) *work {
	part := *w
	part.need = need
	return &part
}

// external names the nodes of a graph that the checkout's engine runs for us.
func (r *runner) external(g *graph.Graph) []string {
	w := r.work.Load()
	if w.project.Graph != g {
		var err error
		if w, err = r.workOf(&lang.Project{Graph: g}); err != nil {
			return nil // Load has refused such a graph
		}
	}
	return w.external
}

// serviceMode is what goes with the services that the checkout's engine runs.
func (r *runner) serviceMode() graph.Selection {
	if r.flags.only {
		return graph.SelectOnly
	}
	return graph.SelectNeeds
}

// byName are the nodes that were named themselves, rather than by a group, a subtree or a default.
func byName(nodes, names []string) []string {
	return slices.DeleteFunc(slices.Clone(nodes), func(n string) bool { return !slices.Contains(names, n) })
}

// runTargets are the targets of a run: as named, or the project's default.
func (a *app) runTargets(g *graph.Graph, names, extra []string, f runFlags) ([]string, error) {
	named, err := g.Expand(names)
	if len(names) == 0 {
		named = g.Project.Default
		if f.all {
			for _, n := range g.Nodes {
				if n.Kind == graph.KindTask {
					named = append(named, n.Name())
				}
			}
		}
		err = nil
	}
	if err != nil {
		return nil, err
	}
	if len(named) == 0 {
		return nil, usageError{errors.New("run needs a target: name one, or give the project a default")}
	}
	if len(extra) > 0 && (len(named) != 1 || g.Node(named[0]) == nil || g.Node(named[0]).Kind != graph.KindTask) {
		return nil, usageError{errors.New("arguments after -- need exactly one task as the target")}
	}
	return named, nil
}
