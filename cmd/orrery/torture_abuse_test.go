package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// cpu is the processor time that a process has used, without its children.
func cpu(t testing.TB, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	f := strings.Fields(rest)
	user, _ := strconv.Atoi(f[11])
	sys, _ := strconv.Atoi(f[12])
	return time.Duration(user+sys) * 10 * time.Millisecond // USER_HZ is 100 everywhere
}

// share is the part of one processor that the pids use during a time.
func share(t testing.TB, during time.Duration, pids ...int) float64 {
	t.Helper()
	sum := func() (all time.Duration) {
		for _, pid := range pids {
			all += cpu(t, pid)
		}
		return all
	}
	before, began := sum(), time.Now()
	time.Sleep(during) // a measurement
	return 100 * float64(sum()-before) / float64(time.Since(began))
}

// memory reads one line of /proc/PID/smaps_rollup, such as "Pss", in bytes.
func memory(t testing.TB, what string, pids ...int) (all int64) {
	t.Helper()
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			t.Skip("no smaps_rollup: ", err)
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == what+":" {
				n, _ := strconv.ParseInt(f[1], 10, 64)
				all += n << 10
			}
		}
	}
	return all
}

// told reads what a bad server tells: connections, the most at a time, the bytes
// of the longest answer.
func (c *checkout) told(file string) (count, most, longest int64) {
	fmt.Sscan(c.read(file), &count, &most, &longest)
	return count, most, longest
}

// TestTortureProbes: a probed server that hangs, does not stop talking or
// changes its mind does the engine no harm.
func TestTortureProbes(t *testing.T) {
	torture(t)
	p := freePorts(t, 3)
	c := newCheckout(t, fmt.Sprintf(`
service("hang", command = ["$T", "bad", "hang", "%d", "hang.told"], ports = {"http": port(%[1]d, strict = True)},
    ready = probe.http("/", timeout = "200ms"))
service("huge", command = ["$T", "bad", "huge", "%d", "huge.told"], ports = {"http": port(%[2]d, strict = True)},
    ready = probe.http("/", timeout = "1s"), live = probe.http("/", period = "100ms", timeout = "1s"))
flap = service("flap", command = ["$T", "bad", "flap", "%d", "flap.told"], ports = {"http": port(%[3]d, strict = True)},
    ready = probe.http("/"), live = probe.http("/", period = "50ms", timeout = "5s", failure = 2))
service("dependent", command = ["$T", "sleep", "dependent"], after = [flap], cascade = True)
`, p[0], p[1], p[2]))
	c.must("up", "-d")
	c.await("huge", func() bool { return c.node("huge").State == "ready" })
	c.await("dependent", func() bool { return c.node("dependent").State == "ready" })
	keeper := c.keeper()
	engine := enginesOf(keeper)[0]
	busy := share(t, time.Duration(form(2, 20))*time.Second, keeper, engine)
	c.await("probes of flap", func() bool { n, _, _ := c.told("flap.told"); return n > int64(form(60, 200)) })
	tries, most, _ := c.told("hang.told")
	if most > 1 || tries < 3 {
		t.Errorf("hang: got %d tries, %d at a time, want at most one outstanding", tries, most)
	}
	if n := c.node("hang"); n.State != "starting" {
		t.Errorf("hang: got %+v, want starting", n)
	}
	answers, _, longest := c.told("huge.told")
	if longest > 16<<20 { // what the kernel's buffers took counts
		t.Errorf("huge: %d bytes of one answer were taken", longest)
	}
	probes, _, _ := c.told("flap.told")
	flap, dependent := c.node("flap"), c.node("dependent")
	if flap.Restarts+dependent.Restarts > 0 || dependent.State != "ready" {
		t.Errorf("flap %+v and dependent %+v, want no restart: no two probes failed in a row", flap, dependent)
	}
	rss := memory(t, "Rss", engine)
	t.Logf("hang: %d tries, %d outstanding at most; huge: %d answers of 1 GB, at most %d KB taken; flap: %d probes by turns, 0 restarts; engine: %.1f %% of a processor, RSS %d MB",
		tries, most, answers, longest>>10, probes, busy, rss>>20)
	if rss > 96<<20 {
		t.Errorf("the engine has %d MB", rss>>20)
	}
}

