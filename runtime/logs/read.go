package logs

import (
	"container/heap"
	"context"
	"path/filepath"
	"time"
)

const (
	pollMin    = 10 * time.Millisecond
	pollMax    = 100 * time.Millisecond
	rescan     = 250 * time.Millisecond // how often a follower looks for new nodes
	roundLines = 4096                   // after so many lines all streams are looked at again
)

// Read yields the lines that the query asks for, merged over nodes and streams in the order of their time (then
// node, then stream); lines of one stream never change their order. It returns nil when all is read or yield returns
// false, and the context's error when that ends, which is the usual end with Query.Follow.
//
// Without Follow, what arrives after the call may or may not be seen. With Follow, order over streams holds among the lines that
// are there at the same moment, and a last line is yielded when its newline, a mark or its 1 MiB is there.
// No capture waits for a reader; a follower that a rotation overtakes gets a Dropped mark.
func (s *Store) Read(ctx context.Context, q Query, yield func(Line) bool) error {
	r := &reader{store: s, query: q, yield: yield, known: map[string]bool{}}
	defer r.close()
	s.waiters.Add(1)
	defer s.waiters.Add(-1)
	if q.Tail >= 0 || !q.Follow {
		if more, err := r.old(ctx); err != nil || !more {
			return err
		}
	}
	if !q.Follow {
		return nil
	}
	return r.follow(ctx)
}

// reader merges the sources of one query.
type reader struct {
	store   *Store
	query   Query
	yield   func(Line) bool
	sources []*source
	known   map[string]bool // by path
	heads   headHeap
	last    Line // last mark, to show once what is in both streams
}

// old yields what is there at the call.
func (r *reader) old(ctx context.Context) (bool, error) {
	if err := r.scan(true); err != nil {
		return false, err
	}
	if r.query.Tail < 0 {
		return true, nil
	}
	emit := r.yield
	var ring tail
	if r.query.Tail > 0 {
		ring.n = r.query.Tail
		emit = ring.add
	}
	for _, s := range r.sources {
		r.load(s, !r.query.Follow)
	}
	for n := 0; len(r.heads) > 0; n++ {
		if n%256 == 0 && ctx.Err() != nil {
			return false, ctx.Err()
		}
		if !r.pop(!r.query.Follow, emit) {
			return false, nil
		}
	}
	for _, l := range ring.lines {
		if !r.yield(l) {
			return false, nil
		}
	}
	return true, nil
}

// follow yields what comes, until the context ends.
func (r *reader) follow(ctx context.Context) error {
	if err := r.scan(r.query.Tail < 0); err != nil {
		return err
	}
	for _, s := range r.sources {
		s.limit = -1
	}
	wait, scanned := pollMin, time.Now()
	for {
		wake := r.store.waitChan()
		for _, s := range r.sources {
			r.load(s, false)
		}
		for n := 0; n < roundLines && len(r.heads) > 0; n++ {
			wait = pollMin
			if !r.pop(false, r.yield) {
				return nil
			}
		}
		if time.Since(scanned) > rescan {
			if err := r.scan(false); err != nil {
				return err
			}
			scanned = time.Now()
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(r.heads) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		case <-time.After(wait):
			wait = min(wait*3/2, pollMax)
		}
	}
}

// scan finds the streams that the query asks for. Those found first begin where the query says, later ones at
// their start.
func (r *reader) scan(first bool) error {
	nodes, err := r.store.Nodes()
	if err != nil {
		return err
	}
	for _, node := range nodes {
		if !r.query.wantsNode(node) {
			continue
		}
		for _, stream := range []string{Stdout, Stderr} {
			path := filepath.Join(r.store.dir, escape(node), stream+".log")
			if !r.query.wantsStream(stream) || r.known[path] || !exists(path) && !exists(rotated(path, 1)) {
				continue
			}
			s := &source{node: node, stream: stream, path: path, limit: -1}
			if r.position(s, first) {
				r.known[path] = true
				r.sources = append(r.sources, s)
			}
		}
	}
	for _, s := range r.sources {
		s.block = min(256<<10, max(4<<10, (8<<20)/len(r.sources)))
	}
	return nil
}

// position brings a new source to its start. False: its files are just being removed, or made.
func (r *reader) position(s *source, first bool) bool {
	q := &r.query
	segs := listSegments(s.path)
	if len(segs) == 0 {
		return false
	}
	pos := segs[0].base
	if !q.Since.IsZero() {
		pos = max(pos, sinceStart(segs, q.Since))
	}
	if first && q.Tail > 0 && q.Grep == nil {
		pos = max(pos, tailStart(segs, q.Tail))
	}
	end := segs[len(segs)-1].end()
	if first && q.Tail < 0 {
		pos = end
	}
	if from, ok := q.From[cursorKey(s.node, s.stream)]; ok && from > pos && from <= end {
		pos = from
	}
	if first {
		s.limit = end
	}
	s.seek(pos)
	if s.view != nil && first && q.Tail < 0 {
		s.skipMarks()
	}
	return s.view != nil
}

// load gives a source its next line, if it has none and there is one.
func (r *reader) load(s *source, flush bool) {
	if s.full {
		return
	}
	for {
		l, ok := s.next(flush)
		if !ok {
			return
		}
		if r.query.wantsLine(&l) {
			s.head, s.full = l, true
			heap.Push(&r.heads, s)
			return
		}
	}
}

// pop yields the earliest head.
func (r *reader) pop(flush bool, emit func(Line) bool) bool {
	s := heap.Pop(&r.heads).(*source)
	l := s.head
	s.head, s.full = Line{}, false
	r.load(s, flush)
	if l.Mark != "" && l.Mark != Dropped {
		same := l.Node == r.last.Node && l.Mark == r.last.Mark && l.Time.Equal(r.last.Time) &&
			string(l.Text) == string(r.last.Text)
		if same && l.Stream != r.last.Stream {
			return true
		}
		r.last = l
	}
	return emit(l)
}

func (r *reader) close() {
	for _, s := range r.sources {
		s.close()
	}
}

// headHeap orders sources by their next line.
type headHeap []*source

func (h headHeap) Len() int      { return len(h) }
func (h headHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h headHeap) Less(i, j int) bool {
	a, b := &h[i].head, &h[j].head
	if !a.Time.Equal(b.Time) {
		return a.Time.Before(b.Time)
	}
	if a.Node != b.Node {
		return a.Node < b.Node
	}
	return a.Stream > b.Stream // stdout first
}
func (h *headHeap) Push(x any) { *h = append(*h, x.(*source)) }
func (h *headHeap) Pop() any {
	old := *h
	s := old[len(old)-1]
	*h = old[:len(old)-1]
	return s
}

// tail keeps the last n lines, and the marks between them (ten a line at most).
type tail struct {
	n, count int
	lines    []Line
}

func (t *tail) add(l Line) bool {
	t.lines = append(t.lines, l)
	if l.Mark == "" {
		t.count++
	}
	for t.count > t.n || len(t.lines)-t.count > 10*t.n {
		if t.lines[0].Mark == "" {
			t.count--
		}
		t.lines = t.lines[1:]
	}
	return true
}
