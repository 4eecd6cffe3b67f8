package term

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// device is a terminal that remembers what it was given.
type device struct {
	mu     sync.Mutex
	size   Size
	ours   bool
	now    time.Time
	writes [][]byte
	wrote  chan struct{} // has one for each write
}

func newDevice() *device {
	return &device{size: Size{40, 24}, ours: true, now: at(0), wrote: make(chan struct{}, 10000)}
}

func (d *device) device() Device {
	return Device{
		Write: func(b []byte) (int, error) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.writes = append(d.writes, bytes.Clone(b))
			d.wrote <- struct{}{}
			return len(b), nil
		},
		Size:       func() Size { return d.size },
		Foreground: func() bool { return d.ours },
		Now:        func() time.Time { d.mu.Lock(); defer d.mu.Unlock(); return d.now },
	}
}

// text is all that was written.
func (d *device) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return string(bytes.Join(d.writes, nil))
}

// emulate is what a terminal without an end shows of a text with our sequences alone, and the row of the cursor.
func emulate(t *testing.T, text string) (rows []string, row int) {
	t.Helper()
	rows = []string{""}
	for text != "" {
		switch {
		case strings.HasPrefix(text, "\r\n"):
			text, row = text[2:], row+1
		case strings.HasPrefix(text, "\n"):
			text, row = text[1:], row+1
		case strings.HasPrefix(text, "\x1b[?7"):
			text = text[5:]
		case strings.HasPrefix(text, "\x1b[K"):
			text, rows[row] = text[3:], ""
		case strings.HasPrefix(text, "\x1b[J"):
			text, rows = text[3:], rows[:row]
		case strings.HasPrefix(text, "\x1b[A"):
			text, row = text[3:], row-1
		case strings.HasPrefix(text, "\x1b["):
			var up int
			if _, err := fmt.Sscanf(text, "\x1b[%dA", &up); err != nil || up > row {
				t.Fatalf("%q in row %d", text, row)
			}
			_, text, _ = strings.Cut(text, "A")
			row -= up
		case text[0] == '\r':
			text = text[1:]
		default:
			n := strings.IndexAny(text, "\r\n\x1b")
			if n < 0 {
				n = len(text)
			}
			rows[row], text = text[:n], text[n:]
		}
		for len(rows) <= row {
			rows = append(rows, "")
		}
	}
	return rows, row
}

func footer(lines ...string) func(Size, time.Time) []Line {
	return func(Size, time.Time) (all []Line) {
		for _, l := range lines {
			all = append(all, Line{{Text: l}})
		}
		return all
	}
}

// TestScreen: lines stay above the footer, in order and whole, and Close leaves nothing of it.
func TestScreen(t *testing.T) {
	d := newDevice()
	s := open(d.device(), Options{Footer: footer("one", "two"), AtOnce: true})
	<-d.wrote
	fmt.Fprint(s, "a\nb")
	<-d.wrote
	rows, row := emulate(t, d.text())
	if got := strings.Join(rows, "|"); got != "a||one|two" || row != 1 {
		t.Errorf("got %q, cursor in row %d", got, row)
	}
	fmt.Fprint(s, "c\n")
	<-d.wrote
	if rows, row = emulate(t, d.text()); strings.Join(rows, "|") != "a|bc||one|two" || row != 2 {
		t.Errorf("got %q, cursor in row %d", rows, row)
	}
	fmt.Fprint(s, "the end")
	s.Close()
	s.Close()
	fmt.Fprint(s, " and more")
	if !strings.HasSuffix(d.text(), below+"the end and more") {
		t.Errorf("got %q", d.text())
	}
}

// TestScreenOften: however much comes, each line is there once, and what comes in one frame goes with one write.
func TestScreenOften(t *testing.T) {
	d := newDevice()
	s := open(d.device(), Options{Footer: footer("footer"), AtOnce: true})
	<-d.wrote
	const many = 20000
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range many / 4 {
				fmt.Fprintf(s, "%d %d\n", w, i)
				s.Changed()
			}
		})
	}
	writers.Wait()
	s.Close()
	rows, _ := emulate(t, d.text())
	next := [4]int{}
	for _, r := range rows {
		var w, i int
		if _, err := fmt.Sscanf(r, "%d %d", &w, &i); err != nil {
			continue
		}
		if next[w] != i {
			t.Fatalf("after line %d of writer %d comes %q", next[w]-1, w, r)
		}
		next[w]++
	}
	if next != [4]int{many / 4, many / 4, many / 4, many / 4} {
		t.Errorf("got %v lines", next)
	}
	if n := len(d.writes); n > many/10 {
		t.Errorf("got %d writes of %d lines", n, many)
	}
}

// TestScreenPace: the same footer is not drawn again, and another one not before its time.
func TestScreenPace(t *testing.T) {
	d := newDevice()
	text := "one"
	s := open(d.device(), Options{Footer: func(Size, time.Time) []Line { return []Line{{{Text: text}}} }, AtOnce: true})
	defer s.Close()
	<-d.wrote
	s.mu.Lock()
	s.draw()
	s.mu.Unlock()
	if n := len(d.writes); n != 1 {
		t.Errorf("got %d writes for one frame", n)
	}
	s.mu.Lock()
	text = "two"
	d.size = Size{20, 10}
	s.draw()
	s.mu.Unlock()
	if got := d.text(); !strings.HasSuffix(got, below+noWrap+"\r\ntwo"+wrap+"\r\x1b[1A") {
		t.Errorf("got %q", got)
	}
}

// TestScreenWaits: what lasts less than a moment has no footer.
func TestScreenWaits(t *testing.T) {
	d := newDevice()
	s := open(d.device(), Options{Footer: footer("footer")})
	fmt.Fprint(s, "a\n")
	s.Close()
	if got := d.text(); got != "a\n" && !strings.HasSuffix(got, below) {
		t.Errorf("got %q", got)
	}
}

// TestScreenInTheBackground: a job in the background writes its lines, and leaves the rest of the terminal to the shell.
func TestScreenInTheBackground(t *testing.T) {
	d := newDevice()
	d.ours = false
	s := open(d.device(), Options{Footer: footer("footer"), AtOnce: true})
	fmt.Fprint(s, "a\n")
	s.Close()
	if got := d.text(); got != "a\n" {
		t.Errorf("got %q", got)
	}
}

// BenchmarkChanged is what an event costs when a footer is shown.
func BenchmarkChanged(b *testing.B) {
	d := newDevice()
	s := open(d.device(), Options{Footer: footer("footer"), AtOnce: true})
	defer s.Close()
	for b.Loop() {
		s.Changed()
	}
}
