package remote

import (
	"sync"
	"time"
)

// The limits of a breaker besides its budget.
const (
	maxFailures = 3                      // in a row
	normal      = 100 * time.Millisecond // a lookup that finds nothing may take this without being counted
)

// breaker decides whether the server is asked at all. What failures and slow misses cost is added up; several at once count once. When the
// sum reaches the budget, or after a few failures in a row, the server is left alone.
type breaker struct {
	budget, retry time.Duration
	now           func() time.Time

	mu       sync.Mutex
	lost     time.Duration
	counted  time.Time // what lies before has been added up
	failures int
	off      bool
	until    time.Time
}

// left is what a lookup may cost now; 0: do not ask.
func (b *breaker) left() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.off && (b.retry == 0 || b.now().Before(b.until)) {
		return 0
	}
	if b.off {
		b.off, b.failures, b.lost = false, 0, 0
	}
	return b.budget - b.lost
}

// on tells whether the server may be asked.
func (b *breaker) on() bool { return b.left() > 0 }

// outcome is how a call went.
type outcome int

const (
	useful outcome = iota // what it cost was worth it
	missed
	failed
	refused // asking again is of no use
	sent    // an upload went well, or not:
	unsent
)

// record takes the outcome of a call that began at a time. It reports whether the server is left alone from now on because of it.
func (b *breaker) record(began time.Time, how outcome) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	end := b.now()
	switch how {
	case useful, missed, sent:
		b.failures = 0
	default:
		b.failures++
	}
	if how == missed {
		began = began.Add(normal)
	}
	if how == missed || how == failed {
		if began.Before(b.counted) {
			began = b.counted
		}
		if d := end.Sub(began); d > 0 {
			b.lost, b.counted = b.lost+d, end
		}
	}
	if b.off || how != refused && b.failures < maxFailures && b.lost < b.budget {
		return false
	}
	b.off, b.until = true, end.Add(b.retry)
	return true
}
