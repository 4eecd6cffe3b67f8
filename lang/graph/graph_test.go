package graph

import (
	"math"
	"strings"
	"testing"
)

func TestProblems(t *testing.T) {
	type decl = Decl
	for _, c := range []struct {
		name string
		d    Decl
		want []string
	}{
		{"twice", decl{Nodes: []*Node{service("db"), task("db")}},
			[]string{`2 duplicate-name name: task "db" is declared twice; give one of them another name`}},
		{"joined", decl{Nodes: []*Node{service("a/b"), service("a-b")}},
			[]string{`2 joined-name name: "a/b" and "a-b" would both be the unit "a-b" when exported; rename one of them`}},
		{"bad name", decl{Nodes: []*Node{service("A b")}},
			[]string{`1 bad-name name: got the name "A b", want [a-z0-9][a-z0-9_-]*, nested with /; give it another name`}},
		{"self as a name", decl{Nodes: []*Node{service("self")}},
			[]string{`1 bad-name name: cannot call a node "self": that is the name of the declaration at hand; give it another name`}},
		{"group", decl{Groups: []Group{{Name: "db", Members: []string{"db", "dv"}}, {Name: "g"}, {Name: "g"}}, Nodes: []*Node{service("db")}},
			[]string{
				`0 unknown-node group "db": group "db" refers to "dv", which is not declared; did you mean "db"?`,
				`0 duplicate-name group: group "g" is declared twice`,
				`1 duplicate-name name: "db" names both a group and a node`,
			}},
		{"default", decl{Project: Project{Default: []string{"web", "wep"}}, Nodes: []*Node{service("web")}},
			[]string{`0 unknown-target default: project default: unknown target "wep"; did you mean "web"?`}},
		{"unknown nodes", decl{Nodes: []*Node{service("db", svcEnv("⟦db2.port⟧"), svcAfter("~dc", "zzzzz"))}},
			[]string{
				`1 unknown-node env.V0: ⟦db2.port⟧ refers to "db2", which is not declared; did you mean "db"?`,
				`1 unknown-node after: after refers to "dc", which is not declared; did you mean "db"?`,
				`1 unknown-node after: after refers to "zzzzz", which is not declared`,
			}},
		{"part_of, watch", decl{Nodes: []*Node{service("db"), service("web", func(s *Service) {
			s.PartOf = "dx"
			s.Watch = []Watch{{Do: OnChange{Task: "db"}}, {Do: OnChange{Task: "none"}}}
		})}},
			[]string{
				`2 unknown-node part_of: part_of refers to "dx", which is not declared; did you mean "db"?`,
				`2 reference-kind watch.do: got the service "db", want a task`,
				`2 unknown-node watch.do: watch.do refers to "none", which is not declared`,
			}},
		{"attributes", decl{Nodes: []*Node{service("db", exports("url", "pg://⟦db.port⟧")), task("b"), service("web", svcEnv(
			"⟦db.prot⟧", "⟦db.ports.tpc⟧", "⟦db.urk⟧", "⟦b.outputs.bim⟧", "⟦b.port⟧", "⟦db.ready⟧", "⟦self.port⟧", "⟦project::rot⟧"))}},
			[]string{
				`3 unknown-attribute env.V0: service "db" has no attribute "prot"; did you mean "port"?`,
				`3 unknown-attribute env.V1: service "db" has no ports called "tpc"; did you mean "tcp"?`,
				`3 unknown-attribute env.V2: service "db" has no attribute "urk"; did you mean "url"?`,
				`3 unknown-attribute env.V3: task "b" has no outputs called "bim"; did you mean "bin"?`,
				`3 unknown-attribute env.V4: task "b" has no attribute "port"; there is name, outputs, values, started, succeeded, completed`,
				`3 reference-kind env.V5: got the condition ⟦db.ready⟧, want a value; conditions stand in after`,
				`3 unbound-self env.V6: self is used outside of a declaration; self belongs inside the arguments of service() or task()`,
				`3 unknown-attribute env.V7: project has no attribute "rot"; did you mean "root"?`,
			}},
		{"port of many", decl{Nodes: []*Node{
			service("none", func(s *Service) { s.Ports = nil }),
			service("two", func(s *Service) { s.Listen = Dict[Listen]{{"h", Listen{Kind: "tcp"}}, {"u", Listen{Kind: "unix"}}} }),
			service("web", svcEnv("⟦none.port⟧", "⟦none.host⟧", "⟦two.port⟧", "⟦two.address⟧")),
		}},
			[]string{
				`3 unknown-attribute env.V0: service "none" has 0 ports, so .port says nothing; declare one in ports or listen`,
				`3 unknown-attribute env.V1: service "none" has 0 ports, so .host says nothing; declare one in ports or listen`,
				`3 unknown-attribute env.V2: service "two" has 2 ports, so .port says nothing; name one: .ports.tcp, .ports.h`,
				`3 unknown-attribute env.V3: service "two" has 2 ports, so .address says nothing; name one: .ports.tcp, .ports.h`,
			}},
		{"conditions", decl{Nodes: []*Node{service("db"), task("t"), task("u", taskAfter("db.succeeded", "t.ready"))}},
			[]string{
				`3 unknown-condition after: service "db" has no condition .succeeded; a service has .started, .probed, .ready, .healthy, .completed, .stopped`,
				`3 unknown-condition after: task "t" has no condition .ready; a task has .started, .succeeded, .completed`,
			}},
		{"kinds", decl{Nodes: []*Node{service("db"), task("t"),
			task("u", gates("t")),
			service("web", func(s *Service) {
				s.Uses = []string{"t"}
				s.Cwd = txt("⟦db.port⟧")
				s.Ready = &Probe{Kind: "tcp", Port: txt("⟦db.state_dir⟧")}
				s.Watch = []Watch{{Paths: []Input{{Path: txt("⟦t.outputs.bin⟧")}}}}
			})}},
			[]string{
				`3 reference-kind gates: got the task "t", want a service`,
				`4 reference-kind cwd: got a port (⟦db.ports.tcp⟧), want a path`,
				`4 reference-kind watch.paths: got the output ⟦t.outputs.bin⟧, want files of the project; a service restarts by itself when an output that it refers to changes`,
				`4 reference-kind ready.port: got a path (⟦db.state_dir⟧), want a port`,
				`4 reference-kind uses: got the task "t", want a service; put it in after`,
			}},
		{"secrets", decl{Secrets: []*Secret{{Name: "key", Env: "KEY"}}, Nodes: []*Node{
			service("db", exports("url", "pg://⟦secret:key:value⟧@x", "alias", "⟦db.exports.url⟧")),
			service("ok", svcEnv("⟦secret:key:value⟧", "⟦db.url⟧"), func(s *Service) {
				s.Command = argv("x", "⟦secret:key:path⟧")
				s.Config = []ConfigFile{{Name: "c", Text: txt("⟦db.url⟧"), Secret: true}}
			}),
			service("bad", func(s *Service) {
				s.Command = argv("x", "⟦db.alias⟧", "⟦secret:kex:value⟧")
				s.Config = []ConfigFile{{Name: "c", Text: txt("⟦secret:key:value⟧")}}
				s.Links = Dict[Text]{{"db", txt("⟦db.url⟧")}}
			}),
		}},
			[]string{
				`3 reference-kind command: ⟦db.exports.alias⟧ holds a secret, which must not stand in command; pass it in env, or as a file: .path`,
				`3 altered-reference command: altered reference ⟦secret:kex:value⟧`,
				`3 reference-kind config.text: ⟦secret:key:value⟧ holds a secret, and the config file is not secret; add secret = True to the config_file`,
				`3 reference-kind links.db: ⟦db.exports.url⟧ holds a secret, which must not stand in links; pass it in env, or as a file: .path`,
			}},
		{"config", decl{Nodes: []*Node{service("web", svcEnv("⟦config:a.conf#1:path⟧"))}},
			[]string{`1 unowned-config env.V0: config_file "a.conf" is referred to, but no service has it in its config; put the file in the config list of the service that reads it`}},
		{"numbers", decl{Nodes: []*Node{service("web", func(s *Service) {
			s.Config = []ConfigFile{{Name: "c", YAML: Tree{Dict[any]{{"a", []any{1.5, math.Inf(1)}}}}}}
		})}},
			[]string{`1 bad-number config.c: got +Inf, want a finite number`}},
		{"exports of each other", decl{Nodes: []*Node{service("a", exports("x", "⟦b.x⟧")), service("b", exports("x", "⟦a.x⟧"))}},
			[]string{`1 cycle exports.x: cycle of exports: a.x -> b.x -> a.x; write one of them without the others`}},
	} {
		t.Run(c.name, func(t *testing.T) { same(t, problems(c.d), c.want) })
	}
}

