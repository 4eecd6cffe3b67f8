package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// file is the current data file of a stream with its index. Only the pump's lock holder uses it.
type file struct {
	path  string // of the data file
	data  *os.File
	index indexWriter
	base  int64     // position of the file in the stream
	born  time.Time // when the file was begun
	retry time.Time // when a rotation that failed may be tried again
}

func rotated(path string, k int) string {
	if k == 0 {
		return path
	}
	return fmt.Sprintf("%s.%d", path, k)
}

func indexPath(path string) string { return path + ".idx" }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// openFile opens the data file of a stream, or makes it, and goes on where the last process stopped.
func openFile(dir, stream string) (*file, error) {
	f := &file{path: filepath.Join(dir, stream+".log")}
	if one := rotated(f.path, 1); exists(f.path) && !exists(indexPath(f.path)) && exists(indexPath(one)) && !exists(one) {
		if err := os.Rename(f.path, one); err != nil { // a rotation was killed half-way
			return nil, err
		}
	}
	size := int64(-1)
	if fi, err := os.Stat(f.path); err == nil {
		size = fi.Size()
	}
	f.openIndex(size) // before new data is made: a reader that sees data expects its index
	data, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		f.index.close()
		return nil, err
	}
	f.data = data
	return f, nil
}

// openIndex opens the index that belongs to a data file of that size (-1: none yet), or begins one.
func (f *file) openIndex(size int64) {
	f.index = openIndex(indexPath(f.path))
	r := indexReader{f: f.index.f}
	if b, ok := r.base(); ok {
		f.base, f.born = b.offset, time.Unix(0, b.time)
		if r.last(f.index.size).offset <= max(size, 0) {
			return
		}
	}
	f.born = time.Now()
	f.base = 0
	if segs := listSegments(f.path); len(segs) > 0 {
		f.base = segs[len(segs)-1].base
		if size < 0 {
			f.base = segs[len(segs)-1].end()
		}
	}
	f.index.restart(f.base, f.born)
}

// size is where the next byte goes. A file that somebody emptied starts over, its index too.
func (f *file) size() (int64, error) {
	fi, err := f.data.Stat()
	if err != nil {
		return 0, err
	}
	if fi.Size() < f.index.data.offset {
		f.index.restart(f.base, time.Now())
	}
	return fi.Size(), nil
}

// due says whether the file is to be rotated before the next byte.
func (f *file) due(size int64, o *Options, now time.Time) bool {
	if now.Before(f.retry) {
		return false
	}
	if o.MaxSize > 0 && (size >= o.MaxSize || f.index.size >= max(o.MaxSize/2, 1<<20)) {
		return true
	}
	return o.MaxAge > 0 && size > 0 && now.Sub(f.born) > o.MaxAge
}

// rotate makes the file .1 and begins a new one. On an error the old file goes on. A kill at any point loses no file: see shift.
func (f *file) rotate(keep int, now time.Time) error {
	f.retry = now.Add(time.Second)
	size, err := f.size()
	if err != nil {
		return err
	}
	fresh := f.path + ".new" // first, so that a full disk leaves all as it was
	data, err := os.OpenFile(fresh, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	index := openIndex(indexPath(fresh))
	index.restart(f.base+size, now)
	err = nil
	if exists(f.path) { // else an earlier try came half-way
		err = shift(f.path, keep)
	}
	if err == nil {
		err = replace(fresh, f.path)
	}
	if err != nil {
		data.Close()
		index.close()
		return err
	}
	f.close()
	f.data, f.index = data, index
	f.base += size
	f.born, f.retry = now, time.Time{}
	return nil
}

// replace gives a fresh file its name, the index first: a reader that sees data expects its index.
func replace(fresh, path string) error {
	if err := os.Rename(indexPath(fresh), indexPath(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(fresh, path)
}

// shift moves path to .1, .1 to .2 and so on, up to the first free number; when there is none the oldest goes. An index
// moves before its data: an index at a number without data belongs to the data below, which a later shift brings
// to it. So a kill in between never pairs data with a foreign index.
func shift(path string, keep int) error {
	if keep == 0 {
		os.Remove(indexPath(path))
		return os.Remove(path)
	}
	free := 1
	for free <= keep && exists(rotated(path, free)) {
		free++
	}
	if free > keep {
		free = keep
		os.Remove(indexPath(rotated(path, keep)))
		if err := os.Remove(rotated(path, keep)); err != nil {
			return err
		}
	}
	for k := free; k > 0; k-- {
		from, to := rotated(path, k-1), rotated(path, k)
		if exists(indexPath(from)) {
			if err := os.Rename(indexPath(from), indexPath(to)); err != nil {
				return err
			}
		}
		if err := os.Rename(from, to); err != nil {
			return err
		}
	}
	return nil
}

func (f *file) close() {
	f.data.Close()
	f.index.close()
}
