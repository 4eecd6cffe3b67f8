package cache

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"orrery/runtime/files"
)

// disk does every file operation of a store, below its root. Before each it asks fault, so that tests can make the Nth one fail
// or be the last.
type disk struct {
	root  *files.Root
	dir   string // for messages
	fault func(op string) error
}

func (d *disk) try(op string) error {
	if d.fault == nil {
		return nil
	}
	return d.fault(op)
}

// open opens a regular file of ours. A pipe that someone put there does not block.
func (d *disk) open(name string) (*files.File, fs.FileInfo, error) {
	if err := d.try("open"); err != nil {
		return nil, nil, err
	}
	f, err := d.root.File(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = errors.New("no regular file")
	}
	if err == nil {
		err = trusted(fi, "it")
	}
	if err != nil {
		f.Close()
		return nil, nil, &CorruptError{name, err.Error()}
	}
	return f, fi, nil
}

func (d *disk) readFile(name string) ([]byte, error) {
	f, fi, err := d.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := d.try("read"); err != nil {
		return nil, err
	}
	return files.ReadFrom(f, fi.Size())
}

// out is a file being written.
type out struct {
	d    *disk
	f    *files.File
	name string
}

// create makes a new file in tmp.
func (d *disk) create() (*out, error) {
	if err := d.try("create"); err != nil {
		return nil, err
	}
	name := tmpDir + "/" + rand.Text()
	f, err := d.root.File(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o400)
	if errors.Is(err, fs.ErrNotExist) && d.root.Mkdir(tmpDir, 0o700) == nil { // Clear was here
		f, err = d.root.File(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o400)
	}
	if err != nil {
		return nil, err
	}
	return &out{d, f, name}, nil
}

// Write writes; an injected fault leaves half of it.
func (o *out) Write(p []byte) (int, error) {
	if err := o.d.try("write"); err != nil {
		n, _ := o.f.Write(p[:len(p)/2])
		return n, err
	}
	return o.f.Write(p)
}

// finish syncs if asked, closes, and removes the file if anything failed.
func (o *out) finish(err error, sync bool) error {
	if err == nil && sync {
		if err = o.d.try("sync"); err == nil {
			err = o.f.Sync()
		}
	}
	if err == nil {
		err = o.d.try("close")
	}
	err = errors.Join(err, o.f.Close())
	if err != nil {
		o.d.remove(o.name)
	}
	return err
}

// writeTmp writes a file in tmp and gives its name.
func (d *disk) writeTmp(text []byte, sync bool) (string, error) {
	o, err := d.create()
	if err != nil {
		return "", err
	}
	_, err = o.Write(text)
	return o.name, o.finish(err, sync)
}

// move puts a file of tmp in its place, over what is there, and gives what then is there, or nil. If that fails the file is removed.
func (d *disk) move(tmp, name string) (fs.FileInfo, error) {
	var fi fs.FileInfo
	err := d.try("rename")
	if err == nil {
		fi, err = d.root.Rename(tmp, name)
		if errors.Is(err, fs.ErrNotExist) {
			if err = d.mkdir(path.Dir(name)); err == nil {
				fi, err = d.root.Rename(tmp, name)
			}
		}
	}
	if err != nil {
		d.remove(tmp)
	}
	return fi, err
}

func (d *disk) mkdir(dir string) error {
	if err := d.try("mkdir"); err != nil {
		return err
	}
	return d.root.MkdirAll(dir, 0o700)
}

func (d *disk) link(old, name string) error {
	if err := d.try("link"); err != nil {
		return err
	}
	return d.root.Link(old, name)
}

// remove removes a file; there is nothing to do if it cannot.
func (d *disk) remove(name string) bool {
	return d.try("remove") == nil && d.root.Remove(name) == nil
}

func (d *disk) lstat(name string) (fs.FileInfo, error) {
	if err := d.try("lstat"); err != nil {
		return nil, err
	}
	return d.root.Lstat(name)
}

// touch sets the time of the last use.
func (d *disk) touch(name string, at time.Time) {
	if d.try("touch") == nil {
		_ = d.root.Chtimes(name, at, at) // a cache that cannot be written is still good to read
	}
}

// list names what is in a folder; one that is missing is empty.
func (d *disk) list(dir string) ([]string, error) {
	if err := d.try("list"); err != nil {
		return nil, err
	}
	f, err := d.root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}
