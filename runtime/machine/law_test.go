package machine

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// world carries out the actions of one State as the engine and the kernel would, and
// checks the laws after every step.
type world struct {
	t      *rapid.T
	p      Policy
	s      State
	now    time.Duration
	timers map[Timer]time.Duration
	procs  map[int]*proc
	terms  map[int]int     // stop signals by instance
	autos  []time.Duration // automatic restarts since the budget was last renewed
}

type proc struct{ exists, exited, killed bool }

func (w *world) send(e Event) []Action {
	e.At = w.now
	before := w.s
	before.Restarts = slices.Clone(w.s.Restarts)
	next, acts := Step(&w.p, w.s, e)
	if !reflect.DeepEqual(before, w.s) {
		w.t.Fatalf("%s altered the given state:\n%+v\n%+v", e.Kind, before, w.s)
	}
	if w.now%7 == 0 { // JSON is slow: a sample is enough
		if again, _ := Step(&w.p, clone(before), e); !reflect.DeepEqual(clone(again), clone(next)) {
			w.t.Fatalf("%s: a state read back from JSON steps elsewhere", e.Kind)
		}
	}
	w.count(e, before, acts)
	w.s = next
	for _, a := range acts {
		w.carryOut(a)
	}
	w.check(e)
	return acts
}

// count keeps the times of the restarts that the budget must count.
func (w *world) count(e Event, before State, acts []Action) {
	switch e.Kind {
	case EventRestart, EventRevive:
		w.autos = nil
	case EventStart:
		if !before.Up {
			w.autos = nil
		}
	case EventFileChanged:
		if before.Up {
			w.autos = nil
		}
	case EventTimer, EventTreeGone, EventSpawnFailed:
		spawns := slices.ContainsFunc(acts, func(a Action) bool { return a.Kind == DoSpawn })
		if !spawns || before.Again {
			return
		}
		w.autos = append(w.autos, w.now)
		r := w.p.Restart
		if n := len(w.autos); r.Max >= 0 && n > r.Max && w.now-w.autos[n-1-r.Max] < r.Window {
			w.t.Fatalf("%d restarts in %s, want at most %d: %v", r.Max+1, r.Window, r.Max, w.autos)
		}
	}
}

func (w *world) carryOut(a Action) {
	p := w.procs[a.Instance]
	switch a.Kind {
	case DoSpawn:
		if len(w.procs) > 0 && !w.p.Restart.Overlap || len(w.procs) > 1 {
			w.t.Fatalf("spawn %d while %d instances are there", a.Instance, len(w.procs))
		}
		w.procs[a.Instance] = &proc{}
	case DoArm:
		if a.After < 0 {
			w.t.Fatalf("%s armed with %s", a.Timer.Kind, a.After)
		}
		w.timers[a.Timer] = w.now + a.After
	case DoCancel:
		if _, ok := w.timers[a.Timer]; !ok {
			w.t.Fatalf("cancel of %v, which is not armed", a.Timer)
		}
		delete(w.timers, a.Timer)
	case DoSignal, DoStopCommand, DoReloadCommand, DoStartProbe:
		if p == nil || !p.exists || p.exited {
			w.t.Fatalf("%s for an instance that does not run", show(a))
		}
		if a.Kind == DoSignal && (a.Signal == "TERM" || a.Signal == "ABRT") {
			if w.terms[a.Instance]++; w.terms[a.Instance] > 1 {
				w.t.Fatalf("instance %d was told to stop twice", a.Instance)
			}
		}
	case DoKillTree:
		if p == nil || !p.exists {
			w.t.Fatalf("kill-tree of instance %d, which is not there", a.Instance)
		}
		p.killed = true
	}
}

