package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
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
	l := &strictLoad{addr: fmt.Sprintf("127.0.0.1:%d", port), keep: keep}
	l.begin()
	restarts, most := 0, form(4, 40)
	for restarts < most {
		c.must("restart", "web")
		restarts++
	}
	l.end(form(1000, 20000))
	t.Logf("%d restarts, %s", restarts, l)
	if l.refused.Load()+l.failed.Load() > 0 {
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

// strictLoad sends requests of which none is tried a second time, as a client
// would that knows that it must not.
type strictLoad struct {
	addr                  string
	keep                  bool // use a connection until the server says that it closes
	sent, refused, failed atomic.Int64
	reused                atomic.Int64
	stop                  atomic.Bool
	done                  sync.WaitGroup
	first                 sync.Map
}

func (l *strictLoad) begin() {
	for range 8 {
		l.done.Go(func() {
			var c net.Conn
			var r *bufio.Reader
			for !l.stop.Load() {
				if c == nil {
					var err error
					if c, err = net.DialTimeout("tcp", l.addr, 10*time.Second); err != nil {
						l.count(err)
						c = nil
						continue
					}
					r = bufio.NewReader(c)
				} else {
					l.reused.Add(1)
				}
				more, err := l.request(c, r)
				l.count(err)
				if !more {
					c.Close()
					c = nil
				}
				time.Sleep(time.Millisecond) // the pace of a client
			}
			if c != nil {
				c.Close()
			}
		})
	}
}

// request sends one and reads the answer; more says that the connection serves
// for another one.
func (l *strictLoad) request(c net.Conn, r *bufio.Reader) (more bool, err error) {
	c.SetDeadline(time.Now().Add(20 * time.Second))
	header := ""
	if !l.keep {
		header = "Connection: close\r\n"
	}
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\n%s\r\n", header); err != nil {
		return false, err
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return false, err
	}
	body, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != 200 || len(body) < 5) {
		err = fmt.Errorf("got %s %q", resp.Status, body)
	}
	return err == nil && l.keep && !resp.Close, err
}

func (l *strictLoad) count(err error) {
	l.sent.Add(1)
	switch {
	case err == nil:
		return
	case errors.Is(err, syscall.ECONNREFUSED):
		l.refused.Add(1)
	default:
		l.failed.Add(1)
	}
	l.first.LoadOrStore(err.Error(), true)
}

// end waits until at least n were sent, and ends the load.
func (l *strictLoad) end(n int) {
	for l.sent.Load() < int64(n) {
		time.Sleep(time.Millisecond) // no event: the count is an atomic of all clients
	}
	l.stop.Store(true)
	l.done.Wait()
}

func (l *strictLoad) String() string {
	s := fmt.Sprintf("%d requests (%d on a kept connection), %d refused, %d failed", l.sent.Load(), l.reused.Load(), l.refused.Load(), l.failed.Load())
	l.first.Range(func(k, _ any) bool {
		s += "; " + k.(string)
		return true
	})
	return s
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
