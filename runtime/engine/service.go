package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"orrery/lang/graph"
	"orrery/runtime/bind"
	"orrery/runtime/control/api"
	"orrery/runtime/machine"
	"orrery/runtime/probe"
	"orrery/runtime/proc"
)

// instance is one process of a service, from the order to spawn it to the end
// of its tree.
type instance struct {
	id      int
	proc    Process // nil until spawned
	pid     int
	started time.Time
	probes  map[machine.Probe]*probe.Runner
	launch  *launch
}

// policyOf says what a declaration asks of machine.
func policyOf(s *graph.Service) machine.Policy {
	p := machine.Policy{
		Restart: machine.Restart{
			On: machine.RestartOn(s.Restart.Kind), Max: -1,
			Window: time.Duration(s.Restart.Window), Delay: time.Duration(s.Restart.Delay),
			Factor: float64(s.Restart.Factor), Cap: time.Duration(s.Restart.Cap),
			Reset: time.Duration(s.Restart.Reset), Overlap: s.Restart.Overlap,
		},
		Stop:          machine.Stop{Signal: s.Stop.Signal, Command: s.Stop.Kind == "exec", Timeout: time.Duration(s.Stop.Timeout)},
		ReloadCommand: s.Reload != nil && len(s.Reload.Argv) > 0,
	}
	if s.Restart.Max != nil {
		p.Restart.Max = *s.Restart.Max
	}
	if s.Reload != nil {
		p.ReloadSignal = s.Reload.Signal
	}
	switch r := readyProbe(s); {
	case r == nil:
		p.Ready = machine.ReadyAtStart
	case r.Kind == "notify" || r.Kind == "fd":
		p.Ready = machine.ReadyByNotify
	default:
		p.Ready = machine.ReadyByProbe
		p.ReadyCount = machine.Threshold{Success: r.Success, Failure: r.Failure}
	}
	if s.Ready != nil && s.Ready.Deadline != nil {
		p.Deadline = time.Duration(*s.Ready.Deadline)
	}
	if s.Live != nil {
		p.Live = true
		p.LiveCount = machine.Threshold{Success: s.Live.Success, Failure: s.Live.Failure}
	}
	if s.Watchdog != nil {
		p.Watchdog = machine.Watchdog{Interval: time.Duration(s.Watchdog.Interval), RequireReady: s.Watchdog.RequireReady}
	}
	for _, c := range s.SuccessCodes {
		if c.Signal != "" {
			p.Success = append(p.Success, c.Signal)
			continue
		}
		p.Success = append(p.Success, fmt.Sprint(c.Code))
	}
	return p
}

// readyProbe is the declared probe, or the one that a port stands for.
func readyProbe(s *graph.Service) *graph.Probe {
	if s.Ready != nil || len(s.Ports) == 0 || s.Ports[0].Value.Proto == "udp" {
		return s.Ready
	}
	return &graph.Probe{
		Kind: "tcp", Host: graph.Lit("127.0.0.1"),
		Port:    graph.RefText(graph.Ref{Name: s.Name, Attr: "ports." + s.Ports[0].Key}),
		Period:  graph.Duration(10 * time.Second),
		Timeout: graph.Duration(time.Second), Success: 1, Failure: 3,
	}
}

// step feeds machine one event and carries out what it decides.
func (e *Engine) step(n *node, ev machine.Event) {
	ev.At = e.opt.Clock.Now()
	before := n.svc.state.Phase
	state, actions := machine.Step(&n.svc.policy, n.svc.state, ev)
	n.svc.state = state
	text, noted := "", false
	for _, a := range actions {
		switch {
		case a.Kind == machine.DoNote:
			text, noted = a.Text, true
		case a.Kind == machine.DoBecame && a.Text != "" && !noted:
			text = a.Text
		}
		e.act(n, a)
	}
	if text != "" {
		n.show.Reason = text
	}
	if state.Phase != before {
		e.phase(n, text)
	} else if text != "" {
		e.publish(n, n.show.State, text)
	}
	e.touch(n)
}

// phase shows the new phase of a service. Ready is shown by gate, when the
// tasks that gate it have succeeded too.
func (e *Engine) phase(n *node, text string) {
	p := n.svc.state.Phase
	switch p {
	case "":
		p = machine.Down
	case machine.Backoff:
		e.opt.Table.Retake(n.name()) // a conflict only means that somebody was quicker
	case machine.Ready:
		if n.conds&isReady == 0 && len(n.gates) > 0 {
			return
		}
	}
	e.become(n, string(p), text)
}

