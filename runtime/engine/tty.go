package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"orrery/runtime/control"
	"orrery/runtime/control/api"
)

// terminal is our end of the terminal of one instance. What the program writes
// to it goes into the pipe of its log, from where attached clients read it, too:
// however slowly they do, it holds up nobody.
type terminal struct {
	file  *os.File
	ended chan struct{} // the program has let go of its end
	write sync.Mutex    // input of several clients, a piece at a time
}

// holder is a process that may have a terminal.
type holder interface{ TTY() *os.File }

// openTerminal begins to read the terminal of an instance, if it has one. It is
// called by the loop.
func (e *Engine) openTerminal(n *node, in *instance) {
	h, ok := in.proc.(holder)
	if !ok || h.TTY() == nil {
		return
	}
	if n.svc.out == nil || n.svc.out.stdout == nil {
		return
	}
	f, err := pollable(h.TTY())
	if err != nil {
		e.publish(n, n.show.State, fmt.Sprintf("cannot read its terminal: %v", err))
		return
	}
	t := &terminal{file: f, ended: make(chan struct{})}
	in.launch.tty = t
	to := n.svc.out.stdout
	go func() {
		defer close(t.ended)
		if err := pump(t.file, to); err != nil {
			e.post(func() { e.publish(n, n.show.State, fmt.Sprintf("cannot read its terminal: %v", err)) })
		}
	}()
}

// hangUp is how long the last words of a program may take through its terminal.
const hangUp = 250 * time.Millisecond

// drain waits until what the ended program has written is in the pipe. Somebody
// else who holds the terminal keeps nobody waiting.
func (t *terminal) drain() {
	if t == nil {
		return
	}
	select {
	case <-t.ended:
	case <-time.After(hangUp):
	}
}

func (t *terminal) close() {
	if t != nil {
		t.file.Close()
	}
}

// errDeaf says that a program does not read its terminal.
var errDeaf = errors.New("it does not read its input")

// patience is how long a program may take to read what was typed.
const patience = 5 * time.Second

// input writes what was typed, or gives up when the program does not read.
func (t *terminal) input(ctx context.Context, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	t.write.Lock()
	defer t.write.Unlock()
	t.file.SetWriteDeadline(time.Now().Add(patience))
	cut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(cut); t.file.SetWriteDeadline(time.Unix(1, 0)) })
	_, err := t.file.Write(data)
	if !stop() {
		<-cut // else it would cut the next one's
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errDeaf
	}
	return err
}

// resize gives the terminal a size; 0 leaves it.
func (t *terminal) resize(rows, cols int) error {
	if rows <= 0 || cols <= 0 {
		return nil
	}
	c, err := t.file.SyscallConn()
	if err != nil {
		return err
	}
	cerr := c.Control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(cols)})
	})
	return errors.Join(err, cerr)
}

// attachTo tells a client about the terminal of a service, and passes on what it
// typed there. A service without one has output only.
func (e *Engine) attachTo(ctx context.Context, p api.Attach) (api.Attached, error) {
	var a api.Attached
	var t *terminal
	var failed error
	err := e.call(func() {
		nodes, err := e.named([]string{p.Name})
		switch {
		case err != nil:
			failed = err
			return
		case len(nodes) != 1 || nodes[0].svc == nil:
			failed = &control.Error{Code: control.CodeBadRequest, Message: "cannot attach to " + p.Name + ": got a task or several nodes, want one service", Hint: "orrery logs -f " + p.Name}
			return
		}
		n := nodes[0]
		a = api.Attached{Name: n.name(), State: n.show.State, TTY: n.def.Service.TTY, Seq: e.log.seq}
		if in := n.svc.instances[n.svc.state.Main.ID]; in != nil {
			a.PID, t = in.pid, in.launch.tty
		}
	})
	if err := errors.Join(err, failed); err != nil {
		return a, err
	}
	if t == nil {
		if len(p.Data) > 0 {
			return a, &control.Error{Code: control.CodeFailed, Message: a.Name + " takes no input: it is " + a.State + " or has no terminal"}
		}
		return a, nil
	}
	if err := t.resize(p.Rows, p.Cols); err != nil && !errors.Is(err, os.ErrClosed) {
		return a, &control.Error{Code: control.CodeFailed, Message: fmt.Sprintf("cannot resize the terminal of %s: %v", a.Name, err)}
	}
	if err := t.input(ctx, p.Data); err != nil {
		return a, &control.Error{Code: control.CodeFailed, Message: fmt.Sprintf("cannot write to the terminal of %s: %v", a.Name, err)}
	}
	return a, nil
}
