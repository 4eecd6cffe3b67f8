package proc

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"orrery/runtime/files"
)

// Process is a running or ended child, or an adopted process. It is held by a pidfd: a signal can only reach this very
// process, never another one with its pid. All methods may be called concurrently.
type Process struct {
	id         Identity
	name       string
	pidfd      *os.File
	tty        *os.File
	session    int
	marker     string
	cgroup     string
	confine    *confine // nil: no cgroup limits it
	foreground bool
	child      bool // we started it: its status is ours to take
	late       late
	reaper     *Reaper
	ns         *namespace // nil: none of its own
	once       sync.Once
	exit       Exit
}

// late is what becomes of a process after its start.
type late struct {
	mu    sync.Mutex
	known bool // id and session are complete
	taken bool // its status was: the pid may be another one's
}

// newProcess takes hold of a child that was just made. A child that ended already is a zombie, of which all can still be read.
func newProcess(pid, pidfd int, s *Spec, tty *os.File) (*Process, error) {
	if pidfd < 0 {
		unix.Kill(pid, unix.SIGKILL)
		var ws unix.WaitStatus
		unix.Wait4(pid, &ws, 0, nil)
		s.Reaper.forget(pid)
		return nil, &StartError{Op: "fork", Path: s.Argv[0], Err: &textError{"this kernel has no pidfd: Linux 5.4 or newer is needed", syscall.ENOSYS}}
	}
	p := &Process{name: s.Name, marker: s.Marker, cgroup: s.Cgroup, foreground: s.Foreground && !s.TTY, child: true, reaper: s.Reaper, tty: tty}
	p.hold(pid, pidfd)
	if p.session = pid; !s.TTY {
		p.session, _ = unix.Getsid(0)
	}
	if s.Reaper != nil { // a keeper's: they are recorded
		p.learn()
	}
	return p, nil
}

// hold takes the process; learn then tells it from any other.
func (p *Process) hold(pid, pidfd int) {
	p.id.Pid = pid
	// Not blocking, so that Wait parks a goroutine in the poller and not a thread in the kernel.
	unix.SetNonblock(pidfd, true)
	p.pidfd = os.NewFile(uintptr(pidfd), "pidfd")
}

// learn fills in what tells this process from any other. Of most children nobody asks that before they end; then their pid means nobody,
// or another one with some other start than the 0 that stays.
func (p *Process) learn() {
	p.late.mu.Lock()
	defer p.late.mu.Unlock()
	if p.late.known {
		return
	}
	p.late.known, p.id.Boot = true, files.Boot()
	p.control(func(fd int) { p.id.Inode = inodeOf(fd) })
	if p.late.taken {
		return
	}
	if st, err := readStat(p.id.Pid); err == nil {
		p.id.Start, p.session = st.start, st.sid
	}
}

// Adopt takes hold of a process that an earlier instance of us started, if it is still the same one; else the error is
// [ErrGone]. Of s, which may be nil, it uses Name, Marker, Cgroup, Foreground and TTY, which must be as they were at its start.
// Its exit status is known through the kernel (Linux 6.15 or newer), or while it is a zombie of another parent.
func Adopt(id Identity, s *Spec) (*Process, error) {
	if s == nil {
		s = new(Spec)
	}
	if id.Pid <= 1 || id.Pid == os.Getpid() {
		return nil, fmt.Errorf("cannot adopt %q: got pid %d, want that of a service", s.Name, id.Pid)
	}
	if boot := files.Boot(); id.Boot != "" && boot != id.Boot {
		return nil, fmt.Errorf("cannot adopt %q (pid %d): the machine was booted since: %w", s.Name, id.Pid, ErrGone)
	}
	fd, err := unix.PidfdOpen(id.Pid, 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return nil, fmt.Errorf("cannot adopt %q (pid %d): %w", s.Name, id.Pid, ErrGone)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot adopt %q (pid %d): %w", s.Name, id.Pid, err)
	}
	p := &Process{name: s.Name, marker: s.Marker, cgroup: s.Cgroup, foreground: s.Foreground && !s.TTY, reaper: s.Reaper}
	p.hold(id.Pid, fd)
	p.learn()
	if p.id.Start != id.Start || id.Inode != 0 && p.id.Inode != id.Inode {
		p.pidfd.Close()
		return nil, fmt.Errorf("cannot adopt %q: pid %d is another process now: %w", s.Name, id.Pid, ErrGone)
	}
	return p, nil
}

// Pid is its process id, which means nothing after Wait has returned.
func (p *Process) Pid() int { return p.id.Pid }

// Identity names it for records. Of a process that was started without a [Reaper] Start is 0 if nobody has asked before its end.
func (p *Process) Identity() Identity {
	p.learn()
	return p.id
}

// TTY is our end of its terminal, or nil. It is the caller's to read and to close; reading gives EIO once nobody holds the other end.
func (p *Process) TTY() *os.File { return p.tty }

// Signal sends sig to the main process. After its end the error is os.ErrProcessDone, and nothing else happens.
func (p *Process) Signal(sig syscall.Signal) error { return p.send(sig, 0) }

