//go:build !linux

package main

import (
	"os"
	"strconv"
)

// terminalWidth is the number of columns of a terminal: COLUMNS, else 80.
func terminalWidth(uintptr) int {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	return 80
}
