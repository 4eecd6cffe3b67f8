package files

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestRootStays: what a Root does ends as it does with an os.Root, whatever links there are.
func TestRootStays(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "in")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(dir, "sub"), 0o755))
	must(os.WriteFile(filepath.Join(top, "out"), []byte("outside"), 0o644))
	must(os.WriteFile(filepath.Join(dir, "sub", "f"), []byte("inside"), 0o644))
	for name, to := range map[string]string{"near": "sub", "far": "..", "abs": top, "fnear": "sub/f", "ffar": "../out", "loop": "loop", "sub/up": "..", "gone": "nowhere"} {
		must(os.Symlink(to, filepath.Join(dir, name)))
	}
	theirs, err := os.OpenRoot(dir)
	must(err)
	defer theirs.Close()
	ours, err := OpenRoot(dir)
	must(err)
	defer ours.Close()
	for _, name := range []string{"sub/f", "near/f", "near/up/sub/f", "far/out", "abs/out", "fnear", "ffar", "loop", "gone", "none", "../out", "sub/../sub/f", "/etc/passwd", "sub", "sub/f/x"} {
		var text []byte
		want, werr := theirs.ReadFile(name)
		f, err := ours.File(name, os.O_RDONLY, 0)
		if err == nil {
			text, err = ReadFrom(f, 2)
			f.Close()
		}
		if (err == nil) != (werr == nil) || !bytes.Equal(text, want) || errors.Is(err, fs.ErrNotExist) != errors.Is(werr, fs.ErrNotExist) {
			t.Errorf("%s: got %q, %v, want %q, %v", name, text, err, want, werr)
		}
		wi, werr := theirs.Lstat(name)
		fi, err := ours.Lstat(name)
		if (err == nil) != (werr == nil) || err == nil && (fi.Mode() != wi.Mode() || fi.Size() != wi.Size() || !fi.ModTime().Equal(wi.ModTime()) || fi.Name() != wi.Name()) {
			t.Errorf("%s: got %v, %v, want %v, %v", name, fi, err, wi, werr)
		}
		ws, werr := theirs.Stat(name)
		if got, want := ours.HasDir(name), werr == nil && ws.IsDir(); got != want {
			t.Errorf("%s: a folder: got %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{"far/new", "abs/new", "../new", "near/new", "sub/new"} {
		f, err := ours.File("tmp", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		must(err)
		must(f.Close())
		fi, err := ours.Rename("tmp", name)
		if inside := strings.HasSuffix(name, "ar/new") && name[0] == 'n' || name[0] == 's'; inside != (err == nil) {
			t.Errorf("%s: got %v", name, err)
		} else if inside && (fi == nil || fi.Name() != "new") {
			t.Errorf("%s: got %v", name, fi)
		}
		_ = ours.Remove("tmp")
	}
	if _, err := os.Lstat(filepath.Join(top, "new")); err == nil {
		t.Error("a file was moved outside")
	}
}

// TestCopy: what is read, in whatever pieces, is what is written.
func TestCopy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := bytes.Repeat([]byte("0123456789abcdef"), rapid.IntRange(0, 1<<15).Draw(t, "n"))
		var to bytes.Buffer
		if n, err := Copy(&to, bytes.NewReader(text)); err != nil || n != int64(len(text)) || !bytes.Equal(to.Bytes(), text) {
			t.Fatalf("got %d bytes, %v, want %d", n, err, len(text))
		}
		got, err := ReadFrom(bytes.NewReader(text), int64(rapid.IntRange(0, 100).Draw(t, "size")))
		if err != nil || !bytes.Equal(got, text) {
			t.Fatalf("got %d bytes, %v, want %d", len(got), err, len(text))
		}
	})
}

// TestReadAt: an open file is a file of any offset, until its end.
func TestReadAt(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var at io.ReaderAt = f
	for _, row := range []struct {
		at, n int
		want  string
		err   error
	}{{0, 4, "0123", nil}, {6, 4, "6789", nil}, {8, 4, "89", io.EOF}, {20, 1, "", io.EOF}} {
		b := make([]byte, row.n)
		if n, err := at.ReadAt(b, int64(row.at)); string(b[:n]) != row.want || err != row.err {
			t.Errorf("%d at %d: got %q, %v", row.n, row.at, b[:n], err)
		}
	}
}

// TestPipe: our end of a pipe can be waited for with a deadline, and the end of the child blocks.
func TestPipe(t *testing.T) {
	r, w, err := Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if text, err := ReadFrom(r, 0); err != nil || string(text) != "x" {
		t.Errorf("got %q, %v", text, err)
	}
}
