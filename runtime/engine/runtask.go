package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"orrery/runtime/bind"
	"orrery/runtime/logs"
	"orrery/runtime/proc"
	"orrery/runtime/task"
)

// runTask binds a task and runs it to its end. It runs outside of the loop.
func (e *Engine) runTask(ctx context.Context, v view) task.Result {
	if l := e.opt.Local; l != nil && l.BeforeTask != nil {
		if err := l.BeforeTask(ctx); err != nil {
			return task.Result{State: task.Failed, Reason: err.Error()}
		}
	}
	if v.def.Task.Template != "" {
		return e.runTemplate(ctx, v)
	}
	j, vars, err := e.jobOf(v)
	if err == nil {
		err = v.bind.WriteSecrets(v.def.Name())
	}
	if err != nil {
		return task.Result{State: task.Failed, Reason: err.Error(), Err: err}
	}
	done, err := e.outputOf(v, j)
	if err != nil {
		return task.Result{State: task.Failed, Reason: err.Error(), Err: err}
	}
	r := hinted(e.runCached(ctx, v, j, vars))
	done(r)
	if l := e.opt.Local; l != nil && l.Result != nil {
		l.Result(v.def.Name(), r)
	}
	return r
}

// hinted adds to the reason of a missing program which package holds it.
func hinted(r task.Result) task.Result {
	var start *proc.StartError
	if errors.As(r.Err, &start) && start.Op == "find" {
		if hint := packageHint(start.Path); hint != "" {
			r.Reason += "; " + hint
		}
	}
	return r
}

// jobOf binds every text of a task, and gives its environment with the origins that its key needs. It writes nothing.
func (e *Engine) jobOf(v view) (*task.Job, []bind.Var, error) {
	t, b, name := v.def.Task, v.bind, v.def.Name()
	j := &task.Job{
		Name: name, Root: b.Root(), Values: t.Values, Retries: t.Retries,
		Marker: e.passing(name), Interactive: t.Interactive && e.foreground(name),
		Spawn: func(s *proc.Spec) (task.Process, error) {
			s.Inherit, s.InheritFD = e.tokens.files(), tokenFD
			return e.opt.Spawner.Spawn(s)
		},
	}
	j.Sandbox, j.NoNetwork = t.Sandbox, t.Network != nil && !*t.Network
	if t.Timeout != nil {
		j.Timeout = time.Duration(*t.Timeout)
	}
	if e.opt.Results.Values != "" && len(t.Values) > 0 {
		j.Memo = filepath.Join(e.opt.Results.Values, strings.ReplaceAll(name, "/", ".")+".values")
	}
	if err := e.jobSteps(v, j); err != nil {
		return nil, nil, err
	}
	vars, err := b.Env(name)
	if err != nil {
		return nil, nil, err
	}
	j.Env = e.tokens.environ(bind.Environ(vars), t.Env)
	for _, x := range vars {
		if x.Key == "CREDENTIALS_DIRECTORY" && x.Origin == "secrets" {
			j.Readable = append(j.Readable, x.Value)
		}
	}
	if j.Dir, err = b.Dir(name); err != nil {
		return nil, nil, err
	}
	j.User, j.Group = b.User(name)
	return j, vars, e.jobFiles(v, j)
}

// jobSteps binds what a task runs.
func (e *Engine) jobSteps(v view, j *task.Job) error {
	t, b, name := v.def.Task, v.bind, v.def.Name()
	for _, s := range t.Steps {
		argv, err := b.Argv(s, name)
		if err != nil {
			return err
		}
		j.Steps = append(j.Steps, task.Step{Argv: argv})
	}
	if t.Command != nil {
		cmd, err := b.Cmd(t.Command, name)
		if err != nil {
			return err
		}
		j.Steps = append(j.Steps, task.Step{Argv: e.extend(name, cmd), Env: cmd.Env})
	}
	if t.Status != nil {
		cmd, err := b.Cmd(t.Status, name)
		if err != nil {
			return err
		}
		j.Status = &task.Step{Argv: cmd.Argv, Env: cmd.Env}
	}
	return nil
}

// foreground reports whether a task gets our own terminal.
func (e *Engine) foreground(name string) bool {
	return e.opt.Local != nil && e.opt.Local.Foreground == name
}

// extend adds the arguments of the command line.
func (e *Engine) extend(name string, cmd bind.Cmd) []string {
	if e.opt.Local == nil || len(e.opt.Local.ExtraArgs[name]) == 0 {
		return cmd.Argv
	}
	argv := cmd.Argv
	if cmd.Script {
		argv = append(argv, "sh") // $0 of the script
	}
	return append(argv, e.opt.Local.ExtraArgs[name]...)
}

// jobFiles binds the paths that a task makes.
func (e *Engine) jobFiles(v view, j *task.Job) error {
	t, b, name := v.def.Task, v.bind, v.def.Name()
	for _, o := range t.Outputs {
		out := task.Output{Name: o.Key, Pattern: o.Value.Pattern}
		if o.Value.Path != nil {
			path, err := b.Path(o.Value.Path, name)
			if err != nil {
				return err
			}
			out.Path = path
		}
		j.Outputs = append(j.Outputs, out)
	}
	for _, c := range t.Creates {
		path, err := b.Path(c, name)
		if err != nil {
			return err
		}
		j.Creates = append(j.Creates, path)
	}
	return nil
}

// outputOf says where the output of a task goes: the terminal, the caller's
// writers, or the log. done is called with the result.
func (e *Engine) outputOf(v view, j *task.Job) (done func(task.Result), err error) {
	name := v.def.Name()
	switch {
	case e.foreground(name):
		j.Stdout, j.Stderr = os.Stdout, os.Stderr
		return func(task.Result) {}, nil
	case e.opt.Logs == nil:
		out, errOut, flush := e.opt.Local.Output(name)
		j.Stdout, j.Stderr = out, errOut
		return func(r task.Result) { flush(r.State) }, nil
	}
	c, err := e.opt.Logs.Capture(name, logs.Options{})
	if err != nil {
		return nil, err
	}
	c.Mark("started", "")
	j.Stdout, j.Stderr = c.Stdout(), c.Stderr()
	return func(r task.Result) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		c.Drain(ctx)
		text := string(r.State)
		if r.Reason != "" {
			text = fmt.Sprintf("%s: %s", r.State, r.Reason)
		}
		c.Mark("exited", text)
		c.Close()
	}, nil
}
