//go:build !linux

package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// errLinux is the cause for what only Linux has.
var errLinux = errors.New("only Linux can do this")

// Process is a running or ended child. All methods may be called concurrently.
type Process struct {
	pid        int
	name       string
	foreground bool
	tty        *os.File
	once       sync.Once
	exit       Exit
	mu         sync.Mutex // held while signalling and while taking the status: the pid cannot be reused in between
	ended      bool
}

func (l *launch) start() (*Process, error) {
	s := l.spec
	switch {
	case len(s.Listen) > 0:
		return nil, &StartError{Op: "listen", Path: s.Name, Err: errLinux}
	case s.Watchdog > 0:
		return nil, &StartError{Op: "watchdog", Path: s.Name, Err: errLinux}
	case !s.Limits.none():
		return nil, &StartError{Op: "limit", Path: s.Name, Err: errLinux}
	case s.PidNamespace:
		return nil, &StartError{Op: "pid_namespace", Path: s.Name, Err: errLinux}
	case s.Sandbox != nil:
		return nil, &StartError{Op: "sandbox", Path: s.Name, Err: errLinux}
	case s.Cgroup != "":
		return nil, &StartError{Op: "cgroup", Path: s.Cgroup, Err: errLinux}
	}
	sys := &syscall.SysProcAttr{Setpgid: !s.Foreground && !s.TTY, Setsid: s.TTY, Setctty: s.TTY}
	if l.cred != nil {
		sys.Credential = &syscall.Credential{Uid: l.cred.Uid, Gid: l.cred.Gid, Groups: l.cred.Groups}
	}
	attr := &syscall.ProcAttr{Dir: l.dir, Env: l.env, Files: l.files, Sys: sys}
	var last *StartError
	for _, path := range l.paths {
		pid, err := syscall.ForkExec(path, l.argv, attr)
		if err == nil {
			return &Process{pid: pid, name: s.Name, foreground: s.Foreground && !s.TTY, tty: l.tty}, nil
		}
		if last == nil {
			if last = enter(l.dir); last == nil {
				last = explain(path, l.dir, err)
			}
		}
		if !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.ENOENT) {
			break
		}
	}
	return nil, last
}

// Adopt needs Linux.
func Adopt(id Identity, s *Spec) (*Process, error) {
	return nil, fmt.Errorf("cannot adopt pid %d: %w", id.Pid, errLinux)
}

// Pid is its process id, which means nothing after Wait has returned.
func (p *Process) Pid() int { return p.pid }

// Identity names it for records; here by its pid alone.
func (p *Process) Identity() Identity { return Identity{Pid: p.pid} }

// TTY is our end of its terminal, or nil. It is the caller's to read and to close.
func (p *Process) TTY() *os.File { return p.tty }

// Signal sends sig to the main process. After its end the error is os.ErrProcessDone, and nothing else happens.
func (p *Process) Signal(sig syscall.Signal) error { return p.send(p.pid, sig) }

// SignalGroup sends sig to all of its process group; for one in the foreground it is Signal.
func (p *Process) SignalGroup(sig syscall.Signal) error {
	if p.foreground {
		return p.Signal(sig)
	}
	return p.send(-p.pid, sig)
}

func (p *Process) send(pid int, sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return os.ErrProcessDone
	}
	if err := syscall.Kill(pid, sig); !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return os.ErrProcessDone
}

// Wait blocks until the main process has ended, takes its status, and returns it, the same each time.
func (p *Process) Wait() Exit {
	p.once.Do(func() {
		for wait := time.Millisecond; ; wait = min(2*wait, 20*time.Millisecond) {
			var ws syscall.WaitStatus
			p.mu.Lock()
			n, err := syscall.Wait4(p.pid, &ws, syscall.WNOHANG, nil)
			p.ended = n == p.pid || err != nil && !errors.Is(err, syscall.EINTR)
			ended := p.ended
			p.mu.Unlock()
			switch {
			case n == p.pid && ws.Signaled():
				p.exit = Exit{Signal: ws.Signal(), Core: ws.CoreDump()}
			case n == p.pid:
				p.exit = Exit{Code: ws.ExitStatus()}
			case ended:
				p.exit = Exit{Err: err}
			}
			if ended {
				return
			}
			time.Sleep(wait)
		}
	})
	return p.exit
}

// KillTree kills the process group, which is all that can be found here; call it before Wait has returned.
func (p *Process) KillTree(ctx context.Context) error {
	if err := p.SignalGroup(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("cannot kill %q: %w", p.name, err)
	}
	return nil
}

// Means says by what KillTree finds the tree: "group".
func (p *Process) Means() string { return "group" }

// Close lets go of the process.
func (p *Process) Close() error { return nil }

// Subreaper needs Linux.
func Subreaper() error { return errLinux }

// Sweep needs Linux.
func Sweep(ctx context.Context, marker string) (int, error) {
	return 0, fmt.Errorf("cannot sweep: %w", errLinux)
}

// KillDescendants needs Linux.
func KillDescendants(ctx context.Context, spare ...int) error {
	return fmt.Errorf("cannot kill our descendants: %w", errLinux)
}

// Tree needs Linux: it finds nothing here.
func Tree(pid int) []int { return nil }

// Cgroup needs Linux.
func Cgroup(name string) (string, error) { return "", fmt.Errorf("cannot use cgroups: %w", errLinux) }

// LimitMeans says that memory, tasks and cpu of a program cannot be limited here.
func LimitMeans() (memory, tasks, cpu string) { return "", "", "" }

// Shim needs Linux.
func Shim(args []string) int {
	fmt.Fprintf(os.Stderr, "orrery %s: %v\n", Verb, errLinux)
	return 2
}

// Reaper takes the statuses of adopted orphans; there are none here.
type Reaper struct{}

// Reap has nothing to do here.
func (r *Reaper) Reap() int { return 0 }

// Run waits until ctx is done.
func (r *Reaper) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Identify needs Linux.
func Identify(pid int) (Identity, error) {
	return Identity{}, fmt.Errorf("cannot identify pid %d: %w", pid, errLinux)
}

// Member needs Linux: nobody is one here.
func Member(pid, root int, marker string) bool { return false }
