package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"orrery/runtime/cache"
)

// The background: results that may wait, and how many are sent at a time.
const (
	maxQueue  = 1024
	uploaders = 2
	slowest   = 256 << 10 // bytes a second: an upload that is slower is given up
)

// uploads are results on their way.
type uploads struct {
	queue  chan *cache.Record
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	workers int
	closed  bool
	refused bool // the server takes none from us
	wg      sync.WaitGroup
}

func (u *uploads) init() {
	u.queue = make(chan *cache.Record, maxQueue)
	u.ctx, u.cancel = context.WithCancel(context.Background())
}

// Put keeps a record here, and sends it, if we write, with its blobs to the remote cache in the background.
func (s *Store) Put(ctx context.Context, r *cache.Record) error {
	if err := s.Store.Put(ctx, r); err != nil {
		return err
	}
	if s.opt.Write && !r.Local && r.Key == r.Lines.Hash { // another key means something here alone
		s.enqueue(r)
	}
	return nil
}

func (s *Store) enqueue(r *cache.Record) {
	s.up.mu.Lock()
	defer s.up.mu.Unlock()
	full := s.up.closed || s.up.refused
	if !full {
		select {
		case s.up.queue <- r:
		default:
			full = true
		}
	}
	if full {
		s.count(func(st *Stats) { st.Unsent++ })
		return
	}
	if s.up.workers < uploaders {
		s.up.workers++
		s.up.wg.Go(s.work)
	}
}

// work sends what is in the queue until that is closed.
func (s *Store) work() {
	for r := range s.up.queue {
		began := time.Now()
		err := errUnsent
		if s.up.ctx.Err() == nil && !s.up.off() && s.live.on() {
			err = s.send(s.up.ctx, r)
		}
		switch {
		case err == nil:
			s.live.record(began, sent)
			s.count(func(st *Stats) { st.Uploads++ })
			continue
		case errors.Is(err, errPrivate):
			continue
		}
		s.count(func(st *Stats) { st.Unsent++ })
		switch {
		case errors.Is(err, errUnsent) || s.up.ctx.Err() != nil || errors.Is(err, errLocal):
		case final(err):
			s.up.stop() // what it has may be read all the same
			s.warn(fmt.Errorf("cannot upload: %w", err))
		default:
			s.failed(began, unsent, fmt.Errorf("cannot upload: %w", err))
		}
	}
}

var (
	errUnsent = errors.New("not sent")
	errLocal  = errors.New("it is not here any more")
)

func (u *uploads) off() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.refused
}

func (u *uploads) stop() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.refused = true
}

// send uploads what the server lacks of a result, then the result.
func (s *Store) send(ctx context.Context, r *cache.Record) error {
	f, err := s.Store.Open(ctx, r.Lines)
	if err != nil {
		return errLocal
	}
	text, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return errLocal
	}
	a, err := newAction(r.Key, strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"))
	if err != nil {
		return errPrivate
	}
	result, made, err := newResult(r)
	if err != nil {
		return errPrivate
	}
	all := map[string]source{}
	var names []cache.Blob
	var size int64
	put := func(b cache.Blob, open func() (io.ReadCloser, error)) {
		if _, ok := all[b.Hash]; !ok && b.Size > 0 { // servers have the empty one
			all[b.Hash] = source{b, open}
			names, size = append(names, b), size+b.Size
		}
	}
	for _, c := range append(made, a.blobs...) {
		put(c.blob, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(c.data)), nil })
	}
	for _, b := range r.Blobs() {
		put(b, func() (io.ReadCloser, error) {
			f, err := s.Store.Open(ctx, b)
			if err != nil {
				return nil, errLocal
			}
			return f, nil
		})
	}
	ctx, cancel := context.WithTimeout(ctx, s.opt.Timeout+time.Duration(size/slowest)*time.Second)
	defer cancel()
	if err := s.prepare(ctx); err != nil {
		return err
	}
	lacks, err := s.server.missing(ctx, names)
	if err != nil {
		return err
	}
	var need []source
	var bytes int64
	for _, b := range lacks {
		if src, ok := all[b.Hash]; ok && src.Blob == b {
			need, bytes = append(need, src), bytes+b.Size
		}
	}
	if err := s.server.write(ctx, need); err != nil {
		return err
	}
	s.count(func(st *Stats) { st.Sent += bytes })
	return s.server.publish(ctx, a.digest, result)
}

// Finish waits for the uploads until ctx is done, and ends those that are not done by then. The Store may be read on; it sends nothing
// more. The local cache stays open.
func (s *Store) Finish(ctx context.Context) {
	s.up.mu.Lock()
	was := s.up.closed
	if !was {
		s.up.closed = true
		close(s.up.queue)
	}
	s.up.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.up.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.up.cancel()
		<-done
	}
	s.up.cancel()
	if n := s.Stats().Unsent; n > 0 && !was {
		s.warn(fmt.Errorf("%d results were not uploaded in time", n))
	}
}

// Timeout is what the remote cache may cost at most; see Options.
func (s *Store) Timeout() time.Duration { return s.opt.Timeout }
