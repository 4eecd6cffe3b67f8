package machine

import "time"

// arm lets a run out after d from now; what it was armed with before is cancelled.
func (m *step) arm(a *Alarm, kind TimerKind, d time.Duration) {
	m.cancel(a, kind)
	m.s.Gen++
	*a = Alarm{Gen: m.s.Gen, After: d, End: m.e.At + d}
	m.do(Action{Kind: DoArm, Timer: Timer{kind, a.Gen}, After: d})
}

func (m *step) cancel(a *Alarm, kind TimerKind) {
	if a.Gen != 0 {
		m.do(Action{Kind: DoCancel, Timer: Timer{kind, a.Gen}})
	}
	*a = Alarm{}
}

// extend moves the limit of the present phase to For from now, but never before its
// original end: the program must ask again before that.
func (m *step) extend(i *Instance) {
	a, kind := &i.Alarms.Deadline, TimerDeadline
	if i.Phase == Stopping {
		a, kind = &i.Alarms.Grace, TimerGrace
	}
	if a.Gen == 0 {
		return
	}
	first := *a
	m.arm(a, kind, max(first.End, m.e.At+m.e.For)-m.e.At)
	a.After, a.End = first.After, first.End
}

// timer takes the timer t, unless it is no longer armed.
func (m *step) timer(t Timer) {
	if t.Gen == 0 {
		return
	}
	if t == (Timer{TimerBackoff, m.s.Delay.Gen}) {
		m.s.Delay = Alarm{}
		m.remember(m.recent())
		m.spawn(&m.s.Main)
		return
	}
	m.each(func(i *Instance) {
		for kind, a := range i.Alarms.all {
			if t == (Timer{kind, a.Gen}) {
				after := a.After
				*a = Alarm{}
				m.ranOut(i, kind, after)
				return
			}
		}
	})
}

// ranOut acts on a limit of i that was armed with after.
func (m *step) ranOut(i *Instance, kind TimerKind, after time.Duration) {
	switch kind {
	case TimerDeadline:
		if i.Phase == Reloading {
			m.note(i.ID, "did not finish its reload within "+length(after))
			m.reloaded(i)
			return
		}
		why := "did not become ready within " + length(after)
		if i.Ready.Text != "" {
			why += ": " + i.Ready.Text
		}
		m.fail(i, why, "")
	case TimerWatchdog:
		m.fail(i, "watchdog: no ping for "+length(after), "ABRT")
	case TimerGrace:
		why := "killed: did not stop within " + length(after)
		if !i.Told {
			i.Failure = why
		}
		m.note(i.ID, why)
		m.kill(i)
	}
}

// all yields every alarm with its kind, in a fixed order.
func (a *Alarms) all(yield func(TimerKind, *Alarm) bool) {
	_ = yield(TimerDeadline, &a.Deadline) &&
		yield(TimerGrace, &a.Grace) &&
		yield(TimerWatchdog, &a.Watchdog)
}

// resume asks again for all that the former engine may have let fall: timers run
// anew from now, probes and sweeps are asked for again. A stop is not sent a second
// time: its grace runs, and ends in the kill.
func (m *step) resume() {
	m.rearm(&m.s.Delay, TimerBackoff)
	m.each(func(i *Instance) {
		for kind, a := range i.Alarms.all {
			m.rearm(a, kind)
		}
		switch {
		case !i.Alive:
		case i.Killed:
			m.do(Action{Kind: DoKillTree, Instance: i.ID})
		case i.Phase != Stopping:
			m.startProbes(i)
		}
	})
}

func (m *step) rearm(a *Alarm, kind TimerKind) {
	if a.Gen != 0 {
		m.arm(a, kind, a.After)
	}
}
