package main

import (
	"context"
	"encoding/json"
	"slices"

	"orrery/lang/graph"
	"orrery/runtime/control"
	"orrery/runtime/control/api"
	"orrery/runtime/fresh"
)

// maxNamed is how many named tasks a Freshness tells of.
const maxNamed = 100

// freshness has the engine answer from what it watches.
func freshness(g *fresh.Guard) func(context.Context, api.Fresh) (api.Freshness, error) {
	return func(ctx context.Context, p api.Fresh) (api.Freshness, error) {
		b, good, err := g.Good(ctx, p.Request)
		if err != nil || !good {
			return api.Freshness{}, nil // whoever asks looks for himself
		}
		named, need, _ := b.Request(p.Request)
		f := api.Freshness{Good: true, Stamp: b.Stamp(), Facts: b.Facts(), Tasks: len(need)}
		if len(named) <= maxNamed {
			for _, i := range named {
				f.Named = append(f.Named, api.FreshTask{Name: b.Name(i), Facts: b.TaskFacts(i)})
			}
		}
		return f, nil
	}
}

// askGuard ends a run of which a running engine knows that there is nothing to do.
func (a *app) askGuard(ctx context.Context, place control.Place, names []string, mode graph.Selection) (done bool, err error) {
	c, err := control.Dial(ctx, place)
	if err != nil {
		return false, nil
	}
	defer c.Close()
	var f api.Freshness
	if err := c.Call(ctx, api.MethodFresh, api.Fresh{Request: requestKey(names, mode)}, &f); err != nil || !f.Good {
		return false, nil
	}
	var facts bookFacts
	if json.Unmarshal(f.Facts, &facts) != nil || facts.Version != bookVersion || f.Stamp != a.stamp(place, &facts) {
		return false, nil
	}
	if len(names) > 0 && len(f.Named) == 0 {
		return false, nil
	}
	var logs []keptLog
	for _, t := range f.Named {
		var tf taskFacts
		if slices.Contains(names, t.Name) && json.Unmarshal(t.Facts, &tf) == nil && tf.Log.Hash != "" {
			logs = append(logs, keptLog{t.Name, tf.Log})
		}
	}
	a.warn(facts.Warnings)
	clean := make([]string, f.Tasks)
	if f.Tasks == 1 && len(f.Named) == 1 {
		clean[0] = f.Named[0].Name
	}
	return true, a.nothingToDo(ctx, place, clean, logs)
}
