package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestCancelReachesTheHandler(t *testing.T) {
	cancelled := make(chan struct{}, 2)
	p := serve(t, defaultLimits(), func(ctx context.Context, c *Conn, method string, params json.RawMessage, emit func(any) error) (any, error) {
		if method == "hang" {
			defer func() { cancelled <- struct{}{} }()
		}
		return echo(ctx, c, method, params, emit)
	})
	c := client(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Stream(ctx, "hang", nil, func(json.RawMessage) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the end of ctx", err)
	}
	soon(t, cancelled, "the handler is cancelled by ctx")
	enough := errors.New("enough")
	if err := c.Stream(t.Context(), "hang", nil, func(json.RawMessage) error { return enough }); err != enough {
		t.Errorf("got %v, want the callback's error", err)
	}
	soon(t, cancelled, "the handler is cancelled by the callback")
	if err := c.Call(ctx, "echo", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the end of ctx", err)
	}
	check(t, c.Call(t.Context(), "echo", nil, nil))
}

// A cancel that races with a write must leave the connection usable.
func TestCancelStorm(t *testing.T) {
	p := serve(t, defaultLimits(), echo)
	c := client(t, p)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 100 {
				ctx, cancel := context.WithCancel(context.Background())
				go cancel()
				if err := c.Call(ctx, "hang", nil, nil); !errors.Is(err, context.Canceled) {
					t.Errorf("%d, %d: got %v, want the end of ctx", i, j, err)
					return
				}
			}
		})
	}
	wg.Wait()
	check(t, c.Call(t.Context(), "echo", nil, nil))
}

func TestCallsDuringAStream(t *testing.T) {
	p := serve(t, defaultLimits(), echo)
	c := client(t, p)
	err := c.Stream(t.Context(), "count", map[string]int{"n": 20}, func(m json.RawMessage) error {
		var got json.RawMessage
		if err := c.Call(t.Context(), "echo", m, &got); err != nil || string(got) != string(m) {
			return fmt.Errorf("got %s, %v, want %s", got, err, m)
		}
		return nil
	})
	check(t, err)
}

// Who lets events pile up loses the stream; the connection goes on.
func TestSlowCallback(t *testing.T) {
	p := serve(t, defaultLimits(), echo)
	l := defaultLimits()
	l.line = 2000
	c, err := dial(t.Context(), p, l)
	check(t, err)
	defer c.Close()
	var once sync.Once
	err = c.Stream(t.Context(), "count", map[string]int{"n": 5000}, func(json.RawMessage) error {
		once.Do(func() {
			for end := time.Now().Add(20 * time.Second); !c.spilled() && time.Now().Before(end); {
				check(t, c.Call(t.Context(), "echo", nil, nil))
			}
		})
		return nil
	})
	wantError(t, err, "cannot keep up")
	check(t, c.Call(t.Context(), "echo", nil, nil))
}

// spilled tells whether the reader has given up on a stream.
func (c *Client) spilled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.calls) == 0
}

func TestCloseEndsCalls(t *testing.T) {
	p := serve(t, defaultLimits(), echo)
	c := client(t, p)
	err := c.Stream(t.Context(), "hang", nil, func(json.RawMessage) error { go c.Close(); return nil })
	var none *ErrNoEngine
	if !errors.As(err, &none) || !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want a closed connection", err)
	}
	check(t, c.Close())
	if err := c.Call(t.Context(), "echo", nil, nil); !errors.As(err, &none) {
		t.Errorf("got %v, want a closed connection", err)
	}
}

func TestTooLargeRequest(t *testing.T) {
	p := serve(t, defaultLimits(), echo)
	l := defaultLimits()
	l.line = 1000
	c, err := dial(t.Context(), p, l)
	check(t, err)
	defer c.Close()
	wantCode(t, c.Call(t.Context(), "echo", strings.Repeat("x", 2000), nil), CodeBadRequest)
	check(t, c.Call(t.Context(), "echo", nil, nil))
}

// What Dial says of engines that are not what they should be.
func TestDialRefusals(t *testing.T) {
	for name, row := range map[string]struct {
		serve func(c net.Conn)
		want  string
	}{
		"other protocol": {func(c net.Conn) { io.WriteString(c, `{"orrery":2,"version":"9.0"}`+"\n") }, "version 9.0) speaks protocol 2"},
		"no protocol":    {func(c net.Conn) { io.WriteString(c, "220 ready\n") }, "got first line"},
		"long line":      {func(c net.Conn) { io.WriteString(c, strings.Repeat("x", 5000)) }, "does not speak our protocol"},
		"silence":        {func(c net.Conn) { io.Copy(io.Discard, c) }, "says nothing"},
		"hang up":        {func(c net.Conn) {}, "does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			p := newPlace(t)
			lock, err := Acquire(p)
			check(t, err)
			n, err := lock.Listen()
			check(t, err)
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					c, err := n.Accept()
					if err != nil {
						return
					}
					row.serve(c)
					c.Close()
				}
			})
			l := defaultLimits()
			l.hello, l.dial = 200*time.Millisecond, time.Millisecond
			_, err = dial(t.Context(), p, l)
			wantError(t, err, row.want)
			var none *ErrNoEngine
			if !errors.As(err, &none) || none.Cause == nil || none.Socket != p.Socket {
				t.Errorf("got %#v, want an ErrNoEngine with a cause", err)
			}
			n.Close()
			wg.Wait()
			check(t, lock.Release())
		})
	}
}

func TestTrust(t *testing.T) {
	p := newPlace(t)
	check(t, p.Make())
	for _, uid := range []int{-1, 0, os.Geteuid()} {
		check(t, trust(peer{uid: uid}, p))
	}
	wantError(t, trust(peer{uid: 54321, pid: 7}, p), "process 7 that listens there belongs to uid 54321")
	if os.Geteuid() == 0 {
		check(t, os.Chown(p.Dir, 54321, 54321))
		check(t, trust(peer{uid: 54321}, p))
	}
}
