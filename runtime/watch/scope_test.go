package watch

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCovers(t *testing.T) {
	rows := []struct {
		include, exclude string
		path             string // with a slash at the end: a directory
		want             bool
	}{
		{"**/*.go", "", "a.go", true},
		{"**/*.go", "", "a/b.go", true},
		{"**/*.go", "", "a/", true},
		{"**/*.go", "", ".a/", false},
		{"*.go", "", "a/", false},
		{"*/x", "", "a/", true},
		{"*/x", "", "a/b/", false},
		{"a*/x/*.go", "", "ab/", true},
		{"a*/x/*.go", "", "ab/y/", false},
		{"a*/x/*.go", "", "b/", false},
		{"{a,b}/x", "", "b/", true},
		{"{a,b}/x", "", "c/", false},
		{"{a/b,c}/x", "", "z/", true}, // not taken apart: everywhere
		{"src/**", "", "src/a/b", true},
		{"src/**", "src/gen/**", "src/gen/", false},
		{"src/**", "**/*_test.go", "src/a_test.go", false},
		{"**/.env*", "", ".env.local", true},
		{"**/.env*", "", ".git/", false},
		{"**/*", "", ".env", false},
		{"**/*", "", "a~", false},
		{"a~", "", "a~", true},
		{"node_modules/x/*.js", "", "node_modules/x/i.js", true},
		{"**/*.js", "", "node_modules/", false},
		{"**/node_modules/*.js", "", "node_modules/", true},
	}
	for _, r := range rows {
		sc, err := patternScope("/p", r.include, strings.Fields(r.exclude))
		if err != nil {
			t.Fatal(err)
		}
		f := &filter{root: "/p"}
		p := filepath.Join("/p", r.path)
		if got := f.covers(&sc, filepath.Dir(p), filepath.Base(p), strings.HasSuffix(r.path, "/"), nil); got != r.want {
			t.Errorf("%s without %q: %s: got %v, want %v", r.include, r.exclude, r.path, got, r.want)
		}
	}
}

func TestGitignoreAbove(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "mono", "app")
	for name, text := range map[string]string{
		"mono/.git/HEAD":            "",
		"mono/.gitignore":           "target/\n/app/secret\n",
		"mono/app/.gitignore":       "build/*\ndist\n",
		"mono/app/dist/.gitignore":  "x\n",
		"mono/app/build/a/.gitkeep": "",
	} {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	rows := []struct {
		base, path string
		isDir      bool
		want       bool
	}{
		{"", "target", true, true},
		{"", "secret", false, true},
		{"", "other", false, false},
		{"build", "build/x", false, false},     // named by the rule itself
		{"build", "build/target", true, true},  // other rules hold
		{"dist", "dist/target", true, false},   // hidden but named: nothing above counts
		{"build/a", "build/a/b", false, false}, // in what is hidden
	}
	for _, r := range rows {
		base := filepath.Join(root, r.base)
		set := above(root, base).extend(base)
		if got := set.hides(filepath.Join(root, r.path), r.isDir); got != r.want {
			t.Errorf("in %q: %s: got hidden %v, want %v", r.base, r.path, got, r.want)
		}
	}
}

// gitHides asks git which of the paths it ignores.
func gitHides(t *testing.T, dir string, paths []string) []string {
	cmd := exec.Command("git", "-c", "core.excludesFile=", "check-ignore", "--no-index", "--stdin", "-z")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "HOME="+dir)
	cmd.Stdin = strings.NewReader(strings.Join(paths, "\x00") + "\x00")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && errs.Len() > 0 {
		t.Fatalf("%v: %s", err, errs.String())
	}
	return strings.FieldsFunc(out.String(), func(r rune) bool { return r == 0 })
}

