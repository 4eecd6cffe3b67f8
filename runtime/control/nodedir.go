package control

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// NodeDir makes a directory of a node and gives its path. kind is "state" (its data), "run" (its sockets) or "cache". A
// node called worker/1 has its directory inside that of worker. uid and gid become the owner of a new directory; -1 leaves
// it to us. No symlink is followed below the base, and a directory that another user owns is an error, not a chown: what
// is in it would stay theirs. The place must have been made. State and cache are 0700; so is run, but 0711 in a System place, for clients with another user.
func (p Place) NodeDir(kind, node string, uid, gid int) (string, error) {
	base, parts, err := p.nodeParts(kind, node)
	if err != nil {
		return "", err
	}
	path := filepath.Join(append([]string{base}, parts...)...)
	if err := makeNested(base, parts, p.nodeDirSpec(kind, uid, gid)); err != nil {
		return "", fmt.Errorf("cannot make the %s directory of %s, %s: %w", kind, node, path, err)
	}
	return path, nil
}

// nodeParts is where a node's directory lies, and the components that may have to be made.
func (p Place) nodeParts(kind, node string) (base string, parts []string, err error) {
	if node == "." || !filepath.IsLocal(node) || filepath.Clean(node) != node || strings.ContainsRune(node, 0) {
		return "", nil, fmt.Errorf("got node name %q, want one that can be a path inside a directory", node)
	}
	switch kind {
	case "state":
		base = p.State
	case "run":
		// Apart from our own sockets, whatever a node is called.
		base, parts = p.Run, []string{"n"}
	case "cache":
		caches := p.NodeCaches()
		base, parts = filepath.Dir(caches), []string{filepath.Base(caches)}
	default:
		return "", nil, fmt.Errorf("got kind %q of a node's directory, want state, run or cache", kind)
	}
	return base, append(parts, strings.Split(node, "/")...), nil
}

// NodeCaches is the folder in which NodeDir makes the caches of the nodes.
func (p Place) NodeCaches() string {
	if p.System {
		return filepath.Join(p.State, ".cache")
	}
	return filepath.Join(p.Dir, "cache")
}

// dirSpec says what a chain of directories shall be.
type dirSpec struct {
	uid, gid int         // of the last one; -1 for ours
	mode     os.FileMode // of the last one
	parents  os.FileMode // of those above it
	passage  bool        // it is one of those above: an existing one of ours is opened as far as mode says
}

func (p Place) nodeDirSpec(kind string, uid, gid int) dirSpec {
	d := dirSpec{uid: uid, gid: gid, mode: 0o700, parents: 0o700}
	if p.System {
		d.parents = 0o711
		if kind == "run" {
			d.mode = 0o711
		}
	}
	return d
}

// makeNested creates parts inside one another below base, by descriptor: a component may lie in a directory that a
// service's user can write, where a path could be swapped for a symlink between a check and a chown.
func makeNested(base string, parts []string, d dirSpec) error {
	fd, err := unix.Open(base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: base, Err: err}
	}
	defer func() { unix.Close(fd) }()
	for i, name := range parts {
		spec := dirSpec{uid: -1, gid: -1, mode: d.parents, passage: true}
		last := i == len(parts)-1
		if last {
			spec = d
		}
		next, owner, err := enter(fd, name, spec)
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(parts[:i+1]...), err)
		}
		unix.Close(fd)
		fd = next
		if want := wanted(d.uid); owner != want && (last || owner != os.Geteuid()) {
			return fmt.Errorf("%s belongs to uid %d, want uid %d: chown -R it, or give both nodes the same user",
				filepath.Join(parts[:i+1]...), owner, want)
		}
	}
	return nil
}

// wanted is the owner that a directory gets.
func wanted(uid int) int {
	if uid == -1 {
		return os.Geteuid()
	}
	return uid
}

// enter opens the directory name inside fd, creating it first where it is absent, and tells its owner.
func enter(fd int, name string, d dirSpec) (next, owner int, err error) {
	made := true
	if err := unix.Mkdirat(fd, name, uint32(d.mode)); errors.Is(err, unix.EEXIST) {
		made = false
	} else if err != nil {
		return -1, 0, err
	}
	next, err = unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, 0, fmt.Errorf("want a directory that is no symlink: %w", err)
	}
	var st unix.Stat_t
	if err = unix.Fstat(next, &st); err == nil {
		ours := int(st.Uid) == os.Geteuid()
		switch mode := uint32(st.Mode) & 0o7777; {
		case made, ours && d.uid != -1 && d.uid != os.Geteuid() && vacant(next, d.uid):
			err = own(next, d, &st)
		case ours && d.passage && mode|uint32(d.mode) != mode:
			err = unix.Fchmod(next, mode|uint32(d.mode))
		}
	}
	if err != nil {
		unix.Close(next)
		return -1, 0, err
	}
	return next, int(st.Uid), nil
}

// own gives a directory its mode and owner, and reads st again.
func own(fd int, d dirSpec, st *unix.Stat_t) error {
	if err := unix.Fchmod(fd, uint32(d.mode)); err != nil {
		return err
	}
	if d.uid != -1 || d.gid != -1 {
		if err := unix.Fchown(fd, d.uid, d.gid); err != nil {
			return fmt.Errorf("cannot give it to uid %d, gid %d: %w", d.uid, d.gid, err)
		}
	}
	return unix.Fstat(fd, st)
}

// vacant tells whether a directory of ours may be given to uid: it is empty (a run was cut off between mkdir and chown),
// or holds only directories of that user (it was made as the parent of nodes such as worker/1).
func vacant(fd, uid int) bool {
	again, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	f := os.NewFile(uintptr(again), ".")
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return false
	}
	for _, name := range names {
		var st unix.Stat_t
		if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return false
		}
		if int(st.Uid) != uid || uint32(st.Mode)&unix.S_IFMT != unix.S_IFDIR {
			return false
		}
	}
	return true
}
