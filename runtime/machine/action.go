package machine

import "time"

// Action is something to do. Only the fields that its kind names are set.
type Action struct {
	// Kind says what to do.
	Kind ActionKind
	// Instance says to which instance; 0 in DoNote means the node as a whole.
	Instance int
	// Signal is a name without SIG (DoSignal), or what ended the process (DoBecame).
	Signal string
	// Probe says which one (DoStartProbe).
	Probe Probe
	// Steady says that the probe runs at its period; otherwise at the quick pace of a
	// start (DoStartProbe).
	Steady bool
	// Timer to arm or cancel (DoArm, DoCancel).
	Timer Timer
	// After is when the timer runs out, counted from the event's At (DoArm).
	After time.Duration
	// Change says what the node became (DoBecame).
	Change Change
	// Code is the exit code of BecameCompleted, BecameFailed and BecameGaveUp; -1 when
	// there is none (ended by Signal, never spawned).
	Code int
	// Text is for the user (DoNote), and the reason of a DoBecame.
	Text string
}

// ActionKind names an action.
type ActionKind string

const (
	DoSpawn         ActionKind = "spawn"          // start the process of Instance
	DoSignal        ActionKind = "signal"         // send Signal to the main process (after one that stops: CONT)
	DoKillTree      ActionKind = "kill-tree"      // SIGKILL all that is left of Instance, then report EventTreeGone
	DoStopCommand   ActionKind = "stop-command"   // run the declared stop command; its result does not matter
	DoReloadCommand ActionKind = "reload-command" // run the declared reload command
	DoStartProbe    ActionKind = "start-probe"    // begin trying Probe; if it runs already, take the new pace
	DoStopProbe     ActionKind = "stop-probe"     // end the probes of Instance, if any, and drop the tries under way
	DoArm           ActionKind = "arm"            // report EventTimer with Timer in After
	DoCancel        ActionKind = "cancel"         // forget Timer
	DoNote          ActionKind = "note"           // tell the user Text
	DoBecame        ActionKind = "became"         // the node's condition changed: Change
)

// Change says what a node became. Of the last four, exactly one ends what a start
// began; BecameStopped comes once more when what has ended is then told to stop.
type Change string

const (
	BecameStarted   Change = "started"   // Instance runs
	BecameReady     Change = "ready"     // Instance is ready; comes again when an overlapping instance took over
	BecameUnready   Change = "unready"   // no instance is ready any more
	BecameHealthy   Change = "healthy"   // ready, and the probes pass now
	BecameUnhealthy Change = "unhealthy" // no longer so
	BecameCompleted Change = "completed" // ended by itself, clean; no restart is due
	BecameFailed    Change = "failed"    // ended badly, or could not be started; no restart is due. Meets the soft .completed too
	BecameGaveUp    Change = "gave-up"   // as failed: the restart budget is spent
	BecameStopped   Change = "stopped"   // ended because it was told to; nothing of it is left
)
