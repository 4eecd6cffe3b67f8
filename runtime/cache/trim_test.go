package cache

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.t }

func (c *clock) move(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.t = c.t.Add(d) }

// age makes all files of a cache older.
func age(t *testing.T, s *Store, d time.Duration) {
	t.Helper()
	for _, f := range all(t, s.disk.dir) {
		p := filepath.Join(s.disk.dir, f)
		fi, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, fi.ModTime().Add(-d), fi.ModTime().Add(-d)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTrim(t *testing.T) {
	s := store(t)
	trim := func(l Limits, records, blobs int) {
		t.Helper()
		rep, err := s.Trim(t.Context(), l)
		if err != nil || rep.Skipped || rep.Records != records || rep.Blobs != blobs {
			t.Fatalf("got %+v, %v, want %d records and %d blobs", rep, err, records, blobs)
		}
	}
	mustPut(t, s, 1)
	mustPut(t, s, 2)
	mustPut(t, s, 3)
	trim(Limits{MaxBytes: 1, MaxAge: 1}, 0, 0) // all of it is in its grace
	age(t, s, time.Hour)
	trim(Limits{}, 0, 0)
	trim(Limits{MaxAge: 2 * time.Hour}, 0, 0)
	wantHit(t, s, 2, true) // a use
	trim(Limits{MaxAge: 30 * time.Minute}, 2, 4)
	wantHit(t, s, 1, false)
	wantHit(t, s, 2, true)
	wantHit(t, s, 3, false)
	// Least recently used first, and no more than it takes.
	for n := range 6 {
		age(t, s, time.Hour)
		mustPut(t, s, n)
	}
	st, err := s.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	age(t, s, time.Hour)
	trim(Limits{MaxBytes: st.Bytes * 7 / 12}, 3, 6)
	for n := range 6 {
		wantHit(t, s, n, n >= 3)
	}
	// Not before it is due; what a killed process left goes; a lock that nobody holds goes.
	if rep, err := s.Trim(t.Context(), Limits{MaxBytes: 1, Every: time.Hour}); err != nil || !rep.Skipped {
		t.Errorf("got %+v, %v", rep, err)
	}
	left := filepath.Join(s.disk.dir, tmpDir, "left")
	os.WriteFile(left, []byte("x"), 0o400)
	os.WriteFile(filepath.Join(s.disk.dir, locksDir, keyOf(9)), nil, 0o600)
	os.WriteFile(filepath.Join(s.disk.dir, "verified-old"), nil, 0o600)
	age(t, s, time.Hour)
	unlock, err := s.Lock(t.Context(), keyOf(8))
	if err != nil {
		t.Fatal(err)
	}
	trim(Limits{MaxBytes: 1}, 3, 7)
	for _, f := range all(t, s.disk.dir) {
		if strings.HasPrefix(f, tmpDir) || strings.HasPrefix(f, blobsDir) || strings.HasPrefix(f, recordsDir) || f == "verified-old" || strings.Contains(f, keyOf(9)) {
			t.Errorf("%s is left", f)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if again, err := s.Lock(ctx, keyOf(8)); err == nil {
		again()
		t.Error("a lock was taken away")
	}
	unlock()
	if again, err := s.Lock(t.Context(), keyOf(8)); err != nil {
		t.Error("a lock that was let go is held:", err)
	} else {
		again()
	}
}

// TestTrimClock: a clock that jumps back makes nothing old, one that jumps ahead by a day no more than a day.
func TestTrimClock(t *testing.T) {
	c := &clock{t: time.Now()}
	s := openAt(t, filepath.Join(t.TempDir(), "c"), Options{Now: c.now})
	mustPut(t, s, 1)
	for _, jump := range []time.Duration{-24 * time.Hour, 48 * time.Hour} {
		c.move(jump)
		if rep, err := s.Trim(t.Context(), Limits{MaxAge: 7 * 24 * time.Hour}); err != nil || rep.Records+rep.Blobs != 0 {
			t.Errorf("got %+v, %v", rep, err)
		}
	}
	wantHit(t, s, 1, true)
}

// TestTrimFaults: whatever operation fails, what stays is whole.
func TestTrimFaults(t *testing.T) {
	for at := int64(1); ; at++ {
		dir := filepath.Join(t.TempDir(), "c")
		s := openAt(t, dir, Options{})
		for n := range 3 {
			mustPut(t, s, n)
		}
		age(t, s, time.Hour)
		if _, err := s.Get(t.Context(), keyOf(2)); err != nil {
			t.Fatal(err)
		}
		f := &faults{at: at, dead: at%2 == 0}
		_, err := openAt(t, dir, Options{fault: f.hook}).Trim(t.Context(), Limits{MaxBytes: 1})
		var off *UnavailableError
		if err != nil && !errors.As(err, &off) {
			t.Errorf("operation %d: got %v", at, err)
		}
		again := openAt(t, dir, Options{})
		for n := range 2 {
			get(t, t.Context(), again, n) // here or not, but never wrong
		}
		if !f.dead || f.n < at {
			wantHit(t, again, 2, true)
		} else if _, err := get(t, t.Context(), again, 2); err != nil {
			t.Error(err)
		}
		if f.n < at {
			t.Logf("%d operations", at-1)
			return
		}
	}
}

// TestTrimUnderLoad: results that are put and got while Trim runs as hard as it can are never missed within their grace, and never wrong.
func TestTrimUnderLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	done := make(chan struct{})
	var trims, gets sync.WaitGroup
	trims.Go(func() {
		s := openAt(t, dir, Options{Grace: 20 * time.Second})
		for n := 0; ; n++ {
			select {
			case <-done:
				t.Logf("%d trims", n)
				return
			default:
			}
			if _, err := s.Trim(t.Context(), Limits{MaxBytes: 1, MaxAge: time.Nanosecond}); err != nil {
				t.Error(err)
			}
		}
	})
	for w := range 10 {
		s := openAt(t, dir, Options{Grace: 20 * time.Second})
		gets.Go(func() {
			for n := range 20 {
				if err := put(t.Context(), s, 100*w+n); err != nil {
					t.Error(err)
					return
				}
				if hit, err := get(t, t.Context(), s, 100*w+n); !hit || err != nil {
					t.Errorf("got %v, %v", hit, err)
				}
			}
		})
	}
	gets.Wait()
	close(done)
	trims.Wait()
}

// TestTrimWithoutGrace: with next to no grace results do go missing, but nothing is ever wrong or fails.
func TestTrimWithoutGrace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	done := make(chan struct{})
	var trims, gets sync.WaitGroup
	trims.Go(func() {
		s := openAt(t, dir, Options{Grace: time.Nanosecond})
		for {
			select {
			case <-done:
				return
			default:
				s.Trim(t.Context(), Limits{MaxBytes: 1})
			}
		}
	})
	for w := range 5 {
		s := openAt(t, dir, Options{Grace: time.Nanosecond})
		gets.Go(func() {
			for n := range 30 {
				var off *UnavailableError
				if err := put(t.Context(), s, 10*(n%3)+w); err != nil && !errors.As(err, &off) {
					t.Error(err)
				}
				if _, err := get(t, t.Context(), s, 10*(n%3)+w); err != nil {
					t.Error(err)
				}
			}
		})
	}
	gets.Wait()
	close(done)
	trims.Wait()
}
