package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// descriptors counts those of processes.
func descriptors(pids ...int) (n int) {
	for _, pid := range pids {
		fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		n += len(fds)
	}
	return n
}

// zombies counts the children of a process that nobody has waited for.
func zombies(parent int) (n int) {
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range procs {
		var pid int
		fmt.Sscan(filepath.Base(dir), &pid)
		if p, ok := readProc(pid); ok && p.parent == parent && p.state == "Z" {
			n++
		}
	}
	return n
}

// TestTortureMany brings up many services, and counts what they cost.
func TestTortureMany(t *testing.T) {
	torture(t)
	many := form(50, 500)
	c := newCheckout(t, fmt.Sprintf(`
service("base", command = ["$T", "sleep", "base"])
group("all", [service("many/%%d" %% i, command = ["sleep", "1000"], autostart = False) for i in range(%d)])
`, many))
	began := time.Now()
	c.must("up", "-d", "--wait")
	keeper := c.keeper()
	engine := enginesOf(keeper)[0]
	var up, stop []time.Duration
	var baseline int
	var grown int64
	for round := range 4 {
		up = append(up, c.must("start", "all").took)
		c.must("wait", "all")
		if round == 0 {
			pss := memory(t, "Pss", keeper, engine)
			var status []time.Duration
			for range 20 {
				status = append(status, c.must("status", "--json").took)
			}
			p, _ := p99(status)
			t.Logf("%d services: up in %s; status %s (p99); keeper and engine: %.1f MB PSS, %d descriptors", many, ms(up[0]), ms(p), float64(pss)/(1<<20), descriptors(keeper, engine))
		}
		stop = append(stop, c.must("stop", "all").took)
		c.await("the end of all", func() bool { return c.instances("sleep", "base") == 1 && zombies(keeper) == 0 })
		c.await("no descriptor of theirs", func() bool { return round == 0 || descriptors(keeper, engine) <= baseline })
		if round == 0 { // what is made once is made now
			baseline, grown = descriptors(keeper, engine), memory(t, "Rss", keeper, engine)
		}
	}
	after := memory(t, "Rss", keeper, engine)
	t.Logf("%d starts and stops: %d zombies, %d descriptors before and %d after, RSS %+.1f MB; stopped in %s; %s in all",
		4*many, zombies(keeper), baseline, descriptors(keeper, engine), float64(after-grown)/(1<<20), ms(stop[0]), ms(time.Since(began)))
	if after-grown > 24<<20 {
		t.Errorf("keeper and engine grew by %d MB", (after-grown)>>20)
	}
	r := c.must("down")
	t.Logf("down in %s", ms(r.took))
}

// TestTortureEdit edits the project again and again while it runs, well and
// badly: in the end what the last edit says is what runs.
func TestTortureEdit(t *testing.T) {
	torture(t)
	c := newCheckout(t, `service("s0", command = ["$T", "sleep", "s0"])`)
	c.must("up", "-d", "--wait")
	keep := c.node("s0").PID
	edits, broken := form(50, 500), 0
	for range edits {
		switch rand.IntN(3) {
		case 0:
			broken++
			c.write("services.star", `service("s0", command = [`)
		default:
			var b strings.Builder
			for i := range 1 + rand.IntN(5) {
				env := ""
				if i > 0 && rand.IntN(2) > 0 {
					env = ", env = {\"CHANGED\": \"yes\"}"
				}
				fmt.Fprintf(&b, "service(\"s%d\", command = [\"$T\", \"sleep\", \"s%d\"]%s)\n", i, i, env)
			}
			c.write("services.star", b.String())
		}
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond) // the pace of the edits
	}
	for _, wanted := range [][]string{{"s0", "s1", "s2"}, {"s0", "s7"}, {"s0"}} {
		var b strings.Builder
		for _, s := range wanted {
			fmt.Fprintf(&b, "service(%q, command = [\"$T\", \"sleep\", %q])\n", s, s)
		}
		c.write("services.star", b.String())
		c.await(fmt.Sprint(wanted), func() bool {
			st, _ := c.status()
			if len(st.Nodes) != len(wanted) {
				return false
			}
			for _, n := range st.Nodes {
				if n.State != "ready" {
					return false
				}
			}
			return true
		})
		running := len(c.pids(func(args []string) bool { return args[0] == c.programs.torture }))
		if running != len(wanted) {
			t.Errorf("%d services run, want %v", running, wanted)
		}
	}
	t.Logf("%d edits, %d of them broken: what runs is what the last one says, and what none changed was not restarted", edits, broken)
	if n := c.node("s0"); n.PID != keep {
		t.Errorf("s0, which no edit has changed, was restarted: pid %d, then %d", keep, n.PID)
	}
}

