package history

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"orrery/runtime/control/api"
)

var fix = flag.Bool("fix", false, "write the golden files")

var began = time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)

// shape is a small shop: db is gated by migrate, web needs db and build.
func shape(name string) (string, []Need, []string) {
	switch name {
	case "db":
		return "service", nil, []string{"migrate"}
	case "migrate":
		return "task", []Need{{"db", "probed"}}, nil
	case "web":
		return "service", []Need{{"build", "succeeded"}, {"db", "ready"}}, nil
	case "build", "test":
		return "task", []Need{{"gen", "succeeded"}}, nil
	case "late":
		return "service", nil, nil
	}
	return "task", nil, nil
}

// feed gives a recorder events: milliseconds, a node, the states from and to.
func feed(r *Recorder, events ...any) {
	for i := 0; i < len(events); i += 4 {
		ev := api.Event{Time: began.Add(time.Duration(events[i].(int)) * time.Millisecond), Node: events[i+1].(string), From: events[i+2].(string), State: events[i+3].(string)}
		switch ev.State {
		case "waiting":
			ev.Text = "waits for a free job"
		case "failed":
			ev.Text, ev.Exit = "exit 3", &api.Exit{Code: 3}
			ev.Task = &api.TaskEnd{Tries: 2}
		case "succeeded":
			ev.Task = &api.TaskEnd{Key: "k-" + ev.Node, Why: []string{"input a changed"}, Tries: 1}
			if ev.Node == "gen" {
				ev.Task = &api.TaskEnd{Key: "k", Cached: true}
				ev.Text = "cached"
			}
		}
		r.Event(ev)
	}
}

// shop is a start-up with everything that shows.
func shop(r *Recorder) {
	feed(r,
		2, "gen", "down", "running",
		2, "build", "down", "waiting",
		2, "web", "down", "waiting",
		3, "db", "down", "starting",
		3, "migrate", "down", "waiting",
		3, "test<&>\"é", "down", "waiting",
		5, "gen", "running", "succeeded",
		6, "build", "waiting", "running",
		40, "migrate", "waiting", "running",
		240, "migrate", "running", "succeeded",
		241, "db", "starting", "ready",
		242, "build", "running", "succeeded",
		242, "test<&>\"é", "waiting", "running",
		243, "web", "waiting", "starting",
		300, "test<&>\"é", "running", "failed",
		400, "web", "starting", "ready",
		// an hour later
		3_600_000, "late", "down", "starting",
		3_600_100, "late", "starting", "ready",
		3_700_000, "web", "ready", "starting",
		3_700_100, "web", "starting", "ready",
	)
}

