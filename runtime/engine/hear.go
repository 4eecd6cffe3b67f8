package engine

import (
	"slices"
	"time"

	"orrery/runtime/notify"
	"orrery/runtime/proc"
)

// begins is how long a message waits for the report that its sender was
// started.
const begins = 5 * time.Second

// hear takes one message of a service, from the goroutine of its socket: the
// sender of a barrier lives until it returns.
func (e *Engine) hear(n *node, m *notify.Message) {
	for range 2 {
		var later <-chan struct{}
		kept := closed()
		err := e.call(func() {
			if later = e.told(n, m); later == nil && m.FDStore {
				kept = e.keep.flushed()
			}
		})
		if err != nil {
			return
		}
		if later == nil {
			<-kept
			return
		}
		// The word of a new process may overtake the report that it exists.
		select {
		case <-later:
		case <-time.After(begins):
			return
		}
	}
}

func closed() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// access says who may speak for an instance.
func (n *node) access(in *instance) string {
	switch s := n.def.Service; {
	case in.launch.access != "":
		return in.launch.access
	case s.NotifyAccess != "":
		return s.NotifyAccess
	case s.Command.Script != nil:
		return "all"
	}
	return "main"
}

// sender finds the instance that a process may speak for. When there is none,
// but one is being started, later is closed once that is known better.
func (e *Engine) sender(n *node, pid int) (in *instance, later <-chan struct{}) {
	for _, in := range n.svc.instances {
		access := n.access(in)
		if in.proc == nil {
			if access != "none" {
				later = in.launch.begun
			}
			continue
		}
		main := in.pid
		if in.launch.claimed != nil {
			main = in.launch.main
		}
		member := func(pid int) bool {
			helper := in.id == n.svc.state.Main.ID && slices.ContainsFunc(n.svc.helpers, func(h helperProc) bool {
				return pid == h.pid || proc.Member(pid, h.pid, h.marker)
			})
			return helper || access == "all" && proc.Member(pid, in.pid, e.marker(n, in.id))
		}
		if notify.Allowed(access, pid, main, member) {
			return in, nil
		}
	}
	return nil, later
}

// helperProc is a stop or reload command that runs.
type helperProc struct {
	pid    int
	marker string
}

// helping is what a helper is given besides its command.
type helping struct {
	out    *output
	pid    int    // of the main process
	socket string // NOTIFY_SOCKET, where it may speak for the service
}

// helped notes a helper while it runs; it is called outside of the loop.
func (e *Engine) helped(name string, h helperProc) (over func()) {
	if e.call(func() {
		if n := e.byName[name]; n != nil && n.svc != nil {
			n.svc.helpers = append(n.svc.helpers, h)
		}
	}) != nil {
		return func() {}
	}
	return func() {
		e.post(func() {
			if n := e.byName[name]; n != nil && n.svc != nil {
				n.svc.helpers = slices.DeleteFunc(n.svc.helpers, func(o helperProc) bool { return o == h })
			}
		})
	}
}