func TestProblemPlaces(t *testing.T) {
	first, second := service("db"), service("db")
	first.Stack = []Frame{{Func: "postgres", Pos: Pos{"@std//postgres.star", 7, 2}}}
	d := Decl{Nodes: place([]*Node{first, second})}
	_, ps := New(d)
	if len(ps) != 1 || ps[0].Pos != at(2) || ps[0].Node != "db" {
		t.Fatalf("got %+v", ps)
	}
	rel := ps[0].Related
	if len(rel) != 2 || rel[0].Pos != at(1) || rel[1].Message != "in postgres" || rel[1].Pos.Line != 7 {
		t.Errorf("both places and the factory's frame are wanted, got %+v", rel)
	}
}

func TestReferencesMadeLong(t *testing.T) {
	shared := txt("⟦db.port⟧/⟦~db.url⟧")
	web := service("web", func(s *Service) {
		s.Env = Dict[Text]{{"A", shared}, {"B", txt("⟦config:a.conf#1:path⟧")}}
		s.Config = []ConfigFile{{Name: "a.conf", Text: Lit("")}}
	})
	g := buildDecl(t, Decl{
		Nodes:   []*Node{service("db", exports("url", "x")), web},
		Configs: map[string]Ref{"a.conf#1": {Name: "web", Attr: "config.a.conf"}},
	})
	env := g.Node("web").Service.Env
	same(t, []string{env[0].Value.String(), env[1].Value.String()}, []string{"⟦db.ports.tcp⟧/⟦~db.exports.url⟧", "⟦web.config.a.conf⟧"})
	if shared.String() != "⟦db.port⟧/⟦~db.url⟧" {
		t.Errorf("a text that others may hold was changed: %s", shared)
	}
}

