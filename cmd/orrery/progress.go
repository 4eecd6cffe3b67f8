package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"orrery/cmd/orrery/term"
	"orrery/runtime/control/api"
)

// endings are the signals that end a verb which looks after none.
func endings() []os.Signal { return []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} }

// stage is what a state means for how far things are.
type stage int

const (
	idle    stage = iota // has not begun, or waits
	working              // is on its way
	there                // is where it is to be, or has ended well
	ill                  // is there, but not as it should be
	broken               // will not come there
)

func stageOf(state string) stage {
	switch state {
	case "starting", "running", "stopping", "reloading", "backoff":
		return working
	case "ready", "listening", "succeeded", "skipped", "scheduled", "exited":
		return there
	case "unhealthy":
		return ill
	case "failed", "gave-up", "blocked", "cancelled":
		return broken
	}
	return idle
}

// The states that are counted by themselves.
const (
	countOther = iota
	countReady
	countListening
	countScheduled
	countDone // by a task
	countKinds
)

func kindOf(state string) int {
	switch state {
	case "ready":
		return countReady
	case "listening":
		return countListening
	case "scheduled":
		return countScheduled
	case "succeeded", "skipped":
		return countDone
	}
	return countOther
}

// tracked is one node as its events tell.
type tracked struct {
	name, state string
	since       time.Time // of the state
	why         string
	lacks       *tracked // the node that it waits for
	blocks      int      // how many wait for it
	busy        int      // its place among those that are worked on or ill; -1: not there
	cached      bool
}

// progress knows how far nodes are, from their events. Safe for concurrent use.
type progress struct {
	mu     sync.Mutex
	began  time.Time
	turn   time.Time // when the work began that is not done yet
	hint   string
	clean  int  // nodes beside these that are as they should be
	serves bool // it stays when all is there, as services do
	ending time.Time
	order  []string
	nodes  map[string]*tracked
	stages [broken + 1]int
	states [countKinds]int
	cached int
	busy   []*tracked // those that are worked on, or ill
}

// newProgress is that of nodes of which nothing is known yet.
func newProgress(names []string) *progress {
	p := &progress{began: time.Now(), turn: time.Now(), order: names, nodes: make(map[string]*tracked, len(names))}
	all := make([]tracked, len(names))
	for i, name := range names {
		all[i].name, all[i].state, all[i].busy = name, "down", -1
		p.nodes[name] = &all[i]
	}
	p.stages[idle] = len(names)
	return p
}

// seed takes in what nodes are at now.
func (p *progress) seed(st api.Status) {
	now := time.Now()
	for _, n := range st.Nodes {
		since := n.StartedAt
		if since.IsZero() || since.After(now) {
			since = now
		}
		p.event(api.Event{Time: since, Node: n.Name, State: n.State, Text: n.Reason})
	}
}

// event takes in what has happened; false: to none of these nodes.
func (p *progress) event(ev api.Event) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.nodes[ev.Node]
	if n == nil {
		return false
	}
	if n.lacks != nil {
		n.lacks.blocks--
		n.lacks = nil
	}
	if ev.State == "waiting" {
		if rest, ok := strings.CutPrefix(ev.Text, "waits for "); ok {
			if on, _, ok := strings.Cut(rest, " to be "); ok {
				if n.lacks = p.nodes[on]; n.lacks != nil {
					n.lacks.blocks++
				}
			}
		}
	}
	n.why = ev.Text
	if ev.State != n.state {
		settled := p.settled()
		p.move(n, ev.State)
		n.since = ev.Time
		if settled && !p.settled() {
			p.turn = ev.Time
		}
	}
	if cached := ev.State == "succeeded" && (ev.Text == "cached" || ev.Task != nil && ev.Task.Cached); cached != n.cached {
		n.cached = cached
		if cached {
			p.cached++
		} else {
			p.cached--
		}
	}
	return true
}

