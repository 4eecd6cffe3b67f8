package task

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"orrery/runtime/cache"
)

// maxLog bounds the output that is kept, in bytes.
const maxLog = 64 << 20

// The tags of chunks.
const (
	tagOut = 'o'
	tagErr = 'e'
)

// chunk is a piece of output.
type chunk struct {
	tag  byte
	text []byte
}

// recorder keeps what a task writes, in the order in which it came.
type recorder struct {
	mu     sync.Mutex
	chunks []chunk
	size   int
	full   bool
}

// reset forgets what a try that failed wrote.
func (r *recorder) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.chunks, r.size, r.full = nil, 0, false
}

// tee gives writers that keep, and pass on. Two that were the same stay so: one pipe keeps the order.
func (r *recorder) tee(out, err io.Writer) (io.Writer, io.Writer) {
	a := &teeWriter{rec: r, tag: tagOut, to: out}
	if same(out, err) {
		return a, a
	}
	return a, &teeWriter{rec: r, tag: tagErr, to: err}
}

type teeWriter struct {
	rec    *recorder
	tag    byte
	to     io.Writer // nil: nobody
	broken bool
}

// Write never fails: a reader that has gone must not end the recording.
func (w *teeWriter) Write(p []byte) (int, error) {
	w.rec.add(w.tag, p)
	if w.to != nil && !w.broken {
		if _, err := w.to.Write(p); err != nil {
			w.broken = true
		}
	}
	return len(p), nil
}

func (r *recorder) add(tag byte, p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.full {
		return
	}
	if r.size+len(p) > maxLog {
		r.full = true
		tag, p = tagErr, []byte("(what followed is not kept: the output is over 64 MiB)\n")
	}
	r.size += len(p)
	if n := len(r.chunks); n > 0 && r.chunks[n-1].tag == tag && len(r.chunks[n-1].text) < 1<<16 {
		r.chunks[n-1].text = append(r.chunks[n-1].text, p...)
		return
	}
	r.chunks = append(r.chunks, chunk{tag, bytes.Clone(p)})
}

// text is what is kept: chunks of a tag, a length and the bytes; secrets are blackened, also across chunks.
func (r *recorder) text(secrets []string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, tag := range []byte{tagOut, tagErr} {
		blacken(r.chunks, tag, secrets)
	}
	var b []byte
	for _, c := range r.chunks {
		b = append(b, c.tag)
		b = binary.AppendUvarint(b, uint64(len(c.text)))
		b = append(b, c.text...)
	}
	return b
}

// blacken overwrites secrets in one stream.
func blacken(chunks []chunk, tag byte, secrets []string) {
	if len(secrets) == 0 {
		return
	}
	var all []byte
	for _, c := range chunks {
		if c.tag == tag {
			all = append(all, c.text...)
		}
	}
	for _, s := range secrets {
		all = bytes.ReplaceAll(all, []byte(s), bytes.Repeat([]byte("*"), len(s)))
	}
	for i, c := range chunks {
		if c.tag == tag {
			all = all[copy(chunks[i].text, all):]
		}
	}
}

// errLog says that a kept output is none.
var errLog = errors.New("it is torn")

// Replay writes what a task printed; see Result.Log.
func Replay(ctx context.Context, s Store, log cache.Blob, out, errs io.Writer) error {
	if err := s.Fetch(ctx, []cache.Blob{log}); err != nil {
		return err
	}
	f, err := s.Open(ctx, log)
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	return replayTo(text, out, errs)
}

func replayTo(text []byte, out, errs io.Writer) error {
	for len(text) > 0 {
		n, size := binary.Uvarint(text[1:])
		if size <= 0 || n > uint64(len(text)-1-size) {
			return errLog
		}
		to := out
		switch text[0] {
		case tagOut:
		case tagErr:
			to = errs
		default:
			return errLog
		}
		text = text[1+size:]
		if to != nil {
			if _, err := to.Write(text[:n]); err != nil {
				return err
			}
		}
		text = text[n:]
	}
	return nil
}
