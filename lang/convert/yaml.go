package convert

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// tree is a YAML value with the line it stands on. Aliases and merge keys are
// resolved.
type tree struct {
	line  int
	kind  byte // one of the kinds below
	text  string
	keys  []entry
	items []*tree
}

// The kinds of a tree.
const (
	kindNull   = 'n'
	kindString = 's'
	kindOther  = 'o' // a number or a boolean, text as it is written
	kindMap    = 'm'
	kindList   = 'l'
)

// entry is a pair of a map.
type entry struct {
	key   string
	line  int
	value *tree
}

// What a document may hold at most, aliases counted as often as they are used.
const (
	treeNodes = 200_000
	treeDepth = 60
)

// parseYAML reads the first document of a text; JSON is YAML too. An empty text
// is an empty map.
func parseYAML(data []byte) (t *tree, err error) {
	defer func() { // the parser panics on some damaged texts
		if r := recover(); r != nil {
			t, err = nil, fmt.Errorf("this is no YAML: %v", r)
		}
	}()
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		message, _, _ := strings.Cut(err.Error(), "\n")
		return nil, fmt.Errorf("%s", message)
	}
	r := &reader{anchors: map[string]ast.Node{}}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if t := r.read(doc.Body, 0); r.err == nil && t.kind != kindNull {
			return t, nil
		}
		return &tree{kind: kindMap, line: 1}, r.err
	}
	return &tree{kind: kindMap, line: 1}, nil
}

// reader turns the syntax into a tree.
type reader struct {
	anchors map[string]ast.Node
	count   int
	err     error
}

func lineOf(n ast.Node) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 0
}

func (r *reader) read(n ast.Node, depth int) *tree {
	if r.count++; r.count > treeNodes || depth > treeDepth {
		r.err = fmt.Errorf("line %d: too much: more than %d values, or nested more than %d deep", lineOf(n), treeNodes, treeDepth)
	}
	if n == nil || r.err != nil {
		return &tree{kind: kindNull}
	}
	line := lineOf(n)
	switch n := n.(type) {
	case *ast.AnchorNode:
		r.anchors[n.Name.GetToken().Value] = n.Value
		return r.read(n.Value, depth+1)
	case *ast.AliasNode:
		name := n.Value.GetToken().Value
		target, ok := r.anchors[name]
		if !ok {
			r.err = fmt.Errorf("line %d: there is no anchor &%s", line, name)
			return &tree{kind: kindNull, line: line}
		}
		return r.read(target, depth+1)
	case *ast.TagNode:
		return r.read(n.Value, depth+1)
	case *ast.StringNode:
		return &tree{kind: kindString, line: line, text: n.Value}
	case *ast.LiteralNode:
		return &tree{kind: kindString, line: line, text: n.Value.Value}
	case *ast.NullNode:
		return &tree{kind: kindNull, line: line}
	case *ast.MappingNode:
		t := &tree{kind: kindMap, line: line}
		for _, v := range n.Values {
			r.pair(t, v, depth)
		}
		return t
	case *ast.MappingValueNode:
		t := &tree{kind: kindMap, line: line}
		r.pair(t, n, depth)
		return t
	case *ast.SequenceNode:
		t := &tree{kind: kindList, line: line}
		for _, v := range n.Values {
			t.items = append(t.items, r.read(v, depth+1))
		}
		return t
	}
	return &tree{kind: kindOther, line: line, text: n.GetToken().Value}
}

func (r *reader) pair(t *tree, v *ast.MappingValueNode, depth int) {
	value := r.read(v.Value, depth+1)
	if v.Key.IsMergeKey() {
		sources := []*tree{value}
		if value.kind == kindList {
			sources = value.items
		}
		for _, s := range sources {
			for _, e := range s.keys {
				if t.get(e.key) == nil {
					t.keys = append(t.keys, e)
				}
			}
		}
		return
	}
	var key string
	switch k := v.Key.(type) {
	case *ast.StringNode:
		key = k.Value
	default:
		if k.GetToken() != nil {
			key = k.GetToken().Value
		}
	}
	line := lineOf(v.Key)
	if value.line == 0 {
		value.line = line
	}
	for i := range t.keys {
		if t.keys[i].key == key { // it came by a merge, or stands twice: the later wins
			t.keys[i] = entry{key, line, value}
			return
		}
	}
	t.keys = append(t.keys, entry{key, line, value})
}

// get is the value at a key, or nil.
func (t *tree) get(key string) *tree {
	if t == nil {
		return nil
	}
	for i := range t.keys {
		if t.keys[i].key == key {
			return t.keys[i].value
		}
	}
	return nil
}

// at is the value at a path of keys, or nil.
func (t *tree) at(keys ...string) *tree {
	for _, k := range keys {
		t = t.get(k)
	}
	return t
}

// str is a scalar as text, "" for all else.
func (t *tree) str() string {
	if t == nil || t.kind != kindString && t.kind != kindOther {
		return ""
	}
	return t.text
}

// truth reads a boolean as YAML 1.1 and Go have them.
func (t *tree) truth() bool {
	switch strings.ToLower(t.str()) {
	case "true", "yes", "on", "1":
		return true
	}
	return false
}

// texts are the scalars of a list, or the one scalar.
func (t *tree) texts() []string {
	if t == nil || t.kind == kindNull || t.kind == kindMap {
		return nil
	}
	if t.kind != kindList {
		return []string{t.text}
	}
	var all []string
	for _, it := range t.items {
		all = append(all, it.str())
	}
	return all
}

// pairs are the entries of a map of scalars, or of a list of K=V; a K without
// value has given false.
type keyValue struct {
	key, value string
	given      bool
	line       int
}

func (t *tree) pairs() []keyValue {
	var all []keyValue
	if t == nil {
		return nil
	}
	for _, e := range t.keys {
		all = append(all, keyValue{e.key, e.value.str(), e.value.kind != kindNull, e.line})
	}
	for _, it := range t.items {
		k, v, ok := strings.Cut(it.str(), "=")
		all = append(all, keyValue{k, v, ok, it.line})
	}
	return all
}

// merged is t over base: maps are joined, lists appended, the rest is t's.
func merged(base, t *tree) *tree {
	switch {
	case base == nil:
		return t
	case t == nil:
		return base
	case base.kind == kindList && t.kind == kindList:
		return &tree{kind: kindList, line: t.line, items: append(append([]*tree{}, base.items...), t.items...)}
	case base.kind != kindMap || t.kind != kindMap:
		return t
	}
	out := &tree{kind: kindMap, line: t.line, keys: append([]entry{}, base.keys...)}
	for _, e := range t.keys {
		found := false
		for i := range out.keys {
			if out.keys[i].key == e.key {
				out.keys[i] = entry{e.key, e.line, merged(out.keys[i].value, e.value)}
				found = true
			}
		}
		if !found {
			out.keys = append(out.keys, e)
		}
	}
	return out
}
