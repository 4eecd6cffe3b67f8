package logs

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"strings"
	"syscall"
	"time"
)

// An index is a sequence of records of recordSize bytes, little-endian:
//
//	0  crc32 (Castagnoli) of the rest
//	4  kind
//	5  n: for a mark the number of recText records that follow; for a text the bytes of it
//	6  errno, for a drop
//	8  offset in the data file (recBase: position of the file in the stream)
//	16 time, nanoseconds since 1970
//	24 bytes dropped
//
// A text record holds 24 bytes of text from 8 on. A record with a wrong sum is skipped. A data record is written before
// its bytes, so a reader that sees bytes finds their time; of several at one offset the last one counts.
const recordSize = 32

const (
	recBase byte = iota + 1 // first record: where the file begins in the stream, and when it was made
	recData                 // bytes from offset on arrived at time
	recMark                 // a mark before offset
	recText                 // text of a mark
	recDrop                 // bytes were dropped before offset
)

const (
	textChunk   = recordSize - 8
	maxMarkText = 4000
)

type record struct {
	kind   byte
	n      byte
	errno  uint16
	offset int64
	time   int64
	count  int64
	text   string // recText: the piece
}

func sum(b []byte) uint32 { return crc32.Checksum(b[4:recordSize], crc32.MakeTable(crc32.Castagnoli)) }

// appendRecord appends the encoded record to b.
func appendRecord(b []byte, r record) []byte {
	var a [recordSize]byte
	a[4], a[5] = r.kind, r.n
	binary.LittleEndian.PutUint16(a[6:], r.errno)
	if r.kind == recText {
		copy(a[8:], r.text)
	} else {
		binary.LittleEndian.PutUint64(a[8:], uint64(r.offset))
		binary.LittleEndian.PutUint64(a[16:], uint64(r.time))
		binary.LittleEndian.PutUint64(a[24:], uint64(r.count))
	}
	binary.LittleEndian.PutUint32(a[:], sum(a[:]))
	return append(b, a[:]...)
}

// decodeRecord reads one record from b, which holds recordSize bytes; ok is false for a damaged one.
func decodeRecord(b []byte) (r record, ok bool) {
	if binary.LittleEndian.Uint32(b) != sum(b) {
		return r, false
	}
	r.kind, r.n = b[4], b[5]
	if r.kind == recText {
		if int(r.n) > textChunk {
			return r, false
		}
		r.text = string(b[8 : 8+int(r.n)])
		return r, true
	}
	r.errno = binary.LittleEndian.Uint16(b[6:])
	r.offset = int64(binary.LittleEndian.Uint64(b[8:]))
	r.time = int64(binary.LittleEndian.Uint64(b[16:]))
	r.count = int64(binary.LittleEndian.Uint64(b[24:]))
	return r, r.kind >= recBase && r.kind <= recDrop && r.offset >= 0
}

// encodeMark makes the records of a mark.
func encodeMark(offset int64, at time.Time, kind, text string) []byte {
	s := kind + "\x00" + text
	if len(s) > maxMarkText {
		s = s[:maxMarkText]
	}
	n := (len(s) + textChunk - 1) / textChunk
	b := appendRecord(nil, record{kind: recMark, n: byte(n), offset: offset, time: at.UnixNano()})
	for len(s) > 0 {
		p := s[:min(len(s), textChunk)]
		b = appendRecord(b, record{kind: recText, n: byte(len(p)), text: p})
		s = s[len(p):]
	}
	return b
}

// entry is what an index says about one offset: a data record, or a mark with its words.
type entry struct {
	kind   byte
	offset int64
	time   time.Time
	mark   string
	text   string
	at     int64 // where its record begins in the index
}

