package logs

import (
	"os"
	"syscall"
	"time"
)

// segment is one data file of a stream: the current one or a rotated one.
type segment struct {
	path string
	info os.FileInfo // says which file it is, whatever its name is by now
	base int64       // position of its first byte in the stream
}

func (g segment) end() int64 { return g.base + g.info.Size() }

// maxGap is how many missing numbers end the search for rotated files: a killed rotation leaves one.
const maxGap = 2

// listSegments returns the data files of a stream, oldest first. It looks from the youngest to the oldest, so that a
// rotation meanwhile shows one file twice (taken once) instead of hiding one.
func listSegments(path string) []segment {
	var segs []segment // youngest first
	var known []bool
	for k, gap := 0, 0; gap <= maxGap; k++ {
		p := rotated(path, k)
		fi, err := os.Stat(p)
		if err != nil {
			gap++
			continue
		}
		gap = 0
		if n := len(segs); n > 0 && os.SameFile(segs[n-1].info, fi) {
			continue
		}
		base, ok := readBase(p)
		segs, known = append(segs, segment{path: p, info: fi, base: base}), append(known, ok)
	}
	for i, j := 0, len(segs)-1; i < j; i, j = i+1, j-1 {
		segs[i], segs[j] = segs[j], segs[i]
		known[i], known[j] = known[j], known[i]
	}
	for i := len(segs) - 2; i >= 0 && !known[0]; i-- { // without an index: what the younger one implies
		if !known[i] && known[i+1] {
			segs[i].base, known[i] = max(0, segs[i+1].base-segs[i].info.Size()), true
		}
	}
	for i := 1; i < len(segs); i++ {
		if !known[i] {
			segs[i].base = segs[i-1].end()
		}
	}
	return segs
}

func readBase(path string) (int64, bool) {
	f, err := os.Open(indexPath(path))
	if err != nil {
		return 0, false
	}
	defer f.Close()
	x := indexReader{f: f}
	b, ok := x.base()
	return b.offset, ok
}

// view is a segment opened for reading.
type view struct {
	segment
	data  *os.File
	index indexReader
	mtime time.Time // what lines get that no index tells of
}

// open opens the segment if it still has that name. The index is taken as it lies beside it.
func (g segment) open() (*view, bool) {
	f, err := os.Open(g.path)
	if err != nil {
		return nil, false
	}
	idx, err := os.Open(indexPath(g.path))
	if err != nil {
		idx = nil
	}
	v := &view{segment: g, data: f, index: indexReader{f: idx}}
	fi, err := f.Stat()
	if err != nil || !os.SameFile(fi, g.info) {
		v.close()
		return nil, false
	}
	if b, ok := v.index.base(); !ok || b.offset != g.base { // none, or that of another file: a rotation goes on
		if idx != nil {
			idx.Close()
		}
		v.index.f = nil
	}
	v.mtime = fi.ModTime()
	return v, true
}

func (v *view) close() {
	v.data.Close()
	if v.index.f != nil {
		v.index.f.Close()
	}
}

// refresh reads a drop again: its count grows in place while the disk stays full.
func (v *view) refresh(e entry) entry {
	if r, ok := v.index.record(e.at); ok && r.kind == recDrop && r.offset+v.base == e.offset {
		e.text = dropText(r.count, syscall.Errno(r.errno))
	}
	return e
}

// tailStart finds the position from which the last n lines of the segments follow.
func tailStart(segs []segment, n int) int64 {
	if len(segs) == 0 {
		return 0
	}
	buf := make([]byte, 32<<10)
	found, last := 0, true // the newline at the very end ends a line, it does not begin one
	for i := len(segs) - 1; i >= 0; i-- {
		f, err := os.Open(segs[i].path)
		if err != nil {
			return segs[i].end()
		}
		for off := segs[i].info.Size(); off > 0; {
			b := buf[:min(off, int64(len(buf)))]
			off -= int64(len(b))
			got, _ := f.ReadAt(b, off)
			for k := got - 1; k >= 0; k-- {
				if b[k] == '\n' && !last {
					if found++; found == n {
						f.Close()
						return segs[i].base + off + int64(k) + 1
					}
				}
				last = false
			}
		}
		f.Close()
	}
	return segs[0].base
}

// sinceStart finds a position at or before the first line that arrived at t or later.
func sinceStart(segs []segment, t time.Time) int64 {
	for i, g := range segs {
		if g.info.ModTime().Before(t.Add(-time.Second)) { // the index may be a little ahead of a coarse file clock
			continue
		}
		v, ok := g.open()
		if !ok {
			continue
		}
		at := v.index.search(func(r record) bool { return r.time < t.UnixNano() })
		r, ok := v.index.record(at)
		v.close()
		if ok && at > 0 && r.kind == recData && r.offset > 0 {
			return g.base + r.offset
		}
		if i > 0 { // the first line may begin in the file before: a stretch of that gives it its true time
			return max(segs[i-1].base, g.base-64<<10)
		}
		return g.base
	}
	if n := len(segs); n > 0 {
		return segs[n-1].end()
	}
	return 0
}
