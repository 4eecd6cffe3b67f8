package bind

import (
	"iter"
	"maps"
	"slices"
)

// byNode is a map by key that finds all of one node without a look at the rest.
type byNode[T any] map[string]map[string]T

func (m byNode[T]) get(k key) T { return m[k.node][k.name] }

func (m byNode[T]) set(k key, v T) {
	if m[k.node] == nil {
		m[k.node] = map[string]T{}
	}
	m[k.node][k.name] = v
}

func (m byNode[T]) drop(k key) {
	delete(m[k.node], k.name)
	if len(m[k.node]) == 0 {
		delete(m, k.node)
	}
}

// nodes lists the nodes that have any, sorted.
func (m byNode[T]) nodes() []string { return slices.Sorted(maps.Keys(m)) }

// of yields what a node has; what it yields may be dropped meanwhile.
func (m byNode[T]) of(node string) iter.Seq2[key, T] {
	return func(yield func(key, T) bool) {
		for name, v := range m[node] {
			if !yield(key{node, name}, v) {
				return
			}
		}
	}
}

// all yields everything.
func (m byNode[T]) all() iter.Seq2[key, T] {
	return func(yield func(key, T) bool) {
		for node := range m {
			for k, v := range m.of(node) {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}
