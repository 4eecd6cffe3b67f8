package main

import (
	"orrery/runtime/engine"
	"orrery/runtime/proc"
)

// spawner starts processes as children of this process.
type spawner struct{}

// Spawn starts what s says.
func (spawner) Spawn(spec *proc.Spec) (engine.Process, error) {
	p, err := proc.Start(spec)
	if err != nil {
		return nil, err
	}
	return p, nil
}
