package lang

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"orrery/lang/graph"
)

// TestDeterminism: the same files and parameters give the same graph, and a
// parameter another one.
func TestDeterminism(t *testing.T) {
	digests := map[string]int{}
	for range 8 {
		p, err := load(t, shop, nil)
		if err != nil {
			t.Fatal(err)
		}
		digests[p.Graph.Digest()]++
	}
	other, err := load(t, shop, map[string]string{"workers": "3"})
	if err != nil {
		t.Fatal(err)
	}
	digests[other.Graph.Digest()]++
	if len(digests) != 2 {
		t.Errorf("got digests %v, want two", digests)
	}
}

// TestConcurrent: evaluations share nothing that changes.
func TestConcurrent(t *testing.T) {
	file := write(t, map[string]string{"services.star": shop})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 3 {
				if _, err := Load(context.Background(), Options{File: file, Std: fakeStd()}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// TestErrorsAreDeterministic: mistakes come in one order.
func TestErrorsAreDeterministic(t *testing.T) {
	text := "peer('a')\npeer('b')\npeer('c')\nservice('x', command = [peer('a').port])\n" +
		"task('t', command = ['x'], outputs = {'a': 'o', 'b': 'o/p/q'})\ntask('u', command = ['x'], outputs = {'a': 'o/p', 'b': 'o/p/q/r'})\n"
	first := ""
	for range 10 {
		_, err := load(t, text, nil)
		if err == nil {
			t.Fatal("got no error")
		}
		if first == "" {
			first = err.Error()
		}
		if got := err.Error(); got != first {
			t.Fatalf("got\n%s\nthen\n%s", first, got)
		}
	}
}

// TestFactoryPlaces: the user's line first, then the library's; both factory
// frames of a duplicate.
func TestFactoryPlaces(t *testing.T) {
	file := write(t, map[string]string{
		"services.star":  "load(\"//lib/web.star\", \"web\")\nweb(\"a\")\nweb(\"a\")\nweb(\"b\", redy = 1)\n",
		"lib/web.star":   "load(\":inner.star\", \"inner\")\ndef web(name, **kwargs):\n    return inner(name, **kwargs)\n",
		"lib/inner.star": "def inner(name, **kwargs):\n    return service(name, command = [\"x\"],\n        cwd = 1, **kwargs)\n",
	})
	_, err := Load(context.Background(), Options{File: file})
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{
		"services.star:2:1: service \"a\": cwd: got int 1, want path\n    web(\"a\")\n    ^^^\n  in web lib/web.star:3:17\n  in inner lib/inner.star:3:9\n      cwd = 1, **kwargs)\n",
		"services.star:3:1: service \"a\" is declared twice\n",
		"  services.star:2:4: first declared here\n",
		"services.star:4:10: service \"b\": unknown argument \"redy\"\n    web(\"b\", redy = 1)\n             ^^^^^^^^\n",
		"  hint: did you mean \"ready\"?",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got\n%s\nwant in it\n%s", err, want)
		}
	}
}

// TestLibraryErrors: the innermost line is shown, and the line that loads.
func TestLibraryErrors(t *testing.T) {
	for _, c := range []struct{ lib, want string }{
		{"service(\"x\", command = [\"y\"])\n", "lib.star:1:1: cannot call service() while a library loads: its top level only defines"},
		{"x = 1 // 0\n", "lib.star:1:7: floored division by zero"},
		{"x = nope\ny = nopes\n", "lib.star:1:5: undefined: nope"},
		{"x = nope\ny = nopes\n", "lib.star:2:5: undefined: nopes"},
		{"def f(:\n", "lib.star:1:8: got ':', want ')'"},
		{"for i in [1]:\n    pass\n", "lib.star:1:1: for loop not within a function"},
	} {
		text := "load(\"//lib.star\", \"x\")\nservice(\"a\", comand = 5)\n"
		if strings.Contains(c.lib, "nope") {
			text += "undefined_here\n"
		}
		file := write(t, map[string]string{"services.star": text, "lib.star": c.lib})
		_, err := Load(context.Background(), Options{File: file})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got\n%v\nwant in it\n%s", err, c.want)
		}
		if strings.Contains(c.lib, "nope") && !strings.Contains(err.Error(), "services.star:3:1: undefined: undefined_here") {
			t.Errorf("got\n%v\nwant the mistakes of both files", err)
		}
	}
	file := write(t, map[string]string{"services.star": "load(\"//lib.star\", \"x\")\n", "lib.star": "x = 1 // 0\n"})
	if _, err := Load(context.Background(), Options{File: file}); err == nil || !strings.Contains(err.Error(), "services.star:1:1: loaded from here") {
		t.Errorf("got %v, want the line that loads", err)
	}
}

// TestBoundaries: load and read stay inside the project.
func TestBoundaries(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "out.star")
	if err := os.WriteFile(outside, []byte("x = 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	file := write(t, map[string]string{"services.star": "load(\"//link.star\", \"x\")\n"})
	if err := os.Symlink(outside, filepath.Join(filepath.Dir(file), "link.star")); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(context.Background(), Options{File: file}); err == nil || !strings.Contains(err.Error(), "it leads out of the project") {
		t.Errorf("got %v, want a refusal", err)
	}
	loop := write(t, map[string]string{
		"services.star": "load(\"//a.star\", \"a\")\n", "a.star": "load(\":b.star\", \"b\")\na = 1\n", "b.star": "load(\"//a.star\", \"a\")\nb = 1\n",
	})
	if _, err := Load(context.Background(), Options{File: loop}); err == nil || !strings.Contains(err.Error(), "a.star -> b.star -> a.star") {
		t.Errorf("got %v, want the loop", err)
	}
}

// TestInclude: names get the prefix, peers too; globals come back.
func TestInclude(t *testing.T) {
	file := write(t, map[string]string{
		"services.star": "shop = include(\"//shop/services.star\", prefix = \"shop\")\nservice(\"a\", command = [\"x\", shop.web.port, str(shop.n)])\n",
		"shop/services.star": "project(\"shop\")\nn = param(\"n\", 2)\nif n:\n    web = service(\"web\", command = [\"x\"], ports = {\"p\": 1}, after = [peer(\"db\")])\n" +
			"db = service(\"db\", command = [\"x\", self.state_dir])\ngroup(\"all\", [web, db])\n",
	})
	p, err := Load(context.Background(), Options{File: file, Params: map[string]string{"shop/n": "5"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(p.Graph.Order(), " "); got != "shop/db shop/web a" {
		t.Errorf("got %q", got)
	}
	if got := p.Graph.Node("a").Service.Command.Argv[2].String(); got != "5" {
		t.Errorf("got the parameter %q, want 5", got)
	}
	if got := p.Graph.Node("shop/web").Pos.File; got != "shop/services.star" {
		t.Errorf("got place %s", got)
	}
	if len(p.Files) != 2 || p.Files[1].Kind != "source" {
		t.Errorf("got files %v", p.Files)
	}
}

// TestText: references keep their markers through every way of making text.
func TestText(t *testing.T) {
	p := mustLoad(t, `
db = service("db", command = ["x"], ports = {"tcp": 5432}, exports = {"url": "pg://%s" % self.address})
a = service("a", command = [
    "%s" % db.port, "{}".format(db.port), "p" + db.port, db.port + "p", ",".join([str(db.port)]), json.encode({"p": db.port}),
    repr(db.url), db.port, 80, db.state_dir + db.port, str([db.port]), db.port.weak, yaml.encode({"p": db.port}),
    toml.encode({"p": db.port}), ini.encode({"": {"p": db.port}}), literal("a⟦b") + db.port, tool("go")["go"], project.root,
])
conf = config_file("c.json", json = {"port": db.port, "list": [1, 2.5, None, True], "n": {"k": "v"}})
b = service("b", command = ["x"] + flags({"port": db.port, "v": True, "off": False, "n": None, "x": [1, 2]}) + flags({"a": 1}, sep = "="),
    config = [conf], env = {"A": 1, "B": None, "C": db.url.weak})
`)
	want := "⟦db.ports.tcp⟧|⟦db.ports.tcp⟧|p⟦db.ports.tcp⟧|⟦db.ports.tcp⟧p|⟦db.ports.tcp⟧|{\"p\":\"⟦db.ports.tcp⟧\"}|⟦db.exports.url⟧|⟦db.ports.tcp⟧|80|" +
		"⟦db.state_dir⟧⟦db.ports.tcp⟧|[⟦db.ports.tcp⟧]|⟦~db.ports.tcp⟧|p: ⟦db.ports.tcp⟧\n|p = \"⟦db.ports.tcp⟧\"\n|p = ⟦db.ports.tcp⟧\n|" +
		"a⟦⟦⟧b⟦db.ports.tcp⟧|⟦tool:go:go⟧|⟦project::root⟧"
	if got := argv(p, "a"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := argv(p, "b"); got != "x|--port|⟦db.ports.tcp⟧|-v|-x|1|-x|2|-a=1" {
		t.Errorf("got %s", got)
	}
	b := p.Graph.Node("b").Service
	if v, ok := b.Env.Get("B"); !ok || v != nil {
		t.Errorf("got %v, want a removed variable", v)
	}
	js, err := b.Config[0].JSON.MarshalJSON()
	if err != nil || string(js) != `{"port":"⟦db.ports.tcp⟧","list":[1,2.5,null,true],"n":{"k":"v"}}` {
		t.Errorf("got %s, %v", js, err)
	}
	for _, e := range p.Graph.Out("b") {
		if e.To == "db" && e.Ref != "⟦db.ports.tcp⟧" {
			t.Errorf("got edge %v, want none from the weak reference", e)
		}
	}
}

func argv(p *Project, name string) string {
	var parts []string
	for _, a := range p.Graph.Node(name).Service.Command.Argv {
		parts = append(parts, a.String())
	}
	return strings.Join(parts, "|")
}

// TestSelf: one text with self serves several declarations, and objects that
// hold it are copied.
func TestSelf(t *testing.T) {
	p := mustLoad(t, `
url = "http://" + self.address
ready = probe.exec(["curl", url], timeout = "2s")
conf = config_file("app.conf", lines = ["dir " + self.state_dir])
for n in ["a", "b"]:
    service(n, command = ["x", conf.path], ports = {"http": 80}, ready = ready, config = [conf], exports = {"url": url})
`)
	for _, n := range []string{"a", "b"} {
		s := p.Graph.Node(n).Service
		if got := s.Ready.Command.Argv[1].String(); got != "http://⟦"+n+".address⟧" {
			t.Errorf("%s: got probe %s", n, got)
		}
		if got := s.Config[0].Lines[0].String(); got != "dir ⟦"+n+".state_dir⟧" {
			t.Errorf("%s: got config %s", n, got)
		}
		if got := argv(p, n); got != "x|⟦"+n+".config.app.conf⟧" {
			t.Errorf("%s: got argv %s", n, got)
		}
		if len(p.Graph.Out(n)) != 0 {
			t.Errorf("%s waits for %v", n, p.Graph.Out(n))
		}
	}
}

// TestLater lists what is not yet effective, with its line.
func TestLater(t *testing.T) {
	p := mustLoad(t, "service(\"a\", command = [\"x\"],\n    site = site(\"x.test\"))\n")
	if len(p.Later) != 1 || p.Later[0].Line != 2 || p.Later[0].Message != "not yet effective: service.site" {
		t.Errorf("got %v", p.Later)
	}
	if s := p.Graph.Node("a").Service.Site; s == nil || s.Domain != "x.test" {
		t.Errorf("got site %v", s)
	}
}

// TestTools: a tool is one by its arguments; two that begin with the same
// program keep apart.
func TestTools(t *testing.T) {
	p := mustLoad(t, `
a, b = tool("postgres", "initdb"), tool("postgres", "initdb")
c = tool("postgres", paths = ["/opt/pg/bin"])
service("x", command = [a.postgres, b.initdb, c.postgres])
`)
	if len(p.Graph.Tools) != 2 || argv(p, "x") != "⟦tool:postgres:postgres⟧|⟦tool:postgres:initdb⟧|⟦tool:postgres#2:postgres⟧" {
		t.Errorf("got %d tools, %s", len(p.Graph.Tools), argv(p, "x"))
	}
	if tl := p.Graph.Tool("postgres#2"); tl == nil || len(tl.Paths) != 1 {
		t.Errorf("got %v, want the second tool", tl)
	}
}

// TestBudget: an endless loop ends within the budget of time, with its place.
func TestBudget(t *testing.T) {
	file := write(t, map[string]string{"services.star": "def f():\n    for i in range(1 << 40):\n        pass\nf()\n"})
	begin := time.Now()
	_, err := Load(context.Background(), Options{File: file, Timeout: 50 * time.Millisecond, MaxSteps: 1 << 60})
	if err == nil || !strings.Contains(err.Error(), "longer than 50ms; it was at services.star:2") {
		t.Errorf("got %v", err)
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("got %s, want about the budget", d)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var errs Errors
	if _, err := Load(ctx, Options{File: file, MaxSteps: 1 << 60}); !errors.As(err, &errs) {
		t.Errorf("got %v, want the evaluation interrupted", err)
	}
}

// project makes a text of n services and tasks in a chain of references.
func manyText(n int) string {
	return fmt.Sprintf(`
db = service("db", command = ["x"], ports = {"tcp": 5432}, exports = {"url": "pg://" + self.address})
prev = db
for i in range(%d):
    t = task("t/%%d" %% i, command = ["go", "build"], inputs = [glob(["**/*.go"])], outputs = {"bin": "bin/%%d" %% i})
    prev = service("s/%%d" %% i, command = [t.outputs.bin, "-p", self.port], ports = {"http": 8080}, ready = probe.http("/"),
        env = {"URL": db.url, "PREV": prev.address, "N": i}, after = [db])
`, n/2)
}

func benchmark(b *testing.B, n int) {
	file := write(b, map[string]string{"services.star": manyText(n)})
	b.ReportAllocs()
	for b.Loop() {
		p, err := Load(context.Background(), Options{File: file})
		if err != nil || len(p.Graph.Nodes) != n/2*2+1 {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoad1(b *testing.B)     { benchmark(b, 2) }
func BenchmarkLoad1000(b *testing.B)  { benchmark(b, 1000) }
func BenchmarkLoad10000(b *testing.B) { benchmark(b, 10000) }

// FuzzLoad: no text makes the parser, the checks or the graph panic, and what
// loads has a digest that stays.
func FuzzLoad(f *testing.F) {
	f.Add(shop)
	for _, name := range []string{"types", "files", "references"} {
		b, err := os.ReadFile("testdata/" + name + ".star")
		if err != nil {
			f.Fatal(err)
		}
		for part := range strings.SplitSeq(string(b), "\n---\n") {
			f.Add(part)
		}
	}
	f.Add("x = [1]\nx.append(x)\nconfig_file('a', json = x)\nyaml.encode(x)\n")
	f.Add("def f(): f()\nf()\n")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(dir, fmt.Sprintf("%d.star", os.Getpid()))
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Skip(err)
		}
		opt := Options{File: file, Std: fakeStd(), MaxSteps: 50_000, Timeout: 2 * time.Second}
		p, err := Load(context.Background(), opt)
		if err != nil {
			if err.Error() == "" {
				t.Error("got an error that says nothing")
			}
			return
		}
		again, err := Load(context.Background(), opt)
		if err != nil || again.Graph.Digest() != p.Graph.Digest() {
			t.Errorf("got another graph the second time: %v", err)
		}
		for _, n := range p.Graph.Nodes {
			n.Texts(func(_ string, _ graph.Use, text *graph.Text) {
				if back, err := graph.ParseText(text.String()); err != nil || back.String() != text.String() {
					t.Errorf("%q does not read back: %v", text.String(), err)
				}
			})
		}
	})
}

// TestParams: values from outside take the default's type; --set wins.
func TestParams(t *testing.T) {
	file := write(t, map[string]string{"services.star": `
n, on, s, l = param("n", 1), param("on", False), param("my-s", "a"), param("l", ["x"])
print("n is", n)
service("a", command = ["x", str(n + 1), str(on), s, ",".join(l)])
`})
	var printed []string
	opt := Options{
		File: file, Params: map[string]string{"n": "41"},
		Print: func(pos graph.Pos, msg string) { printed = append(printed, pos.String()+": "+msg) },
		Getenv: func(name string) (string, bool) {
			v, ok := map[string]string{"ORRERY_PARAM_N": "7", "ORRERY_PARAM_ON": "yes", "ORRERY_PARAM_MY_S": "⟦b", "ORRERY_PARAM_L": "p, q"}[name]
			return v, ok
		},
	}
	p, err := Load(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	if got := argv(p, "a"); got != "x|42|True|⟦⟦⟧b|p,q" {
		t.Errorf("got %s", got)
	}
	if len(printed) != 1 || printed[0] != "services.star:3:6: n is 41" {
		t.Errorf("got %q", printed)
	}
	for set, want := range map[string]string{"n=x": "n: --set: got \"x\", want an int", "nn=1": "--set nn: there is no such parameter", "on=maybe": "want true or false"} {
		name, value, _ := strings.Cut(set, "=")
		opt.Params = map[string]string{name: value}
		if _, err := Load(context.Background(), opt); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", set, err, want)
		}
	}
}

// TestReads: files() and read() are inputs of the evaluation.
func TestReads(t *testing.T) {
	file := write(t, map[string]string{"services.star": `
names = files(glob(["data/*.txt"], exclude = ["data/b*"]))
service("a", command = ["x"] + names + [read("data/a.txt")])
`, "data/a.txt": "A", "data/b.txt": "B", "data/c.txt": "C"})
	p, err := Load(context.Background(), Options{File: file})
	if err != nil {
		t.Fatal(err)
	}
	if got := argv(p, "a"); got != "x|data/a.txt|data/c.txt|A" {
		t.Errorf("got %s", got)
	}
	var kinds []string
	for _, f := range p.Files {
		kinds = append(kinds, f.Kind)
	}
	if got := strings.Join(kinds, " "); got != "source pattern read" {
		t.Errorf("got %s", got)
	}
}
