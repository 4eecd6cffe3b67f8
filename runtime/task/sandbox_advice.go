package task

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"orrery/runtime/sandbox"
)

// finding is a path that a task has touched, or wanted to, and does not declare.
type finding struct {
	path string // relative to the project with slashes, or absolute
	can  sandbox.Access
}

// The most paths, and folders outside of the project, of a message.
const (
	shownPaths   = 5
	shownOutside = 3
)

// touched names what was touched: "reading a, b, writing c".
func touched(found []finding) string {
	var parts []string
	for _, x := range []struct {
		verb string
		can  sandbox.Access
	}{{"reading ", sandbox.Read}, {"listing ", sandbox.List}, {"writing ", sandbox.Write}} {
		if near := here(found, x.can); len(near) > 0 {
			shown, more := shorten(near, shownPaths)
			parts = append(parts, x.verb+strings.Join(shown, ", ")+more)
		}
		if far := outside(found, x.can); len(far) > 0 {
			shown, more := shorten(folders(far), shownOutside)
			parts = append(parts, x.verb+strings.Join(shown, ", ")+more)
		}
	}
	return strings.Join(parts, ", ")
}

// advice says what to add to the declaration, in the words of the project file. inputs and outputs say whether it has some already.
func advice(found []finding, inputs, outputs bool) string {
	reads, lists, writes := here(found, sandbox.Read), here(found, sandbox.List), here(found, sandbox.Write)
	far := outside(found, sandbox.Read|sandbox.List)
	if len(far) > shownOutside {
		far = nil // a cache of its own, rather than inputs
	}
	var in []string
	for _, p := range reads {
		in = append(in, fmt.Sprintf("%q", p))
	}
	for _, p := range lists {
		in = append(in, fmt.Sprintf("glob(%q)", path.Join(p, "*")))
	}
	for _, p := range far {
		in = append(in, fmt.Sprintf("%q", p))
	}
	var parts []string
	if len(in) > 0 {
		shown, more := shorten(in, shownPaths)
		parts = append(parts, fmt.Sprintf("add inputs = [%s%s]%s", dots(inputs), strings.Join(shown, ", "), more))
	}
	if len(writes) > 0 {
		shown, more := shorten(writes, shownPaths)
		pairs := make([]string, len(shown))
		for i, w := range shown {
			pairs[i] = fmt.Sprintf("%q: %q", outputName(w), w)
		}
		parts = append(parts, fmt.Sprintf("add outputs = {%s%s}%s", dots(outputs), strings.Join(pairs, ", "), more))
	}
	if len(outside(found, sandbox.Write)) > 0 || far == nil && len(outside(found, sandbox.Read|sandbox.List)) > 0 {
		parts = append(parts, "keep below $TMPDIR or the project what lies outside")
	}
	return strings.Join(parts, "; ")
}

// here and outside are the findings of a kind in the project, and elsewhere.
func here(found []finding, can sandbox.Access) []string {
	return paths(found, func(f finding) bool { return f.can&can != 0 && !filepath.IsAbs(f.path) })
}

func outside(found []finding, can sandbox.Access) []string {
	return paths(found, func(f finding) bool { return f.can&can != 0 && filepath.IsAbs(f.path) })
}

func paths(found []finding, want func(finding) bool) []string {
	var out []string
	for _, f := range found {
		if want(f) {
			out = append(out, f.path)
		}
	}
	return out
}

// folders are a few paths as they are, or the folders of many: three names deep, such as /home/u/.cache.
func folders(all []string) []string {
	if len(all) <= shownOutside {
		return all
	}
	var out []string
	for _, p := range all {
		parts := strings.Split(filepath.Dir(p), "/")
		if dir := strings.Join(parts[:min(len(parts), 4)], "/") + "/"; !slices.Contains(out, dir) {
			out = append(out, dir)
		}
	}
	return out
}

func dots(had bool) string {
	if had {
		return "..., "
	}
	return ""
}

func shorten(all []string, most int) (shown []string, more string) {
	if len(all) <= most {
		return all, ""
	}
	return all[:most], fmt.Sprintf(" and %d more", len(all)-most)
}

// outputName is a name for an output at a path: that of the file without its extension.
func outputName(path string) string {
	name := filepath.Base(path)
	if bare := strings.TrimSuffix(name, filepath.Ext(name)); bare != "" {
		name = bare
	}
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
}
