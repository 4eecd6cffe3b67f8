package cache

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"orrery/runtime/files"
)

func TestPutGet(t *testing.T) {
	s := store(t)
	wantHit(t, s, 1, false)
	for n := range 3 {
		mustPut(t, s, n)
	}
	for n := range 3 {
		wantHit(t, s, n, true)
	}
	st, err := s.Stats(t.Context())
	if err != nil || st.Records != 3 || st.Blobs != 3*2+1 || st.Bytes == 0 || st.Oldest.IsZero() || st.Newest.Before(st.Oldest) {
		t.Errorf("got %+v, %v", st, err)
	}
	rep, err := s.Verify(t.Context())
	if err != nil || rep.Records != 3 || rep.Blobs != 7 || len(rep.Bad) != 0 {
		t.Errorf("got %+v, %v", rep, err)
	}
	again := openAt(t, filepath.Dir(s.disk.dir), Options{})
	wantHit(t, again, 2, true)
	if rep, err := s.Clear(t.Context()); err != nil || rep.Records != 3 || rep.Blobs != 7 {
		t.Errorf("got %+v, %v", rep, err)
	}
	wantHit(t, s, 1, false)
	mustPut(t, again, 1)
	wantHit(t, s, 1, true)
}

// TestDamage: each file of a small cache, damaged in each way, in a process that has verified it and in a new one. Nothing wrong is
// ever given; the next put mends it.
func TestDamage(t *testing.T) {
	ways := map[string]func([]byte) []byte{
		"flip":   func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"first":  func(b []byte) []byte { b[0] ^= 0x80; return b },
		"cut":    func(b []byte) []byte { return b[:len(b)/2] },
		"byte":   func(b []byte) []byte { return b[:len(b)-1] },
		"empty":  func([]byte) []byte { return nil },
		"zero":   func(b []byte) []byte { clear(b); return b },
		"longer": func(b []byte) []byte { return append(b, 'x') },
		"delete": nil,
	}
	tried := 0
	for name, way := range ways {
		for _, warm := range []bool{false, true} {
			dir := filepath.Join(t.TempDir(), "c")
			s := openAt(t, dir, Options{})
			mustPut(t, s, 1)
			mustPut(t, s, 2)
			for _, file := range all(t, filepath.Join(dir, "v1")) {
				if !strings.HasPrefix(file, blobsDir) && !strings.HasPrefix(file, recordsDir) {
					continue
				}
				if warm {
					wantHit(t, s, 1, true)
					wantHit(t, s, 2, true)
				}
				full := filepath.Join(dir, "v1", file)
				if way == nil {
					if err := os.Remove(full); err != nil {
						t.Fatal(err)
					}
				} else {
					rewrite(t, full, way)
				}
				reader := s
				if !warm {
					reader = openAt(t, dir, Options{})
				}
				misses := 0
				for n := 1; n <= 2; n++ {
					hit, err := get(t, t.Context(), reader, n)
					if err != nil {
						t.Fatalf("%s of %s: %v", name, file, err)
					}
					if !hit {
						misses++
					}
				}
				if misses == 0 {
					t.Errorf("%s of %s: nobody noticed", name, file)
				}
				mustPut(t, s, 1)
				mustPut(t, s, 2)
				tried++
			}
		}
	}
	t.Logf("%d damages, 0 wrong outputs", tried)
}

// TestDamageReported: the first reader is told, and Verify finds all.
func TestDamageReported(t *testing.T) {
	s := store(t)
	mustPut(t, s, 1)
	r, err := s.Get(t.Context(), keyOf(1))
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, filepath.Join(s.disk.dir, shard(blobsDir, r.Outputs[1].Blob.Hash)), func(b []byte) []byte { b[0]++; return b })
	var bad *CorruptError
	if err := s.Fetch(t.Context(), r.Blobs()); !errors.As(err, &bad) || !errors.Is(err, ErrMiss) || !strings.Contains(bad.Error(), "bad blobs/") {
		t.Errorf("got %v", err)
	}
	if rep, err := s.Verify(t.Context()); err != nil || len(rep.Bad) != 1 || rep.Records != 0 || !strings.Contains(rep.Bad[0], "task 1") {
		t.Errorf("got %+v, %v", rep, err)
	}
	mustPut(t, s, 1)
	wantHit(t, s, 1, true)
	rewrite(t, filepath.Join(s.disk.dir, shard(recordsDir, keyOf(1))), func(b []byte) []byte { return b[:len(b)-2] })
	if _, err := s.Get(t.Context(), keyOf(1)); !errors.As(err, &bad) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Get(t.Context(), keyOf(1)); err != ErrMiss {
		t.Errorf("got %v: the bad record is still there", err)
	}
}

