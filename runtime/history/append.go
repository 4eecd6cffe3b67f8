package history

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
)

// rewriteAt is the size in bytes from which a record that grows is written anew without what was replaced.
const rewriteAt = 1 << 20

// appender writes the record of an engine as things happen.
type appender struct {
	rec   *Recorder
	bell  chan struct{} // has one element when there is something to write
	done  sync.WaitGroup
	stop  chan struct{}
	file  *os.File
	size  int64 // of the file
	limit int64 // from which it is written anew
	err   error // the first one; nothing is written after it
}

// Follow makes the recorder of an engine: what happens is written at once, by a goroutine that End ends. It goes on with
// the record of a killed engine whose Head.Engine is the same; records that others have left open are closed. Only the
// one engine of a checkout may call it.
func (s Store) Follow(h Head, shape Shape) (*Recorder, error) {
	former, err := s.adopt(h.Engine)
	if err != nil {
		return nil, err
	}
	if former != nil {
		h = former.Head
	}
	h.name()
	r := newRecorder(s, h, shape)
	if former != nil {
		r.resume(former.Nodes)
	}
	a := &appender{rec: r, bell: make(chan struct{}, 1), stop: make(chan struct{})}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot keep the record of the run: %w", err)
	}
	if err := a.rewrite(); err != nil {
		return nil, fmt.Errorf("cannot keep the record of the run: %w", err)
	}
	r.out = a
	a.done.Go(a.run)
	return r, nil
}

// adopt finds the open record of an engine, and closes all others.
func (s Store) adopt(engine string) (*Run, error) {
	list, err := s.records()
	if err != nil {
		return nil, err
	}
	var own *Run
	for _, r := range list {
		if !r.live {
			continue
		}
		if run, err := s.Load(r.id); err == nil && own == nil && engine != "" && run.Engine == engine {
			own = run
			continue
		}
		if err := os.Rename(s.path(r.id, open), s.path(r.id, closed)); err != nil {
			return nil, fmt.Errorf("cannot close the record of a killed engine: %w", err)
		}
	}
	return own, nil
}

// resume takes what a killed engine has recorded.
func (r *Recorder) resume(nodes []Node) {
	for i := range nodes {
		n := &nodes[i]
		s := r.nodes[n.Name]
		if s == nil {
			s = &starts{}
			r.nodes[n.Name] = s
			r.order = append(r.order, s)
		}
		s.list = append(s.list, n)
	}
}

// ring says that there is something to write.
func (a *appender) ring() {
	select {
	case a.bell <- struct{}{}:
	default:
	}
}

func (a *appender) run() {
	for {
		select {
		case <-a.bell:
			a.flush()
		case <-a.stop:
			return
		}
	}
}

// flush appends the starts that have changed, each once.
func (a *appender) flush() {
	a.rec.mu.Lock()
	seen := map[*Node]bool{}
	var b bytes.Buffer
	enc := encoder(&b)
	for _, n := range a.rec.changed {
		if !seen[n] {
			seen[n] = true
			enc.Encode(line{Node: n})
		}
	}
	a.rec.changed = a.rec.changed[:0]
	a.rec.mu.Unlock()
	a.write(b.Bytes())
	if a.err == nil && a.size > a.limit {
		a.err = a.rewrite()
	}
}

func (a *appender) write(b []byte) {
	if a.err != nil || len(b) == 0 {
		return
	}
	n, err := a.file.Write(b)
	a.size += int64(n)
	a.err = err
}

// rewrite writes what is kept of the record as a new file, and goes on with that.
func (a *appender) rewrite() error {
	r := a.rec
	var b bytes.Buffer
	enc := encoder(&b)
	r.mu.Lock()
	enc.Encode(line{Version: Version, Run: &r.head})
	for _, n := range r.all() {
		enc.Encode(line{Node: n})
	}
	r.mu.Unlock()
	path := r.store.path(r.head.ID, open)
	tmp := strings.TrimSuffix(path, open) + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(b.Bytes()); err != nil {
		return errors.Join(err, f.Close(), os.Remove(tmp))
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, f.Close(), os.Remove(tmp))
	}
	if a.file != nil {
		a.file.Close()
	}
	a.file, a.size = f, int64(b.Len())
	a.limit = max(rewriteAt, 3*a.size)
	return nil
}

// close writes the end.
func (a *appender) close(end End) error {
	close(a.stop)
	a.done.Wait()
	a.flush()
	var b bytes.Buffer
	encoder(&b).Encode(line{End: &end})
	a.write(b.Bytes())
	err := errors.Join(a.err, a.file.Close())
	s, id := a.rec.store, a.rec.head.ID
	if len(a.rec.order) == 0 { // nothing was held
		return errors.Join(err, os.Remove(s.path(id, open)))
	}
	if err = errors.Join(err, os.Rename(s.path(id, open), s.path(id, closed))); err != nil {
		return fmt.Errorf("cannot keep the record of the run: %w", err)
	}
	return nil
}
