package engine

import (
	"errors"
	"time"

	"orrery/lang/graph"
	"orrery/runtime/control/api"
	"orrery/runtime/machine"
)

// keptEvents is how many events a client that comes late can still get.
const keptEvents = 8192

// eventLog is what has happened, and who is told of it.
type eventLog struct {
	seq  uint64
	kept []api.Event // the last ones, oldest first
	subs map[int]func(api.Event)
	next int
}

// publish tells what became of a node.
func (e *Engine) publish(n *node, from, text string) {
	ev := api.Event{
		Time: time.Now(), Node: n.name(), State: n.show.State, From: from,
		Text: text, Cause: n.show.Cause, PID: n.pid(), Exit: n.show.Exit,
	}
	if n.task != nil && from == stateRunning && n.show.State != from {
		ev.Task = n.task.end
	}
	l := &e.log
	l.seq++
	ev.Seq = l.seq
	if len(l.kept) >= keptEvents {
		l.kept = append(l.kept[:0], l.kept[keptEvents/2:]...)
	}
	l.kept = append(l.kept, ev)
	for _, tell := range l.subs {
		tell(ev)
	}
}

// say tells something of the engine itself.
func (e *Engine) say(text string) {
	l := &e.log
	l.seq++
	ev := api.Event{Seq: l.seq, Time: time.Now(), Text: text}
	l.kept = append(l.kept, ev)
	for _, tell := range l.subs {
		tell(ev)
	}
}

// Events calls tell for each kept event after since and then for each new one,
// in order, until the returned function is called. tell is called by the loop
// and must not block.
func (e *Engine) Events(since uint64, tell func(api.Event)) (stop func(), err error) {
	var id int
	err = e.call(func() {
		for _, ev := range e.log.kept {
			if ev.Seq > since {
				tell(ev)
			}
		}
		if e.log.subs == nil {
			e.log.subs = map[int]func(api.Event){}
		}
		e.log.next++
		id = e.log.next
		e.log.subs[id] = tell
	})
	return func() { e.call(func() { delete(e.log.subs, id) }) }, err
}

func (n *node) pid() int {
	if n.svc == nil {
		return 0
	}
	if in := n.svc.instances[n.svc.state.Main.ID]; in != nil {
		return in.mainPid()
	}
	return 0
}

// Status tells what the named nodes are doing, or all.
func (e *Engine) Status(names []string) (api.Status, error) {
	var s api.Status
	var unknown error
	err := e.call(func() {
		want := e.nodes
		if len(names) > 0 {
			if want, unknown = e.named(names); unknown != nil {
				return
			}
		}
		s.Seq, s.Digest = e.log.seq, e.digest
		s.Nodes = make([]api.NodeStatus, len(want))
		for i, n := range want {
			s.Nodes[i] = e.status(n)
		}
		s.Progress = e.progress()
	})
	return s, errors.Join(err, unknown)
}

// named are the nodes of targets.
func (e *Engine) named(targets []string) ([]*node, error) {
	names, err := e.graph.Expand(targets)
	if err != nil {
		return nil, err
	}
	nodes := make([]*node, len(names))
	for i, name := range names {
		nodes[i] = e.byName[name]
	}
	return nodes, nil
}

func (e *Engine) status(n *node) api.NodeStatus {
	s := api.NodeStatus{
		Name: n.name(), Kind: string(n.def.Kind), State: n.show.State, PID: n.pid(),
		StartedAt: n.show.Started, ReadyAt: n.show.Ready, Restarts: n.show.Restarts,
		Exit: n.show.Exit, Reason: n.show.Reason, StatusText: n.show.StatusText,
		Holders: n.holders, Cause: n.show.Cause, Cached: n.show.Cached, Remote: n.show.Remote,
	}
	if e.scheduled(n) {
		s.Schedule, s.NextAt = n.def.Task.Schedule.String(), n.task.alarm.Next
	}
	if n.svc == nil || !n.live() {
		return s
	}
	if s.Reason == "" && s.State == string(machine.Starting) {
		s.Reason = n.svc.state.Main.Ready.Text
	}
	if s.PID != 0 && !s.StartedAt.IsZero() {
		s.UptimeMS = time.Since(s.StartedAt).Milliseconds()
	}
	b, name := e.bind, n.name()
	for _, p := range n.def.Service.PortNames() {
		if port, ok := e.opt.Table.Port(name, p); ok {
			if s.Ports == nil {
				s.Ports = map[string]int{}
			}
			s.Ports[p] = port
		}
	}
	for _, k := range n.def.Service.SocketNames() {
		if path, err := b.Value(graph.Ref{Name: name, Attr: "sockets." + k}, ""); err == nil {
			if s.Sockets == nil {
				s.Sockets = map[string]string{}
			}
			s.Sockets[k] = path
		}
	}
	for _, l := range n.def.Service.Links {
		if url, err := b.Fill(l.Value, name); err == nil {
			if s.Links == nil {
				s.Links = map[string]string{}
			}
			s.Links[l.Key] = url
		}
	}
	return s
}

// progress counts what is held, and what a stop still waits for.
func (e *Engine) progress() api.Progress {
	var p api.Progress
	for _, n := range e.nodes {
		if n.external || n.holders == 0 && !n.live() {
			continue
		}
		p.Total++
		switch {
		case n.holders == 0:
			p.Running++
			p.Waiting = append(p.Waiting, n.name())
			continue
		case e.settled(n):
			p.Done++
			if n.bad() {
				p.Failed++
			}
			if n.show.Cached {
				p.Cached++
			}
			continue
		case n.live():
			p.Running++
		}
		p.Waiting = append(p.Waiting, n.name())
	}
	return p
}

// settled reports whether the node is where it is to be, or will not come
// there by itself.
func (e *Engine) settled(n *node) bool {
	if n.bad() {
		return true
	}
	if n.task != nil {
		return n.show.State == stateScheduled || n.conds&isSucceeded != 0 && n.task.alarm.turn == resting
	}
	return n.conds&isReady != 0 || n.ended() || n.show.State == string(machine.Exited)
}

// bad reports whether the node has failed for good.
func (n *node) bad() bool {
	switch n.show.State {
	case stateBlocked, stateFailed, stateCancelled, string(machine.GaveUp):
		return true
	case string(machine.Exited):
		return n.svc != nil && !n.svc.state.Last.Clean
	}
	return false
}
