package convert

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// survey is a look at a folder and the folders in it.
type survey struct {
	*Draft
	backends []backend // servers that are declared, for the environment of programs
	envKeys  string    // text of .env: what it names is the user's own affair
	names    map[string]bool
	dirs     []string // the project's folder and those in it
}

// backend is a declared server: the variable that programs read of it.
type backend struct{ kind, variable string }

// Survey writes a first services.star for a project folder from what lies in
// it and in its folders, one level deep. Found and Left of the draft say what
// was used and what was not. project names it: that of the folder.
func Survey(fsys fs.FS, project string) (*Draft, error) {
	d := &Draft{file: ".", fsys: fsys}
	d.call(project)
	s := &survey{Draft: d, names: map[string]bool{}}
	d.doc = "What this project runs. orrery check looks at it, orrery up starts it, orrery help service says more."
	if env, err := d.read(".env"); err == nil {
		s.envKeys = string(env)
		d.project = append(d.project, kw("dotenv", list(quoted(".env"))))
		s.found(".env: its variables are in every environment")
	}
	if err := s.folders(); err != nil {
		return nil, err
	}
	s.composeFiles()
	processes := s.managed()
	s.clients()
	if processes {
		for _, dir := range s.dirs {
			for _, name := range []string{"package.json", "go.mod", "manage.py", "pyproject.toml", "Gemfile", "Cargo.toml", "composer.json"} {
				if s.has(dir, name) {
					s.left("%s: what runs is taken from elsewhere", path.Join(dir, name))
				}
			}
		}
	} else {
		for _, dir := range s.dirs {
			s.programs(dir)
		}
	}
	s.makefile()
	if len(d.decls) == 0 {
		s.nothing()
	}
	return d, nil
}

func (s *survey) found(format string, args ...any) {
	s.Found = append(s.Found, fmt.Sprintf(format, args...))
}

func (s *survey) left(format string, args ...any) {
	s.Left = append(s.Left, fmt.Sprintf(format, args...))
}

func (s *survey) has(dir string, names ...string) bool {
	for _, n := range names {
		if _, err := fs.Stat(s.fsys, path.Join(dir, n)); err == nil {
			return true
		}
	}
	return false
}

func (s *survey) text(dir, name string) string {
	b, err := s.read(path.Join(dir, name))
	if err != nil || len(b) > 4<<20 {
		return ""
	}
	return string(b)
}

// folders are the project's and those in it that may hold programs.
func (s *survey) folders() error {
	all := []string{"."}
	top, err := fs.ReadDir(s.fsys, ".")
	if err != nil {
		return fmt.Errorf("cannot look at the folder: %w", cause(err))
	}
	parents := []string{}
	for _, e := range top {
		if e.IsDir() && !skipped(e.Name()) {
			all = append(all, e.Name())
			if slices.Contains([]string{"apps", "services", "packages"}, e.Name()) {
				parents = append(parents, e.Name())
			}
		}
	}
	for _, p := range parents { // the usual folders of a monorepo
		inner, _ := fs.ReadDir(s.fsys, p)
		for _, e := range inner {
			if e.IsDir() && !skipped(e.Name()) {
				all = append(all, path.Join(p, e.Name()))
			}
		}
	}
	s.dirs = all
	return nil
}

func skipped(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") ||
		slices.Contains([]string{"node_modules", "vendor", "target", "dist", "build", "bin", "testdata", "docs", "doc", "examples", "example", "third_party", "tmp", "cmd", "internal", "pkg", "public", "static"}, name)
}

// composeFiles takes the servers of a compose file that factories run, and
// leaves its containers to import.
func (s *survey) composeFiles() {
	for _, name := range []string{"compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"} {
		if !s.has(".", name) {
			continue
		}
		part := &Draft{file: name, fsys: s.fsys, project: slices.Clone(s.project), used: s.used}
		c := &composeFile{Draft: part}
		data, err := s.read(name)
		if err == nil {
			c.root, err = parseYAML(data)
		}
		if err == nil {
			err = c.top()
		}
		if err == nil {
			err = c.collect()
		}
		if err != nil {
			s.left("%s: %v", name, err)
			return
		}
		part.Warnings = nil
		var containers []string
		for _, x := range c.services {
			f := c.anyFactory(x)
			if f == nil {
				containers = append(containers, x.foreign)
				continue
			}
			x.factory, x.variable = f, s.variable(x.name)
			x.tree = &tree{kind: kindMap, line: x.line, keys: slices.DeleteFunc(slices.Clone(x.keys), func(e entry) bool { return e.key == "depends_on" || e.key == "profiles" })}
			part.used = s.used
			c.native(x)
			s.backends = append(s.backends, backend{f.name, x.variable})
			s.names[x.name] = true
			s.found("%s: %s, run by @std//%s.star", name, x.foreign, f.file)
		}
		s.loads, s.params, s.decls, s.used = append(s.loads, part.loads...), append(s.params, part.params...), append(s.decls, part.decls...), part.used
		if len(containers) > 0 {
			s.left("%s: %s; orrery import %s makes containers of them", name, strings.Join(containers, ", "), name)
		}
		return
	}
}

