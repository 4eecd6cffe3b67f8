package lang

import (
	"fmt"
	"strings"

	"github.com/bazelbuild/buildtools/build"
)

// Format returns src in the one style. The error names name and the place of
// a syntax error.
func Format(src []byte, name string) ([]byte, error) {
	f, err := build.ParseDefault(name, src)
	if err != nil {
		return nil, fmt.Errorf("cannot format: %w", err)
	}
	return build.FormatWithoutRewriting(f), nil
}

// trimDoc removes the common indentation of a docstring, but no more than that
// of the quotes which open it.
func trimDoc(doc string, margin int) string {
	lines := strings.Split(strings.TrimRight(doc, " \t\n"), "\n")
	indent := -1
	for _, l := range lines[1:] {
		if t := strings.TrimLeft(l, " \t"); t != "" {
			if n := len(l) - len(t); indent < 0 || n < indent {
				indent = n
			}
		}
	}
	indent = min(indent, margin)
	for i, l := range lines {
		switch {
		case i == 0:
			lines[i] = strings.TrimSpace(l)
		case indent >= 0 && len(l) >= indent:
			lines[i] = l[indent:]
		default:
			lines[i] = strings.TrimLeft(l, " \t")
		}
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}
