package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// load sends requests, each over a connection of its own and none a second time.
type load struct {
	addr            string
	sent            atomic.Int64
	refused, failed atomic.Int64
	stop            chan struct{}
	done            sync.WaitGroup

	mu    sync.Mutex
	pids  map[string]int // who answered
	first []string       // the first errors
}

// clients is how many requests of a load are in flight.
const clients = 4

func startLoad(port int) *load {
	l := &load{addr: fmt.Sprintf("127.0.0.1:%d", port), stop: make(chan struct{}), pids: map[string]int{}}
	for range clients {
		l.done.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				case <-time.After(time.Millisecond / 2):
				}
				l.request()
			}
		})
	}
	return l
}

func (l *load) request() {
	l.sent.Add(1)
	body, err := get(l.addr)
	pid, ok := strings.CutPrefix(body, "pid ")
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && ok {
		l.pids[pid]++
		return
	}
	if err != nil && strings.Contains(err.Error(), "connection refused") {
		l.refused.Add(1)
	} else {
		l.failed.Add(1)
	}
	if len(l.first) < 5 {
		l.first = append(l.first, fmt.Sprintf("%v %q", err, body))
	}
}

// get is a request that is never tried again.
func get(addr string) (string, error) {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return "", err
	}
	all, err := io.ReadAll(c)
	_, body, _ := strings.Cut(string(all), "\r\n\r\n")
	return body, err
}

// end waits until at least n were sent, and ends the load.
func (l *load) end(n int) {
	for l.sent.Load() < int64(n) {
		time.Sleep(time.Millisecond) // no event: the count is an atomic of all clients
	}
	close(l.stop)
	l.done.Wait()
}

func (l *load) String() string {
	return fmt.Sprintf("%d requests, %d refused, %d failed, answered by %d instances %s", l.sent.Load(), l.refused.Load(), l.failed.Load(), len(l.pids), strings.Join(l.first, "; "))
}

// TestTortureEngineKill kills the engine at random instants under requests: none
// fails, and nothing is started twice.
func TestTortureEngineKill(t *testing.T) {
	torture(t)
	port := freePorts(t, 1)[0]
	c := newCheckout(t, fmt.Sprintf(`
web = service("web", command = ["$T", "serve", "web"], listen = {"http": socket.tcp(%d, strict = True)})
service("worker", command = ["$T", "sleep", "worker"], after = [web])
`, port))
	c.must("up", "-d", "--wait")
	keeper, pid := c.keeper(), c.node("web").PID
	l := startLoad(port)
	kills := murder(keeper, form(40, 200), 150*time.Millisecond)
	l.end(form(8000, 40000))
	n := c.node("web")
	t.Logf("%d kills of the engine: %s", kills, l)
	if kills < form(40, 200) || l.refused.Load()+l.failed.Load() > 0 || len(l.pids) != 1 {
		t.Errorf("want no failed request and one instance")
	}
	if n.PID != pid || n.State != "ready" || n.Restarts != 0 {
		t.Errorf("web: got %+v, want pid %d, ready, no restart", n, pid)
	}
	if a, b := c.instances("serve", "web"), c.instances("sleep", "worker"); a != 1 || b != 1 {
		t.Errorf("got %d web and %d worker, want one of each", a, b)
	}
}

// TestTortureExitUnseen: the exit status of a service that ends while there is no
// engine is known to the next one.
func TestTortureExitUnseen(t *testing.T) {
	torture(t)
	c := newCheckout(t, `service("late", command = ["$T", "exit", "42", "go"], restart = restart.never())`)
	c.must("up", "-d", "--wait")
	keeper := c.keeper()
	rounds := form(5, 30)
	for i := range rounds {
		pid := c.node("late").PID
		if err := syscall.Kill(keeper, syscall.SIGSTOP); err != nil { // so that no engine is started
			t.Fatal(err)
		}
		engine := enginesOf(keeper)[0]
		syscall.Kill(engine, syscall.SIGKILL)
		c.await("the end of the engine", func() bool { return !alive(engine) })
		c.write("go", "")
		c.await("the end of the service", func() bool { return !alive(pid) })
		syscall.Kill(keeper, syscall.SIGCONT)
		c.await("exit 42", func() bool {
			n := c.node("late")
			return n.State == "exited" && n.Exit != nil && n.Exit.Code == 42
		})
		os.Remove(c.path("go"))
		if i+1 < rounds {
			c.must("restart", "late")
			c.await("late", func() bool { return c.node("late").State == "ready" })
		}
	}
	t.Logf("%d services ended with 42 while no engine lived, %d reported", rounds, rounds)
}

// family is n services in rows of three, each row after the one before.
func family(n int) string {
	var b strings.Builder
	for i := range n {
		after := ""
		if i >= 3 {
			after = fmt.Sprintf(", after = [s%d.started]", i-3)
		}
		fmt.Fprintf(&b, "s%d = service(\"s%d\", command = [\"$T\", \"sleep\", \"s%d\"]%s)\n", i, i, i, after)
	}
	return b.String()
}

