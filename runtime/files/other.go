//go:build !linux

package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// File is an open file. Its methods are not for several goroutines at once, and must not be called after Close.
type File struct{ *os.File }

// Open opens a file for reading; a pipe does not block.
func Open(name string) (*File, error) { return Create(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) }

// Create is os.OpenFile.
func Create(name string, flag int, perm fs.FileMode) (*File, error) {
	return fileOf(os.OpenFile(name, flag, perm))
}

func fileOf(f *os.File, err error) (*File, error) {
	if err != nil {
		return nil, err
	}
	return &File{f}, nil
}

// Fd is the descriptor.
func (f *File) Fd() int { return int(f.File.Fd()) }

// Rewind goes back to its beginning.
func (f *File) Rewind() error {
	_, err := f.Seek(0, io.SeekStart)
	return err
}

// Clone makes an empty file share the content of another, where the file system can.
func Clone(_, _ *File) error { return errors.ErrUnsupported }

// Blocking opens a file to hand it to a child: reading it blocks.
func Blocking(name string, flag int) (*os.File, error) { return os.OpenFile(name, flag, 0) }

// Pipe is os.Pipe with a writing end that is for a child.
func Pipe() (r, w *os.File, err error) { return os.Pipe() }

// Boot names this run of the kernel; it is not known here.
func Boot() string { return "" }

// Lstat is os.Lstat; what it gives is not for os.SameFile.
func Lstat(name string) (fs.FileInfo, error) { return os.Lstat(name) }

// Stat is os.Stat; what it gives is not for os.SameFile.
func Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

// Root is a folder outside of which nothing is reached. Its methods may be called from any goroutine. They are those of os.Root.
type Root struct{ root *os.Root }

// OpenRoot opens a folder.
func OpenRoot(dir string) (*Root, error) { return rootOf(os.OpenRoot(dir)) }

// OpenRoot opens a folder below.
func (r *Root) OpenRoot(name string) (*Root, error) { return rootOf(r.root.OpenRoot(name)) }

func rootOf(r *os.Root, err error) (*Root, error) {
	if err != nil {
		return nil, err
	}
	return &Root{r}, nil
}

func (r *Root) full() (*os.Root, error) { return r.root, nil }

// Close lets go of the folder.
func (r *Root) Close() error { return r.root.Close() }

// Lstat looks at what is below.
func (r *Root) Lstat(name string) (fs.FileInfo, error) { return r.root.Lstat(name) }

// File opens a file as os.Root.OpenFile does.
func (r *Root) File(name string, flag int, perm fs.FileMode) (*File, error) {
	return fileOf(r.root.OpenFile(name, flag, perm))
}

// HasDir tells whether there is a folder of that name, or a link to one that is below, too.
func (r *Root) HasDir(name string) bool {
	fi, err := r.root.Stat(name)
	return err == nil && fi.IsDir()
}

// Rename moves a file over another one, and gives what then is there, if that can be told.
func (r *Root) Rename(old, name string) (fs.FileInfo, error) {
	if err := r.root.Rename(old, name); err != nil {
		return nil, err
	}
	fi, err := r.root.Lstat(name)
	if err != nil {
		return nil, nil
	}
	return fi, nil
}
