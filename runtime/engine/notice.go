package engine

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"syscall"
	"time"

	"orrery/lang/graph"
	"orrery/runtime/logs"
	"orrery/runtime/machine"
	"orrery/runtime/notify"
	"orrery/runtime/probe"
)

// told is what a service says of itself. It is called by the loop while the
// sender waits for its barrier. later is not nil when it must be told again then:
// who speaks is not known yet.
func (e *Engine) told(n *node, m *notify.Message) (later <-chan struct{}) {
	in, later := e.sender(n, m.Pid)
	if in == nil {
		return later
	}
	if m.MainPID != 0 || m.MainPIDFD != nil {
		e.claimMain(n, in, m)
	}
	if m.NotifyAccess != "" {
		in.launch.access = m.NotifyAccess
	}
	if text := statusText(m, n.show.StatusText); text != n.show.StatusText {
		n.show.StatusText = text
		e.publish(n, n.show.State, "")
	}
	e.store(n, m)
	send := func(ev machine.Event) {
		ev.Instance = in.id
		e.step(n, ev)
	}
	if m.ExtendTimeoutUsec > 0 {
		send(machine.Event{Kind: machine.EventExtend, For: time.Duration(m.ExtendTimeoutUsec) * time.Microsecond})
	}
	if m.WatchdogUsec != nil {
		send(machine.Event{Kind: machine.EventInterval, For: time.Duration(*m.WatchdogUsec) * time.Microsecond})
	}
	switch m.Watchdog {
	case notify.WatchdogPing:
		send(machine.Event{Kind: machine.EventPing})
	case notify.WatchdogTrigger:
		send(machine.Event{Kind: machine.EventTrigger})
	}
	if m.RestartReset {
		send(machine.Event{Kind: machine.EventRevive})
	}
	if m.Reloading {
		send(machine.Event{Kind: machine.EventReloading, Sent: time.Duration(m.MonotonicUsec) * time.Microsecond})
	}
	if m.Ready {
		send(machine.Event{Kind: machine.EventReady})
	}
	if m.Stopping {
		send(machine.Event{Kind: machine.EventStopping})
	}
	return nil
}

// idsOf are the numbers of the user that a service runs as.
func (e *Engine) idsOf(n *node) (uid, gid int, err error) {
	name, group := e.bind.User(n.name())
	if name == "" {
		return os.Getuid(), os.Getgid(), nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return 0, 0, fmt.Errorf("cannot find the user %q of %s on this machine", name, n.name())
		}
	}
	gidText := u.Gid
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			return 0, 0, fmt.Errorf("cannot find the group %q of %s on this machine", group, n.name())
		}
		gidText = g.Gid
	}
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(gidText)
	return uid, gid, err
}

// target is what the probes of an instance look at.
func (e *Engine) target(n *node, in *instance) probe.Target {
	b, name := e.bind, n.name()
	var extra []string
	t := probe.Target{
		Fill: func(x graph.Text) (string, error) { return b.Fill(x, name) },
		Argv: func(c graph.Command) ([]string, error) {
			cmd, err := b.Cmd(&c, name)
			extra = append(extra, cmd.Env...)
			return cmd.Argv, err
		},
		Warn: func(text string) { e.post(func() { e.publish(n, n.show.State, text) }) },
	}
	if spec := in.launch.spec; spec != nil {
		t.Dir, t.Env = spec.Dir, append(slices.Clip(spec.Env), "MAINPID="+strconv.Itoa(in.mainPid()))
	}
	t.Former = in.launch.former
	if names := n.def.Service.PortNames(); len(names) == 1 {
		t.Port, _ = e.opt.Table.Port(name, names[0])
	}
	if uid, gid, err := e.idsOf(n); err == nil && uid != os.Getuid() {
		t.User = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	if e.opt.Logs != nil {
		t.Lines = linesSince(e.opt.Logs, name, in.launch.cursor)
	}
	return t
}

// linesSince reads what a node has printed since the last call.
func linesSince(store *logs.Store, name string, from logs.Cursor) func(func([]byte) bool) error {
	at := logs.Cursor{}
	for k, v := range from {
		at[k] = v
	}
	return func(yield func([]byte) bool) error {
		return store.Read(context.Background(), logs.Query{Nodes: []string{name}, From: at}, func(l logs.Line) bool {
			if l.Node != name || l.Mark != "" {
				return true
			}
			if !l.Partial {
				at.Advance(l)
			}
			return yield(l.Text)
		})
	}
}