func TestEdges(t *testing.T) {
	g := build(t,
		service("db", exports("url", "pg://⟦db.address⟧", "deep", "⟦cache.url⟧")),
		service("cache", exports("url", "r://⟦cache.port⟧")),
		task("build"),
		task("seed", func(x *Task) { x.Gates = "db" }, taskEnv("⟦db.url⟧")),
		task("fill", fills("cache")),
		service("first", func(s *Service) { s.Before = []string{"web"} }),
		service("web",
			svcEnv("⟦db.deep⟧ ⟦db.state_dir⟧", "⟦~build.values.version⟧", "⟦web.port⟧", "⟦web.mine⟧"),
			exports("mine", "⟦first.address⟧", "quiet", "⟦build.outputs.bin⟧"),
			svcAfter("build", "db.started", "~cache.healthy"),
			func(s *Service) {
				s.Uses = []string{"cache"}
				s.Links = Dict[Text]{{"seed", txt("⟦seed.values.version⟧")}}
			}),
	)
	same(t, arrows(g), []string{
		"cache -> fill.succeeded (template)",
		"seed -> db.probed (gates)",
		"web -> first.ready (before)",
		"web -> build.succeeded (after)",
		"web -> db.started (after)",
		"web -> cache.ready (uses)",
		"web -> db.ready (env.V0)",
	})
	if got := g.Gates("db"); len(got) != 1 || got[0] != "seed" {
		t.Errorf("Gates(db) = %v", got)
	}
	for _, e := range g.Out("web") {
		found := false
		for _, back := range g.In(e.To) {
			found = found || back == e
		}
		if !found {
			t.Errorf("%v is not in In(%s)", e, e.To)
		}
	}
	if e := g.Out("web")[4]; e.Ref != "⟦db.exports.deep⟧" || e.Pos != at(7) {
		t.Errorf("the edge must show the reference and the line that made it: %+v", e)
	}
}

// TestGatesNeedProbed: what gates a service, and what that needs in turn, can
// only wait for the probe of the service; all others wait for ready.
func TestGatesNeedProbed(t *testing.T) {
	g := build(t,
		service("db"), service("cache"),
		task("schema", gates("db"), taskAfter("helper", "cache")),
		task("helper", taskAfter("db.ready")),
		task("warm", gates("cache"), taskEnv("⟦db.port⟧")),
		service("web", svcAfter("db")),
	)
	same(t, arrows(g), []string{
		"schema -> helper.succeeded (after)",
		"schema -> cache.ready (after)",
		"schema -> db.probed (gates)",
		"helper -> db.probed (after)",
		"warm -> cache.probed (gates)",
		"warm -> db.probed (env.V0)",
		"web -> db.ready (after)",
	})
}

