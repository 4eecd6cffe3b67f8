package bind

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"orrery/lang/graph"
)

func TestBaseIfFree(t *testing.T) {
	p := base(t, 3)
	g := newGraph(t, graph.Decl{}, service("a", port("http", p)), service("b", port("http", p)), service("c", tcp("http", p)))
	tab := openTable(t, dirs(t))
	prepare(t, tab, g, "a", "b", "c")
	got := []int{number(t, tab, "a", "http"), number(t, tab, "b", "http"), number(t, tab, "c", "http")}
	if want := fmt.Sprint([]int{p, p + 1, p + 2}); fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
	// The socket is open, and the same after another Prepare.
	f := tab.Sockets(g.Node("c").Service)[0].File
	prepare(t, tab, g, "a", "b", "c")
	if tab.Sockets(g.Node("c").Service)[0].File != f {
		t.Error("the held socket was opened anew")
	}
	accepts(t, p+2)
}

func TestUDPHasItsOwnNumbers(t *testing.T) {
	p := base(t, 2)
	udp := func(x *graph.Port) { x.Proto = "udp" }
	g := newGraph(t, graph.Decl{}, service("dns", port("tcp", p), port("udp", p, udp)), service("other", listener("u", graph.Listen{Kind: "udp", Base: p, Host: "127.0.0.1"})))
	tab := openTable(t, dirs(t))
	prepare(t, tab, g, "dns", "other")
	if a, b := number(t, tab, "dns", "tcp"), number(t, tab, "dns", "udp"); a != p || b != p {
		t.Errorf("got %d and %d, want %d for both protocols", a, b, p)
	}
	if c := number(t, tab, "other", "u"); c == p {
		t.Errorf("got the same udp port twice: %d", c)
	}
	tab.Spawning("dns")
	c, err := net.ListenPacket("udp", "127.0.0.1:"+strconv.Itoa(p))
	if err != nil {
		t.Errorf("the program cannot bind its udp port: %v", err)
	} else {
		c.Close()
	}
}

func TestForeignListener(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1", "0.0.0.0", "::"} {
		for _, made := range []struct {
			name string
			with func(int) func(*graph.Service)
		}{{"ports", func(p int) func(*graph.Service) { return port("http", p) }}, {"listen", func(p int) func(*graph.Service) { return tcp("http", p) }},
			{"all interfaces", func(p int) func(*graph.Service) { return port("http", p, func(x *graph.Port) { x.Host = "" }) }},
			{"listen on all", func(p int) func(*graph.Service) {
				return listener("http", graph.Listen{Kind: "tcp", Base: p, Backlog: 1})
			}}} {
			t.Run(host+" "+made.name, func(t *testing.T) {
				p := base(t, 2)
				l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(p)))
				if err != nil {
					t.Skip(err)
				}
				defer l.Close()
				d := dirs(t)
				g := newGraph(t, graph.Decl{}, service("a", made.with(p)))
				tab := openTable(t, d)
				prepare(t, tab, g, "a")
				if n := number(t, tab, "a", "http"); n == p {
					t.Fatalf("got %d, which a foreign program has on %s", n, host)
				}
				// Free again: the next up takes it.
				tab.Close()
				l.Close()
				tab = openTable(t, d)
				prepare(t, tab, g, "a")
				if n := number(t, tab, "a", "http"); n != p {
					t.Errorf("got %d, want the base %d now that it is free", n, p)
				}
			})
		}
	}
}

func TestStrict(t *testing.T) {
	p := base(t, 2)
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(p))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	yes, no := true, false
	for _, c := range []struct {
		name    string
		project bool
		field   *bool
		flag    *bool
		strict  bool
	}{
		{"nothing said", false, nil, nil, false},
		{"project", true, nil, nil, true},
		{"field over project", true, &no, nil, false},
		{"field", false, &yes, nil, true},
		{"flag over field", false, &yes, &no, false},
		{"flag over project", false, nil, &yes, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGraph(t, graph.Decl{Project: graph.Project{StrictPorts: c.project}}, service("web", port("http", p, func(x *graph.Port) { x.Strict = c.field })))
			tab := openTable(t, dirs(t))
			err := tab.Prepare(g, []string{"web"}, Options{Strict: c.flag})
			if !c.strict {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			var conflict *ConflictError
			if !errors.As(err, &conflict) {
				t.Fatalf("got %v, want a ConflictError", err)
			}
			comm, _ := os.ReadFile("/proc/self/comm")
			for _, want := range []string{strconv.Itoa(p), "web", "http", strings.TrimSpace(string(comm)), "pid " + strconv.Itoa(os.Getpid())} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if _, ok := tab.Port("web", "http"); ok {
				t.Error("a failed Prepare left a port")
			}
		})
	}
}

