package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// drainers are the servers of docs/guide-sockets.md.
func drainers() map[string][]string {
	return map[string][]string{"go": {"server"}, "node": {"node", "server.js"}, "python": {"python3", "server.py"}}
}

// TestDrain restarts servers that drain, under requests of strict clients: none
// is refused and none fails, whether connections are kept or not, and whether
// the next instance starts before the former one is told to stop or after.
func TestDrain(t *testing.T) {
	torture(t)
	for name, argv := range drainers() {
		if name != "go" {
			if _, err := exec.LookPath(argv[0]); err != nil {
				t.Logf("%s is not installed", argv[0])
				continue
			}
		}
		for _, overlap := range []bool{false, true} {
			for _, keep := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/overlap=%v/keepalive=%v", name, overlap, keep), func(t *testing.T) {
					drain(t, argv, overlap, keep)
				})
			}
		}
	}
}

func drain(t *testing.T, argv []string, overlap, keep bool) {
	source, err := filepath.Abs("testdata/drain")
	if err != nil {
		t.Fatal(err)
	}
	port := freePorts(t, 1)[0]
	if argv[0] == "server" {
		argv = []string{drainServer(t)}
	} else {
		argv = []string{argv[0], filepath.Join(source, argv[1])}
	}
	ready, restart := "None", "restart.on_failure()"
	if overlap {
		ready, restart = `probe.notify()`, "restart.on_failure(overlap = True)"
	}
	c := newCheckout(t, fmt.Sprintf(`service("web", command = %s, listen = {"http": socket.tcp(%d, strict = True)}, ready = %s, restart = %s, notify_access = "all")`,
		starList(argv), port, ready, restart))
	c.must("up", "-d", "--wait")
	l := &strictLoad{addr: fmt.Sprintf("127.0.0.1:%d", port), keep: keep, clients: 8, protocol: protocol{ask: askHTTP}}
	l.begin()
	restarts, most := 0, form(4, 40)
	for restarts < most {
		c.must("restart", "web")
		restarts++
	}
	l.end(form(1000, 20000))
	t.Logf("%d restarts, %s", restarts, l)
	if l.refused.Load()+l.away.Load()+l.failed.Load() > 0 {
		t.Error("want no request refused and none failed")
	}
	if n := c.node("web"); n.State != "ready" {
		t.Errorf("got %+v, want it ready", n)
	}
}

// drainServer builds the server in Go, once.
var drainServer = func() func(*testing.T) string {
	build := sync.OnceValues(func() (string, error) {
		b, err := programs()
		if err != nil {
			return "", err
		}
		exe := filepath.Join(filepath.Dir(b.orrery), "drain")
		if out, err := exec.Command("go", "build", "-o", exe, "./testdata/drain/server.go").CombinedOutput(); err != nil {
			return "", fmt.Errorf("cannot build the server: %w\n%s", err, out)
		}
		return exe, nil
	})
	return func(t *testing.T) string {
		exe, err := build()
		if err != nil {
			t.Fatal(err)
		}
		return exe
	}
}()

func starList(items []string) string {
	s := "["
	for _, i := range items {
		s += fmt.Sprintf("%q, ", i)
	}
	return s + "]"
}

// TestGuideSockets: what the guide shows is in the servers that are tested.
func TestGuideSockets(t *testing.T) {
	guide, err := os.ReadFile("../../docs/guide-sockets.md")
	if err != nil {
		t.Fatal(err)
	}
	space := regexp.MustCompile(`\s+`)
	var all string
	for _, name := range []string{"server.go", "server.js", "server.py"} {
		b, err := os.ReadFile(filepath.Join("testdata/drain", name))
		if err != nil {
			t.Fatal(err)
		}
		all += space.ReplaceAllString(string(b), " ")
	}
	blocks := regexp.MustCompile("(?s)```\\w+ no-run: part of a server[^\n]*\n(.*?)```").FindAllStringSubmatch(string(guide), -1)
	if len(blocks) != 3 {
		t.Fatalf("got %d blocks of code", len(blocks))
	}
	for _, b := range blocks {
		if code := strings.TrimSpace(space.ReplaceAllString(b[1], " ")); !strings.Contains(all, code) {
			t.Errorf("this is in none of the servers:\n%s", b[1])
		}
	}
}
