package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// loaded is a real server under requests while it is restarted.
type loaded struct {
	name     string
	programs []string
	star     string // declares the service a on the port $A
	setup    func(a *instance) error
	speaks   protocol
	rows     func(a *instance) (string, error) // how many requests it has kept; nil: it keeps none
	held     bool                              // orrery holds its socket: nobody is refused
	drains   bool                              // and no request on a connection of its own fails
}

func loadedServers() []loaded {
	sql := func(argv ...string) func(a *instance) error {
		return func(a *instance) error { _, err := a.run(argv...); return err }
	}
	return []loaded{
		{
			name: "nginx", programs: []string{"nginx"}, held: true, drains: true,
			star: `load("@std//nginx.star", "nginx")
nginx("a", port = $A, locations = {"/": {"return": "200 first"}})`,
			speaks: protocol{ask: askHTTP},
		},
		{
			name: "haproxy", programs: []string{"haproxy"}, held: true, drains: true,
			star: `load("@std//haproxy.star", "haproxy")
haproxy("a", port = $A, frontend = {"http-request": "return status 200 content-type text/plain string first"})`,
			speaks: protocol{ask: askHTTP},
		},
		{
			name: "caddy", programs: []string{"caddy"},
			star: `load("@std//caddy.star", "caddy")
caddy("a", port = $A, site = "respond first")`,
			speaks: protocol{ask: askHTTP},
		},
		{
			name: "redis", programs: []string{"redis-server", "redis-cli"},
			star: `load("@std//redis.star", "redis")
redis("a", port = $A)`,
			speaks: protocol{ask: askRedis},
			rows:   func(a *instance) (string, error) { return a.run("redis-cli", "-s", a.v("UNIX_SOCKET"), "get", "hits") },
		},
		{
			name: "postgres", programs: []string{"/usr/lib/postgresql/15/bin/postgres", "psql"},
			star: `load("@std//postgres.star", "postgres")
postgres("a", port = $A)`,
			setup:  sql("psql", "-Xqc", "create table hits (id bigserial)"),
			speaks: protocol{greet: greetPostgres, ask: askPostgres},
			rows:   func(a *instance) (string, error) { return a.run("psql", "-XAtqc", "select count(*) from hits") },
		},
		{
			name: "mariadb", programs: []string{"mariadbd"}, held: true,
			star: `load("@std//mariadb.star", "mariadb")
mariadb("a", port = $A, databases = ["shop"])`,
			setup: func(a *instance) error {
				_, err := a.sql("create table shop.hits (id bigint auto_increment primary key)")
				return err
			},
			speaks: protocol{greet: greetMariaDB, ask: askMariaDB},
			rows:   func(a *instance) (string, error) { return a.sql("select count(*) from shop.hits") },
		},
	}
}

// TestTortureServers restarts real servers under strict clients: four with a
// connection for each request, four that keep theirs. What is refused, turned
// away and lost is counted; -v prints it. Whoever was told that a write is done
// finds it afterwards.
func TestTortureServers(t *testing.T) {
	torture(t)
	if _, err := programs(); err != nil {
		t.Fatal(err)
	}
	slots := make(chan struct{}, 2)
	for _, s := range loadedServers() {
		t.Run(s.name, func(t *testing.T) {
			for _, p := range s.programs {
				needTool(t, p)
			}
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			s.torment(t)
		})
	}
}

func (s loaded) torment(t *testing.T) {
	port := freePorts(t, 1)[0]
	c := newCheckout(t, strings.ReplaceAll(s.star, "$A", strconv.Itoa(port)))
	c.must("up", "-d", "--wait")
	a := c.instance("a")
	a.removeData(t)
	if s.setup != nil {
		a.ok("setting up", s.setup(a))
	}
	fresh, kept := s.clients(a, false), s.clients(a, true)
	fresh.begin()
	kept.begin()
	restarts, most := 0, form(3, 30)
	for restarts < most {
		before := [2]int64{fresh.ok(), kept.ok()}
		c.await("more answers", func() bool { return fresh.ok() > before[0]+100 && kept.ok() > before[1]+100 })
		c.must("restart", "a")
		restarts++
	}
	before := [2]int64{fresh.ok(), kept.ok()}
	c.await("answers after the last restart", func() bool { return fresh.ok() > before[0] && kept.ok() > before[1] })
	fresh.end(0)
	kept.end(0)
	t.Logf("%d restarts\n  new connections:  %s\n  kept connections: %s", restarts, fresh, kept)
	if s.held && fresh.refused.Load()+kept.refused.Load() > 0 {
		t.Error("want nobody refused: the socket is held")
	}
	if s.drains && fresh.failed.Load() > 0 {
		t.Error("want no request on a connection of its own lost")
	}
	if s.rows != nil {
		text, err := s.rows(a)
		a.ok("counting", err)
		n, err := strconv.ParseInt(text, 10, 64)
		if acked := fresh.ok() + kept.ok(); err != nil || n < acked {
			t.Errorf("got %q writes kept, want the %d that were said to be done", text, acked)
		}
	}
	if n := c.node("a"); n.State != "ready" {
		t.Errorf("got %+v, want it ready", n)
	}
}

// clients are four of them.
func (s loaded) clients(a *instance, keep bool) *strictLoad {
	return &strictLoad{addr: fmt.Sprintf("127.0.0.1:%s", a.v("PORT")), keep: keep, clients: 4, protocol: s.speaks}
}