func TestStrictAgainstNodes(t *testing.T) {
	p := base(t, 3)
	// Two strict ones: an error that names both. One: it has the base, whoever is declared first.
	g := newGraph(t, graph.Decl{}, service("a", port("http", p, strictly)), service("b", port("http", p, strictly)))
	err := openTable(t, dirs(t)).Prepare(g, []string{"a", "b"}, Options{})
	if err == nil || !strings.Contains(err.Error(), "cannot give b its port http") || !strings.Contains(err.Error(), "the port http of a") {
		t.Errorf("got %v", err)
	}
	d := dirs(t)
	g = newGraph(t, graph.Decl{}, service("a", port("http", p)), service("b", port("http", p, strictly)))
	tab := openTable(t, d)
	prepare(t, tab, g, "a", "b")
	if a, b := number(t, tab, "a", "http"), number(t, tab, "b", "http"); a != p+1 || b != p {
		t.Errorf("got a %d, b %d, want %d and %d", a, b, p+1, p)
	}
	tab.Close()
	// The lease of a service that does not run gives way to a strict port.
	d = dirs(t)
	tab = openTable(t, d)
	prepare(t, tab, g, "a")
	tab.Close()
	tab = openTable(t, d)
	prepare(t, tab, g, "b")
	if b := number(t, tab, "b", "http"); b != p {
		t.Errorf("got b %d, want %d", b, p)
	}
}

