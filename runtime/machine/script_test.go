package machine

import (
	"strings"
	"testing"
	"time"
)

// line is one event of a script, when it comes, and what must follow.
type line struct {
	at    time.Duration
	event Event
	phase Phase
	acts  string // "" means that it does not matter; "-" means none
}

func ev(kind EventKind) Event         { return Event{Kind: kind} }
func of(kind EventKind, id int) Event { return Event{Kind: kind, Instance: id} }
func exit(id, code int) Event         { return Event{Kind: EventExited, Instance: id, Code: code} }
func died(id int, sig string) Event   { return Event{Kind: EventExited, Instance: id, Signal: sig} }
func ran(kind TimerKind) Event        { return Event{Kind: EventTimer, Timer: Timer{Kind: kind}} }
func ok(id int, p Probe) Event        { return Event{Kind: EventProbeOK, Instance: id, Probe: p} }
func bad(id int, p Probe) Event {
	return Event{Kind: EventProbeFailed, Instance: id, Probe: p, Text: "503"}
}
func with(e Event, f func(e *Event)) Event { f(&e); return e }
func text(e Event, t string) Event         { e.Text = t; return e }
func extend(id int, d time.Duration) Event { return Event{Kind: EventExtend, Instance: id, For: d} }
func policy(change func(p *Policy)) Policy { p := representative(); change(&p); return p }
func plain(change func(p *Policy)) Policy {
	p := Policy{Stop: Stop{Timeout: 10 * sec}, Restart: representative().Restart}
	change(&p)
	return p
}

// started is the beginning of most scripts for a plain policy.
var started = []line{
	{0, ev(EventStart), Starting, "spawn 1"},
	{0, of(EventSpawned, 1), Ready, ""},
}

func script(begin []line, rest ...line) []line { return append(append([]line{}, begin...), rest...) }

func TestScripts(t *testing.T) {
	for _, set := range []map[string]struct {
		policy Policy
		lines  []line
	}{stopScripts(), restartScripts(), readyScripts(), watchdogScripts(), reloadScripts(), overlapScripts()} {
		for name, c := range set {
			t.Run(name, func(t *testing.T) { play(t, c.policy, c.lines) })
		}
	}
}

func play(t *testing.T, p Policy, lines []line) {
	t.Helper()
	var s State
	for n, l := range lines {
		e := l.event
		e.At = l.at
		if e.Kind == EventTimer && e.Timer.Gen == 0 {
			e.Timer = armed(s, e.Timer.Kind)
			if e.Timer.Gen == 0 {
				t.Fatalf("line %d: %s is not armed", n, e.Timer.Kind)
			}
		}
		var acts []Action
		s, acts = Step(&p, s, e)
		got := showAll(acts)
		if s.Phase != l.phase {
			t.Fatalf("line %d (%s): got phase %s, want %s; actions: %s", n, e.Kind, s.Phase, l.phase, got)
		}
		switch {
		case l.acts == "":
		case l.acts == "-":
			if got != "" {
				t.Fatalf("line %d (%s): got %s, want nothing", n, e.Kind, got)
			}
		case strings.HasPrefix(l.acts, "..."):
			if !strings.Contains(got, l.acts[3:]) {
				t.Fatalf("line %d (%s):\ngot  %s\nwant ...%s", n, e.Kind, got, l.acts[3:])
			}
		case got != l.acts:
			t.Fatalf("line %d (%s):\ngot  %s\nwant %s", n, e.Kind, got, l.acts)
		}
	}
}

type scripts = map[string]struct {
	policy Policy
	lines  []line
}

