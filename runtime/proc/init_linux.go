package proc

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// first is the body of the shim as the init of a pid namespace: it mounts a /proc that shows the namespace, starts the shim
// again for the program, and reaps until that one has ended. fds are those of the orders, the report and the link.
func (o *orders) first(fds []int) int {
	report, up := fds[1], fds[2]
	fail := func(op string, err error) int {
		text, _ := json.Marshal(&StartError{Op: op, Path: Verb, Err: err})
		unix.Write(report, text)
		return 127
	}
	if err := ownProc(); err != nil {
		return fail(opNamespace, err)
	}
	// What the right to mount was given by must not reach the program.
	if os.Geteuid() != 0 {
		if err := ambient(0); err != nil {
			return fail(opNamespace, err)
		}
	}
	seen := make(chan os.Signal, 16)
	signal.Notify(seen, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGCONT, unix.SIGALRM, unix.SIGPIPE)
	gate := make([]int, 2)
	if err := unix.Pipe2(gate, unix.O_CLOEXEC); err != nil {
		return fail(opNamespace, err)
	}
	// Between the sockets and the descriptor of readiness there may be a gap, in which lies nothing or one of Go's own.
	var files []uintptr
	for fd := range up + 1 {
		files = append(files, uintptr(fd))
		if fd >= 3+o.Listen && fd < o.Keep-1 {
			files[fd] = noFile
		}
	}
	argv := []string{"orrery", Verb, strconv.Itoa(fds[0]), strconv.Itoa(report), strconv.Itoa(up), strconv.Itoa(up + 1)}
	sys := &syscall.SysProcAttr{Setpgid: !o.TTY, Setsid: o.TTY, Setctty: o.TTY}
	program, err := syscall.ForkExec("/proc/self/exe", argv, &syscall.ProcAttr{Env: os.Environ(), Files: append(files, uintptr(gate[0])), Sys: sys})
	if err != nil {
		return fail("fork", err)
	}
	unix.Close(gate[0])
	letGo(files[:up])
	go answer(up, gate[1])
	go func() {
		for sig := range seen {
			if sig != unix.SIGPIPE {
				unix.Kill(program, sig.(syscall.Signal))
			}
		}
	}()
	debug.FreeOSMemory()
	return reapUntil(program, up)
}

// ownProc mounts a /proc that shows this namespace, for it alone; what is mounted outside is seen as before, also later.
func ownProc() error {
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return &textError{"cannot keep mounts to itself: " + err.Error(), err.(syscall.Errno)}
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return &textError{"cannot mount a /proc: " + err.Error(), err.(syscall.Errno)}
	}
	return nil
}

// letGo closes the program's descriptors: sockets, pipes and the terminal are its alone from here on, for whoever waits for their
// end must see it.
func letGo(files []uintptr) {
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	for fd, f := range files {
		switch {
		case f == noFile:
		case fd < 3 && err == nil:
			unix.Dup3(null, fd, 0)
		default:
			unix.Close(fd)
		}
	}
}

// answer opens the gate for the program when it is held, and ends the namespace when whoever started us is dead: nobody else has
// the other end.
func answer(up, gate int) {
	b := make([]byte, 1)
	for {
		n, err := unix.Read(up, b)
		switch {
		case n == 1:
			unix.Close(gate)
		case err != unix.EINTR:
			unix.Exit(137)
		}
	}
}

// reapUntil takes the status of whoever ends, until the program has: that one it passes on.
func reapUntil(program, up int) int {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WALL, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 127
		case pid == program:
			unix.Write(up, binary.NativeEndian.AppendUint32(nil, uint32(ws)))
			if ws.Signaled() {
				return 128 + int(ws.Signal())
			}
			return ws.ExitStatus()
		}
	}
}

// announce tells whoever started us that we are here, with a pid that the kernel adds, and waits to be held.
func announce(up, gate int) *StartError {
	if _, err := unix.Write(up, []byte{'!'}); err != nil {
		return &StartError{Op: opNamespace, Path: Verb, Err: err}
	}
	for {
		if _, err := unix.Read(gate, make([]byte, 1)); err != unix.EINTR {
			return nil
		}
	}
}
