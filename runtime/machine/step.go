package machine

// Step decides: it returns the state after e and what to do about it. It may be
// called from any goroutine; p and s are only read. An event that means nothing in
// this state (a stale instance or timer, a stop of what is down) changes nothing.
func Step(p *Policy, s State, e Event) (State, []Action) {
	if s.Phase == "" {
		s.Phase = Down
	}
	m := step{p: p, s: s, e: e}
	switch e.Kind {
	case EventTimer:
		m.timer(e.Timer)
	case EventResumed:
		m.resume()
	case EventSpawned, EventSpawnFailed, EventExited, EventTreeGone, EventReloadEnded,
		EventProbeOK, EventProbeFailed,
		EventReady, EventReloading, EventStopping,
		EventPing, EventTrigger, EventInterval, EventExtend:
		if i := m.find(e.Instance); i != nil {
			m.instance(i)
		}
	default:
		m.wish()
	}
	m.settle()
	return m.s, m.acts
}

// step is one Step under way: s is the copy that becomes the answer.
type step struct {
	p    *Policy
	s    State
	e    Event
	acts []Action
}

func (m *step) do(a Action) { m.acts = append(m.acts, a) }

func (m *step) note(id int, text string) {
	m.do(Action{Kind: DoNote, Instance: id, Text: text})
}

// find returns the live instance of that number, or nil.
func (m *step) find(id int) *Instance {
	switch {
	case id == 0:
		return nil
	case id == m.s.Main.ID:
		return &m.s.Main
	case id == m.s.Other.ID:
		return &m.s.Other
	}
	return nil
}

// each calls f for every instance there is.
func (m *step) each(f func(*Instance)) {
	if m.s.Main.ID != 0 {
		f(&m.s.Main)
	}
	if m.s.Other.ID != 0 {
		f(&m.s.Other)
	}
}

// wish takes the events that say what is wanted of the node as a whole.
func (m *step) wish() {
	switch m.e.Kind {
	case EventStart:
		m.start()
	case EventStop:
		m.stop(func(i *Instance) { m.end(i, "") })
	case EventStopNow:
		m.stop(m.kill)
	case EventRestart:
		m.s.Up = true
		m.renew()
		m.again()
	case EventReload:
		m.reload()
	case EventRevive:
		m.renew()
		if m.s.Up && m.s.Main.ID == 0 {
			m.again()
		}
	case EventFileChanged:
		m.fileChanged()
	case EventDependency:
		if m.s.Up && m.s.Main.ID != 0 && m.s.Main.Phase != Stopping {
			m.again()
		}
	}
}

func (m *step) start() {
	if m.s.Up {
		return
	}
	m.s.Up = true
	m.renew()
	if m.s.Main.ID != 0 {
		m.s.Again = true
		return
	}
	m.spawn(&m.s.Main)
}

// stop ends every instance by means of end; without any the node is down at once.
func (m *step) stop(end func(*Instance)) {
	m.s.Up, m.s.Again = false, false
	m.cancel(&m.s.Delay, TimerBackoff)
	if m.s.Main.ID == 0 {
		m.s.Main, m.s.Other = m.s.Other, Instance{}
	}
	if m.s.Main.ID == 0 {
		if m.s.Phase != Down {
			m.down()
		}
		return
	}
	m.each(end)
}

func (m *step) fileChanged() {
	if !m.s.Up {
		return
	}
	m.renew()
	if m.e.Reload && m.s.Main.ID != 0 && m.s.Main.Phase != Stopping {
		m.reload()
		return
	}
	m.again()
}

// again makes a new instance follow, now or as soon as the present one has ended.
// It is outside the budget and never waits for the back-off.
func (m *step) again() {
	s := &m.s
	if m.e.Text != "" && m.e.Kind != EventTreeGone && m.e.Kind != EventSpawnFailed {
		m.note(0, "restarting: "+m.e.Text)
	}
	switch {
	case s.Main.ID == 0:
		m.spawn(&s.Main)
	case s.Main.Phase == Stopping || s.Other.ID != 0:
		s.Again = true
		if s.Other.ID != 0 {
			m.end(&s.Other, "")
		}
	case m.p.Restart.Overlap && s.Main.Phase != Starting:
		m.spawn(&s.Other)
	default:
		s.Again = true
		m.end(&s.Main, "")
	}
}

// reload asks what runs to read its configuration again.
func (m *step) reload() {
	switch {
	case !m.p.ReloadCommand && m.p.ReloadSignal == "":
		m.note(0, "not reloadable: its declaration has no reload")
	case m.s.Main.ID == 0:
		m.note(0, "cannot reload: it does not run")
	case m.s.Main.Phase == Stopping && m.s.Other.ID == 0:
		m.note(0, "cannot reload: it is stopping")
	default:
		m.each(m.reloadOne)
	}
}

// reloadOne reloads i, or remembers to: what is not ready may have read the old
// configuration, and have no handler for the signal yet; so may a reload command that runs.
func (m *step) reloadOne(i *Instance) {
	switch {
	case i.Phase == Stopping:
	case i.Phase == Starting, i.Phase == Reloading, i.Reload.Runs:
		i.Reload.Due = true
	default:
		i.Reload.Due, i.Reload.Failed = false, ""
		i.Reload.At = m.e.At
		if m.p.ReloadCommand {
			i.Reload.Runs = true
			m.do(Action{Kind: DoReloadCommand, Instance: i.ID})
		} else {
			m.do(Action{Kind: DoSignal, Instance: i.ID, Signal: m.p.ReloadSignal})
		}
	}
}

// settle makes the phase of the node that of its main instance, and tells what
// became of the conditions that dependents wait for.
func (m *step) settle() {
	s := &m.s
	if s.Main.ID != 0 {
		s.Phase = s.Main.Phase
	}
	up := s.Main.ID != 0 && s.Main.Phase != Starting && s.Main.Phase != Stopping
	ready := up && s.Main.Ready.Good
	healthy := ready && (!m.p.Live || s.Main.Live.Good)
	if s.Healthy && !healthy {
		m.became(BecameUnhealthy)
	}
	if ready != s.Ready {
		m.became(pick(ready, BecameReady, BecameUnready))
	}
	if healthy && !s.Healthy {
		m.became(BecameHealthy)
	}
	s.Ready, s.Healthy = ready, healthy
}

func (m *step) became(c Change) {
	m.do(Action{Kind: DoBecame, Instance: m.s.Main.ID, Change: c})
}

// ended tells the last change of a life; its result is in State.Last.
func (m *step) ended(c Change) {
	r := m.s.Last
	m.do(Action{Kind: DoBecame, Change: c, Code: r.Code, Signal: r.Signal, Text: r.Text})
}

func (m *step) down() {
	m.s.Phase = Down
	m.ended(BecameStopped)
}

func pick[T any](b bool, yes, no T) T {
	if b {
		return yes
	}
	return no
}
