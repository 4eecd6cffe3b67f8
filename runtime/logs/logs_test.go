package logs

import (
	"bytes"
	"context"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestStreamsAreTaggedAndOrdered(t *testing.T) {
	s := open(t)
	c := capture(t, s, "web", Options{})
	for i := range 5 {
		fmt.Fprintf(c.Stdout(), "out %d\n", i)
		drain(t, c)
		fmt.Fprintf(c.Stderr(), "err %d\n", i)
		drain(t, c)
	}
	var lines []string
	for i := range 5 {
		lines = append(lines, fmt.Sprintf("web stdout out %d", i), fmt.Sprintf("web stderr err %d", i))
	}
	want(t, read(t, s, Query{}), lines...)
	want(t, read(t, s, Query{Streams: []string{Stderr}, Tail: 2}), lines[7], lines[9])
	want(t, read(t, s, Query{Tail: 3}), lines[7:]...)
	want(t, read(t, s, Query{Tail: -1}))
	want(t, read(t, s, Query{Grep: regexp.MustCompile("[34]$")}), lines[6:]...)
	want(t, read(t, s, Query{Grep: regexp.MustCompile("^out"), Tail: 1}), lines[8])
}

func TestChildOutputPartialLastLineAndMarks(t *testing.T) {
	s := open(t)
	c := capture(t, s, "job", Options{})
	for i := range 2 {
		c.Mark("started", fmt.Sprintf("pid %d", i))
		cmd := exec.Command("sh", "-c", "echo one; printf two; printf oops >&2")
		cmd.Stdout, cmd.Stderr = c.Stdout(), c.Stderr()
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		drain(t, c)
		c.Mark("exited", "0")
	}
	got := read(t, s, Query{Streams: []string{Stdout}})
	want(t, got, "job [started] pid 0", "job stdout one", "job stdout two…", "job [exited] 0",
		"job [started] pid 1", "job stdout one", "job stdout two…", "job [exited] 0")
	n := 0
	for _, l := range read(t, s, Query{}) {
		if strings.Contains(l, "[") {
			n++
		}
	}
	if n != 4 {
		t.Errorf("got %d marks of both streams, want each of the 4 once", n)
	}
	if got := content(t, s, "job", Stdout); got != "one\ntwoone\ntwo" {
		t.Errorf("got %q: marks must not be among the bytes", got)
	}
	c.ReleaseWriters()
	for _, st := range c.streams {
		<-st.done // the end of the stream is seen
	}
}

func TestBytesAreExact(t *testing.T) {
	s := open(t)
	c := capture(t, s, "bin", Options{Single: true, MaxSize: 100_000, Keep: 1000})
	data := make([]byte, 3<<20)
	rand.New(rand.NewSource(1)).Read(data)
	if _, err := c.Stdout().Write(data); err != nil {
		t.Fatal(err)
	}
	drain(t, c)
	if got := content(t, s, "bin", Stdout); got != string(data) {
		t.Errorf("got %d bytes that differ, want the %d written", len(got), len(data))
	}
	if fi, err := os.Stat(s.Path("bin", Stdout) + ".1"); err != nil || fi.Size() != 100_000 {
		t.Errorf("got %v %v, want a rotated file of exactly max_size", fi, err)
	}
	var back bytes.Buffer
	err := s.Read(context.Background(), Query{}, func(l Line) bool {
		back.Write(l.Text)
		if !l.Partial {
			back.WriteByte('\n')
		}
		return true
	})
	if err != nil || !bytes.Equal(back.Bytes(), data) {
		t.Errorf("lines over rotations do not make up the bytes again: %v, %d bytes", err, back.Len())
	}
}

func TestLongLineIsCutNotLost(t *testing.T) {
	s := open(t)
	c := capture(t, s, "long", Options{Single: true})
	text := strings.Repeat("x", 3*maxLine+17)
	fmt.Fprintf(c.Stdout(), "%s\nend\n", text)
	drain(t, c)
	var back strings.Builder
	s.Read(context.Background(), Query{}, func(l Line) bool {
		back.Write(l.Text)
		if !l.Partial {
			back.WriteByte('\n')
		}
		return true
	})
	if back.String() != text+"\nend\n" {
		t.Errorf("got %d bytes, want %d", back.Len(), len(text)+5)
	}
}

func TestNodesAndSubtrees(t *testing.T) {
	s := open(t)
	for _, n := range []string{"shop", "shop/worker/1", "shop-2", "shop_x"} {
		c := capture(t, s, n, Options{Single: true})
		fmt.Fprintln(c.Stdout(), "hello")
		drain(t, c)
	}
	got, err := s.Nodes()
	if err != nil {
		t.Fatal(err)
	}
	want(t, got, "shop", "shop-2", "shop/worker/1", "shop_x")
	want(t, read(t, s, Query{Nodes: []string{"shop"}}), "shop stdout hello", "shop/worker/1 stdout hello")
	want(t, read(t, s, Query{Nodes: []string{"shop/worker"}}), "shop/worker/1 stdout hello")
	want(t, read(t, s, Query{Nodes: []string{"none"}}))
}

func TestNamesCanBeReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.StringMatching(`[a-z0-9_/.%-]{1,20}`), rapid.StringN(1, 20, -1)).Draw(t, "name")
		file := escape(name)
		if back, ok := unescape(file); !ok || back != name || strings.ContainsAny(file, "/\x00") || file[0] == '.' {
			t.Fatalf("%q -> %q -> %q %v", name, file, back, ok)
		}
	})
}

