package machine

import "time"

func readyScripts() scripts {
	probe := policy(func(p *Policy) { p.Watchdog = Watchdog{} })
	probe.ReadyCount = Threshold{Success: 2, Failure: 3}
	probe.LiveCount = Threshold{Success: 2, Failure: 3}
	notify := plain(func(p *Policy) { p.Ready, p.Deadline = ReadyByNotify, sec })
	begin := []line{
		{0, ev(EventStart), Starting, "spawn 1"},
		{0, of(EventSpawned, 1), Starting, "became started 1; arm deadline 30s; start-probe 1 ready quick"},
	}
	up := script(begin,
		line{0, ok(1, ProbeReady), Starting, "-"},
		line{0, bad(1, ProbeReady), Starting, "-"},
		line{0, ok(1, ProbeReady), Starting, "-"},
		line{0, ok(1, ProbeReady), Ready, "cancel deadline; start-probe 1 ready steady; start-probe 1 live steady; became ready 1"},
		line{0, ok(1, ProbeLive), Ready, "-"},
		line{0, ok(1, ProbeLive), Ready, "became healthy 1"},
	)
	stays := probe
	stays.Restart.On = RestartNever
	begun := []line{
		{0, ev(EventStart), Starting, "spawn 1"},
		{0, of(EventSpawned, 1), Starting, "became started 1; arm deadline 1s"},
	}
	return scripts{
		"ready probe fails: unready, not restarted": {probe, script(up,
			line{sec, bad(1, ProbeReady), Ready, "-"},
			line{sec, bad(1, ProbeReady), Ready, "-"},
			line{sec, bad(1, ProbeReady), Unhealthy, `note "unhealthy: its probe failed 3 times in a row: 503"; became unhealthy 1; became unready 1`},
			line{sec, ok(1, ProbeReady), Unhealthy, "-"},
			line{sec, ok(1, ProbeReady), Ready, `note "healthy again"; became ready 1; became healthy 1`},
		)},
		"live probe fails: restarted": {probe, script(up,
			line{sec, bad(1, ProbeLive), Ready, "-"},
			line{sec, bad(1, ProbeLive), Ready, "-"},
			line{sec, ok(1, ProbeLive), Ready, "-"},
			line{sec, bad(1, ProbeLive), Ready, "-"},
			line{sec, bad(1, ProbeLive), Ready, "-"},
			line{sec, bad(1, ProbeLive), Stopping, "...signal 1 TERM"},
			line{sec, exit(1, 0), Stopping, ""},
			line{sec, of(EventTreeGone, 1), Starting, `note "restarting (1 of 5): unhealthy: its probe failed 3 times in a row: 503"; spawn 2`},
		)},
		"live probe fails, restart never: stays, ready, and recovers": {stays, script(up,
			line{sec, bad(1, ProbeLive), Ready, "-"},
			line{sec, bad(1, ProbeLive), Ready, "-"},
			line{sec, bad(1, ProbeLive), Unhealthy, `note "unhealthy: its probe failed 3 times in a row: 503"; became unhealthy 1`},
			line{sec, ok(1, ProbeLive), Unhealthy, "-"},
			line{sec, ok(1, ProbeLive), Ready, `note "healthy again"; became healthy 1`},
		)},
		"never ready: stopped and restarted": {notify, script(begun,
			line{sec, ran(TimerDeadline), Stopping, `note "did not become ready within 1s"; stop-probe 1; signal 1 TERM; arm grace 10s`},
			line{sec, died(1, "TERM"), Stopping, ""},
			line{sec, of(EventTreeGone, 1), Starting, `note "restarting (1 of 5): did not become ready within 1s"; spawn 2`},
		)},
		"never ready, restart never: fails": {policy(func(p *Policy) { p.Restart.On = RestartNever }), script(begin,
			line{30 * sec, ran(TimerDeadline), Stopping, ""},
			line{30 * sec, died(1, "TERM"), Stopping, ""},
			line{30 * sec, of(EventTreeGone, 1), Exited, `note "failed: did not become ready within 30s"; became failed`},
		)},
		"EXTEND_TIMEOUT_USEC: counts past the limit, and must be sent again": {notify, script(begun,
			line{500 * ms, extend(1, 3*sec), Starting, "cancel deadline; arm deadline 3s"},
			line{600 * ms, extend(1, 100*ms), Starting, "cancel deadline; arm deadline 400ms"},
			line{700 * ms, extend(1, 3*sec), Starting, "cancel deadline; arm deadline 3s"},
			line{2500 * ms, of(EventReady, 1), Ready, "cancel deadline; became ready 1; became healthy 1"},
			line{2500 * ms, of(EventReady, 1), Ready, "-"},
		)},
		"EXTEND_TIMEOUT_USEC while stopping": {notify, script(begun,
			line{0, ev(EventStop), Stopping, ""},
			line{5 * sec, extend(1, 20*sec), Stopping, "cancel grace; arm grace 20s"},
			line{25 * sec, ran(TimerGrace), Stopping, `note "killed: did not stop within 10s"; kill-tree 1`},
		)},
		"READY=1 overtakes the report of the spawn": {notify, []line{
			{0, ev(EventStart), Starting, ""},
			{0, of(EventReady, 1), Ready, "became started 1; arm deadline 1s; cancel deadline; became ready 1; became healthy 1"},
			{0, of(EventSpawned, 1), Ready, "-"},
		}},
		"the exit overtakes the report of the spawn": {notify, []line{
			{0, ev(EventStart), Starting, ""},
			{0, exit(1, 0), Stopping, "became started 1; stop-probe 1; kill-tree 1"},
			{0, of(EventSpawned, 1), Stopping, "-"},
			{0, of(EventTreeGone, 1), Exited, "became completed"},
		}},
		"READY=1 is nothing where a probe decides": {probe, script(begin, line{0, of(EventReady, 1), Starting, "-"})},
	}
}

