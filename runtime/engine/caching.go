package engine

import (
	"context"
	"slices"
	"strings"

	"orrery/lang/graph"
	"orrery/runtime/bind"
	"orrery/runtime/task"
)

// runCached runs a task, or restores its result; vars is its environment. It runs outside of the loop.
func (e *Engine) runCached(ctx context.Context, v view, j *task.Job, vars []bind.Var) task.Result {
	if e.opt.Results.Caching == nil && (j.Sandbox == "" || j.Sandbox == "off") {
		return task.Run(ctx, j)
	}
	k, err := keyOf(v, vars)
	if err != nil {
		return task.Result{State: task.Failed, Reason: err.Error(), Err: err}
	}
	j.Hashes = e.opt.Results.Hashes
	j.Declared = k
	if e.opt.Results.Caching == nil {
		return task.Run(ctx, j)
	}
	c := *e.opt.Results.Caching
	c.Replay = e.opt.Local != nil && e.opt.Local.Replay != nil && e.opt.Local.Replay(v.def.Name())
	return task.RunCached(ctx, j, k, &c)
}

// keyOf gathers what the result of a task depends on, besides its job; vars is the environment of that.
func keyOf(v view, vars []bind.Var) (*task.KeyInput, error) {
	t, b, name := v.def.Task, v.bind, v.def.Name()
	k := &task.KeyInput{Cache: t.Cache, Live: v.live, Env: varsOf(vars)}
	var err error
	if k.Tools, err = b.Tools(name); err != nil {
		return nil, err
	}
	for _, text := range t.CacheKey {
		s, err := b.Fill(text, name)
		if err != nil {
			return nil, err
		}
		k.CacheKey = append(k.CacheKey, s)
	}
	return k, keyFiles(v, b, k)
}

// runTemplate runs a task that fills the state_dir of a service, or copies
// what it made before. It runs outside of the loop.
func (e *Engine) runTemplate(ctx context.Context, v view) task.Result {
	failed := func(err error) task.Result {
		return task.Result{State: task.Failed, Reason: err.Error(), Err: err}
	}
	t, err := v.bind.Template(v.def.Name())
	if err != nil {
		return failed(err)
	}
	run, key := v, v
	run.bind, key.bind = t.Run, t.Key
	j, _, err := e.jobOf(run)
	if err == nil {
		err = v.bind.WriteSecrets(v.def.Name())
	}
	if err != nil {
		return failed(err)
	}
	keyJob, vars, err := e.jobOf(key)
	if err != nil {
		return failed(err)
	}
	k, err := keyOf(key, vars)
	if err != nil {
		return failed(err)
	}
	secrets, err := v.bind.SecretVars(v.def.Name())
	if err != nil {
		return failed(err)
	}
	k.Env = append(k.Env, varsOf(secrets)...)
	done, err := e.outputOf(v, j)
	if err != nil {
		return failed(err)
	}
	j.Hashes, keyJob.Hashes = e.opt.Results.Hashes, e.opt.Results.Hashes
	j.Declared, j.Writable = k, []string{t.Tmp}
	with := &task.Template{Service: t.Service, Tmp: t.Tmp, UID: t.UID, GID: t.GID, Lock: t.Lock, Target: t, Key: keyJob}
	r := hinted(with.Fill(ctx, j, k, e.opt.Results.Caching))
	done(r)
	return r
}

func varsOf(vars []bind.Var) []task.Var {
	all := make([]task.Var, len(vars))
	for i, x := range vars {
		all[i] = task.Var{Key: x.Key, Value: x.Value, Origin: x.Origin, Secret: x.Secret}
	}
	return all
}

// keyFiles adds the declared inputs, and the outputs of tasks that the command
// or the environment refers to.
func keyFiles(v view, b *bind.Binding, k *task.KeyInput) error {
	name := v.def.Name()
	var seen []string
	output := func(text graph.Text, implied bool) error {
		for _, p := range text {
			if p.Ref == nil || p.Ref.Scope != graph.ScopeNode || !strings.HasPrefix(p.Ref.Attr, "outputs.") {
				continue
			}
			from := p.Ref.Name + "." + strings.TrimPrefix(p.Ref.Attr, "outputs.")
			if slices.Contains(seen, from) {
				continue
			}
			seen = append(seen, from)
			path, err := b.Path(graph.RefText(*p.Ref), name)
			if err != nil {
				return err
			}
			k.Inputs = append(k.Inputs, task.Input{From: from, Path: path, Implied: implied})
		}
		return nil
	}
	for _, in := range v.def.Task.Inputs {
		if in.Pattern != nil {
			k.Inputs = append(k.Inputs, task.Input{Pattern: in.Pattern})
			continue
		}
		if r, ok := in.Path.Native(); ok && strings.HasPrefix(r.Attr, "outputs.") {
			if err := output(in.Path, false); err != nil {
				return err
			}
			continue
		}
		path, err := b.Path(in.Path, name)
		if err != nil {
			return err
		}
		k.Inputs = append(k.Inputs, task.Input{Path: path})
	}
	var failed error
	v.def.Texts(func(field string, _ graph.Use, t *graph.Text) {
		if err := output(*t, true); err != nil && failed == nil {
			failed = err
		}
	})
	return failed
}

// touchesService reports whether a task needs a service that runs.
func (e *Engine) touchesService(n *node) bool {
	return slices.ContainsFunc(n.out, func(edge graph.Edge) bool {
		return edge.Cond != graph.Stopped && e.byName[edge.To].svc != nil
	})
}
