package lang

import "orrery/lang/graph"

// maxDescriptors is how many a service can be given: its sockets and what it
// has stored travel in one message.
const maxDescriptors = 240

// checkSockets looks at what orrery does with the sockets of a service.
func (r *run) checkSockets(n *graph.Node) {
	s := n.Service
	if s.Lazy && len(s.Listen) == 0 {
		r.mistake(n, fault{"lazy", "lazy", "add listen = {...}"}, "lazy needs listen: it starts at the first connection to a socket that orrery holds")
	}
	if len(s.Listen)+s.Fdstore > maxDescriptors {
		r.mistake(n, fault{"fdstore", "fdstore", ""}, "got %d sockets and %d descriptors to store, want at most %d together", len(s.Listen), s.Fdstore, maxDescriptors)
	}
	for _, l := range s.Listen {
		if l.Value.Accept {
			r.checkAccept(n, l.Key, l.Value.Kind)
		}
	}
}

// checkAccept looks at a service that is started once for each connection: it
// has no process of which one could ask the usual things.
func (r *run) checkAccept(n *graph.Node, name, kind string) {
	s := n.Service
	bad := func(field, hint, text string) {
		r.mistake(n, fault{"accept", field, hint}, "accept starts one process for each connection to %q: %s", name, text)
	}
	if len(s.Listen) > 1 {
		bad("listen", "declare a service for each socket", "it must be the only socket of the service")
	}
	if kind == "udp" || kind == "unix_dgram" {
		bad("listen", "use socket.tcp, .unix or .unix_seqpacket, or leave out accept", "a socket."+kind+" has none")
	}
	for _, f := range []struct {
		field string
		given bool
	}{
		{"ready", s.Ready != nil}, {"live", s.Live != nil}, {"watchdog", s.Watchdog != nil}, {"fdstore", s.Fdstore > 0},
		{"restart", s.Restart.Overlap}, {"tty", s.TTY}, {"reload", s.Reload != nil},
	} {
		if f.given {
			bad(f.field, "leave out "+f.field, "there is no one process that "+f.field+" could be about")
		}
	}
}
