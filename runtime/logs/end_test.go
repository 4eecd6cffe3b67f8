package logs

import (
	"context"
	"fmt"
	"slices"
	"testing"
)

// TestEnd: what was there is not read again, in either stream, over rotations.
func TestEnd(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Capture("web", Options{MaxSize: 300, Keep: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	say := func(round string) {
		for i := range 20 {
			fmt.Fprintf(c.Stdout(), "out %s %d\n", round, i)
			fmt.Fprintf(c.Stderr(), "err %s %d\n", round, i)
			if err := c.Drain(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	say("old")
	end := c.End()
	read := func() (lines []string) {
		if err := s.Read(context.Background(), Query{Nodes: []string{"web"}, From: end}, func(l Line) bool {
			if l.Mark == "" {
				lines = append(lines, string(l.Text))
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
		return lines
	}
	if got := read(); len(got) != 0 {
		t.Errorf("got %q, want nothing yet", got)
	}
	c.Mark("started", "again")
	fmt.Fprintln(c.Stderr(), "new")
	if err := c.Drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := read(); !slices.Equal(got, []string{"new"}) {
		t.Errorf("got %q", got)
	}
}
