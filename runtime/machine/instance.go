package machine

import (
	"slices"
	"strconv"
)

// instance takes the events that belong to one instance.
func (m *step) instance(i *Instance) {
	switch m.e.Kind {
	case EventSpawned:
		m.spawned(i)
	case EventSpawnFailed:
		if !i.Alive {
			m.gone(i)
		}
	case EventExited:
		m.exited(i)
	case EventTreeGone:
		m.gone(i)
	case EventExtend:
		m.extend(i)
	default:
		// A word of the process may overtake the report that it exists.
		m.spawned(i)
		if i.Phase != Stopping {
			m.running(i)
		}
	}
}

// running takes the events that mean something only until the end has begun.
func (m *step) running(i *Instance) {
	switch m.e.Kind {
	case EventProbeOK, EventProbeFailed:
		m.probed(i, m.e.Kind == EventProbeOK)
	case EventReady:
		m.notifiedReady(i)
	case EventReloading:
		m.reloading(i)
	case EventReloadEnded:
		m.reloadEnded(i)
	case EventStopping:
		m.leave(i)
		m.arm(&i.Alarms.Grace, TimerGrace, m.p.Stop.Timeout)
	case EventPing:
		if i.Alarms.Watchdog.Gen != 0 {
			m.arm(&i.Alarms.Watchdog, TimerWatchdog, i.Watchdog)
		}
	case EventTrigger:
		m.fail(i, "watchdog: triggered by the program", "ABRT")
	case EventInterval:
		i.Watchdog = m.e.For
		m.cancel(&i.Alarms.Watchdog, TimerWatchdog)
		if !m.p.Watchdog.RequireReady || i.Phase != Starting {
			m.guard(i)
		}
	}
}

// spawn starts the next instance in slot.
func (m *step) spawn(slot *Instance) {
	m.cancel(&m.s.Delay, TimerBackoff)
	m.s.Again = false
	m.s.Spawned++
	*slot = Instance{
		ID: m.s.Spawned, Phase: Starting, Since: m.e.At,
		Watchdog: m.p.Watchdog.Interval, Exit: Result{Code: -1},
	}
	m.do(Action{Kind: DoSpawn, Instance: slot.ID})
}

func (m *step) spawned(i *Instance) {
	if i.Alive {
		return
	}
	i.Alive, i.Since = true, m.e.At
	switch {
	case i.Killed:
		m.do(Action{Kind: DoKillTree, Instance: i.ID})
		return
	case i.Told:
		m.tell(i, "")
		return
	}
	m.do(Action{Kind: DoBecame, Instance: i.ID, Change: BecameStarted})
	if !m.p.Watchdog.RequireReady {
		m.guard(i)
	}
	switch m.p.Ready {
	case ReadyByProbe, ReadyByNotify:
		if m.p.Deadline > 0 {
			m.arm(&i.Alarms.Deadline, TimerDeadline, m.p.Deadline)
		}
		m.startProbes(i)
	default:
		m.ready(i)
	}
}

// guard arms the watchdog, if there is one.
func (m *step) guard(i *Instance) {
	if i.Watchdog > 0 {
		m.arm(&i.Alarms.Watchdog, TimerWatchdog, i.Watchdog)
	}
}

// startProbes asks for the probes that i needs in its phase.
func (m *step) startProbes(i *Instance) {
	steady := i.Phase != Starting
	if m.p.Ready == ReadyByProbe {
		m.do(Action{Kind: DoStartProbe, Instance: i.ID, Probe: ProbeReady, Steady: steady})
	}
	if m.p.Live && steady {
		m.do(Action{Kind: DoStartProbe, Instance: i.ID, Probe: ProbeLive, Steady: true})
	}
}

// ready makes i ready for the first time. The next instance of an overlapping
// restart takes over here.
func (m *step) ready(i *Instance) {
	m.cancel(&i.Alarms.Deadline, TimerDeadline)
	i.Phase = Ready
	i.Ready.Good = true
	m.startProbes(i)
	if m.p.Watchdog.RequireReady {
		m.guard(i)
	}
	if i.Reload.Due {
		m.reloadOne(i)
	}
	if i != &m.s.Other {
		return
	}
	m.s.Main, m.s.Other = m.s.Other, m.s.Main
	m.end(&m.s.Other, "")
	if m.s.Ready {
		m.became(BecameReady)
	}
}

func (m *step) notifiedReady(i *Instance) {
	switch {
	case i.Phase == Starting && m.p.Ready == ReadyByNotify:
		m.ready(i)
	case i.Phase == Reloading:
		m.reloaded(i)
	}
}

// reloading begins a reload, unless RELOADING=1 was sent before the last one was asked for.
func (m *step) reloading(i *Instance) {
	stale := m.e.Sent != 0 && m.e.Sent < i.Reload.At
	if stale || i.Phase == Starting || i.Phase == Reloading {
		return
	}
	i.Phase = Reloading
	if m.p.Deadline > 0 {
		m.arm(&i.Alarms.Deadline, TimerDeadline, m.p.Deadline)
	}
}

func (m *step) reloaded(i *Instance) {
	m.cancel(&i.Alarms.Deadline, TimerDeadline)
	i.Phase = Ready
	m.judge(i)
	if i.Reload.Due {
		m.reloadOne(i)
	}
}

// reloadEnded takes the end of the reload command; what changed while it ran asks for one more.
func (m *step) reloadEnded(i *Instance) {
	i.Reload.Runs, i.Reload.Failed = false, m.e.Text
	if m.e.Text != "" {
		m.note(i.ID, "reload command: "+m.e.Text)
	}
	if i.Reload.Due {
		m.reloadOne(i)
	}
}

