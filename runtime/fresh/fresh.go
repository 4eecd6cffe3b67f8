// Package fresh remembers what the good results of a checkout rest on, so that a run in which nothing has changed is known to be one
// without evaluating the project, without keys, and without reading a file.
//
// A [Book] is one file, and one beside it. It holds, for every task, the [Sight] of each file that was looked at to find its result right: its inputs, its
// program, its outputs, and the folders that patterns were matched in. A result is right as long as every sight still holds, and those of
// the tasks before it do; [Book.Stale] looks, with one system call a file. It also holds what the evaluation of the project rests on, which
// nodes a request meant, and each task as it was declared, so that a run of the few tasks that are stale needs no evaluation either.
//
// Promised: whatever is done to a file shows in its sight, short of a change in the same tick of the file system's clock; a file as young
// as that when it was looked at is never trusted. A book that is torn, or of another version, is none. What a book does not know is looked
// at the long way, so a lost book costs time and nothing else.
//
// Left to others: what a task rests on (runtime/task), and what makes a book void (its stamp).
package fresh

import (
	"time"
)

// How says what of a path is looked at.
type How uint8

// The ways to look.
const (
	// Path is the state of what the path names; of a symbolic link, its own.
	Path How = iota
	// Target is the state of what the path leads to.
	Target
	// There is only whether something is there.
	There
)

// Sight is how a path looked.
type Sight struct {
	// Name is the absolute path, How what of it was looked at.
	Name string
	How  How
	// State is what was seen; the zero State of nothing.
	State State
}

// State is the state of a file. The zero value is that of nothing.
type State struct {
	// Dev and Ino tell files apart, Mode is that of the system.
	Dev, Ino uint64
	Mode     uint32
	// Size is in bytes, Mtime and Ctime in nanoseconds since 1970.
	Size, Mtime, Ctime int64
	// Young says that it had changed so recently that one more change may leave no trace: it is never trusted.
	Young bool
}

// coarse is how long a change may hide on a file system that counts whole seconds.
const coarse = 2 * time.Second

// Young tells whether a change after at might leave the change time of a file as it is. at is of Clock.
func Young(ctime int64, at time.Time) bool {
	if ctime%int64(time.Second) == 0 {
		at = at.Add(-coarse)
	}
	return ctime >= at.UnixNano()
}

// Look looks at a path. What cannot be looked at is not there.
func Look(name string, how How) Sight { return LookAt(name, how, Clock()) }

// LookAt is Look for many paths: at is what Clock said before the first of them.
func LookAt(name string, how How, at time.Time) Sight {
	s := Sight{Name: name, How: how}
	var err error
	if s.State, err = anywhere().state(name, how); err != nil {
		s.State = State{Young: true}
	} else if s.State.Ino != 0 {
		s.State.Young = Young(s.State.Ctime, at)
	}
	return s
}

// Still tells whether the path looks as it did, and is known to be as it was then.
func (s Sight) Still() bool {
	if s.State.Young && s.How != There {
		return false
	}
	now, err := anywhere().state(s.Name, s.How)
	return err == nil && s.State.holds(s.How, now)
}

// holds compares what is there now with a sight.
func (s State) holds(how How, now State) bool {
	switch {
	case how == There:
		return (s.Ino != 0) == (now.Ino != 0)
	case s.Young:
		return false
	}
	now.Young = false
	return s == now
}

// anywhere is for absolute paths.
func anywhere() folder { return home{}.folder("", 0) }