func TestCycles(t *testing.T) {
	for _, c := range []struct {
		name  string
		nodes []*Node
		want  string
		lines []string
	}{
		{"itself", []*Node{service("a", svcAfter("a"))}, "cycle: a -> a",
			[]string{"1 a waits for a.ready (after)"}},
		{"three", []*Node{
			service("a", svcAfter("c")),
			service("b", svcEnv("⟦a.port⟧")),
			service("c", func(s *Service) { s.Uses = []string{"b"} }),
		}, "cycle: a -> c -> b -> a", []string{
			"1 a waits for c.ready (after)",
			"3 c waits for b.ready (uses)",
			"2 b waits for a.ready (env.V0 = ⟦a.ports.tcp⟧)",
		}},
		{"before", []*Node{service("a", func(s *Service) { s.Before = []string{"b"}; s.After = deps("b") }), service("b")},
			"cycle: a -> b -> a", []string{"1 a waits for b.ready (after)", "1 b waits for a.ready (before)"}},
		{"through a gate", []*Node{
			service("db"), service("web", svcAfter("db")), task("seed", gates("db"), taskAfter("web.started")),
		}, "", nil}, // the web of a gate starts when db is probed
		{"a gate that waits for healthy", []*Node{
			service("db"), task("seed", gates("db"), taskAfter("db.healthy")),
		}, "cycle: seed -> db -> seed", []string{
			"2 seed waits for db.healthy (after)",
			"2 db waits for seed.succeeded (gates)",
		}},
		{"template that needs its service", []*Node{
			service("db"), task("fill", fills("db"), taskEnv("⟦db.port⟧")),
		}, "cycle: db -> fill -> db", []string{
			"2 db waits for fill.succeeded (template)",
			"2 fill waits for db.ready (env.V0 = ⟦db.ports.tcp⟧)",
		}},
		{"weak", []*Node{service("a", svcEnv("⟦~b.port⟧")), service("b", svcEnv("⟦a.port⟧"))}, "", nil},
		{"stopped", []*Node{service("a", svcAfter("wipe")), task("wipe", taskAfter("a.stopped"))}, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, ps := New(Decl{Nodes: place(c.nodes)})
			if c.want == "" {
				if len(ps) > 0 {
					t.Fatalf("got %s", ps[0].Message)
				}
				return
			}
			if len(ps) != 1 || ps[0].Message != c.want || ps[0].Code != "cycle" {
				t.Fatalf("got %+v, want %s", ps, c.want)
			}
			var lines []string
			for _, r := range ps[0].Related {
				lines = append(lines, strings.TrimPrefix(r.Pos.String(), "services.star:")[:1]+" "+r.Message)
			}
			same(t, lines, c.lines)
		})
	}
}

// TestCyclesBesideProblems: one run shows all that is wrong.
func TestCyclesBesideProblems(t *testing.T) {
	got := problems(Decl{Nodes: []*Node{service("a", svcAfter("b")), service("b", svcAfter("a")), service("c", svcAfter("nowhere"))}})
	if len(got) != 2 || !strings.Contains(got[0], "cycle") || !strings.Contains(got[1], "nowhere") {
		t.Errorf("got %v", got)
	}
}

func shop(t testing.TB) *Graph {
	return buildDecl(t, Decl{
		Groups: []Group{{Name: "data", Members: []string{"db", "cache"}}},
		Nodes: []*Node{
			service("db"), service("cache", func(s *Service) { s.Autostart = false }),
			task("schema", gates("db")),
			task("build"),
			service("shop", svcAfter("build")),
			service("shop/api", svcAfter("db")),
			service("shop/worker/1", svcAfter("shop/api.started")),
			service("shopping"),
			service("extra", func(s *Service) { s.PartOf = "shop/api" }),
			task("test", taskEnv("⟦shop/api.port⟧")),
			task("wipe", taskAfter("db.stopped")),
		},
	})
}

func TestExpand(t *testing.T) {
	g := shop(t)
	for _, c := range []struct{ in, want string }{
		{"", "db shop shop/api shop/worker/1 shopping extra"}, // every service with autostart
		{"data", "db cache"},
		{"shop", "shop shop/api shop/worker/1 extra"},
		{"shop/worker", "shop/worker/1"},
		{"shop/api build", "build shop/api extra"},
		{"test test", "test"},
		{"shopp", `unknown target "shopp"; did you mean "shop"?`},
		{"db nothing-like-it", `unknown target "nothing-like-it"`},
	} {
		got, err := g.Expand(strings.Fields(c.in))
		s := strings.Join(got, " ")
		if err != nil {
			s = err.Error()
		}
		if s != c.want {
			t.Errorf("Expand(%s) = %s, want %s", c.in, s, c.want)
		}
	}
	if !g.PartOf(g.Node("extra"), "shop") || g.PartOf(g.Node("shopping"), "shop") {
		t.Error("part_of counts, a common beginning does not")
	}
	loop := []*Node{service("a", func(s *Service) { s.PartOf = "b" }), service("b", func(s *Service) { s.PartOf = "a" })}
	if g := build(t, loop...); g.PartOf(g.Node("a"), "c") {
		t.Error("a loop of part_of")
	}
}