func TestSince(t *testing.T) {
	s := open(t)
	c := capture(t, s, "a", Options{Single: true, MaxSize: 40, Keep: 100})
	var cut time.Time
	for i := range 40 {
		if i == 25 {
			time.Sleep(time.Millisecond) // the clock must move between the two
			cut = time.Now()
		}
		fmt.Fprintf(c.Stdout(), "line %d\n", i)
		drain(t, c)
	}
	got := read(t, s, Query{Since: cut})
	if len(got) != 15 || got[0] != "a stdout line 25" {
		t.Errorf("got %d lines, first %q, want 15 from line 25 on", len(got), got[:min(1, len(got))])
	}
	if got := read(t, s, Query{Since: cut, Tail: 3}); len(got) != 3 || got[2] != "a stdout line 39" {
		t.Errorf("got %q", got)
	}
	if got := read(t, s, Query{Since: time.Now().Add(time.Hour)}); len(got) != 0 {
		t.Errorf("got %q from the future", got)
	}
}

func TestCursorGoesOn(t *testing.T) {
	s := open(t)
	c := capture(t, s, "a", Options{MaxSize: 50, Keep: 100})
	cur := Cursor{}
	var all []string
	for i := range 30 {
		fmt.Fprintf(c.Stdout(), "out %d\n", i)
		fmt.Fprintf(c.Stderr(), "err %d\n", i)
		drain(t, c)
		n := 0
		s.Read(context.Background(), Query{From: cur}, func(l Line) bool {
			cur.Advance(l)
			all = append(all, show(l))
			n++
			return n < 1+i%4
		})
	}
	s.Read(context.Background(), Query{From: cur}, func(l Line) bool { all = append(all, show(l)); return true })
	seen := map[string]bool{}
	for _, l := range all {
		if seen[l] {
			t.Errorf("%q was read twice", l)
		}
		seen[l] = true
	}
	if len(seen) != 60 {
		t.Errorf("got %d lines, want 60", len(seen))
	}
}

