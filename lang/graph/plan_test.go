package graph

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// full is a graph with something in every kind of field.
func full(t testing.TB) *Graph {
	yes, deadline, mask, memory := true, Duration(90*time.Second), Mode(0o22), Size(1<<29)
	web := service("web", svcEnv("⟦db.port⟧", "\xff⟦⟦⟧"), func(s *Service) {
		s.Env = append(s.Env, Entry[Text]{"DROPPED", nil})
		s.Listen = Dict[Listen]{{"http", Listen{Kind: "tcp", Base: 80, Strict: &yes, Backlog: 128}}}
		s.Config = []ConfigFile{{Name: "c.yaml", Mode: 0o644, YAML: Tree{Dict[any]{
			{"port", txt("⟦db.ports.tcp⟧")}, {"float", 1.0}, {"int", int64(1)}, {"none", nil}, {"list", []any{true, 2.5e300}}, {"empty", Dict[any]{}},
		}}}}
		s.Ready = &Probe{Kind: "http", Path: Lit("/"), Period: Duration(10 * time.Second), Deadline: &deadline}
		s.Exports = Dict[Text]{}
		s.Limits = &Limits{Umask: &mask, Memory: &memory}
		s.After = []Dep{}
	})
	web.Stack = []Frame{{"web", Pos{"lib.star", 3, 4}}}
	return buildDecl(t, Decl{
		Project: Project{Name: "shop", Default: []string{"web"}},
		Params:  []Param{{Name: "n", Value: int64(2), Default: int64(1), Choices: []any{int64(1), int64(2)}}},
		Groups:  []Group{{Name: "all", Members: []string{"db", "web"}}},
		Secrets: []*Secret{{Name: "key", Env: "KEY"}},
		Tools:   []*Tool{{Programs: []string{"go"}, Packages: Dict[string]{{"debian", "golang"}}}},
		Pools:   []*Pool{{Name: "p", Size: 2}},
		Nodes:   []*Node{service("db"), web, task("seed", gates("db"), taskEnv("⟦db.port⟧", "⟦secret:key:value⟧"))},
	})
}

func TestPlanRoundTrip(t *testing.T) {
	g := full(t)
	b, err := json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	var back Graph
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if ch := Diff(g, &back); len(ch) > 0 {
		t.Errorf("nodes differ: %v", ch)
	}
	if g.Digest() != back.Digest() {
		t.Error("the digests differ")
	}
	for _, p := range [][2]any{
		{g.Params, back.Params}, {g.Edges(), back.Edges()}, {g.Nodes, back.Nodes}, {g.Groups, back.Groups},
		{g.Project, back.Project}, {g.Secrets, back.Secrets}, {g.Tools, back.Tools}, {g.Pools, back.Pools},
	} {
		if !reflect.DeepEqual(p[0], p[1]) {
			x, _ := json.Marshal(p[0])
			y, _ := json.Marshal(p[1])
			t.Errorf("read back:\n%s\nwant:\n%s", y, x)
		}
	}
	again, err := json.Marshal(&back)
	if err != nil || string(again) != string(b) {
		t.Errorf("written again:\n%s\nwant:\n%s", again, b)
	}
}

