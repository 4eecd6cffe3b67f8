package bind

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"orrery/lang/graph"
)

// shop is a graph with something of everything.
func shop(t testing.TB, p int) *graph.Graph {
	db := service("db", port("tcp", p), func(s *graph.Service) {
		s.Exports = dict("url", "postgres://u:⟦secret:pw:value⟧@⟦db.address⟧/x", "twice", "<⟦db.exports.url⟧>", "dir", "⟦db.state_dir⟧", "key", "⟦secret:pw:path⟧")
		s.EnvExports = dict("PGHOST", "⟦db.runtime_dir⟧", "PGPORT", "⟦db.port⟧", "BOTH", "uses")
	})
	v6 := service("v6", port("x", p+1, func(x *graph.Port) { x.Host = "::1" }), port("y", p+2, func(x *graph.Port) { x.Host = "" }))
	build := task("build", func(x *graph.Task) {
		x.Outputs = graph.Dict[graph.Input]{{Key: "bin", Value: graph.Input{Path: txt("bin/shop")}}, {Key: "top", Value: graph.Input{Path: txt("shop")}},
			{Key: "all", Value: graph.Input{Pattern: &graph.Pattern{Include: []string{"out/gen/*.go"}}}}}
		x.Values = []string{"version"}
	})
	sub := task("sub", func(x *graph.Task) { x.Cwd = txt("cmd/sub") })
	web := service("web", listener("http", graph.Listen{Kind: "tcp", Base: p + 3, Host: "127.0.0.1"}), listener("ctl", unixListen("unix", "ctl.sock", 0o600)),
		func(s *graph.Service) {
			s.Uses = []string{"db"}
			s.Config = []graph.ConfigFile{{Name: "web.conf", Text: txt("x"), Mode: 0o644}}
			s.Env = dict("URL", "⟦db.exports.url⟧")
		})
	return newGraph(t, graph.Decl{Secrets: []*graph.Secret{{Name: "pw", Env: "PW"}}}, db, v6, build, sub, web)
}

func shopBinding(t testing.TB) (*Binding, int) {
	p := base(t, 6)
	d := dirs(t)
	d.GitRoot = filepath.Dir(d.Root)
	b := New(openTable(t, d), shop(t, p), Options{Environ: []string{"PW=s3cret", "PATH=/bin"}})
	if err := b.Prepare([]string{"db", "v6", "web"}); err != nil {
		t.Fatal(err)
	}
	b.SetValues("build", map[string]string{"version": "⟦db.port⟧"})
	return b, p
}

func TestValues(t *testing.T) {
	b, p := shopBinding(t)
	d := b.dirs
	num := func(n int) string { v, _ := json.Marshal(n); return string(v) }
	for _, c := range []struct{ text, node, want string }{
		{"⟦db.name⟧", "", "db"},
		{"⟦db.ports.tcp⟧", "", num(p)},
		{"⟦db.port⟧", "", num(p)},
		{"⟦db.address⟧ ⟦db.host⟧", "", "127.0.0.1:" + num(p) + " 127.0.0.1"},
		{"⟦v6.host⟧ ⟦v6.ports.y⟧", "", "::1 " + num(p+2)},
		{"⟦web.address⟧", "", "127.0.0.1:" + num(p+3)},
		{"⟦web.sockets.ctl⟧", "", d.Run + "/web/ctl.sock"},
		{"⟦web.config.web.conf⟧", "", d.Run + "/.config/web/web.conf"},
		{"⟦db.url⟧", "", "postgres://u:s3cret@127.0.0.1:" + num(p) + "/x"},
		{"⟦db.exports.twice⟧", "", "<postgres://u:s3cret@127.0.0.1:" + num(p) + "/x>"},
		{"⟦db.state_dir⟧ ⟦db.runtime_dir⟧ ⟦db.cache_dir⟧ ⟦db.log_file⟧", "web", d.State + "/db " + d.Run + "/db " + d.Cache + "/db " + d.Root + "/logs/db"},
		{"⟦build.values.version⟧", "", "⟦db.port⟧"}, // never scanned again
		{"⟦build.outputs.bin⟧", "web", d.Root + "/bin/shop"},
		{"⟦build.outputs.bin⟧", "", d.Root + "/bin/shop"},
		{"⟦build.outputs.bin⟧ ⟦build.outputs.top⟧", "build", "bin/shop ./shop"},
		{"⟦build.outputs.bin⟧ ⟦build.outputs.top⟧", "sub", "../../bin/shop ../../shop"},
		{"⟦build.outputs.all⟧", "build", "out/gen"},
		{"⟦project::root⟧ ⟦project::git_root⟧", "web", d.Root + " " + d.GitRoot},
		{"⟦project::root⟧ ⟦project::git_root⟧", "build", ". .."},
		{"⟦project::root⟧", "sub", "../.."},
		{"⟦secret:pw:path⟧", "web", d.Run + "/.secrets/web/pw"},
	} {
		if got, err := b.Fill(txt(c.text), c.node); err != nil || got != c.want {
			t.Errorf("%s for %q: got %q, %v, want %q", c.text, c.node, got, err, c.want)
		}
	}
	for text, want := range map[string]string{
		"⟦nobody.port⟧":       "there is no",
		"⟦v6.port⟧":           "2 ports",
		"⟦db.ready⟧":          "condition",
		"⟦db.data_id⟧":        "does not exist yet",
		"⟦secret:pw:path⟧":    "none asks",
		"⟦secret:other:path⟧": "no such secret",
		"⟦tool:x:y⟧":          "no such tool",
		"⟦config:x#1:path⟧":   "no service has it",
	} {
		if got, err := b.Fill(txt(text), ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %q, %v, want an error that says %q", text, got, err, want)
		}
	}
	if got, err := b.Path(txt("⟦build.outputs.bin⟧"), "build"); err != nil || got != d.Root+"/bin/shop" {
		t.Errorf("Path: got %q, %v", got, err)
	}
	if got, err := b.Dir("sub"); err != nil || got != d.Root+"/cmd/sub" {
		t.Errorf("Dir: got %q, %v", got, err)
	}
}

