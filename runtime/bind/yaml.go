package bind

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"orrery/lang/graph"
)

// encodeYAML writes block style. Texts that any version of YAML could take for something else are quoted: the library at
// hand (goccy/go-yaml) writes control characters and some keys in forms that it does not read itself.
func encodeYAML(v any) ([]byte, error) {
	var b bytes.Buffer
	err := yamlNode(&b, v, 0)
	return b.Bytes(), err
}

// yamlNode writes a value at the beginning of a line, indented.
func yamlNode(b *bytes.Buffer, v any, indent int) error {
	pad := strings.Repeat("  ", indent)
	switch v := v.(type) {
	case graph.Dict[any]:
		for i, e := range v {
			if i > 0 {
				b.WriteString(pad)
			}
			b.WriteString(yamlString(e.Key) + ":")
			if err := yamlChild(b, e.Value, indent); err != nil {
				return fmt.Errorf("%s: %w", e.Key, err)
			}
		}
		if len(v) > 0 {
			return nil
		}
	case []any:
		for i, e := range v {
			if i > 0 {
				b.WriteString(pad)
			}
			b.WriteByte('-')
			if nested(e) {
				b.WriteByte(' ')
				if err := yamlNode(b, e, indent+1); err != nil {
					return err
				}
				continue
			}
			if err := yamlChild(b, e, indent); err != nil {
				return err
			}
		}
		if len(v) > 0 {
			return nil
		}
	}
	s, err := yamlScalar(v)
	b.WriteString(s + "\n")
	return err
}

// yamlChild writes the value of a key: beside it, or indented below.
func yamlChild(b *bytes.Buffer, v any, indent int) error {
	if !nested(v) {
		b.WriteByte(' ')
		return yamlNode(b, v, indent)
	}
	b.WriteString("\n" + strings.Repeat("  ", indent+1))
	return yamlNode(b, v, indent+1)
}

// nested tells whether a value takes lines of its own.
func nested(v any) bool {
	switch v := v.(type) {
	case graph.Dict[any]:
		return len(v) > 0
	case []any:
		return len(v) > 0
	}
	return false
}

func yamlScalar(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "null", nil
	case bool:
		return strconv.FormatBool(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		return yamlFloat(v), nil
	case string:
		return yamlString(v), nil
	case []any:
		return "[]", nil
	case graph.Dict[any]:
		return "{}", nil
	}
	return "", fmt.Errorf("yaml: got %s, which has no form", kindOf(v))
}

// yamlFloat has the point that YAML 1.1 wants to see.
func yamlFloat(v float64) string {
	switch {
	case math.IsNaN(v):
		return ".nan"
	case math.IsInf(v, 1):
		return ".inf"
	case math.IsInf(v, -1):
		return "-.inf"
	}
	s := strconv.FormatFloat(v, 'g', -1, 64)
	mantissa, exp, ok := strings.Cut(s, "e")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	if ok {
		return mantissa + "e" + exp
	}
	return mantissa
}

// yamlString leaves plain words as they are and quotes all else.
func yamlString(s string) string {
	plain, err := regexp.MatchString(`^[A-Za-z_/][A-Za-z0-9_./@+-]*( [A-Za-z0-9_./@+-]+)*$`, s)
	if err == nil && plain && !yamlWord(s) {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r) && r < 0xfff0:
			b.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			fmt.Fprintf(&b, `\U%08X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// yamlWord tells whether some version of YAML takes the word for a bool or null.
func yamlWord(s string) bool {
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf":
		return true
	}
	return false
}
