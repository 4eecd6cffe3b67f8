package engine

import (
	"math/rand/v2"
	"time"

	"orrery/lang/graph"
)

// A task with a schedule rests while it is held, and runs when its time has
// come. The clock on the wall decides; it is looked at every minute at least,
// for it may be set, and the machine may sleep.

// stateScheduled is that of a task that waits for its time.
const stateScheduled = "scheduled"

// glance is how long the clock on the wall is trusted to go on as it does.
const glance = time.Minute

// setBack is by how much the clock must be set back for a time that has been
// to come again. What is less is a correction.
const setBack = 3 * time.Hour

// alarm is when a task runs next. Its exported fields outlive the engine.
type alarm struct {
	Base   time.Time `json:"base,omitzero"`    // of an interval: the next time without its jitter
	Next   time.Time `json:"next,omitzero"`    // when it runs next
	Last   time.Time `json:"last,omitzero"`    // when it was due last
	Failed string    `json:"failed,omitempty"` // how the last run failed

	stop func() // of the timer; nil: not armed
	told time.Time
	turn turn
}

// turn is how far a task has come whose time it is.
type turn uint8

const (
	resting turn = iota
	rung         // its time has come; that is being kept
	due          // it is to run, or runs
)

// plan says when it runs after wall.
func (a *alarm) plan(s *graph.Schedule, wall time.Time) {
	if s.Kind != "every" {
		if before := a.Last.Sub(wall); before > 0 && before < setBack {
			wall = a.Last
		}
		a.Next = s.Next(wall)
		return
	}
	step := time.Duration(s.Interval)
	if a.Base.IsZero() || a.Base.Sub(wall) > step { // the first, or the clock was set back
		a.Base = wall
	}
	if !a.Base.After(wall) {
		a.Base = a.Base.Add((wall.Sub(a.Base)/step + 1) * step)
	}
	a.Next = a.Base
	if s.Jitter > 0 {
		a.Next = a.Next.Add(rand.N(time.Duration(s.Jitter)))
	}
}

// look plans anew when the clock was set back.
func (a *alarm) look(s *graph.Schedule, wall time.Time) {
	fresh := *a
	fresh.plan(s, wall)
	if s.Kind == "every" && fresh.Base.Equal(a.Base) {
		return // but for the jitter
	}
	if fresh.Next.Before(a.Next) {
		a.Base, a.Next = fresh.Base, fresh.Next
	}
}

func (a *alarm) disarm() {
	if a.stop != nil {
		a.stop()
		a.stop = nil
	}
	a.Base, a.Next, a.told = time.Time{}, time.Time{}, time.Time{}
}

// scheduled reports whether a task runs at its times, and not when it is asked for.
func (e *Engine) scheduled(n *node) bool {
	atOnce := e.opt.Local != nil && e.opt.Local.AtOnce
	return n.task != nil && n.def.Task.Schedule != nil && !atOnce && n.holders > 0 && !n.external && !n.removed
}

// rests reports whether a task waits for its time, which has not come.
func (e *Engine) rests(n *node) bool { return e.scheduled(n) && n.task.alarm.turn != due }

// considerAlarm arms a held task that has a schedule, and no other.
func (e *Engine) considerAlarm(n *node) {
	if n.task == nil {
		return
	}
	a := &n.task.alarm
	switch {
	case !e.scheduled(n):
		a.disarm()
		if !n.live() {
			a.turn = resting // it was to run, and waited
		}
	case a.stop == nil:
		if a.Next.IsZero() {
			a.plan(n.def.Task.Schedule, e.opt.Clock.Wall())
		}
		e.wind(n)
	}
}

// wind sets the timer to the next time, or to the next look at the clock.
func (e *Engine) wind(n *node) {
	a := &n.task.alarm
	wait := glance
	if !a.Next.IsZero() { // else the time zone is not known here
		wait = min(max(0, a.Next.Sub(e.opt.Clock.Wall())), glance)
	}
	a.stop = e.opt.Clock.AfterFunc(wait, func() { e.post(func() { e.ring(n) }) })
}

// ring looks whether the time of a task has come, and has it run.
func (e *Engine) ring(n *node) {
	if !e.scheduled(n) || n.task.alarm.stop == nil || e.byName[n.name()] != n {
		return
	}
	a, s, wall := &n.task.alarm, n.def.Task.Schedule, e.opt.Clock.Wall()
	a.stop()
	if a.Next.IsZero() || wall.Before(a.Next) {
		a.look(s, wall)
		e.wind(n)
		return
	}
	was := a.Next
	a.Last = wall
	a.plan(s, wall)
	a.told = a.Next
	e.wind(n)
	if n.live() || a.turn != resting {
		e.publish(n, n.show.State, "left out the run of "+clockText(was)+": the one before has not ended")
		e.save(n)
		return
	}
	a.turn = rung
	e.save(n)
	kept := e.keep.flushed()
	// Only when it is kept: an engine that follows must not run it again.
	go func() {
		<-kept
		e.post(func() { e.fall(n) })
	}()
}

// fall has a task run whose time has come.
func (e *Engine) fall(n *node) {
	a := &n.task.alarm
	if a.turn != rung || !e.scheduled(n) {
		a.turn = resting
		return
	}
	e.runNow(n)
}

// runNow has a task run that rests.
func (e *Engine) runNow(n *node) {
	n.task.alarm.turn = due
	n.task.done = false
	e.touch(n)
	for _, edge := range n.out { // what rests as well, and it waits for
		e.touch(e.byName[edge.To])
	}
}

// considerResting runs a task that rests only when something that is up waits
// for its result.
func (e *Engine) considerResting(n *node) {
	a := &n.task.alarm
	switch {
	case n.conds&isSucceeded == 0 && e.required(n):
		if !n.task.done {
			e.considerStart(n)
		}
	case n.show.State != stateScheduled || !a.told.Equal(a.Next):
		a.told = a.Next
		e.queue.leave(n)
		n.show.Reason, n.show.Cause = "", ""
		if a.Failed != "" {
			n.show.Reason = "last run failed: " + a.Failed
		}
		e.become(n, stateScheduled, "next run "+clockText(a.Next))
	}
}

// required reports whether something waits for a task that does not itself wait
// for its time.
func (e *Engine) required(n *node) bool {
	if g := n.def.Task.Gates; g != "" && e.byName[g].holders > 0 {
		return true
	}
	for _, edge := range n.in {
		from := e.byName[edge.From]
		if edge.Cond != graph.Stopped && from.holders > 0 && (!e.rests(from) || e.required(from)) {
			return true
		}
	}
	return false
}

// concluded ends the turn of a task that has run, or cannot.
func (e *Engine) concluded(n *node) {
	a := &n.task.alarm
	if a.turn == due {
		a.turn = resting
	}
	a.Failed = ""
	if n.bad() {
		a.Failed = n.failure()
	}
	if e.scheduled(n) {
		e.touch(n)
	}
}

// kept is the alarm as a successor goes on with it: it does not run again what
// was cut off.
func (a alarm) kept() *alarm {
	if a.stop == nil {
		return nil
	}
	if a.turn != resting {
		a.Failed = "the engine ended meanwhile"
	}
	return &a
}

func clockText(t time.Time) string {
	if t.IsZero() {
		return "never: its time zone is not known here"
	}
	return t.Format("2006-01-02 15:04:05 MST")
}
