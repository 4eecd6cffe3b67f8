package bind

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"orrery/lang/graph"
)

func unixListen(kind, file string, mode graph.Mode) graph.Listen {
	return graph.Listen{Kind: kind, File: file, Mode: mode, Backlog: 8}
}

// unixService is a service with one socket called s, and a Table for it.
func unixService(t *testing.T, l graph.Listen) (*graph.Graph, *Table, string) {
	t.Helper()
	d := dirs(t)
	g := newGraph(t, graph.Decl{}, service("a/b", listener("s", l)))
	return g, openTable(t, d), socketPath(d, "a/b", l.File)
}

func TestUnixSockets(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	for kind, network := range map[string]string{"unix": "unix", "unix_dgram": "unixgram", "unix_seqpacket": "unixpacket"} {
		for _, mode := range []graph.Mode{0o600, 0o660, 0o777} {
			for _, file := range []string{"x.sock", "@orrery-test-" + t.Name() + fmt.Sprint(os.Getpid())} {
				t.Run(fmt.Sprintf("%s %o %.1s", kind, mode, file), func(t *testing.T) { testUnixSocket(t, unixListen(kind, file, mode), network) })
			}
		}
	}
}

// testUnixSocket opens one socket, again, and closes it.
func testUnixSocket(t *testing.T, l graph.Listen, network string) {
	g, tab, path := unixService(t, l)
	prepare(t, tab, g, "a/b")
	c, err := net.Dial(network, path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if l.File[0] != '@' {
		if st, err := os.Lstat(path); err != nil || st.Mode().Perm() != os.FileMode(l.Mode) {
			t.Errorf("got mode %v, want %o", st.Mode(), l.Mode)
		}
	}
	f := tab.Sockets(g.Node("a/b").Service)[0]
	prepare(t, tab, g, "a/b")
	if again := tab.Sockets(g.Node("a/b").Service)[0]; again != f || f.Name != "s" {
		t.Error("the socket was opened anew")
	}
	tab.Close("a/b")
	if _, err := os.Lstat(path); err == nil {
		t.Error("the file is still there")
	}
}

func TestUnixStale(t *testing.T) {
	for kind, network := range map[string]string{"unix": "unix", "unix_dgram": "unixgram", "unix_seqpacket": "unixpacket"} {
		t.Run(kind, func(t *testing.T) {
			g, tab, path := unixService(t, unixListen(kind, "x", 0o600))
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			var old interface{ Close() error }
			var err error
			if kind == "unix_dgram" {
				old, err = net.ListenUnixgram(network, &net.UnixAddr{Name: path, Net: network})
			} else {
				var l *net.UnixListener
				l, err = net.ListenUnix(network, &net.UnixAddr{Name: path, Net: network})
				if l != nil {
					l.SetUnlinkOnClose(false)
				}
				old = l
			}
			if err != nil {
				t.Fatal(err)
			}
			var conflict *ConflictError
			if err := tab.Prepare(g, []string{"a/b"}, Options{}); !errors.As(err, &conflict) {
				t.Errorf("got %v while somebody answers, want a ConflictError", err)
			}
			old.Close()
			prepare(t, tab, g, "a/b")
		})
	}
}

func TestUnixRefused(t *testing.T) {
	for name, c := range map[string]struct {
		file  string
		make  func(path string) error
		wants []string
	}{
		"long":    {strings.Repeat("x", 108), nil, []string{"bytes", "at most 107", "XDG_RUNTIME_DIR"}},
		"file":    {"x", func(p string) error { return os.WriteFile(p, []byte("data"), 0o600) }, []string{"is no socket"}},
		"symlink": {"x", func(p string) error { return os.Symlink("/nowhere", p) }, []string{"symlink"}},
		"folder":  {"missing/x", nil, []string{"no such file"}},
	} {
		t.Run(name, func(t *testing.T) {
			g, tab, path := unixService(t, unixListen("unix", c.file, 0o600))
			if err := os.MkdirAll(tab.dirs.Path("run", "a/b"), 0o700); err != nil {
				t.Fatal(err)
			}
			if c.make != nil {
				if err := c.make(path); err != nil {
					t.Fatal(err)
				}
			}
			err := tab.Prepare(g, []string{"a/b"}, Options{})
			if err == nil {
				t.Fatal("got no error")
			}
			for _, w := range append(c.wants, "socket s of a/b") {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			if c.make != nil {
				if _, err := os.Lstat(path); err != nil {
					t.Error("what stood there is gone")
				}
			}
		})
	}
}

func TestUnixForeign(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to make a file of another user")
	}
	g, tab, path := unixService(t, unixListen("unix", "x", 0o600))
	os.MkdirAll(filepath.Dir(path), 0o700)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	os.Chown(path, 12345, 12345)
	if err := tab.Prepare(g, []string{"a/b"}, Options{}); err == nil || !strings.Contains(err.Error(), "uid 12345") {
		t.Errorf("got %v", err)
	}
	// That of the service's user is replaced, and the new one is its own.
	d := dirs(t)
	os.Chmod(d.Run, 0o711)
	g = newGraph(t, graph.Decl{}, service("n", listener("s", unixListen("unix", "x", 0o600)), func(s *graph.Service) { s.User = "nobody" }))
	tab = openTable(t, d)
	prepare(t, tab, g, "n")
	st, err := os.Lstat(socketPath(d, "n", "x"))
	if err != nil || st.Sys().(*syscall.Stat_t).Uid == 0 {
		t.Errorf("got %v, %v, want a socket of nobody", st, err)
	}
}

func TestUnixTwice(t *testing.T) {
	l := unixListen("unix", "@orrery-twice-"+fmt.Sprint(os.Getpid()), 0o600)
	g := newGraph(t, graph.Decl{}, service("a", listener("s", l)), service("b", listener("s", l)))
	err := openTable(t, dirs(t)).Prepare(g, []string{"a", "b"}, Options{})
	if err == nil || !strings.Contains(err.Error(), "the socket s of a") {
		t.Errorf("got %v", err)
	}
}
