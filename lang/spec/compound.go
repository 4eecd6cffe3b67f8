package spec

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.starlark.net/starlark"

	"orrery/lang/graph"
)

func (c *checker) push(step string) { c.path = append(c.path, step) }
func (c *checker) pop()             { c.path = c.path[:len(c.path)-1] }

func (c *checker) list(t *Type, v starlark.Value, dst reflect.Value) {
	seq, ok := sequence(v)
	if !ok {
		if t.Single {
			s := reflect.MakeSlice(dst.Type(), 1, 1)
			c.decode(t.Elem, v, s.Index(0))
			dst.Set(s)
			return
		}
		hint := ""
		switch v.(type) {
		case starlark.Iterable, *starlark.Function, *starlark.Builtin, starlark.NoneType:
		default:
			hint = "write a list: [...]"
		}
		c.wrong(t, v, hint)
		return
	}
	n := seq.Len()
	if n > 0 && t.Single && t.Elem.Kind == kindRef && t.Elem.shortList(seq) {
		s := reflect.MakeSlice(dst.Type(), 1, 1)
		c.ref(t.Elem, v, s.Index(0))
		dst.Set(s)
		return
	}
	s := reflect.MakeSlice(dst.Type(), n, n)
	for i := range n {
		c.push("[" + strconv.Itoa(i) + "]")
		c.decode(t.Elem, seq.Index(i), s.Index(i))
		c.pop()
	}
	dst.Set(s)
}

// shortList reports whether a list is the shorthand of one record, whose field
// takes a list, rather than a list of records: watch = ["a", "b"].
func (t *Type) shortList(seq starlark.Indexable) bool {
	if t.record == nil || t.record.Shorthand == "" || t.record.all[t.record.byName[t.record.Shorthand]].Type.Kind != kindList {
		return false
	}
	for i := range seq.Len() {
		if m, ok := seq.Index(i).(Maker); ok && m.Made().Record == t.record {
			return false
		}
	}
	return true
}

// sequence returns v as a list or tuple.
func sequence(v starlark.Value) (starlark.Indexable, bool) {
	switch v := v.(type) {
	case *starlark.List:
		return v, true
	case starlark.Tuple:
		return v, true
	}
	return nil, false
}

func (c *checker) dict(t *Type, v starlark.Value, dst reflect.Value) {
	d, ok := v.(*starlark.Dict)
	if !ok {
		c.wrong(t, v, "")
		return
	}
	s := reflect.MakeSlice(dst.Type(), d.Len(), d.Len())
	i := 0
	for k, val := range d.Entries() {
		key, ok := k.(starlark.String)
		if !ok {
			c.problem("type", "", "got the key %s, want a string", got(k))
			continue
		}
		if strings.ContainsAny(string(key), "⟦⟧\x00") || key == "" {
			c.problem("type", "only values may hold references", "got the key %s, want plain text", key)
			continue
		}
		e := s.Index(i)
		i++
		e.Field(0).SetString(string(key))
		c.push("[" + key.String() + "]")
		c.decode(t.Elem, val, e.Field(1))
		c.pop()
	}
	dst.Set(s.Slice(0, i))
}

// ref decodes a record: an object, or what its shorthand or union takes.
func (c *checker) ref(t *Type, v starlark.Value, dst reflect.Value) {
	if m, ok := v.(Maker); ok {
		o := m.Made()
		if o.Record.Name == t.Ref {
			c.take(o, dst)
			return
		}
	}
	switch {
	case t.record == nil:
		hint := ""
		if b, ok := v.(*starlark.Builtin); ok {
			hint = "call it: " + b.Name() + "()"
		} else if s, ok := v.(starlark.String); ok && len(t.space.Kinds) > 0 {
			hint = t.space.suggest(string(s))
		}
		c.wrong(t, v, hint)
	case t.record.Union:
		c.union(t, v, dst)
	case t.record.Shorthand != "" && !isMaker(v):
		dst.Set(t.record.plan.proto)
		i := t.record.byName[t.record.Shorthand]
		if t.record.all[i].Later {
			c.call.Later = append(c.call.Later, c.field+"."+t.record.Shorthand)
		}
		n := len(c.call.Problems)
		c.decode(t.record.all[i].Type, v, dst.FieldByIndex(t.record.plan.index[i]))
		if len(c.call.Problems) > n && c.call.Problems[n].Code == "type" && t.record.all[i].Type.Kind != kindList {
			hint := c.call.Problems[n].Hint
			c.call.Problems = c.call.Problems[:n]
			c.wrong(t, v, hint)
		}
	default:
		c.wrong(t, v, "")
	}
}

func isMaker(v starlark.Value) bool { _, ok := v.(Maker); return ok }

