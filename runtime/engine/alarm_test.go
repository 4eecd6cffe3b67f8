package engine

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"pgregory.net/rapid"

	"orrery/lang/graph"
	"orrery/runtime/control/api"
)

func scheduled(s graph.Schedule) func(*graph.Task) {
	return func(t *graph.Task) { t.Schedule = &s }
}

func cronAt(expr, tz string) func(*graph.Task) {
	return scheduled(graph.Schedule{Kind: "cron", Expr: expr, Tz: tz})
}

func every(interval, jitter time.Duration) func(*graph.Task) {
	return scheduled(graph.Schedule{Kind: "every", Interval: graph.Duration(interval), Jitter: graph.Duration(jitter)})
}

// timed is a rig whose tasks run by their schedules; its clock shows a time of day.
type timed struct {
	*rig
	zone  *time.Location
	texts chan api.Event
}

func newTimed(t *testing.T, zone, at string, nodes ...*graph.Node) *timed {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	r := &timed{zone: loc, texts: make(chan api.Event, 10000)}
	r.rig = newRigWith(t, func(o *Options) {
		o.KeepGoing = true
		o.Clock.(*fakeClock).set(r.at(t, at))
	}, graph.Decl{Nodes: nodes})
	stop, err := r.e.Events(0, func(ev api.Event) { r.texts <- ev })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return r
}

func (r *timed) at(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.ParseInLocation("2006-01-02 15:04", s, r.zone)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// pass lets time pass as it does when a machine runs: a minute at a time.
func (r *timed) pass(d time.Duration) {
	r.t.Helper()
	for ; d > 0; d -= time.Minute {
		r.clock.move(min(d, time.Minute))
		r.quiesce()
	}
}

// quiesce returns when all that time has set off has ended.
func (r *timed) quiesce() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	r.e.call(func() {})
	var names []string
	r.e.call(func() {
		for _, n := range r.e.nodes {
			if r.e.scheduled(n) {
				names = append(names, n.name())
			}
		}
	})
	if err := r.e.wait(ctx, names, func(n *node) bool { return !n.live() && n.task.alarm.turn == resting }); err != nil {
		r.t.Fatal(err)
	}
}

// runs are the times of day at which tasks began to run since the last call.
func (r *timed) runs() (all []string) {
	for {
		select {
		case ev := <-r.texts:
			if ev.State == stateRunning && ev.From != stateRunning {
				all = append(all, ev.Node)
			}
		default:
			return all
		}
	}
}

// TestScheduleByTheClock lets days pass, the clocks changing in both
// directions, and looks at what the clock on the wall shows at each run.
func TestScheduleByTheClock(t *testing.T) {
	for _, c := range []struct {
		name, from string
		hours      int
		want       string
	}{
		{"plain", "2026-01-10 12:00", 48, "01-11 02:00 CET, 01-12 02:00 CET"},
		{"spring", "2026-03-28 12:00", 48, "03-29 03:00 CEST, 03-30 02:00 CEST"},
		{"autumn", "2026-10-24 12:00", 48, "10-25 02:00 CEST, 10-26 02:00 CET"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newTimed(t, "Europe/Berlin", c.from, svc("web"), job("backup", "exit 0", cronAt("0 2 * * *", "Europe/Berlin")))
			if failed := r.up(); failed != nil {
				t.Fatal(failed)
			}
			var got []string
			for range c.hours * 60 {
				r.pass(time.Minute)
				if len(r.runs()) > 0 {
					got = append(got, r.clock.Wall().In(r.zone).Format("01-02 15:04 MST"))
				}
			}
			if g := strings.Join(got, ", "); g != c.want {
				t.Errorf("got %s, want %s", g, c.want)
			}
		})
	}
}

// TestScheduleSleep: a machine that slept over three times makes up for one,
// within a minute.
func TestScheduleSleep(t *testing.T) {
	r := newTimed(t, "UTC", "2026-01-10 12:00", job("backup", "exit 0", cronAt("0 2 * * *", "UTC")))
	r.up()
	if st, _ := r.e.Status(nil); st.Nodes[0].State != stateScheduled || !st.Nodes[0].NextAt.Equal(r.at(t, "2026-01-11 02:00")) || st.Nodes[0].Schedule != "0 2 * * * UTC" {
		t.Errorf("got %+v", st.Nodes[0])
	}
	r.clock.set(r.at(t, "2026-01-13 08:00")) // the clock of timers stood still
	r.pass(time.Minute)
	if got := r.runs(); len(got) != 1 {
		t.Errorf("got %v, want one run", got)
	}
	if st, _ := r.e.Status(nil); !st.Nodes[0].NextAt.Equal(r.at(t, "2026-01-14 02:00")) {
		t.Errorf("got %s next", st.Nodes[0].NextAt)
	}
}

