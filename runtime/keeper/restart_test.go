package keeper

import (
	"slices"
	"testing"
	"time"

	"orrery/runtime/proc"
)

func TestWhatFollowsADeath(t *testing.T) {
	killed, panicked, ok := proc.Exit{Signal: 9}, proc.Exit{Code: 2}, proc.Exit{}
	for _, row := range []struct {
		name string
		x    death
		want fate
	}{
		{"all is down", death{exit: ok, served: true, ever: true}, fate{leave: true}},
		{"all is down before anything was up", death{exit: ok}, fate{leave: true}},
		{"asked to end, and did not as it should", death{exit: killed, served: true, ever: true, ending: true}, fate{giveUp: true}},
		{"the first one refuses", death{exit: panicked, refused: true}, fate{leave: true, code: 1}},
		{"the first one dies of itself", death{exit: panicked}, fate{leave: true, code: 1}},
		{"the first one is killed", death{exit: killed}, fate{}},
		{"killed while it served", death{exit: killed, served: true, ever: true}, fate{}},
		{"a panic", death{exit: panicked, served: true, ever: true}, fate{}},
		{"replaced", death{exit: ok, served: true, ever: true, replaced: true}, fate{}},
		{"replaced and asked to end", death{exit: ok, served: true, ever: true, replaced: true, ending: true}, fate{leave: true}},
	} {
		got := new(deaths).next(row.x, time.Now())
		got.why = ""
		if got != row.want {
			t.Errorf("%s: got %+v, want %+v", row.name, got, row.want)
		}
	}
}

func TestBackOff(t *testing.T) {
	ms := func(f fate) int { return int(f.wait.Milliseconds()) }
	now := time.Now()
	var d deaths
	var waits []int
	for i := range 21 {
		f := d.next(death{exit: proc.Exit{Code: 2}, ever: true}, now)
		if f.giveUp != (i == 20) {
			t.Fatalf("death %d: got %+v", i+1, f)
		}
		waits = append(waits, ms(f))
		now = now.Add(f.wait)
	}
	if want := []int{0, 50, 100, 200, 400, 800, 1000, 1000}; !slices.Equal(waits[:8], want) {
		t.Errorf("got %v ms, want %v", waits[:8], want)
	}

	d = deaths{}
	for range 100 { // rare enough
		if f := d.next(death{exit: proc.Exit{Code: 2}, ever: true}, now); f.giveUp {
			t.Fatal("gave up though it died rarely")
		}
		now = now.Add(4 * time.Second)
	}

	d = deaths{}
	for range 100 { // it panics as soon as it serves: never given up, for the services run, but slowly
		if f := d.next(death{exit: proc.Exit{Code: 2}, served: true, ever: true}, now); f.giveUp {
			t.Fatal("gave up an engine that serves")
		}
	}
	if f := d.next(death{exit: proc.Exit{Code: 2}, served: true, ever: true}, now); f.wait != longestWait {
		t.Errorf("got %v, want %v", f.wait, longestWait)
	}
	if f := d.next(death{exit: proc.Exit{Signal: 9}, served: true, ever: true}, now); f.wait != 0 || d.row != 0 {
		t.Errorf("got %+v after a healthy life", f)
	}

	d = deaths{}
	for range 100 { // no room for a process: that passes
		if f := d.next(death{exit: proc.Exit{Code: -1}, ever: true, starved: true}, now); f.giveUp {
			t.Fatal("gave up for want of a process")
		}
	}
}
