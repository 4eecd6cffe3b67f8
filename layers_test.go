package orrery_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// room is a package: who it may import of ours, and why no more.
type room struct {
	dir string
	may []string // directories; "runtime/..." takes all below
	why string
}

// rooms holds every arrow between packages that there may be; the tests of a
// package keep to it too. A package that is not here has no arrows to show: add
// its line, with the reason. Rooms that the design names and that are not built
// yet have their line already.
func rooms() []room {
	return []room{
		{".", nil, "doc.go embeds spec.star for whoever wants it, so it can import none of them"},
		{"lang/graph", nil, "plain data that every side shares; an import would tie the sides together"},
		{"stdlib", nil, "embedded text; what loads it is lang's matter, cmd hands it in"},
		{"lang/spec", []string{".", "lang/graph"}, "checks values against spec.star; names and positions are lang's"},
		{"lang", []string{"lang/graph", "lang/spec", "stdlib"}, "evaluation is pure: it starts nothing, so it sees no runtime"},
		{"lang/export", []string{"lang/graph"}, "pure writers of a graph; they bind nothing"},
		{"lang/convert", nil, "text in, text out: it knows neither the graph nor who evaluates what it writes"},

		{"runtime/machine", nil, "one pure decision: no clock, no I/O, nothing to import"},
		{"runtime/notify", nil, "a socket and a parser; who the sender is is asked through a function"},
		{"runtime/sandbox", nil, "paths in, rules of the kernel out; what a task declares is task's matter"},
		{"runtime/files", nil, "the few questions about files that every task asks often"},
		{"runtime/proc", []string{"runtime/sandbox", "runtime/files"}, "processes know nothing of graphs; the shim confines itself"},
		{"runtime/logs", nil, "bytes and files; names of nodes are handed in"},
		{"runtime/watch", nil, "paths in, change sets out; the only one to know fsnotify"},
		{"runtime/cache", []string{"runtime/files"}, "keys and blobs; what a key means is task's matter"},
		{"runtime/history", []string{"runtime/control/api"}, "files and pure readings of them; a record is made of events alone"},
		{"runtime/remote", []string{"runtime/cache", "runtime/task/storetest"}, "a cache behind the one on disk; knows records and blobs, and of a key the words of its lines"},
		{"runtime/control/api", nil, "the words of the protocol, for both ends"},
		{"runtime/control", []string{"runtime/control/api"}, "finds and asks an engine without being one"},
		{"runtime/bind", []string{"lang/graph"}, "fills the references of a graph with ports and paths"},
		{"runtime/probe", []string{"lang/graph", "runtime/proc"}, "exec probes start processes, the others connect"},
		{"runtime/fresh", []string{"runtime/cache", "runtime/files", "runtime/watch"}, "how files looked when results were right; what a result is, is task's matter"},
		{"runtime/libs", nil, "fetches and keeps external libraries; what loads them is lang's matter, cmd hands it in"},
		{"runtime/archive", []string{"runtime/files"}, "a folder to two texts and back; where they are kept is its user's matter"},
		{"runtime/task", []string{"lang/graph", "runtime/files", "runtime/proc", "runtime/cache", "runtime/archive", "runtime/fresh", "runtime/sandbox", "runtime/task/storetest"}, "runs one task or restores it; needs no engine"},
		{"runtime/keeper", []string{"runtime/proc", "runtime/sandbox"}, "does nothing clever: holds children, sockets and pipes"},
		{"runtime/task/storetest", []string{"runtime/cache"}, "the conformance suite of task.Store, for the tests of every store"},
		{"runtime/engine", []string{"lang/graph", "runtime/machine", "runtime/bind", "runtime/probe", "runtime/notify", "runtime/proc", "runtime/task",
			"runtime/logs", "runtime/control", "runtime/control/api", "runtime/watch", "runtime/cache"},
			"owns live state and drives the rest; evaluation reaches it as a function"},

		{"cmd/orrery", []string{".", "cmd/orrery/term", "lang", "lang/graph", "lang/spec", "lang/export", "lang/convert", "stdlib", "runtime/engine", "runtime/control", "runtime/control/api",
			"runtime/keeper", "runtime/proc", "runtime/task", "runtime/cache", "runtime/fresh", "runtime/remote", "runtime/logs", "runtime/bind", "runtime/history", "runtime/libs"},
			"ties language and runtime together, through the entry points only"},
		{"cmd/orrery/term", nil, "a terminal and what is drawn on it; what a node is, and when there is a footer, is the command's matter"},
		{"cmd/orrery-bench", nil, "measures the built program from outside, as it does its peers"},
	}
}

// wall says which packages may import a module that is not ours.
type wall struct {
	module string
	may    []string // directories, or "runtime/..."
	tests  []string // directories whose tests may too
	why    string
}

