package bind

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"orrery/lang/graph"
)

// owner is who shall own a file; -1 leaves it to us.
type owner struct{ uid, gid int }

// us is the owner of files that no service's user needs.
var us = owner{-1, -1}

// userOf says whom a node runs as: its own user, or, for a task, that of the service it is part of, gates or templates.
func userOf(g *graph.Graph, n *graph.Node) (name, group string) {
	if n.Kind == graph.KindService {
		return n.Service.User, n.Service.Group
	}
	if n.Task.User != "" {
		return n.Task.User, ""
	}
	for _, of := range []string{n.Task.Gates, n.Task.Template, n.Task.PartOf, parentName(n.Name())} {
		for of != "" {
			if s := g.Node(of); s != nil && s.Kind == graph.KindService {
				return s.Service.User, s.Service.Group
			}
			of = parentName(of)
		}
	}
	return "", ""
}

func parentName(node string) string {
	for i := len(node) - 1; i > 0; i-- {
		if node[i] == '/' {
			return node[:i]
		}
	}
	return ""
}

// ownerOf is who owns the directories and files of a node: its user if we are root, else we.
func ownerOf(g *graph.Graph, n *graph.Node) (owner, error) {
	name, group := userOf(g, n)
	if os.Geteuid() != 0 || name == "" && group == "" {
		return us, nil
	}
	o := us
	if name != "" {
		u, err := lookupUser(name)
		if err != nil {
			return us, fmt.Errorf("cannot run %s as its user: %w", n.Name(), err)
		}
		if o.uid, err = strconv.Atoi(u.Uid); err == nil {
			o.gid, err = strconv.Atoi(u.Gid)
		}
		if err != nil {
			return us, fmt.Errorf("cannot run %s as its user: %w", n.Name(), err)
		}
	}
	if group != "" {
		gr, err := user.LookupGroup(group)
		if err != nil {
			if gr, err = user.LookupGroupId(group); err != nil {
				return us, fmt.Errorf("cannot run %s with its group: unknown group %q", n.Name(), group)
			}
		}
		gid, err := strconv.Atoi(gr.Gid)
		if err != nil {
			return us, fmt.Errorf("cannot run %s with its group: %w", n.Name(), err)
		}
		o.gid = gid
	}
	return o, nil
}

func lookupUser(name string) (*user.User, error) {
	u, err := user.Lookup(name)
	if err == nil {
		return u, nil
	}
	if byID, err := user.LookupId(name); err == nil {
		return byID, nil
	}
	return nil, err
}

// fileMode is what a file shall be.
type fileMode struct {
	mode  os.FileMode
	owner owner
}

// writeFile replaces a file by a temporary one and a rename, so that a reader sees the old or the new content, and only
// with its mode. It leaves a file alone that is the same already, and tells whether it wrote.
func writeFile(path string, b []byte, m fileMode) (changed bool, err error) {
	return disk{}.write(path, b, m)
}

// disk writes files. Before each operation it asks fault, so that tests can make the Nth one fail.
type disk struct {
	fault func(op string) error
}

func (d disk) try(op string) error {
	if d.fault == nil {
		return nil
	}
	return d.fault(op)
}

func (d disk) write(path string, b []byte, m fileMode) (changed bool, err error) {
	if sameFile(path, b, m) {
		return false, nil
	}
	if err := d.try("create"); err != nil {
		return false, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return false, err
	}
	if err = d.try("write"); err != nil {
		f.Write(b[:len(b)/2])
	} else {
		_, err = f.Write(b)
	}
	if err == nil && m.owner != us {
		err = f.Chown(m.owner.uid, m.owner.gid)
	}
	if err == nil {
		err = f.Chmod(m.mode)
	}
	if err == nil {
		err = d.try("close")
	}
	if err = errors.Join(err, f.Close()); err == nil {
		if err = d.try("rename"); err == nil {
			err = os.Rename(f.Name(), path)
		}
	}
	if err != nil {
		if d.try("remove") == nil {
			os.Remove(f.Name())
		}
		return false, err
	}
	return true, nil
}

func sameFile(path string, b []byte, m fileMode) bool {
	st, err := os.Lstat(path)
	if err != nil || !st.Mode().IsRegular() || st.Size() != int64(len(b)) || st.Mode().Perm() != m.mode || !ownedBy(st, m.owner) {
		return false
	}
	old, err := os.ReadFile(path)
	return err == nil && bytes.Equal(old, b)
}

// ownedBy tells whether a file belongs to o.
func ownedBy(st os.FileInfo, o owner) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	if o.uid < 0 {
		return int(sys.Uid) == os.Geteuid()
	}
	return int(sys.Uid) == o.uid && (o.gid < 0 || int(sys.Gid) == o.gid)
}

// privateDir makes base/.kind/node: the middle one is ours, so that nobody can put something else in the place of the
// last one, which belongs to the node's user.
func privateDir(base, dir string, o owner) error {
	middle := filepath.Dir(dir)
	mode := os.FileMode(0o700)
	if o != us {
		mode = 0o711
	}
	if err := os.MkdirAll(base, mode); err != nil {
		return err
	}
	if err := os.Mkdir(middle, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if o != us {
		if err := os.Chmod(middle, mode); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if o != us {
		return os.Lchown(dir, o.uid, o.gid)
	}
	return nil
}

// readLimited reads a file of at most max bytes, and one more that tells of a longer one.
func readLimited(path string, max int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, max+1))
}
