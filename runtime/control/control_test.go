package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A test that needs another process starts this binary again with a role.
func TestMain(m *testing.M) {
	switch os.Getenv("CONTROL_ROLE") {
	case "":
		os.Exit(m.Run())
	case "engine":
		fatal(beEngine(os.Getenv("CONTROL_ARG")))
	case "client":
		fatal(beClient(os.Getenv("CONTROL_ARG")))
	case "stranger":
		fatal(beStranger(os.Getenv("CONTROL_ARG")))
	}
}

func fatal(err error) {
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

// beEngine serves a project until it is killed.
func beEngine(project string) error {
	p, err := Locate(project)
	if err != nil {
		return err
	}
	lock, err := Acquire(p)
	if err != nil {
		return err
	}
	l, err := lock.Listen()
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return Serve(context.Background(), l, handlerFunc(echo))
}

// beClient follows a stream until it is killed.
func beClient(project string) error {
	p, err := Locate(project)
	if err != nil {
		return err
	}
	c, err := Dial(context.Background(), p)
	if err != nil {
		return err
	}
	return c.Stream(context.Background(), "hang", nil, func(json.RawMessage) error {
		fmt.Println("ready")
		return nil
	})
}

// beStranger tells what a socket says to this user.
func beStranger(socket string) error {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	fmt.Fprintf(c, "{\"orrery\":1,\"version\":\"x\"}\n{\"id\":1,\"method\":\"echo\"}\n")
	io.Copy(os.Stdout, c)
	return nil
}

// startRole starts this binary in a role; it is killed at the end of the test, if not before.
func startRole(t *testing.T, role, arg string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	if runtime.GOOS != "linux" {
		cmd = exec.Command(os.Args[0])
	}
	cmd.Env = append(os.Environ(), "CONTROL_ROLE="+role, "CONTROL_ARG="+arg)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, bufio.NewReader(out)
}

func wantLine(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	got, err := r.ReadString('\n')
	if err != nil || strings.TrimSpace(got) != want {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

type handlerFunc func(context.Context, *Conn, string, json.RawMessage, func(any) error) (any, error)

func (f handlerFunc) Call(ctx context.Context, c *Conn, method string, params json.RawMessage, emit func(any) error) (any, error) {
	return f(ctx, c, method, params, emit)
}

// echo is a handler with one method of each kind.
func echo(ctx context.Context, _ *Conn, method string, params json.RawMessage, emit func(any) error) (any, error) {
	switch method {
	case "echo":
		return params, nil
	case "count":
		var p struct{ N int }
		if err := Decode(params, &p); err != nil {
			return nil, err
		}
		for i := range p.N {
			if err := emit(i); err != nil {
				return nil, err
			}
		}
		return nil, nil
	case "hang":
		if err := emit("hanging"); err != nil {
			return nil, err
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return nil, &Error{Code: CodeUnknownMethod}
}

// newPlace is the place of a project in a fresh directory whose paths are short.
func newPlace(t *testing.T) Place {
	t.Helper()
	dir, err := os.MkdirTemp("", "o")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("XDG_RUNTIME_DIR", dir)
	file := filepath.Join(dir, "services.star")
	check(t, os.WriteFile(file, nil, 0o644))
	p, err := Locate(file)
	check(t, err)
	return p
}

// serve runs a server for a new place until the test ends.
func serve(t *testing.T, l limits, h handlerFunc) Place {
	t.Helper()
	noLeaks(t)
	p := newPlace(t)
	lock, err := Acquire(p)
	check(t, err)
	n, err := lock.Listen()
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- (&server{handler: h, version: "test", limits: l}).serve(ctx, n) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
		check(t, lock.Release())
	})
	return p
}

// client is a connection that is closed at the end of the test.
func client(t *testing.T, p Place) *Client {
	t.Helper()
	c, err := Dial(t.Context(), p)
	check(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// plain is a connection without a client's manners.
type plain struct {
	net.Conn
	r *bufio.Reader
}

func dialPlain(t *testing.T, socket string) *plain {
	t.Helper()
	c, err := net.Dial("unix", socket)
	check(t, err)
	t.Cleanup(func() { c.Close() })
	check(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return &plain{c, bufio.NewReader(c)}
}

func (p *plain) send(t *testing.T, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if _, err := io.WriteString(p, line+"\n"); err != nil {
			t.Fatal(err)
		}
	}
}

// get reads the next line.
func (p *plain) get(t *testing.T) string {
	t.Helper()
	line, err := p.r.ReadBytes('\n')
	if err != nil {
		t.Fatalf("got %v after %q, want a line", err, line)
	}
	return string(bytes.TrimSpace(line))
}

// over waits for the end of the connection.
func (p *plain) over(t *testing.T) {
	t.Helper()
	if line, err := p.r.ReadBytes('\n'); err == nil {
		t.Fatalf("got %q, want the end of the connection", line)
	} else if os.IsTimeout(err) {
		t.Fatal("the connection was not closed")
	}
}

// noLeaks fails the test when goroutines outlive it.
func noLeaks(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				buf := make([]byte, 1<<20)
				t.Fatalf("%d goroutines, want %d:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
			}
		}
	})
}

// soon fails the test when an event does not come.
func soon[T any](t *testing.T, c <-chan T, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("did not come: %s", what)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, err error, part string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), part) {
		t.Fatalf("got error %v, want one with %q", err, part)
	}
}
