package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// survivors kills a part of the manager with -9 and looks two seconds later at what is left of a service, its child and a
// grandchild that left its session: how many live with nobody to look after them.
func survivors(part string) scenario {
	title := map[string]string{
		"main": "kill -9 of the main process: of service, child and grandchild, how many live on with no manager",
		"all":  "kill -9 of all processes of the manager at once: the same",
		"part": "kill -9 of one per-service supervisor, or of the engine: orphans and doubles",
	}[part]
	m := measure{"survivors." + part, "survivors", "orphans", title}
	run := func(ctx context.Context, r *runner, f *found) ([]sample, error) {
		var list []sample
		err := r.in(f, func(s *session) (err error) {
			s.services = []service{{name: "tree", mode: "__tree"}}
			list, err = s.survivors(ctx, m.id, part)
			return err
		})
		return list, err
	}
	able := func(p peer) bool { return p.name != "bare" && (part != "part" || p.parts) }
	return scenario{[]measure{m}, able, run}
}

// targets are the pids to kill, and their names.
func (s *session) targets(part string) ([]int, string) {
	all := s.managers()
	victims := slices.DeleteFunc(s.peer.victims(s, all), func(v victim) bool { return len(v.pids) == 0 })
	var pids []int
	switch part {
	case "all":
		for _, p := range all {
			pids = append(pids, p.pid)
		}
		return pids, "all"
	case "part":
		for _, v := range victims {
			if v.part != "main" && v.part != "keeper" && (v.part != "engine" || len(victims) > 1) {
				return v.pids, v.part
			}
		}
		return nil, ""
	}
	for _, name := range []string{"main", "keeper", "engine"} {
		if i := slices.IndexFunc(victims, func(v victim) bool { return v.part == name }); i >= 0 {
			return victims[i].pids, name
		}
	}
	return []int{s.main.Process.Pid}, "main"
}

func (s *session) survivors(ctx context.Context, id, part string) ([]sample, error) {
	pids, _, err := s.up(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.settled(ctx, 1500*time.Millisecond); err != nil {
		return nil, err
	}
	kill, name := s.targets(part)
	if len(kill) == 0 {
		return nil, fmt.Errorf("found no process of it")
	}
	for _, pid := range kill {
		if p, ok := look(pid); ok {
			p.kill()
		}
	}
	after := 2 * time.Second
	if part == "part" {
		after = 6 * time.Second // runsvdir looks every five
	}
	if err := sleep(ctx, after); err != nil {
		return nil, err
	}
	helpers := slices.DeleteFunc(descendants(), func(p process) bool { return !p.helper })
	first := slices.ContainsFunc(helpers, func(p process) bool { return p.pid == pids["tree"] })
	instances := s.instances(helpers)
	supervised := instances > 0 && s.supervised(ctx, helpers, pids["tree"])
	note := fmt.Sprintf("%s killed: %d processes live", name, len(helpers))
	orphans := 0
	switch {
	case instances > 1:
		orphans = 3 * (instances - 1)
		note += fmt.Sprintf(", %d instances of the service", instances)
	case supervised && first:
		note += ", the service ran on and is looked after"
	case supervised:
		orphans = max(0, len(helpers)-3)
		note += ", the service was started anew"
	default:
		orphans = len(helpers)
	}
	return []sample{{id: id, value: float64(orphans), note: note}}, nil
}

// instances are the running copies of the service itself.
func (s *session) instances(helpers []process) int {
	n := 0
	for _, p := range helpers {
		if slices.Contains(p.args, "__tree") {
			n++
		}
	}
	return n
}

// supervised tells whether a service that is killed now comes back, or the manager at least acts: that somebody looks
// after it.
func (s *session) supervised(ctx context.Context, helpers []process, first int) bool {
	if !s.peer.restarts {
		return false
	}
	s.hub.drop()
	for _, p := range helpers {
		if strings.Contains(strings.Join(p.args, " "), "__tree") {
			p.kill()
		}
	}
	_, err := s.hub.await(ctx, 2500*time.Millisecond, func(e event) bool { return e.kind == "up" && e.name == "tree" && e.pid != first })
	return err == nil
}
