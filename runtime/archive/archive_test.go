package archive

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

func root(t testing.TB, dir string) *os.Root {
	t.Helper()
	r, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// look says what is in a folder: path -> kind, mode and content.
func look(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.Walk(dir, func(path string, fi fs.FileInfo, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		what := fi.Mode().String()
		switch {
		case fi.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what += " " + string(b)
		case fi.Mode()&fs.ModeSymlink != 0:
			to, _ := os.Readlink(path)
			what += " " + to
		}
		all[rel] = what
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func roundTrip(t testing.TB, from string) (index, content []byte) {
	t.Helper()
	var b bytes.Buffer
	index, err := Pack(context.Background(), root(t, from), &b, Us())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "content")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	to := t.TempDir()
	t.Cleanup(func() { os.Chmod(filepath.Join(to, "closed"), 0o700) })
	if err := Unpack(context.Background(), root(t, to), index, f, Us()); err != nil {
		t.Fatal(err)
	}
	if a, b := look(t, from), look(t, to); !maps.Equal(a, b) {
		t.Errorf("got %q, want %q", b, a)
	}
	return index, b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	os.Chmod(dir, 0o750)
	write := func(name, text string, mode fs.FileMode) {
		path := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(path), 0o700)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		os.Chmod(path, mode)
	}
	long := strings.Repeat("0123456789abcdef", 5000)
	write("empty", "", 0o600)
	write("a b/\"quoted\"\n", "x", 0o644)
	write("a b/\xff", "not UTF-8", 0o600)
	write("base/1/long", long, 0o640)
	write("base/2/long", long, 0o600)
	write("base/2/set", "s", 0o755|fs.ModeSetuid)
	for i := range 100 {
		write("many/"+strings.Repeat("n", i+1), strings.Repeat("y", i*100), 0o600)
	}
	os.Symlink("../../outside", filepath.Join(dir, "link"))
	os.Mkdir(filepath.Join(dir, "closed"), 0o700)
	write("closed/in", "x", 0o400)
	os.Chmod(filepath.Join(dir, "closed"), 0o500)
	t.Cleanup(func() { os.Chmod(filepath.Join(dir, "closed"), 0o700) })
	_, content := roundTrip(t, dir)
	if n := bytes.Count(content, []byte(long)); n != 1 {
		t.Errorf("a content stands %d times, want once", n)
	}
}

func TestPackRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Pack(context.Background(), root(t, dir), &bytes.Buffer{}, Us()); err == nil || !strings.Contains(err.Error(), "pipe") {
		t.Errorf("got %v, want that a pipe cannot be kept", err)
	}
	os.Remove(filepath.Join(dir, "pipe"))
	if _, err := Pack(context.Background(), root(t, dir), &bytes.Buffer{}, Owner{os.Geteuid() + 1, -1}); err == nil || !strings.Contains(err.Error(), "belongs to user") {
		t.Errorf("got %v, want that another owner cannot be kept", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Pack(ctx, root(t, dir), &bytes.Buffer{}, Us()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want cancelled", err)
	}
}

// TestUnpackRefuses holds that no index writes outside of the folder, and that a short content is an error.
func TestUnpackRefuses(t *testing.T) {
	for _, lines := range []string{
		"", "f 600 0 0 \"x\"\n", "d 700 \".\"\nf 600 0 0 \"../x\"\n", "d 700 \".\"\nf 600 0 0 \"/x\"\n", "d 700 \".\"\nf 600 0 0 \"a/x\"\n",
		"d 700 \".\"\nl \"/tmp\" \"a\"\nf 600 0 0 \"a/x\"\n", "d 700 \".\"\nd 700 \"a\"\nl \"/tmp\" \"a\"\n", "d 700 \".\"\nf 600 1 1 \"x\"\n",
		"d 700 \".\"\nf 600 -1 0 \"x\"\n", "d 700 \".\"\nf 600 1 0 \"x\"\n", "d 700 \".\"\nq \"x\"\n", "d 700 \".\"\nf 600 0 0 \"x\"",
	} {
		dir := filepath.Join(t.TempDir(), "d")
		os.Mkdir(dir, 0o700)
		if err := Unpack(context.Background(), root(t, dir), []byte(header+"\n"+lines), bytes.NewReader(nil), Us()); err == nil {
			t.Errorf("%q: got no error", lines)
		}
		if all, _ := os.ReadDir(filepath.Dir(dir)); len(all) != 1 {
			t.Errorf("%q: wrote outside: %v", lines, all)
		}
	}
}

// TestIndexLaw holds that what is encoded is decoded as it was.
func TestIndexLaw(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		all := []entry{{kind: 'd', path: ".", mode: 0o700 | fs.ModeDir}}
		for _, name := range rapid.SliceOfDistinct(rapid.StringMatching(`[^/\x00.][^/\x00]{0,5}`), rapid.ID).Draw(r, "names") {
			e := entry{path: name, mode: modeOf(rapid.Uint32Range(0, 0o7777).Draw(r, "mode"))}
			switch e.kind = rapid.SampledFrom([]byte("dfl")).Draw(r, "kind"); e.kind {
			case 'f':
				e.size, e.offset = rapid.Int64Range(0, 1<<40).Draw(r, "size"), block*rapid.Int64Range(0, 1<<40).Draw(r, "offset")
			case 'l':
				e.mode, e.target = 0, rapid.StringMatching(`[^\x00]+`).Draw(r, "target")
			}
			all = append(all, e)
		}
		got, err := decode(encode(all))
		if err != nil {
			r.Fatal(err)
		}
		for i := range all {
			if want := all[i]; got[i].path != want.path || got[i].kind != want.kind || bits(got[i].mode) != bits(want.mode) || got[i].size != want.size || got[i].offset != want.offset || got[i].target != want.target {
				r.Fatalf("got %+v, want %+v", got[i], want)
			}
		}
	})
}

// FuzzDecode holds that what is accepted says the same when it is written again.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(header + "\nd 700 \".\"\nf 600 5 4096 \"a\"\nl \"x\" \"b\"\n"))
	f.Add([]byte(header + "\nd 7777 \".\"\nd 0 \"a\\xff\"\n"))
	f.Fuzz(func(t *testing.T, index []byte) {
		all, err := decode(index)
		if err != nil {
			return
		}
		again, err := decode(encode(all))
		if err != nil || len(again) != len(all) {
			t.Fatalf("got %v of %d entries, then %d", err, len(all), len(again))
		}
	})
}
