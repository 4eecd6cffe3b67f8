package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const ourHello = `{"orrery":1,"version":"plain"}`

// What a client without our code sees on the wire.
func TestWire(t *testing.T) {
	p := serve(t, defaultLimits(), echo)
	c := dialPlain(t, p.Socket)
	for _, row := range []struct{ send, want string }{
		{ourHello, `{"orrery":1,"version":"test"}`},
		{`{"id":1,"method":"echo","params":{"a":"<&>"}}`, `{"id":1,"result":{"a":"<&>"}}`},
		{`{"id":1,"method":"echo"}`, `{"id":1,"result":null}`},
		{`{"id":9,"cancel":true}`, ``},
		{`{"id":2,"method":"count","params":{"n":2}}`, `{"id":2,"event":0}`},
		{``, `{"id":2,"event":1}`},
		{``, `{"id":2,"done":true}`},
		{`{"id":3,"method":"hang"}`, `{"id":3,"event":"hanging"}`},
		{`{"id":3,"cancel":true}`, `{"id":3,"error":{"code":"cancelled","message":"hang: cancelled"}}`},
		{`{"id":4,"method":"count","params":{"m":2}}`, `{"id":4,"error":{"code":"bad_request","message":"cannot read params: json: unknown field \"m\""}}`},
		{`{"id":5,"method":"dance"}`, "{\"id\":5,\"error\":{\"code\":\"unknown_method\",\"message\":\"unknown method \\\"dance\\\"\",\"hint\":\"the running engine is version test; `orrery down` and start it again with this version\"}}"},
	} {
		if row.send != "" {
			c.send(t, row.send)
		}
		if row.want == "" {
			continue
		}
		if got := c.get(t); got != row.want {
			t.Errorf("%s:\ngot  %s\nwant %s", row.send, got, row.want)
		}
	}
}

// Lines that are no requests are answered, and end the connection; others go on.
func TestGarbage(t *testing.T) {
	l := defaultLimits()
	l.line = 1000
	p := serve(t, l, echo)
	other := client(t, p)
	for line, want := range map[string]string{
		"GET / HTTP/1.1":           "cannot read request",
		"\x00\xff\x1b]52;":         "cannot read request",
		`{"id":0,"method":"echo"}`: "without an id",
		strings.Repeat("x", 5000):  "over 1000 bytes",
		`{"id":1,"method":"hang"}` + "\n" + `{"id":1,"method":"hang"}`:      "got id 1 for a second request",
		`{"id":1,"method":"echo","params":{"a":` + strings.Repeat("[", 500): "cannot read request",
	} {
		c := dialPlain(t, p.Socket)
		c.send(t, ourHello)
		c.get(t)
		c.Write([]byte(line + "\n")) // the server may close before it has all
		var got string
		for got = c.get(t); !strings.HasPrefix(got, `{"error":`); got = c.get(t) {
		}
		if !strings.Contains(got, `"bad_request"`) || !strings.Contains(got, want) {
			t.Errorf("%.60s: got %s, want bad_request with %q", line, got, want)
		}
		c.over(t)
	}
	check(t, other.Call(t.Context(), "echo", nil, nil))
}

func TestHelloIsRequired(t *testing.T) {
	l := defaultLimits()
	l.hello = 50 * time.Millisecond
	p := serve(t, l, echo)
	for send, want := range map[string]string{
		`{"orrery":2,"version":"9"}`: `{"error":{"code":"refused","message":"got protocol 2, want 1"}}`,
		`{"id":1,"method":"echo"}`:   `bad_request`,
		"nonsense":                   `bad_request`,
		strings.Repeat("x", 5000):    `bad_request`,
	} {
		c := dialPlain(t, p.Socket)
		c.get(t)
		c.send(t, send)
		if got := c.get(t); !strings.Contains(got, want) {
			t.Errorf("%.60s: got %s, want %s", send, got, want)
		}
		c.over(t)
	}
	silent := dialPlain(t, p.Socket)
	silent.get(t)
	silent.over(t)
}

