package lang

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// fakeStd stands for the standard library where a test needs only its shape.
func fakeStd() fstest.MapFS {
	return fstest.MapFS{
		"postgres.star": {Data: []byte(`
def postgres(name = "db", *, databases = [], package = None, **kwargs):
    """A PostgreSQL server.

    Args:
        name: its name
        databases: databases that are created
        package: the tool
    """
    pg = package or tool("postgres", "initdb", "createdb")
    db = service(
        name,
        command = [pg.postgres, "-D", self.state_dir, "-p", self.port],
        ports = {"tcp": 5432},
        ready = probe.exec([pg.postgres, "--ready", self.address]),
        exports = {"url": "postgres://%s/%s" % (self.address, databases[0] if databases else "")},
        env_exports = {"PGHOST": self.host},
        **kwargs
    )
    for d in databases:
        task("%s/create-%s" % (name, d), command = [pg.createdb, d], gates = db)
    return db
`)},
		"redis.star": {Data: []byte(`
def redis(name = "redis", **kwargs):
    conf = config_file("redis.conf", lines = ["port %s" % self.port, "dir " + self.state_dir])
    return service(name, command = ["redis-server", conf.path], config = [conf], ports = {"tcp": 6379},
        exports = {"url": "redis://" + self.address}, **kwargs)
`)},
	}
}

const shop = `"""Shop: a Go web app with Postgres and Redis."""
load("@std//postgres.star", "postgres")
load("@std//redis.star", "redis")

project(name = "shop", default = ["web", "worker"], pass_env = ["GO*"])
workers = param("workers", default = 2, help = "number of queue workers")
db = postgres("db", databases = ["shop"])
cache = redis("cache")

build = task(
    "build",
    command = ["go", "build", "-o", "bin/shop", "./cmd/shop"],
    inputs = [glob(["cmd/**/*.go", "internal/**/*.go"]), "go.mod", "go.sum"],
    outputs = {"bin": "bin/shop"},
)
migrate = task(
    "migrate",
    command = [build.outputs.bin, "migrate", "up"],
    env = {"DATABASE_URL": db.url},          # a reference: db is ready, its database created, before migrate runs
    inputs = [glob(["migrations/*.sql"])],
    cache_key = [db.data_id],                # a wiped database is a cache miss
)
env = {"DATABASE_URL": db.url, "REDIS_URL": cache.url}
web = service(
    "web",
    command = [build.outputs.bin, "serve"],
    listen = {"http": socket.tcp(8080)},     # held by orrery: a rebuild restarts web with no refused connection
    env = env,
    after = [migrate],
    ready = probe.http("/healthz"),
    links = {"shop": "http://%s/" % self.address},
)
for i in range(workers):
    service("worker/%d" % i, command = [build.outputs.bin, "work"], env = env,
            after = [migrate], ready = probe.notify(), watchdog = "30s")
`

// write makes a project of files; the name of the project file is services.star.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "services.star")
}

func load(t testing.TB, text string, params map[string]string) (*Project, error) {
	t.Helper()
	return Load(context.Background(), Options{File: write(t, map[string]string{"services.star": text}), Std: fakeStd(), Params: params})
}

func mustLoad(t testing.TB, text string) *Project {
	t.Helper()
	p, err := load(t, text, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestExample(t *testing.T) {
	p, err := load(t, shop, map[string]string{"workers": "3"})
	if err != nil {
		t.Fatal(err)
	}
	g := p.Graph
	want := "db db/create-shop cache build migrate web worker/0 worker/1 worker/2"
	if got := strings.Join(g.Order(), " "); got != want {
		t.Errorf("got order %q, want %q", got, want)
	}
	web := g.Node("web").Service
	if link, _ := web.Links.Get("shop"); link.String() != "http://⟦web.address⟧/" {
		t.Errorf("got link %s", link)
	}
	if got := g.Node("db").Service.Exports[0].Value.String(); got != "postgres://⟦db.address⟧/shop" {
		t.Errorf("got export %s", got)
	}
	if got := g.Node("cache").Service.Command.Argv[1].String(); got != "⟦cache.config.redis.conf⟧" {
		t.Errorf("got %s", got)
	}
	if got := g.Node("cache").Service.Config[0].Lines[0].String(); got != "port ⟦cache.ports.tcp⟧" {
		t.Errorf("got %s", got)
	}
	if n := g.Node("db"); n.Pos.Line != 7 || len(n.Stack) != 1 || n.Stack[0].Func != "postgres" || n.Stack[0].Pos.File != "@std//postgres.star" {
		t.Errorf("got place %v %v", n.Pos, n.Stack)
	}
	if w := g.Node("worker/0").Service; w.Watchdog == nil || !w.Watchdog.RequireReady || w.Restart.Kind != "on_failure" || w.Stop.Signal != "TERM" || w.Log.Keep != 5 {
		t.Errorf("defaults are missing: %+v", w)
	}
	if len(p.Warnings) != 0 || len(p.Later) != 0 { // every field of it is effective
		t.Errorf("got warnings %v, later %v", p.Warnings, p.Later)
	}
}