func TestIPv6Address(t *testing.T) {
	p := base(t, 1)
	g := newGraph(t, graph.Decl{}, service("a", port("x", p, func(x *graph.Port) { x.Host = "::1" })))
	b := Resolve(g, dirs(t), Options{})
	if got, err := b.Fill(txt("⟦a.address⟧"), ""); err != nil || !strings.HasPrefix(got, "[::1]:") {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestSnapshot(t *testing.T) {
	b, _ := shopBinding(t)
	if err := b.MakeDirs("db"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Fill(txt("⟦db.url⟧"), ""); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(b.Snapshot())
	if err != nil || strings.Contains(string(raw), "s3cret") {
		t.Fatalf("got %s, %v", raw, err)
	}
	var m map[string]string
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	other := FromSnapshot(b.g, b.dirs, m, b.opts)
	for _, n := range b.g.Nodes {
		n.Texts(func(_ string, _ graph.Use, x *graph.Text) {
			want, werr := b.Fill(*x, n.Name())
			if got, err := other.Fill(*x, n.Name()); got != want || (err == nil) != (werr == nil) {
				t.Errorf("%s: got %q, %v, want %q", x, got, err, want)
			}
		})
	}
	for _, x := range []string{"⟦db.data_id⟧", "⟦build.values.version⟧", "⟦v6.ports.y⟧"} {
		want, _ := b.Fill(txt(x), "")
		if got, err := other.Fill(txt(x), ""); got != want || err != nil || got == "" {
			t.Errorf("%s: got %q, %v, want %q", x, got, err, want)
		}
	}
	if err := other.Prepare([]string{"db"}); err == nil {
		t.Error("got no error of Prepare")
	}
}

func TestResolveTouchesNothing(t *testing.T) {
	d := Dirs{Root: "/nowhere", State: "/nowhere/state", Run: "/nowhere/run", Cache: "/nowhere/cache"}
	b := Resolve(shop(t, 5432), d, Options{})
	for text, want := range map[string]string{
		"⟦db.url⟧": "postgres://u:<secret pw>@127.0.0.1:5432/x", "⟦db.data_id⟧": "<data_id of db>", "⟦build.values.version⟧": "<build.values.version>",
	} {
		if got, err := b.Fill(txt(text), "web"); err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	if _, err := b.Env("web"); err != nil {
		t.Error(err)
	}
}

func TestConcurrentFill(t *testing.T) {
	b, _ := shopBinding(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				if i == 0 {
					b.SetValues("build", map[string]string{"version": "1"})
				}
				if _, err := b.Fill(txt("⟦db.url⟧ ⟦build.values.version⟧"), "web"); err != nil {
					t.Error(err)
				}
				b.Secrets()
				b.Snapshot()
			}
		})
	}
	wg.Wait()
	if got := b.Secrets(); !slices.Equal(got, []string{"s3cret"}) {
		t.Errorf("got %q", got)
	}
}

func TestDataID(t *testing.T) {
	b, _ := shopBinding(t)
	id := func() string {
		t.Helper()
		if err := b.MakeDirs("db"); err != nil {
			t.Fatal(err)
		}
		v, err := b.Fill(txt("⟦db.data_id⟧"), "")
		if err != nil || len(v) != 32 {
			t.Fatalf("got %q, %v", v, err)
		}
		return v
	}
	first := id()
	if again := id(); again != first {
		t.Errorf("got %s, then %s", first, again)
	}
	dir := b.dirs.Path("state", "db")
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("the state_dir is not empty: %v", entries)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Fill(txt("⟦db.data_id⟧"), ""); err == nil {
		t.Error("a wiped database still has a data_id")
	}
	second := id()
	if second == first {
		t.Error("a wiped database has the old data_id")
	}
	// A template fills the wiped state_dir between Prepare and the start.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := b.Prepare([]string{"db"}); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if id() == second {
		t.Error("a database made from a template has the old data_id")
	}
}

