package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

const jsonProject = `project("shop")
workers = param("workers", default = 2, choices = [1, 2], help = "how many")
db = service("db", command = "exec sleep 1000", ports = {"tcp": 24571}, ready = probe.exec(["true"]), exports = {"url": "db://127.0.0.1:%s" % self.port},
    env_exports = {"DB_URL": "db://%s" % self.port})
web = service("web", command = "exec sleep 1000", after = [db], links = {"home": "http://127.0.0.1:%s/" % db.port}, reload = ["true"])
build = task("build", command = "cat in.txt > out.txt; echo built", inputs = ["in.txt"], outputs = {"o": "out.txt"})
test = task("test", command = "cat %s" % build.outputs.o, after = [web])
bad = task("bad", command = "exit 3")
group("all", [web, test])
`

// jsonCase is a command line whose standard output is checked.
type jsonCase struct {
	verb string // in allPrinted
	args string
	code int
	in   string
}

// jsonCases take a project through its life.
func jsonCases(lib string) []jsonCase {
	return []jsonCase{
		{verb: "version", args: "version"},
		{verb: "help", args: "help"}, {verb: "help", args: "help up"}, {verb: "help", args: "up --help"}, {verb: "help", args: ""},
		{verb: "help", args: "cache"}, {verb: "help", args: "lib"},
		{verb: "help WORD", args: "help service.ready"}, {verb: "help WORD", args: "help agents"},
		{verb: "help --man", args: "help --man man"},
		{verb: "check", args: "check"}, {verb: "list", args: "list"}, {verb: "list --params", args: "list --params"}, {verb: "list --groups", args: "list --groups"},
		{verb: "graph", args: "graph web"}, {verb: "plan", args: "plan"}, {verb: "plan", args: "plan --resolve"},
		{verb: "why", args: "why web"}, {verb: "why A B", args: "why web db"}, {verb: "why A B", args: "why db build"}, {verb: "why NAME.PORT", args: "why db.tcp"},
		{verb: "env", args: "env"}, {verb: "env", args: "env db"}, {verb: "port", args: "port db"}, {verb: "url", args: "url web"}, {verb: "open", args: "open web"},
		{verb: "import", args: "import Procfile -o -"}, {verb: "import", args: "import Procfile -o imported.star"}, {verb: "init", args: "init -n"},
		{verb: "run --dry-run", args: "run test --dry-run"},
		{verb: "run", args: "run build"}, {verb: "run", args: "run build"}, {verb: "run", args: "run bad", code: 3},
		{verb: "trace", args: "trace"}, {verb: "why", args: "why build"},
		{verb: "up", args: "up bad", code: 1}, {verb: "down", args: "down"},
		{verb: "up -d --wait", args: "up -d --wait web"},
		{verb: "status", args: "status"}, {verb: "wait", args: "wait web"}, {verb: "restart", args: "restart db"}, {verb: "wait", args: "wait"},
		{verb: "reload", args: "reload web"}, {verb: "stop", args: "stop web"}, {verb: "start", args: "start web"}, {verb: "restart", args: "restart --engine"},
		{verb: "why", args: "why web"}, {verb: "why", args: "why db"}, {verb: "port", args: "port db"}, {verb: "why NAME.PORT", args: "why db.tcp"},
		{verb: "logs", args: "logs"}, {verb: "trace", args: "trace up"}, {verb: "doctor", args: "doctor", code: -1},
		{verb: "log", args: "log"}, {verb: "log what-ran", args: "log what-ran"}, {verb: "log failed", args: "log failed"}, {verb: "log restarts", args: "log restarts"},
		{verb: "log slowest", args: "log slowest"}, {verb: "log critical-path", args: "log critical-path"},
		{verb: "down", args: "down"}, {verb: "down", args: "down"}, {verb: "status", args: "status", code: 5},
		{verb: "cache stats", args: "cache stats"}, {verb: "cache verify", args: "cache verify"}, {verb: "cache trim", args: "cache trim"}, {verb: "cache clear", args: "cache clear"},
		{verb: "fmt", args: "fmt"}, {verb: "fmt", args: "fmt --check"},
		{verb: "test", args: "test", code: 1}, {verb: "doc", args: "doc"}, {verb: "doc MODULE", args: "doc postgres"},
		{verb: "repl", args: "repl", in: "db.port\n?db\ndef f():\n  return 1\n\nf()\nnope\n", code: 1},
		{verb: "lib add", args: "lib add acme " + lib}, {verb: "lib update", args: "lib update"}, {verb: "lib fetch", args: "lib fetch"}, {verb: "lib list", args: "lib list"},
		{verb: "lib vendor", args: "lib vendor"}, {verb: "lib verify", args: "lib verify"}, {verb: "lib remove", args: "lib remove acme"},
		// An edit is seen, and what is wrong has no data.
		{verb: "list", args: "list --file nope.star", code: 2}, {verb: "why", args: "why nope", code: 6},
		{verb: "env", args: "env --format shell", code: 2}, {verb: "trace", args: "trace --format svg", code: 2},
		{verb: "fmt", args: "fmt -", code: 2}, {verb: "up", args: "attach web", code: 2}, {verb: "up", args: "exec -- true", code: 2}, {verb: "up", args: "completion bash", code: 2},
		{verb: "up", args: "demo", code: 2}, {verb: "up", args: "export Procfile", code: 2},
	}
}

// watching are what allPrinted has and no step: what goes on until it is told
// to end is the matter of scripts.
func watching() []string { return []string{"run --watch", "status -w"} }

