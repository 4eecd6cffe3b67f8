package engine

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"orrery/lang/graph"
	"orrery/runtime/proc"
)

// listens gives a service a unix socket, and returns where it will be.
func listens(change ...func(*graph.Service)) func(*graph.Service) {
	return func(s *graph.Service) {
		s.Listen = graph.Dict[graph.Listen]{{Key: "s", Value: graph.Listen{Kind: "unix", File: "s", Mode: 0o600, Backlog: 128}}}
		for _, f := range change {
			f(s)
		}
	}
}

func (r *rig) socket(name string) string {
	r.t.Helper()
	st, err := r.e.Status([]string{name})
	if err != nil {
		r.t.Fatal(err)
	}
	return st.Nodes[0].Sockets["s"]
}

func (r *rig) dial(path string) net.Conn {
	r.t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	return c
}

func (r *rig) starts(name string) (n int) {
	for _, ev := range r.spawn.events() {
		if ev == "start "+name {
			n++
		}
	}
	return n
}

func TestLazyStartsOnceAndIsReadyBefore(t *testing.T) {
	r := newRig(t, svc("web", listens(func(s *graph.Service) { s.Lazy = true })), svc("after", after(graph.Dep{Node: "web"})))
	if failed := r.up(); failed != nil {
		t.Fatal(failed)
	}
	if st, _ := r.e.Status(nil); st.Nodes[0].State != stateListening || r.starts("web") != 0 || r.starts("after") != 1 {
		t.Fatalf("got %+v, %v", st.Nodes[0], r.spawn.events())
	}
	path := r.socket("web")
	r.dial(path)
	r.dial(path)
	r.until("web", "ready")
	if n := r.starts("web"); n != 1 {
		t.Errorf("got %d starts", n)
	}
	r.down()
	if st, _ := r.e.Status(nil); st.Nodes[0].State != "down" {
		t.Errorf("got %+v", st.Nodes[0])
	}
	// A second time, and down without a connection.
	r.up()
	r.until("web", stateListening)
	r.down()
	r.until("web", "down")
}

// TestLazyTriggerLimit: a client that is never served starts it 20 times, not more.
func TestLazyTriggerLimit(t *testing.T) {
	r := newRig(t, svc("web", listens(func(s *graph.Service) { s.Lazy = true })))
	r.up()
	path := r.socket("web")
	r.dial(path)
	var last *fakeProc
	for i := range triggerLazy {
		for r.spawn.proc("web") == last {
			time.Sleep(time.Millisecond) // no event: a fake process is made anywhere
		}
		last = r.spawn.proc("web")
		last.die(proc.Exit{Code: i % 2}) // a clean end does not serve the client either
	}
	r.until("web", "gave-up")
	st, _ := r.e.Status([]string{"web"})
	if reason := st.Nodes[0].Reason; !strings.Contains(reason, "started 20 times in 2s") || r.starts("web") != triggerLazy {
		t.Errorf("got %q after %d starts", reason, r.starts("web"))
	}
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		t.Error("its socket is still open")
	}
	// Asked for anew it has a new chance.
	r.up()
	r.until("web", stateListening)
	r.dial(r.socket("web"))
	r.until("web", "ready")
}

func TestAcceptStartsOneForEach(t *testing.T) {
	r := newRig(t, svc("echo", listens(func(s *graph.Service) { s.Listen[0].Value.Accept = true })))
	r.up()
	path := r.socket("echo")
	const n = 30
	for range n {
		r.dial(path)
	}
	status := func(want string) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			st, _ := r.e.Status([]string{"echo"})
			if st.Nodes[0].StatusText == want {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("got %+v, want %q", st.Nodes[0], want)
			}
		}
	}
	status(fmt.Sprintf("%d connected, 0 served", n))
	r.down()
	r.until("echo", "down")
	terms, ends := 0, 0
	for _, ev := range r.spawn.events() {
		switch ev {
		case "SIGTERM echo":
			terms++
		case "end echo":
			ends++
		}
	}
	if r.starts("echo") != n || terms != n || ends != n {
		t.Errorf("got %d starts, %d signals, %d ends, want %d of each", r.starts("echo"), terms, ends, n)
	}
}