// one waits until each of the n of a family runs once. (Two at a time would be
// noticed by themselves.)
func (c *checkout) one(n int) {
	c.t.Helper()
	for i := range n {
		c.await(fmt.Sprintf("one s%d", i), func() bool { return c.instances("sleep", fmt.Sprintf("s%d", i)) == 1 })
	}
}

// killsDuring runs a command, and meanwhile kills the engine up to n times, at
// random instants up to longest apart.
func (c *checkout) killsDuring(n int, longest time.Duration, args ...string) (ran, int) {
	kills := make(chan int)
	over := make(chan struct{})
	go func() {
		killed, keeper := 0, 0
		for killed < n {
			select {
			case <-over:
				kills <- killed
				return
			case <-time.After(time.Duration(rand.Int64N(int64(longest)))):
			}
			if keeper == 0 || !alive(keeper) {
				keeper = c.keeper()
			}
			if e := enginesOf(keeper); keeper != 0 && len(e) > 0 && syscall.Kill(e[0], syscall.SIGKILL) == nil {
				killed++
			}
		}
		<-over
		kills <- killed
	}()
	r := c.orrery(args...)
	close(over)
	return r, <-kills
}

// TestTortureKillDuringUpAndDown kills the engine while it spawns, restarts and
// stops: nothing twice, nothing lost, and the commands come to their end.
func TestTortureKillDuringUpAndDown(t *testing.T) {
	torture(t)
	const services = 9
	c := newCheckout(t, family(services))
	rounds, ups, restarts, downs, unhappy := form(10, 100), 0, 0, 0, 0
	for range rounds {
		r, k := c.killsDuring(2, 120*time.Millisecond, "up", "-d", "--wait")
		ups += k
		if r.code != 0 {
			unhappy++
			t.Errorf("up with %d kills: %s", k, r)
			c.must("up", "-d", "--wait")
		}
		c.one(services)
		if st, ok := c.status(); !ok || len(st.Nodes) != services {
			t.Errorf("status after a killed up: got %d nodes, %v", len(st.Nodes), ok)
		}
		r, k = c.killsDuring(2, 60*time.Millisecond, "restart", "s0", "s4", "s8")
		restarts += k
		if r.code != 0 {
			unhappy++
			t.Errorf("restart with %d kills: %s", k, r)
		}
		if r := c.orrery("wait", "--timeout=20s"); r.code != 0 {
			t.Fatalf("after restart with %d kills: %s\n%s", k, r, c.orrery("status"))
		}
		c.one(services)
		r, k = c.killsDuring(2, 20*time.Millisecond, "down")
		downs += k
		if r.code != 0 {
			unhappy++
			t.Errorf("down with %d kills: %s", k, r)
		}
		if left, _ := survivors(c.all(), 10*time.Second); len(left) > 0 {
			t.Fatalf("after down with %d kills (%s) live on: %v\n%s", k, r, left, c.orrery("status", "--json"))
		}
		if r := c.orrery("status"); r.code != exitNoEngine {
			t.Errorf("after down: %s", r)
		}
	}
	t.Logf("%d rounds of up, restart, down of %d services: %d kills during up, %d during restart, %d during down; %d commands failed",
		rounds, services, ups, restarts, downs, unhappy)
}

// survivors waits until none of the pids lives, and says how long that took.
func survivors(pids []int, most time.Duration) (left []int, took time.Duration) {
	began := time.Now()
	for {
		left = nil
		for _, pid := range pids {
			if alive(pid) {
				left = append(left, pid)
			}
		}
		if took = time.Since(began); len(left) == 0 || took > most {
			return left, took
		}
		time.Sleep(2 * time.Millisecond)
	}
}

const brood = `
service("parent", command = "setsid sh -c 'sleep 3600 & echo $! > grandchild.pid; wait' >/dev/null 2>&1 </dev/null & exec $T sleep parent", ready = probe.file("grandchild.pid"))
service("stubborn", command = "trap '' TERM HUP INT; touch stubborn.up; while :; do sleep 0.2; done", ready = probe.file("stubborn.up"), stop = stop.signal(timeout = "300ms"))
service("plain", command = ["$T", "sleep", "plain"])
`

