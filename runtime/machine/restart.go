package machine

import (
	"math"
	"slices"
	"time"
)

// gone takes the end of i: nothing of it is left, or it never was.
func (m *step) gone(i *Instance) {
	old := *i
	m.leave(i)
	m.settle()
	m.cancel(&i.Alarms.Grace, TimerGrace)
	r := m.result(&old)
	s := &m.s
	if i == &s.Other {
		s.Other = Instance{}
		m.otherGone(&old, r)
		return
	}
	s.Last = r
	s.Main = Instance{}
	switch {
	case s.Other.ID != 0 && (!s.Up || s.Other.Phase != Stopping):
		s.Main, s.Other = s.Other, Instance{}
		if s.Up {
			m.note(s.Main.ID, "takes over early; the former instance ended: "+r.Text)
		}
	case !s.Up:
		m.down()
	case s.Again:
		m.spawn(&s.Main)
	default:
		m.decide(&old, r)
	}
}

// otherGone takes the end of the next or former instance of an overlapping restart.
func (m *step) otherGone(old *Instance, r Result) {
	s := &m.s
	serves := s.Main.ID != 0 && s.Main.Phase != Stopping
	if s.Up && serves && old.ID > s.Main.ID && (old.Failure != "" || !old.Told) {
		m.remember(m.recent())
		m.note(old.ID, "cannot replace the former instance, which stays: "+r.Text)
	}
	if s.Up && s.Again && serves {
		s.Again = false
		m.again()
	}
}

// result says how old ended, by the event that tells that it is gone.
func (m *step) result(old *Instance) Result {
	r := old.Exit
	switch {
	case m.e.Kind == EventSpawnFailed:
		r = Result{Code: -1, Text: pick(m.e.Text == "", "cannot start", m.e.Text)}
	case old.Failure != "":
		r.Clean, r.Text = false, old.Failure
	case old.Told:
		r.Clean, r.Text = true, "stopped"
	case !old.Exited:
		r.Text = "ended unseen"
	}
	if !old.Exited {
		r.At = m.e.At
	}
	return r
}

// decide restarts by the policy, or ends this life of the node.
func (m *step) decide(old *Instance, r Result) {
	p, s := &m.p.Restart, &m.s
	due := p.On == RestartAlways || p.On == RestartOnFailure && !r.Clean
	if m.e.Kind == EventSpawnFailed && !m.e.Transient {
		due = false
	}
	if !due || p.Max == 0 {
		s.Phase = Exited
		if !r.Clean {
			m.note(0, "failed: "+r.Text)
		}
		m.ended(pick(r.Clean, BecameCompleted, BecameFailed))
		return
	}
	if old.Alive && p.Reset > 0 && r.At-old.Since > p.Reset {
		s.Streak = 0
	}
	recent := m.recent()
	if p.Max > 0 && len(recent) >= p.Max {
		s.Phase = GaveUp
		m.note(0, p.gaveUp(len(recent), r.Text))
		m.ended(BecameGaveUp)
		return
	}
	delay := p.delay(s.Streak)
	s.Streak++
	m.note(0, p.restarting(pick(p.Max > 0, len(recent)+1, s.Streak), delay, r.Text))
	if delay > 0 {
		s.Phase = Backoff
		m.arm(&s.Delay, TimerBackoff, delay)
		return
	}
	m.remember(recent)
	m.spawn(&s.Main)
}

// delay is the wait before the restart that follows n others in a row.
func (r *Restart) delay(n int) time.Duration {
	if n == 0 || r.Delay <= 0 {
		return 0
	}
	limit := float64(r.Cap)
	if r.Cap <= 0 {
		limit = float64(math.MaxInt64 / 2)
	}
	return time.Duration(min(float64(r.Delay)*math.Pow(max(r.Factor, 1), float64(n-1)), limit))
}

func (o RestartOn) restarts() bool { return o == RestartOnFailure || o == RestartAlways }

// recent are the restarts that the window still counts.
func (m *step) recent() []time.Duration {
	p := &m.p.Restart
	if p.Window <= 0 {
		return m.s.Restarts
	}
	from := slices.IndexFunc(m.s.Restarts, func(t time.Duration) bool { return t > m.e.At-p.Window })
	if from < 0 {
		return nil
	}
	return m.s.Restarts[from:]
}

// remember counts a restart made now. As many are kept as can matter, in a slice of
// its own: the given State shares the old one.
func (m *step) remember(recent []time.Duration) {
	all := append(slices.Clone(recent), m.e.At)
	m.s.Restarts = all[max(len(all)-max(m.p.Restart.Max, 0), 0):]
}

// renew makes the restart budget whole again.
func (m *step) renew() { m.s.Restarts, m.s.Streak = nil, 0 }