// TestScheduleClockSet: a correction of the clock runs nothing twice; a clock
// that was a year ahead does not keep a task from its time.
func TestScheduleClockSet(t *testing.T) {
	r := newTimed(t, "UTC", "2026-01-10 01:59", job("backup", "exit 0", cronAt("0 2 * * *", "UTC")), job("often", "exit 0", every(time.Hour, 0)))
	r.up()
	r.pass(2 * time.Minute)
	if got := r.runs(); !slices.Equal(got, []string{"backup"}) {
		t.Fatalf("got %v", got)
	}
	r.clock.set(r.at(t, "2026-01-10 01:50"))
	r.pass(30 * time.Minute)
	if got := r.runs(); len(got) != 0 {
		t.Errorf("got %v after the clock was set back by some minutes", got)
	}
	r.clock.set(r.at(t, "2025-01-10 01:50"))
	r.pass(30 * time.Minute)
	if got := r.runs(); !slices.Equal(got, []string{"backup"}) {
		t.Errorf("got %v after the clock was set back by a year, want the run of 02:00", got)
	}
	r.pass(32 * time.Minute)
	if got := r.runs(); !slices.Equal(got, []string{"often"}) {
		t.Errorf("got %v within an hour of that", got)
	}
}

// TestScheduleEvery: from start to start, whatever a run takes, and a run that
// is not over leaves out what comes meanwhile, and says so.
func TestScheduleEvery(t *testing.T) {
	dir := t.TempDir()
	r := newTimed(t, "UTC", "2026-01-10 12:00",
		job("slow", "until [ -e "+dir+"/go ]; do sleep 0.01; done", every(10*time.Minute, 0)))
	r.up()
	for range 10 {
		r.clock.move(time.Minute)
		r.e.call(func() {})
	}
	r.until("slow", stateRunning)
	for range 20 {
		r.clock.move(time.Minute)
		r.e.call(func() {})
	}
	var left []string
	started := 0
	for len(r.texts) > 0 {
		ev := <-r.texts
		if strings.HasPrefix(ev.Text, "left out") {
			left = append(left, ev.Text)
		}
		if ev.State == stateRunning && ev.From != stateRunning {
			started++
		}
	}
	if want := []string{
		"left out the run of 2026-01-10 12:20:00 UTC: the one before has not ended",
		"left out the run of 2026-01-10 12:30:00 UTC: the one before has not ended",
	}; started != 1 || !slices.Equal(left, want) {
		t.Errorf("got %d started, left out %v", started, left)
	}
	os.WriteFile(filepath.Join(dir, "go"), nil, 0o600)
	r.quiesce()
	r.pass(10 * time.Minute)
	if got := r.runs(); len(got) != 1 {
		t.Errorf("got %v, want one more run", got)
	}
}

// TestScheduleJitter is a law: every time lies less than the jitter after its
// beat, and no beat is left out.
func TestScheduleJitter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		step := time.Duration(rapid.Int64Range(int64(time.Second), int64(48*time.Hour)).Draw(t, "interval"))
		jitter := time.Duration(rapid.Int64Range(0, int64(step)-1).Draw(t, "jitter"))
		s := &graph.Schedule{Kind: "every", Interval: graph.Duration(step), Jitter: graph.Duration(jitter)}
		begin := time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
		var a alarm
		a.plan(s, begin)
		for beat := int64(1); beat <= 50; beat++ {
			base := begin.Add(time.Duration(beat) * step)
			if late := a.Next.Sub(base); late < 0 || late > jitter || jitter > 0 && late == jitter {
				t.Fatalf("beat %d: late by %s", beat, late)
			}
			a.Last = a.Next
			a.plan(s, a.Next)
		}
	})
}

// TestScheduleFailure: a run that fails is shown, ends nothing, and the next one
// comes.
func TestScheduleFailure(t *testing.T) {
	r := newTimed(t, "UTC", "2026-01-10 12:00", svc("web"), job("backup", "exit 3", every(time.Hour, 0)))
	r.up()
	r.pass(time.Hour)
	st, _ := r.e.Status([]string{"backup"})
	if n := st.Nodes[0]; n.State != stateScheduled || n.Reason != "last run failed: exit 3" || n.Exit == nil || n.Exit.Code != 3 {
		t.Errorf("got %+v", n)
	}
	if failed := r.settle("web", "backup"); failed != nil {
		t.Errorf("got %v", failed)
	}
	r.pass(time.Hour)
	if got := r.runs(); len(got) != 2 {
		t.Errorf("got %v", got)
	}
	r.down()
	if st, _ := r.e.Status([]string{"backup"}); !st.Nodes[0].NextAt.IsZero() || st.Nodes[0].State != "down" {
		t.Errorf("down: got %+v", st.Nodes[0])
	}
}