// ours walks the same tree by our rules.
func ours(dir string, set *ruleset, rel string, hidden bool) []string {
	set = set.extend(filepath.Join(dir, rel))
	var all []string
	for _, e := range list(filepath.Join(dir, rel)) {
		name := filepath.Join(rel, e.Name())
		if e.Name() == ".git" || e.Name() == ignoreFile {
			continue
		}
		h := hidden || set.hides(filepath.Join(dir, name), e.IsDir())
		if h {
			all = append(all, name)
		}
		if e.IsDir() {
			all = append(all, ours(dir, set, name, h)...)
		}
	}
	return all
}

func TestGitignoreAsGit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git to compare with")
	}
	dir := t.TempDir()
	if out, err := exec.Command("git", "init", "-q", dir).CombinedOutput(); err != nil {
		t.Skipf("git init: %v: %s", err, out)
	}
	var paths []string
	for _, d := range []string{"", "a/", "a/b/", "a/b/a/", "b/", "b/ab/", "{a}/"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
		if d != "" {
			paths = append(paths, strings.TrimSuffix(d, "/"))
		}
		for _, f := range []string{"x", "a.o", "ab.c", "x y", "#c", "!n", "q{z}"} {
			if err := os.WriteFile(filepath.Join(dir, d, f), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			paths = append(paths, d+f)
		}
	}
	piece := rapid.SampledFrom([]string{"a", "b", "ab", "x", "*", "**", "a*", "*.o", "?b", "[ab]", "[!a]", "{a}", "q{z}", "a.o", "a**b", `\#c`, "#c", `\!n`, "x y", "*.[co]", ""})
	line := rapid.Custom(func(t *rapid.T) string {
		s := strings.Join(rapid.SliceOfN(piece, 1, 3).Draw(t, "pieces"), "/")
		return rapid.SampledFrom([]string{"", "", "", "!", "/"}).Draw(t, "before") + s + rapid.SampledFrom([]string{"", "", "/", "/**", " ", "\r"}).Draw(t, "after")
	})
	rapid.Check(t, func(rt *rapid.T) {
		for _, d := range []string{"", "a", "a/b"} {
			text := strings.Join(rapid.SliceOfN(line, 0, 4).Draw(rt, "lines of "+d), "\n")
			if err := os.WriteFile(filepath.Join(dir, d, ignoreFile), []byte(text), 0o644); err != nil {
				rt.Fatal(err)
			}
		}
		want, got := gitHides(t, dir, paths), ours(dir, nil, "", false)
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			rt.Fatalf("got hidden %q, git says %q", got, want)
		}
	})
}

func FuzzRules(f *testing.F) {
	f.Add("*.o\n!a/**/b\n\\ \n[", "a/x/b")
	f.Add("/**/\n{a,b\n a\\", ".")
	f.Fuzz(func(t *testing.T, text, rel string) {
		rules := parseRules(text)
		for _, isDir := range []bool{true, false} {
			if hidden, decided := decide(rules, rel, isDir); hidden && !decided {
				t.Errorf("hidden without a rule: %q %q", text, rel)
			}
		}
	})
}

func FuzzPattern(f *testing.F) {
	f.Add("src/**/*.{go,mod}", "src/a/b.go")
	f.Add("../{a/b,c}/[!x]?", "..//x")
	f.Fuzz(func(t *testing.T, include, rel string) {
		sc, err := patternScope("/p", include, nil)
		if err != nil {
			return
		}
		if !filepath.IsAbs(sc.base) {
			t.Fatalf("%q: got the base %q", include, sc.base)
		}
		// What matches is reached: every directory on the way is gone down to.
		p := filepath.Join("/p", rel)
		f := &filter{root: "/p"}
		if !sc.holds(f.relative(p)) || !within(sc.base, p) || p == sc.base || sc.base == "/" {
			return
		}
		for d := filepath.Dir(p); d != sc.base; d = filepath.Dir(d) {
			if !sc.descends(f.relative(d), d) {
				t.Fatalf("%q matches %q, but %q is not gone down to", include, p, d)
			}
		}
	})
}