// TestJSON: `orrery X --json 2>/dev/null` is JSON as its schema says, for every
// verb X, in a pipe, on a narrow dumb terminal and in CI.
func TestJSON(t *testing.T) {
	book := theBook(t)
	c := newCheckout(t, jsonProject)
	c.env = append(c.env, "TERM=dumb", "COLUMNS=40", "CI=true")
	c.write("in.txt", "1\n")
	c.write("Procfile", "web: sleep 1000\n")
	c.write("lib_test.star", "def test_ok(t):\n    t.eq(1, 1)\n\ndef test_bad(t):\n    t.eq(1, 2)\n")
	steps := jsonCases(archiveOf(t, c))
	done := map[string]bool{}
	for _, s := range steps {
		out, code := c.jsonRun(s)
		if code != s.code && s.code >= 0 {
			t.Errorf("orrery %s: got code %d, want %d\n%s", s.args, code, s.code, out)
		}
		quick := s.verb == "down" || s.verb == "up" // may end before there is anything to say
		done[s.verb] = done[s.verb] || len(out) > 0 || quick
		if code == 2 && len(out) > 0 {
			t.Errorf("orrery %s: got %q, want nothing on standard output", s.args, out)
		}
		if wrong := book.check(s.verb, out); wrong != "" {
			t.Errorf("orrery %s: %s\n%s", s.args, wrong, out)
		}
	}
	for _, p := range allPrinted() {
		if !done[p.verb] && !slices.Contains(watching(), p.verb) {
			t.Errorf("no step prints what %q does", p.verb)
		}
	}
	everyVerb(t)
}

// TestPlain: the same command lines without --json, with nobody at a terminal:
// they end with the same code, have no escape sequence in what they print, and
// end as well when nobody reads it.
func TestPlain(t *testing.T) {
	c := newCheckout(t, jsonProject)
	c.env = append(c.env, "TERM=dumb", "COLUMNS=40", "CI=true")
	c.write("in.txt", "1\n")
	c.write("Procfile", "web: sleep 1000\n")
	c.write("lib_test.star", "def test_ok(t):\n    t.eq(1, 1)\n\ndef test_bad(t):\n    t.eq(1, 2)\n")
	for _, s := range jsonCases(archiveOf(t, c)) {
		if s.code == 2 {
			continue // said of --json
		}
		r := c.orrery(strings.Fields(s.args)...)
		if s.verb != "repl" && r.code != s.code && s.code >= 0 {
			t.Errorf("orrery %s: got code %d, want %d\n%s", s.args, r.code, s.code, r)
		}
		if strings.Contains(r.out+r.err, "\x1b") {
			t.Errorf("orrery %s: got an escape sequence:\n%q", s.args, r.out+r.err)
		}
	}
	for _, verb := range []string{"list", "plan", "graph", "logs", "trace", "log", "help", "doc", "doctor", "check"} {
		sh := exec.Command("sh", "-c", c.programs.orrery+" "+verb+" | true; wait")
		sh.Dir, sh.Env = c.dir, c.env
		if out, err := sh.CombinedOutput(); err != nil || strings.Contains(string(out), "panic") {
			t.Errorf("orrery %s | true: %v\n%s", verb, err, out)
		}
	}
}

// everyVerb: each verb of the command tree is in the table, or refuses.
func everyVerb(t *testing.T) {
	known := map[string]bool{}
	for _, p := range allPrinted() {
		known[p.verb] = true
	}
	for _, c := range leaves(newApp().root()) {
		path := strings.TrimPrefix(c.CommandPath(), "orrery ")
		verb, _, _ := strings.Cut(path, " ")
		if _, refuses := refusals()[verb]; !refuses && !known[path] {
			t.Errorf("%s: what it prints with --json is not in allPrinted, and it is not in refusals", path)
		}
	}
}

// leaves are the commands that do something.
func leaves(c *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, sub := range c.Commands() {
		if sub.Hidden {
			continue
		}
		below := leaves(sub)
		if len(below) == 0 || sub.Name() == "log" {
			all = append(all, sub)
		}
		all = append(all, below...)
	}
	return all
}

func (c *checkout) jsonRun(s jsonCase) (out []byte, code int) {
	c.t.Helper()
	args := strings.Fields(s.args)
	at := slices.Index(args, "--")
	if at < 0 {
		at = len(args)
	}
	cmd := exec.Command(c.programs.orrery, slices.Insert(args, at, "--json")...)
	cmd.Dir, cmd.Env, cmd.Stdin = c.dir, c.env, strings.NewReader(s.in)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return out, exit.ExitCode()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return out, 0
}

// check reads what a verb has printed and says what is wrong with it.
func (b *writtenBook) check(verb string, out []byte) string {
	v := b.Verbs[verb]
	dec := json.NewDecoder(bytes.NewReader(out))
	dec.UseNumber()
	for n := 0; ; n++ {
		var value any
		err := dec.Decode(&value)
		switch {
		case err == io.EOF:
			return ""
		case err != nil:
			return err.Error()
		case n > 0 && !v.Stream:
			return "more than one value"
		}
		if wrong := b.valid(v.Schema, value, "$"); wrong != "" {
			return wrong
		}
	}
}

// archiveOf makes a library to be fetched.
func archiveOf(t *testing.T, c *checkout) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "acme"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "acme", "x.star"), []byte("def x():\n    pass\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "acme.tar.gz")
	if out, err := exec.Command("tar", "-C", dir, "-czf", file, "acme").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return "file://" + file
}
