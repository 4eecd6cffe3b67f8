package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"orrery/cmd/orrery/term"
	"orrery/runtime/control/api"
	"orrery/runtime/logs"
)

// screen is the plain scrolling stream: log lines on stdout as `name | line`,
// our own lines on stderr. Safe for concurrent use.
type screen struct {
	app      *app
	outStyle term.Style
	errStyle term.Style
	github   bool
	mu       sync.Mutex
	width    int
	out      io.Writer // where the output of nodes goes
	err      io.Writer
	began    time.Time
	since    map[string]time.Time // when each node began what it is at
	told     map[string]bool      // root causes for which it was said that something did not start
	// last writes the end of what a task has printed that ran in this process, false if nothing; nil: none did.
	last func(w io.Writer, node string) bool
}

func newScreen(a *app, names []string) *screen {
	s := &screen{app: a, github: onGitHub(), out: a.stdout(), err: a.stderr(), outStyle: a.styleOf(os.Stdout), errStyle: a.styleOf(os.Stderr), since: map[string]time.Time{}, told: map[string]bool{}, began: time.Now()}
	if a.json { // then standard output is for that alone
		s.out, s.outStyle = s.err, s.errStyle
	}
	for _, name := range names {
		s.width = min(max(s.width, term.Width(name)), 24)
	}
	return s
}

// name is that of a node in its column, for stderr.
func (s *screen) name(name string) string {
	return s.errStyle.Paint(nameColor(name), term.Pad(name, s.width))
}

