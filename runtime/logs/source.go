package logs

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"slices"
	"time"
)

// source reads the lines of one stream in order, over rotations, also while it grows. Positions are counted from the
// beginning of the stream.
type source struct {
	node, stream string
	path         string
	limit        int64 // do not begin a line at or behind it; negative: none
	block        int   // bytes to read at once

	view    *view // nil: no file yet
	pos     int64 // of buf[0]
	buf     []byte
	scanned int  // bytes of buf that hold no newline
	cut     bool // buf will not go on: the bytes behind it are gone
	head    Line // next to be yielded, when full
	full    bool
	timeline
}

// timeline is what the index says about the bytes from pos on.
type timeline struct {
	marks []entry   // in the order of their offsets
	high  int64     // offset of the last entry taken
	start int64     // marks before it are not shown
	time  time.Time // of the bytes at pos
}

// maxLine is where a line without end is cut.
const maxLine = 1 << 20

// seek begins at position pos, or at the first byte that is there.
func (s *source) seek(pos int64) {
	for range 100 { // a rotation between listing and opening: list again
		segs := listSegments(s.path)
		if len(segs) == 0 {
			return
		}
		if last := segs[len(segs)-1]; pos > last.end() { // the logs were removed meanwhile
			pos = segs[0].base
		}
		i := len(segs) - 1
		for i > 0 && pos < segs[i].base {
			i--
		}
		if v, ok := segs[i].open(); ok {
			s.enter(v, max(pos, v.base))
			return
		}
	}
}

// enter goes to a segment, at position pos.
func (s *source) enter(v *view, pos int64) {
	if s.view == nil {
		s.start, s.time = pos, v.mtime
	} else {
		s.loadMarks(math.MaxInt64)
		s.view.close()
	}
	s.view = v
	if len(s.buf) == 0 {
		s.pos = pos
	}
	if off := pos - v.base; off > 0 {
		v.index.pos = v.index.search(func(r record) bool { return r.offset < off })
	}
	if v.index.f == nil {
		s.marks = append(s.marks, entry{kind: recData, offset: pos, time: v.mtime})
	}
}

func (s *source) close() {
	if s.view != nil {
		s.view.close()
		s.view = nil
	}
}

// fill reads more bytes, and what the index says about them; false means that there are none now, or that what is in buf
// will not go on (cut).
func (s *source) fill() bool {
	for {
		if cap(s.buf)-len(s.buf) < s.block/2 {
			s.buf = append(make([]byte, 0, 2*len(s.buf)+s.block), s.buf...)
		}
		end := s.pos + int64(len(s.buf))
		room := s.buf[len(s.buf):cap(s.buf)]
		n, _ := s.view.data.ReadAt(room, end-s.view.base)
		replaced := n == 0 && s.replaced()
		if replaced { // it may have grown before it was; now it does not any more
			n, _ = s.view.data.ReadAt(room, end-s.view.base)
		}
		s.buf = s.buf[:len(s.buf)+n]
		s.loadMarks(end + int64(n))
		if n > 0 {
			return true
		}
		if len(s.buf) == 0 {
			s.buf = nil // an idle stream holds no memory
		}
		if !replaced {
			s.restart(end - s.view.base)
			return false
		}
		if !s.follow(end) {
			return false
		}
	}
}

// replaced says whether another file has the name of the stream by now, or none.
func (s *source) replaced() bool {
	fi, err := os.Stat(s.path)
	return err != nil || !os.SameFile(fi, s.view.info)
}

// follow goes to the file behind the one that ends at end.
func (s *source) follow(end int64) bool {
	next, ok := s.successor(end)
	if !ok {
		return false
	}
	if next.base > end && len(s.buf) > 0 {
		s.cut = true
		return false
	}
	v, ok := next.open()
	if !ok {
		return false // rotated just now: the next call finds it
	}
	v.base = max(v.base, end)
	if lost := v.base - end; lost > 0 {
		s.marks = append(s.marks, entry{kind: recMark, offset: end, time: v.mtime, mark: Dropped,
			text: fmt.Sprintf("dropped %d bytes: rotated away before they were read", lost)})
	}
	s.enter(v, v.base)
	return true
}

