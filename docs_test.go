package orrery_test

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestDocumented: every package and every exported name says what it is.
func TestDocumented(t *testing.T) {
	files := tree(t)
	packages := map[string]bool{}
	for _, f := range files {
		if !f.test {
			packages[f.dir] = packages[f.dir] || f.ast.Doc != nil && f.ast.Doc.Text() != ""
		}
	}
	for dir, ok := range packages {
		if !ok {
			t.Errorf("%s has no package comment", dir)
		}
	}
	for _, f := range files {
		if f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && receiverExported(d) {
					begins(t, f, d.Name, d.Doc)
				}
			case *ast.GenDecl:
				documentedSpecs(t, f, d)
			}
		}
	}
}

func receiverExported(d *ast.FuncDecl) bool {
	return d.Recv == nil || ast.IsExported(receiver(d))
}

// receiver is the type name of a method's receiver, or "".
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	e := d.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// documentedSpecs: a type has its own comment; a constant or variable has one,
// or a comment behind it, or one over its group.
func documentedSpecs(t *testing.T, f file, d *ast.GenDecl) {
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() {
				doc := s.Doc
				if doc == nil {
					doc = d.Doc
				}
				begins(t, f, s.Name, doc)
			}
		case *ast.ValueSpec:
			if s.Names[0].IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
				t.Errorf("%s: %s has no comment", f.fset.Position(s.Pos()), s.Names[0].Name)
			}
		}
	}
}

// begins: the comment of a function or type begins with its name, so that one
// moved or renamed does not go on speaking of another.
func begins(t *testing.T, f file, name *ast.Ident, doc *ast.CommentGroup) {
	if doc == nil || doc.Text() == "" {
		t.Errorf("%s: %s has no comment", f.fset.Position(name.Pos()), name.Name)
		return
	}
	words := strings.Fields(doc.Text())
	if len(words) > 1 && slices.Contains([]string{"A", "An", "The"}, words[0]) {
		words = words[1:]
	}
	if first := strings.TrimRight(words[0], ",:.;()"); first != name.Name {
		t.Errorf("%s: the comment of %s begins with %q", f.fset.Position(name.Pos()), name.Name, words[0])
	}
}

// TestMap: the map in doc.go names every package of lang, runtime and cmd, and
// no folder that is not there.
func TestMap(t *testing.T) {
	files := tree(t)
	var text string
	dirs := map[string]bool{}
	for _, f := range files {
		if f.path == "doc.go" {
			text = f.ast.Doc.Text()
		}
		if !f.test {
			dirs[f.dir] = true
		}
	}
	named := map[string]bool{}
	for line := range strings.Lines(text) {
		if name, _, ok := strings.Cut(strings.TrimSpace(line), " "); ok && strings.HasPrefix(line, "\t") {
			named[name] = true
			if _, err := os.Stat(name); err != nil {
				t.Errorf("doc.go names %s, which is not there", name)
			}
		}
	}
	for dir := range dirs {
		if !named[dir] && dir != "." {
			t.Errorf("doc.go does not name %s", dir)
		}
	}
}

var (
	codeSpan = regexp.MustCompile("`[^`\n]+`")
	qualName = regexp.MustCompile(`^\(?\*?([a-z][a-z0-9]*)\.([A-Za-z_]\w*)\)?(?:\.(\w+))?(?:\(.*\))?$`)
	mdLink   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	fence    = regexp.MustCompile("(?ms)^```.*?^```\n?")
)

// TestNamesInDocs: a `pkg.Name`, `pkg.Type.Method` or `folder/file` that a page
// names is there, so that it can be grepped for.
func TestNamesInDocs(t *testing.T) {
	names, packages := declaredNames(tree(t))
	for _, page := range []string{"docs/architecture.md", "docs/style.md", "CONTRIBUTING.md"} {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, span := range codeSpan.FindAllString(fence.ReplaceAllString(string(b), ""), -1) {
			span = strings.Trim(span, "`")
			if _, err := os.Stat(span); err == nil {
				continue
			}
			if m := qualName.FindStringSubmatch(span); m != nil && packages[m[1]] {
				full := m[1] + "." + m[2]
				if m[3] != "" {
					full += "." + m[3]
				}
				if !names[full] {
					t.Errorf("%s: there is no %s", page, span)
				}
				continue
			}
			top, _, nested := strings.Cut(span, "/")
			if info, err := os.Stat(top); nested && err == nil && info.IsDir() && !strings.ContainsAny(span, " *<{") {
				t.Errorf("%s: there is no %s", page, span)
			}
		}
	}
}

