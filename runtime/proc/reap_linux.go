package proc

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// Subreaper makes this process the parent of all orphans below it, so that whatever daemonizes stays in our tree.
// The process must then reap them: see [Reaper].
func Subreaper() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// isSubreaper says whether we are one.
func isSubreaper() bool {
	var on int32
	return prctlGet(unix.PR_GET_CHILD_SUBREAPER, &on) == nil && on != 0
}

// Reaper takes the statuses of adopted orphans, and of nobody else: children that were started with it as their
// [Spec].Reaper are left to their Wait. All other children of this process count as orphans, so where a Reaper
// is at work every process must be started through it: not by os/exec. The zero value is ready; so is nil, for no reaper.
type Reaper struct {
	mu  sync.RWMutex // read: a child is being made; written: orphans are being taken
	own sync.Map     // pid -> struct{}
}

// spawn makes a child that no Reap in between can see unknown.
func (r *Reaper) spawn(fork func() (int, error)) (int, error) {
	if r == nil {
		return fork()
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	pid, err := fork()
	if err == nil {
		r.own.Store(pid, struct{}{})
	}
	return pid, err
}

// take is wait4 for one of our own that may have ended. The pid is free for reuse at that moment, so it is forgotten
// under the same lock.
func (r *Reaper) take(pid int, ws *unix.WaitStatus) (int, error) {
	if r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
	}
	for {
		n, err := unix.Wait4(pid, ws, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if r != nil && (n == pid || err != nil) {
			r.own.Delete(pid)
		}
		return n, err
	}
}

func (r *Reaper) forget(pid int) {
	if r != nil {
		r.own.Delete(pid)
	}
}

// Reap takes all orphans that have ended, and says how many. It never blocks.
func (r *Reaper) Reap() int {
	n := 0
	for {
		// Without a zombie there is nothing to look for. WNOWAIT leaves it as it is: it may be one of our own.
		var info unix.Siginfo
		if err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil || info.Signo == 0 {
			return n
		}
		m := r.round()
		if m == 0 {
			return n
		}
		n += m
	}
}

func (r *Reaper) round() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, pid := range children(os.Getpid()) {
		if _, mine := r.own.Load(pid); mine {
			continue
		}
		var ws unix.WaitStatus
		if got, err := unix.Wait4(pid, &ws, unix.WNOHANG, nil); err == nil && got == pid {
			n++
		}
	}
	return n
}

// strangers reports whether this process has a child, living or a zombie, that is not one of our own.
func (r *Reaper) strangers() bool {
	for _, pid := range children(os.Getpid()) {
		if _, mine := r.own.Load(pid); !mine {
			return true
		}
	}
	return false
}

// Run makes this process a subreaper and reaps orphans as they end, until ctx is done.
func (r *Reaper) Run(ctx context.Context) error {
	if err := Subreaper(); err != nil {
		return errors.Join(errors.New("cannot become the parent of orphans"), err)
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, unix.SIGCHLD)
	defer signal.Stop(c)
	for {
		r.Reap()
		select {
		case <-c:
		case <-ctx.Done():
			return nil
		}
	}
}
