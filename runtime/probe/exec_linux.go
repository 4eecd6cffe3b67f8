package probe

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// sweeps bounds the search for what left the group: each one finds the
// children born during the one before.
const sweeps = 20

// awaitEnd returns when a child has ended, and leaves it to be waited for.
func awaitEnd(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

// killGroup kills the process group that a child leads.
func killGroup(pid int) { unix.Kill(-pid, unix.SIGKILL) }

// killTree kills the group, and whatever else carries the mark in its
// environment: children that made a session of their own.
func killTree(pid int, mark string) {
	killGroup(pid)
	for i := range sweeps {
		if killMarked(mark) == 0 {
			return
		}
		time.Sleep(time.Duration(i) * time.Millisecond) // no event tells of the end of a stranger's child
	}
}

// killMarked kills the live processes with the mark and returns how many.
func killMarked(mark string) (found int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || !marked(pid, mark) {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue
		}
		if marked(pid, mark) { // still the one that the descriptor holds
			unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
			found++
		}
		unix.Close(fd)
	}
	return found
}

// marked reports whether a process carries the mark. A zombie has no
// environment any more.
func marked(pid int, mark string) bool {
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if string(v) == mark {
			return true
		}
	}
	return false
}
