package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"orrery/runtime/control"
	"orrery/runtime/proc"
)

// How many processes of an accepting service there are at most; more clients
// wait in the queue of the socket. So many of them are being started at a time.
const (
	maxConnections = 1000
	maxBeginning   = 16
)

// connections is the live state of a service that is started once for each
// connection.
type connections struct {
	live   map[string]*connection // by marker, from the order to spawn it on
	served int                    // that have ended
	begun  int
	room   chan struct{} // one for each live one, taken before the connection is accepted
}

// connection is one of them with its process.
type connection struct {
	from string
	proc Process // nil until spawned
	over bool    // it was told to end
}

// accepts reports whether a service is started once for each connection.
func (n *node) accepts() bool {
	return n.svc != nil && len(n.def.Service.Listen) == 1 && n.def.Service.Listen[0].Value.Accept
}

// acceptFrom takes connections, from a goroutine of its own, until p is closed.
func (e *Engine) acceptFrom(n *node, p *poller, files []*os.File) error {
	if len(files) != 1 {
		return fmt.Errorf("got %d sockets, want one", len(files))
	}
	if err := e.openCapture(n); err != nil {
		return err
	}
	c := &n.svc.act.conns
	if c.room == nil {
		c.live, c.room = map[string]*connection{}, make(chan struct{}, maxConnections)
	}
	room, listener, v := c.room, files[0], e.view(n)
	begin := make(chan struct{}, maxBeginning)
	go func() {
		if err := provide(v); err != nil {
			e.post(func() {
				if n.svc.act.watch == p {
					e.giveUp(n, err.Error())
				}
			})
			return
		}
		for {
			if _, _, ok := p.wait(); !ok {
				return
			}
			begin <- struct{}{}
			room <- struct{}{}
			conn, addr, err := acceptOn(listener)
			if conn == nil {
				<-room
				<-begin
				if err != nil && !errors.Is(err, os.ErrClosed) {
					e.post(func() { e.publish(n, n.show.State, fmt.Sprintf("cannot accept a connection: %v", err)) })
					time.Sleep(100 * time.Millisecond) // no descriptors: they come back with time
				}
				continue
			}
			go func() {
				defer func() { <-begin }()
				e.serveConnection(n, p, conn, addr)
			}()
		}
	}()
	return nil
}

// serveConnection starts a process for a connection. It runs outside of the
// loop.
func (e *Engine) serveConnection(n *node, p *poller, conn *os.File, addr unix.Sockaddr) {
	defer conn.Close()
	from, env := remote(addr)
	var spec *proc.Spec
	var v view
	c := &connection{from: from}
	key := ""
	if e.call(func() {
		if n.svc.act.watch != p {
			<-n.svc.act.conns.room
			return
		}
		n.svc.act.conns.begun++
		key = fmt.Sprintf("%s#c%d.%d", n.name(), e.opt.Clock.Now(), n.svc.act.conns.begun)
		spec, v = e.connectionSpec(n, key, conn), e.view(n)
		spec.Env = env
		n.svc.act.conns.live[key] = c
		e.showConnections(n)
	}) != nil || spec == nil {
		return
	}
	proc, err := e.spawnOf(v, spec)
	if err != nil {
		e.post(func() {
			e.publish(n, n.show.State, fmt.Sprintf("cannot serve %s: %s", from, e.explain(n, err)))
			e.connectionOver(n, key, true)
		})
		return
	}
	e.post(func() {
		c.proc = proc
		if c.over {
			e.endConnection(n, c, false)
		}
	})
	go e.awaitConnection(n, key, c, proc)
}

// connectionSpec gathers what only the loop may look at.
func (e *Engine) connectionSpec(n *node, key string, conn *os.File) *proc.Spec {
	s := n.def.Service
	spec := &proc.Spec{
		Name: n.name(), Marker: e.opt.Run + "/" + key, Limits: limitsOf(s),
		Listen: []proc.Listener{{Name: "connection", File: conn}},
	}
	if o := n.svc.out; o != nil {
		spec.Stdout, spec.Stderr = o.stdout, o.stderr
	}
	return spec
}