func watchdogScripts() scripts {
	p := plain(func(p *Policy) {
		p.Ready = ReadyByNotify
		p.Watchdog = Watchdog{Interval: 30 * sec, RequireReady: true}
		p.Restart.Max, p.Restart.Delay = 2, 0
	})
	early := p
	early.Watchdog.RequireReady = false
	none := p
	none.Watchdog = Watchdog{}
	begin := []line{{0, ev(EventStart), Starting, ""}, {0, of(EventSpawned, 1), Starting, "became started 1"}}
	up := script(begin, line{0, of(EventReady, 1), Ready, "arm watchdog 30s; became ready 1; became healthy 1"})
	var hangs []line
	for n := 1; n <= 3; n++ {
		hangs = append(hangs,
			line{0, of(EventSpawned, n), Starting, ""}, line{0, of(EventReady, n), Ready, ""},
			line{0, ran(TimerWatchdog), Stopping, "...ABRT"}, line{0, died(n, "ABRT"), Stopping, ""},
			line{0, of(EventTreeGone, n), pick(n < 3, Starting, GaveUp), ""})
	}
	return scripts{
		"pings keep it": {p, script(up,
			line{29 * sec, of(EventPing, 1), Ready, "cancel watchdog; arm watchdog 30s"},
			line{58 * sec, of(EventPing, 1), Ready, "cancel watchdog; arm watchdog 30s"},
		)},
		"silence: ABRT, grace, kill, restart": {p, script(up,
			line{30 * sec, ran(TimerWatchdog), Stopping, `note "watchdog: no ping for 30s"; stop-probe 1; signal 1 ABRT; arm grace 10s; became unhealthy 1; became unready 1`},
			line{40 * sec, ran(TimerGrace), Stopping, "...kill-tree 1"},
			line{40 * sec, died(1, "KILL"), Stopping, "-"},
			line{40 * sec, of(EventTreeGone, 1), Starting, `note "restarting (1 of 2): watchdog: no ping for 30s"; spawn 2`},
		)},
		"always hangs: gives up":              {p, append([]line{{0, ev(EventStart), Starting, ""}}, hangs...)},
		"require_ready: a ping before is not": {p, script(begin, line{0, of(EventPing, 1), Starting, "-"})},
		"without require_ready: from the spawn": {early, []line{{0, ev(EventStart), Starting, ""},
			{0, of(EventSpawned, 1), Starting, "became started 1; arm watchdog 30s"},
			{30 * sec, ran(TimerWatchdog), Stopping, "...signal 1 ABRT"}}},
		"WATCHDOG=trigger acts without a watchdog": {none, script(begin,
			line{0, of(EventTrigger, 1), Stopping, `...note "watchdog: triggered by the program"`})},
		"WATCHDOG_USEC changes and disables": {p, script(up,
			line{0, with(of(EventInterval, 1), func(e *Event) { e.For = 5 * sec }), Ready, "cancel watchdog; arm watchdog 5s"},
			line{sec, of(EventPing, 1), Ready, "cancel watchdog; arm watchdog 5s"},
			line{sec, of(EventInterval, 1), Ready, "cancel watchdog"},
			line{sec, of(EventPing, 1), Ready, "-"},
		)},
		"resumed: armed anew, the old timer is stale": {p, script(up,
			line{500 * sec, ev(EventResumed), Ready, "cancel watchdog; arm watchdog 30s"},
			line{500 * sec, Event{Kind: EventTimer, Timer: Timer{TimerWatchdog, 1}}, Ready, "-"},
		)},
	}
}

