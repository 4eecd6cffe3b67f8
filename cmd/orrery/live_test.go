package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"orrery/cmd/orrery/term"
	"orrery/runtime/control/api"
)

func env(pairs ...string) func(string) string {
	return func(name string) string {
		for _, p := range pairs {
			if k, v, _ := strings.Cut(p, "="); k == name {
				return v
			}
		}
		return ""
	}
}

// The order is --color > NO_COLOR > FORCE_COLOR > terminal, where TERM=dumb and CI are plain.
func TestColored(t *testing.T) {
	for _, row := range []struct {
		when     string
		env      string
		terminal bool
		want     bool
	}{
		{"auto", "TERM=xterm", true, true},
		{"auto", "TERM=xterm", false, false},
		{"auto", "TERM=dumb", true, false},
		{"auto", "", true, false},
		{"auto", "TERM=xterm CI=true", true, false},
		{"auto", "TERM=xterm CI=false", true, true},
		{"auto", "TERM=xterm NO_COLOR=1", true, false},
		{"auto", "NO_COLOR=1 FORCE_COLOR=1", true, false},
		{"auto", "FORCE_COLOR=1 TERM=dumb CI=1", false, true},
		{"auto", "CLICOLOR_FORCE=1", false, true},
		{"auto", "FORCE_COLOR=0 TERM=xterm", false, false},
		{"always", "NO_COLOR=1 TERM=dumb CI=1", false, true},
		{"never", "FORCE_COLOR=1 TERM=xterm", true, false},
	} {
		if got := colored(row.when, env(strings.Fields(row.env)...), row.terminal); got != row.want {
			t.Errorf("--color=%s %s, terminal %v: got %v", row.when, row.env, row.terminal, got)
		}
	}
}

func TestLinked(t *testing.T) {
	for vars, want := range map[string]bool{
		"TERM=xterm-256color": true, "TERM=xterm-kitty": true, "TERM=tmux-256color": true, "TERM=foot": true,
		"TERM=linux": false, "TERM=dumb": false, "TERM=screen": false, "": false, "TERM=xterm CI=1": false,
		"TERM=xterm VTE_VERSION=4803": false, "TERM=xterm VTE_VERSION=7200": true,
		"TERM=linux FORCE_HYPERLINK=1": true, "TERM=xterm FORCE_HYPERLINK=0": false,
	} {
		if got := linked(env(strings.Fields(vars)...), true); got != want {
			t.Errorf("%s: got %v", vars, got)
		}
		if linked(env(strings.Fields(vars)...), false) {
			t.Errorf("%s: links without a terminal", vars)
		}
	}
}

func TestFooted(t *testing.T) {
	on := surroundings{terminal: true, outTerminal: true}
	for name, row := range map[string]struct {
		change func(*surroundings)
		want   bool
	}{
		"a terminal":          {func(*surroundings) {}, true},
		"-q":                  {func(s *surroundings) { s.quiet = true }, false},
		"2>file":              {func(s *surroundings) { s.terminal = false }, false},
		"TERM=dumb":           {func(s *surroundings) { s.dumb = true }, false},
		"CI":                  {func(s *surroundings) { s.ci = true }, false},
		"CI, --ui=stream":     {func(s *surroundings) { s.ci, s.ui = true, "stream" }, true},
		"dumb, --ui=stream":   {func(s *surroundings) { s.dumb, s.ui = true, "stream" }, false},
		"--ui=plain":          {func(s *surroundings) { s.ui = "plain" }, false},
		"--ui=none":           {func(s *surroundings) { s.ui = "none" }, false},
		"| tee":               {func(s *surroundings) { s.outTerminal = false }, false},
		">file":               {func(s *surroundings) { s.outTerminal, s.outElsewhere = false, true }, true},
		"--json | jq":         {func(s *surroundings) { s.outTerminal, s.json = false, true }, true},
		"--json | jq, 2>file": {func(s *surroundings) { s.terminal, s.json = false, true }, false},
	} {
		s := on
		row.change(&s)
		if s.footed() != row.want {
			t.Errorf("%s: got %v", name, !row.want)
		}
	}
}