func (w *world) check(e Event) {
	s := &w.s
	want := map[int]bool{}
	live := map[Timer]bool{}
	if s.Delay.Gen != 0 {
		live[Timer{TimerBackoff, s.Delay.Gen}] = true
	}
	for _, i := range []*Instance{&s.Main, &s.Other} {
		if i.ID == 0 {
			continue
		}
		want[i.ID] = true
		for k, a := range i.Alarms.all {
			if a.Gen != 0 {
				live[Timer{k, a.Gen}] = true
			}
		}
		if i.Phase == Stopping && i.Alive && !i.Killed && i.Alarms.Grace.Gen == 0 {
			w.t.Fatalf("%s: instance %d stops without a limit", e.Kind, i.ID)
		}
	}
	for id := range w.procs {
		if !want[id] {
			w.t.Fatalf("%s: instance %d is forgotten", e.Kind, id)
		}
	}
	if len(want) != len(w.procs) || len(live) != len(w.timers) {
		w.t.Fatalf("%s: got instances %v and timers %v, want %v and %v", e.Kind, want, live, w.procs, w.timers)
	}
	if (s.Phase == Backoff) != (s.Delay.Gen != 0) {
		w.t.Fatalf("%s: phase %s with back-off timer %d", e.Kind, s.Phase, s.Delay.Gen)
	}
	if s.Main.ID == 0 && !slices.Contains([]Phase{Down, Backoff, GaveUp, Exited}, s.Phase) {
		w.t.Fatalf("%s: phase %s without an instance", e.Kind, s.Phase)
	}
	if !s.Up && s.Main.ID == 0 && s.Phase != Down {
		w.t.Fatalf("%s: phase %s, not wanted and nothing there", e.Kind, s.Phase)
	}
}

// fire lets the next timer run out.
func (w *world) fire() bool {
	var first Timer
	for t, at := range w.timers {
		if first.Gen == 0 || at < w.timers[first] || at == w.timers[first] && t.Gen < first.Gen {
			first = t
		}
	}
	if first.Gen == 0 {
		return false
	}
	w.now = max(w.now, w.timers[first])
	delete(w.timers, first)
	w.send(Event{Kind: EventTimer, Timer: first})
	return true
}

// live lets instance id do the next thing that a process can do; dice says which.
func (w *world) live(id, dice int) {
	p := w.procs[id]
	switch {
	case !p.exists && !p.exited && dice%5 == 0:
		delete(w.procs, id)
		w.send(Event{Kind: EventSpawnFailed, Instance: id, Transient: dice%2 == 0})
	case !p.exists:
		p.exists = true
		w.send(Event{Kind: EventSpawned, Instance: id})
	case p.killed && p.exited:
		delete(w.procs, id)
		w.send(Event{Kind: EventTreeGone, Instance: id})
	case p.killed:
		p.exited = true
		w.send(Event{Kind: EventExited, Instance: id, Signal: "KILL"})
	case p.exited:
		w.t.Fatalf("instance %d ended and its tree is not swept", id)
	case dice%3 == 0:
		p.exited = true
		w.send(Event{Kind: EventExited, Instance: id, Code: dice % 2})
	default:
		words := []EventKind{EventProbeOK, EventProbeFailed, EventProbeFailed, EventReady, EventReloading, EventStopping, EventPing, EventTrigger, EventInterval, EventExtend}
		w.send(Event{Kind: words[dice%len(words)], Instance: id, Probe: pick(dice%4 < 2, ProbeReady, ProbeLive), For: time.Duration(dice) * ms})
	}
}

func (w *world) ids() []int { return slices.Sorted(maps.Keys(w.procs)) }

func clone(s State) State {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	var c State
	if err := json.Unmarshal(data, &c); err != nil {
		panic(err)
	}
	return c
}

func anyPolicy(t *rapid.T) Policy {
	p := representative()
	p.Restart.On = rapid.SampledFrom([]RestartOn{RestartNever, RestartOnFailure, RestartAlways}).Draw(t, "on")
	p.Restart.Max = rapid.IntRange(-1, 3).Draw(t, "max")
	p.Restart.Delay = rapid.SampledFrom([]time.Duration{0, ms, 100 * ms}).Draw(t, "delay")
	p.Restart.Reset = rapid.SampledFrom([]time.Duration{0, ms, sec}).Draw(t, "reset")
	p.Restart.Window = rapid.SampledFrom([]time.Duration{10 * ms, sec, 60 * sec}).Draw(t, "window")
	p.Restart.Overlap = rapid.Bool().Draw(t, "overlap")
	p.Ready = rapid.SampledFrom([]Readiness{"", ReadyByProbe, ReadyByNotify}).Draw(t, "ready")
	p.Live = rapid.Bool().Draw(t, "live")
	p.Watchdog.RequireReady = rapid.Bool().Draw(t, "require_ready")
	p.Deadline = rapid.SampledFrom([]time.Duration{0, sec}).Draw(t, "deadline")
	return p
}

