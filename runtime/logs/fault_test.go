package logs

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// faults makes the nth operation of a kind fail, or all from the nth on until it is over.
type faults struct {
	mu   sync.Mutex
	op   string // "": any
	at   int    // 0: none
	last bool   // from the nth on
	err  error
	n    int
	hit  int
	over bool
}

func (f *faults) hook(op string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.op != "" && f.op != op {
		return nil
	}
	f.n++
	if f.over || f.at == 0 || f.n < f.at || f.n > f.at && !f.last {
		return nil
	}
	f.hit++
	return f.err
}

func (f *faults) end() {
	f.mu.Lock()
	f.over = true
	f.mu.Unlock()
}

// TestEveryOperation fails each operation on the disk of a service that writes, is marked and rotated, and is captured again: alone,
// and with all after it until the fault is over. The service never waits for more than a second, all bytes are kept or counted in
// a mark, lines are whole and in order, and what is written when the fault is over is there.
func TestEveryOperation(t *testing.T) {
	t.Parallel()
	for _, keep := range []int{50, 1, -1} {
		for _, op := range []string{"create", "write", "rename", "remove", "truncate"} {
			every(t, op, keep, false)
		}
		every(t, "write", keep, true) // nothing else is different without splice
	}
}

// every fails each operation of a kind.
func every(t *testing.T, op string, keep int, plain bool) {
	t.Helper()
	count := &faults{op: op}
	attempt(t, count, keep, plain)
	if count.n == 0 && (op != "remove" || keep < 50) {
		t.Errorf("keep %d: got no %s", keep, op)
	}
	var all []*faults
	for i, err := range []error{syscall.ENOSPC, syscall.EIO, syscall.EROFS} {
		for at := 1; at <= count.n; at++ {
			third := (at+i)%3 == 0 // they take their time: each operation with one of the three
			if third || os.Getenv("LOGS_FAULTS") == "all" {
				all = append(all, &faults{op: op, at: at, err: err})
			}
			if third {
				all = append(all, &faults{op: op, at: at, err: err, last: true})
			}
		}
	}
	var wg sync.WaitGroup // they mostly wait
	places := make(chan bool, 32)
	for _, f := range all {
		places <- true
		wg.Go(func() {
			defer func() { <-places }()
			attempt(t, f, keep, plain)
		})
	}
	wg.Wait()
	t.Logf("keep %d, plain %v: %d times %s, %d faults", keep, plain, count.n, op, len(all))
}

// service writes numbered lines to a capture, and takes the time of each.
type service struct {
	t     *testing.T
	c     *Capture
	lines int
	wrote int
	worst time.Duration
}

func (s *service) write(n int) {
	for range n {
		line := fmt.Sprintf("line %04d\n", s.lines)
		begin := time.Now()
		if _, err := s.c.Stdout().WriteString(line); err != nil {
			s.t.Fatal(err)
		}
		s.worst = max(s.worst, time.Since(begin))
		s.lines++
		s.wrote += len(line)
		drain(s.t, s.c)
	}
}

func attempt(t *testing.T, f *faults, keep int, plain bool) {
	t.Helper()
	what := fmt.Sprintf("%s %d (all after it too: %v): %v, keep %d, plain %v", f.op, f.at, f.last, f.err, keep, plain)
	st := open(t)
	st.disk.fault = f.hook
	o := Options{Single: true, MaxSize: 40, Keep: keep}
	svc := &service{t: t}
	begin := func() bool {
		c, err := st.Capture("a", o)
		if err != nil {
			if f.hit == 0 || !strings.Contains(err.Error(), "cannot capture the output of a: ") {
				t.Errorf("%s: got %v", what, err)
			}
			return false
		}
		c.streams[0].mu.Lock()
		c.streams[0].plain = plain
		c.streams[0].mu.Unlock()
		svc.c = c
		return true
	}
	for range 2 {
		if !begin() {
			continue // said; the next one is as good as any
		}
		svc.c.Mark("started", "")
		svc.write(9)
		if f.last && f.hit > 0 { // while somebody can still say what was lost
			f.end()
			svc.write(1)
		}
		svc.c.Mark("exited", "")
		svc.c.Close()
	}
	f.end()
	if !begin() {
		t.Fatal("no capture after the end of the fault")
	}
	svc.write(5)
	svc.c.Close()
	if svc.worst > time.Second {
		t.Errorf("%s: a write took %v", what, svc.worst)
	}
	svc.check(what, read(t, st, Query{}), f, keep == 50, plain)
}

// check looks at all lines that are kept: none is torn (but where a plain write is, which the fault cut), none comes twice.
func (s *service) check(what string, lines []string, f *faults, all, plain bool) {
	t := s.t
	t.Helper()
	dropped, kept, next := 0, 0, -1
	numbers := regexp.MustCompile(`line (\d{4})`)
	for _, l := range lines {
		var n int
		switch {
		case strings.HasPrefix(l, "a [dropped] "):
			cause := ""
			if f.err != nil {
				cause = f.err.Error()
			}
			if _, err := fmt.Sscanf(l, "a [dropped] dropped %d bytes: "+cause, &n); err != nil || f.hit == 0 {
				t.Errorf("%s: got %q", what, l)
			}
			dropped += n
		case strings.HasPrefix(l, "a ["):
		default:
			text, torn := strings.CutSuffix(strings.TrimPrefix(l, "a stdout "), "…")
			if kept += len(text); !torn {
				kept++
			}
			if !plain && (torn || !numbers.MatchString(text) || len(text) != len("line 0000")) {
				t.Errorf("%s: got %q after line %d", what, l, next)
			}
			for _, m := range numbers.FindAllStringSubmatch(text, -1) {
				n, _ := strconv.Atoi(m[1])
				if n <= next {
					t.Errorf("%s: got %q after line %d", what, l, next)
				}
				next = n
			}
		}
	}
	if next != s.lines-1 && (all || !plain) {
		t.Errorf("%s: the last line is %d, want %d", what, next, s.lines-1)
	}
	if all && dropped+kept != s.wrote {
		t.Errorf("%s: %d bytes dropped and %d kept, want %d", what, dropped, kept, s.wrote)
	}
}

// TestAdoptWithoutDisk: a successor that cannot open the log of a service that runs takes what it writes all the same, and says later
// what was lost.
func TestAdoptWithoutDisk(t *testing.T) {
	for _, before := range []string{"", "line before\n"} {
		r, w, err := pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		st := open(t)
		if before != "" {
			c := capture(t, st, "a", Options{Single: true})
			c.Stdout().WriteString(before)
			drain(t, c)
			c.Close()
		}
		f := &faults{op: "create", at: 1, last: true, err: syscall.EROFS}
		st.disk.fault = f.hook
		c := capture(t, st, "a", Options{Single: true, Ends: []*os.File{r}})
		c.Mark("adopted", "") // has no place to go
		text := strings.Repeat("0123456789abcdef", 64<<10)
		begin := time.Now()
		if _, err := w.WriteString(text); err != nil { // sixteen times what a pipe holds
			t.Fatal(err)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("a write of 1 MB took %v", took)
		}
		drain(t, c)
		f.end()
		fmt.Fprintln(w, "line after")
		drain(t, c)
		c.Close()
		var lines []string
		if before != "" {
			lines = append(lines, "a stdout line before")
		}
		want(t, read(t, st, Query{}), append(lines, "a [dropped] dropped 1048576 bytes: read-only file system", "a stdout line after")...)
	}
}
