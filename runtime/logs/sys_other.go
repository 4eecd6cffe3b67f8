//go:build !linux

package logs

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// pipe makes a pipe: the read end for the poller, the write end blocking.
func pipe() (r, w *os.File, err error) {
	var p [2]int
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := unix.Pipe(p[:]); err != nil {
		return nil, nil, os.NewSyscallError("pipe", err)
	}
	unix.CloseOnExec(p[0])
	unix.CloseOnExec(p[1])
	unix.SetNonblock(p[0], true)
	return os.NewFile(uintptr(p[0]), "log pipe (read)"), os.NewFile(uintptr(p[1]), "log pipe (write)"), nil
}

func raisePipe(*os.File) {}

// splice is not there: the pump reads and writes.
func splice(_, _ int, _ int64, _ int) (int, error) { return 0, unix.ENOSYS }

// pending is how many bytes to expect: the largest pipe when there is something at all.
func pending(fd int) int {
	if ready(fd)&unix.POLLIN != 0 {
		return 64 << 10
	}
	return 0
}