// anyFactory is the factory for a service whoever else needs it: its programs
// run on this machine from now on.
func (c *composeFile) anyFactory(s *composeService) *factory {
	if f := s.factory; f != nil {
		return f
	}
	kept := c.services
	c.services = []*composeService{s}
	defer func() { c.services = kept }()
	return c.factoryOf(s)
}

// managed takes the processes of a file that says them all; false when there
// is none.
func (s *survey) managed() bool {
	for _, name := range []string{"process-compose.yaml", "process-compose.yml", "Procfile.dev", "Procfile"} {
		data, err := s.read(name)
		if err != nil {
			continue
		}
		part := &Draft{file: name, fsys: s.fsys, project: []arg{s.project[0]}, used: s.used}
		if FormatOf(name, data) == FormatProcfile {
			err = part.procfile(data)
		} else {
			err = part.processCompose(data)
		}
		if err != nil {
			s.left("%s: %v", name, err)
			continue
		}
		s.loads, s.params, s.decls, s.used = append(s.loads, part.loads...), append(s.params, part.params...), append(s.decls, part.decls...), part.used
		s.project = part.project
		s.Warnings = append(s.Warnings, part.Warnings...)
		var names []string
		for _, x := range part.decls {
			if x.name != "" {
				s.names[x.name] = true
				names = append(names, x.name)
			}
		}
		s.found("%s: %s", name, strings.Join(names, ", "))
		return len(names) > 0
	}
	return s.devenv()
}

// name is a free name for a node.
func (s *survey) name(want string) string {
	n := nodeName(want)
	for i := 2; s.names[n]; i++ {
		n = fmt.Sprintf("%s-%d", nodeName(want), i)
	}
	s.names[n] = true
	return n
}

// add declares what a factory makes of a folder.
func (s *survey) add(file, factory, name, dir string, args ...arg) {
	s.Draft.load("@std//"+file+".star", factory)
	all := []arg{pos(quoted(name))}
	if dir != "." {
		all = append(all, kw("dir", quoted(dir)))
	}
	s.decls = append(s.decls, decl{name: name, value: call(factory, append(all, args...)...)})
}

// client is the file of a folder that names a client library of a server, or "".
func (s *survey) client(dir, kind string) string {
	for _, file := range []string{"go.mod", "package.json", "requirements.txt", "pyproject.toml", "Gemfile", "Cargo.toml", "composer.json"} {
		text := "\n" + s.text(dir, file)
		if slices.ContainsFunc(clientLibraries()[kind], func(lib string) bool { return strings.Contains(text, lib) }) {
			return path.Join(dir, file)
		}
	}
	return ""
}

// environment is what the program of a folder reads of the declared servers:
// those that it has a client of, and those that nobody has one of.
func (s *survey) environment(dir string) []arg {
	var entries []arg
	for _, b := range s.backends {
		others := slices.ContainsFunc(s.dirs, func(d string) bool { return s.client(d, b.kind) != "" })
		if others && s.client(dir, b.kind) == "" {
			continue
		}
		key := map[string]string{"postgres": "DATABASE_URL", "mariadb": "DATABASE_URL", "redis": "REDIS_URL", "rabbitmq": "AMQP_URL", "nats": "NATS_URL", "memcached": "MEMCACHED_URL"}[b.kind]
		taken := slices.ContainsFunc(entries, func(a arg) bool { return a.key == quote(key)+": " })
		if key != "" && !taken && !strings.Contains("\n"+s.envKeys, "\n"+key+"=") {
			entries = append(entries, pair(key, raw("%s.url", b.variable)))
		}
	}
	if len(entries) == 0 {
		return nil
	}
	return []arg{kw("env", dict(entries...))}
}

