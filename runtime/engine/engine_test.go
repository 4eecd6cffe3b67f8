package engine

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"orrery/lang/graph"
	"orrery/runtime/proc"
	"orrery/runtime/task"
)

func discard(string) (io.Writer, io.Writer, func(task.State)) {
	return io.Discard, io.Discard, func(task.State) {}
}

func TestChainStartsInOrderAndStopsInReverse(t *testing.T) {
	r := newRig(t, svc("a"), svc("b", after(graph.Dep{Node: "a"})), svc("c", after(graph.Dep{Node: "b"})))
	if failed := r.up(); failed != nil {
		t.Fatal(failed)
	}
	r.down()
	want := "start a, start b, start c, SIGTERM c, end c, SIGTERM b, end b, SIGTERM a, end a"
	if got := strings.Join(r.spawn.events(), ", "); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestFailedTaskBlocksWhatNeedsIt(t *testing.T) {
	r := newRig(t,
		job("migrate", "exit 3"),
		svc("web", after(graph.Dep{Node: "migrate"})),
		svc("proxy", after(graph.Dep{Node: "web"})),
		svc("other"),
		svc("soft", after(graph.Dep{Node: "migrate", Cond: graph.Completed})),
	)
	failed := r.up()
	if want := []string{"migrate failed", "web blocked", "proxy blocked"}; !slices.Equal(failed, want) {
		t.Errorf("got %v, want %v", failed, want)
	}
	st, _ := r.e.Status([]string{"proxy", "migrate"})
	for _, n := range st.Nodes {
		if n.Name == "proxy" && (n.Reason != "not started: migrate failed (exit 3)" || n.Cause != "migrate") {
			t.Errorf("got reason %q, cause %q", n.Reason, n.Cause)
		}
		if n.Name == "migrate" && (n.Exit == nil || n.Exit.Code != 3) {
			t.Errorf("got exit %+v", n.Exit)
		}
	}
	events := strings.Join(r.spawn.events(), ", ")
	if !strings.Contains(events, "start soft") || !strings.Contains(events, "start other") {
		t.Errorf("got %s", events)
	}
}

func TestGateMakesReadyWait(t *testing.T) {
	r := newRig(t,
		svc("db"),
		job("create", "exit 0", func(j *graph.Task) { j.Gates = "db" }),
		svc("web", after(graph.Dep{Node: "db"})),
	)
	if failed := r.up("web"); failed != nil {
		t.Fatal(failed)
	}
	st, _ := r.e.Status(nil)
	for _, n := range st.Nodes {
		if n.Name == "create" && n.State != "succeeded" || n.Name != "create" && n.State != "ready" {
			t.Errorf("%s is %s", n.Name, n.State)
		}
	}
	if a, b := st.Nodes[1].ReadyAt, st.Nodes[2].StartedAt; b.Before(a) {
		t.Errorf("web started at %v, before create ended at %v", b, a)
	}
}

func TestTwoHolders(t *testing.T) {
	r := newRig(t, svc("db"), svc("web", after(graph.Dep{Node: "db"})))
	r.up("web")
	if _, err := r.e.Hold("other", []string{"db"}, graph.SelectNeeds); err != nil {
		t.Fatal(err)
	}
	pid := r.spawn.proc("db").pid
	r.down()
	st, _ := r.e.Status([]string{"db"})
	if n := st.Nodes[0]; n.State != "ready" || n.PID != pid {
		t.Errorf("db is %s pid %d, want ready pid %d", n.State, n.PID, pid)
	}
	if st, _ := r.e.Status([]string{"web"}); st.Nodes[0].State != "down" {
		t.Errorf("web is %s", st.Nodes[0].State)
	}
}

func TestRestartBackOff(t *testing.T) {
	max := 2
	r := newRig(t, svc("web", func(s *graph.Service) {
		s.Restart = graph.Restart{Kind: "on_failure", Max: &max, Window: graph.Duration(time.Minute),
			Delay: graph.Duration(100 * time.Millisecond), Factor: 2, Cap: graph.Duration(time.Second), Reset: graph.Duration(time.Minute)}
	}))
	r.up()
	first := r.spawn.proc("web")
	first.die(proc.Exit{Code: 1})
	r.until("web", "ready") // at once
	for r.spawn.proc("web") == first {
		r.settle("web")
	}
	second := r.spawn.proc("web")
	second.die(proc.Exit{Signal: syscall.SIGSEGV})
	r.until("web", "backoff")
	r.clock.move(100 * time.Millisecond)
	r.until("web", "ready")
	third := r.spawn.proc("web")
	if third == second {
		t.Fatal("no third instance")
	}
	third.die(proc.Exit{Code: 1})
	r.until("web", "gave-up")
	st, _ := r.e.Status(nil)
	if n := st.Nodes[0]; !strings.Contains(n.Reason, "gave up") || n.Restarts != 2 {
		t.Errorf("got reason %q, %d restarts", n.Reason, n.Restarts)
	}
}

func TestGraceThenKill(t *testing.T) {
	r := newRig(t, svc("deaf"))
	r.spawn.deaf["deaf"] = true
	r.up()
	if _, err := r.e.Release("test", nil, false); err != nil {
		t.Fatal(err)
	}
	r.until("deaf", "stopping")
	r.clock.move(10 * time.Second)
	r.until("deaf", "down")
}

func TestSpawnFailureNamesTheProgram(t *testing.T) {
	r := newRig(t, svc("web"), svc("proxy", after(graph.Dep{Node: "web"})))
	r.spawn.fail["web"] = &proc.StartError{Op: "find", Path: "redis-server", Tried: []string{"/usr/bin"}, Err: syscall.ENOENT}
	failed := r.up()
	if len(failed) != 2 {
		t.Fatalf("got %v", failed)
	}
	st, _ := r.e.Status([]string{"web"})
	if reason := st.Nodes[0].Reason; !strings.Contains(reason, "/usr/bin") || !strings.Contains(reason, "apt install redis-server") {
		t.Errorf("got %q", reason)
	}
}

// TestStopOrder: of a random graph, no dependency is told to stop before every
// dependent has ended.
func TestStopOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(2, 12).Draw(rt, "n")
		var nodes []*graph.Node
		type edge struct{ from, to string }
		var edges []edge
		for i := range n {
			s := svc(fmt.Sprintf("s%d", i))
			for j := range i {
				if rapid.IntRange(0, 3).Draw(rt, "edge") == 0 {
					to := fmt.Sprintf("s%d", j)
					s.Service.After = append(s.Service.After, graph.Dep{Node: to})
					edges = append(edges, edge{s.Name(), to})
				}
			}
			nodes = append(nodes, s)
		}
		r := newRig(t, nodes...)
		r.up()
		r.down()
		log := r.spawn.events()
		at := func(what string) int { return slices.Index(log, what) }
		for _, e := range edges {
			if at("start "+e.from) < at("start "+e.to) {
				rt.Errorf("%s started before %s: %v", e.from, e.to, log)
			}
			if at("SIGTERM "+e.to) < at("end "+e.from) {
				rt.Errorf("%s was stopped before %s had ended: %v", e.to, e.from, log)
			}
		}
	})
}

