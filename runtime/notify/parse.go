package notify

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// errNothing is a datagram without a single valid assignment.
var errNothing = errors.New("got no known assignment, want one such as READY=1")

// errBarrier is a barrier that says other things too.
var errBarrier = errors.New("got BARRIER=1 with other assignments, want it alone")

// Parse reads the text of one datagram: lines of KEY=VALUE. The first
// assignment to a key counts. What is unknown or not valid is ignored, and
// counted in Ignored; it does not spoil the rest. An error means that the
// datagram as a whole is to be dropped: too large, a NUL inside (one at the end
// is allowed), nothing known in it, or a barrier that is not alone.
//
// The message has no sender and no descriptors: those come beside the text.
func Parse(data []byte) (Message, error) {
	if len(data) > MaxDatagram {
		return Message{}, fmt.Errorf("got a datagram of %d bytes, want at most %d", len(data), MaxDatagram)
	}
	data = bytes.TrimSuffix(data, []byte{0})
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return Message{}, fmt.Errorf("got a NUL at byte %d, want text", i)
	}
	var m Message
	known, others := 0, 0
	seen := map[string]bool{}
	for line := range strings.SplitSeq(string(data), "\n") {
		if line == "" {
			continue
		}
		if line == "BARRIER=1" {
			m.Barrier = true
			continue
		}
		others++
		key, value, ok := strings.Cut(line, "=")
		switch {
		case strings.HasPrefix(key, "X_"):
		case !ok || seen[key]:
			m.Ignored++
		case m.flag(key, value) || m.value(key, value):
			known++
			seen[key] = true
		default:
			m.Ignored++
			seen[key] = true
		}
	}
	if m.Barrier && others > 0 {
		return Message{}, errBarrier
	}
	if known == 0 && !m.Barrier {
		return Message{}, errNothing
	}
	m.settle()
	return m, nil
}

// flag takes an assignment that is either on or not there.
func (m *Message) flag(key, value string) bool {
	if key == "WATCHDOG" && value == "trigger" {
		m.Watchdog = WatchdogTrigger
		return true
	}
	if key == "FDPOLL" {
		m.noPoll = value == "0"
		return value == "0" || value == "1"
	}
	if value != "1" {
		return false
	}
	switch key {
	case "READY":
		m.Ready = true
	case "RELOADING":
		m.Reloading = true
	case "STOPPING":
		m.Stopping = true
	case "WATCHDOG":
		m.Watchdog = WatchdogPing
	case "RESTART_RESET":
		m.RestartReset = true
	case "FDSTORE":
		m.FDStore = true
	case "FDSTOREREMOVE":
		m.FDStoreRemove = true
	case "MAINPIDFD":
		m.wantPIDFD = true
	default:
		return false
	}
	return true
}

// value takes an assignment that carries a value.
func (m *Message) value(key, value string) (ok bool) {
	switch key {
	case "STATUS":
		if ok = utf8.ValidString(value); ok {
			m.Status = &value
		}
	case "NOTIFYACCESS":
		if ok = isAccess(value); ok {
			m.NotifyAccess = value
		}
	case "FDNAME":
		if ok = isName(value) && !strings.Contains(value, ":"); ok {
			m.FDName = value
		}
	case "BUSERROR":
		if ok = isName(value); ok {
			m.BusError = value
		}
	case "VARLINKERROR":
		if ok = isName(value); ok {
			m.VarlinkError = value
		}
	default:
		return m.number(key, value)
	}
	return ok
}

// number takes an assignment whose value is a decimal number. One that is too
// large for its meaning is not valid; an interval is cut to the longest one.
func (m *Message) number(key, value string) bool {
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return false
	}
	usec := int64(min(n, uint64(math.MaxInt64/time.Microsecond)))
	switch key {
	case "MONOTONIC_USEC":
		m.MonotonicUsec = usec
	case "WATCHDOG_USEC":
		m.WatchdogUsec = &usec
	case "EXTEND_TIMEOUT_USEC":
		m.ExtendTimeoutUsec = usec
	case "MAINPIDFDID":
		m.MainPIDFDID = n
	case "MAINPID":
		if n < 1 || n > math.MaxInt32 {
			return false
		}
		m.MainPID = int(n)
	case "ERRNO":
		if n > 4095 { // the kernel's MAX_ERRNO
			return false
		}
		m.Errno = int(n)
	case "EXIT_STATUS":
		if n > 255 {
			return false
		}
		status := int(n)
		m.ExitStatus = &status
	default:
		return false
	}
	return true
}

// settle makes the fields about stored descriptors agree with each other.
func (m *Message) settle() {
	m.FDPoll = m.FDStore && !m.noPoll
	if m.FDStore && m.FDName == "" {
		m.FDName = "stored"
	}
	if m.FDStoreRemove && m.FDName == "" {
		m.FDStoreRemove = false
		m.Ignored++
	}
}

// isAccess reports whether s is a value of notify access.
func isAccess(s string) bool {
	return s == "none" || s == "main" || s == "exec" || s == "all"
}

// isName reports whether s is 1 to 255 bytes of ASCII without control
// characters.
func isName(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 127 {
			return false
		}
	}
	return true
}
