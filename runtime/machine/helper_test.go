package machine

import (
	"fmt"
	"strings"
	"time"
)

const (
	ms  = time.Millisecond
	sec = time.Second
)

// show writes an action in a few words.
func show(a Action) string {
	switch a.Kind {
	case DoSpawn, DoKillTree, DoStopCommand, DoReloadCommand, DoStopProbe:
		return fmt.Sprintf("%s %d", a.Kind, a.Instance)
	case DoSignal:
		return fmt.Sprintf("signal %d %s", a.Instance, a.Signal)
	case DoStartProbe:
		pace := "quick"
		if a.Steady {
			pace = "steady"
		}
		return fmt.Sprintf("start-probe %d %s %s", a.Instance, a.Probe, pace)
	case DoArm:
		return fmt.Sprintf("arm %s %s", a.Timer.Kind, length(a.After))
	case DoCancel:
		return fmt.Sprintf("cancel %s", a.Timer.Kind)
	case DoNote:
		return fmt.Sprintf("note %q", a.Text)
	case DoBecame:
		if a.Instance == 0 {
			return fmt.Sprintf("became %s", a.Change)
		}
		return fmt.Sprintf("became %s %d", a.Change, a.Instance)
	}
	return "? " + string(a.Kind)
}

func showAll(acts []Action) string {
	words := make([]string, len(acts))
	for n, a := range acts {
		words[n] = show(a)
	}
	return strings.Join(words, "; ")
}

// armed finds the armed timer of that kind; the newest when two instances have one.
func armed(s State, kind TimerKind) Timer {
	gen := 0
	if kind == TimerBackoff {
		gen = s.Delay.Gen
	}
	for _, i := range []*Instance{&s.Main, &s.Other} {
		for k, a := range i.Alarms.all {
			if k == kind {
				gen = max(gen, a.Gen)
			}
		}
	}
	return Timer{kind, gen}
}

// representative is the policy of docs/states.md: it has one of everything.
func representative() Policy {
	return Policy{
		Restart: Restart{
			On: RestartOnFailure, Max: 5, Window: 60 * sec,
			Delay: 100 * ms, Factor: 2, Cap: 30 * sec, Reset: 60 * sec,
		},
		Ready:        ReadyByProbe,
		Deadline:     30 * sec,
		Live:         true,
		Stop:         Stop{Signal: "TERM", Timeout: 10 * sec},
		ReloadSignal: "HUP",
		Watchdog:     Watchdog{Interval: 30 * sec, RequireReady: true},
	}
}