// TestTortureCheckoutStorm: thousands of files that change at once, as in a git
// checkout, are one restart. A disk that stalls for as long as the debounce, or
// writes for longer than the two seconds after which a stream is cut, makes
// several sets of them: then at most one restart for each half second.
func TestTortureCheckoutStorm(t *testing.T) {
	torture(t)
	c := newCheckout(t, `service("web", command = ["$T", "sleep", "web"], watch = watch("src", debounce = "500ms"))`)
	files := 10_000
	write := func(generation int) (took, stall time.Duration) {
		began := time.Now()
		last := began
		for i := range files {
			dir := c.path(fmt.Sprintf("src/%d", i/200))
			if i%200 == 0 {
				if err := os.MkdirAll(dir, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(fmt.Sprintf("%s/%d.txt", dir, i), fmt.Appendf(nil, "%d %d", generation, i), 0o600); err != nil {
				t.Fatal(err)
			}
			stall, last = max(stall, time.Since(last)), time.Now()
		}
		return time.Since(began), stall
	}
	write(0)
	c.must("up", "-d", "--wait")
	rounds := form(2, 10)
	for round := range rounds {
		before, began := c.node("web").Restarts, time.Now()
		late := latest()
		wrote, stall := write(round + 1)
		c.await("a restart", func() bool { return c.node("web").Restarts > before })
		took, most := time.Since(began), 1
		for last := before; last != c.node("web").Restarts; {
			last = c.node("web").Restarts
			time.Sleep(1500 * time.Millisecond) // for what must not happen
		}
		c.await("ready", func() bool { return c.node("web").State == "ready" })
		stall = max(stall, late())
		if wrote > 1500*time.Millisecond || stall > 300*time.Millisecond {
			most = 1 + int((wrote+stall)/(500*time.Millisecond))
		}
		n := c.node("web")
		if n.Restarts-before > most || n.State != "ready" {
			t.Errorf("round %d: got %+v after %s of writing with a stall of %s, want at most %d restarts", round, n, ms(wrote), ms(stall), most)
		}
		t.Logf("%d files changed within %s (longest stall %s): %d restart, %s after the first", files, ms(wrote), ms(stall), n.Restarts-before, ms(took))
	}
}

// latest measures until its result is called how late the machine lets a sleeper run at most.
func latest() func() time.Duration {
	stop, most := make(chan struct{}), make(chan time.Duration)
	go func() {
		const nap = 10 * time.Millisecond
		var worst time.Duration
		for {
			began := time.Now()
			select {
			case <-stop:
				most <- worst
				return
			case <-time.After(nap):
				worst = max(worst, time.Since(began)-nap)
			}
		}
	}()
	return func() time.Duration {
		close(stop)
		return <-most
	}
}

// TestTortureSockets: a socket path that cannot be, or that something else has,
// is a clear error, and nothing is removed that is not ours.
func TestTortureSockets(t *testing.T) {
	torture(t)
	c := newCheckout(t, `service("web", command = ["$T", "serve", "web"], listen = {"http": socket.unix("web.sock")})`)
	c.must("up", "-d", "--wait")
	path := c.node("web").Sockets["http"]
	keeper := c.keeper()
	c.must("down")
	c.await("the end of the keeper", func() bool { return !alive(keeper) })

	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	stale := exec.Command("python3", "-c", "import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])", path)
	if out, err := stale.CombinedOutput(); err != nil {
		t.Skipf("cannot make a stale socket: %v %s", err, out)
	}
	c.must("up", "-d", "--wait") // a stale one is replaced
	c.must("down")

	cases := []struct{ name, star, hint string }{
		{"too long", `service("web", command = ["$T", "serve", "web"], listen = {"http": socket.unix("/tmp/` + strings.Repeat("long", 30) + `.sock")})`, "107"},
		{"a symlink", `service("web", command = ["$T", "serve", "web"], listen = {"http": socket.unix("` + c.run + `/link.sock")})`, "symlink|symbolic link"},
		{"a file", `service("web", command = ["$T", "serve", "web"], listen = {"http": socket.unix("` + c.run + `/file.sock")})`, "socket"},
		{"in use", `service("web", command = ["$T", "serve", "web"], listen = {"http": socket.unix("` + c.run + `/used.sock")})`, "use|answers|served|listens"},
	}
	victim := c.path("victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	os.Symlink(victim, c.run+"/link.sock")
	os.WriteFile(c.run+"/file.sock", []byte("precious"), 0o600)
	used := exec.Command("python3", "-c", "import socket, sys, time\ns = socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\ns.listen()\nopen(sys.argv[2], 'w').write('1')\ntime.sleep(600)", c.run+"/used.sock", c.path("used"))
	if err := used.Start(); err != nil {
		t.Fatal(err)
	}
	defer used.Wait()
	defer used.Process.Kill()
	c.number("used")
	for _, x := range cases {
		c.write("services.star", x.star)
		r := c.orrery("up", "-d", "--wait=20s")
		said := false
		for _, h := range strings.Split(x.hint, "|") {
			said = said || strings.Contains(r.err, h)
		}
		if r.code == 0 || !said || !strings.Contains(r.err, ".sock") {
			t.Errorf("%s: want a failure that names the path and says %q: %s", x.name, x.hint, r)
		} else {
			t.Logf("%s: exit %d after %s: %s", x.name, r.code, ms(r.took), strings.TrimSpace(firstWith(r.err, ".sock")))
		}
		c.must("down")
	}
	link, _ := os.Readlink(c.run + "/link.sock")
	file, _ := os.ReadFile(c.run + "/file.sock")
	if c.read("victim") != "precious" || link != victim || string(file) != "precious" {
		t.Error("what was in the way was touched")
	}
}

func firstWith(text, word string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, word) {
			return line
		}
	}
	return ""
}

// TestTortureTogether: however many start the same checkout at the same instant,
// there is one engine; as many checkouts have as many ports.
func TestTortureTogether(t *testing.T) {
	torture(t)
	together := func(cmds []*exec.Cmd, c []*checkout) (results []ran) {
		results = make([]ran, len(cmds))
		var all sync.WaitGroup
		for i := range cmds {
			all.Go(func() { results[i] = c[i].finish(cmds[i]) })
		}
		all.Wait()
		return results
	}
	c := newCheckout(t, `service("web", command = ["$T", "sleep", "web"])`)
	rounds := form(4, 40)
	for round := range rounds {
		n := 2
		if round%2 == 1 {
			n = 10
		}
		cmds, cs := make([]*exec.Cmd, n), make([]*checkout, n)
		for i := range n {
			cmds[i], cs[i] = c.command("up", "-d", "--wait"), c
		}
		for i, r := range together(cmds, cs) {
			if r.code != 0 {
				t.Errorf("up %d of %d at once: %s", i, n, r)
			}
		}
		c.await("one keeper", func() bool { return len(enginesOf(c.keeper())) == 1 && len(c.keepers()) == 1 })
		if got := c.instances("sleep", "web"); got != 1 {
			t.Errorf("%d at once: got %d instances, want 1", n, got)
		}
		c.must("down")
		c.await("the end", func() bool { return len(c.all()) == 0 })
	}
	t.Logf("%d rounds of 2 and 10 `up -d` at the same instant: one engine, one instance, all exit 0", rounds)

	port := freePorts(t, 1)[0]
	const n = 10
	cmds, cs := make([]*exec.Cmd, n), make([]*checkout, n)
	for i := range n {
		cs[i] = newCheckout(t, fmt.Sprintf(`service("web", command = ["$T", "serve", "web"], listen = {"http": socket.tcp(%d)})
service("own", command = ["$T", "bad", "flap", self.ports.http, "told"], ports = {"http": %d}, ready = probe.http("/"))`, port, port+1))
		cmds[i] = cs[i].command("up", "-d", "--wait")
	}
	ports := map[int]int{}
	for i, r := range together(cmds, cs) {
		if r.code != 0 {
			t.Errorf("checkout %d: %s", i, r)
			continue
		}
		for _, node := range []string{"web", "own"} {
			ports[cs[i].node(node).Ports["http"]]++
		}
		if body, err := get(fmt.Sprintf("127.0.0.1:%d", cs[i].node("web").Ports["http"])); err != nil || body != fmt.Sprintf("pid %d\n", cs[i].node("web").PID) {
			t.Errorf("checkout %d: got %q, %v, want its own web", i, body, err)
		}
	}
	t.Logf("%d checkouts at once: %d ports, all different", n, len(ports))
	if len(ports) != 2*n {
		t.Errorf("got ports %v, want %d different ones", ports, 2*n)
	}
}

// keepers are the keepers of a checkout.
func (c *checkout) keepers() (keepers []int) {
	pids := c.pids(func(args []string) bool { return len(args) > 1 && args[1] == "__keeper" })
	for _, pid := range pids {
		if p, ok := readProc(pid); ok && p.parent != c.keeper() {
			keepers = append(keepers, pid)
		}
	}
	return keepers
}
