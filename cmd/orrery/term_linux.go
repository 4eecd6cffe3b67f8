package main

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// terminalWidth is the number of columns of a terminal: COLUMNS, else what the
// kernel says, else 80.
func terminalWidth(fd uintptr) int {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	if ws, err := unix.IoctlGetWinsize(int(fd), unix.TIOCGWINSZ); err == nil && ws.Col > 0 {
		return int(ws.Col)
	}
	return 80
}
