package files

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// File is an open file. Its methods are not for several goroutines at once, and must not be called after Close.
type File struct {
	fd   int
	name string
}

// Open opens a file for reading; a pipe does not block.
func Open(name string) (*File, error) { return Create(name, os.O_RDONLY|unix.O_NONBLOCK, 0) }

// Create is os.OpenFile.
func Create(name string, flag int, perm fs.FileMode) (*File, error) {
	fd, err := again(func() (int, error) {
		return unix.Open(name, flag|unix.O_CLOEXEC|unix.O_LARGEFILE, uint32(perm.Perm()))
	})
	if err != nil {
		return nil, failed("open", name, err)
	}
	return &File{fd, name}, nil
}

// Fd is the descriptor.
func (f *File) Fd() int { return f.fd }

// Name is what it was opened by.
func (f *File) Name() string { return f.name }

// Read reads.
func (f *File) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err := again(func() (int, error) { return unix.Read(f.fd, b) })
	switch {
	case err != nil:
		return 0, failed("read", f.name, err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// ReadAt reads all of b from a place. Several goroutines may do that at once.
func (f *File) ReadAt(b []byte, at int64) (done int, err error) {
	for done < len(b) {
		n, err := again(func() (int, error) { return unix.Pread(f.fd, b[done:], at+int64(done)) })
		switch {
		case err != nil:
			return done, failed("read", f.name, err)
		case n == 0:
			return done, io.EOF
		}
		done += n
	}
	return done, nil
}

// Write writes all of b.
func (f *File) Write(b []byte) (int, error) {
	return f.all(b, func(b []byte, _ int) (int, error) { return unix.Write(f.fd, b) })
}

// WriteAt writes all of b at a place.
func (f *File) WriteAt(b []byte, at int64) (int, error) {
	return f.all(b, func(b []byte, done int) (int, error) { return unix.Pwrite(f.fd, b, at+int64(done)) })
}

func (f *File) all(b []byte, write func(b []byte, done int) (int, error)) (done int, err error) {
	for done < len(b) {
		n, err := again(func() (int, error) { return write(b[done:], done) })
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return done, failed("write", f.name, err)
		}
		done += n
	}
	return done, nil
}

// Truncate sets the size.
func (f *File) Truncate(size int64) error {
	_, err := again(func() (int, error) { return 0, unix.Ftruncate(f.fd, size) })
	if err != nil {
		return failed("truncate", f.name, err)
	}
	return nil
}

// Sync has it written to the disk.
func (f *File) Sync() error {
	if _, err := again(func() (int, error) { return 0, unix.Fsync(f.fd) }); err != nil {
		return failed("sync", f.name, err)
	}
	return nil
}

// Chown sets its owner.
func (f *File) Chown(uid, gid int) error {
	if err := unix.Fchown(f.fd, uid, gid); err != nil {
		return failed("chown", f.name, err)
	}
	return nil
}

// Chmod sets its permission bits.
func (f *File) Chmod(mode fs.FileMode) error {
	if err := unix.Fchmod(f.fd, uint32(mode.Perm())); err != nil {
		return failed("chmod", f.name, err)
	}
	return nil
}

// Rewind goes back to its beginning.
func (f *File) Rewind() error {
	if _, err := unix.Seek(f.fd, 0, io.SeekStart); err != nil {
		return failed("seek", f.name, err)
	}
	return nil
}

// Stat looks at it.
func (f *File) Stat() (fs.FileInfo, error) {
	i := &info{name: filepath.Base(f.name)}
	if err := i.fill(func(st *syscall.Stat_t) error { return syscall.Fstat(f.fd, st) }); err != nil {
		return nil, failed("stat", f.name, err)
	}
	return i, nil
}

// Close closes it.
func (f *File) Close() error {
	fd := f.fd
	f.fd = -1
	if err := unix.Close(fd); err != nil && err != unix.EINTR {
		return failed("close", f.name, err)
	}
	return nil
}

// Clone makes an empty file share the content of another, where the file system can.
func Clone(dst, src *File) error { return unix.IoctlFileClone(dst.fd, src.fd) }

// Blocking opens a file to hand it to a child: reading it blocks.
func Blocking(name string, flag int) (*os.File, error) {
	f, err := Create(name, flag, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(f.fd), name), nil
}

// Pipe is os.Pipe with a writing end that is for a child: it blocks.
func Pipe() (r, w *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	w = os.NewFile(uintptr(fds[1]), "pipe") // before r does not block any more: each end has its own mode
	if err := unix.SetNonblock(fds[0], true); err != nil {
		unix.Close(fds[0])
		w.Close()
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fds[0]), "pipe"), w, nil
}

