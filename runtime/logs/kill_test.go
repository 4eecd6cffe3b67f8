package logs

import (
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// kills is how often the pump is killed: 50, or what LOGS_KILLS says (1000 for the long test).
func kills(t *testing.T) int {
	if v := os.Getenv("LOGS_KILLS"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return 50
}

// A pump that is killed -9 again and again, while the test holds the pipe as the keeper does, loses, repeats and mangles
// nothing, also where it rotates.
func TestKilledPumpLosesNothing(t *testing.T) {
	s := open(t)
	r, w, err := pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	const lines = 400_000
	n := kills(t)
	var killed atomic.Int64
	go func() {
		defer w.Close()
		var b []byte
		for i := range lines {
			b = fmt.Appendf(b[:0], "line %d of the service that goes on\n", i)
			if _, err := w.Write(b); err != nil {
				t.Error(err)
				return
			}
			if i%(lines/n/4+1) == 0 { // the output lasts over all the kills
				time.Sleep(time.Millisecond) // the pace of the service
				for int64(i) > (killed.Load()+2)*lines/int64(n) {
					time.Sleep(time.Millisecond) // it keeps behind the kills
				}
			}
		}
	}()
	start := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "LOGS_TEST_ROLE=pump", "LOGS_TEST_DIR="+s.dir)
		cmd.ExtraFiles = []*os.File{r}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	size := func() (sum int64) {
		for _, g := range listSegments(s.Path("svc", Stdout)) {
			sum += g.info.Size()
		}
		return sum
	}
	ended := false
	for killed.Load() < int64(n) && !ended {
		before := size()
		cmd := start()
		gone := make(chan error, 1)
		go func() { gone <- cmd.Wait() }()
		until(t, "the new pump goes on", func() bool {
			select {
			case err := <-gone:
				gone <- err
				ended = true
			default:
			}
			return ended || size() > before
		})
		time.Sleep(time.Duration(rand.Intn(3000)) * time.Microsecond) // a random moment
		cmd.Process.Kill()
		<-gone
		killed.Add(1)
	}
	if err := start().Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("killed %d times, %d files", killed.Load(), len(listSegments(s.Path("svc", Stdout))))
	if killed.Load() < int64(n*9/10) {
		t.Errorf("killed %d times only, want about %d", killed.Load(), n)
	}
	text := content(t, s, "svc", Stdout)
	i := 0
	for line := range strings.Lines(text) {
		if want := fmt.Sprintf("line %d of the service that goes on\n", i); line != want {
			t.Fatalf("got %q, want %q", line, want)
		}
		i++
	}
	if i != lines {
		t.Errorf("got %d lines, want %d", i, lines)
	}
	if got := read(t, s, Query{}); len(got) != lines || got[lines-1] != fmt.Sprintf("svc stdout line %d of the service that goes on", lines-1) {
		t.Errorf("read %d lines, want %d", len(got), lines)
	}
}

// A rotation that is killed between any two of its steps is finished by the next, and no file is lost.
func TestHalfDoneRotation(t *testing.T) {
	steps := [][2]string{ // in the order of shift and replace, for two files
		{"stdout.log.1.idx", "stdout.log.2.idx"}, {"stdout.log.1", "stdout.log.2"},
		{"stdout.log.idx", "stdout.log.1.idx"}, {"stdout.log", "stdout.log.1"},
	}
	for done := range len(steps) + 1 {
		s := open(t)
		c := capture(t, s, "a", Options{Single: true, MaxSize: 10})
		fmt.Fprintln(c.Stdout(), "012345678")
		drain(t, c)
		fmt.Fprintln(c.Stdout(), "112345678")
		drain(t, c)
		c.Close()
		for _, st := range steps[:done] {
			if err := os.Rename(s.dir+"/a/"+st[0], s.dir+"/a/"+st[1]); err != nil {
				t.Fatal(err)
			}
		}
		for i := 2; i < 5; i++ {
			c = capture(t, s, "a", Options{Single: true, MaxSize: 10})
			fmt.Fprintf(c.Stdout(), "%d12345678\n", i)
			drain(t, c)
			c.Close()
		}
		want(t, read(t, s, Query{}), "a stdout 012345678", "a stdout 112345678", "a stdout 212345678",
			"a stdout 312345678", "a stdout 412345678")
		for _, g := range listSegments(s.Path("a", Stdout)) {
			if b, ok := readBase(g.path); ok && b != int64(g.base) {
				t.Errorf("after step %d: %s: got base %d, want %d", done, g.path, b, g.base)
			}
		}
	}
}
