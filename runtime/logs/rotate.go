package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// file is the current data file of a stream with its index. Only the pump's lock holder uses it.
type file struct {
	disk  disk
	path  string   // of the data file
	data  *os.File // nil: could not be opened yet
	index indexWriter
	base  int64     // position of the file in the stream
	born  time.Time // when the file was begun
	retry time.Time // when a rotation that failed may be tried again
	lost  int64     // bytes dropped before data could be opened
	cause syscall.Errno
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

func newFile(d disk, dir, stream string) *file {
	return &file{disk: d, path: filepath.Join(dir, stream+".log")}
}

// open opens the data file of a stream, or makes it, and goes on where the last process stopped.
func (f *file) open() error {
	if one := rotated(f.path, 1); exists(f.path) && !exists(indexPath(f.path)) && exists(indexPath(one)) && !exists(one) {
		if err := f.disk.rename(f.path, one); err != nil { // a rotation was killed half-way
			return err
		}
	}
	size := int64(-1)
	if fi, err := os.Stat(f.path); err == nil {
		size = fi.Size()
	}
	f.openIndex(size) // before new data is made: a reader that sees data expects its index
	data, err := f.disk.open(f.path, 0)
	if err != nil {
		f.index.close()
		return err
	}
	f.data = data
	if f.lost > 0 {
		f.index.drop(max(size, 0), f.lost, f.cause, time.Now())
		f.lost = 0
	}
	return nil
}

// drop notes that n bytes were lost before offset.
func (f *file) drop(offset, n int64, errno syscall.Errno, now time.Time) {
	if f.data == nil {
		f.lost, f.cause = f.lost+n, errno
		return
	}
	f.index.drop(offset, n, errno, now)
}

// mend opens the index that could not be opened, at most once a second; what was held back comes behind what it has.
func (f *file) mend(size int64, now time.Time) {
	if f.index.f != nil || now.Before(f.index.retry) {
		return
	}
	held := f.index.pending
	f.openIndex(size)
	f.index.pending = append(f.index.pending, held...)
	f.index.flush()
}

// openIndex opens the index that belongs to a data file of that size (-1: none yet), or begins one.
func (f *file) openIndex(size int64) {
	f.index = openIndex(f.disk, indexPath(f.path))
	segs, base := listSegments(f.path), int64(0)
	if len(segs) > 0 {
		base = segs[len(segs)-1].base
		if size < 0 {
			base = segs[len(segs)-1].end()
		}
	}
	r := indexReader{f: f.index.f}
	b, ok := r.base()
	// Without data the index is that of a rotation that came half-way: after a kill it fits, after a fault the older file went on.
	fits := size >= 0 || len(segs) == 0 || b.offset == base
	if ok && fits && r.last(f.index.size).offset <= max(size, 0) {
		f.base, f.born = b.offset, time.Unix(0, b.time)
		return
	}
	f.base, f.born = base, time.Now()
	f.index.restart(f.base, f.born)
}

// size is where the next byte goes. A file that somebody emptied starts over, its index too.
func (f *file) size() (int64, error) {
	if f.data == nil {
		if err := f.open(); err != nil {
			return 0, err
		}
	}
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
	if len(f.index.pending) > 0 && size < 2*o.MaxSize { // a rotation would lose them
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
	data, err := f.disk.open(fresh, os.O_TRUNC)
	if err != nil {
		return err
	}
	index := openIndex(f.disk, indexPath(fresh))
	index.restart(f.base+size, now)
	if index.f == nil { // what may lie there is of another file
		f.disk.remove(indexPath(fresh))
	}
	err = nil
	if exists(f.path) { // else an earlier try came half-way
		err = f.shift(keep)
	}
	if err == nil {
		err = f.replace(fresh)
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

// replace gives a fresh file the name, the index first: a reader that sees data expects its index.
func (f *file) replace(fresh string) error {
	if err := f.disk.rename(indexPath(fresh), indexPath(f.path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return f.disk.rename(fresh, f.path)
}

// shift moves the file to .1, .1 to .2 and so on, up to the first free number; when there is none the oldest goes. An index
// moves before its data: an index at a number without data belongs to the data below, which a later shift brings
// to it. So a kill in between never pairs data with a foreign index.
func (f *file) shift(keep int) error {
	path := f.path
	if keep == 0 { // the data first: if it cannot be removed, its index goes on too
		if err := f.disk.remove(path); err != nil {
			return err
		}
		f.disk.remove(indexPath(path))
		return nil
	}
	free := 1
	for free <= keep && exists(rotated(path, free)) {
		free++
	}
	if free > keep {
		free = keep
		f.disk.remove(indexPath(rotated(path, keep)))
		if err := f.disk.remove(rotated(path, keep)); err != nil {
			return err
		}
	}
	for k := free; k > 0; k-- {
		from, to := rotated(path, k-1), rotated(path, k)
		if exists(indexPath(from)) {
			if err := f.disk.rename(indexPath(from), indexPath(to)); err != nil {
				return err
			}
		}
		if err := f.disk.rename(from, to); err != nil {
			return err
		}
	}
	return nil
}

func (f *file) close() {
	if f.data == nil {
		return
	}
	f.data.Close()
	f.index.close()
}