// Lstat is os.Lstat; what it gives is not for os.SameFile.
func Lstat(name string) (fs.FileInfo, error) {
	i := &info{name: filepath.Base(name)}
	if err := i.fill(func(st *syscall.Stat_t) error { return syscall.Lstat(name, st) }); err != nil {
		return nil, failed("lstat", name, err)
	}
	return i, nil
}

// Stat is os.Stat; what it gives is not for os.SameFile.
func Stat(name string) (fs.FileInfo, error) {
	i := &info{name: filepath.Base(name)}
	if err := i.fill(func(st *syscall.Stat_t) error { return syscall.Stat(name, st) }); err != nil {
		return nil, failed("stat", name, err)
	}
	return i, nil
}

// Boot names this run of the kernel; empty when it cannot be read.
var Boot = sync.OnceValue(func() string {
	b, _ := Read("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
})

// again calls do until no signal interrupts it.
func again(do func() (int, error)) (int, error) {
	for {
		n, err := do()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// info is a fs.FileInfo.
type info struct {
	name string
	st   syscall.Stat_t
}

func (i *info) fill(stat func(*syscall.Stat_t) error) error {
	_, err := again(func() (int, error) { return 0, stat(&i.st) })
	return err
}

// take takes the form that x/sys gives.
func (i *info) take(st *unix.Stat_t) {
	i.st = syscall.Stat_t{
		Dev: st.Dev, Ino: st.Ino, Nlink: st.Nlink, Mode: st.Mode, Uid: st.Uid, Gid: st.Gid, Rdev: st.Rdev, Size: st.Size,
		Blksize: st.Blksize, Blocks: st.Blocks, Atim: syscall.Timespec(st.Atim), Mtim: syscall.Timespec(st.Mtim), Ctim: syscall.Timespec(st.Ctim),
	}
}

func (i *info) Name() string       { return i.name }
func (i *info) Size() int64        { return i.st.Size }
func (i *info) IsDir() bool        { return i.Mode().IsDir() }
func (i *info) ModTime() time.Time { return time.Unix(i.st.Mtim.Unix()) }
func (i *info) Sys() any           { return &i.st }

// Mode is as that of the os package.
func (i *info) Mode() fs.FileMode {
	m := fs.FileMode(i.st.Mode & 0o777)
	switch i.st.Mode & syscall.S_IFMT {
	case syscall.S_IFBLK:
		m |= fs.ModeDevice
	case syscall.S_IFCHR:
		m |= fs.ModeDevice | fs.ModeCharDevice
	case syscall.S_IFDIR:
		m |= fs.ModeDir
	case syscall.S_IFIFO:
		m |= fs.ModeNamedPipe
	case syscall.S_IFLNK:
		m |= fs.ModeSymlink
	case syscall.S_IFSOCK:
		m |= fs.ModeSocket
	}
	if i.st.Mode&syscall.S_ISGID != 0 {
		m |= fs.ModeSetgid
	}
	if i.st.Mode&syscall.S_ISUID != 0 {
		m |= fs.ModeSetuid
	}
	if i.st.Mode&syscall.S_ISVTX != 0 {
		m |= fs.ModeSticky
	}
	return m
}