// declaredNames lists "pkg.Name" and "pkg.Type.member" of the whole tree, and
// the names of the packages.
func declaredNames(files []file) (names, packages map[string]bool) {
	names, packages = map[string]bool{}, map[string]bool{}
	for _, f := range files {
		if f.test || f.ast.Name.Name == "main" {
			continue
		}
		pkg := f.ast.Name.Name
		packages[pkg] = true
		for _, id := range declared(f.ast) {
			names[pkg+"."+id.Name] = true
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if r := receiver(d); r != "" {
					names[pkg+"."+r+"."+d.Name.Name] = true
				}
			case *ast.GenDecl:
				if d.Tok == token.TYPE {
					members(names, pkg, d)
				}
			}
		}
	}
	return names, packages
}

func members(names map[string]bool, pkg string, d *ast.GenDecl) {
	for _, s := range d.Specs {
		spec := s.(*ast.TypeSpec)
		var list []*ast.Field
		switch x := spec.Type.(type) {
		case *ast.StructType:
			list = x.Fields.List
		case *ast.InterfaceType:
			list = x.Methods.List
		}
		for _, f := range list {
			for _, id := range f.Names {
				names[pkg+"."+spec.Name.Name+"."+id.Name] = true
			}
		}
	}
}

// TestDependencies: each module of go.mod has its line in the decision page, and
// no other has.
func TestDependencies(t *testing.T) {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("docs/decisions/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	required := regexp.MustCompile(`(?m)^(?:require )?\s*(\S+\.\S+/?\S*) v\S+`).FindAllStringSubmatch(string(mod), -1)
	for _, m := range required {
		if !bytes.Contains(page, []byte(m[1])) {
			t.Errorf("docs/decisions/dependencies.md has no line for %s", m[1])
		}
	}
	for _, row := range regexp.MustCompile(`(?m)^\| ([a-z.]+\.[a-z]+/?\S*) \|`).FindAllStringSubmatch(string(page), -1) {
		if !slices.ContainsFunc(required, func(m []string) bool { return row[1] == m[1] || strings.HasPrefix(row[1], m[1]+"/") }) {
			t.Errorf("docs/decisions/dependencies.md speaks of %s, which go.mod does not require", row[1])
		}
	}
}

// TestLinks: no relative link of a page is dead.
func TestLinks(t *testing.T) {
	walk(t, func(path string) {
		if filepath.Ext(path) != ".md" || strings.Contains(path, "testdata/") {
			return
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mdLink.FindAllStringSubmatch(fence.ReplaceAllString(string(b), ""), -1) {
			link, _, _ := strings.Cut(m[1], "#")
			if link == "" || strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), link)); err != nil {
				t.Errorf("%s: dead link %s", path, m[1])
			}
		}
	})
}

// TestWords: nothing that only one machine has, no package registries, nothing
// left to do. This file cannot name them whole.
func TestWords(t *testing.T) {
	forbidden := map[string]*regexp.Regexp{
		"a path of one machine":  regexp.MustCompile(`(^|[^\w/.-])/wo` + `rk/\w|\.\./sha` + `red/`),
		"the host of a registry": regexp.MustCompile(`https?://(proxy|registry|deb|s` + `um)\.`),
		"something left to do":   regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`),
	}
	walk(t, func(path string) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if path == "go.sum" || path == ".git" || !utf8.Valid(b) || len(b) > 1<<20 {
			return
		}
		n := 0
		for line := range bytes.Lines(b) {
			n++
			for what, re := range forbidden {
				if re.Match(line) {
					t.Errorf("%s:%d: %s: %s", path, n, what, bytes.TrimSpace(line))
				}
			}
		}
	})
}

// TestFormatted: every Go file is as gofmt writes it.
func TestFormatted(t *testing.T) {
	walk(t, func(path string) {
		if filepath.Ext(path) != ".go" {
			return
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if want, err := format.Source(b); err != nil || !bytes.Equal(b, want) {
			t.Errorf("%s is not as gofmt writes it (%v)", path, err)
		}
	})
}
