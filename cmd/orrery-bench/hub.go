package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// event is what a helper reports: kind is up (it serves), begin and end (of a flood), or gone (its process ended; at is
// then when the bench saw it). Times of the others are the helper's own clock.
type event struct {
	kind string
	name string
	pid  int
	at   time.Time
}

// hub takes the reports of one session's helpers. The socket of a helper closes when its process ends, so that nothing has
// to be polled.
type hub struct {
	listener net.Listener
	events   chan event

	mu   sync.Mutex
	live map[int]int // connections by pid
}

func newHub(path string) (*hub, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	h := &hub{listener: l, events: make(chan event, 1<<16), live: map[int]int{}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go h.read(c)
		}
	}()
	return h, nil
}

func (h *hub) read(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	if err != nil {
		return
	}
	var e event
	var nanos int64
	if _, err := fmt.Sscanf(line, "%s %s %d %d", &e.kind, &e.name, &e.pid, &nanos); err != nil {
		return
	}
	e.at = time.Unix(0, nanos)
	h.count(e.pid, 1)
	h.events <- e
	_, _ = r.ReadByte() // until its process ends
	h.count(e.pid, -1)
	h.events <- event{kind: "gone", name: e.name, pid: e.pid, at: time.Now()}
}

func (h *hub) count(pid, d int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.live[pid] += d; h.live[pid] == 0 {
		delete(h.live, pid)
	}
}

// alive is how many helpers live.
func (h *hub) alive() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.live)
}

// await takes events until want says that one was the last, and returns it.
func (h *hub) await(ctx context.Context, limit time.Duration, want func(event) bool) (event, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		select {
		case e := <-h.events:
			if want(e) {
				return e, nil
			}
		case <-ctx.Done():
			return event{}, fmt.Errorf("not within %s", limit)
		}
	}
}

// drop forgets the events that wait.
func (h *hub) drop() {
	for {
		select {
		case <-h.events:
		default:
			return
		}
	}
}

func (h *hub) close() { _ = h.listener.Close() }