func TestLeases(t *testing.T) {
	p := base(t, 4)
	a, b := service("a", port("http", p)), service("b", port("http", p))
	g := newGraph(t, graph.Decl{}, a, b)
	d := dirs(t)
	up := func(g *graph.Graph, nodes ...string) map[string]int {
		tab := openTable(t, d)
		prepare(t, tab, g, nodes...)
		got := map[string]int{}
		for _, n := range nodes {
			got[n] = number(t, tab, n, "http")
		}
		tab.Close()
		return got
	}
	if got := up(g, "b"); got["b"] != p {
		t.Errorf("b alone got %d, want its base %d", got["b"], p)
	}
	if got := up(g, "a", "b"); got["a"] != p+1 || got["b"] != p {
		t.Errorf("got %v, want b to keep %d", got, p)
	}
	if got := up(g, "a"); got["a"] != p+1 {
		t.Errorf("got %v, want a to keep %d: the base is leased to b", got, p+1)
	}
	if got := up(newGraph(t, graph.Decl{}, a), "a"); got["a"] != p {
		t.Errorf("got %v, want the base %d now that b is gone", got, p)
	}
	// A service in front changes nothing for those behind.
	if got := up(newGraph(t, graph.Decl{}, service("0", port("http", p)), a), "0", "a"); got["a"] != p {
		t.Errorf("got %v, want a to keep %d", got, p)
	}
	// A damaged file is as none.
	if err := os.WriteFile(d.Leases, []byte(`[{"node":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := up(g, "a", "b"); got["a"] != p || got["b"] != p+1 {
		t.Errorf("got %v after the file was damaged", got)
	}
}

func TestNoIdleBase(t *testing.T) {
	// What is next is never another node's base.
	p := base(t, 4)
	g := newGraph(t, graph.Decl{}, service("a", port("x", p)), service("b", port("x", p)), service("c", port("x", p+1)))
	tab := openTable(t, dirs(t))
	prepare(t, tab, g, "a", "b", "c")
	if got := number(t, tab, "c", "x"); got != p+1 {
		t.Errorf("c got %d, want its base %d", got, p+1)
	}
}

// TestReferred: a port that is only named by a running service has a number, and is opened when its service is to run.
func TestReferred(t *testing.T) {
	p := base(t, 2)
	web := service("web", func(s *graph.Service) { s.Env = dict("API", "⟦~api.exports.url⟧") })
	api := service("api", tcp("http", p), func(s *graph.Service) { s.Exports = dict("url", "http://⟦self.address⟧/") })
	api.Service.Exports[0].Value = txt("http://⟦api.address⟧/")
	g := newGraph(t, graph.Decl{}, web, api)
	tab := openTable(t, dirs(t))
	b := New(tab, g, Options{})
	if err := b.Prepare([]string{"web"}); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Fill(txt("⟦api.exports.url⟧"), "web"); err != nil || got != fmt.Sprintf("http://127.0.0.1:%d/", p) {
		t.Errorf("got %q, %v", got, err)
	}
	if c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(p)); err == nil {
		c.Close()
		t.Error("the socket of a service that does not run accepts")
	}
	if err := b.Prepare([]string{"web", "api"}); err != nil {
		t.Fatal(err)
	}
	if got := number(t, tab, "api", "http"); got != p {
		t.Errorf("got %d, want %d as before", got, p)
	}
	accepts(t, p)
}

// TestReferredStrict: the busy port of a service that does not run stops nobody else.
func TestReferredStrict(t *testing.T) {
	p := base(t, 2)
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(p))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	g := newGraph(t, graph.Decl{}, service("web", port("x", p), func(s *graph.Service) { s.Env = dict("API", "⟦~api.port⟧") }), service("api", port("x", p, strictly)))
	tab := openTable(t, dirs(t))
	prepare(t, tab, g, "web")
	if web, api := number(t, tab, "web", "x"), number(t, tab, "api", "x"); web != p+1 || api != p {
		t.Errorf("got %d and %d, want %d and %d", web, api, p+1, p)
	}
	var conflict *ConflictError
	if err := tab.Prepare(g, []string{"web", "api"}, Options{}); !errors.As(err, &conflict) || conflict.Node != "api" {
		t.Errorf("got %v, want a conflict of api", err)
	}
	l.Close()
	prepare(t, tab, g, "web", "api")
}

// TestServersBindOver: a reservation keeps a plain program out, and lets in the servers that set SO_REUSEADDR.
func TestServersBindOver(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		argv func(t *testing.T, port string) (env, argv []string)
	}{
		{"go", func(t *testing.T, port string) ([]string, []string) {
			return []string{"BIND_TEST_ROLE=http", "BIND_TEST_ADDR=127.0.0.1:" + port}, []string{self}
		}},
		{"go on all", func(t *testing.T, port string) ([]string, []string) {
			return []string{"BIND_TEST_ROLE=http", "BIND_TEST_ADDR=:" + port}, []string{self}
		}},
		{"python", func(t *testing.T, port string) ([]string, []string) {
			return nil, []string{need(t, "python3"), "-m", "http.server", "--bind", "127.0.0.1", port}
		}},
		{"redis", func(t *testing.T, port string) ([]string, []string) {
			return nil, []string{need(t, "redis-server"), "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir()}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := base(t, 2)
			tab := openTable(t, dirs(t))
			g := newGraph(t, graph.Decl{}, service("a", port("x", p)))
			prepare(t, tab, g, "a")
			if err := plainBind(p); err == nil {
				t.Fatal("a plain program could bind the reserved port")
			}
			tab.Spawning("a")
			env, argv := c.argv(t, strconv.Itoa(p))
			cmd := start(t, env, argv...)
			accepts(t, p)
			tab.Taken("a")
			accepts(t, p)
			if err := tab.Retake("a"); err == nil {
				t.Error("got no conflict while the server runs")
			}
			// Old connections of the ended server do not keep us from taking the port again.
			cmd.Process.Kill()
			cmd.Wait()
			if err := tab.Retake("a"); err != nil {
				t.Errorf("got %v after the server has ended", err)
			}
			start(t, env, argv...)
			accepts(t, p)
		})
	}
}

// plainBind binds as a program without SO_REUSEADDR does.
func plainBind(port int) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	return syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
}

func TestRelease(t *testing.T) {
	p := base(t, 1)
	d := dirs(t)
	g := newGraph(t, graph.Decl{}, service("a", port("x", p)))
	tab := openTable(t, d)
	prepare(t, tab, g, "a")
	tab.Spawning("a")
	if plainBind(p) == nil {
		t.Fatal("a plain program could bind the reserved port")
	}
	if !tab.Release("a") || tab.Release("a") {
		t.Error("want Release to tell that it let go, once")
	}
	if err := plainBind(p); err != nil {
		t.Fatal(err)
	}
	// The next start, and that of another engine, lets go before the program starts.
	tab.Close()
	tab = openTable(t, d)
	prepare(t, tab, g, "a")
	if plainBind(p) == nil {
		t.Error("the port is not reserved before the start")
	}
	tab.Spawning("a")
	if err := plainBind(p); err != nil {
		t.Error(err)
	}
	if err := tab.Retake("a"); err != nil {
		t.Error(err)
	}
}

// TestTimeWait: connections that the old server closed first do not move the service to another port.
func TestTimeWait(t *testing.T) {
	p := base(t, 1)
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(p))
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	buf := make([]byte, 1)
	c.Read(buf)
	c.Close()
	l.Close()
	if plainBind(p) == nil {
		t.Skip("no old connection remains here")
	}
	for _, with := range []func(*graph.Service){port("x", p), tcp("x", p)} {
		tab := openTable(t, dirs(t))
		prepare(t, tab, newGraph(t, graph.Decl{}, service("a", with)), "a")
		if n := number(t, tab, "a", "x"); n != p {
			t.Errorf("got %d, want %d", n, p)
		}
		tab.Close()
	}
}

func TestAdopt(t *testing.T) {
	p := base(t, 4)
	g := newGraph(t, graph.Decl{}, service("a", port("x", p), tcp("y", p+1)), service("b", port("x", p)))
	d := dirs(t)
	old := openTable(t, d)
	prepare(t, old, g, "a")
	f := old.Sockets(g.Node("a").Service)[0].File
	dup, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(p)) // the service
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	old.Close()
	tab := openTable(t, d)
	if err := tab.Adopt(g, "a", map[string]int{"x": p, "y": p + 1}, []Socket{{"y", os.NewFile(uintptr(dup), "y")}}); err != nil {
		t.Fatal(err)
	}
	prepare(t, tab, g, "a", "b")
	if x, y, b := number(t, tab, "a", "x"), number(t, tab, "a", "y"), number(t, tab, "b", "x"); x != p || y != p+1 || b != p+2 {
		t.Errorf("got %d, %d and %d, want %d, %d and %d", x, y, b, p, p+1, p+2)
	}
	accepts(t, p+1)
	if err := tab.Adopt(g, "b", nil, []Socket{{Name: "nothing"}}); err == nil {
		t.Error("got no error for a socket that is not declared")
	}
}

// checkout is a process that allocates for a checkout of its own, says what it got, and holds it until its input ends.
func checkout() int {
	p, _ := strconv.Atoi(os.Getenv("BIND_TEST_ADDR"))
	d := Dirs{Run: os.TempDir()}
	g, _ := graph.New(graph.Decl{Nodes: []*graph.Node{service("a", port("x", p)), service("b", port("x", p)), service("c", tcp("x", p))}})
	tab, err := NewTable(d)
	if err == nil {
		err = tab.Prepare(g, []string{"a", "b", "c"}, Options{})
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for _, n := range []string{"a", "b", "c"} {
		number, _ := tab.Port(n, "x")
		fmt.Println(number)
	}
	fmt.Println("done")
	os.Stdin.Read(make([]byte, 1))
	return 0
}

// TestManyCheckouts: fifty processes that want the same base at once, with old connections on it, all get different ports.
func TestManyCheckouts(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	projects := 50
	p := base(t, 8)
	var outs []func() string
	for range projects {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", "BIND_TEST_ROLE=checkout", "BIND_TEST_ADDR="+strconv.Itoa(p))
		in, _ := cmd.StdinPipe()
		out, _ := cmd.StdoutPipe()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { in.Close(); cmd.Wait() })
		outs = append(outs, func() string {
			var all []byte
			buf := make([]byte, 4096)
			for !strings.Contains(string(all), "done") {
				n, err := out.Read(buf)
				all = append(all, buf[:n]...)
				if err != nil {
					break
				}
			}
			return string(all)
		})
	}
	seen := map[string]bool{}
	for _, out := range outs {
		lines := strings.Fields(out())
		if len(lines) != 4 {
			t.Fatalf("got %q", lines)
		}
		for _, n := range lines[:3] {
			if seen[n] {
				t.Errorf("%s was given twice", n)
			}
			seen[n] = true
		}
	}
	t.Logf("%d projects, %d ports, 0 collisions", projects, len(seen))
}
