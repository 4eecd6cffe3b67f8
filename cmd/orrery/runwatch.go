package main

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"orrery/lang/graph"
	"orrery/runtime/control/api"
	"orrery/runtime/engine"
)

// watchedRun is what orrery run --watch keeps beside the run itself.
type watchedRun struct {
	began atomic.Uint64 // the last event by which something began to run again
	news  chan struct{} // has one when began grows; nil: not watching
	stay  func()        // follows the engine of the checkout; once
}

// heard notes that tasks run again. It is called by the loop.
func (w *watchedRun) heard(ev api.Event) {
	if w.news == nil || ev.Node == "" || ev.From == ev.State {
		return
	}
	switch ev.State {
	case "down", "waiting", "running", "blocked":
	default:
		return
	}
	w.began.Store(ev.Seq)
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// watched has an engine watch files, and evaluate the project when that asks for
// it.
func (r *runner) watched(o *engine.Options) {
	r.watch.news = make(chan struct{}, 1)
	o.Watch = &engine.Watching{
		Root: r.place.Root, Exclude: []string{r.place.Dir, r.place.Run, r.place.State}, Inputs: inputsOf(r.work.Load().project),
	}
	o.Load = func(ctx context.Context) (*graph.Graph, []engine.Input, error) {
		w := r.work.Load()
		s, err := r.app.source()
		if err != nil {
			return nil, nil, err
		}
		s.File = w.project.File
		p, err := loadFile(ctx, s)
		if err != nil {
			return nil, nil, err
		}
		if p.Graph.Digest() == w.project.Graph.Digest() {
			return w.project.Graph, inputsOf(p), nil
		}
		next, err := r.workOf(p)
		if err != nil {
			return nil, nil, err
		}
		if err := r.services(ctx, next); err != nil {
			return nil, nil, err
		}
		r.work.Store(next)
		if r.progress.Load() != nil {
			r.track(next)
		}
		if r.client.Load() != nil {
			r.watch.stay()
			err = r.renew(ctx)
		}
		return p.Graph, inputsOf(p), err
	}
}

// again runs the targets, and then what each change affects, until ctx ends: that
// gives the verdict on the last run if it has ended.
func (r *runner) again(ctx context.Context) error {
	r.sayBlind()
	for {
		w := r.work.Load()
		failed, err := r.engine.Settle(ctx, w.need)
		if err != nil {
			return err
		}
		st, err := r.engine.Status(w.need)
		if err != nil || w != r.work.Load() || st.Progress.Done < st.Progress.Total {
			continue // services.star changed meanwhile, or what had ended runs again
		}
		var verdict error
		if len(failed) > 0 {
			verdict = r.failure(st)
		} else {
			r.summary(st)
			r.outputs.finish()
		}
		if r.app.json {
			if err := json.NewEncoder(r.app.stdout()).Encode(st); err != nil {
				return err
			}
		}
		r.outputs.forget()
		r.spawner.forget()
		r.app.say("waiting for changes (^C ends)")
		for r.watch.began.Load() <= st.Seq {
			select {
			case <-ctx.Done():
				return verdict
			case <-r.watch.news:
			}
		}
		r.screen.began = time.Now()
	}
}

// sayBlind says when no change of a file can run anything again.
func (r *runner) sayBlind() {
	w := r.work.Load()
	for _, name := range w.need {
		if n := w.project.Graph.Node(name); n.Kind == graph.KindTask && (len(n.Task.Inputs) > 0 || len(n.Task.Watch) > 0) {
			return
		}
	}
	r.app.say("none of these tasks declares inputs: only a change of services.star, or of their programs, runs them again")
}
