package control

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLocate(t *testing.T) {
	p := newPlace(t)
	link := filepath.Join(p.Root, "sub", "link.star")
	check(t, os.Mkdir(filepath.Dir(link), 0o755))
	check(t, os.Symlink(p.Project, link))
	q, err := Locate(link)
	check(t, err)
	if q != p {
		t.Errorf("got %+v by a symlink, want %+v", q, p)
	}
	if _, err := os.Lstat(p.Dir); !os.IsNotExist(err) {
		t.Errorf("Locate left something at %s: %v", p.Dir, err)
	}
	_, err = Locate(filepath.Join(p.Root, "absent.star"))
	wantError(t, err, "cannot locate")
	if want := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "orrery-"+p.Hash); p.Run != want || len(p.Hash) != 12 {
		t.Errorf("got run directory %s, want %s", p.Run, want)
	}
}

func TestRuntimeDirFallsBack(t *testing.T) {
	p := newPlace(t)
	open := filepath.Join(p.Root, "open")
	check(t, os.Mkdir(open, 0o777))
	check(t, os.Chmod(open, 0o777))
	for _, dir := range []string{"", "relative", filepath.Join(p.Root, "absent"), open} {
		t.Setenv("XDG_RUNTIME_DIR", dir)
		q, err := Locate(p.Project)
		check(t, err)
		if !strings.HasPrefix(q.Run, "/tmp/orrery-") || !strings.HasSuffix(q.Run, "-"+p.Hash) {
			t.Errorf("XDG_RUNTIME_DIR=%q: got run directory %s, want /tmp/orrery-<uid>-%s", dir, q.Run, p.Hash)
		}
	}
}

func TestPathTooLong(t *testing.T) {
	p := newPlace(t)
	long := filepath.Join(p.Root, strings.Repeat("x", 120))
	check(t, os.Mkdir(long, 0o700))
	t.Setenv("XDG_RUNTIME_DIR", long)
	_, err := Locate(p.Project)
	wantError(t, err, long)
	wantError(t, err, "XDG_RUNTIME_DIR")
	wantError(t, err, "at most 107")
	check(t, p.CheckSocket("/"+strings.Repeat("x", 106)))
	wantError(t, p.CheckSocket("/"+strings.Repeat("x", 107)), "108 bytes")
}

func TestMake(t *testing.T) {
	p := newPlace(t)
	for range 2 {
		check(t, p.Make())
	}
	for _, dir := range []string{p.Dir, p.State, p.Logs, p.Run} {
		wantMode(t, dir, 0o700)
	}
	if b, err := os.ReadFile(filepath.Join(p.Dir, ".gitignore")); string(b) != "*\n" {
		t.Errorf("got .gitignore %q, %v, want *", b, err)
	}
	check(t, os.Chmod(p.Run, 0o755))
	check(t, p.Make())
	wantMode(t, p.Run, 0o700)
}

func TestRunDirRefused(t *testing.T) {
	for name, spoil := range map[string]func(p Place) error{
		"symlink": func(p Place) error {
			return os.Symlink(p.Root, p.Run)
		},
		"not a directory": func(p Place) error {
			return os.WriteFile(p.Run, nil, 0o600)
		},
		"no write for group": func(p Place) error {
			return mkdirMode(p.Run, 0o720)
		},
		"and others": func(p Place) error {
			return mkdirMode(p.Run, 0o702)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			check(t, spoil(p))
			err := p.Make()
			wantError(t, err, p.Run)
			wantError(t, err, name)
			_, err = Acquire(p)
			wantError(t, err, name)
		})
	}
}

func TestRunDirOfAnotherUserRefused(t *testing.T) {
	needRoot(t)
	p := newPlace(t)
	check(t, os.Mkdir(p.Run, 0o700))
	check(t, os.Chown(p.Run, 65534, 65534))
	wantError(t, p.Make(), "it belongs to uid 65534")
}

