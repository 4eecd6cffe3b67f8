package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mattn/go-isatty"

	"orrery/cmd/orrery/term"
	"orrery/runtime/control"
	"orrery/runtime/control/api"
)

// outlets are our two streams, beside a footer if there is one.
type outlets struct {
	screen atomic.Pointer[term.Screen] // of the footer that is shown; nil: none
	wrote  atomic.Int64                // when something was last written, in nanoseconds of Unix time
}

// end takes the footer away, if there is one: also when we panic.
func (o *outlets) end() {
	if s := o.screen.Swap(nil); s != nil {
		s.Close()
	}
}

// outletOf is one of the streams.
type outletOf struct {
	*outlets
	file     *os.File
	terminal bool // where a footer is, it is on the same one
}

// Write writes above the footer what goes to the terminal that has one.
func (o outletOf) Write(b []byte) (int, error) {
	o.wrote.Store(time.Now().UnixNano())
	if s := o.screen.Load(); s != nil && (o.terminal) {
		return s.Write(b)
	}
	return o.file.Write(b)
}

// stdout and stderr are where everything goes that may come while a footer is
// shown. Safe for concurrent use.
func (a *app) stdout() io.Writer { return a.outlet(os.Stdout) }
func (a *app) stderr() io.Writer { return a.outlet(os.Stderr) }

func (a *app) outlet(f *os.File) io.Writer {
	if a.outlets == nil {
		return f
	}
	return outletOf{a.outlets, f, f == os.Stderr || isatty.IsTerminal(f.Fd())}
}

// surroundings are what decides whether there is a footer.
type surroundings struct {
	ui           string // --ui, or ""
	quiet, json  bool
	terminal     bool // stderr is one
	dumb, ci     bool
	outTerminal  bool // stdout is the same one
	outElsewhere bool // stdout is a file, or /dev/null: nobody writes to our terminal what goes there
}

// footed decides whether there is a footer. Not where another program may write
// to the same terminal what we print, as tee does; with --json that has nothing
// to print before the end.
func (s surroundings) footed() bool {
	switch {
	case s.quiet, !s.terminal, s.dumb, s.ui == "plain", s.ui == "none":
		return false
	case s.ci && s.ui != "stream":
		return false
	}
	return s.outTerminal || s.outElsewhere || s.json
}

func (a *app) surroundings(ui string) surroundings {
	s := surroundings{ui: ui, quiet: a.quiet, json: a.json, terminal: isatty.IsTerminal(os.Stderr.Fd()), dumb: dumb(os.Getenv), ci: inCI()}
	if !s.terminal {
		return s
	}
	out, oerr := os.Stdout.Stat()
	errs, eerr := os.Stderr.Stat()
	if oerr != nil || eerr != nil {
		return s
	}
	s.outTerminal = isatty.IsTerminal(os.Stdout.Fd()) && os.SameFile(out, errs)
	s.outElsewhere = out.Mode().IsRegular() || out.Mode()&os.ModeCharDevice != 0 && !isatty.IsTerminal(os.Stdout.Fd())
	return s
}

// live shows how far something is while it lasts: by a footer on a terminal, by
// a line after a long silence elsewhere, not at all with -q.
type live struct {
	app    *app
	board  func() *term.Board
	screen *term.Screen // nil: no footer
	stop   chan struct{}
	ended  chan struct{}
	close  sync.Once
}

// liveOptions are those of a live.
type liveOptions struct {
	ui    string      // --ui, or ""
	fatal []os.Signal // see term.Options
}

// follow shows a board, which nil may stand for when there is nothing to tell.
// The caller must end it. Only one may be shown at a time.
func (a *app) follow(o liveOptions, board func() *term.Board) *live {
	l := &live{app: a, board: board, stop: make(chan struct{}), ended: make(chan struct{})}
	if a.surroundings(o.ui).footed() {
		l.screen = term.Open(os.Stderr, term.Options{Style: a.styleOf(os.Stderr), Footer: l.lines, Fatal: o.fatal})
		a.outlets.screen.Store(l.screen)
		close(l.ended)
		return l
	}
	a.outlets.wrote.Store(time.Now().UnixNano())
	go l.beat()
	return l
}

