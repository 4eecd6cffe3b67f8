package lang

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
)

const factoryTest = `
load("@std//postgres.star", "postgres")
load("@std//redis.star", "redis")

def _both():
    n = param("n", 1)
    check(n < 5, "too many")
    db = postgres("db", databases = ["shop"])
    service("web", command = ["web", str(n)], env = {"URL": db.url, "CPUS": host.cpus}, after = [redis("cache")])
    return db

def test_plan(t):
    p = t.plan(_both, ports = {"db.tcp": 15432}, params = {"n": 3}, host = {"cpus": 9})
    t.eq(p.names(), ["db", "db/create-shop", "cache", "web"])
    t.eq(p.resolved("web").env, {"URL": "postgres://127.0.0.1:15432/shop", "CPUS": "9"})
    t.eq(p.resolved("web").command, ["web", "3"])
    t.eq(p.resolved("cache").config["redis.conf"], "port 6379\ndir /state/cache\n")
    t.eq(p.resolved("cache").command[1], "/run/cache/redis.conf")
    t.contains(p.edges, "web -> cache.ready")
    t.eq(p.order("web")[-1], "web")
    t.true("db/create-shop" in p.tasks)
    t.eq(p.services["db"]["ports"]["tcp"]["base"], 5432)
    t.ne(p.result.name, "x")
    t.fails(lambda: t.plan(_both, params = {"n": 7}), "too many")
    t.fails(lambda: t.plan(lambda: service("x", comand = ["y"])), "did you mean \"command\"")
    t.fails(lambda: 1 // 0, "division")

def test_bad(t):
    t.eq(1, 2)
    t.fails(lambda: None)
    t.true(False, "told you")

def test_snap(t):
    t.snapshot(t.plan(_both))

def test_ends(t):
    t.plan(lambda: postgres("db", nope = 1))
`

func TestTest(t *testing.T) {
	dir := filepath.Dir(write(t, map[string]string{"services.star": "", "shop_test.star": factoryTest, "broken_test.star": "service('x')\n"}))
	file := filepath.Join(dir, "shop_test.star")
	update := Test(context.Background(), []string{file}, TestOptions{Std: fakeStd(), Update: true})
	if n := len(update); n != 4 {
		t.Fatalf("got %d results, want 4: %v", n, update)
	}
	got := ""
	for _, r := range Test(context.Background(), []string{file, filepath.Join(dir, "broken_test.star")}, TestOptions{Std: fakeStd()}) {
		got += r.Name + "\n"
		for _, d := range r.Failures {
			got += "  " + d.Pos().String() + ": " + d.Message + "\n"
		}
	}
	want := `test_plan
test_bad
  shop_test.star:29:5: got 1, want 2
  shop_test.star:30:5: got no failure, want one that matches ""
  shop_test.star:31:5: told you
test_snap
test_ends
  shop_test.star:37:5: t.plan: service "db": unknown argument "nope"; `
	if !strings.HasPrefix(got, want) || !strings.Contains(got, "\n\n  broken_test.star:1:1: cannot call service() while a library loads") {
		t.Errorf("got:\n%s\nwant:\n%s...", got, want)
	}
}
