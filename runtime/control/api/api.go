// Package api is what the engine and its clients say to each other: the methods of control's protocol and the types of
// their params, results and events. It is plain data, shared by both sides, and imports nothing.
//
//	method                        params    result                events
//	status                        Names     Status                -
//	hold                          Hold      Hold                  -
//	release                       Release   -                     -
//	gone                          Names     -                     -
//	start stop restart reload     Act       Status                -
//	down                          Down      -                     Progress
//	wait                          Wait      Status                -
//	events                        Events    -                     Event
//	bindings                      Names     Bindings              -
//	replace                       Replace   -                     -
//	attach                        Attach    Attached              -
//
// A Status as the result of start, stop, restart, reload and wait holds only the nodes that were named. Times are RFC 3339
// with nanoseconds, durations are milliseconds.
package api

import (
	"fmt"
	"time"
)

// The methods that have params of their own. The four of Act are written as they are.
const (
	// MethodStatus asks what the nodes are doing; no names ask for all of them.
	MethodStatus = "status"
	// MethodHold holds targets and what they need, and answers as soon as the engine knows them.
	MethodHold = "hold"
	// MethodRelease gives up what this connection holds, and answers when what nobody else holds is down.
	MethodRelease = "release"
	// MethodGone answers when nothing of the named nodes runs any more.
	MethodGone = "gone"
	// MethodDown ends all holds, sends a Progress at each change, and ends when everything is down.
	MethodDown = "down"
	// MethodWait answers once all targets are ready or succeeded, or with the error codes timeout, gave_up or failed.
	MethodWait = "wait"
	// MethodEvents sends events until it is cancelled.
	MethodEvents = "events"
	// MethodReplace has the engine replaced by another binary; services go on.
	MethodReplace = "replace"
	// MethodBindings asks for the values behind references, and the environments, of the named nodes, or all.
	MethodBindings = "bindings"
	// MethodFresh asks whether a run would find nothing to do.
	MethodFresh = "fresh"
	// MethodAttach asks for the terminal of a service, sets its size and types into it. What the service prints is in its log.
	MethodAttach = "attach"
)

// Names are the params of methods that only take names.
type Names struct {
	// Names are those of nodes; none stand for all.
	Names []string `json:"names,omitempty"`
}

// Hold asks the engine to bring targets up and keep them up. The result is a Hold too: the nodes that are now held, under
// the digest of the engine's graph.
type Hold struct {
	// Targets are names; none stand for the project's default.
	Targets []string `json:"targets,omitempty"`
	// Mode is "needs" (the targets and what they need; also the meaning of ""), "only" (the targets alone) or "all" (what
	// is downstream of them too).
	Mode string `json:"mode,omitempty"`
	// Detach makes the hold outlive the connection: only down ends it.
	Detach bool `json:"detach,omitempty"`
	// Client is a name of the client's choice, the same in each of its connections: an engine that replaced a killed one waits
	// some seconds for it to come back before it releases what the client held. Empty: the connection stands for the client.
	Client string `json:"client,omitempty"`
	// Watch has the tasks that are held run again when their inputs change.
	Watch bool `json:"watch,omitempty"`
	// Digest is of the graph that the client evaluated; one that differs from the engine's is a conflict. Empty: any.
	Digest string `json:"digest,omitempty"`
}

// Check says what is wrong with h.
func (h *Hold) Check() error {
	switch h.Mode {
	case "", "needs", "only", "all":
		return nil
	}
	return fmt.Errorf("got mode %q of a hold, want needs, only or all", h.Mode)
}

// Release are the params of MethodRelease.
type Release struct {
	// Names are those of nodes; none stand for all that the connection holds.
	Names []string `json:"names,omitempty"`
	// Client is that of the Hold.
	Client string `json:"client,omitempty"`
	// Now kills at once instead of waiting for each node's grace. It also hastens a release that is under way.
	Now bool `json:"now,omitempty"`
}

// Replace are the params of MethodReplace.
type Replace struct {
	// Program is the path of the binary that the next engine is started from.
	Program string `json:"program"`
}

// Act are the params of the methods start, stop, restart and reload.
type Act struct {
	// Names are those of nodes, at least one.
	Names []string `json:"names"`
	// Only leaves the nodes' dependencies and dependents alone.
	Only bool `json:"only,omitempty"`
}

// Check says what is wrong with a.
func (a *Act) Check() error {
	if len(a.Names) == 0 {
		return fmt.Errorf("got no names, want at least one")
	}
	return nil
}

