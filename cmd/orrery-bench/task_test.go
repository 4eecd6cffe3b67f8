package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestShape: the tree has the size that was asked for, three layers, and a chain from the first leaf to the first top.
func TestShape(t *testing.T) {
	for _, n := range []int{100, 1000, 10_000} {
		jobs := shape(n)
		if len(jobs) != n {
			t.Errorf("got %d tasks, want %d", len(jobs), n)
		}
		seen := map[string]bool{}
		for _, j := range jobs {
			for _, d := range j.deps {
				if !seen[d.name] {
					t.Fatalf("%s comes before its dependency %s", j.name, d.name)
				}
			}
			if len(j.deps) > 11 {
				t.Errorf("%s has %d dependencies, want about 10", j.name, len(j.deps))
			}
			seen[j.name] = true
		}
		tops := roots(jobs)
		if len(tops) != n/100 || tops[0].name != "t0" || tops[0].argv[1] != "p/m0/out" || tops[0].deps[0].argv[1] != "p/l0/out" {
			t.Errorf("got the tops %v, the first %v", names(tops), tops[0].argv)
		}
	}
}

// TestTaskFiles writes a tree for each tool without the tool being there.
func TestTaskFiles(t *testing.T) {
	want := map[string]string{
		"orrery":  `group("all", layer("t", 1, layer("m", 9, layer("l", 90, []))))`,
		"ninja":   "build p/t0/out: run p/t0/a p/t0/b p/m0/out p/m1/out",
		"make":    "p/l89/out: p/l89/a p/l89/b\n\tcp p/l89/a p/l89/out\n",
		"go-task": `    sources: ["p/l0/a", "p/l0/b"]`,
		"just":    "[cache(inputs=['p/l0/a', 'p/l0/b'], outputs=['p/l0/out'])]\n[script]\nl0:\n  cp p/l0/a p/l0/out\n",
		"wireit":  `"l0":{"command":"cp p/l0/a p/l0/out","files":["p/l0/a","p/l0/b"],"output":["p/l0/out"]}`,
	}
	file := map[string]string{
		"orrery": "services.star", "ninja": "build.ninja", "make": "Makefile", "go-task": "Taskfile.yml", "just": "justfile", "wireit": "package.json",
	}
	for _, b := range builders() {
		f := &found{peer: b.peer, name: b.name, bin: map[string]string{}}
		for _, program := range b.programs {
			f.bin[program] = "/bin/" + filepath.Base(program)
		}
		s := &site{session: &session{found: f, dir: t.TempDir(), self: "/bench"}, tool: b, jobs: shape(100)}
		if argv := b.run(s); len(argv) == 0 || argv[0] == "" {
			t.Errorf("%s: got the command %q", b.name, argv)
		}
		if want[b.name] == "" {
			continue
		}
		if err := b.write(s); err != nil {
			t.Fatalf("%s: %v", b.name, err)
		}
		got, err := os.ReadFile(s.session.file(file[b.name]))
		if err != nil || !strings.Contains(string(got), want[b.name]) {
			t.Errorf("%s: got\n%.2000s\n%v, want in it %s", b.name, got, err, want[b.name])
		}
	}
}

// TestStarlarkOne: a tree of a single task is declared by its own command.
func TestStarlarkOne(t *testing.T) {
	got := starlarkTasks([]*job{{name: "l0", argv: []string{"sh", "p/l0/run.sh"}}})
	if want := `group("all", [one("l0", ["sh", "p/l0/run.sh"], [])])`; !strings.Contains(got, want) {
		t.Errorf("got %s, want in it %s", got, want)
	}
}

func TestParseTasks(t *testing.T) {
	for _, row := range []struct{ args, want string }{
		{"-tasks -only launch", "got -only launch, want some of noop,"},
		{"-only noop", "got -only noop, want some of launch,"},
		{"-tasks -sizes 1", "got -sizes 1, want numbers from 10"},
	} {
		if _, err := parse(strings.Fields(row.args), io.Discard); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: got %v, want %s", row.args, err, row.want)
		}
	}
	o, err := parse([]string{"-tasks", "-sizes", "100,1000", "-only", "noop"}, io.Discard)
	if err != nil || !slices.Equal(o.sizes, []int{100, 1000}) {
		t.Errorf("got %+v, %v", o, err)
	}
}

// TestTables: one table a workload, a row a tool, a column a size; what was not run says why.
func TestTables(t *testing.T) {
	list := []*found{{name: "orrery", version: "1"}, {name: "make", version: "2"}, {name: "nx", version: "3"}}
	cells := map[key]*cell{}
	gather(cells, "orrery", []sample{{id: "noop.100", value: 2}, {id: "noop.100", value: 4}, {id: "noop.1000", value: 8}})
	gather(cells, "make", []sample{{id: "noop.100", value: 6}, {id: "noop.1000", value: 4}})
	gather(cells, "nx", []sample{{id: "noop.100", value: 30}, failure("noop.1000", fmt.Errorf("too slow"))})
	r := report{Tasks: true, Peers: versions(list), Results: results(taskMeasures([]int{100, 1000}), list, cells)}
	for _, want := range []string{
		"| | noop.100 | noop.1000 |\n|---|---|---|\n",
		"| orrery | 3.00 (2.00-4.00) n2 | 8.00 n1 |\n| make | 6.00 x2.00 n1 | 4.00 x0.50 n1 |\n| nx | 30.0 x10.00 n1 | failed |\n",
		"- noop.1000, nx: failed: too slow\n",
	} {
		if got := r.tables(); !strings.Contains(got, want) {
			t.Errorf("got\n%s\nwant in it\n%s", got, want)
		}
	}
}

// TestFloor runs the two floors for real in a small tree.
func TestFloor(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, j := range shape(20) {
		if err := os.MkdirAll(filepath.Dir(j.file("a")), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a", "b"} {
			if err := os.WriteFile(j.file(name), []byte(j.name), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := stats(settings{"tasks": "20"}); err == nil {
		t.Error("no error though the outputs are missing")
	}
	if err := copies(settings{"tasks": "20"}); err != nil {
		t.Fatal(err)
	}
	if err := stats(settings{"tasks": "20"}); err != nil {
		t.Error(err)
	}
}
