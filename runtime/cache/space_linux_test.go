package cache

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestNoSpace: a full disk is told, and what was there stays good.
func TestNoSpace(t *testing.T) {
	dir := tmpfs(t, "size=256k")
	s := openAt(t, filepath.Join(dir, "c"), Options{})
	mustPut(t, s, 1)
	_, err := s.Add(t.Context(), strings.NewReader(strings.Repeat("x", 1<<20)))
	var off *UnavailableError
	if !errors.As(err, &off) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	if left := all(t, filepath.Join(dir, "c/v1", tmpDir)); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
	wantHit(t, s, 1, true)
	mustPut(t, s, 2)
	// Read-only: good to read, and says so when written.
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skip(err)
	}
	ro := openAt(t, filepath.Join(dir, "c"), Options{})
	wantHit(t, ro, 1, true)
	if err := put(t.Context(), ro, 3); !errors.As(err, &off) || !errors.Is(err, syscall.EROFS) {
		t.Errorf("got %v", err)
	}
	if _, err := ro.Lock(t.Context(), keyOf(3)); !errors.As(err, &off) {
		t.Errorf("got %v", err)
	}
	if _, err := Open(filepath.Join(dir, "new"), Options{}); !errors.As(err, &off) {
		t.Errorf("got %v", err)
	}
}

// tmpfs is a file system of its own.
func tmpfs(t *testing.T, options string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("orrery-test", dir, "tmpfs", 0, options); err != nil {
		t.Skip("cannot mount a tmpfs:", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}
