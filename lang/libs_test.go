package lang_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"orrery/lang"
)

// unpinned is an error of a resolver, with what to do.
type unpinned struct{ name string }

func (u unpinned) Error() string { return "library " + u.name + " is not pinned" }
func (u unpinned) Hint() string  { return "pin " + u.name }

// loadWith evaluates a project file with libraries, each a map of files.
func loadWith(t *testing.T, src string, libs map[string]fstest.MapFS) (*lang.Project, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "services.star"), []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	return lang.Load(context.Background(), lang.Options{
		File: filepath.Join(dir, "services.star"),
		Libs: func(root, name string) (*lang.Library, error) {
			if real, _ := filepath.EvalSymlinks(dir); root != real {
				return nil, fmt.Errorf("got the root %s, want %s", root, real)
			}
			if libs[name] == nil {
				return nil, unpinned{name}
			}
			return &lang.Library{FS: libs[name], Dir: "/libs/" + name, From: []string{filepath.Join(root, "services.lock")}}, nil
		},
	})
}

func TestLibraries(t *testing.T) {
	libs := map[string]fstest.MapFS{
		"acme": {
			"a.star":   {Data: []byte("load(\"//d/b.star\", \"b\")\nload(\"@other//o.star\", \"o\")\ndef a(name):\n    check(o == 1, \"o\")\n    return service(name, command = [b])\n")},
			"d/b.star": {Data: []byte("load(\":c.star\", \"c\")\nb = c\n")},
			"d/c.star": {Data: []byte("c = \"true\"\n")},
		},
		"other": {"o.star": {Data: []byte("o = 1\n")}},
	}
	p, err := loadWith(t, "load(\"@acme//a.star\", \"a\")\na(\"x\")\n", libs)
	if err != nil {
		t.Fatal(err)
	}
	var read []string
	for _, f := range p.Files {
		read = append(read, strings.TrimPrefix(f.Path, p.Root+"/"))
	}
	for _, want := range []string{"services.star", "services.lock", "/libs/acme/a.star", "/libs/acme/d/b.star", "/libs/acme/d/c.star", "/libs/other/o.star"} {
		if !slices.Contains(read, want) {
			t.Errorf("%s is no input of the evaluation: %q", want, read)
		}
	}
	if got := p.Graph.Node("x").Pos.String(); !strings.HasPrefix(got, "services.star:2:") {
		t.Errorf("got the place %s, want the user's line", got)
	}
}

func TestLibraryMistakes(t *testing.T) {
	libs := map[string]fstest.MapFS{
		"acme": {
			"loop.star":     {Data: []byte("load(\"@other//loop.star\", \"x\")\ny = 1\n")},
			"declares.star": {Data: []byte("service(\"x\", command = [\"true\"])\ny = 1\n")},
			"needs.star":    {Data: []byte("load(\"@third//x.star\", \"x\")\n")},
			"fails.star":    {Data: []byte("def f(name):\n    check(False, \"no\")\n")},
			"warns.star":    {Data: []byte("def f(name):\n    warn(\"w\")\n")},
		},
		"other": {"loop.star": {Data: []byte("load(\"@acme//loop.star\", \"y\")\nx = 1\n")}},
	}
	for _, row := range []struct{ src, file, msg, hint string }{
		{`load("@none//x.star", "x")`, "services.star", "cannot load @none//x.star: library none is not pinned", "pin none"},
		{`load("@acme//needs.star", "x")`, "@acme//needs.star", "cannot load @third//x.star: library third is not pinned", "pin third"},
		{`load("@acme//loop.star", "y")`, "@other//loop.star", "load each other: @acme//loop.star -> @other//loop.star -> @acme//loop.star", ""},
		{`load("@acme//declares.star", "y")`, "@acme//declares.star", "cannot call service() while a library loads", ""},
		{"load(\"@acme//fails.star\", \"f\")\nf(\"db/main\")", "services.star", "in db/main: no", ""},
		{`load("@acme//../x.star", "y")`, "services.star", "without ..", ""},
		{`load("@acme///etc/passwd", "y")`, "services.star", "without ..", ""},
		{`load("@acme", "y")`, "services.star", `want "@name//x.star"`, ""},
		{`load("@../x//y.star", "y")`, "services.star", `want "@name//x.star"`, ""},
		{`load("@acme//gone.star", "y")`, "services.star", "cannot load @acme//gone.star", ""},
	} {
		_, err := loadWith(t, row.src, libs)
		var errs lang.Errors
		if !errors.As(err, &errs) {
			t.Errorf("%s: got %v", row.src, err)
			continue
		}
		if d := errs[0]; d.File != row.file || !strings.Contains(d.Message, row.msg) || row.hint != "" && d.Hint != row.hint || d.Line == 0 {
			t.Errorf("%s: got %s:%d: %s (%s), want %s: %s (%s)", row.src, d.File, d.Line, d.Message, d.Hint, row.file, row.msg, row.hint)
		}
	}
}
