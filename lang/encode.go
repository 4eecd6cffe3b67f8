package lang

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/goccy/go-yaml"
	"go.starlark.net/starlark"

	"orrery/lang/spec"
)

// encoders are the formats that text can be encoded to while files are
// evaluated; references keep their markers.
func encoders() map[string]func(any) (string, error) {
	return map[string]func(any) (string, error){"yaml": encodeYAML, "toml": encodeTOML, "ini": encodeINI}
}

func encoder(encode func(any) (string, error)) builtinFunc {
	return func(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		var v starlark.Value
		if err := starlark.UnpackPositionalArgs(b.Name(), args, kwargs, 1, &v); err != nil {
			return nil, err
		}
		if _, bad := v.(spec.Poison); bad {
			return v, nil
		}
		tree, err := plainTree(v, 0)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", b.Name(), err)
		}
		s, err := encode(tree)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", b.Name(), err)
		}
		return starlark.String(s), nil
	}
}

// plainTree turns a Starlark tree into Go values; dicts keep their order.
func plainTree(v starlark.Value, depth int) (any, error) {
	if depth > 64 {
		return nil, fmt.Errorf("got a tree deeper than 64, or one that holds itself")
	}
	switch v := v.(type) {
	case starlark.NoneType:
		return nil, nil
	case starlark.Bool:
		return bool(v), nil
	case starlark.Int:
		if n, ok := v.Int64(); ok {
			return n, nil
		}
		return nil, fmt.Errorf("got %s, want an int of 64 bits", v)
	case starlark.Float:
		return float64(v), nil
	case starlark.String:
		return string(v), nil
	case spec.Referrer:
		return v.String(), nil
	case spec.Poison:
		return "", nil
	case *starlark.Dict:
		m := yaml.MapSlice{}
		for k, e := range v.Entries() {
			key, ok := starlark.AsString(k)
			if !ok {
				return nil, fmt.Errorf("got the key %s, want a string", k)
			}
			p, err := plainTree(e, depth+1)
			if err != nil {
				return nil, err
			}
			m = append(m, yaml.MapItem{Key: key, Value: p})
		}
		return m, nil
	case starlark.Indexable:
		list := make([]any, v.Len())
		for i := range list {
			p, err := plainTree(v.Index(i), depth+1)
			if err != nil {
				return nil, err
			}
			list[i] = p
		}
		return list, nil
	}
	return nil, fmt.Errorf("got %s, want a tree of dicts, lists and scalars", v.Type())
}

func encodeYAML(v any) (string, error) {
	b, err := yaml.MarshalWithOptions(v, yaml.Indent(2), yaml.IndentSequence(true))
	return string(b), err
}

func encodeTOML(v any) (string, error) {
	m, ok := unordered(v).(map[string]any)
	if !ok {
		return "", fmt.Errorf("got %T, want a dict at the top", v)
	}
	var b bytes.Buffer
	e := toml.NewEncoder(&b)
	e.Indent = ""
	err := e.Encode(m)
	return b.String(), err
}

// unordered turns ordered dicts into maps, which the encoder sorts, and drops
// None, which the format does not have.
func unordered(v any) any {
	switch v := v.(type) {
	case yaml.MapSlice:
		m := make(map[string]any, len(v))
		for _, e := range v {
			if e.Value != nil {
				m[e.Key.(string)] = unordered(e.Value)
			}
		}
		return m
	case []any:
		for i := range v {
			v[i] = unordered(v[i])
		}
	}
	return v
}

// encodeINI writes {section: {key: value}}; section "" is the head, a list
// repeats its key, None leaves it out.
func encodeINI(v any) (string, error) {
	top, ok := v.(yaml.MapSlice)
	if !ok {
		return "", fmt.Errorf("got %T, want a dict of sections", v)
	}
	var b strings.Builder
	for _, head := range []bool{true, false} {
		for _, sec := range top {
			name := sec.Key.(string)
			if (name == "") != head {
				continue
			}
			keys, ok := sec.Value.(yaml.MapSlice)
			if !ok {
				return "", fmt.Errorf("section %q: want a dict", name)
			}
			if name != "" {
				if b.Len() > 0 {
					b.WriteByte('\n')
				}
				fmt.Fprintf(&b, "[%s]\n", name)
			}
			for _, kv := range keys {
				if err := iniKey(&b, kv.Key.(string), kv.Value); err != nil {
					return "", err
				}
			}
		}
	}
	return b.String(), nil
}

func iniKey(b *strings.Builder, key string, v any) error {
	switch v := v.(type) {
	case nil:
	case []any:
		for _, e := range v {
			if err := iniKey(b, key, e); err != nil {
				return err
			}
		}
	case yaml.MapSlice:
		return fmt.Errorf("key %q: got a dict, want a scalar", key)
	default:
		s := fmt.Sprint(v)
		if strings.ContainsAny(s, "\n\r") || strings.ContainsAny(key, "\n\r=[]") {
			return fmt.Errorf("key %q: a line break or = in it cannot be written", key)
		}
		fmt.Fprintf(b, "%s = %s\n", key, s)
	}
	return nil
}
