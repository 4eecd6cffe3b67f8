package logs

import (
	"os"

	"golang.org/x/sys/unix"
)

// pipe makes a pipe: the read end for the poller, the write end blocking, as children expect (the two ends are separate open
// file descriptions, so one does not change the other).
func pipe() (r, w *os.File, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	unix.SetNonblock(p[0], true)
	return os.NewFile(uintptr(p[0]), "log pipe (read)"), os.NewFile(uintptr(p[1]), "log pipe (write)"), nil
}

// raisePipe asks for a larger buffer; a refusal does no harm.
func raisePipe(w *os.File) {
	if rc, err := w.SyscallConn(); err == nil {
		rc.Control(func(fd uintptr) { unix.FcntlInt(fd, unix.F_SETPIPE_SZ, 256<<10) })
	}
}

// splice moves up to n bytes from a pipe to a file at offset, without ever waiting for the pipe.
func splice(from, to int, offset int64, n int) (int, error) {
	got, err := unix.Splice(from, nil, to, &offset, n, unix.SPLICE_F_NONBLOCK|unix.SPLICE_F_MOVE)
	return int(got), err
}

// pending is how many bytes a read end holds.
func pending(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}
