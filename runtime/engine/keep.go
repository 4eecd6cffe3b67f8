package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	"orrery/runtime/bind"
	"orrery/runtime/logs"
	"orrery/runtime/machine"
	"orrery/runtime/notify"
	"orrery/runtime/probe"
	"orrery/runtime/proc"
)

// Keeper keeps, in another process, what must outlive the engine. Put replaces
// what was under the key; files stay the caller's.
type Keeper interface {
	Put(key string, blob []byte, files ...*os.File) error
	Delete(key string) error
}

// Kept is what a killed engine had put under a key.
type Kept struct {
	Blob  []byte
	Files []*os.File
}

// Restored is what an engine finds that follows a killed one.
type Restored struct {
	Items     map[string]Kept
	Processes map[string]Process // by the part of the marker after the run: "web#3"
}

// The keys of what is kept. Those with a slash are followed by a node's name.
const (
	keptGraph  = "graph"
	keptHolds  = "holds"
	keptNode   = "node/"
	keptPorts  = "ports/"
	keptLog    = "log/"
	keptNotify = "notify/"
)

// GraphKey is the key under which the applied graph is kept, as JSON.
const GraphKey = keptGraph

// reattach is how long a client of a killed engine has to come back before
// what it held is released.
const reattach = 5 * time.Second

// saved is a node as it is kept.
type saved struct {
	State     machine.State         `json:"state"`
	Wanted    bool                  `json:"wanted,omitempty"`
	Conds     conds                 `json:"conds,omitempty"`
	Show      shown                 `json:"show"`
	Done      bool                  `json:"done,omitempty"`
	Values    map[string]string     `json:"values,omitempty"`
	Alarm     *alarm                `json:"alarm,omitempty"`
	Instances map[int]savedInstance `json:"instances,omitempty"`
}

// savedInstance is what of an instance cannot be asked from its process.
type savedInstance struct {
	Started time.Time      `json:"started,omitzero"`
	Main    *proc.Identity `json:"main,omitempty"` // where it is not the process that we started
	Access  string         `json:"access,omitempty"`
	Cursor  logs.Cursor    `json:"cursor,omitempty"`
}

// savedHold is a hold as it is kept.
type savedHold struct {
	Wants []want          `json:"wants"`
	Nodes map[string]bool `json:"nodes"`
}

// keep writes to the Keeper, in order, from a goroutine of its own.
type keep struct {
	to   Keeper
	ops  chan func()
	last map[string][]byte // what each key holds, to write only what is news
	warn func(error)
}

func newKeep(k Keeper, warn func(error)) *keep {
	s := &keep{to: k, ops: make(chan func(), 1024), last: map[string][]byte{}, warn: warn}
	go func() {
		for op := range s.ops {
			op()
		}
	}()
	return s
}

// put keeps a blob if it is news. Files are the caller's until then is called.
func (s *keep) put(key string, v any, then func(), files ...*os.File) {
	if s == nil {
		if then != nil {
			then()
		}
		return
	}
	blob, err := json.Marshal(v)
	if err != nil {
		s.warn(err)
		return
	}
	if len(files) == 0 && bytes.Equal(s.last[key], blob) {
		return
	}
	s.last[key] = blob
	s.ops <- func() {
		if err := s.to.Put(key, blob, files...); err != nil {
			s.warn(err)
		}
		if then != nil {
			then()
		}
	}
}

func (s *keep) drop(keys ...string) {
	if s == nil {
		return
	}
	for _, key := range keys {
		if _, had := s.last[key]; !had {
			continue
		}
		delete(s.last, key)
		s.ops <- func() {
			if err := s.to.Delete(key); err != nil {
				s.warn(err)
			}
		}
	}
}

// flushed is closed when all that was put before is kept.
func (s *keep) flushed() <-chan struct{} {
	done := make(chan struct{})
	if s == nil {
		close(done)
		return done
	}
	s.ops <- func() { close(done) }
	return done
}

// end keeps what was put and ends the goroutine.
func (s *keep) end() {
	if s != nil {
		<-s.flushed()
		close(s.ops)
	}
}