func TestManyRequests(t *testing.T) {
	l := defaultLimits()
	l.calls = 2
	p := serve(t, l, echo)
	c := dialPlain(t, p.Socket)
	c.send(t, ourHello)
	c.get(t)
	for i := 1; i <= 2; i++ {
		c.send(t, fmt.Sprintf(`{"id":%d,"method":"hang"}`, i))
		c.get(t)
	}
	c.send(t, `{"id":3,"method":"echo"}`)
	if got := c.get(t); !strings.Contains(got, "more than 2 requests") {
		t.Errorf("got %s", got)
	}
	c.send(t, `{"id":1,"cancel":true}`)
	c.get(t)
	c.send(t, `{"id":4,"method":"echo"}`)
	if got, want := c.get(t), `{"id":4,"result":null}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFiftyClients(t *testing.T) {
	p := serve(t, defaultLimits(), echo)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			c, err := Dial(context.Background(), p)
			if err != nil {
				t.Errorf("client %d: %v", i, err)
				return
			}
			defer c.Close()
			var calls sync.WaitGroup
			for j := range 10 {
				calls.Go(func() {
					var got []int
					if err := c.Call(context.Background(), "echo", []int{i, j}, &got); err != nil || len(got) != 2 || got[0] != i || got[1] != j {
						t.Errorf("client %d, call %d: got %v, %v", i, j, got, err)
					}
				})
			}
			next := 0
			err = c.Stream(context.Background(), "count", map[string]int{"n": 100}, func(m json.RawMessage) error {
				if want := fmt.Sprint(next); string(m) != want {
					return fmt.Errorf("got event %s, want %s", m, want)
				}
				next++
				return nil
			})
			if err != nil || next != 100 {
				t.Errorf("client %d: got %d events, %v", i, next, err)
			}
			calls.Wait()
		})
	}
	wg.Wait()
}

// A client that does not read is dropped; emit never waits for it, and others go on.
func TestSlowClientIsDropped(t *testing.T) {
	dropped := make(chan error, 1)
	l := defaultLimits()
	l.queue = 64 << 10
	p := serve(t, l, func(ctx context.Context, c *Conn, method string, params json.RawMessage, emit func(any) error) (any, error) {
		if method != "flood" {
			return echo(ctx, c, method, params, emit)
		}
		var err error
		for line := strings.Repeat("x", 1000); err == nil; {
			err = emit(line)
		}
		<-c.Closed()
		dropped <- err
		return nil, err
	})
	good := client(t, p)
	stopped := dialPlain(t, p.Socket)
	stopped.send(t, ourHello, `{"id":1,"method":"flood"}`)
	for flooding := true; flooding; {
		check(t, good.Call(t.Context(), "echo", nil, nil))
		select {
		case err := <-dropped:
			if !errors.Is(err, errQueueFull) {
				t.Errorf("got %v, want %v", err, errQueueFull)
			}
			flooding = false
		default:
		}
	}
	n := 0
	check(t, good.Stream(t.Context(), "count", map[string]int{"n": 100}, func(json.RawMessage) error { n++; return nil }))
	if n != 100 {
		t.Errorf("got %d events, want 100", n)
	}
}

// One answer may be larger than the queue, but not than a line.
func TestLargeAnswers(t *testing.T) {
	l := defaultLimits()
	l.queue, l.line = 1000, 1<<20
	p := serve(t, l, func(_ context.Context, _ *Conn, method string, _ json.RawMessage, _ func(any) error) (any, error) {
		switch method {
		case "large":
			return strings.Repeat("x", 500_000), nil
		case "huge":
			return strings.Repeat("x", 2<<20), nil
		}
		return make(chan int), nil
	})
	c := client(t, p)
	var got string
	check(t, c.Call(t.Context(), "large", nil, &got))
	if len(got) != 500_000 {
		t.Errorf("got %d bytes", len(got))
	}
	wantCode(t, c.Call(t.Context(), "huge", nil, &got), CodeInternal)
	wantCode(t, c.Call(t.Context(), "not json", nil, &got), CodeInternal)
}

func TestKilledClientIsNoticed(t *testing.T) {
	type seen struct {
		c   *Conn
		ctx context.Context
	}
	called := make(chan seen, 1)
	p := serve(t, defaultLimits(), func(ctx context.Context, c *Conn, method string, params json.RawMessage, emit func(any) error) (any, error) {
		called <- seen{c, ctx}
		return echo(ctx, c, method, params, emit)
	})
	cmd, out := startRole(t, "client", p.Project)
	wantLine(t, out, "ready")
	s := <-called
	if s.c.UID() != os.Geteuid() || s.c.PID() != cmd.Process.Pid || s.c.GID() != os.Getegid() || s.c.ID() == 0 || s.c.Version() == "" {
		t.Errorf("got uid %d, pid %d, gid %d, id %d, version %q", s.c.UID(), s.c.PID(), s.c.GID(), s.c.ID(), s.c.Version())
	}
	select {
	case <-s.c.Closed():
		t.Error("closed while the client lives")
	default:
	}
	check(t, cmd.Process.Kill())
	start := time.Now()
	soon(t, s.ctx.Done(), "the call is cancelled")
	soon(t, s.c.Closed(), "the connection is closed")
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("noticed after %v", d)
	}
}

func TestErrorsOfHandlers(t *testing.T) {
	want := &Error{Code: CodeUnknownTarget, Message: "no node is called dbb", Hint: "did you mean db?"}
	p := serve(t, defaultLimits(), func(_ context.Context, _ *Conn, method string, _ json.RawMessage, _ func(any) error) (any, error) {
		switch method {
		case "typed":
			return nil, fmt.Errorf("wrapped: %w", want)
		case "deadline":
			return nil, context.DeadlineExceeded
		case "panic":
			panic("oops")
		}
		return nil, errors.New("plain")
	})
	c := client(t, p)
	var got *Error
	if err := c.Call(t.Context(), "typed", nil, nil); !errors.As(err, &got) || *got != *want {
		t.Errorf("got %#v, want %#v", got, want)
	}
	wantCode(t, c.Call(t.Context(), "deadline", nil, nil), CodeTimeout)
	wantCode(t, c.Call(t.Context(), "plain", nil, nil), CodeInternal)
	err := c.Call(t.Context(), "panic", nil, nil)
	wantCode(t, err, CodeInternal)
	wantError(t, err, "panic: oops")
}

// The engine ends itself in the course of a request: its answer still arrives.
func TestLastAnswerArrives(t *testing.T) {
	noLeaks(t)
	for range 20 {
		p := newPlace(t)
		lock, err := Acquire(p)
		check(t, err)
		l, err := lock.Listen()
		check(t, err)
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		var late func(any) error
		go func() {
			ended <- Serve(ctx, l, handlerFunc(func(_ context.Context, _ *Conn, _ string, _ json.RawMessage, emit func(any) error) (any, error) {
				late = emit
				err := emit("stopping")
				stop()
				return "down", err
			}))
		}()
		c, err := Dial(t.Context(), p)
		check(t, err)
		var got string
		check(t, c.Call(t.Context(), "down", nil, &got))
		if got != "down" {
			t.Errorf("got %q, want down", got)
		}
		check(t, <-ended)
		soon(t, c.Done(), "the client notices")
		if err := late(1); err == nil {
			t.Error("got no error of an emit after the call")
		}
		check(t, c.Close())
		check(t, lock.Release())
	}
}

func TestAcceptFails(t *testing.T) {
	noLeaks(t)
	p := newPlace(t)
	check(t, p.Make())
	l, err := net.Listen("unix", p.Socket)
	check(t, err)
	flaky := &flakyListener{Listener: l}
	flaky.left.Store(3)
	ended := make(chan error, 1)
	go func() { ended <- Serve(context.Background(), flaky, handlerFunc(echo)) }()
	c, err := Dial(t.Context(), p)
	check(t, err)
	check(t, c.Call(t.Context(), "echo", nil, nil))
	l.Close()
	wantError(t, <-ended, "cannot accept")
	soon(t, c.Done(), "the client notices")
	c.Close()
}

// flakyListener runs out of files a few times.
type flakyListener struct {
	net.Listener
	left atomic.Int32
}

func (f *flakyListener) Accept() (net.Conn, error) {
	if f.left.Add(-1) >= 0 {
		return nil, &os.SyscallError{Syscall: "accept", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}

func TestAdmit(t *testing.T) {
	check(t, admit(peer{uid: 1000}, 1000))
	check(t, admit(peer{uid: 0}, 1000))
	check(t, admit(peer{uid: -1}, 1000))
	wantError(t, admit(peer{uid: 1001}, 1000), "got uid 1001")
	wantError(t, admit(peer{uid: 1000}, 0), "got uid 1000")
}

// Even where file modes let another user in, the server does not serve it.
func TestStrangerIsRefused(t *testing.T) {
	needRoot(t)
	noLeaks(t)
	dir, err := os.MkdirTemp("", "o")
	check(t, err)
	defer os.RemoveAll(dir)
	check(t, os.Chmod(dir, 0o755))
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	check(t, err)
	check(t, os.Chmod(socket, 0o777))
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, l, handlerFunc(func(context.Context, *Conn, string, json.RawMessage, func(any) error) (any, error) {
			t.Error("a stranger was served")
			return nil, nil
		}))
	}()
	cmd := exec.Command("/proc/self/exe")
	cmd.Dir = "/"
	cmd.Env = []string{"CONTROL_ROLE=stranger", "CONTROL_ARG=" + socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte(`"refused"`)) || !bytes.Contains(out, []byte("got uid 65534")) {
		t.Errorf("got %s, %v, want a refusal", out, err)
	}
	stop()
	check(t, <-ended)
}

// The modes that Lock.Listen gives keep another user from connecting at all.
func TestStrangerCannotConnect(t *testing.T) {
	needRoot(t)
	p := serve(t, defaultLimits(), echo)
	cmd := exec.Command("/proc/self/exe")
	cmd.Dir = "/"
	cmd.Env = []string{"CONTROL_ROLE=stranger", "CONTROL_ARG=" + p.Socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("permission denied")) {
		t.Errorf("got %s, %v, want permission denied", out, err)
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("got %v, want an error with code %s", err, code)
	}
}
