package engine

import (
	"fmt"
	"os"
	"slices"
	"time"

	"orrery/runtime/machine"
)

// stateListening is that of a service whose sockets are held and that starts
// with the first connection (lazy), or once for each (accept). Whoever depends
// on it may connect: it counts as started, and as ready.
const stateListening = "listening"

// The trigger limits, those of systemd: a client that waits at the socket of a
// service which ends without having served it would start it for ever.
const (
	triggerWindow = 2 * time.Second
	triggerLazy   = 20  // starts of a lazy service
	triggerAccept = 200 // instances of an accepting one that failed
)

// activation is the live state of a service that connections start.
type activation struct {
	watch  *poller         // of its sockets; nil while nobody waits for a connection
	starts []time.Duration // triggers of the last triggerWindow
	demand bool            // a connection is starting it, not its restart policy
	gaveUp bool            // the trigger limit was reached: its sockets are closed
	conns  connections     // of an accepting one
}

// onDemand reports whether connections start the service.
func (n *node) onDemand() bool { return n.svc != nil && (n.def.Service.Lazy || n.accepts()) }

// listening reports whether it waits for a connection.
func (n *node) listening() bool { return n.svc != nil && n.svc.act.watch != nil }

// listen has a service wait for connections.
func (e *Engine) listen(n *node) {
	n.svc.wanted = true
	if err := e.openSockets(n); err != nil {
		e.giveUp(n, err.Error())
		return
	}
	if err := e.watchSockets(n); err != nil {
		e.giveUp(n, fmt.Sprintf("cannot watch its sockets: %v", err))
		return
	}
	n.show.Reason, n.show.Cause = "", ""
	if n.show.Ready.IsZero() {
		n.show.Ready = time.Now()
	}
	e.set(n, isStarted|isProbed, isStopped|isCompleted)
	if n.conds&isReady != 0 {
		e.become(n, stateListening, "")
	}
}

// openSockets opens again the sockets that were given up.
func (e *Engine) openSockets(n *node) error {
	a := &n.svc.act
	if !a.gaveUp {
		return nil
	}
	a.gaveUp, a.starts = false, nil
	if err := e.prepare([]string{n.name()}); err != nil {
		return err
	}
	e.savePorts(n)
	return nil
}

// watchSockets looks out for connections, from a goroutine of its own.
func (e *Engine) watchSockets(n *node) error {
	p, err := newPoller()
	if err != nil {
		return err
	}
	var files []*os.File
	for i, s := range e.opt.Table.Sockets(n.def.Service) {
		if err := p.add(s.File, int32(i), pollIn); err != nil {
			p.close()
			return err
		}
		files = append(files, s.File)
	}
	n.svc.act.watch = p
	if n.accepts() {
		return e.acceptFrom(n, p, files)
	}
	go func() {
		for {
			_, events, ok := p.wait()
			if !ok {
				return
			}
			if events&pollIn != 0 {
				e.post(func() { e.demanded(n, p) })
				return
			}
		}
	}()
	return nil
}

// unwatch ends the wait for connections.
func (n *node) unwatch() {
	if w := n.svc.act.watch; w != nil {
		w.close()
		n.svc.act.watch = nil
	}
}

// demanded starts a lazy service for the connection that came.
func (e *Engine) demanded(n *node, p *poller) {
	a := &n.svc.act
	if a.watch != p {
		return
	}
	n.unwatch()
	if a.triggered(e.opt.Clock.Now(), triggerLazy) {
		e.giveUp(n, fmt.Sprintf("gave up: started %d times in %v by a client that it did not serve, last: %s; its sockets are closed",
			triggerLazy, triggerWindow, n.svc.state.Last.Text))
		return
	}
	a.demand = true
	if n.svc.state.Up {
		e.step(n, machine.Event{Kind: machine.EventRevive})
	} else {
		e.step(n, machine.Event{Kind: machine.EventStart})
	}
	a.demand = false
}