// SignalGroup sends sig to all of its process group, also when the main process has ended and others of the group remain.
// For one in the foreground, whose group is ours, it is Signal.
func (p *Process) SignalGroup(sig syscall.Signal) error {
	if p.foreground {
		return p.Signal(sig)
	}
	err := p.send(sig, unix.PIDFD_SIGNAL_PROCESS_GROUP)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.9
		p.learn()
		if st, serr := readStat(p.id.Pid); serr != nil || st.start != p.id.Start || p.id.Pid <= 1 {
			return os.ErrProcessDone
		}
		err = gone(unix.Kill(-p.id.Pid, sig))
	}
	return err
}

func (p *Process) send(sig syscall.Signal, flags int) error {
	var err error
	if cerr := p.control(func(fd int) { err = unix.PidfdSendSignal(fd, sig, nil, flags) }); cerr != nil {
		return os.ErrProcessDone
	}
	return gone(err)
}

// gone makes "no such process" what os.Process says for it.
func gone(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

func (p *Process) control(f func(fd int)) error {
	c, err := p.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	return c.Control(func(fd uintptr) { f(int(fd)) })
}

// Wait blocks until the main process has ended, takes its status, and returns it, the same each time. Others of its
// tree may still run: see KillTree.
func (p *Process) Wait() Exit {
	p.once.Do(func() {
		defer func() { p.exit.OOM = !p.exit.Ok() && p.confine.killedInside() > 0 }()
		if p.ns != nil {
			p.exit = p.ns.wait()
			return
		}
		try := p.reap
		if !p.child {
			try = p.peek
		}
		c, err := p.pidfd.SyscallConn()
		if err != nil {
			p.exit = Exit{Err: err}
			return
		}
		read := c.Read(func(fd uintptr) bool { return try(int(fd)) })
		for read != nil { // closed meanwhile, or a kernel whose pidfd the poller does not take
			done := false
			if cerr := c.Control(func(fd uintptr) { done = pollFor(int(fd), time.Second) && try(int(fd)) }); cerr != nil {
				p.exit = Exit{Err: fmt.Errorf("cannot wait for %q: %w", p.name, cerr)}
				return
			}
			if done {
				return
			}
		}
	})
	return p.exit
}

// reap takes the status of our child if it has ended. Its pid cannot mean anybody else before that.
func (p *Process) reap(fd int) bool {
	n, ws, err := p.take()
	switch {
	case n == p.id.Pid:
		p.exit = exitOf(ws)
		return true
	case err == nil:
		return false
	}
	p.child = false
	if !p.peek(fd) {
		return false
	}
	if p.exit.Err != nil {
		p.exit.Err = fmt.Errorf("its exit status was taken by someone else: %w", err)
	}
	return true
}

// take takes the status of our child.
func (p *Process) take() (n int, ws unix.WaitStatus, err error) {
	p.late.mu.Lock()
	defer p.late.mu.Unlock()
	n, err = p.reaper.take(p.id.Pid, &ws)
	p.late.taken = p.late.taken || n == p.id.Pid || err != nil
	return n, ws, err
}

// peek finds out how somebody else's child ended, if it did.
func (p *Process) peek(fd int) bool {
	if !pollFor(fd, 0) {
		return false
	}
	p.learn()
	// A zombie says it in /proc until its parent takes the status, after that the kernel keeps it with the pidfd. In between
	// there is a gap, so both are asked more than once.
	for range 100 {
		info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
		if unix.IoctlPidfdInfo(fd, &info) == nil && info.Mask&unix.PIDFD_INFO_EXIT != 0 {
			p.exit = exitOf(unix.WaitStatus(info.Exit_code))
			return true
		}
		st, err := readStat(p.id.Pid)
		if err == nil && st.start == p.id.Start && st.state == 'Z' && (st.exit != 0 || readable(p.id.Pid)) {
			p.exit = exitOf(unix.WaitStatus(st.exit))
			return true
		}
		if (err != nil || st.start != p.id.Start) && !hasInfo(fd) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	p.exit = Exit{Err: errors.New("exit status unknown: it was not our child (Linux 6.15 or newer would tell)")}
	return true
}

// hasInfo says whether the kernel answers questions about a pidfd at all.
func hasInfo(fd int) bool {
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	return unix.IoctlPidfdInfo(fd, &info) == nil
}

func exitOf(ws unix.WaitStatus) Exit {
	if ws.Signaled() {
		return Exit{Signal: ws.Signal(), Core: ws.CoreDump()}
	}
	return Exit{Code: ws.ExitStatus()}
}

// pollFor waits until the process of the pidfd has ended.
func pollFor(fd int, d time.Duration) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, _ := unix.Poll(fds, int(d.Milliseconds()))
	return n > 0
}

// Close lets go of the process, running or not, and removes its cgroup if that is empty. The terminal stays open.
func (p *Process) Close() error {
	if p.cgroup != "" {
		removeCgroup(p.cgroup)
	}
	p.confine.remove()
	p.ns.close()
	return p.pidfd.Close()
}

// inodeOf is the inode of a pidfd, if the kernel gives each process its own.
func inodeOf(fd int) uint64 {
	var fs unix.Statfs_t
	var st unix.Stat_t
	if unix.Fstatfs(fd, &fs) != nil || fs.Type != unix.PID_FS_MAGIC || unix.Fstat(fd, &st) != nil {
		return 0
	}
	return st.Ino
}
