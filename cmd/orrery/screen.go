package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"orrery/runtime/control/api"
	"orrery/runtime/logs"
)

// screen is the plain scrolling stream: log lines on stdout as `name | line`,
// our own lines on stderr. Safe for concurrent use.
type screen struct {
	app    *app
	mu     sync.Mutex
	width  int
	colors map[string]string
	began  time.Time
	since  map[string]time.Time // when each node began what it is at
}

// palette are the colours of names; red is kept for failures.
var palette = [...]string{"36", "33", "32", "35", "34", "96", "93", "92", "95", "94"}

func newScreen(a *app, names []string) *screen {
	s := &screen{app: a, colors: map[string]string{}, since: map[string]time.Time{}, began: time.Now()}
	for i, name := range names {
		s.width = min(max(s.width, len(name)), 24)
		s.colors[name] = palette[i%len(palette)]
	}
	return s
}

func (s *screen) name(name string) string {
	padded := fmt.Sprintf("%-*s", s.width, name)
	if c := s.colors[name]; c != "" && s.app.color() {
		return "\x1b[" + c + "m" + padded + "\x1b[0m"
	}
	return padded
}

// line shows one line of a node's output.
func (s *screen) line(l logs.Line) {
	if l.Mark != "" && l.Mark != logs.Dropped {
		return
	}
	text := logs.Sanitise(l.Text)
	if l.Mark == logs.Dropped {
		text = s.app.paint(yellow, "["+string(l.Text)+"]")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(os.Stdout, "%s | %s\n", s.name(l.Node), text)
}

// own shows one of our lines about a node.
func (s *screen) own(mark, color, node, text string) {
	if s.app.quiet && color != red {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(os.Stderr, "%s %s %s\n", s.app.paint(color, mark), s.name(node), text)
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
	if ev.From == ev.State && ev.Text != "" && (ofTask(ev.State) || ev.State == "waiting") {
		s.own("·", bold, ev.Node, ev.Text) // only the text is news
		return
	}
	took := s.took(ev)
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
	case "blocked":
		s.own("✗", red, ev.Node, ev.Text)
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
	fmt.Fprintf(os.Stderr, "%s in %s\n", s.app.paint(bold, strings.Join(parts, ", ")), seconds(time.Since(s.began)))
	for _, n := range st.Nodes {
		for label, url := range n.Links {
			fmt.Fprintf(os.Stderr, "  %s %s %s\n", s.name(n.Name), label, url)
		}
	}
}

// failures reports what has failed: the root cause first, its last lines, the
// log's path and where to look further; then what it kept from starting.
func (s *screen) failures(st api.Status, store *logs.Store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := os.Stderr
	for _, n := range st.Nodes {
		if !failedState(n) {
			continue
		}
		fmt.Fprintf(w, "\n%s %s\n", s.app.paint(red, "✗"), s.app.paint(bold, join(n.Name+" "+strings.ReplaceAll(n.State, "-", " "), n.Reason)))
		if store == nil {
			continue
		}
		if lastLines(w, store, n.Name, 20) {
			fmt.Fprintf(w, "  log: %s\n  more: orrery logs %s\n", store.Path(n.Name, logs.Stdout), n.Name)
		}
	}
	for _, n := range st.Nodes {
		if n.State == "blocked" {
			fmt.Fprintf(w, "  %s: %s\n", n.Name, n.Reason)
		}
	}
}

func failedState(n api.NodeStatus) bool {
	switch n.State {
	case "failed", "gave-up":
		return true
	case "exited":
		return n.Exit != nil && (n.Exit.Code != 0 || n.Exit.Signal != "") || n.Exit == nil
	}
	return false
}

// lastLines writes the end of a node's output, indented; false if there is none.
func lastLines(w io.Writer, store *logs.Store, node string, n int) bool {
	any := false
	store.Read(context.Background(), logs.Query{Nodes: []string{node}, Tail: n}, func(l logs.Line) bool {
		if l.Node == node && l.Mark == "" {
			any = true
			fmt.Fprintf(w, "  | %s\n", logs.Sanitise(l.Text))
		}
		return true
	})
	return any
}
