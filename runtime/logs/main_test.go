package logs

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary play other processes: a pump that is killed, a reader of the same files.
func TestMain(m *testing.M) {
	switch os.Getenv("LOGS_TEST_ROLE") {
	case "pump":
		rolePump()
	case "follow":
		roleFollow()
	default:
		os.Exit(m.Run())
	}
}

// rolePump captures the pipe on descriptor 3 until it is killed, or until the end of the stream.
func rolePump() {
	s, err := Open(os.Getenv("LOGS_TEST_DIR"))
	if err != nil {
		panic(err)
	}
	c, err := s.Capture("svc", Options{Single: true, MaxSize: 1 << 20, Keep: 100,
		Ends: []*os.File{os.NewFile(3, "pipe")}})
	if err != nil {
		panic(err)
	}
	<-c.streams[0].done
	c.Close()
}

// roleFollow prints what it reads as "node stream text" until its standard input ends.
func roleFollow() {
	s, err := Open(os.Getenv("LOGS_TEST_DIR"))
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		bufio.NewReader(os.Stdin).ReadString('\n')
		cancel()
	}()
	out := bufio.NewWriter(os.Stdout)
	s.Read(ctx, Query{Follow: true}, func(l Line) bool {
		fmt.Fprintf(out, "%s %s %s%s\n", l.Node, l.Stream, l.Mark, l.Text)
		out.Flush()
		return true
	})
}

func open(t testing.TB) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "logs"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func capture(t testing.TB, s *Store, node string, o Options) *Capture {
	t.Helper()
	c, err := s.Capture(node, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func drain(t testing.TB, c *Capture) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := c.Drain(ctx); err != nil {
		t.Fatal(err)
	}
}

// show writes a line as the tests compare it.
func show(l Line) string {
	s := l.Node + " " + l.Stream + " " + string(l.Text)
	if l.Mark != "" {
		s = l.Node + " [" + l.Mark + "] " + string(l.Text)
	}
	if l.Partial {
		s += "…"
	}
	return s
}

func read(t testing.TB, s *Store, q Query) []string {
	t.Helper()
	var got []string
	if err := s.Read(context.Background(), q, func(l Line) bool { got = append(got, show(l)); return true }); err != nil {
		t.Fatal(err)
	}
	return got
}

func want(t testing.TB, got []string, lines ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(lines, "\n") {
		t.Fatalf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(lines, "\n\t"))
	}
}

// until polls a condition for which there is no event.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 30 s: %s", what)
		}
	}
}

// content joins the files of a stream, oldest first.
func content(t testing.TB, s *Store, node, stream string) string {
	t.Helper()
	var b strings.Builder
	for _, g := range listSegments(s.Path(node, stream)) {
		data, err := os.ReadFile(g.path)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(data)
	}
	return b.String()
}

func openFiles(t *testing.T) int {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("counts descriptors in /proc")
	}
	ents, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(ents)
}
