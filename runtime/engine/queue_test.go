package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"orrery/lang/graph"
	"orrery/runtime/proc"
)

// held is a task whose fake process runs until it is told to end.
func held(name string, change ...func(*graph.Task)) *graph.Node {
	return job(name, "", append(change, func(t *graph.Task) { t.Command.Argv = []graph.Text{graph.Lit("x")} })...)
}

func needs(names ...string) func(*graph.Task) {
	return func(t *graph.Task) {
		for _, n := range names {
			t.After = append(t.After, graph.Dep{Node: n})
		}
	}
}

func inPool(name string) func(*graph.Task) {
	return func(t *graph.Task) { t.Pool = &graph.Pool{Name: name, Size: 1} }
}

// hold asks for targets without waiting for them.
func (r *rig) hold(targets ...string) {
	r.t.Helper()
	if _, err := r.e.Hold("test", targets, graph.SelectNeeds); err != nil {
		r.t.Fatal(err)
	}
}

// finish waits until a task has started, and ends it.
func (r *rig) finish(name string, code int) {
	r.t.Helper()
	r.until(name, stateRunning)
	for r.spawn.proc(name) == nil { // running, but not yet spawned
		r.settled()
	}
	r.spawn.proc(name).die(proc.Exit{Code: code})
}

// settled returns when the loop has considered all that has come.
func (r *rig) settled() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := r.e.wait(ctx, nil, nil); err != nil {
		r.t.Fatal(err)
	}
}

// running are the tasks that run.
func (r *rig) running() (names []string) {
	r.settled()
	r.e.call(func() {
		for _, n := range r.e.nodes {
			if n.task != nil && n.task.cancel != nil {
				names = append(names, n.name())
			}
		}
	})
	return names
}

func TestLongestPathStartsFirst(t *testing.T) {
	d := graph.Decl{Nodes: []*graph.Node{
		held("short"), held("medium"), held("base"),
		held("next", needs("base")), held("last", needs("next")),
		held("all", needs("short", "medium", "last")),
	}}
	r := newRigWith(t, func(o *Options) {
		o.Jobs = 1
		o.Expected = map[string]time.Duration{"short": time.Second, "medium": 5 * time.Second, "base": 2 * time.Second, "next": 2 * time.Second, "last": 2 * time.Second, "all": 0}
	}, d)
	r.hold("all")
	want := []string{"base", "medium", "next", "last", "short", "all"} // medium (5) before next (4): as each gets free
	for _, name := range want {
		if got := r.running(); !slices.Equal(got, []string{name}) {
			t.Fatalf("got %v running, want %s", got, name)
		}
		r.finish(name, 0)
		for slices.Equal(r.running(), []string{name}) {
			r.settled()
		}
	}
}

// TestEqualPathsStartAsDeclared: with nothing known, the longer chain counts,
// then the order of declaration.
func TestEqualPathsStartAsDeclared(t *testing.T) {
	r := newRigWith(t, func(o *Options) { o.Jobs = 2 }, graph.Decl{Nodes: []*graph.Node{
		held("a"), held("b"), held("c"), held("d", needs("c")),
	}})
	r.hold("a", "b", "d")
	if got := r.running(); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("got %v running", got)
	}
	st, _ := r.e.Status([]string{"b"})
	if n := st.Nodes[0]; n.State != stateWaiting || n.Reason != "waits for a free job" {
		t.Errorf("b is %s: %s", n.State, n.Reason)
	}
	for _, name := range []string{"c", "a", "d", "b"} {
		r.finish(name, 0)
	}
	r.settle("a", "b", "d")
}

// TestPoolDoesNotHoldUpOthers: a full pool leaves room to those outside of it.
func TestPoolDoesNotHoldUpOthers(t *testing.T) {
	r := newRigWith(t, func(o *Options) { o.Jobs = 3 }, graph.Decl{
		Nodes: []*graph.Node{held("p1", inPool("db")), held("p2", inPool("db")), held("p3", inPool("db")), held("free")},
	})
	r.hold("p1", "p2", "p3", "free")
	if got := r.running(); !slices.Equal(got, []string{"p1", "free"}) {
		t.Errorf("got %v running", got)
	}
	st, _ := r.e.Status([]string{"p2"})
	if n := st.Nodes[0]; n.Reason != "waits for the pool db" {
		t.Errorf("p2: %s", n.Reason)
	}
	for _, name := range []string{"p1", "p2", "p3", "free"} {
		r.finish(name, 0)
	}
	r.settle("p1", "p2", "p3", "free")
}

// TestFailureCancelsWhatWaits: also what waits in the line of a full pool.
func TestFailureCancelsWhatWaits(t *testing.T) {
	r := newRigWith(t, func(o *Options) { o.Jobs = 2 }, graph.Decl{
		Nodes: []*graph.Node{held("bad"), held("p1", inPool("db")), held("p2", inPool("db")), held("other"),
			held("after", needs("bad")), held("late", needs("after"))},
	})
	r.hold("late", "p2", "p1", "other")
	r.finish("bad", 2)
	r.until("after", stateBlocked)
	r.until("late", stateBlocked)
	r.until("p2", stateCancelled)
	r.until("other", stateCancelled)
	st, _ := r.e.Status([]string{"late"})
	if n := st.Nodes[0]; n.Reason != "not started: bad failed (exit 2)" || n.Cause != "bad" {
		t.Errorf("got %q, cause %q", n.Reason, n.Cause)
	}
	r.finish("p1", 0)
	r.settle("p1")
}