// successor finds the file that begins at end; when that is gone, the oldest one behind it.
func (s *source) successor(end int64) (segment, bool) {
	segs := listSegments(s.path)
	for i, g := range segs {
		if os.SameFile(g.info, s.view.info) {
			if i+1 == len(segs) {
				return g, false
			}
			return segs[i+1], true
		}
	}
	for _, g := range segs {
		if g.base >= end {
			return g, true
		}
	}
	if len(segs) == 0 {
		return segment{}, false
	}
	return segs[0], true // the logs were removed and begun anew
}

// restart starts over in a file that somebody emptied.
func (s *source) restart(off int64) {
	fi, err := s.view.data.Stat()
	if err != nil || fi.Size() >= off {
		return
	}
	s.buf, s.scanned, s.marks, s.high = nil, 0, nil, 0
	s.pos = s.view.base
	s.view.index.pos, s.view.index.buf = 0, nil
}

// loadMarks takes what the index holds about bytes below end, and the marks at end.
func (s *source) loadMarks(end int64) {
	for n := len(s.marks); n == 0 || s.marks[n-1].offset <= end; n = len(s.marks) {
		e, ok := s.view.index.next()
		if !ok {
			return
		}
		e.offset += s.view.base
		if e.kind == recBase || e.kind != recData && e.offset < s.start {
			continue
		}
		// Offsets ascend, but for a damaged index and for what a full disk held back.
		e.offset = max(e.offset, s.high)
		s.high = e.offset
		s.marks = append(s.marks, e)
	}
}

// skipMarks forgets the marks that are there already.
func (s *source) skipMarks() {
	s.loadMarks(math.MaxInt64)
	s.marks = slices.DeleteFunc(s.marks, func(e entry) bool { return e.kind != recData })
}

// next returns the next line or mark. With flush the bytes at the end count as a line although no newline ends them.
func (s *source) next(flush bool) (Line, bool) {
	if s.view == nil {
		return Line{}, false
	}
	end, whole := s.lineEnd()
	if l, wait, ok := s.takeMark(flush); ok || wait {
		return l, ok
	}
	if s.limit >= 0 && s.pos >= s.limit || end == 0 {
		return Line{}, false
	}
	for _, e := range s.marks {
		if at := e.offset - s.pos; e.kind != recData && at <= int64(end) {
			if at < int64(end) || !whole {
				return s.take(int(at), false), true
			}
			break
		}
	}
	if whole || flush || s.cut || end >= maxLine {
		s.cut = false
		return s.take(end, whole), true
	}
	return Line{}, false
}

// lineEnd returns how many bytes of buf the next line takes, reading more where needed, and whether its newline is there.
func (s *source) lineEnd() (end int, whole bool) {
	for {
		if i := bytes.IndexByte(s.buf[s.scanned:], '\n'); i >= 0 {
			return s.scanned + i + 1, true
		}
		s.scanned = len(s.buf)
		if len(s.buf) >= maxLine || s.cut || !s.fill() {
			return len(s.buf), false
		}
	}
}

// takeMark moves on the clock, and returns a mark that lies before the next byte. wait is set for a drop that may still grow.
func (s *source) takeMark(flush bool) (l Line, wait, ok bool) {
	for len(s.marks) > 0 && s.marks[0].offset <= s.pos {
		e := s.marks[0]
		if e.kind == recDrop && len(s.buf) == 0 && !flush {
			return l, true, false
		}
		s.marks = s.marks[1:]
		if e.kind == recData {
			s.time = e.time
			continue
		}
		if e.kind == recDrop {
			e = s.view.refresh(e)
		}
		l = Line{Node: s.node, Stream: s.stream, Time: e.time, Mark: e.mark, Text: []byte(e.text), Pos: s.pos}
		return l, false, true
	}
	return l, false, false
}

// take makes a line of the first n bytes of buf.
func (s *source) take(n int, whole bool) Line {
	text := s.buf[:n]
	if whole {
		text = text[:n-1]
	}
	s.buf = s.buf[n:]
	s.scanned = max(0, s.scanned-n)
	s.pos += int64(n)
	return Line{Node: s.node, Stream: s.stream, Time: s.time, Text: bytes.Clone(text), Partial: !whole, Pos: s.pos}
}
