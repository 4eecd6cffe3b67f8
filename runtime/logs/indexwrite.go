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
	disk    disk
	f       *os.File  // nil: could not be opened; all is held back
	retry   time.Time // when to try again to open it
	size    int64
	pending []byte
	data    spot // the last data record
	gap     spot // the last drop: its count grows in place
	tokens  float64
	filled  time.Time // when tokens were last added
}

// spot is a record and its place in the index.
type spot struct {
	record
	at int64
}

const (
	recordBurst = 4096 // records that may be written at once
	recordRate  = 1000 // records a second in the long run; chunks in between share the earlier time
	maxPending  = 64 << 10
)

// openIndex opens an index to go on with it; a torn record at its end will be overwritten.
func openIndex(d disk, path string) indexWriter {
	now := time.Now()
	x := indexWriter{disk: d, tokens: recordBurst, filled: now, retry: now.Add(time.Second)}
	f, err := d.open(path, 0)
	if err != nil {
		return x
	}
	if fi, err := f.Stat(); err == nil {
		x.size = fi.Size() / recordSize * recordSize
	}
	x.f = f
	return x
}

// put appends encoded records, or holds them back when the disk is full. It returns where the first one is, or will be.
func (x *indexWriter) put(b []byte, limit int) (int64, bool) {
	at := x.size + int64(len(x.pending))
	if len(x.pending)+len(b) > limit {
		return 0, false
	}
	x.pending = append(x.pending, b...)
	x.flush()
	return at, true
}

// flush tries to write what was held back. A short write is overwritten whole by the next try.
func (x *indexWriter) flush() {
	if x.f == nil || len(x.pending) == 0 {
		return
	}
	if _, err := x.disk.write(x.f, x.pending, x.size); err == nil {
		x.size += int64(len(x.pending))
		x.pending = nil
	}
}

// rewrite replaces the record at that place: on the disk no space is needed for it. It tells whether it is there or held back.
func (x *indexWriter) rewrite(at int64, r record) bool {
	b := appendRecord(nil, r)
	if at >= x.size {
		copy(x.pending[at-x.size:], b)
		x.flush()
		return true
	}
	return x.disk.overwrite(x.f, b, at) == nil
}

// restart empties the index and writes its first record. One that cannot be emptied is not used: what it says is wrong.
func (x *indexWriter) restart(base int64, now time.Time) {
	x.size, x.pending, x.data, x.gap = 0, nil, spot{}, spot{}
	if x.f != nil && x.disk.truncate(x.f) != nil {
		x.f.Close()
		x.f, x.retry = nil, now.Add(time.Second)
	}
	if x.f == nil {
		return
	}
	x.put(appendRecord(nil, record{kind: recBase, offset: base, time: now.UnixNano()}), maxPending)
}

// note records that bytes are about to arrive at offset.
func (x *indexWriter) note(offset int64, now time.Time) {
	r := record{kind: recData, offset: offset, time: now.UnixNano()}
	if x.data.kind == recData && x.data.offset == offset { // they were about to already
		x.data.record = r
		x.rewrite(x.data.at, r)
		return
	}
	x.tokens = min(recordBurst, x.tokens+now.Sub(x.filled).Seconds()*recordRate)
	x.filled = now
	if x.tokens < 1 {
		return
	}
	x.tokens--
	if at, ok := x.put(appendRecord(nil, r), maxPending); ok {
		x.data = spot{r, at}
	}
}

// drop adds n to the bytes dropped at offset.
func (x *indexWriter) drop(offset, n int64, errno syscall.Errno, now time.Time) {
	r := record{kind: recDrop, offset: offset, time: now.UnixNano(), count: n, errno: uint16(errno)}
	if x.gap.kind == recDrop && x.gap.offset == offset {
		sum := r
		sum.time, sum.count = x.gap.time, x.gap.count+n
		if x.rewrite(x.gap.at, sum) {
			x.gap.record = sum
			return
		}
	}
	if at, ok := x.put(appendRecord(nil, r), 2*maxPending); ok {
		x.gap = spot{r, at}
	}
}

// mark appends a mark at offset. What arrives there later is another chunk.
func (x *indexWriter) mark(offset int64, at time.Time, kind, text string) {
	if _, ok := x.put(encodeMark(offset, at, kind, text), maxPending); ok {
		x.data, x.gap = spot{}, spot{}
	}
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
