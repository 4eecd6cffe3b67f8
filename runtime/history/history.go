// Package history keeps what each run did: one file a run under .orrery/runs, and beside it the last duration of every
// task.
//
// A record is made from the engine's events by a [Recorder]. That of an orrery run is written once, when it ends; that of
// an engine is appended to as things happen, so that one that is killed loses its last line at most. Files are bounded in
// number and size, and several processes may write and read at a time. What is read from a record (the critical path, the
// forms of a trace) is pure: the same record gives the same bytes.
//
// A file is JSON lines: {"orrery_run": 1, "run": head}, then {"node": node} (a later line about the same start of a node
// replaces the earlier one), then {"end": end}. A file without an end is that of a run that was killed.
//
// Left to others: who asks, where .orrery lies, and whether the engine of an open record still runs.
package history

import (
	"time"

	"orrery/runtime/control/api"
)

// Version is that of the files and of the JSON that is shown.
const Version = 1

// Head is what is known of a run when it begins.
type Head struct {
	// ID names the run: its start in UTC with milliseconds, and four hex digits, so that they sort by time. Store.Begin gives one where it is empty.
	ID string `json:"id"`
	// Verb is "run", "up", or "services": an engine that was started for what a run needs.
	Verb string `json:"verb"`
	// Targets are the names that were given; none stand for the default. Args are those after --.
	Targets []string `json:"targets"`
	Args    []string `json:"args,omitempty"`
	// Clean counts the tasks that were known to be as they should without being looked at; they are not among the nodes.
	Clean int `json:"clean,omitempty"`
	// Engine tells the engines of one keeper: one that replaces a killed one goes on with its record. Empty for a run.
	Engine string `json:"engine,omitempty"`
	// Started is when the run began: the offsets of nodes count from here.
	Started time.Time `json:"started"`
}

// End is how a run ended, with what it did in numbers.
type End struct {
	// Ended is when; zero while it runs, and of one that was killed.
	Ended time.Time `json:"ended,omitzero"`
	// Outcome is "ok", "failed", "cancelled", "running" (there is no end, and the record is still open) or "killed".
	Outcome string `json:"outcome"`
	// Exit is the exit code of the command; 0 of an engine.
	Exit int `json:"exit"`
	// Services were started; Ran, Cached, Skipped and Failed count tasks, Failed what else failed too. A start counts.
	Services int `json:"services"`
	Ran      int `json:"ran"`
	Cached   int `json:"cached"`
	Skipped  int `json:"skipped"`
	Failed   int `json:"failed"`
}

// Summary is a run without its nodes.
type Summary struct {
	Head
	End
}

// Run is the record of a run.
type Run struct {
	// Version is that of the format.
	Version int `json:"version"`
	Head
	End
	// Nodes are the starts of services and tasks, in the order in which they began.
	Nodes []Node `json:"nodes"`
}

// Need is what a node waits for before it starts.
type Need struct {
	// On is the other node, Cond the condition that must hold of it, such as "ready" or "succeeded".
	On   string `json:"on"`
	Cond string `json:"cond"`
}

// Node is one start of a service or task in a run. Offsets are microseconds since the start of the run, at least 1; 0:
// it did not come to that.
type Node struct {
	// Name and Kind ("service", "task") are those of the graph. Nth counts the starts before this one in the run.
	Name string `json:"name"`
	Kind string `json:"kind"`
	Nth  int    `json:"nth,omitempty"`
	// Needs are what it waits for, Gates the tasks without which it is not ready.
	Needs []Need   `json:"needs,omitempty"`
	Gates []string `json:"gates,omitempty"`
	// Waiting is when it began to wait, Started when its program or the look into the cache began, Ready when a service was
	// ready, Ended when it was over.
	Waiting int64 `json:"waiting_us,omitempty"`
	Started int64 `json:"started_us,omitempty"`
	Ready   int64 `json:"ready_us,omitempty"`
	Ended   int64 `json:"ended_us,omitempty"`
	// State is the last one, in the words of status. Reason says more of a bad end, Cause names its root, Exit is how the
	// program ended. Waited is the last thing it waited for.
	State  string    `json:"state"`
	Reason string    `json:"reason,omitempty"`
	Cause  string    `json:"cause,omitempty"`
	Waited string    `json:"waited,omitempty"`
	Exit   *api.Exit `json:"exit,omitempty"`
	// Cached: the result was restored; such a task has no Key here. Why is what had changed since the success before; Tries
	// is how often it was run, when more than once.
	Cached bool     `json:"cached,omitempty"`
	Key    string   `json:"key,omitempty"`
	Why    []string `json:"why,omitempty"`
	Tries  int      `json:"tries,omitempty"`
}

// The states that are looked at here, and the two that only a record has.
const (
	stateWaiting   = "waiting"
	stateRunning   = "running"
	stateStarting  = "starting"
	stateBackoff   = "backoff"
	stateReady     = "ready"
	stateListening = "listening"
	stateSucceeded = "succeeded"
	stateSkipped   = "skipped"
	stateFailed    = "failed"
	stateBlocked   = "blocked"
	stateCancelled = "cancelled"
	stateGaveUp    = "gave-up"
	stateExited    = "exited"
	stateDown      = "down"
	stateStopping  = "stopping"
	stateStopped   = "stopped"     // of a service that was told to end
	stateUnstarted = "not started" // of a node that nobody wanted any more
)

const kindTask = "task"

// Bad tells whether the start came to a bad end.
func (n *Node) Bad() bool {
	switch n.State {
	case stateFailed, stateBlocked, stateGaveUp:
		return true
	case stateExited:
		return n.Exit != nil && (n.Exit.Code != 0 || n.Exit.Signal != "")
	}
	return false
}

// Action says in a word what became of a task: "ran", "cached", "skipped", "failed", "cancelled", "not run"; of a service
// "started", "failed" or "not started".
func (n *Node) Action() string {
	switch {
	case n.State == stateBlocked, n.State == stateUnstarted, n.State == stateWaiting:
		if n.Kind == kindTask {
			return "not run"
		}
		return "not started"
	case n.Bad():
		return "failed"
	case n.State == stateCancelled:
		return "cancelled"
	case n.Kind != kindTask:
		return "started"
	case n.Cached:
		return "cached"
	case n.State == stateSkipped:
		return "skipped"
	case n.State == stateRunning:
		return "running"
	}
	return "ran"
}

// begin is when it came into being; settled when it was ready or over, 0 when it is not yet.
func (n *Node) begin() int64 {
	if n.Waiting > 0 {
		return n.Waiting
	}
	if n.Started > 0 {
		return n.Started
	}
	return max(n.Ready, n.Ended)
}

func (n *Node) settled() int64 {
	if n.Ready > 0 {
		return n.Ready
	}
	return n.Ended
}

// Took is how long it was at work until it was ready or over; 0 when it is not, or never began.
func (n *Node) Took() time.Duration {
	if n.Started == 0 || n.settled() < n.Started {
		return 0
	}
	return time.Duration(n.settled()-n.Started) * time.Microsecond
}

// count adds a start to the numbers.
func (e *End) count(n *Node) {
	switch n.Action() {
	case "failed":
		e.Failed++
	case "ran":
		e.Ran++
	case "cached":
		e.Cached++
	case "skipped":
		e.Skipped++
	case "started":
		e.Services++
	}
}

// Took is how long the run lasted; 0 while it has no end.
func (s Summary) Took() time.Duration {
	if s.Ended.IsZero() {
		return 0
	}
	return s.Ended.Sub(s.Started)
}

// Summary is the run without its nodes.
func (r *Run) Summary() Summary { return Summary{r.Head, r.End} }