// act carries out one action.
func (e *Engine) act(n *node, a machine.Action) {
	in := n.svc.instances[a.Instance]
	switch a.Kind {
	case machine.DoSpawn:
		e.spawn(n, a.Instance)
	case machine.DoSignal:
		e.signal(n, in, a.Signal)
	case machine.DoKillTree:
		e.killTree(n, a.Instance)
	case machine.DoStopCommand:
		e.runHelper(n, in, n.def.Service.Stop.Command, func(err error) {
			if err != nil {
				e.publish(n, n.show.State, "stop command: "+err.Error())
			}
		})
	case machine.DoReloadCommand:
		e.runHelper(n, in, graph.Command{Argv: n.def.Service.Reload.Argv}, func(err error) {
			ev := machine.Event{Kind: machine.EventReloadEnded, Instance: a.Instance}
			if err != nil {
				ev.Text = err.Error()
			}
			e.step(n, ev)
		})
	case machine.DoStartProbe:
		e.startProbe(n, in, a)
	case machine.DoStopProbe:
		stopProbes(in)
	case machine.DoArm:
		timer := a.Timer
		n.svc.timers[timer] = e.opt.Clock.AfterFunc(a.After, func() {
			e.post(func() {
				if _, armed := n.svc.timers[timer]; armed {
					delete(n.svc.timers, timer)
					e.step(n, machine.Event{Kind: machine.EventTimer, Timer: timer})
				}
			})
		})
	case machine.DoCancel:
		if stop := n.svc.timers[a.Timer]; stop != nil {
			stop()
			delete(n.svc.timers, a.Timer)
		}
	case machine.DoBecame:
		e.became(n, in, a)
	case machine.DoNote:
		n.mark(noteMark, a.Text)
	}
}

// became turns what machine says into conditions.
func (e *Engine) became(n *node, in *instance, a machine.Action) {
	switch a.Change {
	case machine.BecameStarted:
		if in != nil {
			n.show.Started = in.started
		}
		if a.Instance > 1 && !n.svc.act.demand {
			n.show.Restarts++
			e.cascade(n)
		}
		n.show.Exit = nil
		e.set(n, isStarted, isCompleted|isStopped)
	case machine.BecameReady:
		n.show.Ready = time.Now()
		e.opt.Table.Taken(n.name())
		e.set(n, isProbed, 0)
	case machine.BecameUnready:
		n.show.Ready = time.Time{}
		e.set(n, 0, n.lost())
	case machine.BecameHealthy:
		e.set(n, isHealthy, 0)
	case machine.BecameUnhealthy:
		e.set(n, 0, isHealthy)
	case machine.BecameCompleted, machine.BecameFailed, machine.BecameGaveUp:
		e.emptyStore(n)
		n.show.Exit = exitOf(a)
		e.set(n, isCompleted, isHealthy)
		e.rest(n)
	case machine.BecameStopped:
		e.emptyStore(n)
		if n.show.Exit == nil && a.Code >= 0 {
			n.show.Exit = exitOf(a)
		}
		e.set(n, isStopped, isStarted|isProbed|isReady|isHealthy|isCompleted)
		e.rest(n)
		if n.holders == 0 {
			e.cleanUp(n)
		}
	}
}

// cleanUp runs the tasks that wait for this service to be stopped, once all
// that they wait for is.
func (e *Engine) cleanUp(n *node) {
	for _, edge := range n.in {
		t := e.byName[edge.From]
		if edge.Cond != graph.Stopped || t.task == nil || t.live() {
			continue
		}
		t.task.done, t.task.once = false, true
		e.touch(t)
	}
}

// rest lets go of what a service holds while it runs.
func (e *Engine) rest(n *node) {
	if n.holders == 0 {
		e.opt.Table.Close(n.name())
		e.keep.drop(keptPorts + n.name())
		e.closeCapture(n)
		e.closeNotify(n)
		v := e.view(n)
		go v.bind.RemoveSecrets(v.def.Name())
	}
	e.gone(n)
}

func exitOf(a machine.Action) *api.Exit {
	switch {
	case a.Signal != "":
		return &api.Exit{Signal: "SIG" + a.Signal}
	case a.Code < 0:
		return nil
	}
	return &api.Exit{Code: a.Code}
}

// cascade restarts the services that asked to follow a restart of this one.
func (e *Engine) cascade(n *node) {
	for _, edge := range n.in {
		from := e.byName[edge.From]
		if from.svc != nil && from.def.Service.Cascade && from.live() && edge.Cond != graph.Completed {
			e.step(from, machine.Event{Kind: machine.EventDependency, Text: n.name() + " restarted"})
		}
	}
}

// signal sends one to an instance.
func (e *Engine) signal(n *node, in *instance, name string) {
	if in == nil || in.proc == nil {
		return
	}
	sig, err := proc.SignalByName(name)
	if err != nil {
		return
	}
	stops := name == n.svc.policy.Stop.Signal || name == "TERM" && n.svc.policy.Stop.Signal == ""
	in.reach(sig, stops)
}