// clientLibraries are packages that speak to a server, as they stand in the
// files that name a program's dependencies.
func clientLibraries() map[string][]string {
	return map[string][]string{
		"postgres": {"jackc/pgx", "lib/pq ", `"pg":`, `"postgres":`, "psycopg", "asyncpg", "gem 'pg'", `gem "pg"`, "tokio-postgres", `"pg-promise"`},
		"mariadb":  {"go-sql-driver/mysql", `"mysql2":`, `"mysql":`, "mysqlclient", "pymysql", "gem 'mysql2'", `gem "mysql2"`},
		"redis":    {"redis/go-redis", "go-redis/redis", `"redis":`, `"ioredis":`, `"bullmq":`, "\nredis", "gem 'redis'", `gem "redis"`, "gem 'sidekiq'", `gem "sidekiq"`, "predis/predis"},
		"rabbitmq": {"rabbitmq/amqp091-go", `"amqplib":`, "\npika", "bunny'", `bunny"`, "lapin ="},
		"nats":     {"nats-io/nats.go", `"nats":`, "nats-py", "async-nats"},
	}
}

// clients declares the servers whose client libraries are among the
// dependencies; one that .env already points to is only suggested.
func (s *survey) clients() {
	for _, kind := range []string{"postgres", "mariadb", "redis", "rabbitmq", "nats"} {
		where := ""
		for _, dir := range s.dirs {
			if where == "" {
				where = s.client(dir, kind)
			}
		}
		declared := slices.ContainsFunc(s.backends, func(b backend) bool { return b.kind == kind })
		if where == "" || declared {
			continue
		}
		key := map[string]string{"postgres": "DATABASE_URL", "mariadb": "DATABASE_URL", "redis": "REDIS_URL", "rabbitmq": "AMQP_URL", "nats": "NATS_URL"}[kind]
		if strings.Contains("\n"+s.envKeys, "\n"+key+"=") {
			s.left("%s: .env says %s, so no %s is started; load(\"@std//%s.star\", \"%s\") would be one", where, key, kind, kind, kind)
			continue
		}
		s.server(kind, where)
	}
}

func (s *survey) server(kind, where string) {
	short := map[string]string{"postgres": "db", "mariadb": "db", "redis": "cache", "rabbitmq": "queue", "nats": "nats"}[kind]
	name := s.name(short)
	v := s.variable(name)
	args := []arg{pos(quoted(name))}
	if kind == "postgres" || kind == "mariadb" {
		project := strings.Trim(s.project[0].value.text, `"`)
		args = append(args, kw("databases", texts([]string{strings.ReplaceAll(project, "-", "_")})))
	}
	s.Draft.load("@std//"+kind+".star", kind)
	s.decls = append(s.decls, decl{name: name, comment: []string{where + " has a client of it."}, target: v, value: call(kind, args...)})
	s.backends = append(s.backends, backend{kind, v})
	s.found("%s: a client of %s, so %s", where, kind, name)
}

// makefile makes tasks of the usual targets.
func (s *survey) makefile() {
	text := s.text(".", "Makefile")
	var others []string
	for line := range strings.Lines(text) {
		target, rest, ok := strings.Cut(line, ":")
		if !ok || target == "" || strings.HasPrefix(rest, "=") || strings.ContainsAny(target, " \t.$%#=/") {
			continue
		}
		if s.names[nodeName(target)] || slices.Contains(others, target) {
			continue
		}
		if !slices.Contains([]string{"build", "test", "lint", "check", "generate", "migrate"}, target) {
			others = append(others, target)
			continue
		}
		name := s.name(target)
		s.decls = append(s.decls, decl{name: name, value: call("task", pos(quoted(name)), kw("command", texts([]string{"make", target})))})
		s.found("Makefile: the task %s", name)
	}
	if len(others) > 0 {
		s.left("Makefile: %s", strings.Join(others, ", "))
	}
}

// nothing is the draft of a folder that says nothing.
func (s *survey) nothing() {
	s.decls = append(s.decls, decl{
		comment: []string{
			"Nothing was found that could be run. A service in its plainest form:", "",
			"    service(\"web\", command = [\"bin/web\"], ports = {\"http\": 8080}, env = {\"PORT\": self.port})", "",
			"A database, and a task that others wait for:", "",
			"    load(\"@std//postgres.star\", \"postgres\")",
			"    db = postgres(\"db\", databases = [\"app\"])",
			"    build = task(\"build\", command = [\"make\"], inputs = [glob(\"src/**\")], outputs = {\"bin\": \"bin/web\"})"},
		value: call("task", pos(quoted("hello")), kw("command", texts([]string{"echo", "hello"}))), name: "hello"})
}