// probed counts one try. Until ready, failures only break a row of successes.
func (m *step) probed(i *Instance, ok bool) {
	switch {
	case m.e.Probe == ProbeReady && m.p.Ready == ReadyByProbe && i.Phase == Starting:
		i.Ready = i.Ready.add(ok, m.e.Text, Threshold{Success: m.p.ReadyCount.Success, Failure: never})
		if i.Ready.Good {
			m.ready(i)
		}
	case m.e.Probe == ProbeReady && m.p.Ready == ReadyByProbe:
		i.Ready = i.Ready.add(ok, m.e.Text, m.p.ReadyCount)
		m.judge(i)
	case m.e.Probe == ProbeLive && m.p.Live && i.Phase != Starting:
		i.Live = i.Live.add(ok, m.e.Text, m.p.LiveCount)
		if i.Live.Bad && m.p.Restart.On.restarts() {
			m.fail(i, "unhealthy: "+m.probeFailure(i.Live), "")
			return
		}
		m.judge(i)
	}
}

// judge makes i Ready or Unhealthy by its tallies; a reload is judged at its end.
func (m *step) judge(i *Instance) {
	bad := i.Ready.Bad || i.Live.Bad
	switch {
	case i.Phase == Ready && bad:
		i.Phase = Unhealthy
		m.note(i.ID, "unhealthy: "+m.probeFailure(pick(i.Ready.Bad, i.Ready, i.Live)))
	case i.Phase == Unhealthy && !bad:
		i.Phase = Ready
		m.note(i.ID, "healthy again")
	}
}

// never is a threshold that no row of results reaches.
const never = int(^uint(0) >> 1)

// add counts one more result; text is how it failed.
func (t Tally) add(ok bool, text string, th Threshold) Tally {
	t.Text = text
	// The counts stand still at the threshold, so that they cannot overflow.
	if ok {
		t.Run = min(max(t.Run, 0)+1, max(th.Success, 1))
		if t.Run == max(th.Success, 1) {
			t.Good, t.Bad = true, false
		}
		return t
	}
	t.Run = max(min(t.Run, 0)-1, -max(th.Failure, 1))
	if t.Run == -max(th.Failure, 1) {
		t.Good, t.Bad = false, true
	}
	return t
}

// fail ends i for a reason that counts as a failure; sig "" is the declared stop.
func (m *step) fail(i *Instance, why, sig string) {
	if i.Told || i.Exited {
		return
	}
	i.Failure = why
	m.note(i.ID, why)
	m.end(i, sig)
}

// end tells i to end, once; sig "" is the declared stop.
func (m *step) end(i *Instance, sig string) {
	if i.Told || i.Exited || i.Killed {
		return
	}
	i.Told = true
	m.leave(i)
	if i.Alive {
		m.tell(i, sig)
	}
}

func (m *step) tell(i *Instance, sig string) {
	switch {
	case sig != "":
		m.do(Action{Kind: DoSignal, Instance: i.ID, Signal: sig})
	case m.p.Stop.Command:
		m.do(Action{Kind: DoStopCommand, Instance: i.ID})
	default:
		m.do(Action{Kind: DoSignal, Instance: i.ID, Signal: m.p.Stop.signal()})
	}
	m.arm(&i.Alarms.Grace, TimerGrace, m.p.Stop.Timeout)
}

func (t Stop) signal() string { return pick(t.Signal == "", "TERM", t.Signal) }

// kill ends the tree of i at once.
func (m *step) kill(i *Instance) {
	if i.Killed {
		return
	}
	i.Killed = true
	i.Told = i.Told || !i.Exited
	m.leave(i)
	m.cancel(&i.Alarms.Grace, TimerGrace)
	if i.Alive {
		m.do(Action{Kind: DoKillTree, Instance: i.ID})
	}
}

// leave is the common part of every end: i is no longer asked or limited.
func (m *step) leave(i *Instance) {
	if i.Phase == Stopping {
		return
	}
	i.Phase = Stopping
	m.cancel(&i.Alarms.Deadline, TimerDeadline)
	m.cancel(&i.Alarms.Watchdog, TimerWatchdog)
	if i.Alive {
		m.do(Action{Kind: DoStopProbe, Instance: i.ID})
	}
}

// exited records how the main process ended, and has the rest of its tree swept.
func (m *step) exited(i *Instance) {
	if i.Exited {
		return
	}
	if !i.Alive && !i.Told {
		m.do(Action{Kind: DoBecame, Instance: i.ID, Change: BecameStarted})
	}
	i.Alive, i.Exited = true, true
	i.Exit = m.exit()
	m.leave(i)
	m.cancel(&i.Alarms.Grace, TimerGrace)
	if !i.Killed {
		i.Killed = true
		m.do(Action{Kind: DoKillTree, Instance: i.ID})
	}
}

// exit is the result that an EventExited tells.
func (m *step) exit() Result {
	good := m.p.Success
	if good == nil {
		good = []string{"0"}
	}
	r := Result{Code: m.e.Code, Signal: m.e.Signal, At: m.e.At}
	if r.Signal != "" {
		r.Code = -1
		r.Text = "signal " + r.Signal
		if m.e.Text != "" {
			r.Text = m.e.Text
		}
		r.Clean = r.Signal == m.p.Stop.signal() || slices.Contains(good, r.Signal)
		return r
	}
	code := strconv.Itoa(r.Code)
	r.Text = "exit " + code
	if m.e.Text != "" {
		r.Text = m.e.Text
	}
	r.Clean = slices.Contains(good, code)
	return r
}