// TestTortureCrashLoop: twenty services that crash at once cost little, and the
// waits between their starts are those documented: none, then the delay, and
// twice as much each time.
func TestTortureCrashLoop(t *testing.T) {
	torture(t)
	c := newCheckout(t, `
for i in range(20):
    service("crash/%d" % i, command = ["$T", "crash", "crash%d" % i], restart = restart.on_failure(max = None, delay = "100ms", factor = 2, cap = "30s"))
`)
	c.must("up", "-d")
	const starts = 7 // 0, 0, 100, 200, 400, 800, 1600 ms
	c.await("the seventh starts", func() bool {
		for i := range 20 {
			if strings.Count(c.read(fmt.Sprintf("crash%d", i)), "\n") < starts {
				return false
			}
		}
		return true
	})
	keeper := c.keeper()
	busy := share(t, 3*time.Second, keeper, enginesOf(keeper)[0])
	var worst time.Duration
	for i := range 20 {
		var last int64
		for k, line := range strings.Split(strings.TrimSpace(c.read(fmt.Sprintf("crash%d", i))), "\n")[:starts] {
			at, _ := strconv.ParseInt(line, 10, 64)
			wait := time.Duration(0)
			if k > 1 {
				wait = 100 * time.Millisecond << (k - 2)
			}
			if got := time.Duration(at - last); k > 0 {
				worst = max(worst, got-wait)
				if got < wait*9/10 || got > wait*11/10+time.Second {
					t.Errorf("crash/%d: start %d came after %s, want %s", i, k, got, wait)
				}
			}
			last = at
		}
	}
	t.Logf("20 crash loops: %d waits as documented, at most %s late with the start; keeper and engine use %.1f %% of a processor", 20*(starts-1), ms(worst), busy)
	if busy > 25 {
		t.Errorf("got %.1f %% of a processor", busy)
	}
}

// TestTortureFlood: a service that floods its notify socket, and one that floods
// its log, hold up nobody else.
func TestTortureFlood(t *testing.T) {
	torture(t)
	datagrams := form(100_000, 1_000_000)
	c := newCheckout(t, fmt.Sprintf(`
service("flood", command = ["$T", "flood", "%d", "flooded"], ready = probe.notify())
service("chatter", command = ["$T", "chatter"], log = log(max_size = "4M", keep = 2), autostart = False)
service("ping", command = ["$T", "ping", "ping", "pinged"], ready = probe.notify(), autostart = False)
`, datagrams))
	c.must("up", "-d", "--wait")
	var ready []time.Duration
	measure := func() {
		os.Remove(c.path("pinged"))
		c.must("up", "-d", "ping", "--wait")
		n := c.node("ping")
		b, _ := os.ReadFile("/proc/uptime")
		up, _ := strconv.ParseFloat(strings.Fields(string(b))[0], 64)
		// When it was said, by the clock that the engine's answer is in.
		said := time.Now().Add(-time.Duration(up*1e9) + time.Duration(c.number("pinged")))
		ready = append(ready, n.ReadyAt.Sub(said))
		c.must("stop", "ping")
	}
	for c.read("flooded") == "" {
		measure()
	}
	during := len(ready)
	for len(ready) < 5 {
		measure()
	}
	_, most := p99(ready)
	t.Logf("%d datagrams (sent, ms): %s; %d READY of another service meanwhile, heard %s later (most)", datagrams, strings.TrimSpace(c.read("flooded")), during, ms(most))
	if most > 2*time.Second {
		t.Errorf("READY was heard %s later", most)
	}
	c.must("stop", "flood")

	c.must("up", "-d", "chatter", "--wait")
	var status []time.Duration
	for range form(50, 500) {
		status = append(status, c.must("status", "--json").took)
	}
	p, most := p99(status)
	size := int64(0)
	files, _ := filepath.Glob(c.path(".orrery/logs/*"))
	more, _ := filepath.Glob(c.path(".orrery/logs/*/*"))
	for _, f := range append(files, more...) {
		if st, err := os.Stat(f); err == nil && st.Mode().IsRegular() {
			size += st.Size()
		}
	}
	t.Logf("a service that writes as fast as it can: status takes %s (p99), %s (most); engine RSS %d MB, logs %d MB",
		ms(p), ms(most), memory(t, "Rss", enginesOf(c.keeper())[0])>>20, size>>20)
	if p > 2*time.Second || size > 64<<20 {
		t.Errorf("want an answer, and logs that are rotated at 4 MB, two kept")
	}
}

