package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// refused restarts a server n times while four clients ask it without a pause and never try twice.
func refused(held bool, n int) scenario {
	how, title := "own", "the service binds its port itself"
	if held {
		how, title = "held", "the manager holds the socket"
	}
	all := []measure{
		{"refused." + how, "refused", "requests", fmt.Sprintf("connections refused in %d restarts under load; %s", n, title)},
		{"failed." + how, "refused", "requests", "requests of these that were accepted and then lost (reset, or no answer)"},
	}
	able := func(p peer) bool { return p.restart != nil && (!held || p.holds != "") }
	run := func(ctx context.Context, r *runner, f *found) ([]sample, error) {
		port, err := ports(1)
		if err != nil {
			return nil, err
		}
		v := service{name: "web", mode: "__serve", args: []string{"listen=tcp:{port}"}, port: port[0], ready: "http"}
		if held {
			v.args, v.held = []string{"listen=" + f.peer.holds}, true
		}
		var list []sample
		err = r.in(f, func(s *session) error {
			s.services = []service{v}
			if _, _, err := s.up(ctx); err != nil {
				return err
			}
			if err := s.settled(ctx, 1500*time.Millisecond); err != nil {
				return err
			}
			l := newLoad(v.port)
			err := s.restarts(ctx, n)
			good, no, lost := l.stop()
			if err != nil {
				return err
			}
			if good == 0 {
				return fmt.Errorf("no request was answered")
			}
			list = append(list, sample{id: all[0].id, value: float64(no), note: ""}, sample{id: all[1].id, value: float64(lost)})
			return nil
		})
		return list, err
	}
	return scenario{all, able, run}
}

// restarts restarts the server n times, 1.2 s apart at least: a shorter life counts as a failed start with many.
func (s *session) restarts(ctx context.Context, n int) error {
	for range n {
		s.hub.drop()
		t := time.Now()
		if out, err := s.do(s.peer.restart(s, "web")); err != nil {
			return fmt.Errorf("%w: %s", err, strings.TrimSpace(out))
		}
		_, err := s.hub.await(ctx, 15*time.Second, func(e event) bool { return e.kind == "up" && e.name == "web" })
		if err != nil {
			return fmt.Errorf("no new instance after the restart: %w", err)
		}
		if err := sleep(ctx, time.Until(t.Add(1200*time.Millisecond))); err != nil {
			return err
		}
	}
	return nil
}

// load is four clients, each with one request under way.
type load struct {
	good, refused, lost atomic.Int64
	done                chan struct{}
	clients             sync.WaitGroup
}

func newLoad(port int) *load {
	l := &load{done: make(chan struct{})}
	for range 4 {
		l.clients.Go(func() {
			for {
				select {
				case <-l.done:
					return
				case <-time.After(2 * time.Millisecond):
				}
				l.ask(fmt.Sprintf("127.0.0.1:%d", port))
			}
		})
	}
	return l
}

func (l *load) ask(address string) {
	c, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			l.refused.Add(1)
		} else {
			l.lost.Add(1)
		}
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
	if err == nil {
		var b []byte
		if b, err = io.ReadAll(c); err == nil && strings.HasSuffix(string(b), "ok") {
			l.good.Add(1)
			return
		}
	}
	l.lost.Add(1)
}

// stop ends the clients; good requests, refused ones, and those that were lost after the connect.
func (l *load) stop() (good, refused, lost int64) {
	close(l.done)
	l.clients.Wait()
	return l.good.Load(), l.refused.Load(), l.lost.Load()
}