var wishes = []EventKind{
	EventStart, EventStart, EventStop, EventStopNow, EventRestart, EventReload, EventReloadEnded,
	EventRevive, EventFileChanged, EventDependency, EventResumed,
}

// TestLaws drives random lives: see world for the laws that hold after each step.
func TestLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, p: anyPolicy(t), timers: map[Timer]time.Duration{}, procs: map[int]*proc{}, terms: map[int]int{}}
		w.send(Event{Kind: EventStart})
		for n := rapid.IntRange(1, 120).Draw(t, "steps"); n > 0; n-- {
			w.now += time.Duration(rapid.IntRange(0, 50).Draw(t, "ms")) * ms
			dice := rapid.IntRange(0, 9999).Draw(t, "dice")
			ids := w.ids()
			switch what := rapid.IntRange(0, 9).Draw(t, "what"); {
			case what < 6 && len(ids) > 0:
				w.live(ids[dice%len(ids)], dice/7)
			case what < 8 && w.fire():
			case what == 8:
				w.stale(dice)
			default:
				w.send(Event{Kind: wishes[dice%len(wishes)], Reload: dice%3 == 0})
			}
		}
		w.drain()
	})
}

// stale sends a word of an instance or a timer that is no more.
func (w *world) stale(dice int) {
	before := w.s
	id := w.s.Spawned + 1
	if old := dice % (w.s.Spawned + 1); w.procs[old] == nil {
		id = old
	}
	kinds := []EventKind{EventSpawned, EventSpawnFailed, EventExited, EventTreeGone, EventReady, EventTrigger, EventProbeFailed, EventExtend, EventStopping}
	e := Event{Kind: kinds[dice%len(kinds)], Instance: id}
	if gone := (Timer{TimerWatchdog, dice % (w.s.Gen + 1)}); dice%2 == 0 {
		if _, ok := w.timers[gone]; !ok {
			e = Event{Kind: EventTimer, Timer: gone}
		}
	}
	if acts := w.send(e); len(acts) > 0 || !reflect.DeepEqual(before, w.s) {
		w.t.Fatalf("stale %s: got %s and another state, want nothing", e.Kind, showAll(acts))
	}
}

// drain: once told to stop, with processes that ignore it, the node ends Down.
func (w *world) drain() {
	w.send(Event{Kind: EventStop})
	for n := 0; len(w.procs) > 0; n++ {
		if n > 50 {
			w.t.Fatalf("does not end: %+v", w.s)
		}
		for _, id := range w.ids() {
			if p := w.procs[id]; !p.exists || p.killed {
				w.live(id, 1)
			}
		}
		w.fire()
	}
	if w.s.Phase != Down || len(w.timers) > 0 || w.s.Ready || w.s.Healthy {
		w.t.Fatalf("after stop: got %s with timers %v, want down without any", w.s.Phase, w.timers)
	}
}

// TestDelays: the back-off never shrinks within a row, and keeps to its cap.
func TestDelays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Restart{
			Delay:  time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "delay")),
			Factor: rapid.Float64Range(-1, 1000).Draw(t, "factor"),
			Cap:    time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "cap")),
		}
		if d := r.delay(0); d != 0 {
			t.Fatalf("first: got %s, want at once", d)
		}
		last := time.Duration(0)
		for n := 1; n < 2000; n++ {
			d := r.delay(n)
			if d < last || r.Cap > 0 && d > r.Cap {
				t.Fatalf("delay %d: got %s after %s, cap %s", n, d, last, r.Cap)
			}
			last = d
		}
	})
}

// TestThresholds: exact over a scripted sequence.
func TestThresholds(t *testing.T) {
	var tally Tally
	good := false
	run, th := 0, Threshold{Success: 2, Failure: 3}
	for n := range 1000 {
		ok := (n*n/7+n/3)%3 != 0
		tally = tally.add(ok, "", th)
		if ok == (run > 0) && run != 0 {
			run += pick(ok, 1, -1)
		} else {
			run = pick(ok, 1, -1)
		}
		if run >= 2 {
			good = true
		}
		if run <= -3 {
			good = false
		}
		if tally.Good != good {
			t.Fatalf("result %d: got good %v, want %v after %d in a row", n, tally.Good, good, run)
		}
	}
}
