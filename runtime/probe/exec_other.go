//go:build !linux

package probe

import (
	"time"

	"golang.org/x/sys/unix"
)

// poll is how often the end of a child is looked for.
const poll = 5 * time.Millisecond

// awaitEnd returns when a process has ended. Without waitid there is no way to
// await that and leave it to be waited for: a zombie still takes signals, so its
// state is asked for.
func awaitEnd(pid int) {
	for {
		p, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
		if err != nil || p.Proc.P_stat == 5 { // SZOMB
			return
		}
		time.Sleep(poll)
	}
}

// killGroup kills the process group that a child leads.
func killGroup(pid int) { unix.Kill(-pid, unix.SIGKILL) }

// killTree kills the group; what left it is not found here.
func killTree(pid int, _ string) { killGroup(pid) }
