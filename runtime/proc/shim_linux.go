package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"orrery/runtime/sandbox"
)

// Shim is the body of `orrery __exec`: it sets up this process as its orders say and becomes the program. main calls it
// before anything else, with the arguments after [Verb]; it only returns when that failed, with the exit code.
func Shim(args []string) int {
	// Credentials, capabilities, niceness and the signal mask belong to a thread; the one that executes the program counts.
	runtime.LockOSThread()
	debug.SetGCPercent(-1) // and no threads for it: one being made while the program is executed would be a race
	fds := make([]int, len(args))
	for i, a := range args {
		n, err := strconv.Atoi(a)
		if err != nil || n < 3 {
			fds = nil
			break
		}
		fds[i] = n
	}
	if len(fds) < 2 || len(fds) > 4 {
		fmt.Fprintf(os.Stderr, "orrery %s is how orrery starts services; it is not for use by hand\n", Verb)
		return 2
	}
	b, err := readOrders(fds[0])
	if err != nil {
		fmt.Fprintf(os.Stderr, "orrery %s: cannot read the orders: %v\n", Verb, err)
		return 2
	}
	var o orders
	serr := &StartError{Op: "shim", Path: Verb}
	serr.Err = json.Unmarshal(b, &o)
	switch {
	case serr.Err != nil:
	case len(fds) == 3:
		return o.first(fds)
	case len(fds) == 4:
		if serr = announce(fds[2], fds[3]); serr == nil {
			serr = o.execute(fds[1])
		}
	default:
		serr = o.execute(fds[1])
	}
	report, _ := json.Marshal(serr)
	unix.Write(fds[1], report)
	return 127
}

// readOrders reads the anonymous file from its beginning; its offset is shared with the writer.
func readOrders(fd int) ([]byte, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	b := make([]byte, st.Size)
	n, err := unix.Pread(fd, b, 0)
	return b[:max(n, 0)], err
}

// execute becomes the program, or says why not; report is where execSmall says it. The order matters: what only root may do, then the user, then what the user
// must be able to do, and last what could harm ourselves.
func (o *orders) execute(report int) *StartError {
	program := string(o.Paths[0])
	if err := unix.CloseRange(uint(o.Keep), math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		for fd := o.Keep; fd < 1024; fd++ {
			unix.CloseOnExec(fd)
		}
	}
	for _, fd := range o.Blocking {
		if err := unix.SetNonblock(fd, false); err != nil {
			return &StartError{Op: "listen", Path: strconv.Itoa(fd), Err: err}
		}
	}
	if err := join(stringsOf(o.Join)); err != nil {
		return err
	}
	if err := o.Limits.apply(); err != nil {
		return err
	}
	if o.Cred != nil {
		if err := limit("tasks", unix.RLIMIT_NPROC, o.Limits.Tasks, o.Limits.Tasks > 0); err != nil {
			return err
		}
	}
	if err := o.become(); err != nil {
		return err
	}
	if o.Limits.NoNewPrivs {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return &StartError{Op: "limit", Path: "no_new_privileges", Err: err}
		}
	}
	if len(o.Dir) > 0 {
		if err := syscall.Chdir(string(o.Dir)); err != nil {
			return &StartError{Op: "enter", Path: string(o.Dir), Err: err}
		}
	}
	argv, env := stringsOf(o.Argv), append(stringsOf(o.Env), o.pids()...)
	if err := plainSignals(); err != nil {
		return &StartError{Op: "shim", Path: program, Err: err}
	}
	if o.Cred == nil {
		if err := limit("tasks", unix.RLIMIT_NPROC, o.Limits.Tasks, o.Limits.Tasks > 0); err != nil {
			return err
		}
	}
	if o.Sandbox != nil {
		if err := sandbox.Enter(o.Sandbox, o.Watch); err != nil {
			return &StartError{Op: "sandbox", Path: program, Err: err}
		}
	}
	if o.Limits.Memory > 0 {
		return o.execSmall(report, argv, env)
	}
	return o.exec(argv, env)
}

// exec tries the candidates in order, as execvp does. The starter explains the error: it is not limited in what it sees.
func (o *orders) exec(argv, env []string) *StartError {
	var first *StartError
	for _, p := range o.Paths {
		err := whileBusy(func() error { return syscall.Exec(string(p), argv, env) })
		if first == nil {
			first = &StartError{Op: opExec, Path: string(p), Err: err}
		}
		if !passes(err) {
			break
		}
	}
	return first
}

// passes says whether an error of one candidate gives the next one its turn.
func passes(err error) bool {
	return errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENOENT)
}