// TestTortureKeeperKill: without the keeper everything goes down at once, also
// what ignores signals or left the session.
func TestTortureKeeperKill(t *testing.T) {
	torture(t)
	c := newCheckout(t, brood)
	var took []time.Duration
	rounds := form(5, 50)
	for range rounds {
		os.Remove(c.path("grandchild.pid"))
		os.Remove(c.path("stubborn.up"))
		c.must("up", "-d", "--wait")
		all := c.all()
		if err := syscall.Kill(c.keeper(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		left, d := survivors(all, 5*time.Second)
		took = append(took, d)
		if len(left) > 0 {
			t.Errorf("%d of %d processes survive the keeper", len(left), len(all))
		}
		if n := len(c.all()); n > 0 {
			t.Errorf("%d processes were started after the keeper's death", n)
		}
		if r := c.orrery("status"); r.code != exitNoEngine {
			t.Errorf("status without keeper: %s", r)
		}
	}
	p, most := p99(took)
	t.Logf("%d kills of the keeper: 0 survivors after %s (p99), %s (most)", rounds, ms(p), ms(most))
	if most > 3*time.Second {
		t.Errorf("got %s, want a second or so", most)
	}
}

// TestTortureBothKilled: with keeper and engine gone at once nobody is left to
// clean up; the next up does, before it starts anything.
func TestTortureBothKilled(t *testing.T) {
	torture(t)
	c := newCheckout(t, brood)
	rounds, orphans := form(5, 50), 0
	for range rounds {
		os.Remove(c.path("grandchild.pid"))
		os.Remove(c.path("stubborn.up"))
		c.must("up", "-d", "--wait")
		keeper := c.keeper()
		engine := enginesOf(keeper)[0]
		syscall.Kill(engine, syscall.SIGSTOP) // else it may be quicker than we are
		syscall.Kill(keeper, syscall.SIGKILL)
		syscall.Kill(engine, syscall.SIGKILL)
		c.await("the end of both", func() bool { return !alive(keeper) && !alive(engine) })
		left := c.all()
		orphans += len(left)
		r := c.orrery("status")
		if r.code != exitNoEngine {
			t.Errorf("status without keeper and engine: %s", r)
		}
		c.must("up", "-d", "--wait")
		if still, _ := survivors(left, 0); len(still) > 0 {
			t.Errorf("%d of %d orphans live on after the next up", len(still), len(left))
		}
		c.await("one plain and one parent", func() bool { return c.instances("sleep", "plain") == 1 && c.instances("sleep", "parent") == 1 })
		c.must("down")
	}
	t.Logf("%d kills of keeper and engine at once: %d orphans, all ended by the next up", rounds, orphans)
}

// TestTortureRestartUnderLoad: a socket that is held refuses nobody, whoever
// serves it and however that ended.
func TestTortureRestartUnderLoad(t *testing.T) {
	torture(t)
	port := freePorts(t, 1)[0]
	c := newCheckout(t, fmt.Sprintf(`service("web", command = ["$T", "serve", "web"], listen = {"http": socket.tcp(%d, strict = True)},
    restart = restart.on_failure(max = None, delay = "1ms", cap = "1ms"))`, port))
	c.must("up", "-d", "--wait")
	restarts, kills := form(40, 200), form(20, 100)

	l := startLoad(port)
	for range restarts {
		c.must("restart", "web")
	}
	l.end(0)
	t.Logf("%d restarts: %s", restarts, l)
	if l.refused.Load()+l.failed.Load() > 0 {
		t.Error("want none refused, and none failed: the service drains")
	}

	l = startLoad(port)
	for range kills {
		old := c.node("web").PID
		if old == 0 {
			t.Fatalf("web is %+v", c.node("web"))
		}
		syscall.Kill(old, syscall.SIGKILL)
		c.await("the next web", func() bool {
			n := c.node("web")
			return n.State == "ready" && n.PID != old
		})
	}
	l.end(0)
	t.Logf("%d kills of the service: %s", kills, l)
	if l.refused.Load() > 0 || l.failed.Load() > int64(clients*kills) {
		t.Errorf("want none refused, and at most the %d that each kill found in flight failed", clients)
	}
}

// logsWhole checks numbered lines.
func logsWhole(text string, n int) (lost, twice, mangled int) {
	seen := make([]bool, n)
	for line := range strings.Lines(text) {
		var i int
		rest := strings.TrimSuffix(line, " of the torture\n")
		if _, err := fmt.Sscanf(rest, "line %d", &i); err != nil || i >= n || rest != fmt.Sprintf("line %08d", i) {
			mangled++
			continue
		}
		if seen[i] {
			twice++
		}
		seen[i] = true
	}
	for _, ok := range seen {
		if !ok {
			lost++
		}
	}
	return lost, twice, mangled
}

// TestTortureLogs: no line is lost, doubled or torn, whoever dies between the
// service and the file.
func TestTortureLogs(t *testing.T) {
	torture(t)
	lines, kills := form(200_000, 1_000_000), form(20, 100)
	c := newCheckout(t, fmt.Sprintf(`service("lines", command = ["$T", "lines", "%d", "%d", "lines.done"], log = log(max_size = "1G"))`, lines, form(3000, 15000)))
	c.must("up", "-d", "--wait")
	got := murder(c.keeper(), kills, 150*time.Millisecond)
	early := c.read("lines.done") == ""
	longest := time.Duration(c.number("lines.done")) * time.Microsecond
	c.await("the last line", func() bool {
		return strings.Contains(c.orrery("logs", "lines", "-n", "1").out, fmt.Sprintf("line %08d", lines-1))
	})
	lost, twice, mangled := logsWhole(c.must("logs", "lines", "--stream", "out").out, lines)
	t.Logf("%d lines, %d kills of the engine: %d lost, %d doubled, %d mangled; the longest write took %s", lines, got, lost, twice, mangled, ms(longest))
	if lost+twice+mangled > 0 || got < kills {
		t.Error("want every line once, as it was")
	}
	if !early {
		t.Log("the lines were over before the kills")
	}
	files, _ := filepath.Glob(c.path(".orrery/logs/*"))
	if len(files) == 0 {
		t.Error("no logs were kept")
	}
}