// decodeEntry reads the entry at the start of b. It returns the bytes that it takes: 0 when b may hold only its
// beginning. ok is false for what is to be skipped.
func decodeEntry(b []byte) (e entry, size int, ok bool) {
	if len(b) < recordSize {
		return e, 0, false
	}
	r, ok := decodeRecord(b)
	if !ok || r.kind == recText {
		return e, recordSize, false
	}
	e = entry{kind: r.kind, offset: r.offset, time: time.Unix(0, r.time)}
	switch r.kind {
	case recDrop:
		e.mark, e.text = Dropped, dropText(r.count, syscall.Errno(r.errno))
	case recMark:
		return decodeMark(e, b, int(r.n))
	}
	return e, recordSize, true
}

func decodeMark(e entry, b []byte, n int) (entry, int, bool) {
	var s strings.Builder
	for i := 1; i <= n; i++ {
		p := b[min(i*recordSize, len(b)):]
		if len(p) < recordSize {
			return e, 0, false
		}
		r, ok := decodeRecord(p)
		if !ok || r.kind != recText {
			return e, i * recordSize, false
		}
		s.WriteString(r.text)
	}
	e.mark, e.text, _ = strings.Cut(s.String(), "\x00")
	if e.mark == "" {
		e.mark = "mark"
	}
	return e, (n + 1) * recordSize, true
}

// indexReader reads entries in order, also while the index grows. It never fails: without an index there are no entries.
type indexReader struct {
	f   *os.File // nil: no index
	pos int64    // of buf[0]
	buf []byte
}

const indexBlock = 128 * recordSize

// next returns the next entry, if there is one by now.
func (x *indexReader) next() (entry, bool) {
	for {
		e, size, ok := decodeEntry(x.buf)
		if size == 0 {
			if !x.fill() {
				return entry{}, false
			}
			continue
		}
		e.at = x.pos
		x.pos += int64(size)
		x.buf = x.buf[size:]
		if ok {
			return e, true
		}
	}
}

func (x *indexReader) fill() bool {
	if x.f == nil {
		return false
	}
	b := make([]byte, len(x.buf)+indexBlock)
	n, _ := x.f.ReadAt(b[copy(b, x.buf):], x.pos+int64(len(x.buf)))
	if n = n / recordSize * recordSize; n == 0 {
		return false
	}
	x.buf = b[:len(x.buf)+n]
	return true
}

// base returns the first record: the position of the file in its stream.
func (x *indexReader) base() (record, bool) {
	return x.record(0)
}

func (x *indexReader) record(at int64) (record, bool) {
	var b [recordSize]byte
	if x.f == nil {
		return record{}, false
	}
	if n, _ := x.f.ReadAt(b[:], at); n < recordSize {
		return record{}, false
	}
	r, ok := decodeRecord(b[:])
	return r, ok && (at != 0 || r.kind == recBase)
}

// last returns the last record of an index of that size which has an offset in the data; a zero record if there is none.
func (x *indexReader) last(size int64) record {
	for at := size - recordSize; at > 0; at -= recordSize {
		if r, ok := x.record(at); ok && r.kind != recText {
			return r
		}
	}
	return record{}
}

// search finds the first record for which less is false, by halving (offsets and, clock jumps aside, times ascend), and
// returns the place of the last data record before it, from which a reader can start.
func (x *indexReader) search(less func(record) bool) int64 {
	if x.f == nil {
		return 0
	}
	fi, err := x.f.Stat()
	if err != nil {
		return 0
	}
	lo, hi := int64(0), fi.Size()/recordSize // records below lo are less
	for lo < hi {
		mid := (lo + hi) / 2
		i, r := x.anchor(mid, hi)
		if i < hi && less(r) {
			lo = i + 1
		} else {
			hi = mid
		}
	}
	for i := lo - 1; i > 0; i-- {
		if r, ok := x.record(i * recordSize); ok && r.kind == recData {
			return i * recordSize
		}
	}
	return 0
}

// anchor returns the first record from i on, below end, that has an offset.
func (x *indexReader) anchor(i, end int64) (int64, record) {
	for ; i < end; i++ {
		if r, ok := x.record(i * recordSize); ok && r.kind != recText && r.kind != recBase {
			return i, r
		}
	}
	return end, record{}
}