// TestApplyRemovesChains: nodes that are no longer declared stop in order and
// are forgotten; what stays is not touched.
func TestApplyRemovesChains(t *testing.T) {
	r := newRig(t, svc("db"), svc("api", after(graph.Dep{Node: "db"})), svc("web", after(graph.Dep{Node: "api"})), svc("other"))
	r.up()
	pid := r.spawn.proc("db").pid
	next, problems := graph.New(graph.Decl{Nodes: []*graph.Node{svc("db"), svc("new", after(graph.Dep{Node: "db"}))}})
	if problems != nil {
		t.Fatal(problems[0].Message)
	}
	var err error
	r.e.call(func() { err = r.e.apply(next) })
	if err != nil {
		t.Fatal(err)
	}
	r.settle("new", "db")
	for {
		st, err := r.e.Status(nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(st.Nodes) == 2 {
			if st.Nodes[0].PID != pid || st.Nodes[1].State != "ready" {
				t.Errorf("got %+v", st.Nodes)
			}
			break
		}
	}
	log := r.spawn.events()
	at := func(what string) int { return slices.Index(log, what) }
	if at("SIGTERM web") < 0 || at("SIGTERM api") < at("end web") || at("SIGTERM db") >= 0 || at("SIGTERM other") < 0 {
		t.Errorf("got %v", log)
	}
}
