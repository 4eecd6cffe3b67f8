package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"orrery/runtime/sandbox"
)

// orders are what the shim is told, through an anonymous file. Bytes, not strings: JSON would repair what is not UTF-8.
type orders struct {
	Paths    [][]byte
	Argv     [][]byte
	Env      [][]byte
	Dir      []byte
	Listen   int   // how many sockets, from descriptor 3
	Blocking []int // descriptors to make blocking
	Watchdog bool
	Keep     int // descriptors from here on are not passed on
	Limits   Limits
	Join     [][]byte // cgroups to enter
	Cred     *credential
	TTY      bool // the first descriptor is its terminal; for the init of a pid namespace
	Sandbox  *sandbox.Orders
	Watch    int // descriptor of its watcher, from Keep on
}

// opExec is the Op of a failed exec in the report of the shim; explain makes it one for the user.
const opExec = "exec"

// start runs what was prepared: plainly where that is enough, else by the shim.
func (l *launch) start() (*Process, error) {
	sealDescriptors()
	s := l.spec
	if s.Sandbox != nil && s.Watch == nil {
		return nil, &StartError{Op: "sandbox", Path: s.Name, Err: errors.New("it has no watcher")}
	}
	if s.Cgroup != "" {
		if err := os.MkdirAll(s.Cgroup, 0o755); err != nil {
			return nil, &StartError{Op: "cgroup", Path: s.Cgroup, Err: err}
		}
	}
	if len(s.Listen) > 0 || s.Watchdog > 0 || !s.Limits.none() || s.PidNamespace || s.Sandbox != nil || oddSignals() {
		name := s.Marker
		if name == "" {
			name = fmt.Sprintf("%d-%d", os.Getpid(), time.Now().UnixNano())
		}
		start := l.byShim
		if s.PidNamespace {
			start = l.byInit
		}
		c := confined(s.Limits, name)
		p, err := start(c)
		if err != nil {
			c.remove()
			return nil, err
		}
		if p.confine = c; c.unify != "" && p.cgroup == "" {
			p.cgroup = c.unify
		}
		return p, nil
	}
	p, err := l.plain()
	if err != nil && l.cred != nil {
		// One errno cannot tell whether the user may not enter the directory or not run the program; the shim can.
		return l.byShim(&confine{})
	}
	return p, err
}

// plain starts the program directly.
func (l *launch) plain() (*Process, error) {
	var last error
	for _, path := range l.paths {
		p, err := l.fork(path, l.argv, &syscall.ProcAttr{Dir: l.dir, Env: l.env, Files: l.files, Sys: &syscall.SysProcAttr{Credential: l.credential()}})
		if err == nil {
			return p, nil
		}
		if last == nil {
			last = l.why(path, err)
		}
		if !passes(err) {
			break
		}
	}
	return nil, last
}

// why explains the errno of a failed fork and exec.
func (l *launch) why(path string, err error) error {
	var se *StartError
	switch {
	case errors.As(err, &se):
		return se
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return &StartError{Op: "fork", Path: path, Err: err}
	}
	if e := enter(l.dir); e != nil {
		return e
	}
	if errors.Is(err, syscall.EACCES) && l.dir != "" && unix.Access(l.dir, unix.X_OK) != nil {
		return &StartError{Op: "enter", Path: l.dir, Err: err}
	}
	return explain(path, l.dir, err)
}

// credential is whom the child becomes at once; the shim does it by itself, after what only root may do.
func (l *launch) credential() *syscall.Credential {
	if l.cred == nil {
		return nil
	}
	return &syscall.Credential{Uid: l.cred.Uid, Gid: l.cred.Gid, Groups: l.cred.Groups}
}

// fork starts path and takes hold of the child; it adds to attr.Sys what all children have.
func (l *launch) fork(path string, argv []string, attr *syscall.ProcAttr) (*Process, error) {
	s := l.spec
	pidfd := -1
	sys := attr.Sys
	sys.PidFD, sys.Setpgid, sys.Setsid, sys.Setctty = &pidfd, !s.Foreground && !s.TTY, s.TTY, s.TTY
	if s.PidNamespace { // this is its init: the terminal is the program's
		sys.Setpgid, sys.Setsid, sys.Setctty = true, false, false
	}
	if s.Cgroup != "" {
		fd, err := unix.Open(s.Cgroup, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, &StartError{Op: "cgroup", Path: s.Cgroup, Err: err}
		}
		defer unix.Close(fd)
		sys.UseCgroupFD, sys.CgroupFD = true, fd
	}
	pid, err := s.Reaper.spawn(func() (int, error) { return forkExec(path, argv, attr) })
	if err != nil {
		return nil, err
	}
	return newProcess(pid, pidfd, s, l.tty)
}

