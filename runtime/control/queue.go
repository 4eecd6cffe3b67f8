package control

import (
	"errors"
	"net"
	"sync"
)

var (
	errQueueFull   = errors.New("client does not read: dropped")
	errQueueClosed = errors.New("connection closed")
)

// queue holds the lines that wait to be written to one client. Putting never blocks, so that whoever emits an event is
// not held up by who reads it. Safe for concurrent use; one goroutine drains.
type queue struct {
	mu     sync.Mutex
	ready  sync.Cond // lines or closed changed
	lines  net.Buffers
	size   int // bytes not yet written, those in the hands of drain included
	max    int
	closed bool
}

func newQueue(max int) *queue {
	q := &queue{max: max}
	q.ready.L = &q.mu
	return q
}

// put adds a line. A queue at or under its bound takes any line, so that one large answer is no reason to drop a client
// that reads.
func (q *queue) put(line []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return errQueueClosed
	case q.size > q.max:
		return errQueueFull
	}
	q.lines = append(q.lines, line)
	q.size += len(line)
	q.ready.Signal()
	return nil
}

// close ends the queue: drain writes what is left and returns. Harmless twice.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.ready.Signal()
}

// drain writes lines until the queue is closed and empty, or a write fails.
func (q *queue) drain(c net.Conn) error {
	for {
		q.mu.Lock()
		for len(q.lines) == 0 && !q.closed {
			q.ready.Wait()
		}
		batch := q.lines
		q.lines = nil
		q.mu.Unlock()
		if len(batch) == 0 {
			return nil
		}
		n, err := batch.WriteTo(c)
		if err != nil {
			return err
		}
		q.mu.Lock()
		q.size -= int(n)
		q.mu.Unlock()
	}
}
