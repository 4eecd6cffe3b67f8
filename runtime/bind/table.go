package bind

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"orrery/lang/graph"
)

// key names a port or socket of a service.
type key struct{ node, name string }

// portSpec is what a declaration says of a port, ports and listen alike.
type portSpec struct {
	base    int
	host    string // empty: all interfaces
	proto   string // tcp, udp
	strict  bool
	listen  bool // held by us; else the program binds it
	backlog int
}

// same tells whether an open port of spec p serves for q as well: strictness only matters when it is chosen.
func (p portSpec) same(q portSpec) bool {
	p.strict, q.strict = false, false
	return p == q
}

// entry is an allocated port.
type entry struct {
	spec   portSpec
	number int
	claim  *os.File   // keeps other orreries off the number
	holds  []*os.File // bound and not listening: keeps everybody else off it
	listen *os.File   // the socket that is passed on
	idle   bool       // only referred to: its service does not run
}

func (e *entry) drop() {
	closeAll(e.holds)
	e.holds = nil
}

func (e *entry) close() {
	e.drop()
	closeAll([]*os.File{e.listen, e.claim})
}

func closeAll(fs []*os.File) {
	for _, f := range fs {
		if f != nil {
			f.Close()
		}
	}
}

// Table is the ports and sockets of a checkout: leases, reservations and held sockets. One goroutine uses it.
type Table struct {
	dirs    Dirs
	disk    disk // of the leases
	leases  leases
	ports   byNode[*entry]
	numbers map[portNumber][]key // whose ports have a number
	sockets byNode[*unixSocket]
}

// setPort gives a port its entry; its number stays the same until it is dropped.
func (t *Table) setPort(k key, e *entry) {
	t.dropPort(k)
	t.ports.set(k, e)
	at := portNumber{e.spec.proto, e.number}
	t.numbers[at] = append(t.numbers[at], k)
}

func (t *Table) dropPort(k key) {
	e := t.ports.get(k)
	if e == nil {
		return
	}
	t.ports.drop(k)
	at := portNumber{e.spec.proto, e.number}
	if t.numbers[at] = slices.DeleteFunc(t.numbers[at], func(o key) bool { return o == k }); len(t.numbers[at]) == 0 {
		delete(t.numbers, at)
	}
}

// NewTable reads the leases of the checkout. Nothing is bound yet. A damaged file of leases counts as none.
func NewTable(d Dirs) (*Table, error) {
	l, err := readLeases(d.Leases)
	if err != nil {
		return nil, err
	}
	return &Table{dirs: d, leases: l, ports: byNode[*entry]{}, numbers: map[portNumber][]key{}, sockets: byNode[*unixSocket]{}}, nil
}

// Prepare allocates the ports and opens the sockets of services that are going to run, and gives a number to ports of
// others that their texts refer to. What is there already and still as declared is kept. An error leaves nothing new
// behind; it joins one *ConflictError for each port or path that is in use.
func (t *Table) Prepare(g *graph.Graph, nodes []string, o Options) error {
	t.leases.purge(g)
	ws := t.wants(g, nodes, o)
	a := &allocation{t: t}
	err := a.run(ws)
	var unix []key
	if err == nil {
		unix, err = t.openUnix(g, nodes)
	}
	if err == nil {
		err = t.leases.save(t.disk, t.dirs.Leases)
	}
	if err != nil {
		for _, k := range a.fresh {
			t.ports.get(k).close()
			t.dropPort(k)
		}
		for _, k := range unix {
			t.sockets.get(k).close()
			t.sockets.drop(k)
		}
	}
	return err
}

// wants lists what Prepare shall see allocated, in order of declaration.
func (t *Table) wants(g *graph.Graph, nodes []string, o Options) []want {
	run := map[string]bool{}
	for _, n := range nodes {
		run[n] = true
	}
	idle := referred(g, nodes)
	var ws []want
	for _, n := range g.Nodes {
		if n.Kind != graph.KindService || !run[n.Name()] && !idle[n.Name()] {
			continue
		}
		for _, d := range declared(g, n.Service, o) {
			ws = append(ws, want{key{n.Name(), d.name}, d.spec, !run[n.Name()]})
		}
	}
	return ws
}

type namedSpec struct {
	name string
	spec portSpec
}

// declared lists the ports of a service: its ports, then its tcp and udp sockets.
func declared(g *graph.Graph, s *graph.Service, o Options) []namedSpec {
	strict := func(field *bool) bool {
		switch {
		case o.Strict != nil:
			return *o.Strict
		case field != nil:
			return *field
		}
		return g.Project.StrictPorts
	}
	var all []namedSpec
	for _, p := range s.Ports {
		proto := p.Value.Proto
		if proto == "" {
			proto = "tcp"
		}
		all = append(all, namedSpec{p.Key, portSpec{base: p.Value.Base, host: p.Value.Host, proto: proto, strict: strict(p.Value.Strict)}})
	}
	for _, l := range s.Listen {
		if l.Value.Kind == "tcp" || l.Value.Kind == "udp" {
			all = append(all, namedSpec{l.Key, portSpec{base: l.Value.Base, host: l.Value.Host, proto: l.Value.Kind,
				strict: strict(l.Value.Strict), listen: true, backlog: l.Value.Backlog}})
		}
	}
	return all
}

