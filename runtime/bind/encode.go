package bind

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"orrery/lang/graph"
)

// A bound tree is nil, bool, int64, float64, string, []any or graph.Dict[any]; the order of dicts is kept.

func encodeJSON(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	raw := bytes.TrimSpace(out.Bytes())
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, raw, "", "  "); err != nil {
		return nil, err
	}
	pretty.WriteByte('\n')
	return pretty.Bytes(), nil
}

// encodeTOML writes a document: the plain keys of a table first, then its sub-tables.
func encodeTOML(v any) ([]byte, error) {
	top, ok := v.(graph.Dict[any])
	if !ok {
		return nil, fmt.Errorf("toml: got %s, want a dict at the top", kindOf(v))
	}
	var b bytes.Buffer
	if err := tomlTable(&b, nil, top); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func tomlTable(b *bytes.Buffer, path []string, d graph.Dict[any]) error {
	var later graph.Dict[any]
	for _, e := range d {
		if isTable(e.Value) {
			later = append(later, e)
			continue
		}
		s, err := tomlValue(e.Value)
		if err != nil {
			return fmt.Errorf("toml: %s: %w", strings.Join(append(path, e.Key), "."), err)
		}
		fmt.Fprintf(b, "%s = %s\n", tomlKey(e.Key), s)
	}
	for _, e := range later {
		sub := append(path[:len(path):len(path)], tomlKey(e.Key))
		name := strings.Join(sub, ".")
		if t, ok := e.Value.(graph.Dict[any]); ok {
			fmt.Fprintf(b, "%s[%s]\n", gap(b), name)
			if err := tomlTable(b, sub, t); err != nil {
				return err
			}
			continue
		}
		for _, item := range e.Value.([]any) {
			fmt.Fprintf(b, "%s[[%s]]\n", gap(b), name)
			if err := tomlTable(b, sub, item.(graph.Dict[any])); err != nil {
				return err
			}
		}
	}
	return nil
}

// gap is an empty line between tables.
func gap(b *bytes.Buffer) string {
	if b.Len() == 0 {
		return ""
	}
	return "\n"
}

// isTable tells whether a value has a header of its own: a dict, or a list of nothing but dicts.
func isTable(v any) bool {
	if _, ok := v.(graph.Dict[any]); ok {
		return true
	}
	list, ok := v.([]any)
	for _, e := range list {
		if _, dict := e.(graph.Dict[any]); !dict {
			return false
		}
	}
	return ok && len(list) > 0
}

func tomlKey(k string) string {
	for i := 0; i < len(k); i++ {
		c := k[i]
		if c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return tomlString(k)
		}
	}
	if k == "" {
		return `""`
	}
	return k
}

func tomlValue(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", fmt.Errorf("got None, which toml cannot hold; leave the key out")
	case bool:
		return strconv.FormatBool(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		return tomlFloat(v), nil
	case string:
		return tomlString(v), nil
	case []any:
		return joined(v, "[", "]", tomlValue)
	case graph.Dict[any]:
		items := make([]string, len(v))
		for i, e := range v {
			s, err := tomlValue(e.Value)
			if err != nil {
				return "", err
			}
			items[i] = tomlKey(e.Key) + " = " + s
		}
		return "{" + strings.Join(items, ", ") + "}", nil
	}
	return "", fmt.Errorf("got %s, which has no form in toml", kindOf(v))
}

func tomlFloat(v float64) string {
	switch {
	case math.IsNaN(v):
		return "nan"
	case math.IsInf(v, 1):
		return "inf"
	case math.IsInf(v, -1):
		return "-inf"
	}
	s := strconv.FormatFloat(v, 'g', -1, 64)
	if mantissa, exp, ok := strings.Cut(s, "e"); ok {
		return mantissa + "e" + strings.TrimPrefix(exp, "+")
	}
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// tomlString is a basic string.
func tomlString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

func joined(list []any, open, end string, one func(any) (string, error)) (string, error) {
	items := make([]string, len(list))
	for i, e := range list {
		s, err := one(e)
		if err != nil {
			return "", err
		}
		items[i] = s
	}
	return open + strings.Join(items, ", ") + end, nil
}

// encodeINI writes {section: {key: value}}. The section "" is the head; a list repeats its key; None leaves it out.
func encodeINI(v any) ([]byte, error) {
	top, ok := v.(graph.Dict[any])
	if !ok {
		return nil, fmt.Errorf("ini: got %s, want a dict of sections", kindOf(v))
	}
	var b bytes.Buffer
	for _, head := range []bool{true, false} { // a head after a section would belong to it
		for _, sec := range top {
			if (sec.Key == "") != head {
				continue
			}
			if err := iniSection(&b, sec); err != nil {
				return nil, err
			}
		}
	}
	return b.Bytes(), nil
}

func iniSection(b *bytes.Buffer, sec graph.Entry[any]) error {
	keys, ok := sec.Value.(graph.Dict[any])
	if !ok {
		return fmt.Errorf("ini: section %q: got %s, want a dict", sec.Key, kindOf(sec.Value))
	}
	if strings.ContainsAny(sec.Key, "]\n\r") {
		return fmt.Errorf("ini: section %q: a name cannot hold ] or a line break", sec.Key)
	}
	if sec.Key != "" {
		fmt.Fprintf(b, "%s[%s]\n", gap(b), sec.Key)
	}
	for _, k := range keys {
		values, many := k.Value.([]any)
		if !many {
			values = []any{k.Value}
		}
		for _, v := range values {
			s, present, err := iniValue(v)
			if err != nil || strings.ContainsAny(k.Key+s, "\n\r") || k.Key == "" || strings.ContainsAny(k.Key, "=[") {
				return fmt.Errorf("ini: section %q, key %q: got %s, want a key and a value of one line each", sec.Key, k.Key, kindOf(v))
			}
			if present {
				fmt.Fprintf(b, "%s = %s\n", k.Key, s)
			}
		}
	}
	return nil
}

func iniValue(v any) (s string, present bool, err error) {
	switch v := v.(type) {
	case nil:
		return "", false, nil
	case string:
		return v, true, nil
	case bool:
		return strconv.FormatBool(v), true, nil
	case int64:
		return strconv.FormatInt(v, 10), true, nil
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), true, nil
	}
	return "", false, fmt.Errorf("no form")
}

// kindOf names a value of a tree as the language does.
func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "None"
	case bool:
		return "a bool"
	case int64, float64:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "a list"
	case graph.Dict[any]:
		return "a dict"
	}
	return fmt.Sprintf("%T", v)
}