// save keeps a node's state.
func (e *Engine) save(n *node) {
	if e.keep == nil || n.external {
		return
	}
	v := saved{Conds: n.conds, Show: n.show}
	if n.task != nil {
		if n.task.cancel != nil {
			v.Conds, v.Show = 0, shown{State: string(machine.Down)} // a successor runs it again
		}
		if n.task.alarm.turn != resting {
			v.Conds = n.conds // but not this one
		}
		v.Done, v.Values, v.Alarm = n.task.done, n.task.values, n.task.alarm.kept()
	} else {
		v.State, v.Wanted = n.svc.state, n.svc.wanted
		v.Instances = make(map[int]savedInstance, len(n.svc.instances))
		for id, in := range n.svc.instances {
			v.Instances[id] = savedInstance{in.started, in.claimed(), in.launch.access, in.launch.cursor}
		}
	}
	if n.holders == 0 && !n.live() {
		e.keep.drop(keptNode + n.name())
		return
	}
	e.keep.put(keptNode+n.name(), v, nil)
}

// saveHolds keeps who holds what.
func (e *Engine) saveHolds() {
	if e.keep == nil || !e.held { // a successor, too, is to wait for the first who holds
		return
	}
	holds := make(map[string]savedHold, len(e.holds))
	for name, h := range e.holds {
		holds[name] = savedHold{h.wants, maps.Clone(h.nodes)}
	}
	e.keep.put(keptHolds, holds, nil)
}

// savePorts keeps the numbers and sockets of a service.
func (e *Engine) savePorts(n *node) {
	s := n.def.Service
	if e.keep == nil || len(s.Ports)+len(s.Listen) == 0 {
		return
	}
	ports := map[string]int{}
	for _, p := range s.PortNames() {
		ports[p], _ = e.opt.Table.Port(n.name(), p)
	}
	var files []*os.File
	for _, sock := range e.opt.Table.Sockets(s) {
		files = append(files, sock.File)
	}
	e.keep.put(keptPorts+n.name(), ports, nil, files...)
}

// Restore takes over what a killed engine has left. It must be called before
// Run. What cannot be taken over is stopped or begun anew, and said.
func (e *Engine) Restore(r Restored) error {
	var problems []error
	e.restoreHolds(r)
	for _, n := range e.nodes {
		item, ok := r.Items[keptNode+n.name()]
		if !ok {
			continue
		}
		var v saved
		if err := json.Unmarshal(item.Blob, &v); err != nil {
			problems = append(problems, fmt.Errorf("cannot read the state of %s: %w", n.name(), err))
			continue
		}
		n.conds, n.show = v.Conds, v.Show
		if n.task != nil {
			n.task.done, n.task.values = v.Done, v.Values
			if v.Alarm != nil {
				n.task.alarm = *v.Alarm
			}
			e.bind.SetValues(n.name(), v.Values)
			e.touch(n)
			continue
		}
		if err := e.adopt(n, v, r); err != nil {
			problems = append(problems, err)
		}
	}
	for key, p := range r.Processes { // whatever nobody knows: a task's, a helper's
		go func() {
			e.kill(key, p)
		}()
	}
	var wanted []string
	for _, n := range e.nodes {
		if n.svc != nil && n.holders > 0 {
			wanted = append(wanted, n.name())
		}
	}
	if err := e.prepare(wanted); err != nil {
		problems = append(problems, err)
	}
	for _, n := range e.nodes {
		if n.svc != nil && (n.svc.wanted || len(n.svc.instances) > 0) {
			e.resume(n)
		}
	}
	return errors.Join(problems...)
}

func (e *Engine) restoreHolds(r Restored) {
	var holds map[string]savedHold
	if json.Unmarshal(r.Items[keptHolds].Blob, &holds) != nil {
		return
	}
	e.held = true // once, if not now
	for name, kept := range holds {
		h := &hold{wants: kept.Wants, nodes: map[string]bool{}}
		for _, w := range kept.Wants {
			h.watch = h.watch || w.Watch
		}
		for node, held := range kept.Nodes {
			if n := e.byName[node]; n != nil {
				h.nodes[node] = held
				if held {
					n.holders++
				}
				e.touch(n)
			}
		}
		e.holds[name] = h
		if name != detached {
			e.opt.Clock.AfterFunc(reattach, func() { e.post(func() { e.abandon(name) }) })
		}
	}
}

