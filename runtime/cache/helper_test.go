package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func openAt(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// store is a new cache.
func store(t testing.TB) *Store {
	return openAt(t, filepath.Join(t.TempDir(), "orrery"), Options{})
}

// content is what the nth result holds.
func content(n int) []string {
	return []string{fmt.Sprintf("result %d", n), "shared by all", fmt.Sprintf("%d", n*n)}
}

func keyOf(n int) string { return sum(fmt.Appendf(nil, "key %d", n)) }

// put keeps the nth result.
func put(ctx context.Context, s *Store, n int) error {
	r := &Record{Key: keyOf(n), Task: fmt.Sprint("task ", n), Values: map[string]string{"v": fmt.Sprint(n), "bytes": "\xff\x00"}, Created: time.Unix(1, 0).UTC(), Duration: time.Second}
	for i, text := range content(n) {
		b, err := s.Add(ctx, bytes.NewReader([]byte(text)))
		if err != nil {
			return err
		}
		r.Outputs = append(r.Outputs, Entry{Path: fmt.Sprintf("out/%d", i), Kind: File, Mode: 0o644, Blob: b})
	}
	r.Outputs = append(r.Outputs, Entry{Path: "out/l\xff", Kind: Link, Target: "\xfe"}, Entry{Path: "out/z", Kind: Dir, Mode: 0o755})
	r.Lines = r.Outputs[0].Blob
	return s.Put(ctx, r)
}

// get reads the nth result. A miss is (false, nil); content that is not what was put fails the test.
func get(t testing.TB, ctx context.Context, s *Store, n int) (bool, error) {
	t.Helper()
	r, err := s.Get(ctx, keyOf(n))
	if err == nil {
		err = s.Fetch(ctx, r.Blobs())
	}
	if errors.Is(err, ErrMiss) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for i, text := range content(n) {
		f, err := s.Open(ctx, r.Outputs[i].Blob)
		if errors.Is(err, ErrMiss) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		got, err := io.ReadAll(f)
		f.Close()
		if err != nil || string(got) != text {
			t.Fatalf("result %d: got %q, %v, want %q: a wrong output", n, got, err, text)
		}
	}
	if r.Values["v"] != fmt.Sprint(n) || r.Values["bytes"] != "\xff\x00" || r.Outputs[3].Path != "out/l\xff" || r.Outputs[3].Target != "\xfe" || r.Task != fmt.Sprint("task ", n) {
		t.Fatalf("got %+v", r)
	}
	return true, nil
}

func mustPut(t testing.TB, s *Store, n int) {
	t.Helper()
	if err := put(t.Context(), s, n); err != nil {
		t.Fatal(err)
	}
}

func wantHit(t testing.TB, s *Store, n int, want bool) {
	t.Helper()
	hit, err := get(t, t.Context(), s, n)
	if err != nil || hit != want {
		t.Fatalf("result %d: got %v, %v, want %v", n, hit, err, want)
	}
}

// all lists the regular files below a folder, relative to it.
func all(t testing.TB, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			rel, _ := filepath.Rel(dir, p)
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// rewrite changes a file in place, whatever its mode.
func rewrite(t testing.TB, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(bytes.Clone(b)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
}
