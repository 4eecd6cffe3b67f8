package machine

import "time"

// Phase is where a node stands.
type Phase string

const (
	Down      Phase = "down"      // never started, or stopped as asked; nothing of it runs
	Starting  Phase = "starting"  // being spawned, or running and not yet ready
	Ready     Phase = "ready"     // running and ready
	Unhealthy Phase = "unhealthy" // was ready; a probe fails now
	Reloading Phase = "reloading" // said RELOADING=1 and not yet READY=1; counts as ready
	Stopping  Phase = "stopping"  // told to end, or ended and its tree is being swept
	Backoff   Phase = "backoff"   // waits for its restart; nothing of it runs
	GaveUp    Phase = "gave-up"   // the restart budget is spent; nothing of it runs
	Exited    Phase = "exited"    // ended, no restart is due; State.Last says whether it was clean
)

// State is all that Step remembers of one node. The zero State is that of a node
// that never ran. It is a value: Step returns a new one and never alters the given.
// Read what you like; only Step writes.
type State struct {
	// Phase of the node: that of Main while there is one. "" is Down.
	Phase Phase
	// Up says that the node is wanted.
	Up bool
	// Again says that a start follows as soon as what runs has ended.
	Again bool
	// Main is the instance that serves, or is about to; its ID is 0 when there is none.
	Main Instance
	// Other is, with Overlap, the next one (not Stopping) or the former one (Stopping).
	Other Instance
	// Spawned is the number of the last instance; they count from 1.
	Spawned int
	// Gen is the generation of the last timer.
	Gen int
	// Delay is the timer of Backoff.
	Delay Alarm
	// Streak counts the automatic restarts in a row; it sets the delay of the next.
	Streak int
	// Restarts are the times of automatic restarts that the window may still count.
	Restarts []time.Duration
	// Ready and Healthy are the conditions last told by DoBecame.
	Ready, Healthy bool
	// Last is how the last instance ended.
	Last Result
}

// Instance is one process (and its tree) of a node.
type Instance struct {
	// ID numbers the instance; 0 is none.
	ID int
	// Phase is Starting, Ready, Unhealthy, Reloading or Stopping.
	Phase Phase
	// Alive says that the process is known to exist.
	Alive bool
	// Since is when it was spawned.
	Since time.Duration
	// Failure is why we end it, when that counts as a failure ("did not become ready within 30s").
	Failure string
	// Told says that we told it to end; Stopping without it means that it ends by itself.
	Told bool
	// Exited says that the main process has ended: Exit.
	Exited bool
	// Exit is how it ended.
	Exit Result
	// Killed says that its tree was killed, or is being.
	Killed bool
	// Ready and Live count the results of the probes.
	Ready, Live Tally
	// Alarms are its timers.
	Alarms Alarms
	// Watchdog is the interval in force; 0 is none.
	Watchdog time.Duration
	// Reload is what is known of its reloads.
	Reload Reload
}

// Reload is what is known of the reloads of an instance.
type Reload struct {
	At     time.Duration // when one was last asked for
	Due    bool          // one follows: once it is ready, or the command has ended
	Runs   bool          // the reload command runs, of which there is one at a time
	Failed string        // how the last command failed; "" if it did not
}

// Result is how an instance ended.
type Result struct {
	Code   int           // exit code; -1 when there is none
	Signal string        // the signal that ended it, without SIG; "" when it exited
	Clean  bool          // counts as clean
	Text   string        // for the user: "exit 1", "signal SEGV", "did not become ready within 30s"
	At     time.Duration // when
}

// Tally counts the results of one probe.
type Tally struct {
	Run  int  // results of one sort in a row: successes above 0, failures below
	Good bool // the threshold of success was met, that of failure not since
	Bad  bool // the threshold of failure was met, that of success not since
	// Text is how the last one failed; "" if it did not.
	Text string
}

// Alarm is one timer that may be armed.
type Alarm struct {
	Gen   int           // generation of the armed timer; 0 is not armed
	After time.Duration // the length it was first armed with
	End   time.Duration // when that length ends; an extension counts only past it
}

// Alarms are the timers of one instance.
type Alarms struct {
	Deadline Alarm // to become ready, or to end a reload
	Grace    Alarm // from stop to kill
	Watchdog Alarm // to the next ping
}
