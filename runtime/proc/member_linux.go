package proc

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"orrery/runtime/files"
)

// Identify names a process that runs, or is a zombie. The error is [ErrGone] when there is none.
func Identify(pid int) (Identity, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return Identity{}, fmt.Errorf("cannot find pid %d: %w", pid, ErrGone)
	}
	if err != nil {
		return Identity{}, fmt.Errorf("cannot find pid %d: %w", pid, err)
	}
	defer unix.Close(fd)
	st, err := readStat(pid)
	if err != nil {
		return Identity{}, fmt.Errorf("cannot find pid %d: %w", pid, ErrGone)
	}
	return Identity{Pid: pid, Start: st.start, Inode: inodeOf(fd), Boot: files.Boot()}, nil
}

// deepest is how far up a chain of parents is followed.
const deepest = 1000

// Member says whether pid descends from root, is in the pid namespace that root has for itself, or carries the marker in the
// environment that it was started with: whether KillTree of that tree would find it. It costs a few reads, not a walk through /proc. What has ended and was reaped is no member.
func Member(pid, root int, marker string) bool {
	at := pid
	for range deepest {
		st, err := readStat(at)
		if err != nil || at <= 1 {
			break
		}
		if at = st.ppid; at == root && root > 1 {
			return true
		}
	}
	return marker != "" && hasMarker(pid, marker, false) || namespaced(pid, root)
}

// namespaced says whether two processes are in one pid namespace that is not ours.
func namespaced(pid, root int) bool {
	of := func(who string) string {
		name, _ := os.Readlink("/proc/" + who + "/ns/pid")
		return name
	}
	ns := of(strconv.Itoa(root))
	return root > 1 && ns != "" && ns != of("self") && ns == of(strconv.Itoa(pid))
}
