package sandbox

import "golang.org/x/sys/unix"

// pathCalls are the system calls that take a path and do something with it that counts.
func pathCalls() map[int][]pathArg {
	all := modernCalls()
	all[unix.SYS_RENAMEAT] = []pathArg{{actReplace, 0, 1, -1}, {actReplace, 2, 3, -1}}
	return all
}
