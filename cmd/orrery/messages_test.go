package main

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// messagesPath is the collection of what the user reads when something is wrong. It is written by
//
//	go test ./cmd/orrery -run TestMessages -fix
const messagesPath = "../../docs/decisions/messages.md"

var fix = flag.Bool("fix", false, "write the files that tests generate")

// failure is an everyday failure. Every message must name its cause, its place and the next step, or the thing with which it is plain
// what to do.
type failure struct {
	what                string
	star                string            // services.star; $PORT is one that a foreign program has taken
	files               map[string]string // others; those that begin with #! may be run
	path                string            // PATH; "" is that of the system
	args                string
	code                int
	cause, place, remed string // expressions that the message matches
}

func failures() []failure {
	return []failure{
		{what: "A port is taken by a foreign program",
			star: `service("web", command = "exec sleep 1000", ports = {"http": port($PORT, strict = True)})`,
			args: "up -d --wait", code: exitConflict,
			cause: `is in use by`, place: `web its port http: 8080.*pid N`, remed: `stop it, choose another base, or leave strict out`},
		{what: "The database is not installed",
			star: `cockroach = tool("cockroach", packages = {"nix": "cockroachdb", "brew": "cockroach", "debian": "cockroachdb"})
db = service("db", command = [cockroach.cockroach, "start-single-node"])`,
			path: "/opt/tools/bin",
			args: "up -d --wait", code: exitFailed,
			cause: `cockroach`, place: `services.star:2`, remed: `apt install cockroachdb`},
		{what: "The migration fails",
			star: `migrate = task("migrate", command = "exec >&2; echo 0003_users.sql; echo 'relation \"users\" already exists'; exit 1")
service("api", command = "exec sleep 1000", after = [migrate])
service("web", command = "exec sleep 1000", after = [migrate])`,
			args: "up -d --wait", code: exitFailed,
			cause: `relation "users" already exists`, place: `migrate.*exit 1`, remed: `orrery logs migrate`},
		{what: "A service exits at once",
			star: `service("api", command = "echo cannot read config.yml >&2; exit 3")`,
			args: "up -d --wait", code: exitFailed,
			cause: `cannot read config.yml`, place: `api.*exit 3`, remed: `orrery logs api`},
		{what: "A service does not become ready",
			star: `service("api", command = "echo warming up; exec sleep 1000", ports = {"http": port(8124)}, ready = probe.http("/healthz"))`,
			args: "up -d --wait=1", code: exitTimeout,
			cause: `connection refused`, place: `api.*/healthz`, remed: `orrery logs api`},
		{what: "A service is not ready within its own deadline",
			star: `service("api", command = "echo warming up; exec sleep 1000", ports = {"http": port(8124)}, ready = probe.http("/healthz", deadline = "1s"), restart = restart.never())`,
			args: "up -d --wait", code: exitFailed,
			cause: `connection refused`, place: `api.*did not become ready within 1s.*/healthz`, remed: `orrery logs api`},
		{what: "A variable that must be set is not",
			star: `service("api", command = "exec sleep 1000", env = {"KEY": secret("api_key", env = "SHOP_API_KEY")})`,
			args: "up -d --wait", code: exitFailed,
			cause: `SHOP_API_KEY`, place: `api`, remed: `set`},
		{what: "Nodes wait for each other",
			star: `service("a", command = "exec sleep 1000", after = [peer("b")])
service("b", command = "exec sleep 1000", after = [peer("a")])`,
			args: "check", code: exitLoad,
			cause: `cycle|wait for each other`, place: `services.star:1:`, remed: `a.*b`},
		{what: "A target is misspelt",
			star: `service("frontend", command = "exec sleep 1000")`,
			args: "up frontent", code: exitUnknown,
			cause: `unknown target`, place: `"frontent"`, remed: `did you mean "frontend"\?`},
		{what: "An argument is misspelt",
			star: `service("api", comand = "exec sleep 1000")`,
			args: "check", code: exitLoad,
			cause: `unknown argument "comand"`, place: `services.star:1:16: service "api"`, remed: `did you mean "command"\?`},
		{what: "An argument has its name from another tool",
			star: `db = service("db", command = "exec sleep 1000")
service("api", command = "exec sleep 1000", depends_on = [db])`,
			args: "check", code: exitLoad,
			cause: `unknown argument "depends_on"`, place: `services.star:2:45: service "api"`, remed: `did you mean "after"\?`},
		{what: "A bracket is missing",
			star: `service("api", command = ["sleep", "1000")`,
			args: "check", code: exitLoad,
			cause: `got '\)', want ']'`, place: `services.star:1:43`, remed: `\^`},
		{what: "An attribute is misspelt",
			star: `load("@std//redis.star", "redis")
cache = redis("cache")
service("api", command = "exec sleep 1000", env = {"REDIS_URL": cache.uri})`,
			args: "check", code: exitLoad,
			cause: `has no attribute "uri"`, place: `services.star:3:`, remed: `did you mean "url"\?`},
		{what: "A library is misspelt",
			star: `load("@std//postgre.star", "postgres")`,
			args: "check", code: exitLoad,
			cause: `no such library`, place: `services.star:1:6`, remed: `did you mean @std//postgres.star\?`},
		{what: "A program does not exist",
			star: `service("api", command = ["uvicor", "app:app"])`,
			args: "up -d --wait", code: exitFailed,
			cause: `cannot find the program "uvicor"`, place: `api`, remed: `/usr/bin`},
		{what: "A script may not be run",
			star:  `service("api", command = ["./run"])`,
			files: map[string]string{"run": "echo hello\n"},
			args:  "up -d --wait", code: exitFailed,
			cause: `permission denied`, place: `api.*"./run"`, remed: `chmod \+x`},
		{what: "The interpreter of a script does not exist",
			star:  `service("api", command = ["./run"])`,
			files: map[string]string{"run": "#!/usr/bin/pyton3\n"},
			args:  "up -d --wait", code: exitFailed,
			cause: `does not exist`, place: `api.*"./run"`, remed: `its interpreter "/usr/bin/pyton3"`},
		{what: "A task does not write what it declares",
			star: `task("build", command = "echo compiled", outputs = {"bin": "bin/app"})`,
			args: "run build", code: exitFailed,
			cause: `is missing`, place: `build.*bin/app`, remed: `declared output`},
		{what: "A task takes too long",
			star: `task("test", command = "echo testing; exec sleep 1000", timeout = "300ms")`,
			args: "run test", code: exitFailed,
			cause: `timed out after 300ms`, place: `test`, remed: `timeout|300ms`},
		{what: "A service dies of a signal",
			star: `service("api", command = "echo serving; kill -SEGV $$", restart = restart.never())`,
			args: "up -d --wait", code: exitFailed,
			cause: `signal SEGV`, place: `api`, remed: `orrery logs api`},
		{what: "Two services have one name",
			star: `service("api", command = "exec sleep 1000")
service("api", command = "exec sleep 1000")`,
			args: "check", code: exitLoad,
			cause: `declared twice`, place: `services.star:2:1.*\n(.*\n)*.*services.star:1:8: first declared here`, remed: `another name`},
		{what: "Two services want one port",
			star: `service("a", command = "exec sleep 1000", ports = {"http": port(8123, strict = True)})
service("b", command = "exec sleep 1000", ports = {"http": port(8123, strict = True)})`,
			args: "check", code: exitLoad,
			cause: `port 8123 is wanted by a.http and by b.http`, place: `services.star:2:`, remed: `another base`},
		{what: "There is no services.star",
			args: "up", code: exitUsage,
			cause: `no services.star`, place: `in \$PROJECT or above it`, remed: `orrery help service`},
		{what: "Nothing runs",
			star: `service("api", command = "exec sleep 1000")`,
			args: "restart api", code: exitNoEngine,
			cause: `no engine runs here`, place: `here`, remed: `orrery up`},
		{what: "A flag is misspelt",
			star: `service("api", command = "exec sleep 1000")`,
			args: "up --detatch", code: exitUsage,
			cause: `unknown flag`, place: `--detatch`, remed: `did you mean --detach\?`},
		{what: "A reload command fails",
			star: `service("web", command = "exec sleep 1000", reload = ["sh", "-c", "echo 'unknown directive in line 3' >&2; exit 1"])`,
			args: "up -d --wait; reload web", code: exitFailed,
			cause: `exit 1`, place: `web: reload command`, remed: `orrery logs web`},
	}
}

