package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"orrery/runtime/cache"
)

// Store is a cache on disk behind which there is a remote one. It is the cache on disk in everything but this: Pull asks the remote one
// for a result and brings all of it here, every blob verified, and Put sends results there in the background. All methods may be called
// from any goroutine.
type Store struct {
	*cache.Store
	opt    Options
	name   string
	server backend
	live   breaker

	ready  sync.Mutex // held while the server is asked what it can do
	asked  bool
	mu     sync.Mutex
	stats  Stats
	warned bool
	up     uploads
}

// Stats is what a Store has done with the remote cache.
type Stats struct {
	// URL is the address, without user and password; Mode "read" or "readwrite".
	URL  string `json:"url"`
	Mode string `json:"mode"`
	// Hits counts the results that came from there, Misses those that it did not have.
	Hits   int `json:"hits"`
	Misses int `json:"misses"`
	// Uploads counts the results that were sent there, Unsent those that should have been.
	Uploads int `json:"uploads"`
	Unsent  int `json:"unsent"`
	// Received and Sent are in bytes of blobs.
	Received int64 `json:"received_bytes"`
	Sent     int64 `json:"sent_bytes"`
	// Trouble is the warning that was given, or empty.
	Trouble string `json:"trouble,omitempty"`
}

// Open puts a remote cache behind a local one. It does not use the network; an error says what is wrong with the options.
func Open(local *cache.Store, o Options) (*Store, error) {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	server, name, err := connect(o)
	if err != nil {
		return nil, err
	}
	s := &Store{Store: local, opt: o, name: name, server: server}
	s.live = breaker{budget: o.Timeout, retry: o.Retry, now: time.Now}
	s.stats.URL, s.stats.Mode = name, "read"
	if o.Write {
		s.stats.Mode = "readwrite"
	}
	s.up.init()
	return s, nil
}

// Stats tells what was done so far.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

func (s *Store) count(change func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.stats)
}

// Check asks the server whether it can be used as the options say.
func (s *Store) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	defer cancel()
	return s.server.check(ctx, s.opt.Write)
}

// warn tells trouble, if none was told yet.
func (s *Store) warn(err error) {
	text := fmt.Sprintf("the remote cache %s: %v", s.name, err)
	s.mu.Lock()
	first := !s.warned
	if first {
		s.warned, s.stats.Trouble = true, text
	}
	s.mu.Unlock()
	if first && s.opt.Warn != nil {
		s.opt.Warn(text)
	}
}

// failed notes trouble with a call that began at a time.
func (s *Store) failed(began time.Time, how outcome, err error) {
	if final(err) {
		how = refused
	}
	s.live.record(began, how)
	s.warn(err)
}

// prepare asks the server once what it can do.
func (s *Store) prepare(ctx context.Context) error {
	s.ready.Lock()
	defer s.ready.Unlock()
	if s.asked {
		return nil
	}
	if _, plain := s.server.(*plainHTTP); !plain { // there is nothing to learn from that one
		err := s.server.check(ctx, false)
		if err != nil {
			return err
		}
	}
	s.asked = true
	return nil
}

// maxDownload is what a download may take at most, whatever it saves.
const maxDownload = 10 * time.Minute