func reloadScripts() scripts {
	p := plain(func(p *Policy) { p.ReloadSignal, p.Deadline = "HUP", 30*sec })
	byCommand := p
	byCommand.ReloadCommand = true
	notify := p
	notify.Ready = ReadyByNotify
	change := with(ev(EventFileChanged), func(e *Event) { e.Reload = true })
	sent := func(at time.Duration) Event {
		return with(of(EventReloading, 1), func(e *Event) { e.Sent = at * sec })
	}
	return scripts{
		"reload: none declared": {plain(func(*Policy) {}), script(started,
			line{0, ev(EventReload), Ready, `note "not reloadable: its declaration has no reload"`})},
		"reload: signal, stays ready": {p, script(started,
			line{0, ev(EventReload), Ready, "signal 1 HUP"})},
		"reload: command": {byCommand, script(started,
			line{0, ev(EventReload), Ready, "reload-command 1"})},
		"reload: one command at a time, and once more after what came meanwhile": {byCommand, script(started,
			line{0, ev(EventReload), Ready, "reload-command 1"},
			line{1 * sec, change, Ready, "-"},
			line{1 * sec, ev(EventReload), Ready, "-"},
			line{2 * sec, of(EventReloadEnded, 1), Ready, "reload-command 1"},
			line{3 * sec, of(EventReloadEnded, 1), Ready, "-"},
			line{3 * sec, ev(EventReload), Ready, "reload-command 1"},
			line{4 * sec, with(of(EventReloadEnded, 1), func(e *Event) { e.Text = "exit 1" }), Ready, `note "reload command: exit 1"`},
		)},
		"reload: not running": {p, []line{{0, ev(EventReload), Down, `note "cannot reload: it does not run"`}}},
		"reload: handshake; a stale RELOADING is nothing": {p, script(started,
			line{5 * sec, ev(EventReload), Ready, "signal 1 HUP"},
			line{6 * sec, sent(4), Ready, "-"},
			line{6 * sec, sent(6), Reloading, "arm deadline 30s"},
			line{7 * sec, of(EventReady, 1), Ready, "cancel deadline"},
		)},
		"reload: never done": {p, script(started,
			line{0, of(EventReloading, 1), Reloading, ""},
			line{30 * sec, ran(TimerDeadline), Ready, `note "did not finish its reload within 30s"`},
		)},
		"reload: changed while reloading, once more": {p, script(started,
			line{0, of(EventReloading, 1), Reloading, ""},
			line{0, change, Reloading, "-"},
			line{0, of(EventReady, 1), Ready, "cancel deadline; signal 1 HUP"},
		)},
		"reload: changed while starting, once ready": {notify, []line{
			{0, ev(EventStart), Starting, ""},
			{0, of(EventSpawned, 1), Starting, ""},
			{0, change, Starting, "-"},
			{0, of(EventReady, 1), Ready, "cancel deadline; signal 1 HUP; became ready 1; became healthy 1"},
		}},
		"reload: a changed file starts what has ended": {p, script(started,
			line{0, exit(1, 0), Stopping, ""}, line{0, of(EventTreeGone, 1), Exited, ""},
			line{0, change, Starting, "spawn 2"})},
	}
}