func TestForSystem(t *testing.T) {
	p := newPlace(t)
	s := p.ForSystem()
	if s.Run != "/run/orrery/"+p.Hash || s.State != "/var/lib/orrery/"+p.Hash || s.Lock != p.Lock || !s.System {
		t.Errorf("got %+v", s)
	}
	s = p.under(filepath.Join(p.Root, "lib"), filepath.Join(p.Root, "run"))
	check(t, s.Make())
	for _, dir := range []string{s.State, s.Run, filepath.Dir(s.State), filepath.Dir(s.Run)} {
		wantMode(t, dir, 0o711)
	}
}

func TestNodeDir(t *testing.T) {
	p := newPlace(t)
	check(t, p.Make())
	for kind, want := range map[string]string{
		"state": filepath.Join(p.State, "worker/1"),
		"run":   filepath.Join(p.Run, "n/worker/1"),
		"cache": filepath.Join(p.Dir, "cache/worker/1"),
	} {
		for range 2 {
			got, err := p.NodeDir(kind, "worker/1", -1, -1)
			check(t, err)
			if got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			wantMode(t, got, 0o700)
		}
	}
	for _, node := range []string{"", ".", "..", "../x", "/x", "a//b", "a/../b", "a/", "a\x00b"} {
		_, err := p.NodeDir("state", node, -1, -1)
		wantError(t, err, "got node name")
	}
	_, err := p.NodeDir("log", "db", -1, -1)
	wantError(t, err, "got kind")

	check(t, os.Symlink("/etc", filepath.Join(p.State, "sly")))
	for _, node := range []string{"sly", "sly/1"} {
		_, err = p.NodeDir("state", node, -1, -1)
		wantError(t, err, "no symlink")
	}
	if os.Geteuid() != 0 {
		_, err = p.NodeDir("state", "theirs", 0, 0)
		wantError(t, err, "cannot give it to uid 0")
	}
}

func TestNodeDirOfUser(t *testing.T) {
	needRoot(t)
	p := newPlace(t)
	s := p.under(filepath.Join(p.Root, "lib"), filepath.Join(p.Root, "run"))
	check(t, s.Make())
	const a, b = 65534, 65533

	cache, err := s.NodeDir("cache", "db", a, a)
	check(t, err)
	if want := filepath.Join(s.NodeCaches(), "db"); cache != want {
		t.Errorf("got %s, want %s", cache, want)
	}
	run, err := s.NodeDir("run", "db", a, a)
	check(t, err)
	wantMode(t, run, 0o711)
	wantOwner(t, run, a)

	child, err := s.NodeDir("state", "worker/1", a, a)
	check(t, err)
	wantMode(t, child, 0o700)
	wantMode(t, filepath.Dir(child), 0o711)
	wantOwner(t, filepath.Dir(child), 0)
	parent, err := s.NodeDir("state", "worker", a, a)
	check(t, err)
	wantOwner(t, parent, a)
	wantMode(t, parent, 0o700)
	_, err = s.NodeDir("state", "worker/2", b, b)
	wantError(t, err, "belongs to uid 65534, want uid 65533")
	_, err = s.NodeDir("state", "worker", b, b)
	wantError(t, err, "belongs to uid 65534, want uid 65533")

	// A service of root whose parts have a user lets them through, and its data is not given away.
	top, err := s.NodeDir("state", "top", -1, -1)
	check(t, err)
	check(t, os.WriteFile(filepath.Join(top, "data"), nil, 0o600))
	_, err = s.NodeDir("state", "top/part", a, a)
	check(t, err)
	wantMode(t, top, 0o711)
	_, err = s.NodeDir("state", "top", a, a)
	wantError(t, err, "belongs to uid 0, want uid 65534")
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func mkdirMode(dir string, mode os.FileMode) error {
	if err := os.Mkdir(dir, mode); err != nil {
		return err
	}
	return os.Chmod(dir, mode)
}

func wantMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	st, err := os.Lstat(path)
	check(t, err)
	if st.Mode().Perm() != want {
		t.Errorf("%s: got mode %#o, want %#o", path, st.Mode().Perm(), want)
	}
}

func wantOwner(t *testing.T, path string, want int) {
	t.Helper()
	if got, ok := ownerOf(path); !ok || got != want {
		t.Errorf("%s: got owner %d, want %d", path, got, want)
	}
}