// triggered notes one more trigger and reports whether it is one too many.
func (a *activation) triggered(now time.Duration, most int) bool {
	a.starts = slices.DeleteFunc(a.starts, func(t time.Duration) bool { return t <= now-triggerWindow })
	if len(a.starts) >= most {
		return true
	}
	a.starts = append(a.starts, now)
	return false
}

// giveUp closes the sockets of a service: nobody is to wait at them any more.
func (e *Engine) giveUp(n *node, why string) {
	n.unwatch()
	n.svc.act.gaveUp = true
	e.opt.Table.Close(n.name())
	e.keep.drop(keptPorts + n.name())
	n.show.Reason, n.show.Ready = why, time.Time{}
	e.set(n, isCompleted, isStarted|isProbed|isHealthy)
	n.mark(noteMark, why)
	e.become(n, string(machine.GaveUp), why)
	e.gone(n)
}

// considerListening has a service that has ended wait for the next connection.
// One that its restart policy has given up gives up its sockets.
func (e *Engine) considerListening(n *node) {
	if !n.onDemand() || n.holders == 0 || !n.svc.wanted || n.svc.act.gaveUp || n.listening() || len(n.svc.instances) > 0 {
		return
	}
	switch n.svc.state.Phase {
	case machine.Exited:
		e.listen(n)
	case machine.GaveUp:
		e.giveUp(n, n.show.Reason+"; its sockets are closed")
	}
}

// lost is what a service loses that is no longer ready: one that connections
// start still answers whoever connects, if later.
func (n *node) lost() conds {
	if n.onDemand() && !n.svc.act.gaveUp {
		return isHealthy
	}
	return isProbed | isHealthy
}

// resumeListening goes on with the wait for connections of an engine before
// this one.
func (e *Engine) resumeListening(n *node) {
	switch {
	case !n.onDemand() || !n.svc.wanted:
	case n.show.State == stateListening:
		e.listen(n)
	case n.show.State == string(machine.GaveUp):
		n.svc.act.gaveUp = true
		e.opt.Table.Close(n.name())
	}
}

// relisten has a service wait for connections again that was stopped by hand,
// or was given up.
func (e *Engine) relisten(n *node) {
	if n.svc.wanted && !n.listening() && len(n.svc.instances) == 0 && len(n.svc.act.conns.live) == 0 {
		e.listen(n)
	}
}

// relistened has a waiting service wait anew after its declaration has changed,
// and reports whether it waited.
func (e *Engine) relistened(n *node) bool {
	if !n.listening() {
		return false
	}
	n.unwatch()
	n.svc.wanted = false
	if n.svc.state.Up {
		e.step(n, machine.Event{Kind: machine.EventStop})
	}
	e.touch(n)
	return true
}

// unlisten ends a service that waits for connections, and reports whether that
// is all that there was to end; now also kills what serves them.
func (e *Engine) unlisten(n *node, now bool) bool {
	if n.svc == nil || !n.listening() && len(n.svc.act.conns.live) == 0 && !n.svc.act.gaveUp {
		return false
	}
	n.unwatch()
	n.svc.act.gaveUp, n.svc.act.starts = n.svc.act.gaveUp && n.holders > 0, nil
	if n.holders == 0 {
		n.svc.wanted = false
	}
	if n.svc.state.Up {
		e.step(n, machine.Event{Kind: machine.EventStop})
	}
	if len(n.svc.act.conns.live) > 0 {
		e.set(n, 0, isProbed|isHealthy)
		e.become(n, string(machine.Stopping), "")
		e.hangUp(n, now)
		return true
	}
	e.unlistened(n)
	return true
}

// unlistened is the end of a service that waited for connections.
func (e *Engine) unlistened(n *node) {
	n.show.Reason, n.show.StatusText, n.show.Ready = "", "", time.Time{}
	e.set(n, isStopped, isStarted|isProbed|isReady|isHealthy|isCompleted)
	e.become(n, string(machine.Down), "")
	e.rest(n)
}
