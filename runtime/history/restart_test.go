package history

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"orrery/runtime/control/api"
)

// TestRestarts: why a service was started again is told by the event that ended
// its last start, or by the one that began the next; what a killed engine had
// written is read the same way.
func TestRestarts(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	r, err := s.Follow(Head{ID: "x", Verb: "up", Engine: "e", Started: began}, shape)
	if err != nil {
		t.Fatal(err)
	}
	ev := func(ms int, node, from, state, text string, exit *api.Exit) {
		r.Event(api.Event{Time: began.Add(time.Duration(ms) * time.Millisecond), Node: node, From: from, State: state, Text: text, Exit: exit})
	}
	up := func(ms int, why string) {
		ev(ms, "db", "stopping", "starting", why, nil)
		ev(ms+1, "db", "starting", "ready", "", nil)
	}
	up(1, "")
	ev(10, "db", "ready", "stopping", "restarting: by hand", nil)
	up(12, "")
	ev(20, "db", "ready", "stopping", "", nil)
	up(22, "restarting (1 of 5): exit 3")
	ev(30, "db", "ready", "stopping", "", nil)
	ev(31, "db", "stopping", "backoff", "restarting (2 of 5) in 100ms: exit 3", nil)
	up(130, "")
	ev(140, "db", "ready", "stopping", "", nil)
	ev(141, "db", "stopping", "gave-up", "gave up: 5 restarts", &api.Exit{Code: 3})
	ev(150, "build", "", "running", "", nil)
	ev(151, "build", "running", "succeeded", "", nil)
	ev(160, "build", "succeeded", "running", "", nil)
	if err := r.End("", 0); err != nil {
		t.Fatal(err)
	}
	run, err := s.Load("x")
	if err != nil {
		t.Fatal(err)
	}
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	want := []Restart{
		{At: at(12), Name: "db", Nth: 1, Reason: "restarting: by hand", Up: 10_000},
		{At: at(22), Name: "db", Nth: 2, Reason: "restarting (1 of 5): exit 3", Up: 9_000},
		{At: at(130), Name: "db", Nth: 3, Reason: "restarting (2 of 5) in 100ms: exit 3", Up: 8_000},
		{At: at(141), Name: "db", Nth: 3, Reason: "gave up: 5 restarts", Exit: &api.Exit{Code: 3}, Up: 10_000, GaveUp: true},
	}
	if diff := cmp.Diff(want, run.Restarts("")); diff != "" {
		t.Error(diff)
	}
	if got := run.Restarts("build"); len(got) != 0 {
		t.Errorf("got restarts of a task: %v", got)
	}
	broke := 0
	for i := range run.Nodes {
		if run.Nodes[i].Broke() {
			broke++
		}
	}
	if broke != 3 {
		t.Errorf("got %d starts with an end that nobody asked for, want 3", broke)
	}
}
