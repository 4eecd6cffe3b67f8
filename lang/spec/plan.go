package spec

import (
	"fmt"
	"reflect"
	"strings"

	"go.starlark.net/starlark"

	"orrery/lang/graph"
)

// plan is what checking a record needs, computed once.
type plan struct {
	typ        reflect.Type
	index      [][]int       // place of each field in the Go struct; nil: not generated yet
	positional []int         // fields that may be given by position
	varargs    int           // field that takes all positional arguments, or -1
	proto      reflect.Value // struct with the defaults
}

// plans computes the plan of every record and namespace. Plans come before
// defaults, since a default may name a constructor.
func (s *Spec) plans() error {
	var all []*Record
	for _, o := range s.order {
		switch o := o.(type) {
		case *Record:
			all = append(all, o)
		case *Namespace:
			all = append(all, o.Kinds...)
		case *Function:
			all = append(all, o.Record)
		}
	}
	for _, r := range all {
		r.plan = newPlan(r)
	}
	done := map[*Record]bool{}
	for _, r := range all {
		if err := s.defaults(r, done); err != nil {
			return err
		}
	}
	return nil
}

func newPlan(r *Record) *plan {
	p := &plan{varargs: -1, index: make([][]int, len(r.all))}
	for i, f := range r.all {
		if f.Positional {
			p.positional = append(p.positional, i)
		}
		if f.Name == r.Varargs {
			p.varargs = i
		}
	}
	zero := graph.NewRecord(r.Name)
	if zero == nil {
		return p
	}
	p.typ = reflect.TypeOf(zero).Elem()
	byTag := map[string][]int{}
	for _, f := range reflect.VisibleFields(p.typ) {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		byTag[tag] = f.Index
	}
	for i, f := range r.all {
		p.index[i] = byTag[f.Name]
	}
	return p
}

// defaults fills the prepared struct of r, after those that its defaults name.
func (s *Spec) defaults(r *Record, done map[*Record]bool) error {
	if done[r] || r.plan.typ == nil {
		return nil
	}
	done[r] = true
	r.plan.proto = reflect.New(r.plan.typ).Elem()
	if r.Kind != "" {
		r.plan.proto.FieldByName("Kind").SetString(r.Kind)
	}
	for i, f := range r.all {
		if f.Default == nil || r.plan.index[i] == nil {
			continue
		}
		dst := r.plan.proto.FieldByIndex(r.plan.index[i])
		if ctor := f.Type.constructor(f.Default); ctor != nil {
			if err := s.defaults(ctor, done); err != nil {
				return err
			}
			dst.Set(ctor.plan.proto)
			continue
		}
		c := &checker{call: &Call{}}
		c.decode(f.Type, f.Default, dst)
		if len(c.call.Problems) > 0 {
			return fmt.Errorf("default of %s.%s: %s", r.Name, f.Name, c.call.Problems[0].Message)
		}
	}
	return nil
}

// constructor returns the constructor that a default such as "restart.never"
// or "log" names, or nil.
func (t *Type) constructor(def starlark.Value) *Record {
	name, ok := starlark.AsString(def)
	if !ok || t.Kind != kindRef {
		return nil
	}
	if t.record != nil && !t.record.Union && t.record.Builtin == name {
		return t.record
	}
	if t.space != nil {
		for _, k := range t.space.Kinds {
			if k.Builtin == name {
				return k
			}
		}
	}
	return nil
}