// The first heartbeat comes after a silence, each further one after twice that.
func TestHeartbeats(t *testing.T) {
	zero := time.Unix(1_800_000_000, 0)
	var got []string
	said := time.Time{}
	for n := range 5 {
		said = nextBeat(30*time.Second, zero, said, n)
		got = append(got, said.Sub(zero).String())
	}
	if want := "30s 1m30s 3m30s 7m30s 15m30s"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func happens(node, from, state, text string) api.Event {
	return api.Event{Time: time.Unix(1_800_000_000, 0), Node: node, From: from, State: state, Text: text}
}

// A board follows from events: counts, who is worked on, and how many wait for it.
func TestProgress(t *testing.T) {
	p := newProgress([]string{"db", "migrate", "api", "web", "lint"})
	p.clean = 2
	text := func() string {
		b := p.board()
		if b == nil {
			return "nothing"
		}
		b.Began = time.Time{}
		return b.Text(time.Unix(1_800_000_005, 0))
	}
	for _, row := range []struct {
		ev   api.Event
		want string
	}{
		{happens("other", "", "running", ""), "[2/7] 2 cached, 5 waiting"},
		{happens("migrate", "down", "waiting", "waits for db to be ready"), "[2/7] 2 cached, 5 waiting: migrate waiting 5 s (waits for db to be ready)"},
		{happens("db", "down", "starting", ""), "[2/7] 1 running, 2 cached, 4 waiting: db starting 5 s (1 waits for it)"},
		{happens("api", "down", "waiting", "waits for migrate to be succeeded"), "[2/7] 1 running, 2 cached, 4 waiting: db starting 5 s (1 waits for it)"},
		{happens("web", "down", "waiting", "waits for db to be ready"), "[2/7] 1 running, 2 cached, 4 waiting: db starting 5 s (2 wait for it)"},
		{happens("lint", "down", "running", ""), "[2/7] 2 running, 2 cached, 3 waiting: db starting 5 s (2 wait for it), lint running 5 s"},
		{happens("lint", "running", "succeeded", "cached"), "[3/7] 1 running, 3 cached, 3 waiting: db starting 5 s (2 wait for it)"},
		{happens("db", "starting", "ready", ""), "[4/7] 3 cached, 3 waiting: migrate waiting 5 s (waits for db to be ready; 1 waits for it), api waiting 5 s (waits for migrate to be succeeded), web waiting 5 s (waits for db to be ready)"},
		{happens("migrate", "waiting", "failed", "exit 3"), "[5/7] 3 cached, 1 failed, 2 waiting: api waiting 5 s (waits for migrate to be succeeded), web waiting 5 s (waits for db to be ready)"},
		{happens("api", "waiting", "blocked", "not started: migrate failed"), "[6/7] 3 cached, 2 failed, 1 waiting: web waiting 5 s (waits for db to be ready)"},
		{happens("web", "waiting", "ready", ""), "nothing"},
	} {
		p.event(row.ev)
		if got := text(); got != row.want {
			t.Errorf("after %s %s:\ngot  %s\nwant %s", row.ev.Node, row.ev.State, got, row.want)
		}
	}
	p.serves = true
	if got := text(); got != "2 ready, 1 done, 2 failed" || !p.board().Calm {
		t.Errorf("got %s", got)
	}
	p.end("^C kills")
	p.event(happens("db", "ready", "stopping", ""))
	if got := p.board(); got.Counts[0] != "2 left" || len(got.Rows) != 1 {
		t.Errorf("got %+v", got)
	}
	p.event(happens("db", "stopping", "down", ""))
	p.event(happens("web", "ready", "down", ""))
	if got := text(); got != "nothing" {
		t.Errorf("got %s", got)
	}
}

// Of thousands that are worked on some are shown, and the rest counted.
func TestProgressOfMany(t *testing.T) {
	var names []string
	for i := range 5000 {
		names = append(names, fmt.Sprintf("n%d", i))
	}
	p := newProgress(names)
	for _, n := range names {
		p.event(happens(n, "down", "running", ""))
	}
	b := p.board()
	if len(b.Rows) != mostRows || b.More != 5000-mostRows {
		t.Errorf("got %d rows and %d more", len(b.Rows), b.More)
	}
	size := term.Size{Cols: 80, Rows: 24}
	lines := b.Lines(size, time.Now())
	if last := lines[len(lines)-1]; last[0].Text != fmt.Sprintf("  and %d more", 5000-(len(lines)-2)) {
		t.Errorf("got %v", last)
	}
}

// A root cause is told once, with those that did not start for it counted.
func TestFaults(t *testing.T) {
	node := func(name, state, reason, cause string) api.NodeStatus {
		return api.NodeStatus{Name: name, State: state, Reason: reason, Cause: cause}
	}
	var got []string
	for _, f := range faults(api.Status{Nodes: []api.NodeStatus{
		node("api", "blocked", "not started: migrate failed (exit 1)", "migrate"),
		node("ok", "ready", "", ""),
		node("migrate", "failed", "exit 1", ""),
		node("web", "blocked", "not started: migrate failed (exit 1)", "migrate"),
		node("cache", "gave-up", "exit 2", ""),
		node("page", "blocked", "not started: cache gave up", "cache"),
		node("lost", "blocked", "not started: elsewhere failed", "elsewhere"),
		node("gone", "blocked", "not started: elsewhere failed", "elsewhere"),
	}}) {
		name := "-"
		if f.node != nil {
			name = f.node.Name
		}
		got = append(got, name+" / "+f.dependents())
	}
	want := []string{
		"migrate / api and 1 more: not started: migrate failed (exit 1)",
		"cache / page: not started: cache gave up",
		"- / lost and 1 more: not started: elsewhere failed",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

// BenchmarkProgress is what an event costs.
func BenchmarkProgress(b *testing.B) {
	p := newProgress([]string{"a", "b"})
	evs := []api.Event{happens("a", "down", "waiting", "waits for b to be ready"), happens("a", "waiting", "running", ""), happens("a", "running", "succeeded", "")}
	for i := 0; b.Loop(); i++ {
		p.event(evs[i%3])
	}
}
