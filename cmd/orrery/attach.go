package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"orrery/runtime/control"
	"orrery/runtime/control/api"
	"orrery/runtime/logs"
)

// detachKey is ctrl-]: it ends an attach and is not passed on.
const detachKey = 0x1d

func attachCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "attach NAME",
		Short: "Connect this terminal to that of a running service",
		Long: `Makes your terminal that of a service with tty = True: its last lines first, then
what it prints from now on; what you type goes to it, and its terminal takes the
size of yours. Several can be attached at a time; the last one to change its size
decides it.

ctrl-] detaches: the service goes on. The attach also ends when the service does.

A service without a terminal only shows its output: its input is /dev/null.`,
		Example: `  orrery attach console
  orrery attach web          its output, from the last 10 lines on`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("attach takes the NAME of one service, got %d", len(args))}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return a.attach(c.Context(), args[0]) },
	}
}

// attachment is one terminal that is connected to a service.
type attachment struct {
	app    *app
	place  control.Place
	name   string
	tty    bool // of the service
	screen bool // our stdout is a terminal
	raw    *rawMode
	seq    uint64      // of the last event that is known
	size   chan [2]int // rows, columns to pass on
	typed  chan []byte // input to pass on
	unsent *api.Attach // what a killed engine did not take; only serve uses it
	ended  chan ended  // how the service ended
}

// ended is the state in which a service does not go on by itself.
type ended struct{ state, text string }

