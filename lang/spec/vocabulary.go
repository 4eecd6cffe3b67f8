package spec

import (
	"fmt"

	"go.starlark.net/starlark"
)

// meta is the meta-vocabulary: the builtins of spec.star.
type meta struct{ spec *Spec }

// metaValue carries a Go value through Starlark.
type metaValue struct{ v any }

func (metaValue) String() string        { return "meta" }
func (metaValue) Type() string          { return "meta" }
func (metaValue) Freeze()               {}
func (metaValue) Truth() starlark.Bool  { return true }
func (metaValue) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: meta") }

type builtinFunc = func(*starlark.Thread, *starlark.Builtin, starlark.Tuple, []starlark.Tuple) (starlark.Value, error)

func (m *meta) builtins() starlark.StringDict {
	d := starlark.StringDict{}
	add := func(name string, f builtinFunc) { d[name] = starlark.NewBuiltin(name, f) }
	for _, k := range []Kind{kindString, kindText, kindPath, kindPort, kindInt, kindBool, kindDuration, kindSize,
		kindMode, kindSignal, kindPattern, kindData, kindAny, kindCond, kindTool} {
		add(string(k), scalarType(k))
	}
	add("node", namedType(kindNode))
	add("ref", namedType(kindRef))
	add("enum", enumType)
	add("optional", optionalType)
	add("list_of", elemType(kindList))
	add("dict_of", elemType(kindDict))
	add("field", fieldDef)
	add("exactly_one", exactlyOne)
	add("kind", kindDef)
	add("record", m.record)
	add("one_of", m.oneOf)
	add("namespace", m.namespace)
	add("function", m.function)
	add("value", m.value)
	add("attribute", attributeDef)
	add("attributes", m.attributes)
	add("language", m.language)
	return d
}

func scalarType(k Kind) builtinFunc {
	return func(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		var lo, hi starlark.Value
		if err := starlark.UnpackArgs(b.Name(), args, kwargs, "min?", &lo, "max?", &hi); err != nil {
			return nil, err
		}
		t := &Type{Kind: k}
		for _, p := range []struct {
			v   starlark.Value
			dst **int
		}{{lo, &t.Min}, {hi, &t.Max}} {
			if p.v != nil {
				n, err := starlark.AsInt32(p.v)
				if err != nil {
					return nil, err
				}
				*p.dst = &n
			}
		}
		return metaValue{t}, nil
	}
}

func namedType(k Kind) builtinFunc {
	return func(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		t := &Type{Kind: k}
		if err := starlark.UnpackArgs(b.Name(), args, kwargs, "name?", &t.Ref); err != nil {
			return nil, err
		}
		return metaValue{t}, nil
	}
}

func enumType(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	t := &Type{Kind: kindEnum}
	for _, a := range args {
		s, ok := starlark.AsString(a)
		if !ok {
			return nil, fmt.Errorf("enum: got %s, want string", a.Type())
		}
		t.Enum = append(t.Enum, s)
	}
	return metaValue{t}, nil
}

func optionalType(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var v metaValue
	if err := unpackMeta(b, args, kwargs, &v); err != nil {
		return nil, err
	}
	t := *v.v.(*Type)
	t.Optional = true
	return metaValue{&t}, nil
}

func unpackMeta(b *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple, dst *metaValue) error {
	if len(args) == 0 {
		return fmt.Errorf("%s: missing type", b.Name())
	}
	v, ok := args[0].(metaValue)
	if !ok {
		return fmt.Errorf("%s: got %s, want type", b.Name(), args[0].Type())
	}
	*dst = v
	return nil
}

func elemType(k Kind) builtinFunc {
	return func(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		var v metaValue
		if err := unpackMeta(b, args, kwargs, &v); err != nil {
			return nil, err
		}
		t := &Type{Kind: k, Elem: v.v.(*Type)}
		if err := starlark.UnpackArgs(b.Name(), nil, kwargs, "single?", &t.Single); err != nil {
			return nil, err
		}
		return metaValue{t}, nil
	}
}

func fieldDef(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var f Field
	var t starlark.Value
	err := starlark.UnpackArgs(b.Name(), args, kwargs, "name", &f.Name, "type", &t, "doc", &f.Doc, "default?", &f.Default,
		"positional?", &f.Positional, "edge?", &f.Edge, "later?", &f.Later, "since?", &f.Since, "deprecated?", &f.Deprecated)
	if err != nil {
		return nil, err
	}
	v, ok := t.(metaValue)
	if !ok {
		return nil, fmt.Errorf("field %s: got %s, want type", f.Name, t.Type())
	}
	f.Type = v.v.(*Type)
	return metaValue{&f}, nil
}

type exactly []string

func exactlyOne(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	var names exactly
	for _, a := range args {
		s, _ := starlark.AsString(a)
		names = append(names, s)
	}
	return metaValue{names}, nil
}

