package notify

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// inode identifies a file of the file system.
type inode struct{ dev, ino uint64 }

func inodeOf(path string) (inode, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return inode{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return inode{uint64(st.Dev), uint64(st.Ino)}, nil
}

// makeDir makes sure that dir is a directory which only we and uid can enter,
// and reports whether it made it. base is the name of the socket in it.
func makeDir(dir, base string, uid int) (made bool, err error) {
	if err := os.Mkdir(dir, 0o700); err == nil {
		return true, nil
	} else if !errors.Is(err, fs.ErrExist) {
		return false, err
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return false, &fs.PathError{Op: "lstat", Path: dir, Err: err}
	}
	owner := int(st.Uid)
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return false, fmt.Errorf("%s is not a directory; remove it", dir)
	case st.Mode&0o077 != 0:
		return false, fmt.Errorf("got mode %#o of directory %s, want 0700; remove it or choose another", st.Mode&0o7777, dir)
	case owner == uid:
		return false, nil
	case owner != os.Geteuid():
		return false, fmt.Errorf("got directory %s of user %d, want user %d; remove it", dir, owner, uid)
	}
	// Ours, to be given to the service: not with other things of ours in it.
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		if e.Name() != base {
			return false, fmt.Errorf("cannot give directory %s to user %d: it holds %s; choose a directory of its own", dir, uid, e.Name())
		}
	}
	return false, nil
}

// removeStale removes the socket of an earlier run. Anything else stays and is
// an error.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("got a file of type %q there, want nothing or a socket; remove it", info.Mode().Type())
	}
	return os.Remove(path)
}