func stopScripts() scripts {
	p := plain(func(*Policy) {})
	return scripts{
		"stop: TERM once, sweep, then stopped": {p, script(started,
			line{sec, ev(EventStop), Stopping, "stop-probe 1; signal 1 TERM; arm grace 10s; became unhealthy 1; became unready 1"},
			line{sec, ev(EventStop), Stopping, "-"},
			line{2 * sec, exit(1, 0), Stopping, "cancel grace; kill-tree 1"},
			line{2 * sec, of(EventTreeGone, 1), Down, "became stopped"},
			line{3 * sec, ev(EventStop), Down, "-"},
		)},
		"stop: ignores TERM, killed at the deadline, stopped all the same": {p, script(started,
			line{0, ev(EventStop), Stopping, ""},
			line{10 * sec, ran(TimerGrace), Stopping, `note "killed: did not stop within 10s"; kill-tree 1`},
			line{10 * sec, died(1, "KILL"), Stopping, "-"},
			line{10 * sec, of(EventTreeGone, 1), Down, "became stopped"},
		)},
		"stop: second ^C kills at once": {p, script(started,
			line{0, ev(EventStop), Stopping, ""},
			line{0, ev(EventStopNow), Stopping, "cancel grace; kill-tree 1"},
			line{0, ev(EventStopNow), Stopping, "-"},
			line{0, of(EventTreeGone, 1), Down, "became stopped"},
		)},
		"stop: by a command": {plain(func(p *Policy) { p.Stop.Command = true }), script(started,
			line{0, ev(EventStop), Stopping, "...stop-command 1; arm grace 10s"},
		)},
		"stop: while the spawn is under way": {p, []line{
			{0, ev(EventStart), Starting, "spawn 1"},
			{0, ev(EventStop), Stopping, "-"},
			{0, of(EventSpawned, 1), Stopping, "signal 1 TERM; arm grace 10s"},
			{0, died(1, "TERM"), Stopping, ""},
			{0, of(EventTreeGone, 1), Down, "became stopped"},
		}},
		"stop now: while the spawn is under way": {p, []line{
			{0, ev(EventStart), Starting, "spawn 1"},
			{0, ev(EventStopNow), Stopping, "-"},
			{0, of(EventSpawned, 1), Stopping, "kill-tree 1"},
			{0, of(EventTreeGone, 1), Down, "became stopped"},
		}},
		"stop: while the spawn fails": {p, []line{
			{0, ev(EventStart), Starting, ""},
			{0, ev(EventStop), Stopping, ""},
			{0, text(of(EventSpawnFailed, 1), "no such file"), Down, "became stopped"},
		}},
		"start while stopping: again once stopped": {p, script(started,
			line{0, ev(EventStop), Stopping, ""},
			line{0, ev(EventStart), Stopping, "-"},
			line{0, exit(1, 0), Stopping, ""},
			line{0, of(EventTreeGone, 1), Starting, "spawn 2"},
		)},
		"restart while stopping, then stop after all": {p, script(started,
			line{0, ev(EventStop), Stopping, ""},
			line{0, ev(EventRestart), Stopping, "-"},
			line{0, ev(EventStop), Stopping, "-"},
			line{0, exit(1, 0), Stopping, ""},
			line{0, of(EventTreeGone, 1), Down, "became stopped"},
		)},
		"STOPPING=1: grace runs, and the end counts as its own": {p, script(started,
			line{0, of(EventStopping, 1), Stopping, "stop-probe 1; arm grace 10s; became unhealthy 1; became unready 1"},
			line{10 * sec, ran(TimerGrace), Stopping, ""},
			line{10 * sec, died(1, "KILL"), Stopping, "-"},
			line{10 * sec, of(EventTreeGone, 1), Starting, `note "restarting (1 of 5): killed: did not stop within 10s"; spawn 2`},
		)},
		"STOPPING=1, then told to stop: one TERM": {p, script(started,
			line{0, of(EventStopping, 1), Stopping, ""},
			line{sec, ev(EventStop), Stopping, "signal 1 TERM; cancel grace; arm grace 10s"},
			line{sec, ev(EventStop), Stopping, "-"},
		)},
	}
}

