package bind

import (
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"orrery/lang/graph"
)

func asNobody(t *testing.T) *syscall.SysProcAttr {
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// TestEnvPrecedence puts each variable into every layer up to its own; the last one must win.
func TestEnvPrecedence(t *testing.T) {
	d := dirs(t)
	layers := []string{"CALLER", "DOTENV", "PROJECT", "USES", "FILE", "ENV", "REMOVED"}
	upTo := func(layer int, value string) (keys []string) {
		for i := layer; i < len(layers); i++ {
			keys = append(keys, layers[i]+"="+value)
		}
		return keys
	}
	plain := func(kvs []string) (d graph.Dict[string]) {
		for _, kv := range kvs {
			k, v, _ := strings.Cut(kv, "=")
			d = append(d, graph.Entry[string]{Key: k, Value: v})
		}
		return d
	}
	rich := func(kvs []string) (d graph.Dict[graph.Text]) {
		for _, kv := range kvs {
			k, v, _ := strings.Cut(kv, "=")
			d = append(d, graph.Entry[graph.Text]{Key: k, Value: graph.Lit(v)})
		}
		return d
	}
	os.WriteFile(d.Root+"/.env", []byte(strings.Join(upTo(1, "dotenv"), "\n")), 0o600)
	os.WriteFile(d.Root+"/api.env", []byte(strings.Join(upTo(4, "file"), "\n")), 0o600)
	env := append(rich(upTo(5, "env")), graph.Entry[graph.Text]{Key: "REMOVED"})
	g := newGraph(t, graph.Decl{Project: graph.Project{Dotenv: []string{".env", "absent.env"}, Env: plain(upTo(2, "project")), PassEnv: []string{"GO*"}}},
		service("db", func(s *graph.Service) { s.EnvExports = rich(upTo(3, "uses")) }),
		service("api", func(s *graph.Service) { s.Uses, s.EnvFile, s.Env = []string{"db"}, texts("api.env"), env }),
		task("job", func(x *graph.Task) { x.Uses, x.Env, x.PassEnv = []string{"db"}, env, []string{"CALLER", "MY_?"} }),
	)
	caller := append(upTo(0, "caller"), "GOFLAGS=-v", "MY_X=1", "MY_XX=2", "HOME=/h", "LC_ALL=C", "https_proxy=p", "SECRET_TOKEN=t", "XDG_DATA_HOME=/x", "NOT A VAR", "=bad")
	b := New(openTable(t, d), g, Options{Environ: caller})
	want := func(node string, vars map[string]string) {
		t.Helper()
		got, err := b.Env(node)
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]string{}
		for _, v := range got {
			have[v.Key] = v.Value + " (" + v.Origin + ")"
		}
		for k, v := range vars {
			if have[k] != v {
				t.Errorf("%s: %s: got %q, want %q", node, k, have[k], v)
			}
			delete(have, k)
		}
		for k, v := range have {
			t.Errorf("%s: got %s=%s, want nothing", node, k, v)
		}
	}
	want("api", map[string]string{"CALLER": "caller (caller)", "DOTENV": "dotenv (dotenv .env)", "PROJECT": "project (project)", "USES": "uses (uses db)",
		"FILE": "file (env_file " + d.Root + "/api.env)", "ENV": "env (env)", "PWD": d.Root + " (cwd)", "GOFLAGS": "-v (caller)", "MY_X": "1 (caller)", "MY_XX": "2 (caller)",
		"HOME": "/h (caller)", "LC_ALL": "C (caller)", "https_proxy": "p (caller)", "SECRET_TOKEN": "t (caller)", "XDG_DATA_HOME": "/x (caller)"})
	want("job", map[string]string{"CALLER": "caller (pass_env)", "DOTENV": "dotenv (dotenv .env)", "PROJECT": "project (project)", "USES": "uses (uses db)",
		"FILE": "uses (uses db)", "ENV": "env (env)", "PWD": d.Root + " (cwd)", "GOFLAGS": "-v (pass_env)", "MY_X": "1 (pass_env)",
		"HOME": "/h (caller)", "LC_ALL": "C (caller)", "https_proxy": "p (caller)", "XDG_DATA_HOME": "/x (caller)"})
	// env_file is read at each start, and must be there.
	os.WriteFile(d.Root+"/api.env", []byte("FILE=later\nbroken line\n"), 0o600)
	if _, err := b.Env("api"); err == nil || !strings.Contains(err.Error(), "api.env:2: got \"broken line\", want KEY=VALUE") {
		t.Errorf("got %v", err)
	}
	os.Remove(d.Root + "/api.env")
	if _, err := b.Env("api"); err == nil || !strings.Contains(err.Error(), "api.env") {
		t.Errorf("got %v", err)
	}
}