// adopt gives a service back its sockets, its log, and its processes.
func (e *Engine) adopt(n *node, v saved, r Restored) error {
	name := n.name()
	n.svc.state, n.svc.wanted = v.State, v.Wanted
	if item, ok := r.Items[keptPorts+name]; ok {
		var ports map[string]int
		if err := json.Unmarshal(item.Blob, &ports); err != nil {
			return err
		}
		var sockets []bind.Socket
		for i, l := range n.def.Service.Listen {
			if i < len(item.Files) {
				sockets = append(sockets, bind.Socket{Name: l.Key, File: item.Files[i]})
			}
		}
		if err := e.opt.Table.Adopt(e.graph, name, ports, sockets); err != nil {
			return err
		}
		e.keep.know(keptPorts+name, item.Blob)
	}
	if item, ok := r.Items[keptLog+name]; ok && len(item.Files) == 4 {
		o, err := adoptOutput(e.opt.Logs, n, item.Files)
		if err != nil {
			return err
		}
		n.svc.out = o
		e.keep.know(keptLog+name, item.Blob)
	}
	if item, ok := r.Items[keptNotify+name]; ok && len(item.Files) == 1 {
		var path string
		if err := json.Unmarshal(item.Blob, &path); err != nil {
			return err
		}
		uid, _, err := e.idsOf(n)
		if err != nil {
			return err
		}
		s, err := notify.Adopt(item.Files[0], path, uid)
		if err != nil {
			return err
		}
		item.Files[0].Close()
		e.serveNotify(n, s)
		e.keep.know(keptNotify+name, item.Blob)
	}
	for id, in := range v.Instances {
		key := fmt.Sprintf("%s#%d", name, id)
		p, ok := r.Processes[key]
		if !ok {
			continue
		}
		delete(r.Processes, key)
		n.svc.instances[id] = &instance{
			id: id, proc: p, pid: p.Pid(), started: in.Started, probes: map[machine.Probe]*probe.Runner{},
			launch: &launch{access: in.Access, cursor: in.Cursor},
		}
		e.adoptMain(n, n.svc.instances[id], in.Main)
		e.adoptReady(n, n.svc.instances[id], r)
	}
	e.adoptConnections(n, r)
	return e.adoptStore(n, r)
}

// know notes what is kept already.
func (s *keep) know(key string, blob []byte) {
	if s != nil {
		s.last[key] = blob
	}
}

// resume goes on with a service: its processes are waited for, what was in
// flight is answered, timers and probes begin anew.
func (e *Engine) resume(n *node) {
	for _, in := range n.svc.instances {
		v := e.view(n)
		e.openTerminal(n, in)
		go func() { e.rootExited(n, in, v, in.proc.Wait()) }()
	}
	for _, in := range []machine.Instance{n.svc.state.Main, n.svc.state.Other} {
		switch live := n.svc.instances[in.ID]; {
		case in.ID == 0:
		case live == nil && !in.Alive && !in.Exited: // it was killed before the process was made
			e.spawn(n, in.ID)
		case live == nil && !in.Exited:
			e.later(func() {
				e.step(n, machine.Event{Kind: machine.EventExited, Instance: in.ID, Signal: "KILL", Text: "its process is gone"})
			})
		case live != nil && !in.Alive:
			e.later(func() { e.step(n, machine.Event{Kind: machine.EventSpawned, Instance: in.ID}) })
		case in.Reload.Runs: // its command was ended, as nobody waits for it any more
			e.later(func() {
				e.step(n, machine.Event{Kind: machine.EventReloadEnded, Instance: in.ID, Text: "it was cut off"})
				e.step(n, machine.Event{Kind: machine.EventReload})
			})
		}
	}
	e.resumeListening(n)
	e.later(func() { e.step(n, machine.Event{Kind: machine.EventResumed}) })
}

// kill ends a process that no node knows.
func (e *Engine) kill(key string, p Process) {
	killTree(p)
	if name, _, ok := strings.Cut(key, "#"); ok {
		e.post(func() {
			if n := e.byName[name]; n != nil {
				e.touch(n)
			}
		})
	}
}
