package bind

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"orrery/lang/graph"
)

// lease is the number that a port had last.
type lease struct {
	Node   string `json:"node"`
	Port   string `json:"port"`
	Proto  string `json:"proto"`
	Base   int    `json:"base"`
	Number int    `json:"number"`
	// Plain: the program does not set SO_REUSEADDR, so the reservation must end before it starts.
	Plain bool `json:"plain,omitempty"`
}

// portNumber is one number of one protocol.
type portNumber struct {
	proto  string
	number int
}

// leases are the leases of a checkout, found by port and by number: with thousands of ports, a look at all of them for each is
// too slow.
type leases struct {
	byPort   map[key]lease
	byNumber map[portNumber][]key // of a file that was edited there may be several
}

func newLeases() leases { return leases{map[key]lease{}, map[portNumber][]key{}} }

func (ls leases) put(k key, l lease) {
	ls.drop(k)
	ls.byPort[k] = l
	at := portNumber{l.Proto, l.Number}
	ls.byNumber[at] = append(ls.byNumber[at], k)
}

func (ls leases) drop(k key) {
	l, ok := ls.byPort[k]
	if !ok {
		return
	}
	delete(ls.byPort, k)
	at := portNumber{l.Proto, l.Number}
	if ls.byNumber[at] = slices.DeleteFunc(ls.byNumber[at], func(o key) bool { return o == k }); len(ls.byNumber[at]) == 0 {
		delete(ls.byNumber, at)
	}
}

// readLeases reads the file; a missing or damaged one gives none: the worst is another number.
func readLeases(file string) (leases, error) {
	ls := newLeases()
	if file == "" {
		return ls, nil
	}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return ls, nil
	}
	if err != nil {
		return ls, fmt.Errorf("cannot read the port leases: %w", err)
	}
	var all []lease
	if json.Unmarshal(b, &all) != nil {
		return ls, nil
	}
	for _, l := range all {
		if l.Number > 0 && l.Number < 65536 {
			ls.put(key{l.Node, l.Port}, l)
		}
	}
	return ls, nil
}

// save writes the file when it would change, by a temporary file and a rename.
func (ls leases) save(d disk, file string) error {
	if file == "" {
		return nil
	}
	all := make([]lease, 0, len(ls.byPort))
	for _, l := range ls.byPort {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b lease) int {
		if c := strings.Compare(a.Node, b.Node); c != 0 {
			return c
		}
		return strings.Compare(a.Port, b.Port)
	})
	b, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot keep the port leases: %w", err)
	}
	b = append(b, '\n')
	if old, err := os.ReadFile(file); err == nil && string(old) == string(b) {
		return nil
	}
	if _, err := d.write(file, b, fileMode{mode: 0o600, owner: us}); err != nil {
		return fmt.Errorf("cannot keep the port leases in %s: %w", filepath.Dir(file), err)
	}
	return nil
}

// purge drops the leases of ports that are no longer declared so.
func (ls leases) purge(g *graph.Graph) {
	declaredAs := map[key]portSpec{}
	for _, n := range g.Nodes {
		if n.Kind == graph.KindService {
			for _, d := range declared(g, n.Service, Options{}) {
				declaredAs[key{n.Name(), d.name}] = d.spec
			}
		}
	}
	for k, l := range ls.byPort {
		if d, ok := declaredAs[k]; !ok || d.base != l.Base || d.proto != l.Proto {
			ls.drop(k)
		}
	}
}

func (ls leases) set(k key, s portSpec, number int) {
	ls.put(k, lease{Node: k.node, Port: k.name, Proto: s.proto, Base: s.base, Number: number, Plain: ls.plain(k)})
}

func (ls leases) plain(k key) bool { return ls.byPort[k].Plain }

func (ls leases) setPlain(k key) {
	if l, ok := ls.byPort[k]; ok {
		l.Plain = true
		ls.byPort[k] = l
	}
}

// holder is who has the lease of a number. Of several (a file that was edited) the first by name.
func (ls leases) holder(proto string, number int) (key, bool) {
	var found key
	ok := false
	for _, k := range ls.byNumber[portNumber{proto, number}] {
		if !ok || k.node+"."+k.name < found.node+"."+found.name {
			found, ok = k, true
		}
	}
	return found, ok
}

// evict drops the leases of a number that are not own.
func (ls leases) evict(own key, proto string, number int) {
	for _, k := range slices.Clone(ls.byNumber[portNumber{proto, number}]) {
		if k != own {
			ls.drop(k)
		}
	}
}
