// Package keeper is the small process that owns what must outlive the engine, and the engine's side of talking to it.
//
// `orrery __keeper` ([Main]) is the parent of the engine and of everything that the engine starts. It holds exit statuses
// until the engine has taken note of them, and, in memory, whatever the engine puts: its state, listening sockets, both ends
// of log pipes. It decides nothing. The engine can be killed at any instant: the keeper starts another one, which is given all
// of that by [Connect] and goes on. So an engine is stateless in the sense that counts, and nothing is restarted because of it.
//
// Promised:
//   - Every process has a key that the engine chose. There is never a second process under one key until [Process.Close]:
//     an engine that died between asking for a process and writing it down finds it under its key.
//   - A request is carried out completely or not at all, and all of a dead engine's before its successor is told the state.
//   - Put replaces at once: after a kill there is the old item or the new one.
//   - When an engine ends with code 0 nobody is left below the keeper, and it ends too.
//   - A malformed request ends the engine that made it, never the keeper. A stopped engine stops only itself.
//   - When the keeper dies, [Client.Lost] tells the engine at once, and [Client.Sweep] finds everybody by the marker.
//
// Left to others: which process to start again, in which order to stop, what an item means; and files: the keeper has none.
//
// Linux is the platform. Elsewhere the engine is started without a keeper, by the same functions: it owns its processes,
// nothing is restored after its death, and Lost never tells anything.
package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Verb is the hidden verb under which our own binary is the keeper: main calls [Main] when it is the first argument.
const Verb = "__keeper"

// FD is the descriptor under which an engine finds its end of the socket for [Connect].
const FD = 3

// Orders are what a keeper is told at its start, and what it starts each engine with.
type Orders struct {
	// Args are the arguments of the engine, which is our own binary: such as "__engine".
	Args []string
	// Stdin is what every engine reads on its standard input.
	Stdin []byte
	// Dir is the working directory of keeper and engines; empty: that of the starter.
	Dir string
	// Log is the file to which the standard output and error of keeper and engines are appended; it is made with mode 0600.
	Log string
	// Run begins the marker of everything that engines start: "RUN/...". An engine learns it by [Client.Run].
	Run string
	// Grace is the time between SIGTERM and SIGKILL when the keeper gives up and stops the processes itself; 0: 10 s.
	Grace time.Duration
}

// defaultGrace is for Orders without one, and for an engine that lets go of the keeper without ending.
const defaultGrace = 10 * time.Second

// ErrRefused says that the engine ended by [Client.Refuse]; the verdict that comes with it says why.
var ErrRefused = errors.New("the engine refused to start")

// ErrLost says that the keeper is gone.
var ErrLost = errors.New("the keeper is gone")

// ErrKey says that the key is taken: its process runs, or has ended and was not closed.
var ErrKey = errors.New("there is a process under this key")

// The first byte of what the starter is answered.
const (
	served  = '+'
	refused = '-'
)

// Start starts a keeper with an engine below it, in a session of its own, and waits until the engine has said that it serves.
// The verdict is what it said, unchanged; the error is ErrRefused when it said so by Refuse. After any other error there is no
// keeper; an end of ctx asks it to stop. The keeper does not depend on the starter in any way once Start has returned.
//
// As a side effect, every descriptor of ours from 3 up is marked close-on-exec.
func Start(ctx context.Context, o Orders) (verdict []byte, err error) {
	cmd, err := command(o)
	if err != nil {
		return nil, fmt.Errorf("cannot start the keeper: %w", err)
	}
	defer cmd.Stdin.(*os.File).Close()
	log, err := os.OpenFile(o.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot start the keeper: %w", err)
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("cannot start the keeper: %w", err)
	}
	defer r.Close()
	cmd.Args[0] = "orrery"
	cmd.Dir, cmd.Stdout, cmd.Stderr = o.Dir, log, log
	cmd.ExtraFiles = []*os.File{w} // FD
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	seal()
	err = cmd.Start()
	w.Close()
	if err != nil {
		return nil, fmt.Errorf("cannot start the keeper: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	stop := context.AfterFunc(ctx, func() {
		cmd.Process.Signal(syscall.SIGTERM)
		r.SetReadDeadline(time.Now())
	})
	defer stop()
	answer, err := io.ReadAll(r)
	switch {
	case len(answer) > 0 && answer[0] == served:
		return answer[1:], nil
	case len(answer) > 0 && answer[0] == refused:
		<-ended
		return answer[1:], ErrRefused
	case ctx.Err() != nil:
		return nil, fmt.Errorf("cannot wait for the engine: %w", ctx.Err())
	case err != nil:
		cmd.Process.Signal(syscall.SIGTERM)
		return nil, fmt.Errorf("cannot wait for the engine: %w", err)
	}
	<-ended
	return nil, fmt.Errorf("the engine ended before it served; see %s", o.Log)
}

// self is a command of our own binary with some input.
func self(exe string, in []byte, args ...string) (*exec.Cmd, error) {
	stdin, err := memory("orders", in)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe, args...)
	cmd.Stdin = stdin
	return cmd, nil
}

// Item is what an engine put under a key.
type Item struct {
	// Key is its key.
	Key string
	// Blob are its bytes.
	Blob []byte
	// Files are its descriptors, in the order of Put; after Connect they are the engine's to close.
	Files []*os.File
}

// State is what an engine finds when it connects. Empty for the first one.
type State struct {
	// Items are all items, in no order.
	Items []Item
	// Processes are all that were started and not closed, in the order of their start, with those that have ended meanwhile.
	Processes []*Process
}
