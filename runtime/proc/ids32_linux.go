//go:build linux && (386 || arm)

package proc

import "golang.org/x/sys/unix"

// The calls without the suffix know only 16 bits of a number here.
const (
	sysSetgroups = unix.SYS_SETGROUPS32
	sysSetresgid = unix.SYS_SETRESGID32
	sysSetresuid = unix.SYS_SETRESUID32
)