func walls() []wall {
	return []wall{
		{"go.starlark.net", []string{"lang", "lang/spec"}, nil, "past lang there is a graph, no Starlark"},
		{"github.com/spf13/cobra", []string{"cmd/orrery"}, nil, "the command line is one room"},
		{"github.com/spf13/pflag", []string{"cmd/orrery"}, nil, "the command line is one room"},
		{"github.com/mattn/go-isatty", []string{"cmd/orrery"}, nil, "only the command line looks at terminals"},
		{"golang.org/x/term", []string{"cmd/orrery"}, nil, "lines that can be edited, in orrery repl"},
		{"github.com/fsnotify/fsnotify", []string{"runtime/watch"}, nil, "polling stands behind the same room"},
		{"github.com/bmatcuk/doublestar/v4", []string{"lang", "lang/spec", "runtime/task", "runtime/watch"}, nil, "one meaning of a pattern"},
		{"github.com/bazelbuild/buildtools", []string{"lang", "cmd/orrery"}, nil, "orrery fmt"},
		{"github.com/goccy/go-yaml", []string{"lang", "lang/convert", "runtime/bind"}, nil, "config files, yaml.encode, conversion"},
		{"github.com/BurntSushi/toml", []string{"lang", "runtime/bind"}, nil, "config files, toml.encode"},
		{"filippo.io/age", []string{"runtime/bind"}, nil, "secrets are decrypted where they are read"},
		{"mvdan.cc/sh/v3", []string{"lang/graph"}, nil, "references in scripts: Text.Shell, for the checker and for whoever binds"},
		{"github.com/robfig/cron/v3", []string{"lang/graph"}, nil, "schedules: Schedule.Check and Next, for the checker and for whoever runs them"},
		{"github.com/clipperhouse/displaywidth", []string{"cmd/orrery/term"}, nil, "one meaning of a column"},
		{"golang.org/x/sys", []string{"runtime/...", "cmd/orrery", "cmd/orrery/term"}, nil, "system calls belong to the runtime"},
		{"google.golang.org/protobuf/encoding/protowire", []string{"runtime/remote"}, nil, "the messages of the remote cache, by hand"},
		{"google.golang.org/protobuf", nil, []string{"runtime/remote"}, "the oracle of our tests"},
		{"google.golang.org/grpc", nil, []string{"runtime/remote"}, "the oracle of our tests: linked, it would cost every start 1 ms"},
		{"google.golang.org/genproto", nil, []string{"runtime/remote"}, "the oracle of our tests"},
		{"github.com/bazelbuild/remote-apis", nil, []string{"runtime/remote"}, "the oracle of our tests"},
		{"github.com/creack/pty", []string{"runtime/proc"}, []string{"cmd/orrery", "runtime/engine"}, "services with a terminal"},
		{"github.com/coreos/go-systemd/v22", nil, []string{"runtime/...", "cmd/orrery"}, "the oracle of our tests; the protocols are our own"},
		{"github.com/google/go-cmp", nil, []string{"..."}, "tests"},
		{"github.com/rogpeppe/go-internal", nil, []string{"cmd/orrery"}, "testscript"},
		{"pgregory.net/rapid", nil, []string{"..."}, "tests"},
	}
}

func among(dir string, list []string) bool {
	return slices.ContainsFunc(list, func(p string) bool {
		base, all := strings.CutSuffix(p, "...")
		return p == dir || all && strings.HasPrefix(dir, base)
	})
}

// TestLayers fails on any arrow that rooms and walls do not hold.
func TestLayers(t *testing.T) {
	byDir := map[string]room{}
	for _, r := range rooms() {
		byDir[r.dir] = r
	}
	for _, f := range tree(t) {
		r, known := byDir[f.dir]
		if !known {
			t.Errorf("%s: the package %s is not in the table of rooms", f.path, f.dir)
			continue
		}
		for _, spec := range f.ast.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(path, "/")
			switch {
			case first == "orrery":
				dir := strings.TrimPrefix(strings.TrimPrefix(path, "orrery"), "/")
				if dir == "" {
					dir = "."
				}
				if dir != f.dir && !among(dir, r.may) { // an external test imports its own package
					t.Errorf("%s imports %s, which is no arrow of %s: %s", f.path, dir, f.dir, r.why)
				}
			case strings.Contains(first, "."):
				outside(t, f, path)
			}
		}
	}
}

func outside(t *testing.T, f file, path string) {
	for _, w := range walls() {
		if path != w.module && !strings.HasPrefix(path, w.module+"/") {
			continue
		}
		if !among(f.dir, w.may) && !(f.test && among(f.dir, w.tests)) {
			t.Errorf("%s imports %s, which only %v may (its tests: %v): %s", f.path, path, w.may, w.tests, w.why)
		}
		return
	}
	t.Errorf("%s imports %s, which no wall speaks of", f.path, path)
}

// file is one Go file of this module.
type file struct {
	path      string // with slashes, from the root
	dir       string
	test      bool
	generated bool
	lines     int
	src       []byte
	ast       *ast.File
	fset      *token.FileSet
}

// tree parses every Go file of the module; modules below it (examples) and
// testdata are left out.
func tree(t *testing.T) []file {
	t.Helper()
	var files []file
	fset := token.NewFileSet()
	walk(t, func(path string) {
		if !strings.HasSuffix(path, ".go") || inner(path) {
			return
		}
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		a, err := parser.ParseFile(fset, path, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file{
			path: path, dir: filepath.ToSlash(filepath.Dir(path)), test: strings.HasSuffix(path, "_test.go"),
			generated: ast.IsGenerated(a), lines: strings.Count(string(src), "\n"), src: src, ast: a, fset: fset,
		})
	})
	return files
}

// inner reports whether the file belongs to testdata or to a module of its own.
func inner(path string) bool {
	for dir := filepath.Dir(path); dir != "."; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil || filepath.Base(dir) == "testdata" {
			return true
		}
	}
	return false
}

// walk calls visit for every file of the repository, what git ignores aside.
func walk(t *testing.T, visit func(path string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains([]string{".git", ".orrery", "bin", "node_modules", "rapid"}, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if d.Type().IsRegular() {
			visit(filepath.ToSlash(path))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
