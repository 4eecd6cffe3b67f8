// Package machine is the one decision of orrery: what to do next about one
// service.
//
//	state, actions = Step(policy, state, event)
//
// Step decides start, readiness, liveness, restart with back-off and a sliding
// window, stop deadlines, the watchdog, reload, file changes, giving up and
// reviving. It is pure: no clock, no I/O, no goroutine, nothing shared. The same
// arguments give the same answer, and the given State is never altered. A
// 30-second watchdog is therefore tested in microseconds.
//
//	                    Start             Spawned, ready
//	Down (never, or   -------> Starting ----------------> Ready <--> Unhealthy
//	stopped)                    ^  |                       |  ^
//	 ^                          |  | Exited, deadline,     |  '---> Reloading
//	 | TreeGone and             |  | Stop, watchdog        |
//	 | no longer wanted         |  v                       |
//	 '-------------------- Stopping <----------------------'
//	                       |   |    \
//	 TreeGone, restart due |   |     \ TreeGone, budget spent
//	                       v   |      '------> GaveUp --- Restart, file change --> Starting
//	   Starting <------ Backoff|
//	             Timer         '-- TreeGone, none due --> Exited (Result says clean or failed)
//
// With Restart.Overlap a wanted restart spawns a second instance while the first
// still serves: it waits in State.Other. Ready, it takes the place of the first,
// which is then told to stop in State.Other; failed, the first one stays.
//
// What the caller (the engine) must do:
//   - keep one State a node, start from State{}, and give every Event its At;
//   - carry out the actions in their order; none of them waits for another;
//   - answer DoSpawn with EventSpawned or EventSpawnFailed, and DoKillTree with
//     EventTreeGone once no process of that instance is left. EventExited comes
//     for the main process (whatever MAINPID= says it is) and before EventTreeGone;
//   - answer DoArm with EventTimer holding the same Timer, DoStartProbe with one
//     EventProbeOK or EventProbeFailed a try;
//   - wait for dependencies before EventStart: Step knows one node only.
//
// State is plain data and survives encoding/json: an engine that takes over gives
// the stored State an EventResumed. The generated docs/states.md shows every phase
// with every event.
package machine