func load(t *testing.T, s Store, id string) *Run {
	t.Helper()
	r, err := s.Load(id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func node(t *testing.T, r *Run, name string, nth int) Node {
	t.Helper()
	for _, n := range r.Nodes {
		if n.Name == name && n.Nth == nth {
			return n
		}
	}
	t.Fatalf("no start %d of %s in %+v", nth, name, r.Nodes)
	return Node{}
}

// TestRecord: what is written is what is read, whether at the end or as it comes.
func TestRecord(t *testing.T) {
	var runs []*Run
	for _, follow := range []bool{false, true} {
		s := Store{Dir: filepath.Join(t.TempDir(), "runs")}
		h := Head{ID: "20260102-030405-678abcd", Verb: "up", Targets: []string{"web"}, Started: began}
		r := s.Begin(h, shape)
		if follow {
			var err error
			if r, err = s.Follow(h, shape); err != nil {
				t.Fatal(err)
			}
		}
		shop(r)
		if err := r.End("", 0); err != nil {
			t.Fatal(err)
		}
		run := load(t, s, h.ID)
		run.Ended = time.Time{}
		runs = append(runs, run)
		list, err := s.List()
		if err != nil || len(list) != 1 {
			t.Fatalf("got %v, %v, want one run", list, err)
		}
		list[0].Ended = time.Time{}
		if diff := cmp.Diff(run.Summary(), list[0]); diff != "" {
			t.Errorf("the summary differs from the record: %s", diff)
		}
		if took := s.Durations(nil); len(took) != 2 || took["build"] != 236*time.Millisecond || took["migrate"] != 200*time.Millisecond {
			t.Errorf("got durations %v, want those of build and migrate", took)
		}
	}
	if diff := cmp.Diff(runs[0], runs[1]); diff != "" {
		t.Error(diff)
	}
	r := runs[0]
	if got := (End{Outcome: r.Outcome, Services: r.Services, Ran: r.Ran, Cached: r.Cached, Failed: r.Failed}); got != (End{Outcome: "failed", Services: 4, Ran: 2, Cached: 1, Failed: 1}) {
		t.Errorf("got %+v", got)
	}
	want := Node{Name: "build", Kind: "task", Needs: []Need{{"gen", "succeeded"}}, Waiting: 2000, Started: 6000, Ended: 242000, State: "succeeded",
		Waited: "waits for a free job", Key: "k-build", Why: []string{"input a changed"}}
	if diff := cmp.Diff(want, node(t, r, "build", 0)); diff != "" {
		t.Error(diff)
	}
	if n := node(t, r, "web", 1); n.Started != 3_700_000_000 || n.Ready != 3_700_100_000 {
		t.Errorf("got the second start of web %+v", n)
	}
	if n := node(t, r, "test<&>\"é", 0); n.Reason != "exit 3" || n.Exit.Code != 3 || n.Tries != 2 || !n.Bad() {
		t.Errorf("got %+v", n)
	}
	if n := node(t, r, "gen", 0); !n.Cached || n.Key != "" || n.Action() != "cached" {
		t.Errorf("got %+v", n)
	}
}

// TestKilled: an engine that is killed loses its last line at most, and the one that replaces it goes on.
func TestKilled(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	h := Head{Verb: "up", Engine: "e1", Started: began}
	r, err := s.Follow(h, shape)
	if err != nil {
		t.Fatal(err)
	}
	feed(r, 1, "db", "down", "starting", 2, "db", "starting", "ready", 3, "gen", "down", "running")
	close(r.out.stop) // as a kill does, but for what is on its way
	r.out.done.Wait()
	r.out.flush()
	if _, err := r.out.file.WriteString(`{"node":{"name":"torn`); err != nil {
		t.Fatal(err)
	}
	run := load(t, s, r.ID())
	if run.Outcome != "running" || len(run.Nodes) != 2 {
		t.Fatalf("got %+v", run)
	}
	next, err := s.Follow(Head{Verb: "up", Engine: "e1"}, shape)
	if err != nil {
		t.Fatal(err)
	}
	if next.ID() != r.ID() {
		t.Fatalf("got the record %s, want to go on with %s", next.ID(), r.ID())
	}
	feed(next, 5, "gen", "running", "succeeded")
	if err := next.End("", 0); err != nil {
		t.Fatal(err)
	}
	if run = load(t, s, r.ID()); run.Outcome != "ok" || len(run.Nodes) != 2 || node(t, run, "gen", 0).Ended != 5000 {
		t.Errorf("got %+v", run)
	}

	// Another engine's open record is closed, and is that of a killed one.
	dead, err := s.Follow(Head{Verb: "up", Engine: "e2"}, shape)
	if err != nil {
		t.Fatal(err)
	}
	feed(dead, 1, "db", "down", "starting")
	close(dead.out.stop)
	dead.out.done.Wait()
	dead.out.flush()
	last, err := s.Follow(Head{Verb: "up", Engine: "e3"}, shape)
	if err != nil {
		t.Fatal(err)
	}
	if run := load(t, s, dead.ID()); run.Outcome != "killed" || run.Services != 1 {
		t.Errorf("got %+v", run)
	}
	if err := last.End("", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(last.ID()); err == nil {
		t.Error("the record of an engine that did nothing is kept")
	}
}

// TestBounds: the oldest records go, and one record does not grow for ever.
func TestBounds(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	var ids []string
	for i := range maxRuns + 3 {
		r := s.Begin(Head{Verb: "run", Started: began.Add(time.Duration(i) * time.Second)}, shape)
		ids = append(ids, r.ID())
		if err := r.End("ok", 0); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.List()
	if err != nil || len(list) != maxRuns || list[0].ID != ids[len(ids)-1] || list[maxRuns-1].ID != ids[3] {
		t.Errorf("got %d runs, %v, want the last %d", len(list), err, maxRuns)
	}

	r, err := s.Follow(Head{Verb: "up", Engine: "e", Started: began}, shape)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30_000 {
		feed(r, 2*i, "gen", "down", "running", 2*i+1, "gen", "running", "failed")
	}
	if err := r.End("", 0); err != nil {
		t.Fatal(err)
	}
	run := load(t, s, r.ID())
	if len(run.Nodes) > 2*maxStarts && len(run.Nodes) > 20_000 {
		t.Errorf("got %d starts", len(run.Nodes))
	}
	if fi, err := os.Stat(s.path(r.ID(), closed)); err != nil || fi.Size() > 2*rewriteAt {
		t.Errorf("got a file of %d bytes, want about %d at most", fi.Size(), rewriteAt)
	}
	if last := run.Nodes[len(run.Nodes)-1]; last.Nth != 29_999 || run.Nodes[0].Nth != 0 {
		t.Errorf("got the starts %d to %d", run.Nodes[0].Nth, last.Nth)
	}
}

// TestConcurrent: several runs of a checkout end at once.
func TestConcurrent(t *testing.T) {
	s := Store{Dir: filepath.Join(t.TempDir(), "runs")}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			r := s.Begin(Head{Verb: "run", Started: began}, shape)
			feed(r, 1, "x", "down", "running", 2, "x", "running", "succeeded")
			if err := r.End("ok", 0); err != nil {
				t.Error(err)
			}
			if _, err := s.List(); err != nil {
				t.Error(err)
			}
			s.Durations(nil)
		})
	}
	wg.Wait()
	list, err := s.List()
	if err != nil || len(list) != 20 {
		t.Errorf("got %d runs, %v, want 20", len(list), err)
	}
}

// TestFind: names of runs.
func TestFind(t *testing.T) {
	s := Store{Dir: t.TempDir()}
	var none *NoRun
	if _, err := s.Find(""); !errors.As(err, &none) || none.Name != "" {
		t.Errorf("got %v, want no run", err)
	}
	for i, verb := range []string{"up", "run", "services"} {
		id := fmt.Sprintf("20260102-03040%d-000%daaa", i, i)
		if err := s.Begin(Head{ID: id, Verb: verb}, shape).End("ok", 0); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"": "1aaa", "last": "1aaa", "up": "0aaa", "0002a": "2aaa", "20260102-030400-0000aaa": "0aaa"} {
		if id, err := s.Find(name); err != nil || !strings.HasSuffix(id, want) {
			t.Errorf("%q: got %q, %v, want ...%s", name, id, err, want)
		}
	}
	if _, err := s.Find("aaa"); !errors.As(err, &none) || !none.Many {
		t.Errorf("got %v, want that there are several", err)
	}
	if _, err := s.Find("zzz"); !errors.As(err, &none) || none.Many {
		t.Errorf("got %v, want that there is none", err)
	}
	if _, err := s.Load("../x"); !errors.As(err, &none) {
		t.Errorf("got %v, want that there is none", err)
	}
}

func shopRun(t *testing.T) *Run {
	t.Helper()
	s := Store{Dir: t.TempDir()}
	r := s.Begin(Head{ID: "20260102-030405-678abcd", Verb: "up", Targets: []string{"web", "<t>"}, Started: began}, shape)
	shop(r)
	if err := r.End("", 0); err != nil {
		t.Fatal(err)
	}
	return load(t, s, r.ID())
}

// TestCriticalPath: db runs until its gate, then the gate, then web; build would have been ready earlier, were it not for
// the last millisecond.
func TestCriticalPath(t *testing.T) {
	tr := shopRun(t).Trace(false, 0)
	if len(tr.Run.Nodes) != 6 || tr.Until != 400_000 {
		t.Errorf("got %d nodes until %d, want the start-up alone", len(tr.Run.Nodes), tr.Until)
	}
	want := []Step{
		{Name: "gen", Kind: "task", From: 2000, To: 5000},
		{Name: "build", Kind: "task", From: 6000, To: 242_000, Waited: 1000},
		{Name: "web", Kind: "service", From: 243_000, To: 400_000, Waited: 1000},
	}
	if diff := cmp.Diff(want, tr.Path); diff != "" {
		t.Error(diff)
	}
	// Without build the gate decides.
	run := shopRun(t)
	for i := range run.Nodes {
		if run.Nodes[i].Name == "web" {
			run.Nodes[i].Needs = []Need{{"db", "ready"}}
		}
	}
	want = []Step{
		{Name: "db", Kind: "service", From: 3000, To: 40_000},
		{Name: "migrate", Kind: "task", From: 40_000, To: 240_000},
		{Name: "db", Kind: "service", From: 240_000, To: 241_000},
		{Name: "web", Kind: "service", From: 243_000, To: 400_000, Waited: 2000},
	}
	if diff := cmp.Diff(want, run.Trace(false, 0).Path); diff != "" {
		t.Error(diff)
	}
	whole := shopRun(t).Trace(true, 0)
	if len(whole.Run.Nodes) != 8 || whole.Path[len(whole.Path)-1].Name != "web" {
		t.Errorf("got %d nodes, path %v", len(whole.Run.Nodes), whole.Path)
	}
	// What still runs is drawn up to now.
	s := Store{Dir: t.TempDir()}
	r := s.Begin(Head{Verb: "run", Started: began}, shape)
	feed(r, 1, "gen", "down", "running", 1, "build", "down", "waiting")
	if err := r.End("cancelled", 130); err != nil {
		t.Fatal(err)
	}
	tr = load(t, s, r.ID()).Trace(false, 50_000)
	if diff := cmp.Diff([]Step{{Name: "gen", Kind: "task", From: 1000, To: 50_000}}, tr.Path); diff != "" {
		t.Error(diff)
	}
	if tr := (&Run{Head: Head{Started: began}}).Trace(false, 0); len(tr.Path) != 0 || tr.Until != 1 {
		t.Errorf("got %+v of an empty run", tr)
	}
}

// TestGolden holds what each format writes.
func TestGolden(t *testing.T) {
	empty := &Run{Head: Head{ID: "20260102-030405-678abcd", Verb: "run", Started: began}, End: End{Outcome: "ok"}}
	for _, f := range Formats() {
		for _, c := range []struct {
			name string
			run  *Run
			o    TextOptions
		}{{"shop", shopRun(t), TextOptions{}}, {"narrow", shopRun(t), TextOptions{Width: 40, Rows: 1, Mark: func(s string) string { return "<" + s + ">" }}}, {"empty", empty, TextOptions{}}} {
			if c.name == "narrow" && f.Name != "text" {
				continue
			}
			var b bytes.Buffer
			if err := f.Write(&b, c.run.Trace(false, 0), c.o); err != nil {
				t.Fatal(err)
			}
			valid(t, f.Name, b.Bytes())
			golden(t, "testdata/"+c.name+"."+f.Name, b.Bytes())
		}
	}
}

// valid: a drawing is XML, a Chrome trace is an array of events.
func valid(t *testing.T, format string, b []byte) {
	t.Helper()
	switch format {
	case "svg":
		d := xml.NewDecoder(bytes.NewReader(b))
		for {
			if _, err := d.Token(); err == io.EOF {
				return
			} else if err != nil {
				t.Fatal(err)
			}
		}
	case "chrome":
		var events []traceEvent
		if err := json.Unmarshal(b, &events); err != nil || len(events) == 0 {
			t.Fatalf("got %d events, %v", len(events), err)
		}
	}
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *fix {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s: %s; go test -fix writes it", file, diff)
	}
}

// TestAppendNode: the short way writes what encoding/json would.
func TestAppendNode(t *testing.T) {
	for _, n := range []Node{
		{Name: "a/b", Kind: "task", State: "succeeded", Cached: true, Started: 1, Ended: 2},
		{Name: "a", Kind: "task", State: "succeeded", Cached: true, Needs: []Need{{"x", "succeeded"}, {"y", "ready"}}, Waiting: 1, Started: 12, Ended: 300},
	} {
		var want bytes.Buffer
		if err := encoder(&want).Encode(line{Node: &n}); err != nil {
			t.Fatal(err)
		}
		if got := appendNode(nil, &n); string(got) != want.String() {
			t.Errorf("got %s, want %s", got, &want)
		}
	}
	for _, n := range []Node{
		{Name: `a"`, State: "succeeded", Cached: true},
		{Name: "é", State: "succeeded", Cached: true},
		{Name: "a", State: "succeeded"},
		{Name: "a", State: "failed", Cached: true},
		{Name: "a", State: "succeeded", Cached: true, Needs: []Need{{"\\", "ready"}}},
		{Name: "a", State: "succeeded", Cached: true, Why: []string{"x"}},
	} {
		if got := appendNode(nil, &n); got != nil {
			t.Errorf("%+v: got %s, want nothing", n, got)
		}
	}
}

// FuzzParse: whatever a file holds, it is read or refused.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"orrery_run":1,"run":{"id":"a","verb":"run"}}` + "\n" + `{"node":{"name":"x","started_us":1}}` + "\n" + `{"end":{"outcome":"ok"}}`))
	f.Add([]byte(`{"orrery_run":2,"run":{"id":"a"}}`))
	f.Add([]byte(`{"orrery_run":1,"run":{"id":"a"}}` + "\n" + `{"node":{"name":"x","nth":-1,"started_us":-5,"ended_us":9223372036854775807,"needs":[{"on":"x"}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parse(text, "killed")
		if err != nil {
			return
		}
		for _, format := range Formats() {
			var b bytes.Buffer
			if err := format.Write(&b, r.Trace(true, 0), TextOptions{}); err != nil {
				t.Fatal(err)
			}
			valid(t, format.Name, b.Bytes())
		}
	})
}

// BenchmarkRun is the record of a run of 10,000 cached tasks.
func BenchmarkRun(b *testing.B) {
	names := make([]string, 10_000)
	for i := range names {
		names[i] = fmt.Sprintf("pkg/dir%d/task-%d", i%100, i)
	}
	needs := func(name string) (string, []Need, []string) {
		return "task", []Need{{"pkg/base", "succeeded"}}, nil
	}
	s := Store{Dir: b.TempDir()}
	for b.Loop() {
		r := s.Begin(Head{Verb: "run", Started: began}, needs)
		for i, name := range names {
			at := began.Add(time.Duration(i) * time.Microsecond)
			r.Event(api.Event{Time: at, Node: name, From: "down", State: "running"})
			r.Event(api.Event{Time: at, Node: name, From: "running", State: "succeeded", Text: "cached", Task: &api.TaskEnd{Cached: true}})
		}
		if err := r.End("ok", 0); err != nil {
			b.Fatal(err)
		}
	}
}
