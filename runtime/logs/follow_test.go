package logs

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// follow reads in the background; lines come over the channel.
func follow(t *testing.T, s *Store, q Query) <-chan Line {
	t.Helper()
	q.Follow = true
	ctx, cancel := context.WithCancel(context.Background())
	ch := make(chan Line, 1024)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Read(ctx, q, func(l Line) bool {
			select {
			case ch <- l:
				return true
			case <-ctx.Done():
				return false
			}
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return ch
}

func receive(t *testing.T, ch <-chan Line, text string) Line {
	t.Helper()
	select {
	case l := <-ch:
		if string(l.Text) != text {
			t.Fatalf("got %s, want %q", show(l), text)
		}
		return l
	case <-time.After(30 * time.Second):
		t.Fatalf("waited 30 s for %q", text)
		panic("unreachable")
	}
}

func TestFollow(t *testing.T) {
	s := open(t)
	c := capture(t, s, "a", Options{})
	fmt.Fprintln(c.Stdout(), "old 1")
	drain(t, c)
	fmt.Fprint(c.Stdout(), "old 2\nhal")
	drain(t, c)
	c.Mark("noise", "")
	ch := follow(t, s, Query{Tail: 2, Streams: []string{Stdout}})
	receive(t, ch, "old 2")
	receive(t, ch, "hal") // the mark cuts it
	receive(t, ch, "")
	start := time.Now()
	fmt.Fprint(c.Stdout(), "live")
	drain(t, c)
	fmt.Fprintln(c.Stdout(), " line")
	receive(t, ch, "live line")
	t.Logf("a line reached a follower of the process after %v", time.Since(start))
	later := capture(t, s, "later/node", Options{Single: true})
	fmt.Fprintln(later.Stdout(), "a new node")
	if l := receive(t, ch, "a new node"); l.Node != "later/node" {
		t.Errorf("got node %q", l.Node)
	}
	c.Mark("exited", "1")
	if l := receive(t, ch, "1"); l.Mark != "exited" {
		t.Errorf("got mark %q", l.Mark)
	}
}

func TestFollowOnlyNew(t *testing.T) {
	s := open(t)
	c := capture(t, s, "a", Options{})
	fmt.Fprintln(c.Stdout(), "old")
	drain(t, c)
	c.Mark("exited", "old")
	ch := follow(t, s, Query{Tail: -1})
	until(t, "a new line", func() bool { // there is no event for "the follower has begun"
		fmt.Fprintln(c.Stdout(), "new")
		select {
		case l := <-ch:
			if string(l.Text) != "new" {
				t.Fatalf("got %s, want what came after the call", show(l))
			}
			return true
		default:
			return false
		}
	})
}

func TestFollowOverRotationLosesNothing(t *testing.T) {
	s := open(t)
	c := capture(t, s, "a", Options{Single: true, MaxSize: 20_000, Keep: 10_000})
	ch := follow(t, s, Query{})
	const n = 50_000
	go func() {
		for i := range n {
			fmt.Fprintf(c.Stdout(), "line %d\n", i)
		}
	}()
	for i := range n {
		receive(t, ch, fmt.Sprintf("line %d", i))
	}
	if got := len(listSegments(s.Path("a", Stdout))); got < 20 {
		t.Errorf("got %d files, want many rotations", got)
	}
	if got := read(t, s, Query{Tail: 5000}); len(got) != 5000 || got[0] != "a stdout line 45000" {
		t.Errorf("got %d lines from %q", len(got), got[0])
	}
}

func TestOvertakenFollowerIsTold(t *testing.T) {
	s := open(t)
	c := capture(t, s, "a", Options{Single: true, MaxSize: 2000, Keep: 1})
	fmt.Fprintln(c.Stdout(), "the beginning")
	n, told, last := 0, false, ""
	err := s.Read(context.Background(), Query{Follow: true}, func(l Line) bool {
		if l.Mark == Dropped {
			told = strings.Contains(string(l.Text), "rotated away")
			return true
		}
		if last = string(l.Text); n == 0 { // while it dawdles here the files go
			for i := range 20_000 {
				fmt.Fprintf(c.Stdout(), "line %d\n", i)
			}
			drain(t, c)
			fmt.Fprintln(c.Stdout(), "the end")
		}
		n++
		return last != "the end"
	})
	if err != nil || !told {
		t.Errorf("got %v after %d lines, told %v", err, n, told)
	}
}

func TestKeepBoundsTheDisk(t *testing.T) {
	s := open(t)
	c := capture(t, s, "a", Options{Single: true, MaxSize: 10_000, Keep: 3})
	for i := range 20_000 {
		fmt.Fprintf(c.Stdout(), "line %d\n", i)
	}
	drain(t, c)
	var total int64
	ents, _ := os.ReadDir(s.dir + "/a")
	for _, e := range ents {
		if fi, _ := e.Info(); !strings.HasSuffix(e.Name(), ".idx") {
			total += fi.Size()
		}
	}
	if total > 40_000 || len(ents) > 8 {
		t.Errorf("got %d bytes in %d files, want at most 40000 in 8", total, len(ents))
	}
	got := read(t, s, Query{})
	if got[len(got)-1] != "a stdout line 19999" || len(got) < 2000 {
		t.Errorf("got %d lines, last %q", len(got), got[len(got)-1])
	}
}

func TestFollowFromAnotherProcess(t *testing.T) {
	s := open(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LOGS_TEST_ROLE=follow", "LOGS_TEST_DIR="+s.dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	c := capture(t, s, "a", Options{MaxSize: 5000, Keep: 1000})
	const n = 3000
	go func() {
		for i := range n {
			w := c.Stdout()
			if i%2 == 1 {
				w = c.Stderr()
			}
			fmt.Fprintln(w, i)
		}
	}()
	next := map[string]int{Stdout: 0, Stderr: 1}
	for sc := bufio.NewScanner(out); next[Stdout] < n || next[Stderr] < n; {
		if !sc.Scan() {
			t.Fatalf("the reader ended early: %v", sc.Err())
		}
		var node, stream string
		var i int
		fmt.Sscan(sc.Text(), &node, &stream, &i)
		if i != next[stream] {
			t.Fatalf("got %q, want %d", sc.Text(), next[stream])
		}
		next[stream] += 2
	}
}

// A flood in one stream must not hold up another, and many streams must not need a thread each.
func TestManyServicesAndAFlood(t *testing.T) {
	s := open(t)
	const n = 200
	ctx, cancel := context.WithCancel(context.Background())
	flood := capture(t, s, "flood", Options{MaxSize: 8 << 20, Keep: 1})
	var wg sync.WaitGroup
	wg.Go(func() {
		b := []byte(strings.Repeat("flood of output\n", 4096))
		for ctx.Err() == nil {
			flood.Stdout().Write(b)
		}
	})
	data := make(chan struct{}, 1)
	caps := make([]*Capture, n)
	for i := range caps {
		o := Options{}
		if i == n-1 {
			o.OnData = func() {
				select {
				case data <- struct{}{}:
				default:
				}
			}
		}
		caps[i] = capture(t, s, fmt.Sprintf("svc/%d", i), o)
	}
	var worst time.Duration
	for i := range 50 {
		start := time.Now()
		fmt.Fprintln(caps[n-1].Stdout(), i)
		<-data
		worst = max(worst, time.Since(start))
	}
	for i, c := range caps {
		fmt.Fprintln(c.Stderr(), i)
	}
	for _, c := range caps {
		drain(t, c)
	}
	cancel()
	wg.Wait()
	if got := read(t, s, Query{Nodes: []string{"svc"}, Streams: []string{Stderr}}); len(got) != n {
		t.Errorf("got %d lines, want %d", len(got), n)
	}
	t.Logf("beside a flood the slowest line took %v", worst)
	if worst > 5*time.Second {
		t.Errorf("a line took %v beside a flood", worst)
	}
}
