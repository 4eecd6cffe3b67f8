package machine

import (
	"fmt"
	"strings"
	"time"
)

// length writes d as declarations do: "200ms", "30s", "60s", "5m".
func length(d time.Duration) string {
	if d%time.Second == 0 && d < 2*time.Minute {
		return fmt.Sprintf("%ds", d/time.Second)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// restarting tells the n-th restart, and why.
func (r *Restart) restarting(n int, delay time.Duration, why string) string {
	count := fmt.Sprintf("%d", n)
	if r.Max > 0 {
		count = fmt.Sprintf("%d of %d", n, r.Max)
	}
	when := ""
	if delay > 0 {
		when = " in " + length(delay)
	}
	return fmt.Sprintf("restarting (%s)%s: %s", count, when, why)
}

// gaveUp tells that n restarts were enough.
func (r *Restart) gaveUp(n int, why string) string {
	noun := pick(n == 1, "restart", "restarts")
	if r.Window <= 0 {
		return fmt.Sprintf("gave up: %d %s, last: %s", n, noun, why)
	}
	return fmt.Sprintf("gave up: %d %s in %s, last: %s", n, noun, length(r.Window), why)
}

// probeFailure tells how often and how the probe failed.
func (m *step) probeFailure(t Tally) string {
	text := fmt.Sprintf("its probe failed %d times in a row", -t.Run)
	if t.Run == -1 {
		text = "its probe failed"
	}
	if m.e.Text != "" && m.e.Kind == EventProbeFailed {
		text += ": " + m.e.Text
	}
	return text
}