// Down are the params of MethodDown.
type Down struct {
	// Now kills at once instead of waiting for each node's grace. It also hastens a down that is under way.
	Now bool `json:"now,omitempty"`
}

// Wait are the params of MethodWait.
type Wait struct {
	// Targets are names; none stand for everything that is held.
	Targets []string `json:"targets,omitempty"`
	// TimeoutMS is how long to wait, in milliseconds; 0 is without end.
	TimeoutMS int64 `json:"timeout_ms,omitempty"`
}

// Check says what is wrong with w.
func (w *Wait) Check() error {
	if w.TimeoutMS < 0 {
		return fmt.Errorf("got timeout_ms %d, want 0 or more", w.TimeoutMS)
	}
	return nil
}

// Fresh are the params of MethodFresh.
type Fresh struct {
	// Request is the run, as the book of the checkout names it.
	Request string `json:"request"`
}

// Freshness is the result of MethodFresh.
type Freshness struct {
	// Good says that every task is as it should be, if the book is of the caller's present: its Stamp tells, with Facts.
	Good  bool   `json:"good"`
	Stamp string `json:"stamp,omitempty"`
	Facts []byte `json:"facts,omitempty"`
	// Tasks is how many there are, Named are those that the request names, with what the book says of each; none if there are many.
	Tasks int         `json:"tasks,omitempty"`
	Named []FreshTask `json:"named,omitempty"`
}

// FreshTask is a task of a Freshness.
type FreshTask struct {
	Name  string `json:"name"`
	Facts []byte `json:"facts"`
}

// Attach are the params of MethodAttach.
type Attach struct {
	// Name is that of one service.
	Name string `json:"name"`
	// Data is what was typed, as its bytes; it is answered when the service's terminal has taken it. Empty: nothing was.
	Data []byte `json:"data,omitempty"`
	// Rows and Cols are the size that its terminal gets; 0 leaves it. Of several clients the last one decides.
	Rows int `json:"rows,omitempty"`
	Cols int `json:"cols,omitempty"`
}

// Check says what is wrong with a.
func (a *Attach) Check() error {
	const most = 1<<16 - 1
	if a.Name == "" {
		return fmt.Errorf("got no name, want that of a service")
	}
	if a.Rows < 0 || a.Rows > most || a.Cols < 0 || a.Cols > most {
		return fmt.Errorf("got a terminal of %d rows and %d columns, want 0 to %d", a.Rows, a.Cols, most)
	}
	return nil
}

// Attached is the result of MethodAttach.
type Attached struct {
	// Name is that of the service.
	Name string `json:"name"`
	// State is its state, PID its main process or 0.
	State string `json:"state"`
	PID   int    `json:"pid,omitempty"`
	// TTY says that it is declared with a terminal: only then it takes input.
	TTY bool `json:"tty,omitempty"`
	// Seq is that of the last event which this answer knows.
	Seq uint64 `json:"seq"`
}

// Events are the params of MethodEvents.
type Events struct {
	// Since is the Seq of the last event that the client knows: later ones follow, kept ones first. 0 sends all that the
	// engine still has; Status.Seq continues a Status without a gap.
	Since uint64 `json:"since,omitempty"`
}

// Event is one change of one node.
type Event struct {
	// Seq counts the events of an engine from 1. A gap means that the engine no longer had what is missing.
	Seq uint64 `json:"seq"`
	// Time is when it happened.
	Time time.Time `json:"time"`
	// Node is the name; empty for the engine itself.
	Node string `json:"node,omitempty"`
	// State is the node's state after the event, From the one before; equal when only the text is news.
	State string `json:"state,omitempty"`
	From  string `json:"from,omitempty"`
	// Text says in a few words what happened.
	Text string `json:"text,omitempty"`
	// Cause names the root cause, where that is another node or a file.
	Cause string `json:"cause,omitempty"`
	// PID is the process that it is about, 0 for none.
	PID int `json:"pid,omitempty"`
	// Exit is how the process ended, if it did.
	Exit *Exit `json:"exit,omitempty"`
	// Task is how a task was carried out, when it has just ended.
	Task *TaskEnd `json:"task,omitempty"`
}

// TaskEnd says of a task that has ended what its state does not.
type TaskEnd struct {
	// Cached says that its result was restored.
	Cached bool `json:"cached,omitempty"`
	// Key is the key of its result; empty where none is kept.
	Key string `json:"key,omitempty"`
	// Why says what the key differs in from that of the last success; empty where that is not known.
	Why []string `json:"why,omitempty"`
	// Tries is how often it was run.
	Tries int `json:"tries,omitempty"`
}
