package bind

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"orrery/lang/graph"
)

// TestMain is also a server in Go, and a checkout that allocates, for tests with processes.
func TestMain(m *testing.M) {
	switch os.Getenv("BIND_TEST_ROLE") {
	case "http":
		fmt.Println(http.ListenAndServe(os.Getenv("BIND_TEST_ADDR"), http.NotFoundHandler()))
		os.Exit(1)
	case "checkout":
		os.Exit(checkout())
	}
	os.Exit(m.Run())
}

// txt parses a marker string.
func txt(s string) graph.Text {
	t, err := graph.ParseText(s)
	if err != nil {
		panic(err)
	}
	return t
}

func texts(ss ...string) []graph.Text {
	var ts []graph.Text
	for _, s := range ss {
		ts = append(ts, txt(s))
	}
	return ts
}

func dict(pairs ...string) graph.Dict[graph.Text] {
	var d graph.Dict[graph.Text]
	for i := 0; i < len(pairs); i += 2 {
		d = append(d, graph.Entry[graph.Text]{Key: pairs[i], Value: txt(pairs[i+1])})
	}
	return d
}

func service(name string, with ...func(*graph.Service)) *graph.Node {
	s := &graph.Service{Common: graph.Common{Name: name}, Command: graph.Command{Argv: texts("run")}, Autostart: true}
	for _, f := range with {
		f(s)
	}
	return &graph.Node{Kind: graph.KindService, Service: s}
}

func task(name string, with ...func(*graph.Task)) *graph.Node {
	t := &graph.Task{Common: graph.Common{Name: name}, Command: &graph.Command{Argv: texts("run")}}
	for _, f := range with {
		f(t)
	}
	return &graph.Node{Kind: graph.KindTask, Task: t}
}

func port(name string, base int, with ...func(*graph.Port)) func(*graph.Service) {
	return func(s *graph.Service) {
		p := graph.Port{Base: base, Host: "127.0.0.1", Proto: "tcp"}
		for _, f := range with {
			f(&p)
		}
		s.Ports = append(s.Ports, graph.Entry[graph.Port]{Key: name, Value: p})
	}
}

func listener(name string, l graph.Listen) func(*graph.Service) {
	return func(s *graph.Service) {
		s.Listen = append(s.Listen, graph.Entry[graph.Listen]{Key: name, Value: l})
	}
}

func tcp(name string, base int) func(*graph.Service) {
	return listener(name, graph.Listen{Kind: "tcp", Base: base, Host: "127.0.0.1", Backlog: 128})
}

func strictly(p *graph.Port) { yes := true; p.Strict = &yes }

func newGraph(t testing.TB, d graph.Decl, nodes ...*graph.Node) *graph.Graph {
	t.Helper()
	d.Nodes = nodes
	g, problems := graph.New(d)
	for _, p := range problems {
		t.Errorf("%s: %s", p.Node, p.Message)
	}
	if len(problems) > 0 {
		t.FailNow()
	}
	return g
}

// dirs are the directories of a checkout; Run has a short path.
func dirs(t testing.TB) Dirs {
	t.Helper()
	run, err := os.MkdirTemp("", "o")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(run) })
	root := t.TempDir()
	for _, d := range []string{"state", "cache"} {
		if err := os.Mkdir(filepath.Join(root, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return Dirs{Root: root, State: root + "/state", Cache: root + "/cache", Run: run, Leases: root + "/leases.json",
		LogFile: func(n string) string { return root + "/logs/" + n }}
}

func openTable(t testing.TB, d Dirs) *Table {
	t.Helper()
	tab, err := NewTable(d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tab.Close() })
	return tab
}

// base finds n numbers in a row that are free now.
func base(t testing.TB, n int) int {
	t.Helper()
	for range 200 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		first := l.Addr().(*net.TCPAddr).Port
		l.Close()
		ok := first+n < 65000
		for i := 0; ok && i < n; i++ {
			holds, err := reserve(portSpec{proto: "tcp", host: "127.0.0.1"}, first+i)
			ok = err == nil
			closeAll(holds)
			ok = ok && plainBind(first+i) == nil // no old connection on it either
		}
		if ok {
			return first
		}
	}
	t.Fatal("no free ports")
	return 0
}

func prepare(t testing.TB, tab *Table, g *graph.Graph, nodes ...string) {
	t.Helper()
	if err := tab.Prepare(g, nodes, Options{}); err != nil {
		t.Fatal(err)
	}
}

func number(t testing.TB, tab *Table, node, name string) int {
	t.Helper()
	n, ok := tab.Port(node, name)
	if !ok {
		t.Fatalf("%s.%s has no port", node, name)
	}
	return n
}

// start runs a program that ends with the test.
func start(t testing.TB, env []string, argv ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %s", argv[0], out.String())
		}
	})
	return cmd
}

// answers waits until somebody accepts at the port.
func accepts(t testing.TB, port int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port)); err == nil {
			c.Close()
			return
		}
	}
	t.Fatalf("nobody accepts at %d", port)
}

func need(t testing.TB, program string) string {
	t.Helper()
	p, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed", program)
	}
	return p
}
