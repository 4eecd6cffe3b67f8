package task

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"orrery/runtime/cache"
	"orrery/runtime/task/storetest"
)

// TestStores: every Store does what RunCached relies on.
func TestStores(t *testing.T) {
	for name, make := range map[string]func() Store{
		"cache":  func() Store { return cacheIn(t) },
		"memory": func() Store { return newMemory() },
	} {
		t.Run(name, func(t *testing.T) { storetest.Run(t, func() storetest.Store { return make() }) })
		t.Run(name+" runs", func(t *testing.T) {
			p := checkout(t, make(), "cp src/a out; echo said", "out")
			p.write("src/a", "1")
			p.clean(false)
			p.write("out", "2")
			var out bytes.Buffer
			p.c.Replay, p.job.Stdout = true, &out
			p.clean(true)
			p.eq("out", "1")
			if out.String() != "said\n" {
				t.Errorf("got %q", out.String())
			}
		})
	}
}

// shared is a Store that has another one behind it.
type shared struct {
	*memory
	others *memory
	asked  int
	err    error
}

// Pull takes all that the others have.
func (p *shared) Pull(ctx context.Context, key string, lines []string) error {
	p.asked++
	if p.err != nil {
		return p.err
	}
	if key != hashText(strings.Join(lines, "\n")+"\n") {
		return errors.New("these are not the lines of the key")
	}
	r, err := p.others.Get(ctx, key)
	if err != nil {
		return err
	}
	p.blobs = p.others.blobs
	return p.Put(ctx, r)
}

// TestPull: what is not here is pulled, once, and restored as what is.
func TestPull(t *testing.T) {
	others := newMemory()
	first := checkout(t, others, "cp src/a out", "out")
	first.write("src/a", "1")
	first.clean(false)
	s := &shared{memory: newMemory(), others: others}
	p := checkout(t, s, "cp src/a out", "out")
	p.write("src/a", "1")
	if r := p.clean(true); !r.Remote || p.ran() != 0 || !p.c.Last(p.job.Name).Remote || s.asked != 1 {
		t.Errorf("got %+v, %d runs, asked %d times", r, p.ran(), s.asked)
	}
	p.eq("out", "1")
	p.write("out", "2")
	if r := p.clean(true); r.Remote || s.asked != 1 {
		t.Errorf("got %+v, asked %d times", r, s.asked)
	}
	p.write("src/a", "2")
	if r := p.clean(false); r.Remote || s.asked != 2 || p.c.Last(p.job.Name).Remote {
		t.Errorf("got %+v, asked %d times", r, s.asked)
	}
	p.c.Force = true
	if p.clean(false); s.asked != 2 {
		t.Error("a forced run pulls")
	}
	p.c.Force = false
	p.write("src/a", "3")
	s.err = &cache.UnavailableError{Op: "write to", Err: errors.New("no space")}
	r := RunCached(t.Context(), p.job, p.in, p.c)
	if r.State != Succeeded || r.Cached || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "no space") {
		t.Errorf("got %+v", r)
	}
}

// memory is the other Store: what a store that lies elsewhere does.
type memory struct {
	mu      sync.Mutex
	records map[string]cache.Record
	blobs   map[string][]byte
	locks   map[string]chan struct{}
}

func newMemory() *memory {
	return &memory{records: map[string]cache.Record{}, blobs: map[string][]byte{}, locks: map[string]chan struct{}{}}
}

func (m *memory) Get(ctx context.Context, key string) (*cache.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if r, ok := m.records[key]; ok {
		return &r, nil
	}
	return nil, cache.ErrMiss
}

func (m *memory) Fetch(_ context.Context, blobs []cache.Blob) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range blobs {
		if _, ok := m.blobs[b.Hash]; !ok {
			return cache.ErrMiss
		}
	}
	return nil
}

func (m *memory) Open(_ context.Context, b cache.Blob) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if text, ok := m.blobs[b.Hash]; ok {
		return io.NopCloser(bytes.NewReader(text)), nil
	}
	return nil, cache.ErrMiss
}

func (m *memory) Add(ctx context.Context, r io.Reader) (cache.Blob, error) {
	text, err := io.ReadAll(r)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return cache.Blob{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b := cache.Blob{Hash: hashText(string(text)), Size: int64(len(text))}
	m.blobs[b.Hash] = text
	return b, nil
}

func (m *memory) Put(_ context.Context, r *cache.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records[r.Key] = *r
	return nil
}

func (m *memory) Lock(ctx context.Context, key string) (func(), error) {
	for {
		m.mu.Lock()
		held := m.locks[key]
		if held == nil && ctx.Err() == nil {
			done := make(chan struct{})
			m.locks[key] = done
			m.mu.Unlock()
			return func() {
				m.mu.Lock()
				defer m.mu.Unlock()
				delete(m.locks, key)
				close(done)
			}, nil
		}
		m.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
