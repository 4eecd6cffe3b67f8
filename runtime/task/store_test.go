package task

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"orrery/runtime/cache"
)

// TestStores: every Store does what RunCached relies on.
func TestStores(t *testing.T) {
	for name, make := range map[string]func() Store{
		"cache":  func() Store { return cacheIn(t) },
		"memory": func() Store { return newMemory() },
	} {
		t.Run(name, func(t *testing.T) { conformance(t, make) })
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

// conformance is the suite for a Store; make gives an empty one.
func conformance(t *testing.T, make func() Store) {
	ctx := t.Context()
	key := func(n int) string { return hashText(fmt.Sprint("key ", n)) }
	add := func(s Store, text string) cache.Blob {
		t.Helper()
		b, err := s.Add(ctx, strings.NewReader(text))
		if err != nil || b.Hash != hashText(text) || b.Size != int64(len(text)) {
			t.Fatalf("got %+v, %v", b, err)
		}
		return b
	}
	t.Run("miss", func(t *testing.T) {
		s := make()
		if _, err := s.Get(ctx, key(1)); !errors.Is(err, cache.ErrMiss) {
			t.Errorf("got %v", err)
		}
		absent := cache.Blob{Hash: key(2), Size: 3}
		if err := s.Fetch(ctx, []cache.Blob{add(s, "x"), absent}); !errors.Is(err, cache.ErrMiss) {
			t.Errorf("got %v", err)
		}
		if _, err := s.Open(ctx, absent); !errors.Is(err, cache.ErrMiss) {
			t.Errorf("got %v", err)
		}
		if err := s.Fetch(ctx, nil); err != nil {
			t.Errorf("got %v", err)
		}
	})
	t.Run("round", func(t *testing.T) {
		s := make()
		for _, text := range []string{"", "x", strings.Repeat("long\n", 100000), "\xff\x00"} {
			b := add(s, text)
			if err := s.Fetch(ctx, []cache.Blob{b, b}); err != nil {
				t.Fatal(err)
			}
			f, err := s.Open(ctx, b)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(f)
			if err = errors.Join(err, f.Close()); err != nil || string(got) != text {
				t.Errorf("got %d bytes, %v", len(got), err)
			}
		}
		rec := &cache.Record{Key: key(1), Task: "t", Outputs: []cache.Entry{{Path: "a\xff", Kind: cache.File, Mode: 0o640, Blob: add(s, "x")}}, Values: map[string]string{"v": "\xfe\n"}}
		for n := range 2 { // a second one replaces the first
			rec.Exit = n
			if err := s.Put(ctx, rec); err != nil {
				t.Fatal(err)
			}
			got, err := s.Get(ctx, key(1))
			if err != nil || got.Exit != n || len(got.Outputs) != 1 || got.Outputs[0] != rec.Outputs[0] || got.Values["v"] != "\xfe\n" || got.Task != "t" {
				t.Errorf("got %+v, %v", got, err)
			}
		}
	})
	t.Run("errors", func(t *testing.T) {
		s := make()
		broken := errors.New("broken")
		if _, err := s.Add(ctx, io.MultiReader(strings.NewReader("x"), failing{broken})); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		gone, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := s.Get(gone, key(1)); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if _, err := s.Add(gone, strings.NewReader("x")); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if _, err := s.Lock(gone, key(1)); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("lock", func(t *testing.T) {
		s := make()
		var wg sync.WaitGroup
		inside, turns := 0, 0
		var mu sync.Mutex
		for range 20 {
			wg.Go(func() {
				unlock, err := s.Lock(ctx, key(1))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				inside++
				turns++
				if inside > 1 {
					t.Error("two hold one lock")
				}
				mu.Unlock()
				mu.Lock()
				inside--
				mu.Unlock()
				unlock()
			})
		}
		wg.Wait()
		if turns != 20 {
			t.Errorf("got %d turns", turns)
		}
		a, err := s.Lock(ctx, key(1))
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Lock(ctx, key(2))
		if err != nil {
			t.Fatal(err)
		}
		a()
		b()
	})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

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
