package term

import (
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// sizeOf asks the kernel for the size of a terminal; where that does not know,
// COLUMNS and LINES may.
func sizeOf(fd int) Size {
	var s Size
	if ws, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ); err == nil {
		s = Size{int(ws.Col), int(ws.Row)}
	}
	if s.Cols == 0 {
		s.Cols, _ = strconv.Atoi(os.Getenv("COLUMNS"))
	}
	if s.Rows == 0 {
		s.Rows, _ = strconv.Atoi(os.Getenv("LINES"))
	}
	return s
}

// foreground reports whether we are the job that a terminal belongs to, or it has
// no jobs.
func foreground(fd int) bool {
	owner, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err != nil || owner == unix.Getpgrp()
}

// abandoned reports whether nobody is there to continue us when we stop: no shell
// with job control, which is a parent in our session and in another group. The
// kernel then lets ^Z do nothing.
func abandoned() bool {
	session, err := unix.Getsid(0)
	if err != nil {
		return true
	}
	for pid := unix.Getppid(); pid > 0; pid = parentOf(pid) {
		if group, err := unix.Getpgid(pid); err != nil || group != unix.Getpgrp() {
			theirs, serr := unix.Getsid(pid)
			return err != nil || serr != nil || theirs != session
		}
	}
	return true
}

// suspend stops this process until it is continued. SIGTSTP itself would not:
// once it was asked for, Go ignores it.
func suspend() {
	if !abandoned() {
		stopSelf()
	}
}

// raise has a signal do what it does when nobody looks after it.
func raise(sig os.Signal) {
	signal.Reset(sig)
	if n, ok := sig.(syscall.Signal); ok {
		unix.Kill(unix.Getpid(), n)
		select {} // it ends us
	}
}
