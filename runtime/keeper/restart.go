package keeper

import (
	"slices"
	"time"

	"orrery/runtime/proc"
)

const (
	maxDeaths   = 20 // of engines that did not serve, within deathWindow
	deathWindow = time.Minute
	firstWait   = 50 * time.Millisecond
	longestWait = time.Second
	healthyLife = 5 * time.Second // an engine that lived so long does not die of how it starts
)

// death is how an engine ended, and what is known of it.
type death struct {
	exit     proc.Exit
	lived    time.Duration
	served   bool // it said that it serves
	refused  bool // it said that it will not
	ever     bool // some engine has served
	ending   bool // we were asked to end
	replaced bool // it was replaced by a new binary
	starved  bool // it could not be started: the system has no room for a process or descriptor now
}

// fate is what follows from a death.
type fate struct {
	leave  bool          // all is to be down: sweep, and end with code
	giveUp bool          // stop everything in an orderly way, and end
	why    string        // of giveUp, or of leave with a code
	code   int           // our exit code when we leave
	wait   time.Duration // else: before the next engine
}

// deaths remembers what decides about the next start.
type deaths struct {
	row  int         // in a row, of engines that were not healthy
	when []time.Time // of engines that did not serve
}

// next decides what follows a death at a time.
func (d *deaths) next(x death, now time.Time) fate {
	switch {
	case x.replaced && !x.ending:
		return fate{}
	case x.exit.Ok():
		return fate{leave: true}
	case x.ending:
		return fate{giveUp: true, why: "the engine did not end as it should when it was asked to"}
	case x.refused && !x.ever:
		return fate{leave: true, code: 1, why: "the engine refused to start"}
	case !x.ever && x.exit.Signal == 0:
		return fate{leave: true, code: 1, why: "the engine ended before it served"}
	case x.served && (x.exit.Signal != 0 || x.lived >= healthyLife):
		d.row, d.when = 0, nil
		return fate{}
	}
	switch {
	case x.served:
		d.when = nil
	case !x.starved:
		d.when = append(d.when, now)
		d.when = slices.DeleteFunc(d.when, func(t time.Time) bool { return now.Sub(t) > deathWindow })
	}
	if len(d.when) > maxDeaths {
		return fate{giveUp: true, why: "the engine died more than 20 times within a minute without serving"}
	}
	wait := time.Duration(0)
	if d.row > 0 {
		wait = min(firstWait<<min(d.row-1, 10), longestWait)
	}
	d.row++
	return fate{wait: wait}
}
