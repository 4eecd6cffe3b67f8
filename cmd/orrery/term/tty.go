package term

import (
	"os"
	"strconv"

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
