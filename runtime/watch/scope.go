package watch

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// scope is one named path or one pattern of a subscription. It is never changed
// after resolving, and knows only names.
type scope struct {
	base    string   // the path, or the literal head of the pattern: absolute
	include string   // relative to the root; empty for a path
	exclude []string // relative to the root
	parts   []string // components of include below base; nil: go down everywhere
	literal bool     // the pattern has no wildcard: as good as a path
	single  bool     // a path that is no directory: only base itself belongs
}

// filter is what all scopes of a subscription have in common.
type filter struct {
	root       string
	exclude    []string // absolute
	ignore     []rule
	extensions []string // with their dot
	gitignored bool
}

// scopesOf reads the paths and patterns of a subscription.
func scopesOf(root string, s Spec) ([]scope, error) {
	var all []scope
	for _, p := range s.Paths {
		if p == "" {
			return nil, fmt.Errorf("got an empty path, want a file or directory")
		}
		all = append(all, scope{base: absolute(root, p)})
	}
	for _, p := range s.Patterns {
		for _, x := range p.Exclude {
			if !doublestar.ValidatePattern(x) {
				return nil, fmt.Errorf("got the pattern %q, want one with balanced brackets and braces", x)
			}
		}
		for _, include := range p.Include {
			sc, err := patternScope(root, include, p.Exclude)
			if err != nil {
				return nil, err
			}
			all = append(all, sc)
		}
	}
	return all, nil
}

func absolute(root, p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(root, p)
}

func patternScope(root, include string, exclude []string) (scope, error) {
	switch {
	case include == "" || !doublestar.ValidatePattern(include):
		return scope{}, fmt.Errorf("got the pattern %q, want one with balanced brackets and braces", include)
	case path.IsAbs(include):
		return scope{}, fmt.Errorf("got the absolute pattern %q, want one relative to the project", include)
	}
	include = path.Clean(include)
	base, rest := doublestar.SplitPattern(include)
	s := scope{
		base:    filepath.Join(root, filepath.FromSlash(base)),
		include: include,
		exclude: exclude,
		literal: !strings.ContainsAny(include, `*?[{\`),
	}
	if separable(rest) {
		s.parts = strings.Split(rest, "/")
	}
	return s, nil
}

// separable tells whether each slash of a pattern separates components: none is
// within braces, where it may be of one alternative only.
func separable(pattern string) bool {
	depth := 0
	for _, c := range pattern {
		switch c {
		case '\\':
			return false
		case '{':
			depth++
		case '}':
			depth--
		case '/':
			if depth > 0 {
				return false
			}
		}
	}
	return true
}

// excluded tells whether path is one that nobody wants, or below one.
func (f *filter) excluded(path string) bool {
	return slices.ContainsFunc(f.exclude, func(x string) bool { return within(x, path) })
}

// within tells whether p is dir or lies below it.
func within(dir, p string) bool {
	return p == dir || dir == "/" || len(p) > len(dir) && p[len(dir)] == '/' && p[:len(dir)] == dir
}

// relative is p as seen from the root, with slashes; also "../x".
func (f *filter) relative(p string) string {
	if f.root != "/" && within(f.root, p) && len(p) > len(f.root) {
		return filepath.ToSlash(p[len(f.root)+1:])
	}
	rel, err := filepath.Rel(f.root, p)
	if err != nil {
		return filepath.ToSlash(p)
	}
	return filepath.ToSlash(rel)
}

// covers tells whether the entry name of a directory that sc covers belongs to
// it: as a file to watch, or as a directory to go down to. rules are those of
// .gitignore that hold in the directory.
func (f *filter) covers(sc *scope, dir, name string, isDir bool, rules *ruleset) bool {
	p := join(dir, name)
	if f.excluded(p) {
		return false
	}
	rel := f.relative(p)
	if hidden, _ := decide(f.ignore, rel, isDir); hidden {
		return false
	}
	if sc.single {
		return p == sc.base && !isDir
	}
	if !sc.literal {
		if junk(name) && !sc.names(name) {
			return false
		}
		if !f.gitignored && rules.hides(p, isDir) {
			return false
		}
	}
	if isDir {
		return sc.descends(rel, p)
	}
	return sc.holds(rel) && f.hasExtension(name)
}

func join(dir, name string) string {
	if dir == "/" {
		return dir + name
	}
	return dir + "/" + name
}

// holds tells whether a file is matched.
func (sc *scope) holds(rel string) bool {
	if sc.include == "" {
		return true
	}
	return doublestar.MatchUnvalidated(sc.include, rel) && !sc.drops(rel)
}

func (sc *scope) drops(rel string) bool {
	return slices.ContainsFunc(sc.exclude, func(x string) bool { return doublestar.MatchUnvalidated(x, rel) })
}

// descends tells whether files below the directory may be matched.
func (sc *scope) descends(rel, p string) bool {
	if sc.include == "" {
		return true
	}
	if slices.ContainsFunc(sc.exclude, func(x string) bool {
		return strings.HasSuffix(x, "/**") && doublestar.MatchUnvalidated(x, rel)
	}) {
		return false
	}
	if sc.parts == nil {
		return true
	}
	below := strings.Split(strings.TrimPrefix(p[len(sc.base):], "/"), "/")
	for i, name := range below {
		switch {
		case i >= len(sc.parts)-1:
			return i < len(sc.parts) && sc.parts[i] == "**"
		case sc.parts[i] == "**":
			return true
		case !doublestar.MatchUnvalidated(sc.parts[i], name):
			return false
		}
	}
	return true
}

// names tells whether a component of the pattern means a name that is left out
// by default: ".env" or ".*" means ".env", "*" does not.
func (sc *scope) names(name string) bool {
	for part := range strings.SplitSeq(sc.include, "/") {
		if part == name {
			return true
		}
		if strings.HasPrefix(name, ".") && (strings.HasPrefix(part, ".") || strings.HasPrefix(part, "{.")) &&
			doublestar.MatchUnvalidated(part, name) {
			return true
		}
	}
	return false
}

func (f *filter) hasExtension(name string) bool {
	return len(f.extensions) == 0 ||
		slices.ContainsFunc(f.extensions, func(x string) bool { return strings.HasSuffix(name, x) })
}

// junk tells whether nobody means a name who does not say it: hidden ones
// (.git and our own state among them), what editors leave, and directories that
// tools fill.
func junk(name string) bool {
	switch {
	case name == "":
		return true
	case name[0] == '.', name[len(name)-1] == '~':
		return true
	case name[0] == '#' && name[len(name)-1] == '#':
		return true
	case name == "node_modules", name == "__pycache__", name == "4913": // 4913: vim asks whether it may write here
		return true
	}
	for _, end := range []string{".swp", ".swo", ".swx", "___jb_tmp___", "___jb_old___"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// extensionsOf gives each its dot.
func extensionsOf(list []string) []string {
	var all []string
	for _, x := range list {
		all = append(all, "."+strings.TrimPrefix(x, "."))
	}
	return all
}
