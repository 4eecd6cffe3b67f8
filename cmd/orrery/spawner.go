package main

import (
	"os"
	"strings"

	"orrery/runtime/engine"
	"orrery/runtime/keeper"
	"orrery/runtime/proc"
)

// direct starts processes as children of this process: the tasks of run.
type direct struct{}

// Spawn starts what s says.
func (direct) Spawn(s *proc.Spec) (engine.Process, error) {
	p, err := proc.Start(s)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// kept starts processes as children of the keeper, under the part of their
// marker that follows the run.
type kept struct{ client *keeper.Client }

// Spawn starts what s says, in a cgroup of its own where we can make one: no
// process leaves it, so the whole tree is killed at one stroke. A tree with limits
// has the cgroup of these.
func (k kept) Spawn(s *proc.Spec) (engine.Process, error) {
	if l := s.Limits; l.Memory == 0 && l.Tasks == 0 && l.CPU == 0 {
		if dir, err := proc.Cgroup(s.Marker); err == nil {
			s.Cgroup = dir
		}
	}
	p, err := k.client.Spawn(strings.TrimPrefix(s.Marker, k.client.Run()+"/"), s)
	if err != nil {
		if s.Cgroup != "" {
			os.Remove(s.Cgroup) // nobody is in it
		}
		return nil, err
	}
	return p, nil
}

// restored is what the keeper has from an engine before this one.
func restored(s *keeper.State) engine.Restored {
	r := engine.Restored{Items: map[string]engine.Kept{}, Processes: map[string]engine.Process{}}
	for _, i := range s.Items {
		r.Items[i.Key] = engine.Kept{Blob: i.Blob, Files: i.Files}
	}
	for _, p := range s.Processes {
		r.Processes[p.Key()] = p
	}
	return r
}
