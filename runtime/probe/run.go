package probe

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

const (
	// The quick pace: this pause after the first try, then twice as long each
	// time, up to the last.
	firstPause = time.Millisecond
	lastPause  = 100 * time.Millisecond
	// goodPause is the least pause after a good answer in the quick pace. In
	// this time whoever counts the answers can say that it is steady now.
	goodPause = 20 * time.Millisecond
	// overdue is how much longer than its time a try may take before it is
	// reported as failed while it still hangs (in a dead file system).
	overdue = 2 * time.Second
)

// errOverdue is a try that does not end.
var errOverdue = errors.New("the try does not end: the kernel holds it, perhaps in a dead file system")

// Pace says how often a probe is tried.
type Pace struct {
	// Delay is the time before the first try.
	Delay time.Duration
	// Period is the time from one try to the next in the steady pace.
	Period time.Duration
	// Timeout is the time for one try; 0: no limit.
	Timeout time.Duration
	// Steady begins with the steady pace. Else tries follow each other after
	// 1 ms, growing to 100 ms, until Steady of the Runner is called.
	Steady bool
}

// Runner tries one probe again and again. Its methods may be called from any
// goroutine.
type Runner struct {
	probe  Probe
	pace   Pace
	report func(error)
	ctx    context.Context
	cancel context.CancelFunc
	steady atomic.Bool
	wake   chan struct{} // the pace has changed
	done   chan struct{}
}

// Start begins to try p: at once, or after the delay. Each result goes to
// report, nil for a good answer, from one goroutine and one at a time; the next
// try waits until report has returned.
func Start(p Probe, pace Pace, report func(error)) *Runner {
	r := &Runner{probe: p, pace: pace, report: report, wake: make(chan struct{}, 1), done: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.steady.Store(pace.Steady)
	go r.run()
	return r
}

// Steady changes to the steady pace, or back to the quick one, which begins
// anew with a try at once.
func (r *Runner) Steady(on bool) {
	if r.steady.Swap(on) == on {
		return
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Stop ends the tries; the one under way is given up, the processes of an exec
// probe are killed. It does not wait for that: see Done. One more report may
// come if it was about to when Stop was called.
func (r *Runner) Stop() { r.cancel() }

// Done is closed when a stopped Runner has ended, with nothing of it left.
func (r *Runner) Done() <-chan struct{} { return r.done }

func (r *Runner) run() {
	defer close(r.done)
	defer r.cancel()
	if !r.sleep(r.pace.Delay) {
		return
	}
	pause := firstPause
	for {
		start := time.Now()
		err := r.try()
		if r.ctx.Err() != nil {
			return
		}
		r.report(err)
		again, quick := r.rest(start, pause, err == nil)
		if !again {
			return
		}
		if pause = min(2*pause, lastPause); quick {
			pause = firstPause
		}
	}
}

// try makes one try and returns its result. While it hangs beyond its time it
// reports that, again and again.
func (r *Runner) try() error {
	ctx, cancel := r.ctx, context.CancelFunc(func() {})
	var late <-chan time.Time
	if r.pace.Timeout > 0 {
		ctx, cancel = context.WithTimeout(r.ctx, r.pace.Timeout)
		ticker := time.NewTicker(r.pace.Timeout + overdue)
		defer ticker.Stop()
		late = ticker.C
	}
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- r.probe.Check(ctx) }()
	for {
		select {
		case err := <-result:
			return err
		case <-late:
			if r.ctx.Err() == nil {
				r.report(errOverdue)
			}
		}
	}
}

// rest waits for the time of the next try after one that began at start. It
// reports whether there is a next one, and whether the quick pace begins anew.
func (r *Runner) rest(start time.Time, pause time.Duration, good bool) (again, quick bool) {
	ended := time.Now()
	for {
		next := ended.Add(pause)
		if good {
			next = ended.Add(max(pause, goodPause))
		}
		if r.steady.Load() {
			next = start.Add(r.pace.Period)
			if least := ended.Add(firstPause); next.Before(least) {
				next = least
			}
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-r.ctx.Done():
			timer.Stop()
			return false, false
		case <-timer.C:
			return true, false
		case <-r.wake:
			timer.Stop()
			if !r.steady.Load() {
				return true, true
			}
		}
	}
}

// sleep pauses for d and reports whether the runner goes on.
func (r *Runner) sleep(d time.Duration) bool {
	if d <= 0 {
		return r.ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-r.ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
