package graph

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
)

// Change is the difference of one node between two graphs.
type Change struct {
	Name   string   `json:"name"`
	Op     string   `json:"op"` // added, removed or changed
	Fields []string `json:"fields,omitempty"`
}

// Diff returns what turns graph a into b: removed nodes in a's order, then
// added and changed ones in b's. Positions do not count.
func Diff(a, b *Graph) []Change {
	var changes []Change
	for _, n := range a.Nodes {
		if b.Node(n.Name()) == nil {
			changes = append(changes, Change{Name: n.Name(), Op: "removed"})
		}
	}
	for _, n := range b.Nodes {
		old := a.Node(n.Name())
		if old == nil {
			changes = append(changes, Change{Name: n.Name(), Op: "added"})
			continue
		}
		if fields := differ(old, n); len(fields) > 0 {
			changes = append(changes, Change{Name: n.Name(), Op: "changed", Fields: fields})
		}
	}
	return changes
}

// differ lists the fields in which two nodes differ, sorted.
func differ(a, b *Node) []string {
	if a.Kind != b.Kind {
		return []string{"kind"}
	}
	x, y := a.encode(), b.encode()
	if bytes.Equal(x, y) {
		return nil
	}
	var fx, fy map[string]json.RawMessage
	if json.Unmarshal(x, &fx) != nil || json.Unmarshal(y, &fy) != nil {
		return []string{"?"}
	}
	var fields []string
	for k, v := range fx {
		if !bytes.Equal(v, fy[k]) {
			fields = append(fields, k)
		}
	}
	for k := range fy {
		if _, ok := fx[k]; !ok {
			fields = append(fields, k)
		}
	}
	slices.Sort(fields)
	return fields
}

// encode returns the declaration without its place.
func (n *Node) encode() []byte {
	var v any = n.Service
	if n.Kind == KindTask {
		v = n.Task
	}
	b, err := marshal(v)
	if err != nil {
		panic("graph: " + err.Error()) // plain data always encodes
	}
	return b
}

// Digest is a hash of all that the graph says, places aside: two evaluations
// with the same digest declare the same.
func (g *Graph) Digest() string {
	h := sha256.New()
	head := plan{Project: g.Project, Params: g.Params, Groups: g.Groups, Secrets: g.Secrets, Tools: g.Tools, Pools: g.Pools}
	if len(head.Params) == 0 {
		head.Params = nil // no list and an empty one say the same
	}
	if len(head.Groups) == 0 {
		head.Groups = nil
	}
	if err := json.NewEncoder(h).Encode(head); err != nil {
		panic("graph: " + err.Error())
	}
	for _, n := range g.Nodes {
		h.Write([]byte(n.Kind))
		h.Write(n.encode())
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