// TestScheduleNeeded: what waits for the result of a scheduled task has it run
// when it begins, and does not lose it by a later run that fails; a run waits
// for what it needs itself.
func TestScheduleNeeded(t *testing.T) {
	dir := t.TempDir()
	r := newTimed(t, "UTC", "2026-01-10 12:00",
		job("fetch", "test ! -e "+dir+"/broken", every(time.Hour, 0)),
		svc("web", after(graph.Dep{Node: "fetch"})),
		job("prepare", "exit 0", every(24*time.Hour, 0)),
		job("report", "exit 0", every(time.Hour, 0), func(t *graph.Task) { t.After = []graph.Dep{{Node: "prepare"}} }),
	)
	if failed := r.up(); failed != nil {
		t.Fatal(failed)
	}
	if got := r.runs(); !slices.Equal(got, []string{"fetch"}) {
		t.Errorf("got %v at first", got)
	}
	os.WriteFile(filepath.Join(dir, "broken"), nil, 0o600)
	r.pass(time.Hour)
	got := r.runs()
	slices.Sort(got)
	if !slices.Equal(got, []string{"fetch", "prepare", "report"}) {
		t.Errorf("got %v after an hour", got)
	}
	if err := r.e.Act(context.Background(), "restart", []string{"web"}, false); err != nil {
		t.Errorf("restart of what waits for a task whose last run failed: %v", err)
	}
	if err := r.e.Act(context.Background(), "start", []string{"fetch"}, false); err == nil || !strings.Contains(err.Error(), "fetch: exit 1") {
		t.Errorf("start: got %v", err)
	}
	if err := r.e.Act(context.Background(), "start", []string{"report"}, false); err != nil {
		t.Error(err)
	}
}

// TestScheduleWaits: a run that waits for a service counts as one; released
// meanwhile, it is forgotten.
func TestScheduleWaits(t *testing.T) {
	r := newTimed(t, "UTC", "2026-01-10 12:00", svc("db", func(s *graph.Service) {
		s.Ready = &graph.Probe{Kind: "file", Path: graph.Lit("/nonexistent/ready")}
	}), job("backup", "exit 0", every(time.Hour, 0), func(t *graph.Task) { t.After = []graph.Dep{{Node: "db"}} }))
	if _, err := r.e.Hold("test", nil, graph.SelectNeeds); err != nil {
		t.Fatal(err)
	}
	r.until("backup", stateScheduled)
	r.clock.move(time.Hour)
	r.until("backup", stateWaiting)
	r.clock.move(time.Hour)
	r.down()
	if _, err := r.e.Hold("test", []string{"backup"}, graph.SelectNeeds); err != nil {
		t.Fatal(err)
	}
	r.until("backup", stateScheduled)
	if got := r.runs(); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

// memory is a Keeper in memory.
type memory struct {
	items map[string][]byte
}

func (m *memory) Put(key string, blob []byte, _ ...*os.File) error {
	m.items[key] = blob
	return nil
}

func (m *memory) Delete(key string) error {
	delete(m.items, key)
	return nil
}

// TestScheduleSuccessor: an engine that follows a killed one goes on with the
// same times, and does not run again what the former has begun.
func TestScheduleSuccessor(t *testing.T) {
	a := alarm{Next: time.Date(2026, 1, 10, 13, 0, 0, 0, time.UTC), Base: time.Date(2026, 1, 10, 13, 0, 0, 0, time.UTC), Last: time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC),
		stop: func() {}, turn: due}
	state, err := json.Marshal(saved{Alarm: a.kept()})
	if err != nil {
		t.Fatal(err)
	}
	holds, err := json.Marshal(map[string]savedHold{detached: {Wants: []want{{Mode: graph.SelectNeeds}}, Nodes: map[string]bool{"backup": true}}})
	if err != nil {
		t.Fatal(err)
	}
	left := Restored{Items: map[string]Kept{keptHolds: {Blob: holds}, keptNode + "backup": {Blob: state}}}
	m := &memory{items: map[string][]byte{}}
	loc := time.UTC
	r := &timed{zone: loc, texts: make(chan api.Event, 1000)}
	r.rig = restoredRig(t, left, func(o *Options) {
		o.Keeper = m
		o.Clock.(*fakeClock).set(r.at(t, "2026-01-10 12:00"))
	}, graph.Decl{Nodes: []*graph.Node{job("backup", "exit 0", every(time.Hour, 0))}})
	stop, err := r.e.Events(0, func(ev api.Event) { r.texts <- ev })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	r.until("backup", stateScheduled)
	r.pass(59 * time.Minute)
	if got := r.runs(); len(got) != 0 {
		t.Errorf("got %v before its time", got)
	}
	if st, _ := r.e.Status(nil); st.Nodes[0].Reason != "last run failed: the engine ended meanwhile" {
		t.Errorf("got %+v", st.Nodes[0])
	}
	r.pass(time.Minute)
	if got := r.runs(); len(got) != 1 {
		t.Errorf("got %v at its time", got)
	}
}
