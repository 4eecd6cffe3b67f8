package export

import (
	"bytes"
	"encoding/json"
	"strings"
)

// yamlWriter writes YAML in block style, strings in the quotes of JSON, which
// is YAML: nothing in them can be taken for something else.
type yamlWriter struct {
	strings.Builder
	depth int
}

func jsonText(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.Encode(s) // a string always can be
	return strings.TrimSuffix(b.String(), "\n")
}

// yamlKey is a key, quoted where it is not a plain word.
func yamlKey(s string) string {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || i > 0 && (c >= '0' && c <= '9' || c == '-')) {
			return jsonText(s)
		}
	}
	switch strings.ToLower(s) {
	case "", "y", "n", "yes", "no", "on", "off", "true", "false", "null":
		return jsonText(s)
	}
	return s
}

func (y *yamlWriter) line(s string) {
	y.WriteString(strings.Repeat("  ", y.depth) + s + "\n")
}

// open begins a map under a key; close ends it.
func (y *yamlWriter) open(key string) {
	y.line(yamlKey(key) + ":")
	y.depth++
}

func (y *yamlWriter) close() { y.depth-- }

func (y *yamlWriter) value(key, s string) { y.line(yamlKey(key) + ": " + jsonText(s)) }

// plain writes a number or a boolean.
func (y *yamlWriter) plain(key, s string) { y.line(yamlKey(key) + ": " + s) }

func (y *yamlWriter) list(key string, items []string) {
	var all []string
	for _, s := range items {
		all = append(all, jsonText(s))
	}
	y.line(yamlKey(key) + ": [" + strings.Join(all, ", ") + "]")
}
