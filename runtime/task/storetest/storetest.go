// Package storetest is the conformance suite of task.Store, for the tests of every package that has one.
package storetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"orrery/runtime/cache"
)

// Store is task.Store, whose package uses this one in its tests.
type Store interface {
	// Get and the others are as task.Store says.
	Get(ctx context.Context, key string) (*cache.Record, error)
	Fetch(ctx context.Context, blobs []cache.Blob) error
	Open(ctx context.Context, b cache.Blob) (io.ReadCloser, error)
	Add(ctx context.Context, r io.Reader) (cache.Blob, error)
	Put(ctx context.Context, r *cache.Record) error
	Lock(ctx context.Context, key string) (unlock func(), err error)
}

func hashText(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

// Run runs the suite; make gives an empty store.
func Run(t *testing.T, make func() Store) {
	t.Run("miss", func(t *testing.T) { miss(t, make()) })
	t.Run("round", func(t *testing.T) { round(t, make()) })
	t.Run("errors", func(t *testing.T) { broken(t, make()) })
	t.Run("lock", func(t *testing.T) { lock(t, make()) })
}

func key(n int) string { return hashText(fmt.Sprint("key ", n)) }

func add(t *testing.T, s Store, text string) cache.Blob {
	t.Helper()
	b, err := s.Add(t.Context(), strings.NewReader(text))
	if err != nil || b.Hash != hashText(text) || b.Size != int64(len(text)) {
		t.Fatalf("got %+v, %v", b, err)
	}
	return b
}

func miss(t *testing.T, s Store) {
	ctx := t.Context()
	if _, err := s.Get(ctx, key(1)); !errors.Is(err, cache.ErrMiss) {
		t.Errorf("got %v", err)
	}
	absent := cache.Blob{Hash: key(2), Size: 3}
	if err := s.Fetch(ctx, []cache.Blob{add(t, s, "x"), absent}); !errors.Is(err, cache.ErrMiss) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Open(ctx, absent); !errors.Is(err, cache.ErrMiss) {
		t.Errorf("got %v", err)
	}
	if err := s.Fetch(ctx, nil); err != nil {
		t.Errorf("got %v", err)
	}
}

func round(t *testing.T, s Store) {
	ctx := t.Context()
	for _, text := range []string{"", "x", strings.Repeat("long\n", 100000), "\xff\x00"} {
		b := add(t, s, text)
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
	rec := &cache.Record{Key: key(1), Task: "t", Outputs: []cache.Entry{{Path: "a\xff", Kind: cache.File, Mode: 0o640, Blob: add(t, s, "x")}}, Values: map[string]string{"v": "\xfe\n"}}
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
}

func broken(t *testing.T, s Store) {
	ctx := t.Context()
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
}

func lock(t *testing.T, s Store) {
	ctx := t.Context()
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
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
