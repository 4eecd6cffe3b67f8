package engine

import (
	"context"
	"fmt"
	"os"

	"orrery/lang/graph"
	"orrery/runtime/task"
)

// Preview says what the engine would do with a task now, without running or writing anything. Where something of the task
// is not known before others run, the action is "unknown". Values that the task would have are taken for those
// that follow, so that tasks are to be asked in the order of the graph. It may be called only of an engine whose Run is
// never called, by one goroutine.
func (e *Engine) Preview(ctx context.Context, name string) (task.Forecast, error) {
	n := e.byName[name]
	if n == nil || n.task == nil {
		return task.Forecast{}, fmt.Errorf("cannot preview %q: there is no such task", name)
	}
	if service := n.def.Task.Template; service != "" {
		return e.previewTemplate(service)
	}
	v, c := e.view(n), e.opt.Results.Caching
	j, k, err := e.bound(v)
	if err != nil {
		if why := declaredUncached(v); why != "" {
			return task.Forecast{Action: "run", Why: []string{why}}, nil
		}
		return task.Forecast{Action: "unknown", Why: []string{err.Error()}, Kept: true}, nil
	}
	f, err := c.Preview(ctx, j, k)
	if err == nil && f.Action != "run" && len(f.Values) > 0 {
		e.bind.SetValues(name, f.Values)
	}
	return f, err
}

// bound is a task with all that its key needs.
func (e *Engine) bound(v view) (*task.Job, *task.KeyInput, error) {
	j, vars, err := e.jobOf(v)
	if err != nil {
		return nil, nil, err
	}
	j.Hashes = e.opt.Results.Hashes
	k, err := keyOf(v, vars)
	return j, k, err
}

// declaredUncached says why a task is not cached by its declaration alone; "" if it may be.
func declaredUncached(v view) string {
	t := v.def.Task
	k := &task.KeyInput{Cache: t.Cache, Live: v.live, CacheKey: make([]string, len(t.CacheKey)), Inputs: make([]task.Input, len(t.Inputs))}
	return k.Uncached(&task.Job{Interactive: t.Interactive, Outputs: make([]task.Output, len(t.Outputs))})
}

// previewTemplate says whether the state_dir of a service is to be filled.
func (e *Engine) previewTemplate(service string) (task.Forecast, error) {
	dir, err := e.bind.Value(graph.Ref{Name: service, Attr: "state_dir"}, "")
	if err != nil {
		return task.Forecast{}, err
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return task.Forecast{Action: "skip", Why: []string{"the state_dir of " + service + " is not empty"}}, nil
	}
	return task.Forecast{Action: "run", Why: []string{"it fills the state_dir of " + service + ", with a copy where there is one"}}, nil
}