// Pull brings the result of a key here, if the remote cache has it: then Get, Fetch and Open know all of it. lines are those that the key
// was made from. Nothing that the server says is believed: what is not what its digest says is not used. An error that is cache.ErrMiss
// is a miss, trouble with the server included, which Options.Warn is told of; a *cache.UnavailableError concerns the local cache.
func (s *Store) Pull(ctx context.Context, key string, lines []string) error {
	budget := s.live.left()
	if budget <= 0 {
		return cache.ErrMiss
	}
	a, err := newAction(key, lines)
	if err != nil {
		return cache.ErrMiss // not for others: no trouble
	}
	began := time.Now()
	rec, err := s.look(ctx, budget, key, a)
	var got int64
	if err == nil {
		got, err = s.download(ctx, budget+min(rec.Duration, maxDownload), rec)
	}
	if err == nil {
		err = s.Store.Put(ctx, rec)
	}
	s.count(func(st *Stats) { st.Received += got })
	var local *cache.UnavailableError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil:
		s.live.record(began, useful)
		s.count(func(st *Stats) { st.Hits++ })
		return nil
	case errors.As(err, &local):
		return err
	}
	s.count(func(st *Stats) { st.Misses++ })
	if errors.Is(err, cache.ErrMiss) {
		if s.live.record(began, missed) {
			s.warn(fmt.Errorf("its answers took more than %v altogether; it is left alone", s.opt.Timeout))
		}
		return cache.ErrMiss
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer in time: %w", err)
	}
	s.failed(began, failed, err)
	return cache.ErrMiss
}

// look finds the record of an action.
func (s *Store) look(ctx context.Context, budget time.Duration, key string, a *action) (*cache.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	text, err := s.server.result(ctx, a.digest)
	if err != nil {
		return nil, err
	}
	at, err := readResult(text)
	if err != nil {
		return nil, err
	}
	if at.blob.Size > maxMessage {
		return nil, fmt.Errorf("got a record of %d bytes, want less than %d", at.blob.Size, maxMessage)
	}
	record := at.data
	if got := contentOf(record).blob; got != at.blob {
		if len(record) > 0 {
			return nil, &badBlobError{at.blob, got}
		}
		err = s.server.read(ctx, []cache.Blob{at.blob}, func(b cache.Blob, r io.Reader) (err error) {
			record, err = io.ReadAll(io.LimitReader(r, b.Size+1))
			if got := contentOf(record).blob; err == nil && got != b {
				err = &badBlobError{b, got}
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	rec, err := cache.DecodeRecord(record, key)
	if err == nil && (rec.Lines.Hash != key || rec.Exit != 0) {
		err = errors.New("it is of another key")
	}
	if err != nil {
		return nil, fmt.Errorf("got a bad record: %w", err)
	}
	return rec, nil
}

// download brings the blobs here that are not here yet. A server that stalls is given up after the timeout.
func (s *Store) download(ctx context.Context, budget time.Duration, rec *cache.Record) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	idle := time.AfterFunc(s.opt.Timeout, func() { stop(context.DeadlineExceeded) })
	defer idle.Stop()
	ctx = context.WithValue(ctx, progress{}, func() { idle.Reset(s.opt.Timeout) })
	var need []cache.Blob
	for _, b := range distinct(rec.Blobs()) {
		err := s.Store.Fetch(ctx, []cache.Blob{b})
		switch {
		case err == nil:
		case !errors.Is(err, cache.ErrMiss):
			return 0, err
		case b.Size == 0: // servers need not keep it
			if got, err := s.Store.Add(ctx, strings.NewReader("")); err != nil || got != b {
				return 0, errors.Join(err, fmt.Errorf("got the blob %.12s of 0 bytes", b.Hash))
			}
		default:
			need = append(need, b)
		}
	}
	idle.Reset(s.opt.Timeout) // reading what is here took its time
	var mu sync.Mutex
	var sum int64
	err := s.server.read(ctx, need, func(b cache.Blob, r io.Reader) error {
		got, err := s.Store.Add(ctx, io.LimitReader(r, b.Size+1))
		if err == nil && got != b {
			err = &badBlobError{b, got}
		}
		mu.Lock()
		defer mu.Unlock()
		sum += got.Size
		return err
	})
	if err != nil && context.Cause(ctx) == context.DeadlineExceeded {
		err = context.DeadlineExceeded
	}
	return sum, err
}

// distinct leaves out what is there twice.
func distinct(blobs []cache.Blob) []cache.Blob {
	seen := make(map[cache.Blob]bool, len(blobs))
	return slices.DeleteFunc(slices.Clone(blobs), func(b cache.Blob) bool {
		was := seen[b]
		seen[b] = true
		return was
	})
}