// TestMessages meets with everyday failures, and keeps what the user reads then in one place where it can be judged as a whole.
func TestMessages(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	all := failures()
	sections := make([]string, len(all))
	t.Run("group", func(t *testing.T) {
		for i, f := range all {
			t.Run(f.what, func(t *testing.T) {
				t.Parallel() // most of it is waiting
				sections[i] = f.meet(t, l.Addr().(*net.TCPAddr).Port)
			})
		}
	})
	if t.Failed() {
		return
	}
	text := []byte(messagesHead + strings.Join(sections, "\n"))
	if *fix {
		if err := os.WriteFile(messagesPath, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if kept, err := os.ReadFile(messagesPath); err != nil || !bytes.Equal(kept, text) {
		t.Errorf("%s is not what is said now: go test ./cmd/orrery -run TestMessages -fix; %v\n%s", messagesPath, err, text)
	}
}

const messagesHead = `# What the user reads when something is wrong

Everyday failures, with the messages word for word, so that they can be judged side by side. A message names the cause, the place (the line,
the node, the file or the process) and what to do next; where a hint would only repeat the message there is none. ` + "`TestMessages`" + ` meets with
every one of them, looks for the three, and keeps this page as it is (` + "`-fix`" + ` writes it; what differs from machine to machine is replaced
by a word).

Rules that came out of reading them as a whole:

- The last failure of a probe belongs to "not ready", in ` + "`status`" + `, in the timeout of a wait and in the reason of a restart.
- A service that has no readiness check and exits at once is no success of ` + "`up --wait`" + `: it must have lived for 100 ms. What depends on it does
  not wait for that.
- A misspelt name has the one that was meant, also where it is the word of another tool (` + "`depends_on`, `environment`, `healthcheck`" + `); what would
  follow from it ("missing argument") is left out.
- A PATH is named by its first folders, each once.

`

// meet has the failure happen, and writes what was to be read.
func (f failure) meet(t *testing.T, taken int) string {
	c := newCheckout(t, strings.ReplaceAll(f.star, "$PORT", strconv.Itoa(taken)))
	if f.star == "" {
		os.Remove(c.path("services.star"))
	}
	c.env = append(c.env, "PATH="+cmp.Or(f.path, "/usr/bin:/bin"), "TERM=dumb", "COLUMNS=120")
	for name, text := range f.files {
		c.write(name, text)
		if strings.HasPrefix(text, "#!") {
			os.Chmod(c.path(name), 0o755)
		}
	}
	var r ran
	for _, line := range strings.Split(f.args, "; ") {
		r = c.orrery(strings.Fields(line)...)
	}
	said := plain(r.out+r.err, c, taken)
	if f.star == "" {
		c.write("services.star", "") // for the end of the test
	}
	if r.code != f.code {
		t.Errorf("got exit code %d, want %d", r.code, f.code)
	}
	for what, want := range map[string]string{"cause": f.cause, "place": f.place, "next step": f.remed} {
		if !regexp.MustCompile(want).MatchString(said) {
			t.Errorf("no %s (%s) in\n%s", what, want, said)
		}
	}
	s := "## " + f.what + "\n\n"
	if f.star != "" {
		s += "```python\n" + strings.ReplaceAll(f.star, "$PORT", "8080") + "\n```\n\n"
	}
	return s + fmt.Sprintf("`orrery %s`, exit code %d:\n\n```\n%s```\n", f.args, f.code, said)
}

// plain replaces what is of this machine and of this moment.
func plain(said string, c *checkout, taken int) string {
	said = strings.NewReplacer(c.dir, "$PROJECT", c.run, "$RUN", strconv.Itoa(taken), "8080").Replace(said)
	for _, r := range []struct{ is, becomes string }{
		{`pid \d+`, "pid N"},
		{`(needs, in /opt/tools/bin, )[^;]+`, "${1}FOLDERS"},
		{`(in use by )\S+`, "${1}PROGRAM"},
		{`\bin \d+(\.\d+)? (ms|s)\b`, "in T"},
		{`(127\.0\.0\.1:)\d+`, "${1}PORT"},
	} {
		said = regexp.MustCompile(r.is).ReplaceAllString(said, r.becomes)
	}
	return strings.TrimLeft(said, "\n")
}