func (a *app) attach(ctx context.Context, name string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	place, err := a.barePlace()
	if err != nil {
		return err
	}
	c, err := control.Dial(ctx, place)
	if err != nil {
		return err
	}
	var got api.Attached
	if err := c.Call(ctx, api.MethodAttach, api.Attach{Name: name}, &got); err != nil {
		c.Close()
		return err
	}
	if got.PID == 0 && restful(got.State) {
		c.Close()
		return hinted{fmt.Errorf("cannot attach to %s: it is %s", got.Name, got.State), "orrery start " + got.Name}
	}
	t := &attachment{
		app: a, place: place, name: got.Name, tty: got.TTY, seq: got.Seq,
		screen: isatty.IsTerminal(os.Stdout.Fd()),
		size:   make(chan [2]int, 1), typed: make(chan []byte, 64), ended: make(chan ended, 1),
	}
	sigs := make(chan os.Signal, 8)
	signal.Notify(sigs, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(sigs)
	if t.tty {
		return t.terminal(ctx, c, sigs)
	}
	a.say("%s has no terminal (tty = True): this is its output, input is not passed", t.name)
	go t.serve(ctx, c, t.seq)
	lctx, stop := context.WithCancel(ctx)
	over := make(chan error, 1)
	go func() { over <- t.lines(lctx) }()
	select {
	case err = <-over:
	case sig := <-sigs:
		stop()
		<-over
		err = interruptedBy(sig)
	case e := <-t.ended:
		t.settle()
		stop()
		<-over
		err = t.end(e)
	}
	stop()
	return err
}

// interruptedBy is the way in which an attach ends by a signal: ^C is how one
// leaves.
func interruptedBy(sig os.Signal) error {
	if sig == syscall.SIGINT {
		return nil
	}
	return exitError{exitSignal + int(sig.(syscall.Signal))}
}

// lines shows the output of a service that has no terminal.
func (t *attachment) lines(ctx context.Context) error {
	f := logsFlags{follow: true, tail: followTail}
	store, err := logs.Open(t.place.Logs)
	if err != nil {
		return err
	}
	p := newLogPrinter(t.app, []string{t.name}, []string{t.name}, f)
	err = store.Read(ctx, logs.Query{Nodes: []string{t.name}, Follow: true, Tail: followTail}, p.line)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// terminal connects our terminal until somebody lets go.
func (t *attachment) terminal(ctx context.Context, c *control.Client, sigs <-chan os.Signal) error {
	if t.screen {
		t.app.say("attached to %s; ctrl-] detaches", t.name)
	}
	if isatty.IsTerminal(os.Stdin.Fd()) {
		raw, err := makeRaw(os.Stdin)
		if err != nil {
			return fmt.Errorf("cannot put the terminal into raw mode: %w", err)
		}
		t.raw = raw
		defer raw.restore()
	}
	defer t.watchSize()()
	octx, stop := context.WithCancel(ctx)
	defer stop()
	out := &outlet{to: os.Stdout}
	shown := make(chan error, 1)
	go func() { shown <- t.output(octx, out) }()
	detach := make(chan struct{})
	go t.input(os.Stdin, detach)
	go t.serve(ctx, c, t.seq)
	var err error
	select {
	case <-detach:
		t.note(out, "detached from %s", t.name)
	case sig := <-sigs:
		t.note(out, "detached from %s", t.name)
		err = interruptedBy(sig)
	case e := <-t.ended:
		t.settle()
		stop()
		<-shown
		out.reset()
		err = t.end(e)
	case err = <-shown: // our own end of the screen
	}
	return err
}

// note leaves the screen as a program finds it, and says why we left.
func (t *attachment) note(out *outlet, format string, args ...any) {
	out.reset()
	if t.raw != nil {
		t.raw.restore()
	}
	if t.screen {
		fmt.Fprint(os.Stderr, "\r\n")
	}
	t.app.say(format, args...)
}

// end says how the service ended.
func (t *attachment) end(e ended) error {
	if t.raw != nil {
		t.raw.restore()
	}
	if t.screen {
		fmt.Fprint(os.Stderr, "\r\n")
	}
	t.app.say("%s", join(t.name+" is "+strings.ReplaceAll(e.state, "-", " "), e.text))
	if e.state == "gave-up" {
		return exitError{exitFailed}
	}
	return nil
}

// lastWords is how long what a service has printed may take to reach its log
// after the news of its end.
const lastWords = 100 * time.Millisecond

func (t *attachment) settle() { time.Sleep(lastWords) }

// restful reports whether a service does not go on by itself.
func restful(state string) bool {
	switch state {
	case "down", "exited", "gave-up", "blocked":
		return true
	}
	return false
}

// serve passes input and sizes on and learns of the end, also over the death of
// an engine. It closes the connection.
func (t *attachment) serve(ctx context.Context, c *control.Client, since uint64) {
	for {
		ectx, cancel := context.WithCancel(ctx)
		go t.events(ectx, c, since)
		t.pass(ectx, c)
		cancel()
		c.Close()
		if ctx.Err() != nil {
			return
		}
		var err error
		if c, err = follow(ctx, t.place); err != nil {
			t.over(ended{state: "down", text: "the engine has ended"})
			return
		}
		since = 0
		var got api.Attached
		if c.Call(ctx, api.MethodAttach, api.Attach{Name: t.name}, &got) == nil {
			since = got.Seq
			if got.PID == 0 && restful(got.State) {
				t.over(ended{state: got.State})
			}
		}
	}
}

func (t *attachment) over(e ended) {
	select {
	case t.ended <- e:
	default:
	}
}

// events waits for the end of the service.
func (t *attachment) events(ctx context.Context, c *control.Client, since uint64) {
	c.Stream(ctx, api.MethodEvents, api.Events{Since: since}, func(raw json.RawMessage) error {
		var ev api.Event
		if err := json.Unmarshal(raw, &ev); err != nil {
			return err
		}
		if ev.Node == t.name && restful(ev.State) {
			t.over(ended{ev.State, ev.Text})
		}
		return nil
	})
}

// pass sends what was typed and what size we have, in order, until the
// connection ends.
func (t *attachment) pass(ctx context.Context, c *control.Client) {
	for {
		p := t.unsent
		if p == nil {
			p = &api.Attach{Name: t.name}
			select {
			case p.Data = <-t.typed:
			case s := <-t.size:
				p.Rows, p.Cols = s[0], s[1]
			case <-c.Done():
				return
			case <-ctx.Done():
				return
			}
		}
		t.unsent = p
		err := c.Call(ctx, api.MethodAttach, p, nil)
		var none *control.ErrNoEngine
		if ctx.Err() != nil || errors.As(err, &none) {
			return // the next engine is told again
		}
		t.unsent = nil
		var wire *control.Error
		if errors.As(err, &wire) && len(p.Data) > 0 {
			t.bell()
		}
	}
}

// bell says that what was typed reached nobody: the service is between two
// processes, or does not read.
func (t *attachment) bell() {
	if t.screen {
		os.Stdout.WriteString("\a")
	}
}

// input reads what is typed until the detach key. The end of an input that is
// no terminal ends nothing: a script may have no more to say.
func (t *attachment) input(from io.Reader, detach chan<- struct{}) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		data := buf[:n]
		if t.raw != nil {
			if i := strings.IndexByte(string(data), detachKey); i >= 0 {
				close(detach)
				return
			}
		}
		if n > 0 {
			t.typed <- append([]byte(nil), data...)
		}
		if err != nil {
			if t.raw != nil {
				close(detach) // the terminal is gone
			}
			return
		}
	}
}

// watchSize tells the size of our terminal now and at each change.
func (t *attachment) watchSize() (stop func()) {
	if t.raw == nil {
		return func() {}
	}
	winch := make(chan os.Signal, 1)
	signal.Notify(winch, syscall.SIGWINCH)
	go func() {
		for {
			if rows, cols := t.raw.size(); rows > 0 && cols > 0 {
				select {
				case <-t.size: // the one before has not left yet
				default:
				}
				t.size <- [2]int{rows, cols}
			}
			if _, ok := <-winch; !ok {
				return
			}
		}
	}()
	return func() {
		signal.Stop(winch)
		close(winch)
	}
}
