package logs

import "os"

// disk does what changes files. Before each operation it asks fault, so that tests can make the Nth one fail.
type disk struct {
	fault func(op string) error
}

func (d disk) try(op string) error {
	if d.fault == nil {
		return nil
	}
	return d.fault(op)
}

// open opens a file to write it, and makes it if it is not there.
func (d disk) open(path string, flag int) (*os.File, error) {
	if err := d.try("create"); err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|flag, 0o640)
}

func (d disk) rename(from, to string) error {
	if err := d.try("rename"); err != nil {
		return err
	}
	return os.Rename(from, to)
}

func (d disk) remove(path string) error {
	if err := d.try("remove"); err != nil {
		return err
	}
	return os.Remove(path)
}

func (d disk) truncate(f *os.File) error {
	if err := d.try("truncate"); err != nil {
		return err
	}
	return f.Truncate(0)
}

// write writes at an offset; an injected fault leaves half of it.
func (d disk) write(f *os.File, b []byte, at int64) (int, error) {
	if err := d.try("write"); err != nil {
		n, _ := f.WriteAt(b[:len(b)/2], at)
		return n, err
	}
	return f.WriteAt(b, at)
}

// overwrite replaces bytes of one block that are there already: all or nothing.
func (d disk) overwrite(f *os.File, b []byte, at int64) error {
	if err := d.try("write"); err != nil {
		return err
	}
	_, err := f.WriteAt(b, at)
	return err
}

// splice moves up to n bytes from a pipe to a file.
func (d disk) splice(from int, to *os.File, at int64, n int) (int, error) {
	if err := d.try("write"); err != nil {
		return 0, err
	}
	return splice(from, int(to.Fd()), at, n)
}
