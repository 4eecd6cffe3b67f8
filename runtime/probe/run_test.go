package probe

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"orrery/lang/graph"
)

// answers is a probe that gives what a function says.
type answers func(ctx context.Context) error

func (a answers) Check(ctx context.Context) error { return a(ctx) }

var errNo = errors.New("no")

// The quick pace follows a gate closely; the steady one then leaves the service alone.
func TestPace(t *testing.T) {
	var tries atomic.Int64
	reports := make(chan error)
	r := Start(answers(func(context.Context) error {
		if tries.Add(1) < 20 {
			return errNo
		}
		return nil
	}), Pace{Timeout: time.Second, Period: time.Hour}, func(err error) { reports <- err })
	defer r.Stop()
	start := time.Now()
	bad := 0
	for err := range reports {
		if err == nil {
			break
		}
		bad++
	}
	r.Steady(true)
	// 1+2+4+...+64 ms, then 100 ms each.
	if d := time.Since(start); bad != 19 || d < 500*time.Millisecond || d > long {
		t.Errorf("got %d bad answers in %v, want 19 in some 1.4 s", bad, d)
	}
	select {
	case err := <-reports:
		t.Errorf("got report %v in the steady pace, want none for an hour", err)
	case <-time.After(300 * time.Millisecond):
	}
	r.Steady(false) // quick again: at once
	if err := <-reports; err != nil {
		t.Errorf("got %v", err)
	}
	r.Stop()
	<-r.Done()
}

func TestSteadyPeriod(t *testing.T) {
	reports := make(chan time.Time, 100)
	r := Start(answers(func(context.Context) error { return nil }), Pace{Period: 50 * time.Millisecond, Steady: true},
		func(error) { reports <- time.Now() })
	defer r.Stop()
	first := <-reports
	for range 3 {
		<-reports
	}
	if d := (<-reports).Sub(first); d < 150*time.Millisecond {
		t.Errorf("got 4 periods of 50 ms in %v", d)
	}
}

func TestDelay(t *testing.T) {
	start := time.Now()
	reports := make(chan error, 100)
	r := Start(answers(func(context.Context) error { return nil }), Pace{Delay: 100 * time.Millisecond, Period: time.Hour, Steady: true},
		func(err error) { reports <- err })
	<-reports
	if d := time.Since(start); d < 100*time.Millisecond {
		t.Errorf("got the first report after %v, want a delay of 100 ms", d)
	}
	r.Stop()
	<-r.Done()
	r = Start(answers(func(context.Context) error { return nil }), Pace{Delay: time.Hour}, func(error) { t.Error("got a report") })
	r.Stop()
	<-r.Done()
}

// However long a try takes, there is never a second one beside it.
func TestOneAtATime(t *testing.T) {
	var running, most atomic.Int64
	reports := make(chan error, 100)
	r := Start(answers(func(ctx context.Context) error {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		<-ctx.Done()
		return ctx.Err()
	}), Pace{Timeout: 20 * time.Millisecond, Period: time.Millisecond, Steady: true}, func(err error) { reports <- err })
	for range 5 {
		if err := <-reports; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the timeout", err)
		}
	}
	r.Stop()
	<-r.Done()
	if most.Load() != 1 {
		t.Errorf("got %d tries at a time, want 1", most.Load())
	}
}

// A try that the kernel holds is reported while it hangs.
func TestOverdue(t *testing.T) {
	free := make(chan bool)
	reports := make(chan error, 100)
	r := Start(answers(func(context.Context) error { <-free; return nil }), Pace{Timeout: time.Millisecond, Period: time.Hour, Steady: true},
		func(err error) { reports <- err })
	if err := <-reports; !errors.Is(err, errOverdue) {
		t.Errorf("got %v, want %v", err, errOverdue)
	}
	close(free)
	for err := range reports {
		if err == nil {
			break
		}
	}
	r.Stop()
	<-r.Done()
}

// A real gate: the time from its opening to the report.
func TestGate(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	address := l.Addr().String()
	p := makeProbe(t, graph.Probe{Kind: "tcp"}, Target{Port: portOf(l)})
	l.Close()
	good := make(chan time.Time, 100)
	tried := make(chan bool, 1)
	r := Start(p, Pace{Timeout: time.Second, Period: time.Hour}, func(err error) {
		if err == nil {
			good <- time.Now()
		}
		select {
		case tried <- true:
		default:
		}
	})
	defer r.Stop()
	for range 10 {
		<-tried
	}
	opened := time.Now()
	listen(t, "tcp", address)
	d := (<-good).Sub(opened)
	t.Logf("gate to report: %v", d)
	if d > 2*time.Second {
		t.Errorf("got the report %v after the gate opened, want < 150 ms and at most 2 s under load", d)
	}
}

func TestAllowed(t *testing.T) {
	start := time.Now()
	for left, want := range map[time.Duration]string{
		998 * time.Millisecond:   "1s",
		1994 * time.Millisecond:  "2s",
		49700 * time.Microsecond: "50ms",
		time.Minute:              "1m0s",
	} {
		ctx, cancel := context.WithDeadline(context.Background(), start.Add(left))
		if got := allowed(ctx, start); got != want {
			t.Errorf("%v: got %s, want %s", left, got, want)
		}
		cancel()
	}
}