// killTree sweeps what is left of an instance and reports when nothing is. An
// instance without a process was swept by an engine that could not tell.
func (e *Engine) killTree(n *node, id int) {
	in := n.svc.instances[id]
	if in == nil || in.proc == nil {
		delete(n.svc.instances, id)
		e.later(func() { e.step(n, machine.Event{Kind: machine.EventTreeGone, Instance: id}) })
		return
	}
	p, capture := in.proc, n.svc.out.captured()
	go func() {
		err := killTree(p)
		if capture != nil {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			capture.Drain(ctx)
			cancel()
		}
		e.post(func() {
			if err != nil {
				e.publish(n, n.show.State, fmt.Sprintf("cannot kill all of its processes: %v", err))
			}
			if cur := n.svc.instances[id]; cur != nil {
				e.closeReady(n, cur)
				cur.launch.close()
				delete(n.svc.instances, id)
			}
			e.step(n, machine.Event{Kind: machine.EventTreeGone, Instance: id})
		})
	}()
}

// killTree kills a process and all below it, and lets go of it.
func killTree(p Process) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := p.KillTree(ctx)
	p.Wait()
	return errors.Join(err, p.Close())
}

// later has f called by the loop, from within the loop.
func (e *Engine) later(f func()) { go e.post(f) }

func stopProbes(in *instance) {
	if in == nil {
		return
	}
	for k, r := range in.probes {
		r.Stop()
		delete(in.probes, k)
	}
}

// startProbe begins to ask, or takes the new pace.
func (e *Engine) startProbe(n *node, in *instance, a machine.Action) {
	if in == nil {
		return
	}
	if r := in.probes[a.Probe]; r != nil {
		r.Steady(a.Steady)
		return
	}
	def := n.def.Service.Live
	if a.Probe == machine.ProbeReady {
		def = readyProbe(n.def.Service)
	}
	fail := func(err error) {
		e.later(func() {
			e.step(n, machine.Event{Kind: machine.EventProbeFailed, Instance: in.id, Probe: a.Probe, Text: err.Error()})
		})
	}
	p, err := probe.New(def, e.target(n, in))
	if err != nil {
		fail(err)
		return
	}
	pace := probe.Pace{
		Delay: time.Duration(def.InitialDelay), Period: time.Duration(def.Period),
		Timeout: time.Duration(def.Timeout), Steady: a.Steady,
	}
	in.probes[a.Probe] = probe.Start(p, pace, func(err error) {
		ev := machine.Event{Kind: machine.EventProbeOK, Instance: in.id, Probe: a.Probe}
		if err != nil {
			ev.Kind, ev.Text = machine.EventProbeFailed, err.Error()
		}
		e.post(func() { e.step(n, ev) })
	})
}

// runHelper runs a stop or reload command beside the service; then is told in the loop how it ended.
func (e *Engine) runHelper(n *node, in *instance, c graph.Command, then func(error)) {
	pid, out, v, socket := 0, n.svc.out, e.view(n), ""
	if in != nil {
		pid = in.mainPid()
		if a := n.access(in); n.svc.notify != nil && (a == "exec" || a == "all") {
			socket = n.svc.notify.Path()
		}
	}
	go func() {
		err := e.helper(v, c, helping{out, pid, socket})
		e.post(func() { then(err) })
	}()
}

// helper runs a command in the folder, environment and user of a service, with
// its pid in MAINPID. It runs outside of the loop.
func (e *Engine) helper(v view, c graph.Command, h helping) error {
	b, name := v.bind, v.def.Name()
	timeout := max(time.Duration(v.def.Service.Stop.Timeout), time.Second)
	cmd, err := b.Cmd(&c, name)
	if err != nil {
		return err
	}
	vars, err := b.Env(name)
	if err != nil {
		return err
	}
	spec := &proc.Spec{
		Name: name, Argv: cmd.Argv, Marker: e.passing(name),
		Env:    append(append(bind.Environ(vars), cmd.Env...), fmt.Sprintf("MAINPID=%d", h.pid)),
		Notify: h.socket,
	}
	if spec.Dir, err = b.Dir(name); err != nil {
		return err
	}
	spec.User, spec.Group = b.User(name)
	if h.out != nil {
		spec.Stdout, spec.Stderr = h.out.stdout, h.out.stderr
	}
	p, err := e.opt.Spawner.Spawn(spec)
	if err != nil {
		return err
	}
	defer p.Close()
	defer e.helped(name, helperProc{p.Pid(), spec.Marker})()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { p.KillTree(context.Background()) })
	exit := p.Wait()
	stop()
	if ctx.Err() != nil {
		return fmt.Errorf("timed out after %v", timeout)
	}
	if !exit.Ok() {
		return errors.New(exit.String())
	}
	return nil
}

// view is what a goroutine outside of the loop may know of a node: what it was
// when the loop started it.
type view struct {
	def  *graph.Node
	bind *bind.Binding
	live bool // a task that needs a service
}

func (e *Engine) view(n *node) view {
	return view{n.def, e.bind, n.task != nil && e.touchesService(n)}
}

// noteMark separates the log of a service with what the engine did.
const noteMark = "note"

func (n *node) mark(kind, text string) {
	if n.svc != nil && n.svc.out != nil && strings.TrimSpace(text) != "" {
		c := n.svc.out.capture
		go c.Mark(kind, text)
	}
}