// TestStrangers: what is no file of ours is never believed, and a pipe does not block.
func TestStrangers(t *testing.T) {
	s := store(t)
	for name, swap := range map[string]func(path string) error{
		"pipe":     func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"folder":   func(p string) error { return os.Mkdir(p, 0o700) },
		"writable": func(p string) error { return errors.Join(os.WriteFile(p, nil, 0o600), os.Chmod(p, 0o666)) },
		"link out": func(p string) error { return os.Symlink("/etc/passwd", p) },
	} {
		mustPut(t, s, 1)
		r, err := s.Get(t.Context(), keyOf(1))
		if err != nil {
			t.Fatal(err)
		}
		for _, rel := range []string{shard(recordsDir, keyOf(1)), shard(blobsDir, r.Outputs[1].Blob.Hash)} {
			mustPut(t, s, 1)
			p := filepath.Join(s.disk.dir, rel)
			if err := errors.Join(os.Remove(p), swap(p)); err != nil {
				t.Fatal(err)
			}
			if hit, err := get(t, t.Context(), s, 1); hit || err != nil && name != "link out" {
				t.Errorf("%s at %s: got %v, %v", name, rel, hit, err)
			}
			os.RemoveAll(p)
		}
	}
	if os.Geteuid() == 0 {
		mustPut(t, s, 1)
		os.Lchown(filepath.Join(s.disk.dir, shard(recordsDir, keyOf(1))), 65534, 65534)
		wantHit(t, s, 1, false)
	}
}

func TestRefused(t *testing.T) {
	want := func(dir, text string) {
		t.Helper()
		var off *UnavailableError
		if _, err := Open(dir, Options{}); !errors.As(err, &off) || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want %q", err, text)
		}
	}
	dir := t.TempDir()
	os.Chmod(dir, 0o770)
	want(dir, "others may write")
	os.Chmod(dir, 0o700)
	store := openAt(t, dir, Options{})
	os.Chmod(filepath.Join(dir, "v1", blobsDir), 0o777)
	want(dir, "others may write")
	os.Chmod(filepath.Join(dir, "v1", blobsDir), 0o700)
	mustPut(t, store, 1)
	want("relative", "absolute")
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	want(file, "not a directory")
	other := t.TempDir()
	os.Symlink(dir, filepath.Join(other, "v1"))
	want(other, "is no folder")
	if os.Geteuid() == 0 {
		os.Chown(dir, 65534, 65534)
		want(dir, "belongs to user 65534, want 0")
		os.Chown(dir, 0, 0)
		os.Chown(filepath.Join(dir, "v1", recordsDir), 65534, 65534)
		want(dir, "belongs to user 65534")
	}
}

