package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"orrery/lang/graph"
)

// makeProbe makes a probe that must be valid.
func makeProbe(t *testing.T, p graph.Probe, target Target) Probe {
	t.Helper()
	q, err := New(&p, target)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// check makes one try in the given time.
func check(t *testing.T, p Probe, timeout time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	start := time.Now()
	err := p.Check(ctx)
	if d := time.Since(start); d > timeout+5*time.Second {
		t.Errorf("the try took %v, want it to end soon after %v", d, timeout)
	}
	return err
}

// want looks for all words in an error; no words: no error.
func want(t *testing.T, err error, words ...string) {
	t.Helper()
	if len(words) == 0 && err != nil {
		t.Errorf("got %v, want no error", err)
	}
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("got %v, want %q in it", err, w)
		}
	}
}

const long = 10 * time.Second

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil && strings.Contains(address, "::1") {
		t.Skipf("no IPv6 here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

func TestTCP(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	p := makeProbe(t, graph.Probe{Kind: "tcp", Host: graph.Lit("127.0.0.1")}, Target{
		Port: portOf(l),
		Warn: func(s string) { t.Errorf("got warning %q", s) },
	})
	want(t, check(t, p, long))
	l.Close()
	want(t, check(t, p, long), "connect "+l.Addr().String()+": connection refused")
}

// On a port of the ephemeral range on which nobody listens we can meet our own
// connection: that is not an answer.
func TestTCPDoesNotMeetItself(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	l.Close()
	p := makeProbe(t, graph.Probe{Kind: "tcp"}, Target{Port: portOf(l)})
	p.(*tcpProbe).LocalAddr = l.Addr() // what the kernel picks now and then
	want(t, check(t, p, long), "connection refused")
}

func TestTCPOnIPv6Only(t *testing.T) {
	l := listen(t, "tcp", "[::1]:0")
	var warnings []string
	p := makeProbe(t, graph.Probe{Kind: "tcp", Port: graph.Lit(strconv.Itoa(portOf(l)))}, Target{
		Warn: func(s string) { warnings = append(warnings, s) },
	})
	for range 3 {
		want(t, check(t, p, long))
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "[::1]:"+strconv.Itoa(portOf(l))) {
		t.Errorf("got warnings %q, want one that names [::1]", warnings)
	}
	p = makeProbe(t, graph.Probe{Kind: "tcp", Host: graph.Lit("::1")}, Target{
		Port: portOf(l),
		Warn: func(s string) { t.Errorf("got warning %q for a host that was asked for", s) },
	})
	want(t, check(t, p, long))
}

func TestUnix(t *testing.T) {
	dir, err := os.MkdirTemp("", "o")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	p := makeProbe(t, graph.Probe{Kind: "unix", Socket: graph.Lit("s")}, Target{Dir: dir})
	want(t, check(t, p, long), "connect "+path+": no such file or directory")
	l := listen(t, "unix", path)
	want(t, check(t, p, long))
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	want(t, check(t, p, long), "connect "+path+": connection refused")
	_, err = New(&graph.Probe{Kind: "unix", Socket: graph.Lit("/" + strings.Repeat("x", 200))}, Target{})
	want(t, err, "cannot make probe.unix: socket: got a path of 201 bytes")
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	p := makeProbe(t, graph.Probe{Kind: "file", File: graph.Lit("gate")}, Target{Dir: dir})
	want(t, check(t, p, long), "file "+filepath.Join(dir, "gate")+": it does not exist")
	if err := os.WriteFile(filepath.Join(dir, "gate"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, check(t, p, long))
	p = makeProbe(t, graph.Probe{Kind: "file", File: graph.Lit("gate/x")}, Target{Dir: dir})
	want(t, check(t, p, long), "not a directory")
}

func TestLog(t *testing.T) {
	var lines []string
	p := makeProbe(t, graph.Probe{Kind: "log", Regex: `^ready on \d+$`}, Target{Lines: func(yield func([]byte) bool) error {
		for len(lines) > 0 {
			line := lines[0]
			lines = lines[1:]
			if !yield([]byte(line)) {
				return nil
			}
		}
		return nil
	}})
	want(t, check(t, p, long), "log: got no line that matches", `ready on \\d+`)
	lines = []string{"starting", "not ready on 80"}
	want(t, check(t, p, long), "got no line")
	lines = []string{"\x1b[32;1mready\x1b[0m on 80", "more"}
	want(t, check(t, p, long))
	lines = nil
	want(t, check(t, p, long)) // what was seen stays seen
	_, err := New(&graph.Probe{Kind: "log", Regex: "("}, Target{})
	want(t, err, "cannot make probe.log: regex:")
	broken := makeProbe(t, graph.Probe{Kind: "log", Regex: "x"}, Target{Lines: func(func([]byte) bool) error { return os.ErrPermission }})
	want(t, check(t, broken, long), "log: permission denied")
}

func TestNewRefuses(t *testing.T) {
	ref := graph.RefText(graph.Ref{Name: "db", Attr: "ports.tcp"})
	failing := Target{Fill: func(graph.Text) (string, error) { return "", errors.New("db has no port") }}
	for _, test := range []struct {
		p    graph.Probe
		t    Target
		want string
	}{
		{graph.Probe{Kind: "tcp"}, Target{}, "cannot make probe.tcp: the service has not exactly one port"},
		{graph.Probe{Kind: "tcp", Port: graph.Lit("http")}, Target{}, `port: got "http"`},
		{graph.Probe{Kind: "tcp", Port: graph.Lit("70000")}, Target{}, "port: got 70000"},
		{graph.Probe{Kind: "tcp", Port: ref}, Target{}, "want a text without references"},
		{graph.Probe{Kind: "tcp", Port: ref}, failing, "db has no port"},
		{graph.Probe{Kind: "http", Status: "ok"}, Target{Port: 1}, `status: got "ok"`},
		{graph.Probe{Kind: "http", Scheme: "ftp"}, Target{Port: 1}, `scheme: got "ftp"`},
		{graph.Probe{Kind: "exec"}, Target{}, "want a program"},
		{graph.Probe{Kind: "file"}, Target{}, "empty path"},
		{graph.Probe{Kind: "log", Regex: "x"}, Target{}, "no log"},
		{graph.Probe{Kind: "notify"}, Target{}, "cannot make probe.notify: it is not polled"},
		{graph.Probe{Kind: "fd"}, Target{}, "not polled"},
		{graph.Probe{Kind: "smtp"}, Target{}, "cannot make probe.smtp: got an unknown kind"},
	} {
		_, err := New(&test.p, test.t)
		want(t, err, test.want)
	}
}

func TestFill(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	ref := graph.RefText(graph.Ref{Name: "db", Attr: "ports.tcp"})
	target := Target{Fill: func(text graph.Text) (string, error) {
		return text.Fill(func(r graph.Ref) (string, error) {
			if r.Name != "db" {
				return "", fmt.Errorf("got %s", r)
			}
			return strconv.Itoa(portOf(l)), nil
		})
	}}
	want(t, check(t, makeProbe(t, graph.Probe{Kind: "tcp", Port: ref}, target), long))
}