func TestNeed(t *testing.T) {
	g := shop(t)
	for _, c := range []struct {
		mode     Selection
		in, want string
	}{
		{SelectNeeds, "shop/worker", "db schema shop/api shop/worker/1"},
		{SelectNeeds, "wipe", "wipe"},
		{SelectNeeds, "shop", "db schema build shop shop/api shop/worker/1 extra"},
		{SelectOnly, "shop/worker", "shop/worker/1"},
		{SelectDependents, "db", "db schema shop/api shop/worker/1 test wipe"},
		{SelectDependents, "build", "build shop"},
		{SelectAll, "build", "build shop"},
		{SelectAll, "", "db cache schema build shop shop/api shop/worker/1 shopping extra test wipe"},
	} {
		got, err := g.Need(strings.Fields(c.in), c.mode)
		if s := strings.Join(got, " "); err != nil || s != c.want {
			t.Errorf("Need(%s, %s) = %s, %v, want %s", c.in, c.mode, s, err, c.want)
		}
	}
	if _, err := g.Need([]string{"nope"}, SelectNeeds); err == nil {
		t.Error("an unknown target must be an error")
	}
}

func TestLookups(t *testing.T) {
	g := buildDecl(t, Decl{Tools: []*Tool{{}, {Programs: []string{"psql", "initdb"}}}, Secrets: []*Secret{{Name: "s"}}, Nodes: []*Node{service("a")}})
	if g.Node("x") != nil || g.Index("x") != -1 || g.Out("x") != nil || g.In("x") != nil || g.Gates("x") != nil {
		t.Error("an unknown node has nothing")
	}
	if g.Tool("psql") == nil || g.Tool("initdb") != nil || g.Secret("s") == nil || g.Secret("t") != nil {
		t.Error("tools go by their first program, secrets by name")
	}
	long, typ, err := g.Node("a").Attribute("port")
	if long != "ports.tcp" || typ != "port" || err != nil {
		t.Errorf("Attribute(port) = %s, %s, %v", long, typ, err)
	}
	if _, _, err := g.Node("a").Attribute("prt"); err == nil || !strings.Contains(err.Error(), `did you mean "port"?`) {
		t.Errorf("Attribute(prt): %v", err)
	}
	for _, c := range [][3]string{{"postgras", "postgres redis", "postgres"}, {"db", "dc", "dc"}, {"db", "xy", ""}, {"", "a", "a"}} {
		if got := Suggest(c[0], strings.Fields(c[1])); got != c[2] {
			t.Errorf("Suggest(%q, %s) = %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func TestOnly(t *testing.T) {
	g := shop(t).Only([]string{"schema", "db", "shop/api", "nothing"})
	same(t, arrows(g), []string{"schema -> db.probed (gates)", "shop/api -> db.ready (after)"})
	same(t, g.Order(), []string{"db", "schema", "shop/api"})
	if len(g.In("db")) != 2 || len(g.Gates("db")) != 1 || g.Node("build") != nil || g.Index("shop/api") != 2 {
		t.Errorf("got %v", g.In("db"))
	}
}

func TestTemplates(t *testing.T) {
	for _, c := range []struct {
		nodes []*Node
		want  string
	}{
		{[]*Node{service("db"), task("db/init", fills("db")), service("db2")}, ""},
		{[]*Node{service("db"), task("fill", func(x *Task) { x.Template = "db" })}, `fill: got outputs beside template: what the task makes is the state_dir of "db"`},
		{[]*Node{service("db"), task("a", fills("db")), task("b", fills("db"))}, `b: the state_dir of "db" is filled by "a" already`},
		{[]*Node{service("db"), task("fill", fills("db")), service("db/proxy")}, `db/proxy: its state_dir lies in that of "db", which "fill" fills`},
	} {
		_, ps := New(Decl{Nodes: place(c.nodes)})
		var got []string
		for _, p := range ps {
			got = append(got, p.Node+": "+p.Message)
		}
		if text := strings.Join(got, "; "); text != c.want {
			t.Errorf("got %q, want %q", text, c.want)
		}
	}
}
