//go:build !linux

package term

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// raise sends a signal to this process.
func raise(sig os.Signal) { unix.Kill(unix.Getpid(), sig.(syscall.Signal)) }
