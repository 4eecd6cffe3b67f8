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

// leases are the leases of a checkout.
type leases map[key]lease

// readLeases reads the file; a missing or damaged one gives none: the worst is another number.
func readLeases(file string) (leases, error) {
	ls := leases{}
	if file == "" {
		return ls, nil
	}
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return ls, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the port leases: %w", err)
	}
	var all []lease
	if json.Unmarshal(b, &all) != nil {
		return ls, nil
	}
	for _, l := range all {
		if l.Number > 0 && l.Number < 65536 {
			ls[key{l.Node, l.Port}] = l
		}
	}
	return ls, nil
}

// save writes the file when it would change, by a temporary file and a rename.
func (ls leases) save(file string) error {
	if file == "" {
		return nil
	}
	all := make([]lease, 0, len(ls))
	for _, l := range ls {
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
	if _, err := writeFile(file, b, fileMode{mode: 0o600, owner: us}); err != nil {
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
	for k, l := range ls {
		if d, ok := declaredAs[k]; !ok || d.base != l.Base || d.proto != l.Proto {
			delete(ls, k)
		}
	}
}

func (ls leases) set(k key, s portSpec, number int) {
	ls[k] = lease{Node: k.node, Port: k.name, Proto: s.proto, Base: s.base, Number: number, Plain: ls[k].Plain}
}

func (ls leases) plain(k key) bool { return ls[k].Plain }

func (ls leases) setPlain(k key) {
	if l, ok := ls[k]; ok {
		l.Plain = true
		ls[k] = l
	}
}

// holder is who has the lease of a number. Of several (a file that was edited) the first by name.
func (ls leases) holder(proto string, number int) (key, bool) {
	var found key
	ok := false
	for k, l := range ls {
		if l.Number == number && l.Proto == proto && (!ok || k.node+"."+k.name < found.node+"."+found.name) {
			found, ok = k, true
		}
	}
	return found, ok
}

// evict drops the leases of a number that are not own.
func (ls leases) evict(own key, proto string, number int) {
	for k, l := range ls {
		if k != own && l.Number == number && l.Proto == proto {
			delete(ls, k)
		}
	}
}
