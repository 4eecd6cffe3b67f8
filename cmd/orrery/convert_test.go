package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"orrery/lang"
	"orrery/lang/convert"
	"orrery/lang/graph"
	"orrery/runtime/bind"
	"orrery/stdlib"
)

// loadStar loads a text as a services.star of a folder of its own.
func loadStar(t *testing.T, text string) *lang.Project {
	t.Helper()
	file := filepath.Join(t.TempDir(), "services.star")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := lang.Load(context.Background(), lang.Options{File: file, Std: stdlib.FS})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return p
}

// TestConvertedLoads: what the converters write has no mistakes and no
// warnings, and stays as it is when it is formatted twice.
func TestConvertedLoads(t *testing.T) {
	files, err := filepath.Glob("../../lang/convert/testdata/*/want.star")
	if err != nil || len(files) < 6 {
		t.Fatalf("got %v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		once, err := lang.Format(text, file)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		twice, err := lang.Format(once, file)
		if err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%s is not stable under fmt: %v", file, err)
		}
		if p := loadStar(t, string(once)); len(p.Warnings) > 0 {
			t.Errorf("%s: got the warnings %v", file, p.Warnings)
		}
	}
}

// exported is a project in a format of a runner; ports are those declared.
func exported(t *testing.T, p *lang.Project, format string) []byte {
	t.Helper()
	dirs := bind.Dirs{Root: p.Root, State: "/s", Run: "/r", Cache: "/c"}
	x := &exporter{app: &app{quiet: true}, project: p, binding: bind.Resolve(p.Graph, dirs, bind.Options{})}
	var out bytes.Buffer
	if err := x.write(&out, format, nil); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// comparable is a graph as JSON without what a round trip cannot keep: places,
// and the name of the file it came from.
func comparable(t *testing.T, g *graph.Graph) string {
	t.Helper()
	b, err := g.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`"pos":\{[^{}]*\}`).ReplaceAllString(string(b), `"pos":0`)
	return strings.ReplaceAll(text, ",", ",\n")
}

// TestRoundTrip: what a format can express comes back as it was.
func TestRoundTrip(t *testing.T) {
	for _, c := range []struct{ format, file, text string }{
		{"Procfile", "Procfile", `
project("shop", pass_env = ["*"])
release = task("release", command = ["sh", "-c", "echo migrate && true"])
service("api", command = ["./api", "--name", "it's a \"shop\"", "$PORT"], after = [release])
service("worker", command = ["sh", "-c", "while :; do echo $$; sleep 1; done"], after = [release])
`},
		{"process-compose", "process-compose.yaml", `
project("shop", pass_env = ["*"])
migrate = task("migrate", command = ["./migrate", "up"], env = {"A": "b $c ${D}"}, cwd = "db", retries = 2)
tick = task("tick", command = ["date"], schedule = schedule.cron("0 2 * * *", tz = "Europe/Berlin"))
tock = task("tock", command = ["date"], schedule = schedule.every("1m30s"))
db = service("db", command = ["bash", "-c", "echo ${HOME} \"x\"\nexec ./db"], ready = probe.log("port 80\\.80"), stop = stop.exec(["./db", "stop"], timeout = "5s"), restart = restart.never(), description = "the \"db\"")
once = service("once", command = ["./once"], restart = restart.never(), success_codes = [0, 3], tty = True)
web = service("web", command = ["./web", "{{.X}}"], cwd = "web", env = {"NODE_ENV": "development"}, ports = {"http": port(18080, strict = True)}, after = [migrate, db, once.started],
    ready = probe.http("/healthz", status = "204", headers = {"A": "b"}, initial_delay = "2s", period = "2s", timeout = "3s", success = 2, failure = 4),
    restart = restart.on_failure(max = 3, window = "8760h", delay = "2s", factor = 1), stop = stop.signal("INT", timeout = "7s"))
worker = service("worker", command = ["./work"], after = [web], ready = probe.exec(["./work", "ping"], period = "1s", failure = 600), restart = restart.always(max = None, delay = "1s", factor = 1))
service("off", command = ["./off"], autostart = False, restart = restart.never(), after = [once.started])
`},
		{"compose", "compose.yaml", `
load("@std//container.star", "container", "container_task", "network")
project("shop", pass_env = ["*"])
net = network()
mail = container("mail", image = "axllent/mailpit", ports = {"p8025": [8025, 8025]}, network = net, restart = restart.always(max = None))
seed = container_task("seed", image = "busybox", args = ["sh", "-c", "echo $HOME"], network = net, env = {"A": "b$c"}, after = [mail.started])
web_image = task("web/image", command = ["docker", "build", "-t", "shop-web", "-f", "web/Dockerfile.dev", "--build-arg", "V=1", "./web"])
container("web", image = "shop-web", entrypoint = "/entry.sh", args = ["--x", "it's"], ports = {"http": [3000, 3000]}, volumes = ["/data:/data:ro"], network = net,
    options = ["--cap-add", "SYS_ADMIN", "--init"], env = {"MAIL": "mail:1025"}, pass_env = ["SECRET"], after = [web_image, mail.started, seed], health = "curl -f localhost:3000",
    restart = restart.never(), grace = 60)
`},
	} {
		t.Run(c.format, func(t *testing.T) {
			p := loadStar(t, c.text)
			text := exported(t, p, c.format)
			d, err := convert.Import(fstest.MapFS{c.file: {Data: text}}, c.file, convert.Options{Project: "shop"})
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			back := loadStar(t, string(d.Text()))
			if diff := cmp.Diff(sorted(t, p.Graph), sorted(t, back.Graph)); diff != "" {
				t.Errorf("lost on the way (-before +after):\n%s\n%s\n%s", diff, text, d.Text())
			}
		})
	}
}

// sorted are the nodes of a graph by name, each as JSON: an order of
// declaration that is none of the edges' may change on the way.
func sorted(t *testing.T, g *graph.Graph) []string {
	t.Helper()
	var all []string
	for _, n := range g.Nodes {
		one := *n
		one.Stack, one.Pos = nil, graph.Pos{}
		all = append(all, comparable(t, g.Only([]string{n.Name()})))
	}
	slices.Sort(all)
	return all
}

// TestMovingGuide evaluates each declaration in the tables of the guide for
// those who come from elsewhere: it has no mistakes and no warnings.
func TestMovingGuide(t *testing.T) {
	page, err := os.ReadFile("../../docs/guide-moving.md")
	if err != nil {
		t.Fatal(err)
	}
	declaration := regexp.MustCompile("^`((?:load|service|task|project|group|param|pool|tool|\\[service)\\(.*)`$")
	seen := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		m := declaration.FindStringSubmatch(strings.TrimSpace(cells[len(cells)-1]))
		if m == nil {
			continue
		}
		seen++
		before := "db = service(\"db\", command = [\"db\"], ports = {\"tcp\": 5432})\nbuild = task(\"build\", command = [\"make\"], outputs = {\"bin\": \"bin/x\"})\n"
		if strings.HasPrefix(m[1], "project(") {
			before = ""
		}
		if p := loadStar(t, before+strings.ReplaceAll(m[1], "); ", ")\n")); len(p.Warnings) > 0 {
			t.Errorf("%s: got the warnings %v", m[1], p.Warnings)
		}
	}
	if seen < 40 {
		t.Errorf("got %d declarations, want those of all tables", seen)
	}
}
