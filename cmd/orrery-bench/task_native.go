package main

import (
	"fmt"
	"strings"
)

// builders is the list of all build tools that the bench knows: orrery first, for the ratios, the floor last.
func builders() []builder {
	return []builder{
		orreryTasks(), orreryUp(), ninja(), gnuMake(), goTask(), just(), turbo(), moon(), nx(), wireit(), floor(),
	}
}

// tools are the builders as peers, for finding and installing them.
func tools() []peer {
	var list []peer
	for _, b := range builders() {
		list = append(list, b.peer)
	}
	return withDefaults(list...)
}

func orreryTasks() builder {
	return builder{
		peer:  peer{name: "orrery", programs: []string{"orrery"}, version: []string{"version"}},
		keeps: true,
		write: func(s *site) error { return s.session.write("services.star", starlarkTasks(s.jobs)) },
		run:   func(s *site) []string { return []string{s.program(), "run", "-q", "-j2", "all"} },
		read:  func(s *site) []string { return []string{s.program(), "check"} },
	}
}

// orreryUp is the same with an engine that runs, watches and is asked.
func orreryUp() builder {
	b := orreryTasks()
	b.name, b.read, b.keeps = "orrery+up", nil, true
	b.begin = func(s *site) []string { return []string{s.program(), "up", "-d", "--wait=600s", "all"} }
	b.end = func(s *site) []string { return []string{s.program(), "down"} }
	return b
}

// starlarkTasks declares the tasks. A tree is written with a loop a layer, as one would.
func starlarkTasks(jobs []*job) string {
	t := "project(name = \"bench\")\n"
	t += `
def one(name, argv, deps):
    return task(
        name,
        command = argv,
        inputs = ["p/%s/a" % name, "p/%s/b" % name] + [d.outputs.out for d in deps],
        outputs = {"out": "p/%s/out" % name},
    )

def layer(letter, count, below):
    list = []
    for i in range(count):
        name = letter + str(i)
        deps = below[i * len(below) // count:(i + 1) * len(below) // count]
        origin = deps[0].outputs.out if deps else "p/%s/a" % name
        list.append(one(name, ["cp", origin, "p/%s/out" % name], deps))
    return list

`
	count := map[byte]int{}
	for _, j := range jobs {
		count[j.name[0]]++
	}
	if count['t'] == 0 {
		for _, j := range jobs {
			t += fmt.Sprintf("group(\"all\", [one(%s, %s, [])])\n", quote(j.name), list(j.argv))
		}
		return t
	}
	return t + fmt.Sprintf("group(\"all\", layer(\"t\", %d, layer(\"m\", %d, layer(\"l\", %d, []))))\n", count['t'], count['m'], count['l'])
}

// list is a list of strings in Starlark, YAML and JSON alike.
func list(words []string) string {
	var all []string
	for _, w := range words {
		all = append(all, quote(w))
	}
	return "[" + strings.Join(all, ", ") + "]"
}

func ninja() builder {
	return builder{
		peer: peer{name: "ninja", programs: []string{"ninja"}, from: "apt:ninja-build"},
		write: func(s *site) error {
			var t strings.Builder
			t.WriteString("rule run\n  command = $cmd\n")
			for _, j := range s.jobs {
				fmt.Fprintf(&t, "build %s: run %s\n  cmd = %s\n", j.file("out"), strings.Join(j.inputs(), " "), j.line())
			}
			return s.session.write("build.ninja", t.String())
		},
		run:  func(s *site) []string { return []string{s.program(), "-j2", "--quiet"} },
		read: func(s *site) []string { return []string{s.program(), "-t", "rules"} },
	}
}

func gnuMake() builder {
	return builder{
		peer: peer{name: "make", programs: []string{"make"}, from: "apt:make"},
		write: func(s *site) error {
			var t strings.Builder
			t.WriteString("MAKEFLAGS += -rR --no-print-directory\n.SUFFIXES:\n.PHONY: all\nall:")
			for _, j := range roots(s.jobs) {
				t.WriteString(" " + j.file("out"))
			}
			t.WriteString("\n")
			for _, j := range s.jobs {
				fmt.Fprintf(&t, "%s: %s\n\t%s\n", j.file("out"), strings.Join(j.inputs(), " "), j.line())
			}
			return s.session.write("Makefile", t.String())
		},
		run: func(s *site) []string { return []string{s.program(), "-s", "-j2", "all"} },
	}
}

func goTask() builder {
	return builder{
		peer: peer{name: "go-task", programs: []string{"task"}, from: "go:github.com/go-task/task/v3/cmd/task@v3.48.0", version: []string{"--version"}},
		most: 100,
		write: func(s *site) error {
			var t strings.Builder
			fmt.Fprintf(&t, "version: '3'\ntasks:\n  all:\n    deps: %s\n", list(names(roots(s.jobs))))
			for _, j := range s.jobs {
				fmt.Fprintf(&t, "  %s:\n    sources: %s\n    generates: %s\n    cmds: %s\n", j.name, list(j.inputs()), list([]string{j.file("out")}), list([]string{j.line()}))
				if len(j.deps) > 0 {
					fmt.Fprintf(&t, "    deps: %s\n", list(names(j.deps)))
				}
			}
			return s.session.write("Taskfile.yml", t.String())
		},
		run:  func(s *site) []string { return []string{s.program(), "--silent", "--concurrency", "2", "all"} },
		read: func(s *site) []string { return []string{s.program(), "--list-all"} },
	}
}

// just has a cache for script recipes, which it calls unstable. Its dependencies run one after the other.
func just() builder {
	return builder{
		peer: peer{name: "just", programs: []string{"npm/node_modules/rust-just-linux-*/bin/just"}, from: "npm:rust-just", version: []string{"--version"}},
		most: 1000,
		write: func(s *site) error {
			var t strings.Builder
			t.WriteString("set unstable\nset lists\n\nall:")
			for _, j := range roots(s.jobs) {
				t.WriteString(" " + j.name)
			}
			t.WriteString("\n")
			for _, j := range s.jobs {
				var in []string
				for _, f := range j.inputs() {
					in = append(in, "'"+f+"'")
				}
				fmt.Fprintf(&t, "\n[cache(inputs=[%s], outputs=['%s'])]\n[script]\n%s:", strings.Join(in, ", "), j.file("out"), j.name)
				for _, d := range j.deps {
					t.WriteString(" " + d.name)
				}
				fmt.Fprintf(&t, "\n  %s\n", j.line())
			}
			return s.session.write("justfile", t.String())
		},
		run:  func(s *site) []string { return []string{s.program(), "-q", "all"} },
		read: func(s *site) []string { return []string{s.program(), "--summary"} },
	}
}

// floor is what the same work costs with no tool at all: a stat of each input and output, a process each.
func floor() builder {
	return builder{
		peer: peer{name: "floor"}, bare: true,
		write: func(*site) error { return nil },
		run:   func(s *site) []string { return []string{s.self, "__stats", fmt.Sprintf("tasks=%d", len(s.jobs))} },
		cold:  func(s *site) []string { return []string{s.self, "__copies", fmt.Sprintf("tasks=%d", len(s.jobs))} },
	}
}