func TestUserOfTask(t *testing.T) {
	me := func(s *graph.Service) { s.User = "nobody" }
	g := newGraph(t, graph.Decl{}, service("db", me), task("db/init"), task("make", func(x *graph.Task) { x.Gates = "db" }), task("part", func(x *graph.Task) { x.PartOf = "db" }),
		task("own", func(x *graph.Task) { x.User, x.PartOf = "root", "db" }), task("none"))
	for node, want := range map[string]string{"db/init": "nobody", "make": "nobody", "part": "nobody", "own": "root", "none": ""} {
		if got, _ := userOf(g, g.Node(node)); got != want {
			t.Errorf("%s: got %q, want %q", node, got, want)
		}
	}
	b := New(openTable(t, dirs(t)), g, Options{})
	name, _ := b.User("db")
	if (os.Geteuid() == 0) != (name == "nobody") {
		t.Errorf("got user %q as uid %d", name, os.Geteuid())
	}
}

func TestDotenv(t *testing.T) {
	got, err := ParseDotenv([]byte("\ufeff# comment\n\nA=1\r\nexport B = two words # note\nC='a # \\n $X'\nD=\"x\\ny\\t\\\"q\\\" \\$H \\z\" # c\nE=\nF=a#b\n" +
		"G='line\nline'\nH=\"l1\nl2\"\n  I=a=b=c\nJ.k-l=$HOME ${X}\nexport=1\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := [][2]string{{"A", "1"}, {"B", "two words"}, {"C", `a # \n $X`}, {"D", "x\ny\t\"q\" $H \\z"}, {"E", ""}, {"F", "a#b"},
		{"G", "line\nline"}, {"H", "l1\nl2"}, {"I", "a=b=c"}, {"J.k-l", "$HOME ${X}"}, {"export", "1"}}
	if len(got) != len(want) {
		t.Fatalf("got %+v", got)
	}
	for i, w := range want {
		if got[i].Key != w[0] || got[i].Value != w[1] {
			t.Errorf("got %s=%q, want %s=%q", got[i].Key, got[i].Value, w[0], w[1])
		}
	}
	for text, want := range map[string]string{
		"A=1\nB": `2: got "B", want KEY=VALUE`, "1A=2": "1: got", "A b=1": "1: got", "A='x": "1: A: the quote ' is never closed",
		"X='a\nb'\nA=\"b\" c": `3: A: got "c" after the closing quote`, "A=\x00": "NUL",
	} {
		if _, err := ParseDotenv([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

// quoteDotenv writes any value in the form that ParseDotenv reads.
func quoteDotenv(v string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "$", `\$`).Replace(v) + `"`
}

func TestDotenvRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.MapOf(rapid.StringMatching(`[A-Za-z_][A-Za-z0-9_]{0,8}`), rapid.String()).Draw(t, "vars")
		var text strings.Builder
		for k, v := range want {
			want[k] = strings.ReplaceAll(v, "\x00", "")
			text.WriteString(rapid.SampledFrom([]string{"", "export ", "  "}).Draw(t, "prefix") + k + "=" + quoteDotenv(want[k]) + "\n")
		}
		got, err := ParseDotenv([]byte(text.String()))
		if err != nil || len(got) != len(want) {
			t.Fatalf("%q: got %+v, %v", text.String(), got, err)
		}
		for _, v := range got {
			if want[v.Key] != v.Value {
				t.Fatalf("%s: got %q, want %q", v.Key, v.Value, want[v.Key])
			}
		}
	})
}

func FuzzParseDotenv(f *testing.F) {
	f.Add([]byte("A=1\nexport B=\"x\\n\" # c\nC='\n'\n"))
	f.Add([]byte("A='"))
	f.Fuzz(func(t *testing.T, text []byte) {
		vars, err := ParseDotenv(text)
		if err != nil {
			return
		}
		var again strings.Builder
		for _, v := range vars {
			if !validKey(v.Key) || strings.ContainsRune(v.Value, 0) {
				t.Fatalf("got %+v", v)
			}
			again.WriteString(v.Key + "=" + quoteDotenv(v.Value) + "\n")
		}
		round, err := ParseDotenv([]byte(again.String()))
		if err != nil || len(round) != len(vars) {
			t.Fatalf("%q: got %v, %v", again.String(), round, err)
		}
		for i := range vars {
			if round[i].Value != vars[i].Value && !strings.Contains(vars[i].Value, "\r") {
				t.Fatalf("got %q, want %q", round[i].Value, vars[i].Value)
			}
		}
	})
}