// setFields sorts what a fields list holds into fields and rules.
func (r *Record) setFields(list *starlark.List) error {
	if list == nil {
		return nil
	}
	for v := range list.Elements() {
		m, ok := v.(metaValue)
		if !ok {
			return fmt.Errorf("%s: got %s, want field", r.Name, v.Type())
		}
		switch v := m.v.(type) {
		case *Field:
			r.Fields = append(r.Fields, v)
		case exactly:
			r.Exactly = append(r.Exactly, v)
		default:
			return fmt.Errorf("%s: got %T, want field", r.Name, v)
		}
	}
	return nil
}

func kindDef(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	r := &Record{}
	var fields *starlark.List
	if err := starlark.UnpackArgs(b.Name(), args, kwargs, "doc", &r.Doc, "fields?", &fields); err != nil {
		return nil, err
	}
	return metaValue{r}, r.setFields(fields)
}

func (m *meta) record(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	r := &Record{}
	var fields *starlark.List
	err := starlark.UnpackArgs(b.Name(), args, kwargs, "name", &r.Name, "doc", &r.Doc, "fields", &fields, "builtin?", &r.Builtin,
		"shorthand?", &r.Shorthand, "varargs?", &r.Varargs, "extends?", &r.Extends, "abstract?", &r.Abstract)
	if err != nil {
		return nil, err
	}
	return m.add(r, fields)
}

func (m *meta) oneOf(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	r := &Record{Union: true}
	var fields *starlark.List
	if err := starlark.UnpackArgs(b.Name(), args, kwargs, "name", &r.Name, "doc", &r.Doc, "fields", &fields); err != nil {
		return nil, err
	}
	return m.add(r, fields)
}

func (m *meta) add(r *Record, fields *starlark.List) (starlark.Value, error) {
	if m.spec.records[r.Name] != nil || m.spec.spaces[r.Name] != nil {
		return nil, fmt.Errorf("%s is defined twice", r.Name)
	}
	m.spec.records[r.Name] = r
	m.spec.Records = append(m.spec.Records, r)
	m.spec.order = append(m.spec.order, r)
	return starlark.None, r.setFields(fields)
}

func (m *meta) namespace(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	n := &Namespace{}
	var common *starlark.List
	var kinds *starlark.Dict
	if err := starlark.UnpackArgs(b.Name(), args, kwargs, "name", &n.Name, "record", &n.Record, "doc", &n.Doc, "kinds", &kinds, "common?", &common); err != nil {
		return nil, err
	}
	var base Record
	if err := base.setFields(common); err != nil {
		return nil, err
	}
	n.Common = base.Fields
	for _, item := range kinds.Items() {
		name, _ := starlark.AsString(item[0])
		mv, ok := item[1].(metaValue)
		if !ok {
			return nil, fmt.Errorf("%s.%s: got %s, want kind", n.Name, name, item[1].Type())
		}
		r := mv.v.(*Record)
		r.Name, r.Kind, r.Builtin = n.Record, name, n.Name+"."+name
		r.Fields = append(r.Fields, n.Common...)
		n.Kinds = append(n.Kinds, r)
	}
	m.spec.spaces[n.Record] = n
	m.spec.Namespaces = append(m.spec.Namespaces, n)
	m.spec.order = append(m.spec.order, n)
	return starlark.None, nil
}

func (m *meta) function(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	f := &Function{Record: &Record{}}
	var fields *starlark.List
	if err := starlark.UnpackArgs(b.Name(), args, kwargs, "name", &f.Name, "doc", &f.Doc, "returns", &f.Returns, "fields?", &fields); err != nil {
		return nil, err
	}
	f.Builtin = f.Name
	m.spec.functions[f.Name] = f
	m.spec.Functions = append(m.spec.Functions, f)
	m.spec.order = append(m.spec.order, f)
	return starlark.None, f.setFields(fields)
}

func (m *meta) value(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var v Value
	if err := starlark.UnpackArgs(b.Name(), args, kwargs, "name", &v.Name, "doc", &v.Doc); err != nil {
		return nil, err
	}
	m.spec.Values = append(m.spec.Values, v)
	return starlark.None, nil
}

func attributeDef(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var a Attribute
	if err := starlark.UnpackArgs(b.Name(), args, kwargs, "name", &a.Name, "type", &a.Type, "doc", &a.Doc, "edge?", &a.Edge, "many?", &a.Many); err != nil {
		return nil, err
	}
	return metaValue{a}, nil
}

func (m *meta) attributes(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var node string
	var list *starlark.List
	if err := starlark.UnpackArgs(b.Name(), args, kwargs, "node", &node, "attributes", &list); err != nil {
		return nil, err
	}
	for v := range list.Elements() {
		a, ok := v.(metaValue).v.(Attribute)
		if !ok {
			return nil, fmt.Errorf("attributes: got %s, want attribute", v.Type())
		}
		m.spec.Attributes[node] = append(m.spec.Attributes[node], a)
	}
	return starlark.None, nil
}

func (m *meta) language(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return starlark.None, starlark.UnpackArgs(b.Name(), args, kwargs, "version", &m.spec.Version)
}
