package libs

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseSource(t *testing.T) {
	for _, row := range []struct{ text, url, ref, err string }{
		{"https://h/x.git", "https://h/x.git", "", ""},
		{"https://h/x.git@v1", "https://h/x.git", "v1", ""},
		{"https://u@h/x.git", "https://u@h/x.git", "", ""},
		{"https://u@h/x.git@feature/a", "https://u@h/x.git", "feature/a", ""},
		{"git@h:x/y.git", "git@h:x/y.git", "", ""},
		{"git@h:x/y.git@v2", "git@h:x/y.git", "v2", ""},
		{"/srv/x.git@main", "/srv/x.git", "main", ""},
		{"file:///srv/x.tgz", "file:///srv/x.tgz", "", ""},
		{"https://h/x.zip?token=a", "https://h/x.zip?token=a", "", ""},
		{"https://h/x.tar.gz@v1", "", "", "archive"},
		{"http://h/x.zip", "", "", "https or file"},
		{"ext::sh -c x", "", "", "want a URL"},
		{"fd::3", "", "", "want a URL"},
		{"--upload-pack=x", "", "", "want URL"},
		{"../x", "", "", "want a URL"},
		{"ftp://h/x", "", "", "want https"},
		{"https://h/x.git@", "", "", "behind @"},
		{"https://h/x.git@-x", "", "", "want URL"},
		{"https://h/x.git@a b", "", "", "want a branch"},
		{"https://h", "", "", "want URL"},
	} {
		s, err := ParseSource(row.text, "")
		if row.err != "" {
			if err == nil || !strings.Contains(err.Error(), row.err) {
				t.Errorf("%s: got %v, want %s", row.text, err, row.err)
			}
		} else if err != nil || s.URL != row.url || s.Ref != row.ref {
			t.Errorf("%s: got %+v, %v", row.text, s, err)
		}
	}
	if s, err := ParseSource("https://h/x.git", "../../a/../b/"); err != nil || s.Path != "b" {
		t.Errorf("got %+v, %v, want the path to stay inside", s, err)
	}
}

// item is one member of an archive.
type item struct {
	name, body, link string
	kind             byte
}