// settled reports whether nothing is on its way.
func (p *progress) settled() bool { return p.stages[idle]+p.stages[working] == 0 }

func (p *progress) move(n *tracked, state string) {
	was, is := stageOf(n.state), stageOf(state)
	p.stages[was]--
	p.stages[is]++
	p.states[kindOf(n.state)]--
	p.states[kindOf(state)]++
	n.state = state
	switch busy := is == working || is == ill; {
	case busy && n.busy < 0:
		n.busy = len(p.busy)
		p.busy = append(p.busy, n)
	case !busy && n.busy >= 0: // the last one takes its place
		last := len(p.busy) - 1
		p.busy[n.busy] = p.busy[last]
		p.busy[n.busy].busy = n.busy
		p.busy, n.busy = p.busy[:last], -1
	}
}

// end says that all is to stop now.
func (p *progress) end(hint string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ending, p.hint = time.Now(), hint
}

const (
	mostRows    = 64 // rows of a board; beyond it they are counted
	mostWaiting = 8  // of these that merely wait, when nothing else can be shown
)

// board is how far things are; nil when there is nothing to tell.
func (p *progress) board() *term.Board {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ending.IsZero() {
		return p.leaving()
	}
	b := &term.Board{Began: p.began, Hint: p.hint}
	if p.settled() {
		if !p.serves {
			return nil
		}
		b.Calm = true
		b.Counts = count(b.Counts, p.states[countReady], "ready")
		b.Counts = count(b.Counts, p.states[countListening], "listening")
		b.Counts = count(b.Counts, p.stages[ill], "unhealthy")
		b.Counts = count(b.Counts, p.states[countScheduled], "scheduled")
		b.Counts = count(b.Counts, p.states[countDone], "done")
		b.Counts = count(b.Counts, p.stages[broken], "failed")
	} else {
		b.Began = p.turn
		b.Total = len(p.nodes) + p.clean
		b.Done = b.Total - p.stages[idle] - p.stages[working]
		b.Counts = count(b.Counts, p.stages[working], "running")
		b.Counts = count(b.Counts, p.cached+p.clean, "cached")
		b.Counts = count(b.Counts, p.stages[broken], "failed")
		b.Counts = count(b.Counts, p.stages[idle], "waiting")
	}
	p.rows(b, p.busy)
	if len(b.Rows) == 0 && p.stages[idle] > 0 { // then why nothing moves
		var waiting []*tracked
		for _, name := range p.order {
			if n := p.nodes[name]; n.why != "" && stageOf(n.state) == idle && len(waiting) < mostWaiting {
				waiting = append(waiting, n)
			}
		}
		p.rows(b, waiting)
	}
	return b
}

// leaving is the board of a stop: who is stopping, and how many are left.
func (p *progress) leaving() *term.Board {
	left := p.stages[working] + p.stages[ill] + p.states[countReady] + p.states[countListening]
	if left == 0 {
		return nil
	}
	b := &term.Board{Title: "stopping", Began: p.ending, Hint: p.hint, Counts: count(nil, left, "left")}
	p.rows(b, p.busy)
	return b
}

// rows are those of some nodes, the ones that have been at it longest if there
// are many.
func (p *progress) rows(b *term.Board, nodes []*tracked) {
	all := slices.SortedFunc(slices.Values(nodes), func(a, b *tracked) int { return cmp.Or(a.since.Compare(b.since), strings.Compare(a.name, b.name)) })
	for i, n := range all {
		if i == mostRows {
			b.More = len(all) - i
			return
		}
		row := term.Row{Name: n.name, Color: nameColor(n.name), State: strings.ReplaceAll(n.state, "-", " "), Since: n.since, Blocks: n.blocks}
		if n.why != n.state {
			row.Why = n.why
		}
		b.Rows = append(b.Rows, row)
	}
}

func count(parts []string, n int, what string) []string {
	if n > 0 {
		parts = append(parts, fmt.Sprintf("%d %s", n, what))
	}
	return parts
}