func TestBadPuts(t *testing.T) {
	s := store(t)
	b, err := s.Add(t.Context(), strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*Record{
		"key":      {Key: "abc"},
		"path":     {Key: keyOf(1), Outputs: []Entry{{Path: "../x", Kind: File, Blob: b}}},
		"absolute": {Key: keyOf(1), Outputs: []Entry{{Path: "/x", Kind: File, Blob: b}}},
		"root":     {Key: keyOf(1), Outputs: []Entry{{Path: ".", Kind: Dir}}},
		"dots":     {Key: keyOf(1), Outputs: []Entry{{Path: "a/../x", Kind: File, Blob: b}}},
		"kind":     {Key: keyOf(1), Outputs: []Entry{{Path: "x", Kind: "device"}}},
		"hash":     {Key: keyOf(1), Outputs: []Entry{{Path: "x", Kind: File, Blob: Blob{"../../x", 1}}}},
		"order":    {Key: keyOf(1), Outputs: []Entry{{Path: "b", Kind: Dir}, {Path: "a", Kind: Dir}}},
		"twice":    {Key: keyOf(1), Outputs: []Entry{{Path: "b", Kind: Dir}, {Path: "b", Kind: Dir}}},
		"no blob":  {Key: keyOf(1), Outputs: []Entry{{Path: "x", Kind: File, Blob: Blob{keyOf(3), 1}}}},
		"size":     {Key: keyOf(1), Outputs: []Entry{{Path: "x", Kind: File, Blob: Blob{b.Hash, 2}}}},
	} {
		if err := s.Put(t.Context(), r); err == nil {
			t.Errorf("%s: it was kept", name)
		}
	}
	wantHit(t, s, 1, false)
	broken := errors.New("broken")
	if _, err := s.Add(t.Context(), io.MultiReader(strings.NewReader("x"), errReader{broken})); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if left := all(t, filepath.Join(s.disk.dir, tmpDir)); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestSalt(t *testing.T) {
	s := store(t)
	salts := make([]string, 8)
	var wg sync.WaitGroup
	for i := range salts {
		wg.Go(func() {
			b, err := s.Salt()
			if err != nil {
				t.Error(err)
			}
			salts[i] = string(b)
		})
	}
	wg.Wait()
	for _, b := range salts {
		if b != salts[0] || len(b) != saltSize {
			t.Fatal("there is more than one salt")
		}
	}
	rewrite(t, filepath.Join(s.disk.dir, "salt"), func(b []byte) []byte { return b[:5] })
	if b, err := s.Salt(); err != nil || len(b) != saltSize || string(b) == salts[0] {
		t.Errorf("got %d bytes, %v", len(b), err)
	}
}

// TestLock: one at a time, among stores and goroutines; a waiter may give up; what is waited for is had.
func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	var inside, most, turns atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		s := openAt(t, dir, Options{})
		for range 8 {
			wg.Go(func() {
				unlock, err := s.Lock(t.Context(), keyOf(1))
				if err != nil {
					t.Error(err)
					return
				}
				if n := inside.Add(1); n > most.Load() {
					most.Store(n)
				}
				turns.Add(1)
				inside.Add(-1)
				unlock()
			})
		}
	}
	wg.Wait()
	if most.Load() != 1 || turns.Load() != 32 {
		t.Errorf("got %d at once and %d turns, want 1 and 32", most.Load(), turns.Load())
	}
	s := openAt(t, dir, Options{})
	unlock, err := s.Lock(t.Context(), keyOf(1))
	if err != nil {
		t.Fatal(err)
	}
	other, err := s.Lock(t.Context(), keyOf(2))
	if err != nil {
		t.Fatal(err)
	}
	other()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := s.Lock(ctx, keyOf(1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	unlock()
	if unlock, err = s.Lock(t.Context(), keyOf(1)); err != nil {
		t.Fatal(err)
	}
	unlock()
	if left := all(t, filepath.Join(dir, "v1", locksDir)); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

// TestVerifiedOnce: what was hashed since boot is not hashed again, also by another process; another boot's word does not count.
func TestVerifiedOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	s := openAt(t, dir, Options{})
	mustPut(t, s, 1)
	if files.Boot() == "" {
		t.Skip("no boot id here")
	}
	r, err := s.Get(t.Context(), keyOf(1))
	if err != nil {
		t.Fatal(err)
	}
	b := r.Outputs[0].Blob
	known := func(s *Store) bool {
		fi, err := s.disk.lstat(shard(blobsDir, b.Hash))
		if err != nil {
			t.Fatal(err)
		}
		return s.verified.has(&s.disk, fi, b.Hash)
	}
	s.verified.flush(&s.disk) // as Close does, and every so often
	if !known(openAt(t, dir, Options{})) {
		t.Error("another process hashes it again")
	}
	name := filepath.Join(dir, "v1", s.verified.file())
	if err := os.Rename(name, filepath.Join(dir, "v1", "verified-another-boot")); err != nil {
		t.Fatal(err)
	}
	if known(openAt(t, dir, Options{})) {
		t.Error("the word of another boot counts")
	}
	// Torn and garbled lines are none.
	os.WriteFile(name, []byte("x\n\n"+b.Hash+" 1 2\n"+b.Hash+" 1 2 3 4 5"), 0o600)
	fresh := openAt(t, dir, Options{})
	wantHit(t, fresh, 1, true)
}
