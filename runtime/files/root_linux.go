package files

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Root is a folder outside of which nothing is reached. Its methods may be called from any goroutine, but none after Close. Those without a word
// are as those of os.Root.
type Root struct {
	fd   int
	name string
	mu   sync.Mutex
	root *os.Root // for what cannot be done in one call; nil: not needed yet
}

// OpenRoot opens a folder.
func OpenRoot(dir string) (*Root, error) {
	fd, err := again(func() (int, error) { return unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, failed("open", dir, err)
	}
	return &Root{fd: fd, name: dir}, nil
}

// OpenRoot opens a folder below.
func (r *Root) OpenRoot(name string) (*Root, error) {
	b, err := with(r, func(root *os.Root) (*os.Root, error) { return root.OpenRoot(name) })
	if err != nil {
		return nil, err
	}
	fd, _, err := r.open(name, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		if fd, err = again(func() (int, error) {
			return unix.Openat(r.fd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		}); err != nil {
			b.Close()
			return nil, failed("open", name, err)
		}
	}
	below := &Root{fd: fd, name: filepath.Join(r.name, name), root: b}
	if err := below.sameFolder(b); err != nil {
		below.Close()
		return nil, err
	}
	return below, nil
}

// full is the os.Root of the folder.
func (r *Root) full() (*os.Root, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.root != nil {
		return r.root, nil
	}
	root, err := os.OpenRoot(r.name)
	if err != nil {
		return nil, err
	}
	if err := r.sameFolder(root); err != nil {
		root.Close()
		return nil, err
	}
	r.root = root
	return root, nil
}

// sameFolder looks that both descriptors are of one folder.
func (r *Root) sameFolder(root *os.Root) error {
	fi, err := root.Stat(".")
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(r.fd, &st); err != nil {
		return failed("stat", r.name, err)
	}
	if s, ok := fi.Sys().(*syscall.Stat_t); !ok || uint64(s.Dev) != st.Dev || s.Ino != st.Ino {
		return failed("open", r.name, errors.New("the folder was replaced meanwhile"))
	}
	return nil
}

// Close lets go of the folder.
func (r *Root) Close() error {
	err := unix.Close(r.fd)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.root != nil {
		err = errors.Join(err, r.root.Close())
	}
	return err
}

// open opens what is below in one call. sure says that the error is that of the file; else the call could not be made in this way.
func (r *Root) open(name string, flag int, perm fs.FileMode) (fd int, sure bool, err error) {
	how := unix.OpenHow{Flags: uint64(flag | unix.O_CLOEXEC), Resolve: unix.RESOLVE_BENEATH}
	if flag&os.O_CREATE != 0 {
		how.Mode = uint64(perm.Perm())
	}
	fd, err = again(func() (int, error) { return unix.Openat2(r.fd, name, &how) })
	return fd, err == nil || err == unix.ENOENT || err == unix.EEXIST, err
}

// File opens a file as os.Root.OpenFile does.
func (r *Root) File(name string, flag int, perm fs.FileMode) (*File, error) {
	fd, sure, err := r.open(name, flag, perm)
	if err == nil {
		return &File{fd, name}, nil
	}
	if sure {
		return nil, failed("openat", name, err)
	}
	f, err := r.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	if cerr := c.Control(func(of uintptr) { fd, err = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		err = cerr
	}
	if err != nil {
		return nil, failed("openat", name, err)
	}
	return &File{fd, name}, nil
}

// Lstat looks at what is below.
func (r *Root) Lstat(name string) (fs.FileInfo, error) {
	fd, sure, err := r.open(name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		if sure {
			return nil, failed("lstatat", name, err)
		}
		return with(r, func(root *os.Root) (fs.FileInfo, error) { return root.Lstat(name) })
	}
	return (&File{fd, name}).statOnce()
}

// statOnce looks at it and closes it.
func (f *File) statOnce() (fs.FileInfo, error) {
	defer f.Close()
	return f.Stat()
}

// HasDir tells whether there is a folder of that name, or a link to one that is below, too.
func (r *Root) HasDir(name string) bool {
	fd, _, err := r.open(name, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

// Rename moves a file over another one, and gives what then is there, if that can be told.
func (r *Root) Rename(old, name string) (fs.FileInfo, error) {
	from, _, err := r.open(path.Dir(old), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, r.do(func(root *os.Root) error { return root.Rename(old, name) })
	}
	defer unix.Close(from)
	to, _, err := r.open(path.Dir(name), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, r.do(func(root *os.Root) error { return root.Rename(old, name) })
	}
	defer unix.Close(to)
	if _, err := again(func() (int, error) { return 0, unix.Renameat(from, path.Base(old), to, path.Base(name)) }); err != nil {
		return nil, &os.LinkError{Op: "renameat", Old: old, New: name, Err: err}
	}
	i := &info{name: filepath.Base(name)}
	var st unix.Stat_t
	if unix.Fstatat(to, path.Base(name), &st, unix.AT_SYMLINK_NOFOLLOW) != nil {
		return nil, nil
	}
	i.take(&st)
	return i, nil
}