// suggest returns a hint for a text given instead of a constructor.
func (n *Namespace) suggest(s string) string {
	var kinds []string
	for _, k := range n.Kinds {
		kinds = append(kinds, k.Kind)
	}
	near := graph.Suggest(s, kinds)
	if near == "" {
		near = kinds[0]
	}
	return fmt.Sprintf("write %s.%s(...)", n.Name, near)
}

// take copies an object into dst: deeply when the declaration will bind it.
func (c *checker) take(o *Object, dst reflect.Value) {
	src := reflect.ValueOf(o.Value).Elem()
	if o.Local || o.ID != "" {
		c.call.Taken = append(c.call.Taken, o)
	}
	if o.Local {
		c.call.Local = true
		deepCopy(dst, src)
		return
	}
	dst.Set(src)
}

// deepCopy copies what holds texts, such that binding one copy leaves the
// other alone.
func deepCopy(dst, src reflect.Value) {
	switch src.Kind() {
	case reflect.Pointer:
		if src.IsNil() {
			return
		}
		dst.Set(reflect.New(src.Type().Elem()))
		deepCopy(dst.Elem(), src.Elem())
	case reflect.Slice:
		if src.IsNil() {
			return
		}
		dst.Set(reflect.MakeSlice(src.Type(), src.Len(), src.Len()))
		for i := range src.Len() {
			deepCopy(dst.Index(i), src.Index(i))
		}
	case reflect.Struct:
		for i := range src.NumField() {
			deepCopy(dst.Field(i), src.Field(i))
		}
	case reflect.Interface:
		if src.IsNil() {
			return
		}
		v := reflect.New(src.Elem().Type()).Elem()
		deepCopy(v, src.Elem())
		dst.Set(v)
	default:
		dst.Set(src)
	}
}

// union decodes into the first field whose type takes the shape of v.
func (c *checker) union(t *Type, v starlark.Value, dst reflect.Value) {
	r := t.record
	for i, f := range r.all {
		if f.Type.takes(v) {
			dst.SetZero()
			c.decode(f.Type, v, dst.FieldByIndex(r.plan.index[i]))
			return
		}
	}
	hint := ""
	if n, ok := v.(Noder); ok && t.Ref == "Input" {
		name, _ := n.Node()
		hint = fmt.Sprintf("name the output: %s.outputs...., or put the node in after", name)
	}
	c.wrong(t, v, hint)
}

// takes reports whether the value has a shape that the type may hold.
func (t *Type) takes(v starlark.Value) bool {
	switch t.Kind {
	case kindList:
		_, ok := sequence(v)
		return ok
	case kindText, kindPath:
		switch v.(type) {
		case starlark.String, Referrer:
			return true
		}
	case kindInt:
		_, ok := v.(starlark.Int)
		return ok
	case kindEnum, kindSignal, kindString:
		_, ok := v.(starlark.String)
		return ok
	case kindPattern:
		m, ok := v.(Maker)
		return ok && m.Made().Record.Name == "Pattern"
	case kindNode:
		_, ok := v.(Noder)
		return ok
	}
	return false
}

const maxTreeDepth = 64

// tree decodes a JSON-like tree.
func (c *checker) tree(v starlark.Value, depth int) any {
	if depth > maxTreeDepth {
		c.problem("depth", "", "got a tree deeper than %d, or one that holds itself", maxTreeDepth)
		return nil
	}
	switch v := v.(type) {
	case starlark.NoneType:
		return nil
	case starlark.Bool:
		return bool(v)
	case starlark.Int:
		n, ok := v.Int64()
		if !ok {
			c.problem("range", "", "got %s, want an int of 64 bits", v)
		}
		return n
	case starlark.Float:
		return float64(v)
	case starlark.String:
		return c.cut(&Type{Kind: kindText}, string(v))
	case Referrer:
		c.noteLocal(v.Ref())
		return graph.RefText(v.Ref())
	case Poison:
		c.call.Poisoned = true
		return nil
	case *starlark.Dict:
		return c.treeDict(v, depth)
	}
	seq, ok := sequence(v)
	if !ok {
		c.problem("type", "", "got %s, want a tree of dicts, lists and scalars", got(v))
		return nil
	}
	list := make([]any, seq.Len())
	for i := range list {
		c.push("[" + strconv.Itoa(i) + "]")
		list[i] = c.tree(seq.Index(i), depth+1)
		c.pop()
	}
	return list
}

func (c *checker) treeDict(v *starlark.Dict, depth int) any {
	d := make(graph.Dict[any], 0, v.Len())
	for k, val := range v.Entries() {
		key, ok := k.(starlark.String)
		if !ok {
			c.problem("type", "", "got the key %s, want a string", got(k))
			continue
		}
		if strings.ContainsAny(string(key), "⟦⟧") {
			c.problem("type", "only values may hold references", "got the key %s, want plain text", key)
			continue
		}
		c.push("[" + key.String() + "]")
		d = append(d, graph.Entry[any]{Key: string(key), Value: c.tree(val, depth+1)})
		c.pop()
	}
	return d
}
