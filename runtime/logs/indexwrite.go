package logs

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// indexWriter appends to an index. It never fails: what the disk does not take now stays in pending, within limits, and is
// tried again with the next record.
type indexWriter struct {
	f       *os.File // nil: could not be opened; times and marks are lost, bytes are not
	size    int64
	pending []byte
	last    record // the last one written
	lastAt  int64  // and its place
	tokens  float64
	filled  time.Time // when tokens were last added
}

const (
	recordBurst = 4096 // records that may be written at once
	recordRate  = 1000 // records a second in the long run; chunks in between share the earlier time
	maxPending  = 64 << 10
)

// openIndex opens an index to go on with it; a torn record at its end will be overwritten.
func openIndex(path string) indexWriter {
	x := indexWriter{tokens: recordBurst, filled: time.Now()}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return x
	}
	if fi, err := f.Stat(); err == nil {
		x.size = fi.Size() / recordSize * recordSize
	}
	x.f = f
	return x
}

// put appends encoded records, or holds them back when the disk is full.
func (x *indexWriter) put(b []byte) bool {
	if x.f == nil {
		return false
	}
	if len(x.pending)+len(b) <= maxPending {
		x.pending = append(x.pending, b...)
	}
	return x.flush()
}

func (x *indexWriter) flush() bool {
	if x.f == nil {
		return false
	}
	if len(x.pending) == 0 {
		return true
	}
	// A short write is overwritten whole by the next try: the size moves on only when all is there.
	if _, err := x.f.WriteAt(x.pending, x.size); err != nil {
		return false
	}
	x.lastAt = x.size + int64(len(x.pending)) - recordSize
	x.size += int64(len(x.pending))
	x.last, _ = decodeRecord(x.pending[len(x.pending)-recordSize:])
	x.pending = nil
	return true
}

// replace writes the record over the last one: no space is needed for it.
func (x *indexWriter) replace(r record) bool {
	if _, err := x.f.WriteAt(appendRecord(nil, r), x.lastAt); err != nil {
		return false
	}
	x.last = r
	return true
}

// restart empties the index and writes its first record.
func (x *indexWriter) restart(base int64, now time.Time) {
	if x.f != nil {
		x.f.Truncate(0)
	}
	x.size, x.pending, x.last = 0, nil, record{}
	x.put(appendRecord(nil, record{kind: recBase, offset: base, time: now.UnixNano()}))
}

// note records that bytes are about to arrive at offset.
func (x *indexWriter) note(offset int64, now time.Time) {
	r := record{kind: recData, offset: offset, time: now.UnixNano()}
	if x.last.kind == recData && x.last.offset == offset && len(x.pending) == 0 {
		x.replace(r)
		return
	}
	x.tokens = min(recordBurst, x.tokens+now.Sub(x.filled).Seconds()*recordRate)
	x.filled = now
	if x.tokens < 1 || len(x.pending) > maxPending/2 {
		return
	}
	x.tokens--
	x.put(appendRecord(nil, r))
}

// drop adds n to the bytes dropped at offset.
func (x *indexWriter) drop(offset, n int64, errno syscall.Errno, now time.Time) {
	r := record{kind: recDrop, offset: offset, time: now.UnixNano(), count: n, errno: uint16(errno)}
	if k := len(x.pending) - recordSize; k >= 0 {
		if p, ok := decodeRecord(x.pending[k:]); ok && p.kind == recDrop && p.offset == offset {
			r.time, r.count = p.time, p.count+n
			x.pending = x.pending[:k]
		}
	} else if x.last.kind == recDrop && x.last.offset == offset {
		r.time, r.count = x.last.time, x.last.count+n
		x.replace(r)
		return
	}
	x.put(appendRecord(nil, r))
}

func dropText(n int64, errno syscall.Errno) string {
	if errno == 0 {
		return fmt.Sprintf("dropped %d bytes", n)
	}
	return fmt.Sprintf("dropped %d bytes: %s", n, errno)
}

func (x *indexWriter) close() {
	if x.f != nil {
		x.flush()
		x.f.Close()
	}
}
