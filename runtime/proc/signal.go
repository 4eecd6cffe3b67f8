package proc

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// The real-time signals as glibc numbers them: the first two belong to its threads.
const (
	rtMin = 34
	rtMax = 64
)

// SignalByName gives the signal for "TERM", "SIGTERM", "term", "15", "RTMIN+3" or "RTMAX-1".
func SignalByName(name string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(name); err == nil {
		if n < 1 || n > rtMax {
			return 0, fmt.Errorf("got signal %d, want 1 to %d", n, rtMax)
		}
		return syscall.Signal(n), nil
	}
	s := strings.TrimPrefix(strings.ToUpper(name), "SIG")
	if sig := unix.SignalNum("SIG" + s); sig != 0 {
		return sig, nil
	}
	base, rest := rtMin, ""
	switch {
	case strings.HasPrefix(s, "RTMIN"):
		rest = s[len("RTMIN"):]
	case strings.HasPrefix(s, "RTMAX"):
		base, rest = rtMax, s[len("RTMAX"):]
	default:
		return 0, fmt.Errorf("got signal %q, want a name such as TERM, HUP or USR1", name)
	}
	off := 0
	if rest != "" {
		n, err := strconv.Atoi(rest)
		if err != nil || rest[0] != '+' && rest[0] != '-' {
			return 0, fmt.Errorf("got signal %q, want RTMIN+N or RTMAX-N", name)
		}
		off = n
	}
	if n := base + off; n >= rtMin && n <= rtMax {
		return syscall.Signal(n), nil
	}
	return 0, fmt.Errorf("got signal %q, want one between RTMIN and RTMIN+%d", name, rtMax-rtMin)
}

// SignalName gives "SIGTERM" for a signal, "SIGRTMIN+3" for a real-time one, else "signal N".
func SignalName(sig syscall.Signal) string {
	if s := unix.SignalName(sig); s != "" {
		return s
	}
	if sig >= rtMin && sig <= rtMax {
		return fmt.Sprintf("SIGRTMIN+%d", int(sig)-rtMin)
	}
	return fmt.Sprintf("signal %d", int(sig))
}
