package machine

import "time"

// Policy is what a declaration asks for. Step reads it and never keeps it; it may
// be another one at the next Step (a changed declaration). The zero Policy never
// restarts, is ready once started and is killed at once when told to stop.
type Policy struct {
	// Restart says when a new instance follows one that ended.
	Restart Restart
	// Ready says what makes an instance ready.
	Ready Readiness
	// Deadline is the time from spawn to ready, and from RELOADING to ready; 0 is none.
	Deadline time.Duration
	// ReadyCount are the thresholds of the ready probe. Until ready only Success
	// counts; afterwards Failure makes the node unready, and never restarts it.
	ReadyCount Threshold
	// Live says that there is a live probe: it runs from ready on, and its failure
	// ends the instance as a failure unless Restart.On is RestartNever.
	Live bool
	// LiveCount are the thresholds of the live probe.
	LiveCount Threshold
	// Stop says how an instance is told to end.
	Stop Stop
	// ReloadSignal is the signal that reloads ("HUP"); "" is none.
	ReloadSignal string
	// ReloadCommand says that a command reloads; it goes before ReloadSignal.
	ReloadCommand bool
	// Watchdog says how often the program must show that it is alive.
	Watchdog Watchdog
	// Success lists the exit codes ("0", "3") and signal names ("INT") that count as
	// clean; nil is {"0"}. The stop signal always counts as clean.
	Success []string
}

// Restart is the restart policy.
type Restart struct {
	// On says after which endings a restart is due.
	On RestartOn
	// Max is how many restarts may lie in one Window; below 0 there is no limit.
	// With 0 none is made, and the ending is BecameFailed, not BecameGaveUp.
	Max int
	// Window slides: older restarts are forgotten. 0 forgets none.
	Window time.Duration
	// Delay comes before the second restart in a row; the first is immediate.
	Delay time.Duration
	// Factor multiplies the delay of each further restart; below 1 is taken as 1.
	Factor float64
	// Cap is the longest delay; 0 is none.
	Cap time.Duration
	// Reset is the run time after which the next restart is immediate again; 0 is never.
	Reset time.Duration
	// Overlap starts the new instance before the old one is told to stop, when the
	// restart is wanted (by hand, file, dependency) and the old one is ready.
	Overlap bool
}

// RestartOn says which endings are followed by a restart.
type RestartOn string

const (
	RestartNever     RestartOn = "never"      // none; also what "" means
	RestartOnFailure RestartOn = "on_failure" // those that are not clean
	RestartAlways    RestartOn = "always"     // all, also a clean exit
)

// Readiness says what makes an instance ready.
type Readiness string

const (
	ReadyAtStart  Readiness = "start"  // a running process is ready; also what "" means
	ReadyByProbe  Readiness = "probe"  // the ready probe passes
	ReadyByNotify Readiness = "notify" // READY=1, or a newline on the readiness descriptor
)

// Threshold says how many results in a row count; below 1 is taken as 1.
type Threshold struct {
	Success int // successes in a row that make good
	Failure int // failures in a row that make bad
}

// Stop says how an instance is told to end. After Timeout its whole tree is killed.
type Stop struct {
	// Signal goes to the main process, as "TERM"; "" is "TERM".
	Signal string
	// Command says that a command is run in place of the signal.
	Command bool
	// Timeout is the grace before the whole tree is killed; 0 gives none.
	Timeout time.Duration
}

// Watchdog says how often WATCHDOG=1 must come.
type Watchdog struct {
	// Interval between pings; 0 is no watchdog. WATCHDOG_USEC= changes it for one instance.
	Interval time.Duration
	// RequireReady arms it at ready; otherwise at spawn.
	RequireReady bool
}