// referred tells which services the texts of nodes name a port of, also through exports.
func referred(g *graph.Graph, nodes []string) map[string]bool {
	found := map[string]bool{}
	var text func(t graph.Text, depth int)
	text = func(t graph.Text, depth int) {
		for _, p := range t {
			if p.Ref == nil || p.Ref.Scope != graph.ScopeNode {
				continue
			}
			n := g.Node(p.Ref.Name)
			if n == nil || n.Kind != graph.KindService {
				continue
			}
			if top, name := cutAttr(p.Ref.Attr); top == "exports" {
				if x, ok := n.Service.Exports.Get(name); ok && depth < maxDepth {
					text(x, depth+1)
				}
			} else if top == "ports" || top == "address" {
				found[p.Ref.Name] = true
			}
		}
	}
	for _, name := range nodes {
		n := g.Node(name)
		if n == nil {
			continue
		}
		n.Texts(func(_ string, _ graph.Use, t *graph.Text) { text(*t, 0) })
		for _, u := range n.Common().Uses {
			if svc := g.Node(u); svc != nil && svc.Kind == graph.KindService {
				for _, e := range svc.Service.EnvExports {
					text(e.Value, 0)
				}
			}
		}
	}
	return found
}

// Port is the number of an allocated port.
func (t *Table) Port(node, name string) (int, bool) {
	if e := t.ports.get(key{node, name}); e != nil {
		return e.number, true
	}
	return 0, false
}

// Sockets are the held sockets of a service, in order of declaration. They are the same over every restart.
func (t *Table) Sockets(s *graph.Service) []Socket {
	var all []Socket
	for _, l := range s.Listen {
		k := key{s.Name, l.Key}
		if e := t.ports.get(k); e != nil && e.listen != nil {
			all = append(all, Socket{l.Key, e.listen})
		} else if u := t.sockets.get(k); u != nil {
			all = append(all, Socket{l.Key, u.file})
		}
	}
	return all
}

// Adopt takes over what a service that already runs has: the numbers of its ports, and its held sockets, which the Table
// closes from now on. It is for an engine that follows a killed one, before Prepare.
func (t *Table) Adopt(g *graph.Graph, node string, ports map[string]int, sockets []Socket) error {
	n := g.Node(node)
	if n == nil || n.Kind != graph.KindService {
		return fmt.Errorf("cannot adopt the ports of %q: there is no such service", node)
	}
	files := map[string]*os.File{}
	for _, s := range sockets {
		files[s.Name] = s.File
	}
	for _, d := range declared(g, n.Service, Options{}) {
		number, ok := ports[d.name]
		if !ok || d.spec.listen && files[d.name] == nil {
			continue
		}
		k := key{node, d.name}
		if old := t.ports.get(k); old != nil {
			old.close()
		}
		e := &entry{spec: d.spec, number: number, listen: files[d.name]}
		e.claim, _ = claim(d.spec.proto, number) // another orrery cannot have it: the service does
		t.setPort(k, e)
		t.leases.set(k, d.spec, number)
		delete(files, d.name)
	}
	for _, l := range n.Service.Listen {
		if f := files[l.Key]; f != nil {
			k := key{node, l.Key}
			t.sockets.set(k, &unixSocket{path: socketPath(t.dirs, node, l.Value.File), spec: l.Value, file: f})
			delete(files, l.Key)
		}
	}
	for name := range files {
		return fmt.Errorf("cannot adopt the socket %q of %s: the declaration has none of that name", name, node)
	}
	return t.leases.save(t.disk, t.dirs.Leases)
}

// Spawning is called just before each start of a service: it lets go of the reservations that its program could not bind
// over (udp, and ports that Release was called for once).
func (t *Table) Spawning(node string) {
	for k, e := range t.ports.of(node) {
		if e.listen == nil && (e.spec.proto == "udp" || t.leases.plain(k)) {
			e.drop()
		}
	}
}

// Release lets go of the reservations of a service whose program could not bind over them ("address already in use"), and
// remembers it in the leases, so that the next start does not meet it. It tells whether there was anything to let go of.
func (t *Table) Release(node string) bool {
	held := false
	for k, e := range t.ports.of(node) {
		if e.listen == nil && len(e.holds) > 0 {
			held = true
			e.drop()
			t.leases.setPlain(k)
		}
	}
	if held {
		// A lost note costs one more failed start.
		_ = t.leases.save(t.disk, t.dirs.Leases)
	}
	return held
}

// Taken lets go of the reservations of a service that now has its ports. Other orreries are still kept off them.
func (t *Table) Taken(node string) {
	for _, e := range t.ports.of(node) {
		if e.listen == nil {
			e.drop()
		}
	}
}

// Retake reserves the ports of an ended service again, until its next start. The error is a *ConflictError where somebody
// was quicker; the number stays the service's, and its next start may find it free again.
func (t *Table) Retake(node string) error {
	var errs []error
	for k, e := range t.ports.of(node) {
		if e.listen != nil || len(e.holds) > 0 {
			continue
		}
		holds, err := reserve(e.spec, e.number)
		if err != nil {
			errs = append(errs, &ConflictError{Node: node, Port: k.name, Number: e.number, Owner: PortOwner(e.spec.proto, e.number)})
			continue
		}
		e.holds = holds
	}
	return errors.Join(errs...)
}

// Close gives up the ports and sockets of stopped services, of all without a name; the files of unix sockets are removed.
// Leases stay.
func (t *Table) Close(nodes ...string) {
	if len(nodes) == 0 {
		nodes = append(t.ports.nodes(), t.sockets.nodes()...)
	}
	for _, node := range nodes {
		for k, e := range t.ports.of(node) {
			e.close()
			t.dropPort(k)
		}
		for k, u := range t.sockets.of(node) {
			u.close()
			t.sockets.drop(k)
		}
	}
}