// TestPlanShape holds the documented form, which scripts read.
func TestPlanShape(t *testing.T) {
	b, err := json.Marshal(build(t, service("db"), task("seed", gates("db"))))
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"version":1,"project":{},"params":[],"groups":[],"nodes":[{"name":"db","kind":"service","command":`; !strings.HasPrefix(string(b), want) {
		t.Errorf("got %s, want it to begin with %s", b, want)
	}
	if want := `"edges":[{"from":"seed","to":"db","cond":"probed","field":"gates","pos":{"file":"services.star","line":2,"col":1}}]}`; !strings.HasSuffix(string(b), want) {
		t.Errorf("got %s, want it to end with %s", b, want)
	}
	if b, _ := json.Marshal(build(t)); string(b) != `{"version":1,"project":{},"params":[],"groups":[],"nodes":[],"edges":[]}` {
		t.Errorf("the empty graph is %s", b)
	}
	if b, _ := build(t, service("a", svcEnv("<&>"))).MarshalJSON(); !strings.Contains(string(b), `"V0":"<&>"`) {
		t.Errorf("brackets are escaped where nobody asked: %s", b)
	}
}

// TestPlanNames: a field of a node must not be hidden by what plan puts beside it.
func TestPlanNames(t *testing.T) {
	for _, v := range []any{Common{}, Service{}, Task{}} {
		for f := range reflect.TypeOf(v).Fields() {
			tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if slices.Contains([]string{"kind", "pos", "stack"}, tag) {
				t.Errorf("%T.%s is called %s, as is what the plan says of every node", v, f.Name, tag)
			}
		}
	}
}

func TestPlanErrors(t *testing.T) {
	for _, c := range [][2]string{
		{`[]`, "cannot read the graph"},
		{`{}`, "got version 0, want 1"},
		{`{"version":1,"nodes":[{"name":"a","kind":"pod"}]}`, `node "a": got the kind "pod", want service or task`},
		{`{"version":1,"nodes":[{"name":"a","kind":"service","after":[{"node":"b"}]}]}`, `after refers to "b", which is not declared`},
		{`{"version":1,"nodes":[{"name":"a","kind":"service","env":{"A":"⟦b"}}]}`, `cut reference`},
	} {
		var g Graph
		if err := json.Unmarshal([]byte(c[0]), &g); err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s: got %v, want %s", c[0], err, c[1])
		}
	}
}

func TestValues(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"200ms", "200ms"}, {"90s", "1m30s"}, {"60s", "1m"}, {"60m", "1h"}, {"1h0m5s", "1h0m5s"}, {"0s", "0s"}, {"10m", "10m"},
		{"10", "!"}, {"0", "!"}, {"-1s", "!"}, {"", "!"}, {"1d", "!"},
	} {
		d, err := ParseDuration(c.in)
		if got := d.String(); err == nil && got != c.want || err != nil && c.want != "!" {
			t.Errorf("ParseDuration(%q) = %s, %v, want %s", c.in, got, err, c.want)
		}
	}
	for in, want := range map[string]int64{"512M": 512 << 20, "64K": 64 << 10, "1GiB": 1 << 30, "2TB": 2 << 40, "7": 7, "0": 0,
		"": -1, "M": -1, "-1": -1, "1X": -1, "9000000T": -1, "1M2": -1, "8388608T": -1} {
		if got, err := ParseSize(in); err == nil && int64(got) != want || err != nil && want != -1 {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", in, got, err, want)
		}
	}
	var m Mode
	if err := m.UnmarshalText([]byte("0644")); err != nil || m != 0o644 {
		t.Errorf("mode: %o, %v", m, err)
	}
	if err := m.UnmarshalText([]byte("17777")); err == nil {
		t.Error("a mode of more than 12 bits must be an error")
	}
	rapid.Check(t, func(t *rapid.T) {
		d := Duration(rapid.Int64Range(0, 1<<60).Draw(t, "ns"))
		if got, err := ParseDuration(d.String()); err != nil || got != d {
			t.Fatalf("%s is read as %s, %v", d, got, err)
		}
	})
}

func TestDiff(t *testing.T) {
	a := build(t, service("db"), service("old"), service("web"))
	b := build(t, service("new"), service("web", svcEnv("x"), func(s *Service) { s.Ports = nil }), service("db"))
	var got []string
	for _, c := range Diff(a, b) {
		got = append(got, fmt.Sprint(c.Op, " ", c.Name, " ", c.Fields))
	}
	same(t, got, []string{"removed old []", "added new []", "changed web [env ports]"})
	c := build(t, service("db"), task("web"))
	if ch := Diff(a, c); len(ch) != 2 || ch[1].Fields[0] != "kind" {
		t.Errorf("a service that became a task: %v", ch)
	}
}

func TestDigest(t *testing.T) {
	digest := func(with ...func(*Node)) string {
		n := service("web", svcEnv("x"))
		for _, f := range with {
			f(n)
		}
		g, _ := New(Decl{Nodes: []*Node{n}, Params: []Param{{Name: "p", Value: 1, Pos: n.Pos}}})
		return g.Digest()
	}
	if digest() != digest(func(n *Node) { n.Pos, n.Stack = at(9), []Frame{{"f", at(3)}} }) {
		t.Error("a place must not count")
	}
	if digest() == digest(func(n *Node) { n.Service.Env[0].Value = Lit("y") }) {
		t.Error("a value must count")
	}
	if digest() == digest(func(n *Node) { n.Service.Autostart = false }) {
		t.Error("a field at its zero value must count")
	}
}

// genDecl draws a graph whose nodes wait for earlier ones only.
func genDecl(t *rapid.T) []*Node {
	var nodes []*Node
	var services []string
	for i := range rapid.IntRange(0, 14).Draw(t, "nodes") {
		name := fmt.Sprintf("n%d", i)
		var after []string
		for _, j := range rapid.SliceOfN(rapid.IntRange(0, max(i-1, 0)), 0, min(i, 3)).Draw(t, "after") {
			conds := []string{"", ".started", ".completed"}
			if nodes[j].Kind == KindService {
				conds = append(conds, ".probed", ".healthy", ".stopped")
			}
			after = append(after, nodes[j].Name()+rapid.SampledFrom(conds).Draw(t, "cond"))
		}
		if rapid.Bool().Draw(t, "service") {
			nodes = append(nodes, service(name, svcAfter(after...)))
			services = append(services, name)
			continue
		}
		n := task(name, taskAfter(after...))
		if len(services) > 0 && rapid.Bool().Draw(t, "gate") {
			n.Task.Gates = rapid.SampledFrom(services).Draw(t, "gates")
		}
		nodes = append(nodes, n)
	}
	return rapid.Permutation(nodes).Draw(t, "order")
}

func TestGraphLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := genDecl(t)
		g, ps := New(Decl{Nodes: nodes})
		if len(ps) > 0 {
			if ps[0].Code == "cycle" {
				return // a gate may close one
			}
			t.Fatalf("%+v", ps[0])
		}
		place := map[string]int{}
		for i, n := range g.Order() {
			place[n] = i
		}
		if len(place) != len(nodes) {
			t.Fatalf("%d nodes in order, want %d", len(place), len(nodes))
		}
		for _, e := range g.Edges() {
			if e.Cond == Stopped {
				continue
			}
			if place[e.From] <= place[e.To] {
				t.Fatalf("%+v: %s comes first in %v", e, e.From, g.Order())
			}
			if e.Cond == Ready || e.Cond == Healthy {
				for _, gate := range g.Gates(e.To) {
					if place[e.From] <= place[gate] {
						t.Fatalf("%s wants %s ready and comes before its gate %s in %v", e.From, e.To, gate, g.Order())
					}
				}
			}
		}
		if ch := Diff(g, g); len(ch) > 0 {
			t.Fatalf("a graph differs from itself: %v", ch)
		}
		some := rapid.SliceOfN(rapid.SampledFrom(append([]string{""}, g.Order()...)), 0, 3).Draw(t, "targets")
		some = slices.DeleteFunc(some, func(s string) bool { return s == "" })
		need, err := g.Need(some, SelectNeeds)
		if err != nil {
			t.Fatal(err)
		}
		again, _ := g.Need(need, SelectNeeds)
		if len(need) > 0 && !slices.Equal(need, again) {
			t.Fatalf("Need(%v) = %v, and that needs %v", some, need, again)
		}
		b, err := json.Marshal(g)
		if err != nil {
			t.Fatal(err)
		}
		var back Graph
		if err := json.Unmarshal(b, &back); err != nil || back.Digest() != g.Digest() || !slices.Equal(back.Edges(), g.Edges()) {
			t.Fatalf("read back from JSON: %v\n%v\n%v", err, back.Edges(), g.Edges())
		}
	})
}

// TestDiffLaw: putting the changes of Diff(a, b) into a gives b.
func TestDiffLaw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) *Graph {
			var nodes []*Node
			for i := range 6 {
				switch rapid.IntRange(0, 3).Draw(t, label) {
				case 0:
					nodes = append(nodes, service(fmt.Sprint("n", i)))
				case 1:
					nodes = append(nodes, service(fmt.Sprint("n", i), svcEnv("x")))
				case 2:
					nodes = append(nodes, task(fmt.Sprint("n", i)))
				}
			}
			g, _ := New(Decl{Nodes: nodes})
			return g
		}
		a, b := draw("a"), draw("b")
		names := map[string]*Node{}
		for _, n := range a.Nodes {
			names[n.Name()] = n
		}
		for _, c := range Diff(a, b) {
			if c.Op == "removed" {
				delete(names, c.Name)
			} else {
				names[c.Name] = b.Node(c.Name)
			}
		}
		var patched []*Node
		for _, n := range b.Nodes {
			if n := names[n.Name()]; n != nil {
				patched = append(patched, n)
			}
		}
		g, _ := New(Decl{Nodes: patched})
		if len(names) != len(b.Nodes) || g.Digest() != b.Digest() {
			t.Fatalf("%v does not lead to b", Diff(a, b))
		}
	})
}

// large is a graph of n nodes: chains of ten, each with a gate and a factory's
// worth of references.
func large(n int) Decl {
	var d Decl
	for i := range n {
		name := fmt.Sprintf("app%d/n%d", i/10, i)
		var with []func(*Service)
		if i%10 > 0 {
			prev := fmt.Sprintf("app%d/n%d", i/10, i-1)
			if i%10 == 9 {
				d.Nodes = append(d.Nodes, task(name, gates(prev)))
				continue
			}
			with = append(with, svcEnv("⟦"+prev+".port⟧"), svcAfter(prev+".started"))
		}
		d.Nodes = append(d.Nodes, service(name, with...))
	}
	return d
}

// TestLargeGraphs: ten thousand nodes, and as many mistakes, in little time.
func TestLargeGraphs(t *testing.T) {
	start := time.Now()
	g := buildDecl(t, large(10_000))
	for _, mode := range []Selection{SelectNeeds, SelectOnly, SelectDependents, SelectAll} {
		names, err := g.Need(nil, mode)
		if err != nil || len(names) < 9000 {
			t.Fatalf("Need(%s): %d, %v", mode, len(names), err)
		}
		if again, err := g.Need(names, mode); err != nil || len(again) < 9000 {
			t.Fatalf("Need(%s) by name: %d, %v", mode, len(again), err)
		}
	}
	if got := g.Order(); len(got) != 10_000 {
		t.Errorf("%d in order", len(got))
	}
	chain := Decl{}
	for i := range 10_000 {
		chain.Nodes = append(chain.Nodes, service(fmt.Sprint("n", i), svcAfter(fmt.Sprint("n", (i+1)%10_000))))
	}
	if got := problems(chain); len(got) != 1 || !strings.Contains(got[0], "n0 -> n1 -> n2") || !strings.Contains(got[0], "n9999 -> n0;") {
		t.Errorf("%d problems, want one cycle of ten thousand", len(got))
	}
	typos := Decl{}
	for i := range 10_000 {
		typos.Nodes = append(typos.Nodes, service(fmt.Sprintf("node-%d", i), svcAfter(fmt.Sprintf("nude-%d", i))))
	}
	if got := problems(typos); len(got) != 10_000 || !strings.Contains(got[0], "did you mean") {
		t.Errorf("%d problems", len(got))
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("took %s", took)
	}
}

func BenchmarkGraph(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprintf("New/%d", n), func(b *testing.B) {
			for b.Loop() {
				New(large(n))
			}
		})
		g, _ := New(large(n))
		b.Run(fmt.Sprintf("Need/%d", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := g.Need(nil, SelectDependents); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("Order/%d", n), func(b *testing.B) {
			for b.Loop() {
				g.Order()
			}
		})
		b.Run(fmt.Sprintf("Digest/%d", n), func(b *testing.B) {
			for b.Loop() {
				g.Digest()
			}
		})
	}
}