func overlapScripts() scripts {
	p := plain(func(p *Policy) { p.Ready, p.Restart.Overlap = ReadyByNotify, true })
	begin := []line{
		{0, ev(EventStart), Starting, ""}, {0, of(EventSpawned, 1), Starting, ""}, {0, of(EventReady, 1), Ready, ""},
		{sec, ev(EventRestart), Ready, "spawn 2"}, {sec, of(EventSpawned, 2), Ready, "became started 2"},
	}
	swapped := script(begin, line{sec, of(EventReady, 2), Ready, "stop-probe 1; signal 1 TERM; arm grace 10s; became ready 2"})
	return scripts{
		"overlap: ready, then TERM to the old": {p, script(swapped,
			line{sec, exit(1, 0), Ready, "cancel grace; kill-tree 1"},
			line{sec, of(EventTreeGone, 1), Ready, "-"},
		)},
		"overlap: the new one fails, the old one stays": {p, script(begin,
			line{sec, exit(2, 1), Ready, "stop-probe 2; kill-tree 2"},
			line{sec, of(EventTreeGone, 2), Ready, `note "cannot replace the former instance, which stays: exit 1"`},
		)},
		"overlap: the old one dies meanwhile": {p, script(begin,
			line{sec, exit(1, 1), Stopping, "stop-probe 1; kill-tree 1; became unhealthy 1; became unready 1"},
			line{sec, of(EventTreeGone, 1), Starting, `note "takes over early; the former instance ended: exit 1"`},
			line{sec, of(EventReady, 2), Ready, "became ready 2; became healthy 2"},
		)},
		"overlap: changed again before the new one is ready": {p, script(begin,
			line{sec, ev(EventFileChanged), Ready, "stop-probe 2; signal 2 TERM; arm grace 10s"},
			line{sec, exit(2, 0), Ready, ""},
			line{sec, of(EventTreeGone, 2), Ready, "spawn 3"},
		)},
		"overlap: changed again while the old one stops": {p, script(swapped,
			line{sec, ev(EventFileChanged), Ready, "-"},
			line{sec, exit(1, 0), Ready, ""},
			line{sec, of(EventTreeGone, 1), Ready, "spawn 3"},
		)},
		"overlap: stop ends both": {p, script(begin,
			line{sec, ev(EventStop), Stopping, "...signal 2 TERM"},
			line{sec, exit(1, 0), Stopping, ""}, line{sec, of(EventTreeGone, 1), Stopping, "-"},
			line{sec, exit(2, 0), Stopping, ""}, line{sec, of(EventTreeGone, 2), Down, "became stopped"},
		)},
		"overlap: a crash is stop-start": {p, script(begin[:3],
			line{sec, exit(1, 1), Stopping, ""}, line{sec, of(EventTreeGone, 1), Starting, `note "restarting (1 of 5): exit 1"; spawn 2`},
		)},
	}
}