// awaitConnection waits for the end of a process, with all that it left.
func (e *Engine) awaitConnection(n *node, key string, c *connection, p Process) {
	exit := p.Wait()
	err := killTree(p)
	e.post(func() {
		bad := !exit.Ok() && !c.over
		if bad {
			n.mark(noteMark, fmt.Sprintf("the instance for %s: %s", c.from, exit))
		}
		if err != nil {
			e.publish(n, n.show.State, fmt.Sprintf("cannot kill all of its processes: %v", err))
		}
		e.connectionOver(n, key, bad)
	})
}

// connectionOver forgets an instance. Too many that failed end the service.
func (e *Engine) connectionOver(n *node, key string, bad bool) {
	c := &n.svc.act.conns
	delete(c.live, key)
	c.served++
	select {
	case <-c.room:
	default: // it was taken by an engine before this one
	}
	e.showConnections(n)
	switch {
	case !n.listening() && len(c.live) == 0 && !n.svc.act.gaveUp:
		e.unlistened(n)
	case bad && n.listening() && n.svc.act.triggered(e.opt.Clock.Now(), triggerAccept):
		e.giveUp(n, fmt.Sprintf("gave up: %d instances failed in %v; its socket is closed", triggerAccept, triggerWindow))
	}
	e.touch(n)
}

// showConnections counts them in the status.
func (e *Engine) showConnections(n *node) {
	n.show.StatusText = fmt.Sprintf("%d connected, %d served", len(n.svc.act.conns.live), n.svc.act.conns.served)
}

// hangUp tells every instance to end; now does not wait for it.
func (e *Engine) hangUp(n *node, now bool) {
	for _, c := range n.svc.act.conns.live {
		if !c.over || now {
			c.over = true
			e.endConnection(n, c, now)
		}
	}
}

// endConnection stops one instance as its service says, then by force.
func (e *Engine) endConnection(n *node, c *connection, now bool) {
	p, s := c.proc, n.def.Service.Stop
	if p == nil {
		return // told when it is there
	}
	if now {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			p.KillTree(ctx)
		}()
		return
	}
	sig, err := proc.SignalByName(s.Signal)
	if err != nil {
		sig = unix.SIGTERM
	}
	go func() {
		p.SignalGroup(sig)
		p.SignalGroup(unix.SIGCONT)
	}()
	e.opt.Clock.AfterFunc(time.Duration(s.Timeout), func() { p.KillTree(context.Background()) })
}

// adoptConnections takes over the instances of an engine before this one.
func (e *Engine) adoptConnections(n *node, r Restored) {
	if !n.accepts() {
		return
	}
	c := &n.svc.act.conns
	c.live, c.room = map[string]*connection{}, make(chan struct{}, maxConnections)
	for key, p := range r.Processes {
		if !strings.HasPrefix(key, n.name()+"#c") {
			continue
		}
		delete(r.Processes, key)
		known := &connection{from: "a client", proc: p}
		c.live[key] = known
		select {
		case c.room <- struct{}{}:
		default:
		}
		go e.awaitConnection(n, key, known, p)
	}
	e.touch(n)
}

// remote names the other end, also as the variables that an instance is given.
func remote(a unix.Sockaddr) (name string, env []string) {
	var ip net.IP
	port := 0
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		ip, port = a.Addr[:], a.Port
	case *unix.SockaddrInet6:
		ip, port = a.Addr[:], a.Port
	default:
		return "a client", nil
	}
	host := ip.String() // ::ffff:127.0.0.1 as 127.0.0.1
	return net.JoinHostPort(host, strconv.Itoa(port)), []string{"REMOTE_ADDR=" + host, "REMOTE_PORT=" + strconv.Itoa(port)}
}

// actOnAccepting restarts an accepting service by hand: the instances that
// there are end, those to come are started as ever.
func (e *Engine) actOnAccepting(n *node, verb string) error {
	switch verb {
	case "restart":
		e.hangUp(n, false)
		e.relisten(n)
	case "reload":
		return &control.Error{Code: control.CodeFailed, Message: n.name() + " is not reloadable: it is started anew for each connection"}
	}
	return nil
}
