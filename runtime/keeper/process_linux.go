package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"orrery/runtime/proc"
)

// killTime bounds a KillTree whose context has no end.
const killTime = time.Minute

// Process is a child of the keeper: one that this engine started, or an earlier one. All methods may be called concurrently. A
// signal goes by way of the keeper, which holds the process by a pidfd: it never reaches a stranger.
type Process struct {
	c      *Client
	key    string
	id     proc.Identity
	name   string
	marker string
	cgroup string
	tty    *os.File
	ended  chan struct{} // closed once exit and at are set
	exit   proc.Exit
	at     time.Time
}

// end notes its end, once.
func (p *Process) end(exit proc.Exit, at time.Time) {
	p.exit, p.at = exit, at
	close(p.ended)
}

func (p *Process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// Key is what Spawn was given.
func (p *Process) Key() string { return p.key }

// Name is the Name of its spec.
func (p *Process) Name() string { return p.name }

// Marker is the Marker of its spec.
func (p *Process) Marker() string { return p.marker }

// Pid is its process id, which means nothing after Wait has returned.
func (p *Process) Pid() int { return p.id.Pid }

// Identity names it for records.
func (p *Process) Identity() proc.Identity { return p.id }

// TTY is our end of its terminal, or nil. It is the caller's to read and to close; a later engine is given it again.
func (p *Process) TTY() *os.File { return p.tty }

// Signal sends sig to the main process. After its end the error is os.ErrProcessDone, and nothing else happens.
func (p *Process) Signal(sig syscall.Signal) error { return p.signal(sig, false) }

// SignalGroup sends sig to all of its process group, also when the main process has ended and others of the group remain.
func (p *Process) SignalGroup(sig syscall.Signal) error { return p.signal(sig, true) }

func (p *Process) signal(sig syscall.Signal, group bool) error {
	_, err := p.c.ask(head{Op: opSignal, Key: p.key, Sig: int(sig), Group: group}, nil)
	return err
}

// Wait blocks until the main process has ended, and says how, the same each time; also when that was while no engine lived. When the
// keeper is lost before, its Err is ErrLost.
func (p *Process) Wait() proc.Exit {
	<-p.ended
	return p.exit
}

// Ended is when the main process ended, once Wait has returned.
func (p *Process) Ended() time.Time {
	<-p.ended
	return p.at
}

// KillTree kills the main process and everything that belongs to it, as proc.Process.KillTree does in the keeper: the parent of
// all orphans. It returns when nothing is left; a ctx without a deadline is given a minute.
func (p *Process) KillTree(ctx context.Context) error {
	left := killTime
	if end, ok := ctx.Deadline(); ok {
		left = min(left, max(0, time.Until(end)))
	}
	w := &call{done: make(chan struct{})}
	if err := p.c.send(w, head{Op: opKill, Key: p.key, Wait: left}, nil); err != nil {
		return err
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) { // the keeper says who is left
			select {
			case <-w.done:
			case <-time.After(time.Second):
			}
		}
	}
	select {
	case <-w.done:
		_, err := w.result()
		return err
	default:
		return fmt.Errorf("cannot end all of %q in time: %w", p.name, ctx.Err())
	}
}

// Close gives the key free, for a process that has ended: the keeper forgets its exit status. It is an error while it runs.
// Call it once its end needs no more attention: until then a later engine is told of it again.
func (p *Process) Close() error {
	if _, err := p.c.ask(head{Op: opForget, Key: p.key}, nil); err != nil {
		return err
	}
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if p.c.procs[p.key] == p {
		delete(p.c.procs, p.key)
	}
	return nil
}
