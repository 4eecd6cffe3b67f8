package engine

import "time"

// SystemClock is the clock of the machine: CLOCK_MONOTONIC, which is not set
// by anybody, stands still while the machine sleeps, and means the same to an
// engine that takes over.
type SystemClock struct{}

// Now is the time since the machine was booted.
func (SystemClock) Now() time.Duration { return monotonic() }

// Wall is the time of day.
func (SystemClock) Wall() time.Time { return time.Now().Round(0) }

// AfterFunc calls f in a goroutine of its own.
func (SystemClock) AfterFunc(d time.Duration, f func()) (stop func()) {
	t := time.AfterFunc(d, f)
	return func() { t.Stop() }
}