func tarOf(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, i := range items {
		if i.kind == 0 {
			i.kind = tar.TypeReg
		}
		if err := w.WriteHeader(&tar.Header{Name: i.name, Typeflag: i.kind, Linkname: i.link, Size: int64(len(i.body)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, i.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUnpackRefuses(t *testing.T) {
	for _, row := range []struct {
		err   string
		items []item
	}{
		{"inside the library", []item{{name: "../x"}}},
		{"inside the library", []item{{name: "/etc/x"}}},
		{"inside the library", []item{{name: "a/../../x"}}},
		{"inside the library", []item{{name: "a/./x"}}},
		{"inside the library", []item{{name: "a\nb"}}},
		{"inside the library", []item{{name: `a\b`}}},
		{"stays inside", []item{{name: "a", link: "/etc/passwd", kind: tar.TypeSymlink}}},
		{"stays inside", []item{{name: "d/a", link: "../../x", kind: tar.TypeSymlink}}},
		{"below", []item{{name: "d", link: "e", kind: tar.TypeSymlink}, {name: "d/x"}}},
		{"below", []item{{name: "d"}, {name: "d/x"}}},
		{"twice", []item{{name: "a"}, {name: "a"}}},
		{"no file, folder", []item{{name: "a", link: "b", kind: tar.TypeLink}}},
		{"no file, folder", []item{{name: "a", kind: tar.TypeFifo}}},
		{"no file, folder", []item{{name: "a", kind: tar.TypeChar}}},
		{"too large", []item{{name: "a", body: strings.Repeat("x", maxFile+1)}}},
		{"a name of ours", []item{{name: manifestName}}},
		{"no files", nil},
	} {
		if _, err := unpack("tar", tarOf(t, row.items...), ""); err == nil || !strings.Contains(err.Error(), row.err) {
			t.Errorf("%v: got %v, want %s", row.items, err, row.err)
		}
	}
}

func TestUnpackTop(t *testing.T) {
	text := tarOf(t, item{name: "./x-1/", kind: tar.TypeDir}, item{name: "./x-1/a.star", body: "a"}, item{name: "./x-1/sub/b.star", body: "b"})
	c, err := unpack("tar", text, "")
	if err != nil || string(c["a.star"].data) != "a" || string(c["sub/b.star"].data) != "b" {
		t.Errorf("got %v, %v", c, err)
	}
	if c, err = unpack("tar", text, "sub"); err != nil || len(c) != 1 || string(c["b.star"].data) != "b" {
		t.Errorf("got %v, %v", c, err)
	}
	if _, err = unpack("tar", text, "none"); err == nil || !strings.Contains(err.Error(), "no folder none") {
		t.Errorf("got %v", err)
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, body := range map[string]string{"x-1/a.star": "a", "x-1/sub/b.star": "b"} {
		f, err := w.Create(name)
		if err == nil {
			_, err = io.WriteString(f, body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	z, err := unpack("zip", b.Bytes(), "")
	tarred, _ := unpack("tar", text, "")
	if err != nil || z.sum() != tarred.sum() {
		t.Errorf("got %v, %v: the same files in a zip have the same sum", z, err)
	}
}

// TestStore: what is kept is read as it was, in any way that it was changed not at all.
func TestStore(t *testing.T) {
	ctx, root := context.Background(), t.TempDir()
	file := filepath.Join(t.TempDir(), "lib.tar.gz")
	if err := os.WriteFile(file, tarOf(t, item{name: "a.star", body: "a"}, item{name: "d/b.star", body: "b"}, item{name: "l.star", link: "d/b.star", kind: tar.TypeSymlink}), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Store{Dir: filepath.Join(t.TempDir(), "libs")}
	p, err := s.Resolve(ctx, Source{URL: file})
	if err != nil {
		t.Fatal(err)
	}
	p.Name = "acme"
	l := &Lock{Version: 1}
	l.Set(p)
	if err := l.Write(root); err != nil {
		t.Fatal(err)
	}
	read := func(name string) (string, error) {
		f, err := s.Find(root, "acme")
		if err != nil {
			return "", err
		}
		b, err := f.FS.(interface {
			ReadFile(string) ([]byte, error)
		}).ReadFile(name)
		return string(b), err
	}
	dir := filepath.Join(s.Dir, p.Sum)
	for name, want := range map[string]string{"a.star": "a", "d/b.star": "b", "l.star": "b"} {
		if got, err := read(name); err != nil || got != want {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	for what, damage := range map[string]func() error{
		"content": func() error { return os.WriteFile(filepath.Join(dir, "d/b.star"), []byte("x"), 0o600) },
		"gone":    func() error { return os.Remove(filepath.Join(dir, "d/b.star")) },
		"link out": func() error {
			_ = os.Remove(filepath.Join(dir, "d/b.star"))
			return os.Symlink("/etc/passwd", filepath.Join(dir, "d/b.star"))
		},
		"list":      func() error { return os.WriteFile(filepath.Join(dir, manifestName), nil, 0o600) },
		"list gone": func() error { return os.Remove(filepath.Join(dir, manifestName)) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if got, err := read("l.star"); err == nil {
			t.Errorf("%s: got %q, want an error", what, got)
		}
		if len(s.Verify(root, p)) == 0 {
			t.Errorf("%s: verify has seen nothing", what)
		}
		if did, err := s.Fetch(ctx, p); err != nil || !did {
			t.Errorf("%s: got %v, %v of fetch", what, did, err)
		}
		if got, err := read("l.star"); err != nil || got != "b" {
			t.Errorf("%s: got %q, %v after fetch", what, got, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "more.star"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if errs := s.Verify(root, p); len(errs) != 1 || !strings.Contains(errs[0].Error(), "does not belong") {
		t.Errorf("got %v of a file too many", errs)
	}
}

func TestDownload(t *testing.T) {
	var plain *httptest.Server
	mux := http.NewServeMux()
	mux.HandleFunc("/x.tgz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "text") })
	mux.HandleFunc("/down.tgz", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+"/x.tgz", http.StatusFound)
	})
	plain = httptest.NewServer(mux)
	defer plain.Close()
	secure := httptest.NewTLSServer(mux)
	defer secure.Close()
	ctx := context.Background()
	if b, err := download(ctx, secure.Client(), secure.URL+"/x.tgz"); err != nil || string(b) != "text" {
		t.Errorf("got %q, %v", b, err)
	}
	if _, err := download(ctx, secure.Client(), secure.URL+"/down.tgz"); err == nil || !strings.Contains(err.Error(), "want https") {
		t.Errorf("got %v of a redirect to http", err)
	}
	if _, err := download(ctx, secure.Client(), secure.URL+"/none.tgz"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("got %v of what is not there", err)
	}
}

func FuzzLock(f *testing.F) {
	f.Add([]byte(`{"version": 1, "libraries": [{"name": "a", "source": "/x.tgz", "sha256": "` + strings.Repeat("0", 64) + `"}]}`))
	f.Add([]byte(`{"version": 1, "libraries": [{"name": "../a"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := parseLock(text)
		if err != nil {
			return
		}
		for _, p := range l.Libraries {
			if CheckName(p.Name) != nil || !validSum(p.Sum) || p.From().check() != nil {
				t.Errorf("took %+v", p)
			}
		}
	})
}

func FuzzUnpack(f *testing.F) {
	f.Add("tar", tarOf(f, item{name: "x/a", body: "a"}, item{name: "x/l", link: "a", kind: tar.TypeSymlink}))
	f.Add("zip", []byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, kind string, text []byte) {
		c, err := unpack(kind, text, "")
		if err != nil {
			return
		}
		for name, e := range c {
			if !filepath.IsLocal(name) || e.target != "" && !filepath.IsLocal(filepath.Join(filepath.Dir(name), e.target)) {
				t.Errorf("took %q -> %q", name, e.target)
			}
		}
		m, err := parseManifest(c.manifest().text())
		if err != nil || sumOf(m.text()) != c.sum() {
			t.Errorf("the list is not read as it is written: %v", err)
		}
	})
}
