package machine

import "time"

// Event is something that happened. Only the fields that its kind names count.
type Event struct {
	// Kind says what happened.
	Kind EventKind
	// At is when, for every event: time since an epoch of the caller's choice, never
	// going back, the same epoch for the whole life of a State (so, for one that
	// outlives its engine, a clock of the machine such as CLOCK_MONOTONIC).
	At time.Duration
	// Instance says whose event it is; that of a former instance is ignored.
	Instance int
	// Timer is the one that ran out (EventTimer).
	Timer Timer
	// Code is the exit code (EventExited); it does not count when Signal is set.
	Code int
	// Signal is the name without SIG of the signal that ended the process (EventExited).
	Signal string
	// Probe says which one (EventProbeOK, EventProbeFailed).
	Probe Probe
	// For is a length of time (EventInterval, EventExtend).
	For time.Duration
	// Sent is the MONOTONIC_USEC= of EventReloading, in the epoch of At; 0 is unknown.
	Sent time.Duration
	// Transient says that trying again may help (EventSpawnFailed): EAGAIN, ENOMEM,
	// ETXTBSY, a port in use; not ENOENT, EACCES, ENOEXEC.
	Transient bool
	// Reload says that the change asks for a reload, not a restart (EventFileChanged).
	Reload bool
	// Text is the error (EventSpawnFailed, EventProbeFailed), how a process ended where Code or Signal does not say it (EventExited),
	// how a reload command failed (EventReloadEnded), or the reason that the user is shown ("main.go changed").
	Text string
}

// EventKind names an event.
type EventKind string

const (
	EventStart       EventKind = "start"        // it is wanted; nothing if it already was (EventRevive starts again what has ended)
	EventStop        EventKind = "stop"         // it is no longer wanted: stop it with grace
	EventStopNow     EventKind = "stop-now"     // the same, without grace
	EventRestart     EventKind = "restart"      // by hand: start again, even what is down or gave up; outside the budget, which is renewed
	EventReload      EventKind = "reload"       // by hand
	EventRevive      EventKind = "revive"       // renew the budget (RESTART_RESET=1), and start what gave up, waits or has ended
	EventFileChanged EventKind = "file-changed" // what it runs or reads changed: restart (or Reload); as EventRestart, but what is down stays down
	EventDependency  EventKind = "dependency"   // a dependency restarted (cascade): restart what runs; outside the budget

	EventSpawned     EventKind = "spawned"      // the process exists
	EventSpawnFailed EventKind = "spawn-failed" // it could not be made: Text, Transient
	EventExited      EventKind = "exited"       // the main process ended: Code or Signal
	EventReloadEnded EventKind = "reload-ended" // the reload command has ended: Text, if it failed
	EventTreeGone    EventKind = "tree-gone"    // no process of the instance is left

	EventProbeOK     EventKind = "probe-ok"     // one try of Probe passed
	EventProbeFailed EventKind = "probe-failed" // one try of Probe failed: Text

	EventReady     EventKind = "notify-ready"     // READY=1, or the newline on the readiness descriptor
	EventReloading EventKind = "notify-reloading" // RELOADING=1: Sent
	EventStopping  EventKind = "notify-stopping"  // STOPPING=1
	EventPing      EventKind = "notify-ping"      // WATCHDOG=1
	EventTrigger   EventKind = "notify-trigger"   // WATCHDOG=trigger
	EventInterval  EventKind = "notify-interval"  // WATCHDOG_USEC=: For, 0 disables
	EventExtend    EventKind = "notify-extend"    // EXTEND_TIMEOUT_USEC=: For

	EventTimer   EventKind = "timer"   // Timer ran out
	EventResumed EventKind = "resumed" // the engine stood still or was replaced: limits run anew, probes and sweeps are asked for again, nobody is killed for the gap
)

// Probe says which of the two probes is meant.
type Probe string

const (
	ProbeReady Probe = "ready" // decides readiness
	ProbeLive  Probe = "live"  // decides whether to restart
)

// Timer identifies one armed timer. It is comparable, and never armed twice: a
// timer that was cancelled or armed anew has another Gen, so a late event is ignored.
type Timer struct {
	Kind TimerKind // what it limits
	Gen  int       // unique in the life of a State
}

// TimerKind says what a timer limits.
type TimerKind string

const (
	TimerBackoff  TimerKind = "backoff"  // wait before a restart
	TimerDeadline TimerKind = "deadline" // to become ready
	TimerGrace    TimerKind = "grace"    // from stop to kill
	TimerWatchdog TimerKind = "watchdog" // to the next ping
)