// line shows one line of a node's output.
func (s *screen) line(l logs.Line) {
	if l.Mark != "" && l.Mark != logs.Dropped {
		return
	}
	text := logs.Sanitise(l.Text)
	if l.Mark == logs.Dropped {
		text = s.outStyle.Paint(yellow, "["+string(l.Text)+"]")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.github && isCommand(text) {
		defer shield(s.out)()
	}
	io.WriteString(s.out, s.prefixOf(l.Node)+text+"\n")
}

// prefixOf is what begins each line that a node has printed.
func (s *screen) prefixOf(node string) string {
	return s.outStyle.Paint(nameColor(node), term.Pad(node, s.width)) + " | "
}

// own shows one of our lines about a node.
func (s *screen) own(mark, color, node, text string) {
	if s.app.quiet && color != red {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.err, "%s %s %s\n", s.errStyle.Paint(color, mark), s.name(node), text)
}

// follow shows what the nodes print from now on, until the returned function is
// called, which first shows what is there by then.
func (s *screen) follow(store *logs.Store, names []string) (finish func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	at, since := logs.Cursor{}, time.Now()
	show := func(l logs.Line) bool {
		at.Advance(l)
		s.line(l)
		return true
	}
	go func() {
		defer close(ended)
		if err := store.Read(ctx, logs.Query{Nodes: names, Follow: true, Tail: -1}, show); err != nil && ctx.Err() == nil {
			s.app.say("cannot read the logs: %v", err)
		}
	}()
	return func() {
		cancel()
		<-ended
		// What it had not come to yet; in streams it had not begun, what is new.
		if err := store.Read(context.Background(), logs.Query{Nodes: names, Since: since, From: at}, show); err != nil {
			s.app.say("cannot read the logs: %v", err)
		}
	}
}

// event shows a change of state.
func (s *screen) event(ev api.Event) {
	if ev.Node == "" {
		s.own("·", bold, "orrery", ev.Text)
		return
	}
	if isNews(ev) {
		s.own("·", bold, ev.Node, ev.Text)
		return
	}
	if isNote(ev) {
		s.own("!", yellow, ev.Node, ev.Text)
		return
	}
	took := s.took(ev)
	delete(s.told, ev.Node)
	switch ev.State {
	case "ready":
		if ev.From == "reloading" {
			s.own("✓", green, ev.Node, "reloaded")
			return
		}
		s.own("✓", green, ev.Node, "ready"+took)
	case "listening":
		s.own("✓", green, ev.Node, "listening")
	case "succeeded":
		s.own("✓", green, ev.Node, join("done"+took, ev.Text))
	case "skipped":
		s.own("✓", dim, ev.Node, join("skipped", ev.Text))
	case "starting", "running":
		if ev.From != ev.State || s.app.verbose {
			s.own("·", dim, ev.Node, join(ev.State, ev.Text))
		}
	case "failed", "gave-up":
		s.own("✗", red, ev.Node, join(strings.ReplaceAll(ev.State, "-", " "), ev.Text))
	case "blocked": // the report counts them
		if root := ev.Cause; root == "" || !s.told[root] || s.app.verbose {
			s.told[root] = true
			s.own("✗", red, ev.Node, ev.Text)
		}
	case "exited":
		mark, color := "·", dim
		if ev.Exit != nil && (ev.Exit.Code != 0 || ev.Exit.Signal != "") {
			mark, color = "✗", red
		}
		s.own(mark, color, ev.Node, join("ended", ev.Text))
	case "backoff", "unhealthy":
		s.own("!", yellow, ev.Node, join(ev.State, ev.Text))
	case "scheduled":
		s.own("·", dim, ev.Node, ev.Text)
	case "stopping", "waiting":
		if s.app.verbose || ev.State == "stopping" && ev.Text != "" {
			s.own("·", dim, ev.Node, join(ev.State, ev.Text))
		}
	case "down":
		if ev.From != "waiting" && ev.From != "blocked" && ev.From != "scheduled" && !ofTask(ev.From) {
			s.own("·", dim, ev.Node, join("stopped", ev.Text))
		}
	}
}

// ofTask reports whether a state is one that only tasks have.
func ofTask(state string) bool {
	switch state {
	case "running", "succeeded", "skipped", "failed", "cancelled":
		return true
	}
	return false
}

// isNews tells why a task runs again, or that a run of its schedule was left out.
func isNews(ev api.Event) bool {
	if ev.From != ev.State || ev.Text == "" {
		return false
	}
	return ev.State == "running" || ev.State == "waiting" || ofTask(ev.State) && ev.Cause != ""
}

// isNote tells the warnings about a task that has ended: what is wrong with the
// cache, what it touches and does not declare.
func isNote(ev api.Event) bool {
	switch ev.State {
	case "succeeded", "failed", "skipped", "cancelled":
		return ev.From == ev.State && ev.Text != ""
	}
	return false
}

// took is " in 1.2 s" at the end of what a node was at, from its events; it is
// only called by the goroutine that receives them.
func (s *screen) took(ev api.Event) string {
	switch ev.State {
	case "starting", "running":
		if ev.From != ev.State {
			s.since[ev.Node] = ev.Time
		}
	case "ready", "succeeded":
		if t, ok := s.since[ev.Node]; ok && (ev.From == "starting" || ev.From == "running") {
			return " in " + seconds(ev.Time.Sub(t))
		}
	}
	return ""
}

func join(state, text string) string {
	if text == "" || text == state {
		return state
	}
	return state + ": " + text
}

// summary is the line that ends a start: "5 ready in 0.9 s".
func (s *screen) summary(st api.Status) {
	ready, listening, done, skipped, scheduled := 0, 0, 0, 0, 0
	for _, n := range st.Nodes {
		switch n.State {
		case "ready", "unhealthy", "reloading":
			ready++
		case "listening":
			listening++
		case "succeeded":
			done++
		case "skipped":
			skipped++
		case "scheduled":
			scheduled++
		}
	}
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{ready, "ready"}, {listening, "listening"}, {done, "done"}, {skipped, "skipped"}, {scheduled, "scheduled"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.app.quiet {
		return
	}
	fmt.Fprintf(s.err, "%s in %s\n", s.errStyle.Paint(bold, strings.Join(parts, ", ")), seconds(time.Since(s.began)))
	for _, n := range st.Nodes {
		for _, label := range slices.Sorted(maps.Keys(n.Links)) {
			fmt.Fprintf(s.err, "  %s %s %s\n", s.name(n.Name), label, s.errStyle.Link(n.Links[label], n.Links[label]))
		}
	}
}