func (l *live) lines(size term.Size, now time.Time) []term.Line {
	b := l.board()
	if b == nil {
		return nil
	}
	return b.Lines(size, now)
}

// changed says that the board has changed. Safe on nil, as end is.
func (l *live) changed() {
	if l != nil && l.screen != nil {
		l.screen.Changed()
	}
}

// footed says that there is a footer, which shows what lines would.
func (l *live) footed() bool { return l.screen != nil }

// end takes it away. Harmless twice.
func (l *live) end() {
	if l == nil {
		return
	}
	l.close.Do(func() {
		close(l.stop)
		if l.screen != nil {
			l.screen.Close()
			l.app.outlets.screen.Store(nil)
		}
		<-l.ended
	})
}

// heartbeatVar is how long nothing may be said before a line tells what is
// waited for, where there is no footer; 0 for ever.
const heartbeatVar = "ORRERY_HEARTBEAT"

// heartbeatTime is the silence before the first heartbeat.
const heartbeatTime = 30 * time.Second

func (a *app) heartbeat() time.Duration {
	v := os.Getenv(heartbeatVar)
	switch v {
	case "":
		return heartbeatTime
	case "0":
		return 0
	}
	d, err := waitTime(v)
	if err != nil {
		a.say("%s: %v", heartbeatVar, err)
		return heartbeatTime
	}
	return d
}

// nextBeat is when the heartbeat after n of them is due, the last of which was
// at said: each silence is twice as long as the one before.
func nextBeat(every time.Duration, wrote, said time.Time, n int) time.Time {
	if n == 0 {
		return wrote.Add(every)
	}
	return said.Add(every << min(n, 6))
}

// beat says after a long silence what is waited for.
func (l *live) beat() {
	defer close(l.ended)
	every := l.app.heartbeat()
	if l.app.quiet || every == 0 {
		return
	}
	said, n := time.Time{}, 0
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-timer.C:
		}
		now := time.Now()
		wrote := time.Unix(0, l.app.outlets.wrote.Load())
		if wrote.After(said) {
			n = 0
		}
		if due := nextBeat(every, wrote, said, n); now.Before(due) {
			timer.Reset(due.Sub(now))
			continue
		}
		if b := l.board(); b != nil && !b.Calm {
			fmt.Fprintf(os.Stderr, "waiting: %s\n", b.Text(now))
		}
		said = time.Now()
		n++
		timer.Reset(every << min(n, 6))
	}
}

// watchNodes shows how far nodes of an engine are until end is called: those that
// are named, or all that somebody holds. A signal ends the process as if nothing
// was shown.
func (a *app) watchNodes(ctx context.Context, c *control.Client, names []string) (end func()) {
	st, err := statusOf(ctx, c, names)
	if err != nil {
		return func() {} // the caller's own request says why
	}
	var watched []string
	for _, n := range st.Nodes {
		if len(names) > 0 || n.Holders > 0 {
			watched = append(watched, n.Name)
		}
	}
	p := newProgress(watched)
	p.seed(st)
	l := a.follow(liveOptions{fatal: endings()}, p.board)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Stream(ctx, api.MethodEvents, api.Events{Since: st.Seq}, func(raw json.RawMessage) error {
			var ev api.Event
			if err := json.Unmarshal(raw, &ev); err != nil {
				return err
			}
			if p.event(ev) {
				l.changed()
			}
			return nil
		})
	}()
	return func() {
		cancel()
		<-ended
		l.end()
	}
}

// work shows a board of something that is one piece of work rather than nodes,
// such as "checking the cache", and how to say how far it is: of total. A signal
// ends the process as if nothing was shown.
func (a *app) work(title string) (step func(done, total int), end func()) {
	var at atomic.Pointer[[2]int]
	at.Store(&[2]int{})
	began := time.Now()
	l := a.follow(liveOptions{fatal: endings()}, func() *term.Board {
		now := at.Load()
		return &term.Board{Title: title, Began: began, Done: now[0], Total: now[1]}
	})
	return func(done, total int) {
		at.Store(&[2]int{done, total})
		l.changed()
	}, l.end
}
