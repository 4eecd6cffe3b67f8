package main

import (
	"context"
	"fmt"
	"time"
)

// scenarios is the list of all, in the order of the report.
func scenarios(quick bool) []scenario {
	if quick {
		return []scenario{
			fleet(1, settings{}), fleet(10, settings{"crash": "1", "memory": "y", "cpu": "100ms", "stop": "y", "ready": "y"}),
			chain("notify", 3), chain("tcp", 3), chain("http", 3), chain("exec", 2),
			lines(20_000), change(), survivors("main"), refused(true, 2), refused(false, 1),
		}
	}
	list := []scenario{
		fleet(1, settings{}), fleet(10, settings{"crash": "5", "memory": "y"}),
		fleet(100, settings{"memory": "y", "cpu": "5s", "stop": "y", "ready": "y"}), fleet(500, settings{}),
	}
	for _, kind := range []string{"notify", "tcp", "http", "exec"} {
		list = append(list, chain(kind, 10), chain(kind, 30))
	}
	return append(list, lines(1_000_000), change(), survivors("main"), survivors("all"), survivors("part"), refused(true, 20), refused(false, 20))
}

// servers are n servers that need nothing and listen on unix sockets.
func servers(n int, dir string) []service {
	var list []service
	for i := range n {
		path := fmt.Sprintf("%s/%d.sock", dir, i)
		list = append(list, service{
			name: fmt.Sprintf("s%d", i), mode: "__serve", args: []string{"listen=unix:" + path}, path: path, ready: "unix",
		})
	}
	return list
}

// fleet starts n servers at once; what says what else is asked of them.
func fleet(n int, what settings) scenario {
	at := func(group string) string { return fmt.Sprintf("%s.%d", group, n) }
	all := []measure{{at("launch"), "launch", "ms", fmt.Sprintf("start of the manager until %d servers listen", n)}}
	add := func(group, unit, title string) {
		if what[group] != "" {
			all = append(all, measure{at(group), group, unit, title})
		}
	}
	add("ready", "ms", fmt.Sprintf("start of the manager until it says that all %d are ready", n))
	add("memory", "MB", fmt.Sprintf("idle memory of the manager with %d servers (PSS of all its processes)", n))
	add("cpu", "ms/s", fmt.Sprintf("idle processor time of the manager with %d servers", n))
	add("crash", "ms", fmt.Sprintf("kill -9 of one of %d servers until its next instance listens", n))
	add("stop", "ms", fmt.Sprintf("stop of the manager and its %d servers until all processes are gone", n))
	run := func(ctx context.Context, r *runner, f *found) ([]sample, error) {
		var list []sample
		err := r.in(f, func(s *session) (err error) {
			s.services = servers(n, s.file("run"))
			list, err = s.fleet(ctx, r, n, what)
			return err
		})
		return list, err
	}
	return scenario{all, func(peer) bool { return true }, run}
}

// fleet takes the samples of one start. What fails after the launch is a failed sample, and the rest goes on.
func (s *session) fleet(ctx context.Context, r *runner, n int, what settings) (list []sample, err error) {
	add := func(group string) func(float64, error) {
		return func(v float64, err error) {
			got := sample{id: fmt.Sprintf("%s.%d", group, n), value: v}
			if err != nil {
				got = failure(got.id, err)
			}
			list = append(list, got)
		}
	}
	asked := func(group string) bool { return what[group] != "" && r.wants(group) }
	pids, took, err := s.up(ctx)
	if err != nil {
		return nil, err
	}
	add("launch")(ms(took), nil)
	if err := s.settled(ctx, 0); err != nil {
		return list, err
	}
	if asked("ready") && s.name == "orrery" {
		add("ready")(ms(s.ended.Sub(s.began)), nil)
	}
	if !asked("memory") && !asked("cpu") && !asked("crash") && !asked("stop") {
		return list, nil
	}
	if err := sleep(ctx, 1500*time.Millisecond); err != nil { // most managers call a run of under 1 s a failed start
		return list, err
	}
	if asked("cpu") {
		add("cpu")(s.idle(ctx, what["cpu"]))
	}
	if asked("memory") {
		add("memory")(s.memory(), nil)
	}
	if asked("crash") && s.peer.restarts {
		var times int
		_, _ = fmt.Sscan(what["crash"], &times)
		for i := range times { // another one each time: no back-off has begun
			add("crash")(s.crash(ctx, s.services[i].name, pids[s.services[i].name]))
		}
	}
	if asked("stop") {
		add("stop")(s.down(ctx))
	}
	return list, ctx.Err()
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// memory is that of the manager in megabytes.
func (s *session) memory() float64 {
	var sum int64
	for _, p := range s.managers() {
		sum += p.memory()
	}
	return float64(sum) / 1e6
}

// idle is the processor time in ms per second of what the manager does while nothing happens.
func (s *session) idle(ctx context.Context, span string) (float64, error) {
	d, err := time.ParseDuration(span)
	if err != nil {
		return 0, err
	}
	used := func() (sum time.Duration) {
		for _, p := range s.managers() {
			sum += p.cpu()
		}
		return sum
	}
	before, t := used(), time.Now()
	if err := sleep(ctx, d); err != nil {
		return 0, err
	}
	return max(0, ms(used()-before)/time.Since(t).Seconds()), nil
}

// crash kills one server and waits for the next instance; the time is in ms.
func (s *session) crash(ctx context.Context, name string, pid int) (float64, error) {
	p, ok := look(pid)
	if !ok {
		return 0, fmt.Errorf("%s (pid %d) is gone before it was killed", name, pid)
	}
	s.hub.drop()
	t := time.Now()
	p.kill()
	e, err := s.hub.await(ctx, 15*time.Second, func(e event) bool { return e.kind == "up" && e.name == name && e.pid != pid })
	if err != nil {
		return 0, fmt.Errorf("no new instance of %s: %w", name, err)
	}
	return ms(e.at.Sub(t)), nil
}