// execSmall is exec with a limit on memory, below what this process itself has. From that limit on nothing can be allocated, so
// all that is needed afterwards is made before, even the report.
func (o *orders) execSmall(report int, argv, env []string) *StartError {
	// This fails, and puts back the number of descriptors that Go raised for itself: only syscall.Exec knows it.
	syscall.Exec("", argv, env)
	type attempt struct {
		path *byte
		text []byte // the report up to the errno, with room for it
	}
	tries := make([]attempt, len(o.Paths))
	for i, p := range o.Paths {
		path, err := syscall.BytePtrFromString(string(p))
		if err != nil {
			return &StartError{Op: opExec, Path: string(p), Err: err}
		}
		name, _ := json.Marshal(p)
		text := fmt.Appendf(make([]byte, 0, len(name)+64), `{"Op":%q,"Path":%s,"Errno":`, opExec, name)
		tries[i] = attempt{path, text}
	}
	argvp, err := syscall.SlicePtrFromStrings(argv)
	if err != nil {
		return &StartError{Op: opExec, Path: argv[0], Err: err}
	}
	envp, err := syscall.SlicePtrFromStrings(env)
	if err != nil {
		return &StartError{Op: opExec, Path: argv[0], Err: err}
	}
	if err := limit("memory", unix.RLIMIT_AS, o.Limits.Memory, true); err != nil {
		return err
	}
	var first []byte
	for _, a := range tries {
		var e syscall.Errno
		for wait := time.Millisecond; ; wait *= 2 { // as whileBusy does
			_, _, e = unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(a.path)), uintptr(unsafe.Pointer(&argvp[0])), uintptr(unsafe.Pointer(&envp[0])))
			if e != syscall.ETXTBSY || wait > busyMost {
				break
			}
			ts := unix.NsecToTimespec(int64(wait))
			unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
		}
		if first == nil {
			first = append(strconv.AppendInt(a.text, int64(e), 10), '}')
		}
		if e != syscall.EACCES && e != syscall.ENOENT {
			break
		}
	}
	unix.RawSyscall(unix.SYS_WRITE, uintptr(report), uintptr(unsafe.Pointer(&first[0])), uintptr(len(first)))
	unix.RawSyscall(unix.SYS_EXIT_GROUP, 127, 0, 0)
	return nil
}

// pids are the variables that hold the pid of the program: ours, for we become it.
func (o *orders) pids() []string {
	pid := strconv.Itoa(os.Getpid())
	var out []string
	if o.Watchdog {
		out = append(out, "WATCHDOG_PID="+pid)
	}
	if o.Listen == 0 {
		return out
	}
	out = append(out, "LISTEN_PID="+pid)
	if fd, err := unix.PidfdOpen(os.Getpid(), 0); err == nil {
		if ino := inodeOf(fd); ino != 0 {
			out = append(out, "LISTEN_PIDFDID="+strconv.FormatUint(ino, 10))
		}
		unix.Close(fd)
	}
	return out
}

// apply sets everything but what could stop ourselves from going on: memory and tasks.
func (l *Limits) apply() *StartError {
	if l.Umask != nil {
		unix.Umask(int(*l.Umask))
	}
	if l.Nice != nil {
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, *l.Nice); err != nil {
			return &StartError{Op: "limit", Path: fmt.Sprintf("nice=%d", *l.Nice), Err: err}
		}
	}
	if l.OOMScoreAdj != nil {
		v := strconv.Itoa(*l.OOMScoreAdj)
		if err := os.WriteFile("/proc/self/oom_score_adj", []byte(v), 0); err != nil {
			return &StartError{Op: "limit", Path: "oom_score_adj=" + v, Err: err}
		}
	}
	if l.Core != nil {
		if err := limit("core", unix.RLIMIT_CORE, *l.Core, true); err != nil {
			return err
		}
	}
	return limit("nofile", unix.RLIMIT_NOFILE, l.Nofile, l.Nofile > 0)
}

// limit sets both the soft and the hard limit.
func limit(name string, which int, v uint64, set bool) *StartError {
	if !set {
		return nil
	}
	// syscall, not x/sys: it then also knows not to restore the number of descriptors that Go raised.
	err := syscall.Setrlimit(which, &syscall.Rlimit{Cur: v, Max: v})
	if err == nil {
		return nil
	}
	var old syscall.Rlimit
	if errors.Is(err, syscall.EPERM) && syscall.Getrlimit(which, &old) == nil {
		err = &textError{fmt.Sprintf("the hard limit is %d and only root can raise it (ulimit -H, LimitXXX= of a unit)", old.Max), syscall.EPERM}
	}
	return &StartError{Op: "limit", Path: fmt.Sprintf("%s=%d", name, v), Err: err}
}

// plainSignals gives all signals their default disposition and unblocks them. Those that Go handles the exec itself resets.
func plainSignals() error {
	const ignored = 1
	for sig := 1; sig <= rtMax; sig++ {
		// A struct sigaction of the kernel is 20 to 32 bytes long and begins with the handler; all zero is the default.
		var act, zero [5]uintptr
		_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), 0, uintptr(unsafe.Pointer(&act)), 8, 0, 0)
		if e == 0 && act[0] == ignored {
			unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&zero)), 0, 8, 0, 0)
		}
	}
	return unix.PthreadSigmask(unix.SIG_SETMASK, new(unix.Sigset_t), nil)
}

func stringsOf(bs [][]byte) []string {
	ss := make([]string, len(bs))
	for i, b := range bs {
		ss[i] = string(b)
	}
	return ss
}
