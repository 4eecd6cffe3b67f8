package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"orrery/runtime/logs"
)

// The pace at which an attached client looks for more: at once after there was
// something, as somebody may be typing, then less often.
const (
	lookMin = time.Millisecond
	lookMax = 25 * time.Millisecond
)

// output shows what the service prints, byte for byte, from its last lines on.
// It reads the log: whoever reads slowly, or not at all, holds up nobody.
func (t *attachment) output(ctx context.Context, out io.Writer) error {
	store, err := logs.Open(t.place.Logs)
	if err != nil {
		return err
	}
	from := &rawTail{path: store.Path(t.name, logs.Stdout)}
	defer from.close()
	if err := from.last(followTail); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for wait := lookMin; ; {
		n, err := from.read(buf)
		if err != nil {
			return err
		}
		if n > 0 {
			if _, err := out.Write(buf[:n]); err != nil {
				return err
			}
			wait = lookMin
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
			wait = min(wait*3/2, lookMax)
		}
	}
}

// rawTail reads a log file as bytes and follows it over rotations.
type rawTail struct {
	path string
	file *os.File
	at   int64
}

func (r *rawTail) close() {
	if r.file != nil {
		r.file.Close()
	}
}

// last goes to where the last lines begin.
func (r *rawTail) last(lines int) error {
	f, err := os.Open(r.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	r.file = f
	st, err := f.Stat()
	if err != nil {
		return err
	}
	const most = 32 << 10
	from := max(0, st.Size()-most)
	b := make([]byte, st.Size()-from)
	n, err := f.ReadAt(b, from)
	if err != nil && err != io.EOF {
		return err
	}
	r.at = from + int64(tailStart(b[:n], lines))
	return nil
}

// tailStart is where the last lines of a text begin; the one that the text ends
// in, with or without its newline, is one of them.
func tailStart(b []byte, lines int) int {
	end := len(bytes.TrimSuffix(b, []byte("\n")))
	for range lines {
		i := bytes.LastIndexByte(b[:end], '\n')
		if i < 0 {
			return 0
		}
		end = i
	}
	return end + 1
}

// read gives what is there beyond what was read; 0 without an error: nothing.
func (r *rawTail) read(b []byte) (int, error) {
	if r.file == nil {
		f, err := os.Open(r.path)
		if errors.Is(err, os.ErrNotExist) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		r.file, r.at = f, 0
	}
	// First whether it was rotated away, then what it holds: nothing is written to it after that.
	rotated := false
	own, err := r.file.Stat()
	if err != nil {
		return 0, err
	}
	if now, err := os.Stat(r.path); errors.Is(err, os.ErrNotExist) || err == nil && !os.SameFile(own, now) {
		rotated = true
	}
	n, err := r.file.ReadAt(b, r.at)
	r.at += int64(n)
	if err != nil && err != io.EOF {
		return n, err
	}
	if n == 0 && rotated {
		r.file.Close()
		r.file = nil
	}
	return n, nil
}

// outlet is our screen. It remembers which modes the service has turned on, to
// turn them off when we leave.
type outlet struct {
	to   io.Writer
	mu   sync.Mutex
	tail []byte // of what was written: a sequence may be cut
	on   map[string]bool
}

// screenModes are what a full-screen program turns on: the alternate screen,
// mouse reports, bracketed paste, the keypad; and what it turns off: the cursor.
func screenModes() []string {
	return []string{"1049", "1047", "47", "1000", "1002", "1003", "1006", "1004", "2004", "1", "25"}
}

// Write writes all of b and notes the modes that it changes.
func (o *outlet) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	text := append(o.tail, b...)
	if o.on == nil {
		o.on = map[string]bool{}
	}
	for _, m := range screenModes() {
		set, unset := bytes.LastIndex(text, []byte("\x1b[?"+m+"h")), bytes.LastIndex(text, []byte("\x1b[?"+m+"l"))
		if set != unset {
			o.on[m] = set > unset
		}
	}
	o.tail = append([]byte(nil), text[max(0, len(text)-8):]...)
	return o.to.Write(b)
}

// reset turns off what is still on.
func (o *outlet) reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range screenModes() {
		on, known := o.on[m]
		switch {
		case m == "25" && known && !on:
			fmt.Fprintf(o.to, "\x1b[?%sh", m)
		case m != "25" && on:
			fmt.Fprintf(o.to, "\x1b[?%sl", m)
		}
	}
	if len(o.on) > 0 {
		io.WriteString(o.to, "\x1b[0m")
	}
	clear(o.on)
}
