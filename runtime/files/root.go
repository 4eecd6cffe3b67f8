package files

import (
	"io/fs"
	"os"
	"time"
)

// with does what takes an os.Root.
func with[T any](r *Root, do func(*os.Root) (T, error)) (T, error) {
	root, err := r.full()
	if err != nil {
		var none T
		return none, err
	}
	return do(root)
}

func (r *Root) do(do func(*os.Root) error) error {
	_, err := with(r, func(root *os.Root) (struct{}, error) { return struct{}{}, do(root) })
	return err
}

// OpenFile opens a file that may be any kind of file.
func (r *Root) OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	return with(r, func(root *os.Root) (*os.File, error) { return root.OpenFile(name, flag, perm) })
}

// Open opens a file or folder for reading.
func (r *Root) Open(name string) (*os.File, error) { return r.OpenFile(name, os.O_RDONLY, 0) }

// Stat follows links.
func (r *Root) Stat(name string) (fs.FileInfo, error) {
	return with(r, func(root *os.Root) (fs.FileInfo, error) { return root.Stat(name) })
}

// Mkdir makes a folder.
func (r *Root) Mkdir(name string, perm fs.FileMode) error {
	return r.do(func(root *os.Root) error { return root.Mkdir(name, perm) })
}

// MkdirAll makes a folder and those above it.
func (r *Root) MkdirAll(name string, perm fs.FileMode) error {
	return r.do(func(root *os.Root) error { return root.MkdirAll(name, perm) })
}

// Chmod sets a mode.
func (r *Root) Chmod(name string, mode fs.FileMode) error {
	return r.do(func(root *os.Root) error { return root.Chmod(name, mode) })
}

// Chtimes sets times.
func (r *Root) Chtimes(name string, atime, mtime time.Time) error {
	return r.do(func(root *os.Root) error { return root.Chtimes(name, atime, mtime) })
}

// Link makes a hard link.
func (r *Root) Link(old, name string) error {
	return r.do(func(root *os.Root) error { return root.Link(old, name) })
}

// Symlink makes a symbolic link.
func (r *Root) Symlink(target, name string) error {
	return r.do(func(root *os.Root) error { return root.Symlink(target, name) })
}

// Remove removes a file or an empty folder.
func (r *Root) Remove(name string) error {
	return r.do(func(root *os.Root) error { return root.Remove(name) })
}

// RemoveAll removes a file, or a folder with all that is in it.
func (r *Root) RemoveAll(name string) error {
	return r.do(func(root *os.Root) error { return root.RemoveAll(name) })
}
