// Package probe asks a service whether it works: one file a kind (http, tcp,
// unix, exec, log, file), the switch over the kinds in new.go, and in run.go
// the pace at which one probe is tried.
//
// It promises that a try ends when its context does, that there is never more
// than one try of a probe under way, that an exec probe leaves no process
// behind, and that an error says what was seen and what was wanted.
//
// It leaves to others what the results mean: thresholds, deadlines and restarts
// are decided in runtime/machine. The kinds notify and fd are not here: they are
// not polled but come as events, see runtime/notify.
package probe