func TestTools(t *testing.T) {
	d := dirs(t)
	program := func(path string) {
		path = filepath.Join(d.Root, path)
		os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program("pg/9/bin/orrery-psql")
	program("pg/15/bin/orrery-psql")
	program("pg/15/bin/orrery-initdb")
	program("path/orrery-initdb")
	os.Mkdir(filepath.Join(d.Root, "path/orrery-psql"), 0o755) // a folder is no program
	g := newGraph(t, graph.Decl{Tools: []*graph.Tool{
		{Programs: []string{"orrery-psql", "orrery-initdb"}, Paths: []string{"pg/*/bin"}},
		{Programs: []string{"orrery-none"}, Packages: graph.Dict[string]{{Key: "nix", Value: "n"}, {Key: "debian", Value: "deb-none"}, {Key: "brew", Value: "b@1"}}},
	}}, task("x", func(x *graph.Task) { x.Tools = []string{"orrery-psql"} }))
	b := New(openTable(t, d), g, Options{Environ: []string{"PATH=" + d.Root + "/path:relative"}})
	for text, want := range map[string]string{"⟦tool:orrery-psql:orrery-psql⟧": "pg/15/bin/orrery-psql", "⟦tool:orrery-psql:orrery-initdb⟧": "path/orrery-initdb"} {
		if got, err := b.Fill(txt(text), "x"); err != nil || got != filepath.Join(d.Root, want) {
			t.Errorf("got %q, %v, want %s", got, err, want)
		}
	}
	_, err := b.Fill(txt("⟦tool:orrery-none:orrery-none⟧"), "x")
	var missing *MissingToolError
	if !errors.As(err, &missing) || !strings.HasSuffix(err.Error(), "; install it (Debian: apt install deb-none; Homebrew: brew install b@1; Nix: nix profile install nixpkgs#n)") {
		t.Errorf("got %v", err)
	}
	vars, err := b.Env("x")
	if err != nil {
		t.Fatal(err)
	}
	if want := "PATH=" + d.Root + "/pg/15/bin:" + d.Root + "/path:" + d.Root + "/path:relative"; !slices.Contains(Environ(vars), want) {
		t.Errorf("got %q, want %s", Environ(vars), want)
	}
	if _, err := os.Stat("/usr/lib/postgresql/15/bin/initdb"); err == nil {
		g := newGraph(t, graph.Decl{Tools: []*graph.Tool{{Programs: []string{"initdb"}}}}, task("x"))
		b := New(openTable(t, d), g, Options{Environ: []string{"PATH=/bin"}})
		if got, err := b.Fill(txt("⟦tool:initdb:initdb⟧"), ""); err != nil || !strings.HasSuffix(got, "/bin/initdb") {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

func TestVersions(t *testing.T) {
	in := []string{"/p/9.6", "/p/10", "/p/9.10", "/p/15", "/p/015b", "/p/9"}
	slices.SortFunc(in, compareVersions)
	if want := []string{"/p/9", "/p/9.6", "/p/9.10", "/p/10", "/p/15", "/p/015b"}; !slices.Equal(in, want) {
		t.Errorf("got %v, want %v", in, want)
	}
}

func TestSecretFiles(t *testing.T) {
	d := dirs(t)
	os.WriteFile(d.Root+"/pw.txt", []byte("from file\n\n"), 0o600)
	user := "nobody"
	if os.Geteuid() != 0 {
		user = ""
	} else {
		os.Chmod(d.Run, 0o711)
	}
	g := newGraph(t, graph.Decl{Secrets: []*graph.Secret{
		{Name: "file", File: "pw.txt"}, {Name: "cmd", Command: []string{"printf", "a\\nb"}}, {Name: "env", Env: "X"}, {Name: "missing", Env: "NOT_SET"}, {Name: "age", Age: "x.age"},
		{Name: "fails", Command: []string{"sh", "-c", "echo the vault is sealed >&2; exit 3"}},
	}}, service("a", func(s *graph.Service) {
		s.User = user
		s.Env = dict("F", "⟦secret:file:path⟧", "C", "⟦a.exports.c⟧", "E", "⟦secret:env:value⟧")
		s.Exports = dict("c", "⟦secret:cmd:path⟧")
	}))
	b := New(openTable(t, d), g, Options{Environ: []string{"X=  x\n", "PATH=" + os.Getenv("PATH")}})
	if err := b.WriteSecrets("a"); err != nil {
		t.Fatal(err)
	}
	vars, err := b.Env("a")
	if err != nil {
		t.Fatal(err)
	}
	dir := ""
	for _, v := range vars {
		switch {
		case v.Key == "CREDENTIALS_DIRECTORY":
			dir = v.Value
		case v.Key == "E" && (!v.Secret || v.Value != "  x\n"), v.Key == "F" && v.Secret:
			t.Errorf("got %+v", v)
		}
	}
	for name, want := range map[string]string{"file": "from file\n", "cmd": "a\nb"} {
		path := filepath.Join(dir, name)
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o400 {
			t.Errorf("%s: got %v, %v", name, st.Mode(), err)
		}
		if user == "" {
			continue
		}
		cat := exec.Command("cat", path)
		cat.SysProcAttr = asNobody(t)
		if out, err := cat.CombinedOutput(); err != nil || string(out) != want {
			t.Errorf("the service's user cannot read %s: %s", path, out)
		}
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("got %v, %v, want a private directory", st, err)
	}
	for name, want := range map[string]string{"missing": "NOT_SET is not set", "age": "age", "fails": "the vault is sealed"} {
		if _, err := b.Value(graph.Ref{Scope: graph.ScopeSecret, Name: name, Attr: "value"}, "a"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := b.RemoveSecrets("a"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the secrets are still there")
	}
}

// TestHostile: any value reaches the program as it is, through env, argv and script.
func TestHostile(t *testing.T) {
	d := dirs(t)
	list := newGraph(t, graph.Decl{}, task("src", func(x *graph.Task) { x.Values = []string{"v"} }),
		task("argv", func(x *graph.Task) {
			x.Command = &graph.Command{Argv: texts("/bin/sh", "-c", `printf '%s\0' "$@" "$V" "$S"`, "sh", "⟦src.values.v⟧", "-⟦src.values.v⟧-")}
			x.Env = dict("V", "⟦src.values.v⟧", "S", "x⟦src.values.v⟧")
		}),
		task("script", func(x *graph.Task) {
			x.Command = &graph.Command{Script: txt(`printf '%s\0' ⟦src.values.v⟧ '-⟦src.values.v⟧-' "$V" "$S"`)}
			x.Env = dict("V", "⟦src.values.v⟧", "S", "x⟦src.values.v⟧")
		}))
	b := New(openTable(t, d), list, Options{Environ: os.Environ()})
	check := func(t interface{ Fatalf(string, ...any) }, v string) {
		b.SetValues("src", map[string]string{"v": v})
		for _, node := range []string{"argv", "script"} {
			c, err := b.Command(node)
			if err != nil {
				t.Fatalf("%v", err)
			}
			vars, err := b.Env(node)
			if err != nil {
				t.Fatalf("%v", err)
			}
			cmd := exec.Command(c.Argv[0], c.Argv[1:]...)
			cmd.Env = append(Environ(vars), c.Env...)
			out, err := cmd.Output()
			if want := strings.Join([]string{v, "-" + v + "-", v, "x" + v, ""}, "\x00"); err != nil || string(out) != want {
				t.Fatalf("%s: got %q, %v, want %q", node, out, err, want)
			}
		}
	}
	for _, v := range []string{"", "$HOME", "${X}", "$(id)", "`id`", "%n", ";", `\;`, `\`, `"`, "'", `'"'"'`, "a\nb\n", " lead and trail ", "*", "~", "!", "é\u202e", "\x1b[31m", "⟦db.port⟧", "-n", strings.Repeat("x", 5000), "\xff\xfe"} {
		check(t, v)
	}
	gen := rapid.StringN(0, 40, -1)
	for seed := range 40 {
		check(t, strings.ReplaceAll(gen.Example(seed), "\x00", ""))
	}
}

// TestNoSnapshot: a run without an engine has no snapshot, and its tasks write values.
func TestNoSnapshot(t *testing.T) {
	g, problems := graph.New(graph.Decl{})
	if len(problems) > 0 {
		t.Fatal(problems[0].Message)
	}
	b := FromSnapshot(g, Dirs{}, nil, Options{})
	b.SetValues("build", map[string]string{"version": "1"})
	if got := b.Snapshot()["⟦build.values.version⟧"]; got != "1" {
		t.Errorf("got %q", got)
	}
}