// TestReleaseLeavesTheLine: what nobody wants any more takes no room.
func TestReleaseLeavesTheLine(t *testing.T) {
	r := newRigWith(t, func(o *Options) { o.Jobs = 1 }, graph.Decl{Nodes: []*graph.Node{held("a"), held("b"), held("c")}})
	r.hold("a", "b", "c")
	if _, err := r.e.Release("test", []string{"b"}, false); err != nil {
		t.Fatal(err)
	}
	r.finish("a", 0)
	r.finish("c", 0)
	r.settle("a", "c")
	if p := r.spawn.proc("b"); p != nil {
		t.Error("b was started")
	}
}

// TestWaitsForAllOfMany: a node with many edges starts when the last of them
// holds, whichever that is, and is blocked as soon as one never will.
func TestWaitsForAllOfMany(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(2, 8).Draw(rt, "n")
		var nodes []*graph.Node
		var names []string
		for i := range n {
			names = append(names, fmt.Sprintf("t%d", i))
			nodes = append(nodes, held(names[i]))
		}
		r := newRigWith(t, func(o *Options) { o.Jobs, o.KeepGoing = n, true }, graph.Decl{Nodes: append(nodes, held("all", needs(names...)))})
		r.hold("all")
		order := rapid.Permutation(names).Draw(rt, "order")
		bad := rapid.IntRange(0, 2*n).Draw(rt, "bad")
		for i, name := range order {
			if i == bad {
				r.finish(name, 1)
				r.until("all", stateBlocked)
				break
			}
			r.finish(name, 0)
			r.until(name, stateSucceeded)
			r.settled()
			if _, state := r.running(), r.state("all"); i < n-1 && state != stateWaiting {
				rt.Fatalf("all is %s after %d of %d", state, i+1, n)
			}
		}
		if bad >= n {
			r.finish("all", 0)
			r.settle("all")
		}
	})
}

func (r *rig) state(name string) string {
	st, err := r.e.Status([]string{name})
	if err != nil {
		r.t.Fatal(err)
	}
	return st.Nodes[0].State
}

// brief is a process that has ended well.
type brief struct{ fakeProc }

func (b *brief) Wait() proc.Exit { return proc.Exit{} }

type briefSpawner struct{}

func (briefSpawner) Spawn(*proc.Spec) (Process, error) { return &brief{}, nil }

// TestSchedulingIsLinear: ten times the tasks cost ten times the steps, but for
// the logarithm of a heap: with pools, a task that waits for all, one that all
// wait for, and the order in which they were declared.
func TestSchedulingIsLinear(t *testing.T) {
	steps := func(n int) int {
		nodes := []*graph.Node{held("first")}
		var all []string
		for i := range n {
			name := fmt.Sprintf("t%d", i)
			all = append(all, name)
			changes := []func(*graph.Task){needs("first")}
			if i%2 == 0 {
				changes = append(changes, inPool(fmt.Sprintf("p%d", i%14)))
			}
			nodes = append(nodes, held(name, changes...))
		}
		nodes = append(nodes, held("all", needs(all...)))
		r := newRigWith(t, func(o *Options) { o.Jobs, o.Spawner = 4, briefSpawner{} }, graph.Decl{Nodes: nodes})
		if failed := r.up("all"); failed != nil {
			t.Fatal(failed)
		}
		steps := 0
		r.e.call(func() { steps = r.e.queue.steps })
		return steps
	}
	n := 1000
	if raced {
		n = 100 // the steps are the same, each takes its time
	}
	few, many := steps(n), steps(10*n)
	t.Logf("%d steps for %d tasks, %d for %d", few, n, many, 10*n)
	if many > 15*few {
		t.Errorf("got %d steps for %d tasks and %d for %d, want at most 15 times as many", few, n, many, 10*n)
	}
}

func TestRanks(t *testing.T) {
	nodes := []*graph.Node{
		svc("db"),
		held("create", func(j *graph.Task) { j.Gates = "db" }),
		held("lint"), held("gen"), held("build", needs("gen")),
		held("test", needs("build", "db")),
		held("wipe", func(j *graph.Task) { j.After = []graph.Dep{{Node: "db", Cond: graph.Stopped}} }),
		held("unwanted", needs("lint")),
	}
	g, problems := graph.New(graph.Decl{Nodes: nodes})
	if problems != nil {
		t.Fatal(problems[0].Message)
	}
	sec := time.Second
	got := ranks(g, map[string]time.Duration{"gen": 2 * sec, "build": 3 * sec, "test": 10 * sec, "other": 3 * sec}, func(name string) bool { return name != "unwanted" })
	var text []string
	for i, d := range got {
		text = append(text, fmt.Sprintf("%s %v", g.Nodes[i].Name(), d))
	}
	want := "db 13s, create 13s, lint 3s, gen 15s, build 13s, test 10s, wipe 3s, unwanted 0s" // 3s: the median
	if s := strings.Join(text, ", "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
}
