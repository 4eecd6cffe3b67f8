package watch

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// rule is a line of a .gitignore.
type rule struct {
	pattern  string
	negated  bool
	dirOnly  bool
	anchored bool // against the path from the file's directory, not the name
}

// parseRules reads a .gitignore. Lines that git would not match match nothing.
func parseRules(text string) []rule {
	var all []rule
	for line := range strings.SplitSeq(strings.TrimPrefix(text, "\ufeff"), "\n") {
		if r, ok := parseRule(strings.TrimSuffix(line, "\r")); ok {
			all = append(all, r)
		}
	}
	return all
}

func parseRule(line string) (rule, bool) {
	for strings.HasSuffix(line, " ") && !strings.HasSuffix(line, `\ `) {
		line = line[:len(line)-1]
	}
	if strings.HasPrefix(line, "#") {
		return rule{}, false
	}
	r := rule{}
	if strings.HasPrefix(line, "!") {
		r.negated, line = true, line[1:]
	}
	if strings.HasSuffix(line, "/") {
		r.dirOnly, line = true, strings.TrimSuffix(line, "/")
	}
	r.anchored = strings.Contains(line, "/")
	line = strings.TrimPrefix(line, "/")
	if line == "" {
		return rule{}, false
	}
	if rest, ok := strings.CutSuffix(line, "/**"); ok {
		line = rest + "/**/*" // to doublestar "a/**" is also "a"; to git only what is below
	}
	r.pattern = strings.NewReplacer(`\{`, `\{`, `\}`, `\}`, "{", `\{`, "}", `\}`).Replace(line) // braces mean nothing to git
	return r, doublestar.ValidatePattern(r.pattern)
}

// decide asks the rules about a path relative to their directory. The last that
// matches has the word.
func decide(rules []rule, rel string, isDir bool) (hidden, decided bool) {
	for _, r := range slices.Backward(rules) {
		if r.dirOnly && !isDir {
			continue
		}
		target := rel
		if !r.anchored {
			target = path.Base(rel)
		}
		if doublestar.MatchUnvalidated(r.pattern, target) {
			return !r.negated, true
		}
	}
	return false, false
}

// ruleset is the .gitignore of a directory and what holds above it. nil hides
// nothing.
type ruleset struct {
	dir   string
	rules []rule
	up    *ruleset
}

// hides tells whether an entry is hidden. That the directories above it are not
// is for the caller to know.
func (r *ruleset) hides(p string, isDir bool) bool {
	for ; r != nil; r = r.up {
		rel := filepath.ToSlash(strings.TrimPrefix(p[len(r.dir):], "/"))
		if hidden, decided := decide(r.rules, rel, isDir); decided {
			return hidden
		}
	}
	return false
}

const ignoreFile = ".gitignore"

// extend adds the .gitignore of a directory, if there is one.
func (r *ruleset) extend(dir string) *ruleset {
	text, err := os.ReadFile(filepath.Join(dir, ignoreFile))
	if err != nil || len(text) > 1<<20 {
		return r
	}
	rules := parseRules(string(text))
	if len(rules) == 0 {
		return r
	}
	return &ruleset{dir: dir, rules: rules, up: r}
}

// above is what holds in base by the .gitignore files over it, from the top of
// the checkout down. If base itself is hidden it was named in spite of that, and
// nothing above counts; nor do rules that name it ("build/*" for "build").
func above(root, base string) *ruleset {
	if !within(root, base) {
		return nil
	}
	var set *ruleset
	p := checkout(root)
	for p != base {
		set = set.extend(p)
		rest := strings.TrimPrefix(base[len(p):], "/")
		name, _, _ := strings.Cut(rest, "/")
		p = join(p, name)
		if set.hides(p, true) {
			set = nil
		}
	}
	return set.without(base)
}

// checkout is the directory at or above root that holds .git, or root.
func checkout(root string) string {
	for p := root; ; p = filepath.Dir(p) {
		if _, err := os.Lstat(filepath.Join(p, ".git")); err == nil {
			return p
		}
		if p == filepath.Dir(p) {
			return root
		}
	}
}

func (r *ruleset) without(base string) *ruleset {
	if r == nil {
		return nil
	}
	rel := strings.TrimPrefix(base[len(r.dir):], "/")
	kept := slices.DeleteFunc(slices.Clone(r.rules), func(x rule) bool {
		return x.anchored && !x.negated && rel != "" && strings.HasPrefix(x.pattern, rel+"/*")
	})
	return &ruleset{dir: r.dir, rules: kept, up: r.up.without(base)}
}