func TestIndexLostOrTorn(t *testing.T) {
	for name, damage := range map[string]func(string) error{
		"missing": os.Remove,
		"empty":   func(p string) error { return os.Truncate(p, 0) },
		"torn":    func(p string) error { return os.Truncate(p, recordSize*3+7) },
		"noise": func(p string) error {
			b := make([]byte, 1000)
			rand.New(rand.NewSource(2)).Read(b)
			return os.WriteFile(p, b, 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			write := func(from, to int) {
				c := capture(t, s, "a", Options{Single: true})
				defer c.Close()
				for i := from; i < to; i++ {
					fmt.Fprintf(c.Stdout(), "line %d\n", i)
					drain(t, c)
				}
			}
			write(0, 10)
			if err := damage(indexPath(s.Path("a", Stdout))); err != nil {
				t.Fatal(err)
			}
			check := func(n int) {
				t.Helper()
				got := read(t, s, Query{})
				if len(got) != n {
					t.Fatalf("got %d lines, want %d: %q", len(got), n, got)
				}
				for i, l := range got {
					if l != fmt.Sprintf("a stdout line %d", i) {
						t.Fatalf("got %q at %d", l, i)
					}
				}
			}
			check(10)
			write(10, 20)
			check(20)
		})
	}
}

func TestOneCaptureANode(t *testing.T) {
	s := open(t)
	capture(t, s, "a", Options{})
	if _, err := s.Capture("a", Options{}); err == nil || !strings.Contains(err.Error(), "another process writes") {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestDescriptorsGoBack(t *testing.T) {
	s := open(t)
	before := 0
	for i := range 3 {
		c := capture(t, s, "a", Options{MaxSize: 1000})
		for range 500 {
			fmt.Fprintln(c.Stdout(), "hello world")
		}
		ctx, cancel := context.WithCancel(context.Background())
		n := 0
		s.Read(ctx, Query{Follow: true}, func(Line) bool {
			if n++; n > 50 {
				cancel()
			}
			return true
		})
		read(t, s, Query{Tail: 2})
		c.Close()
		c.Close()
		switch n := openFiles(t); {
		case i == 0:
			before = n // the poller's own descriptors are there now
		case n > before:
			t.Errorf("round %d: got %d open descriptors, want %d", i, n, before)
		}
	}
}

func TestEmptiedFileStartsOver(t *testing.T) {
	s := open(t)
	c := capture(t, s, "a", Options{Single: true})
	for i := range 3 {
		fmt.Fprintf(c.Stdout(), "old %d\n", i)
		drain(t, c)
	}
	if err := os.Truncate(s.Path("a", Stdout), 0); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(c.Stdout(), "new")
	drain(t, c)
	want(t, read(t, s, Query{}), "a stdout new")
}

func TestMaxAge(t *testing.T) {
	s := open(t)
	c := capture(t, s, "a", Options{Single: true, MaxAge: time.Nanosecond})
	fmt.Fprintln(c.Stdout(), "one")
	drain(t, c)
	fmt.Fprintln(c.Stdout(), "two")
	drain(t, c)
	if b, err := os.ReadFile(s.Path("a", Stdout) + ".1"); err != nil || string(b) != "one\n" {
		t.Errorf("got %q %v, want the old file rotated", b, err)
	}
	want(t, read(t, s, Query{}), "a stdout one", "a stdout two")
}

func TestAMillionLines(t *testing.T) {
	s := open(t)
	c := capture(t, s, "a", Options{Single: true})
	const n = 1_000_000
	start := time.Now()
	go func() {
		var b []byte
		for i := range n {
			if b = fmt.Appendf(b, "line %d\n", i); len(b) > 4000 {
				c.Stdout().Write(b)
				b = b[:0]
			}
		}
		c.Stdout().Write(b)
		c.ReleaseWriters()
	}()
	<-c.streams[0].done
	wrote := time.Since(start)
	start = time.Now()
	i := 0
	var buf []byte
	s.Read(context.Background(), Query{}, func(l Line) bool {
		buf = fmt.Appendf(buf[:0], "line %d", i)
		if !bytes.Equal(l.Text, buf) {
			t.Errorf("got %q, want %q", l.Text, buf)
			return false
		}
		i++
		return true
	})
	if i != n {
		t.Errorf("got %d lines, want %d", i, n)
	}
	fi, _ := os.Stat(indexPath(s.Path("a", Stdout)))
	t.Logf("captured in %v, read in %v, index %d bytes", wrote, time.Since(start), fi.Size())
	if fi.Size() > 1<<20 {
		t.Errorf("got an index of %d bytes, want chunks, not lines", fi.Size())
	}
}
