package main

import (
	"fmt"
	"os"
	"path/filepath"

	"orrery/lang/graph"
	"orrery/runtime/control"
	"orrery/runtime/history"
)

// historyOf is where the records of a place's runs lie.
func historyOf(place control.Place) history.Store {
	return history.Store{Dir: filepath.Join(place.Dir, "runs")}
}

// shapeOf tells a record what a graph knows of its nodes.
func shapeOf(current func() *graph.Graph) history.Shape {
	return func(name string) (kind string, needs []history.Need, gates []string) {
		g := current()
		n := g.Node(name)
		if n == nil {
			return "", nil, nil // declared by a graph that was not applied
		}
		for _, e := range g.Out(name) {
			if e.Cond == graph.Stopped {
				continue
			}
			need := history.Need{On: e.To, Cond: string(e.Cond)}
			if len(needs) == 0 || needs[len(needs)-1] != need {
				needs = append(needs, need)
			}
		}
		return string(n.Kind), needs, g.Gates(name)
	}
}

// beginRecord makes the record of an orrery run.
func (r *runner) beginRecord() *history.Recorder {
	h := history.Head{Verb: "run", Targets: r.targets, Args: r.extra, Clean: len(r.clean)}
	return historyOf(r.place).Begin(h, shapeOf(func() *graph.Graph { return r.work.Load().project.Graph }))
}

// endRecord writes it. A checkout that cannot be written has none.
func (r *runner) endRecord(err error) {
	code := exitCode(err)
	outcome := "failed"
	switch {
	case err == nil:
		outcome = "ok"
	case code > exitSignal:
		outcome = "cancelled"
	}
	if rerr := r.record.End(outcome, code); rerr != nil && r.app.verbose {
		r.app.say("%v", rerr)
	}
}

// openRecord begins the record of an engine, or goes on with that of the one
// that was killed.
func (h *house) openRecord(o orders) {
	head := history.Head{Verb: o.Verb, Targets: o.Targets, Engine: h.keeper.client.Run()}
	rec, err := historyOf(h.place).Follow(head, shapeOf(h.graph.Load))
	if err != nil {
		fmt.Fprintln(os.Stderr, "orrery:", err)
	}
	h.record = rec
}