func restartScripts() scripts {
	crash := func(at time.Duration, id int, after Phase, acts string) []line {
		return []line{
			{at, of(EventSpawned, id), Ready, ""},
			{at, exit(id, 1), Stopping, ""},
			{at, of(EventTreeGone, id), after, acts},
		}
	}
	start := []line{{0, ev(EventStart), Starting, "spawn 1"}}
	backoff := script(start, crash(0, 1, Starting, `note "restarting (1 of 5): exit 1"; spawn 2`)...)
	backoff = append(backoff, crash(0, 2, Backoff, `note "restarting (2 of 5) in 100ms: exit 1"; arm backoff 100ms`)...)
	backoff = append(backoff, line{100 * ms, ran(TimerBackoff), Starting, "spawn 3"})
	backoff = append(backoff, crash(100*ms, 3, Backoff, `note "restarting (3 of 5) in 200ms: exit 1"; arm backoff 200ms`)...)
	backoff = append(backoff, line{300 * ms, ran(TimerBackoff), Starting, "spawn 4"})

	two := func(p *Policy) { p.Restart.Max, p.Restart.Window = 2, sec }
	slide := script(start, crash(0, 1, Starting, "")...)
	for n := 2; n < 12; n++ {
		at := time.Duration(n) * 3 * sec
		slide = append(slide, line{at - 3*sec, of(EventSpawned, n), Ready, ""}, line{at, exit(n, 1), Stopping, ""})
		slide = append(slide, line{at, of(EventTreeGone, n), Starting, ""})
	}

	gaveUp := script(start, crash(0, 1, Starting, "")...)
	gaveUp = append(gaveUp, crash(0, 2, Starting, "")...)
	gaveUp = append(gaveUp, crash(0, 3, GaveUp, `note "gave up: 2 restarts in 60s, last: exit 1"; became gave-up`)...)
	noDelay := plain(func(p *Policy) { p.Restart.Max, p.Restart.Delay = 2, 0 })

	files := script(start)
	for n := 1; n <= 20; n++ {
		files = append(files,
			line{0, of(EventSpawned, n), Ready, ""},
			line{0, text(ev(EventFileChanged), "main.go changed"), Stopping, `...note "restarting: main.go changed"`},
			line{0, exit(n, 0), Stopping, ""},
			line{0, of(EventTreeGone, n), Starting, "..."},
		)
	}
	never := plain(func(p *Policy) { p.Restart.On = RestartNever })
	return scripts{
		"the first restart is immediate, then delay, delay*factor": {plain(func(*Policy) {}), backoff},
		"the window slides: never gives up":                        {plain(func(p *Policy) { two(p); p.Restart.Reset = 2 * sec }), slide},
		"gives up, a file change revives":                          {noDelay, script(gaveUp, line{0, ev(EventFileChanged), Starting, "spawn 4"})},
		"gives up, revived by hand":                                {noDelay, script(gaveUp, line{0, ev(EventRevive), Starting, "spawn 4"})},
		"gives up, restarted by hand":                              {noDelay, script(gaveUp, line{0, ev(EventRestart), Starting, "spawn 4"})},
		"gives up, a cascade does not revive": {noDelay, script(gaveUp,
			line{0, ev(EventDependency), GaveUp, "-"}, line{0, ev(EventStop), Down, "became stopped"})},
		"20 file changes cost nothing": {plain(func(p *Policy) { p.Restart.Max = 1 }), files},
		"a file change ends the back-off": {plain(func(*Policy) {}), script(backoff[:7],
			line{0, ev(EventFileChanged), Starting, "cancel backoff; spawn 3"})},
		"stop ends the back-off": {plain(func(*Policy) {}), script(backoff[:7],
			line{0, ev(EventStop), Down, "cancel backoff; became stopped"})},
		"a stale back-off timer is nothing": {plain(func(*Policy) {}), script(backoff[:8],
			line{0, Event{Kind: EventTimer, Timer: Timer{TimerBackoff, 1}}, Starting, "-"})},
		"never: exit 1 fails":                                 {never, script(start, crash(0, 1, Exited, `note "failed: exit 1"; became failed`)...)},
		"never: exit 0 completes":                             {never, script(started, line{0, exit(1, 0), Stopping, ""}, line{0, of(EventTreeGone, 1), Exited, "became completed"})},
		"on_failure: exit 0 completes":                        {plain(func(*Policy) {}), script(started, line{0, exit(1, 0), Stopping, ""}, line{0, of(EventTreeGone, 1), Exited, "became completed"})},
		"on_failure: INT is in success":                       {plain(func(p *Policy) { p.Success = []string{"INT"} }), script(started, line{0, died(1, "INT"), Stopping, ""}, line{0, of(EventTreeGone, 1), Exited, "became completed"})},
		"on_failure: the stop signal from elsewhere is clean": {plain(func(*Policy) {}), script(started, line{0, died(1, "TERM"), Stopping, ""}, line{0, of(EventTreeGone, 1), Exited, "became completed"})},
		"on_failure: SEGV is not":                             {plain(func(*Policy) {}), script(started, line{0, died(1, "SEGV"), Stopping, ""}, line{0, of(EventTreeGone, 1), Starting, `note "restarting (1 of 5): signal SEGV"; spawn 2`})},
		"always: exit 0 restarts":                             {plain(func(p *Policy) { p.Restart.On = RestartAlways }), script(started, line{0, exit(1, 0), Stopping, ""}, line{0, of(EventTreeGone, 1), Starting, `note "restarting (1 of 5): exit 0"; spawn 2`})},
		"one-shot, then a file change: runs again": {plain(func(*Policy) {}), script(started, line{0, exit(1, 0), Stopping, ""},
			line{0, of(EventTreeGone, 1), Exited, ""}, line{0, ev(EventFileChanged), Starting, "spawn 2"})},
		"a missing program is not tried again": {plain(func(*Policy) {}), script(start,
			line{0, text(of(EventSpawnFailed, 1), "cannot run x: no such file"), Exited, `note "failed: cannot run x: no such file"; became failed`})},
		"a transient spawn failure is": {plain(func(*Policy) {}), script(start,
			line{0, with(of(EventSpawnFailed, 1), func(e *Event) { e.Transient = true; e.Text = "EAGAIN" }), Starting, `note "restarting (1 of 5): EAGAIN"; spawn 2`})},
		"a cascade restarts what runs":      {plain(func(*Policy) {}), script(started, line{0, ev(EventDependency), Stopping, "...signal 1 TERM"})},
		"a file change leaves what is down": {plain(func(*Policy) {}), []line{{0, ev(EventFileChanged), Down, "-"}}},
		"restart starts what is down":       {plain(func(*Policy) {}), []line{{0, ev(EventRestart), Starting, "spawn 1"}}},
		"the word of a former instance is nothing": {plain(func(*Policy) {}), script(backoff[:4],
			line{0, exit(1, 1), Starting, "-"}, line{0, of(EventTreeGone, 1), Starting, "-"}, line{0, of(EventReady, 1), Starting, "-"})},
	}
}
