package graph

import (
	"fmt"
	"strings"
	"testing"
)

// txt parses a marker string.
func txt(s string) Text {
	t, err := ParseText(s)
	if err != nil {
		panic(err)
	}
	return t
}

func argv(args ...string) Command {
	var c Command
	for _, a := range args {
		c.Argv = append(c.Argv, txt(a))
	}
	return c
}

// at is the place of the line'th declaration.
func at(line int) Pos { return Pos{File: "services.star", Line: line, Col: 1} }

// service declares a service with the port tcp; with changes it.
func service(name string, with ...func(*Service)) *Node {
	s := &Service{Common: Common{Name: name}, Command: argv("run-" + name), Autostart: true}
	s.Ports = Dict[Port]{{"tcp", Port{Base: 1000, Host: "127.0.0.1", Proto: "tcp"}}}
	for _, f := range with {
		f(s)
	}
	return &Node{Kind: KindService, Service: s}
}

// task declares a task with the output bin; with changes it.
func task(name string, with ...func(*Task)) *Node {
	c := argv("make", name)
	t := &Task{Common: Common{Name: name}, Command: &c, Values: []string{"version"}}
	t.Outputs = Dict[Input]{{"bin", Input{Path: Lit("bin/" + name)}}}
	for _, f := range with {
		f(t)
	}
	return &Node{Kind: KindTask, Task: t}
}

func svcEnv(vars ...string) func(*Service) {
	return func(s *Service) {
		for i, v := range vars {
			s.Env = append(s.Env, Entry[Text]{fmt.Sprintf("V%d", i), txt(v)})
		}
	}
}

func taskEnv(vars ...string) func(*Task) {
	return func(t *Task) {
		for i, v := range vars {
			t.Env = append(t.Env, Entry[Text]{fmt.Sprintf("V%d", i), txt(v)})
		}
	}
}

func exports(pairs ...string) func(*Service) {
	return func(s *Service) {
		for i := 0; i < len(pairs); i += 2 {
			s.Exports = append(s.Exports, Entry[Text]{pairs[i], txt(pairs[i+1])})
		}
	}
}

// deps reads "db", "db.started", "~db" (weak).
func deps(names ...string) []Dep {
	var ds []Dep
	for _, n := range names {
		n, weak := strings.CutPrefix(n, "~")
		node, cond, _ := strings.Cut(n, ".")
		ds = append(ds, Dep{Node: node, Cond: Cond(cond)})
		ds[len(ds)-1].Weak = weak
	}
	return ds
}

func svcAfter(names ...string) func(*Service) {
	return func(s *Service) { s.After = deps(names...) }
}
func taskAfter(names ...string) func(*Task) { return func(t *Task) { t.After = deps(names...) } }
func gates(name string) func(*Task)         { return func(t *Task) { t.Gates = name } }

func fills(name string) func(*Task) {
	return func(t *Task) { t.Template, t.Outputs = name, nil }
}

func place(nodes []*Node) []*Node {
	for i, n := range nodes {
		n.Pos = at(i + 1)
	}
	return nodes
}

// build makes a graph that must have no problem.
func build(t testing.TB, nodes ...*Node) *Graph {
	t.Helper()
	return buildDecl(t, Decl{Nodes: nodes})
}

func buildDecl(t testing.TB, d Decl) *Graph {
	t.Helper()
	place(d.Nodes)
	g, problems := New(d)
	for _, p := range problems {
		t.Errorf("%s: %s (%s)", p.Pos, p.Message, p.Code)
	}
	if t.Failed() {
		t.FailNow()
	}
	return g
}

// problems makes a graph and returns "line code field: message; hint" a problem.
func problems(d Decl) []string {
	place(d.Nodes)
	_, ps := New(d)
	var lines []string
	for _, p := range ps {
		s := fmt.Sprintf("%d %s %s: %s", p.Pos.Line, p.Code, p.Field, p.Message)
		if p.Hint != "" {
			s += "; " + p.Hint
		}
		lines = append(lines, s)
	}
	return lines
}

// arrows writes the edges as "from -> to.cond (field)".
func arrows(g *Graph) []string {
	var lines []string
	for _, e := range g.Edges() {
		lines = append(lines, fmt.Sprintf("%s -> %s.%s (%s)", e.From, e.To, e.Cond, e.Field))
	}
	return lines
}

func same(t testing.TB, got, want []string) {
	t.Helper()
	g, w := strings.Join(got, "\n"), strings.Join(want, "\n")
	if g != w {
		t.Errorf("got:\n%s\nwant:\n%s", g, w)
	}
}
