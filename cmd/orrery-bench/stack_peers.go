package main

import (
	"fmt"
	"os"
	"strings"
)

// stackPeers run the stack: orrery from the application's own services.star, the others from the commands below, which are
// those that orrery's factories give the servers.
func stackPeers() []peer {
	all := withDefaults(stackOrrery(), stackCompose(), stackStarter())
	for i := range all {
		write := all[i].write
		all[i].write = func(s *session) error {
			if _, err := os.Stat(s.file("app")); err == nil {
				return nil
			}
			if err := os.CopyFS(s.file("app"), os.DirFS(s.scratch["app"])); err != nil {
				return err
			}
			if write == nil {
				return nil
			}
			return write(s)
		}
	}
	return all
}

func stackOrrery() peer {
	return peer{
		name: "orrery", programs: []string{"orrery"}, version: []string{"version"}, detaches: true,
		start: func(s *session) []string {
			return []string{s.program(), "-C", s.file("app"), "up", "-d", "--wait=300s", "web"}
		},
		stop: func(s *session) []string { return []string{s.program(), "-C", s.file("app"), "down"} },
	}
}

// stackStarter is this program: it knows the dependencies and waits by sd_notify; see stack_starter.go.
func stackStarter() peer {
	return peer{
		name: "starter",
		start: func(s *session) []string {
			return []string{s.self, "__stack", "dir=" + s.file("app"), "run=" + s.file("run")}
		},
	}
}

// stackCompose waits by programs, with the least period that it has, a second.
func stackCompose() peer {
	p := processCompose()
	return peer{
		name: p.name, programs: p.programs, from: p.from, version: p.version,
		write: func(s *session) error {
			c := newCommands(s.file("run"))
			var t strings.Builder
			t.WriteString("version: \"0.5\"\nprocesses:\n")
			add := func(name string, argv []string, ready, after string) {
				fmt.Fprintf(&t, "  %s:\n    command: %s\n    environment: [%s]\n", name, quote(shell(argv)), strings.Join(quoteAll(c.env), ", "))
				if ready != "" {
					fmt.Fprintf(&t, "    readiness_probe: {exec: {command: %s}, period_seconds: 1}\n", quote(ready))
				}
				if after != "" {
					fmt.Fprintf(&t, "    depends_on: {%s}\n", after)
				}
			}
			done := func(name string) string { return name + ": {condition: process_completed_successfully}" }
			up := func(name string) string { return name + ": {condition: process_healthy}" }
			add("build", c.build, "", "")
			add("init", c.init, "", "")
			add("db", c.db, shell(c.dbReady), done("init"))
			add("cache", c.cache, shell(c.cacheReady), "")
			add("database", c.database, "", up("db"))
			add("migrate", c.migrate, "", done("database")+", "+done("build"))
			add("web", c.web, "", done("migrate")+", "+up("cache"))
			return s.write("app/process-compose.yaml", t.String())
		},
		start: func(s *session) []string {
			return []string{"sh", "-c", `cd "$0" && exec "$@"`, s.file("app"), s.program(), "-U", "-u", s.file("run", "pc.sock"), "-t=false", "up"}
		},
	}
}

// commands are those of the stack, to be run in the application's folder.
type commands struct {
	build, init, db, dbReady, database, cache, cacheReady, migrate, web []string
	env                                                                 []string
}

// newCommands are the commands with sockets in run. Those of init and database do nothing the second time.
func newCommands(run string) commands {
	return commands{
		build: []string{"go", "build", "-o", "bin/shop", "./cmd/shop"},
		init: []string{"sh", "-euc", `test -d data || "$@"`, "sh", "initdb", "-D", "data", "-A", "trust", "-E", "UTF8", "-U", "postgres",
			"--locale", "C.UTF-8", "--no-sync", "--wal-segsize=1"},
		db: []string{"postgres", "-D", "data", "-p", "5432", "-c", "listen_addresses=", "-c", "unix_socket_directories=" + run,
			"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_wal_size=1GB", "-c", "min_wal_size=80MB"},
		dbReady: []string{"pg_isready", "-q", "-h", run, "-U", "postgres", "-d", "postgres"},
		database: []string{"sh", "-euc", `test -e data/made || { "$@"; touch data/made; }`, "sh", "psql", "-X", "-q", "-h", run, "-U", "postgres",
			"-d", "postgres", "-c", "create database shop"},
		cache:      []string{"redis-server", "--port", "0", "--unixsocket", run + "/redis.sock", "--supervised", "systemd", "--daemonize", "no"},
		cacheReady: []string{"redis-cli", "-e", "-s", run + "/redis.sock", "ping"},
		migrate:    []string{"bin/shop", "migrate", "up"},
		web:        []string{"bin/shop", "serve"},
		env: []string{
			"DATABASE_URL=postgres:///shop?host=" + run + "&port=5432&user=postgres", "REDIS_URL=unix://" + run + "/redis.sock?db=0",
		},
	}
}

// shell is a command as sh reads it; no word of it holds a quote of the kind.
func shell(argv []string) string {
	var words []string
	for _, a := range argv {
		words = append(words, "'"+a+"'")
	}
	return strings.Join(words, " ")
}

func quoteAll(list []string) []string {
	var all []string
	for _, s := range list {
		all = append(all, quote(s))
	}
	return all
}