// forkExec retries for a moment while the program is still open for writing: someone else's fork holds on to the
// descriptor with which it was just written (golang.org/issue/22315).
func forkExec(path string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	err = whileBusy(func() (err error) {
		pid, err = syscall.ForkExec(path, argv, attr)
		return err
	})
	return pid, err
}

// busyMost is the longest of the waits, each of which is twice the one before.
const busyMost = 64 * time.Millisecond

func whileBusy(exec func() error) error {
	for wait := time.Millisecond; ; wait *= 2 {
		err := exec()
		if !errors.Is(err, syscall.ETXTBSY) || wait > busyMost {
			return err
		}
		time.Sleep(wait)
	}
}

// shimVar is in the environment of the shim, not in that of the program: a binary that is no shim would start itself for ever.
const shimVar = "ORRERY_EXEC"

var errNoShim = errors.New("this binary was started as a shim and is none: its main must call proc.Shim for " + Verb)

// byShim starts our own binary, which becomes the program. /proc/self/exe is the inode that we run from, held by the kernel:
// it neither matters whether another user may reach our path nor whether the file there was replaced.
func (l *launch) byShim(c *confine) (*Process, error) {
	if os.Getenv(shimVar) != "" {
		return nil, &StartError{Op: "shim", Path: l.paths[0], Err: errNoShim}
	}
	memfd, err := l.orders(c)
	if err != nil {
		return nil, &StartError{Op: "shim", Path: l.paths[0], Err: err}
	}
	defer memfd.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, &StartError{Op: "shim", Path: l.paths[0], Err: err}
	}
	defer r.Close()
	n := len(l.files)
	files := append(l.files[:n:n], memfd.Fd(), w.Fd())
	if l.spec.Sandbox != nil {
		watch, err := rawFD(l.spec.Watch)
		if err != nil {
			return nil, &StartError{Op: "sandbox", Path: l.paths[0], Err: err}
		}
		files = append(files, watch)
	}
	argv := []string{"orrery", Verb, strconv.Itoa(n), strconv.Itoa(n + 1)}
	env := []string{shimVar + "=1"}
	if l.spec.Marker != "" {
		env = append(env, MarkerVar+"="+l.spec.Marker)
	}
	p, err := l.fork("/proc/self/exe", argv, &syscall.ProcAttr{Env: env, Files: files, Sys: &syscall.SysProcAttr{}})
	w.Close()
	if err != nil {
		var se *StartError
		if errors.As(err, &se) {
			return nil, err
		}
		return nil, &StartError{Op: "fork", Path: l.paths[0], Err: err}
	}
	report, err := io.ReadAll(r)
	if err == nil && len(report) == 0 {
		return p, nil
	}
	p.tty = nil // Start closes it
	p.Signal(syscall.SIGKILL)
	p.Wait()
	p.Close()
	se := new(StartError)
	if err != nil || json.Unmarshal(report, se) != nil {
		return nil, &StartError{Op: "shim", Path: l.paths[0], Err: errors.New("it died before the program ran: " + string(report))}
	}
	if se.Op == opExec {
		return nil, explain(se.Path, l.dir, se.Err)
	}
	return nil, se
}

// orders writes what the shim must know into an anonymous file.
func (l *launch) orders(c *confine) (*os.File, error) {
	s := l.spec
	o := orders{Paths: bytesOf(l.paths), Argv: bytesOf(l.argv), Env: bytesOf(l.env), Dir: []byte(l.dir), Listen: len(s.Listen),
		Watchdog: s.Watchdog > 0, Keep: len(l.files), Limits: c.rest, Join: bytesOf(c.dirs), Cred: l.cred, TTY: s.TTY,
		Sandbox: s.Sandbox, Watch: len(l.files) + 2}
	for i, x := range s.Listen {
		if !x.Shared {
			o.Blocking = append(o.Blocking, 3+i)
		}
	}
	b, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("orrery-exec", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "orders")
	if _, err := f.Write(b); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func bytesOf(ss []string) [][]byte {
	bs := make([][]byte, len(ss))
	for i, s := range ss {
		bs[i] = []byte(s)
	}
	return bs
}

// sealDescriptors marks whatever we hold above the standard ones close-on-exec. Go opens everything so; what we were
// started with (a terminal's, a make's) is not.
func sealDescriptors() {
	if unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	ents, _ := os.ReadDir("/proc/self/fd")
	for _, e := range ents {
		if n, err := strconv.Atoi(e.Name()); err == nil && n > 2 {
			unix.CloseOnExec(n)
		}
	}
}

// oddSignals says that we were started with signals ignored or blocked (nohup, `orrery up &` in a script), which a child
// would inherit. Go resets only those that it handles. It is asked once: that never changes.
var oddSignals = sync.OnceValue(func() bool {
	b, err := os.ReadFile("/proc/thread-self/status")
	return err == nil && oddStatus(b)
})