// TestTortureDiskFull: with no room for logs services go on, what is lost is
// said, and it is over when there is room again.
func TestTortureDiskFull(t *testing.T) {
	torture(t)
	if os.Geteuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	const n = 100_000 // 28 bytes each
	c := newCheckout(t, fmt.Sprintf(`service("lines", command = ["$T", "lines", "%d", "500", "lines.done"])`, n))
	if err := os.MkdirAll(c.path(".orrery/logs"), 0o700); err != nil {
		t.Fatal(err)
	}
	os.Chmod(c.path(".orrery"), 0o700)
	up := exec.Command("unshare", "-m", "sh", "-c", `mount -t tmpfs -o size=1m,mode=700 tmpfs .orrery/logs && exec "$0" up -d --wait`, c.programs.orrery)
	up.Dir, up.Env = c.dir, c.env
	if r := c.finish(up); r.code != 0 {
		if c.keeper() == 0 && strings.Contains(r.err, "mount") {
			t.Skip("cannot mount in a private name space: ", r.err)
		}
		t.Fatal(r)
	}
	inside := func(args ...string) ran {
		cmd := exec.Command("nsenter", append([]string{"-t", strconv.Itoa(c.keeper()), "-m", "sh", "-c", `cd "$0" && exec "$@"`, c.dir}, args...)...)
		cmd.Env = c.env
		return c.finish(cmd)
	}
	longest := time.Duration(c.number("lines.done")) * time.Microsecond
	if longest > 2*time.Second {
		t.Errorf("the service was blocked for %s", longest)
	}
	if n := c.node("lines"); n.State != "ready" {
		t.Errorf("got %+v, want ready", n)
	}
	early := inside(c.programs.orrery, "logs", "lines", "-v")

	// Room again: what was lost is said, and what comes next is kept.
	if r := inside("mount", "-o", "remount,size=64m", c.path(".orrery/logs")); r.code != 0 {
		t.Fatal(r)
	}
	os.Remove(c.path("lines.done"))
	if r := inside(c.programs.orrery, "restart", "lines"); r.code != 0 {
		t.Fatal(r)
	}
	c.number("lines.done")
	var text string
	c.await("the last line", func() bool {
		r := inside(c.programs.orrery, "logs", "lines", "-v")
		text = r.out + r.err
		return strings.Contains(r.out, fmt.Sprintf("line %08d", n-1))
	})
	whole, marks := 0, ""
	for line := range strings.Lines(text) {
		switch {
		case strings.Contains(line, " of the torture"):
			whole++
		case strings.Contains(line, "dropped"):
			marks = strings.TrimSpace(line)
		}
	}
	t.Logf("%d lines into 1 MB: the longest write took %s; with room again %d of %d lines are there, and it says: %s (while the disk was full: %v)",
		n, ms(longest), whole, 2*n, marks, strings.Contains(early.out+early.err, "dropped"))
	if marks == "" || whole < n || whole >= 2*n {
		t.Errorf("want the lines of the second run, some of the first, and a mark that says how much is gone:\n%s", tail(text, 20))
	}
}
