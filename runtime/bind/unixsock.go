package bind

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"orrery/lang/graph"
)

// maxSocketPath is the longest path that the kernel takes for a unix socket, in bytes.
const maxSocketPath = 107

// unixSocket is a held unix socket.
type unixSocket struct {
	path string // "@name": abstract
	spec graph.Listen
	file *os.File
}

func (u *unixSocket) close() {
	u.file.Close()
	if !strings.HasPrefix(u.path, "@") {
		os.Remove(u.path)
	}
}

// socketPath is where a unix socket of a service lies.
func socketPath(d Dirs, node, file string) string {
	if strings.HasPrefix(file, "@") || filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(d.Path("run", node), file)
}

// openUnix opens the unix sockets of the nodes that are not open yet, and tells which ones are new.
func (t *Table) openUnix(g *graph.Graph, nodes []string) (fresh []key, err error) {
	var errs []error
	for _, n := range g.Nodes {
		if n.Kind != graph.KindService || !slices.Contains(nodes, n.Name()) || n.Service.SocketNames() == nil {
			continue
		}
		o, err := ownerOf(g, n)
		if err == nil {
			_, err = t.dirs.make("run", n.Name(), o)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, l := range n.Service.Listen {
			if l.Value.Kind == "tcp" || l.Value.Kind == "udp" {
				continue
			}
			k := key{n.Name(), l.Key}
			path := socketPath(t.dirs, n.Name(), l.Value.File)
			if u := t.sockets.get(k); u != nil {
				if u.path == path && u.spec == l.Value {
					continue
				}
				u.close()
				t.sockets.drop(k)
			}
			f, err := t.listenUnix(k, path, l.Value, o)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			t.sockets.set(k, &unixSocket{path: path, spec: l.Value, file: f})
			fresh = append(fresh, k)
		}
	}
	return fresh, errors.Join(errs...)
}

// listenUnix opens one socket. Its mode holds from the first moment on at which it can be reached.
func (t *Table) listenUnix(k key, path string, l graph.Listen, o owner) (*os.File, error) {
	fail := func(format string, args ...any) (*os.File, error) {
		return nil, fmt.Errorf("cannot open the socket %s of %s: %w", k.name, k.node, fmt.Errorf(format, args...))
	}
	for other, u := range t.sockets.all() {
		if u.path == path {
			return nil, &ConflictError{Node: k.node, Port: k.name, Path: path, Owner: fmt.Sprintf("the socket %s of %s", other.name, other.node)}
		}
	}
	if len(path) > maxSocketPath {
		return fail("got a path of %d bytes (%s), want at most %d; set XDG_RUNTIME_DIR to a directory with a short path, or give the file a shorter name",
			len(path), path, maxSocketPath)
	}
	typ := map[string]int{"unix": unix.SOCK_STREAM, "unix_dgram": unix.SOCK_DGRAM, "unix_seqpacket": unix.SOCK_SEQPACKET}[l.Kind]
	abstract := strings.HasPrefix(path, "@")
	if !abstract {
		if busy, err := clearStale(path, typ, o); err != nil {
			return fail("%w", err)
		} else if busy {
			return nil, &ConflictError{Node: k.node, Port: k.name, Path: path, Owner: "a program that answers there"}
		}
	}
	fd, err := newSocket(unix.AF_UNIX, typ)
	if err != nil {
		return fail("%w", err)
	}
	f := os.NewFile(uintptr(fd), path)
	if !abstract {
		// The file gets at most the bits of the socket itself: see unix_bind in the kernel.
		err = unix.Fchmod(fd, uint32(l.Mode))
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	}
	if err == nil && !abstract {
		err = settle(path, os.FileMode(l.Mode), o)
	}
	if err == nil && typ != unix.SOCK_DGRAM {
		err = listenOn(fd, l.Backlog)
	}
	if err == nil {
		return f, nil
	}
	f.Close()
	if errors.Is(err, unix.EADDRINUSE) || errors.Is(err, errBusy) {
		return nil, &ConflictError{Node: k.node, Port: k.name, Path: path, Owner: "another process"}
	}
	return fail("%w", err)
}

// clearStale removes the socket file of a server that is gone. It refuses anything else that stands there, and tells
// whether somebody still answers.
func clearStale(path string, typ int, o owner) (busy bool, err error) {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	switch {
	case st.Mode()&os.ModeSymlink != 0:
		return false, fmt.Errorf("%s is a symlink, want nothing there or an old socket; remove it", path)
	case st.Mode()&os.ModeSocket == 0:
		return false, fmt.Errorf("%s exists and is no socket; remove it", path)
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && int(sys.Uid) != os.Geteuid() && int(sys.Uid) != o.uid {
		return false, fmt.Errorf("%s belongs to uid %d and we are uid %d; remove it", path, sys.Uid, os.Geteuid())
	}
	if answers(path, typ) {
		return true, nil
	}
	return false, os.Remove(path)
}

// answers tells whether a socket is bound there by a process that runs.
func answers(path string, typ int) bool {
	fd, err := newSocket(unix.AF_UNIX, typ)
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	// A full queue of connections must not block us.
	if unix.SetNonblock(fd, true) != nil {
		return true
	}
	err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	return !errors.Is(err, unix.ECONNREFUSED)
}
