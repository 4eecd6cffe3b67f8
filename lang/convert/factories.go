package convert

import (
	"slices"
	"strings"
)

// factory is a factory of the standard library that runs what an image holds.
type factory struct {
	images []string // without registry, organisation and tag
	file   string
	name   string
	port   int             // that clients reach in the container
	args   func(f *native) // reads the environment of the image
	keeps  []string        // folders of the container whose volume is the state_dir
}

// native is a service on its way to a factory.
type native struct {
	*composeFile
	s    *composeService
	args []arg
	read map[string]bool // variables that were carried over
}

// factories lists the images that the standard library has a factory for.
func factories() []factory {
	return []factory{
		{images: []string{"postgres", "postgis", "timescaledb", "pgvector"}, file: "postgres", name: "postgres", port: 5432, args: postgresArgs, keeps: []string{"/var/lib/postgresql"}},
		{images: []string{"redis", "valkey", "redis-stack-server", "redis-stack"}, file: "redis", name: "redis", port: 6379, args: redisArgs, keeps: []string{"/data"}},
		{images: []string{"mysql", "mariadb", "mysql-server"}, file: "mariadb", name: "mariadb", port: 3306, args: mariadbArgs, keeps: []string{"/var/lib/mysql"}},
		{images: []string{"memcached"}, file: "memcached", name: "memcached", port: 11211},
		{images: []string{"nats", "nats-server"}, file: "nats", name: "nats", port: 4222, keeps: []string{"/data"}},
		{images: []string{"rabbitmq"}, file: "rabbitmq", name: "rabbitmq", port: 5672, args: rabbitArgs, keeps: []string{"/var/lib/rabbitmq"}},
		{images: []string{"eclipse-mosquitto", "mosquitto"}, file: "mosquitto", name: "mosquitto", port: 1883, keeps: []string{"/mosquitto/data", "/mosquitto/log"}},
		{images: []string{"etcd"}, file: "etcd", name: "etcd", port: 2379, keeps: []string{"/etcd-data", "/bitnami/etcd"}},
		{images: []string{"prometheus"}, file: "prometheus", name: "prometheus", port: 9090, keeps: []string{"/prometheus"}},
		{images: []string{"beanstalkd"}, file: "beanstalkd", name: "beanstalkd", port: 11300},
		{images: []string{"nginx"}, file: "nginx", name: "nginx", port: 80},
		{images: []string{"caddy"}, file: "caddy", name: "caddy", port: 80, keeps: []string{"/data", "/config"}},
		{images: []string{"haproxy"}, file: "haproxy", name: "haproxy", port: 80},
	}
}

// imageName is the last part of an image's name, without tag.
func imageName(image string) string {
	image, _, _ = strings.Cut(image, "@")
	image = image[strings.LastIndexByte(image, '/')+1:]
	name, _, _ := strings.Cut(image, ":")
	return strings.ToLower(name)
}

// factoryOf is the factory for a service, or nil: it is built or changed, its
// configuration is mounted, or a container reaches for it by its name, which
// only another container can.
func (c *composeFile) factoryOf(s *composeService) *factory {
	if s.get("build") != nil || s.replicas != 1 || s.task || s.get("network_mode") != nil {
		return nil
	}
	image := c.plainly(orNull(s.get("image")))
	name := imageName(image)
	all := factories()
	i := slices.IndexFunc(all, func(f factory) bool { return slices.Contains(f.images, name) })
	if i < 0 {
		return nil
	}
	f := &all[i]
	left := func(line int, why string) *factory {
		c.warn(line, "%s stays a container though @std//%s.star could run %s: %s", s.foreign, f.file, image, why)
		return nil
	}
	for _, v := range c.mounts(s) {
		if !slices.ContainsFunc(f.keeps, func(dir string) bool { return v.target == dir || strings.HasPrefix(v.target, dir+"/") }) {
			return left(v.line, "it mounts "+v.source+" at "+v.target)
		}
	}
	if f.port == 80 {
		return left(s.line, "what it serves is in its image or its configuration")
	}
	for _, key := range []string{"entrypoint", "command"} {
		if t := s.get(key); t != nil && !(f.name == "redis" && key == "command") {
			return left(t.line, "it has a "+key+" of its own")
		}
	}
	for _, other := range c.services {
		if other != s && c.reaches(other, s) && !c.standard(other) {
			return left(s.line, other.foreign+" runs in a container and reaches it by its name")
		}
	}
	return f
}

// standard reports whether an image is one of those with a factory.
func (c *composeFile) standard(s *composeService) bool {
	name := imageName(c.plainly(orNull(s.get("image"))))
	return s.get("build") == nil && slices.ContainsFunc(factories(), func(f factory) bool { return slices.Contains(f.images, name) })
}

// reaches reports whether a service waits for another or names it in its
// environment or command.
func (c *composeFile) reaches(s, to *composeService) bool {
	for _, e := range s.get("depends_on").entries() {
		if e.key == to.foreign {
			return true
		}
	}
	var texts []string
	for _, kv := range s.get("environment").pairs() {
		texts = append(texts, kv.value)
	}
	texts = append(append(texts, s.get("command").texts()...), s.get("links").texts()...)
	for _, t := range texts {
		for _, sep := range []string{"//" + to.foreign, "@" + to.foreign} {
			if _, after, ok := strings.Cut(t, sep); ok && (after == "" || strings.IndexByte(":/?", after[0]) >= 0) {
				return true
			}
		}
		if host, _, _ := strings.Cut(t, ":"); host == to.foreign {
			return true
		}
	}
	return false
}

// nativeIgnored are keys of a service that a factory makes needless.
func nativeIgnored() []string {
	return []string{"image", "container_name", "restart", "ports", "expose", "environment", "volumes", "healthcheck", "networks", "depends_on",
		"command", "hostname", "platform", "pull_policy", "labels", "logging", "profiles", "shm_size", "init", "extends", "deploy", "scale",
		"stop_grace_period", "stop_signal", "user", "tty", "stdin_open", "env_file", "links", "security_opt", "cap_add", "cap_drop", "ulimits", "attach"}
}

// native declares a service that a factory runs.
func (c *composeFile) native(s *composeService) {
	f := s.factory
	n := &native{composeFile: c, s: s, args: []arg{pos(quoted(s.name))}, read: map[string]bool{}}
	image := c.plainly(orNull(s.get("image")))
	if f.args != nil {
		f.args(n)
	}
	for _, p := range c.ports(s) {
		if p.container == f.port && p.base > 0 {
			n.args = append(n.args, kw("port", number(p.base)))
		} else if p.container != f.port && !(f.name == "rabbitmq" && p.container == 15672) {
			c.warn(p.line, "the port %d of %s is left out: the factory %s serves %d alone unless told more", p.container, s.foreign, f.name, f.port)
		}
	}
	if s.get("profiles") != nil {
		n.args = append(n.args, kw("autostart", raw("False")))
	}
	if after := c.after(s); len(after) > 0 {
		n.args = append(n.args, kw("after", joined(after)))
	}
	for _, kv := range s.get("environment").pairs() {
		if !n.read[kv.key] {
			c.warn(kv.line, "%s of %s is left out: the factory %s does not take it", kv.key, s.foreign, f.name)
		}
	}
	for _, e := range s.keys {
		if !slices.Contains(nativeIgnored(), e.key) && !strings.HasPrefix(e.key, "x-") {
			c.warn(e.line, "%s of %s is left out: it runs without a container", e.key, s.foreign)
		}
	}
	if v := c.mounts(s); len(v) > 0 {
		c.warn(v[0].line, "what the volume %s of %s holds is not carried over: the data of %s begin anew in its state_dir", v[0].source, s.foreign, s.name)
	}
	c.Draft.load("@std//"+f.file+".star", f.name)
	c.decls = append(c.decls, decl{name: s.name, comment: []string{"Was the image " + image + "; runs the " + f.name + " of this machine."},
		target: s.variable, value: call(f.name, n.args...)})
}

// take is the value of a variable of the image, "" if it is not set.
func (n *native) take(key string) (string, bool) {
	n.read[key] = true
	for _, kv := range n.s.get("environment").pairs() {
		if kv.key == key && kv.given {
			return n.plainly(&tree{kind: kindString, text: kv.value, line: kv.line}), true
		}
	}
	return "", false
}

// use is take of a variable whose value goes into the declaration.
func (n *native) use(key string) (string, bool) {
	s, ok := n.take(key)
	for _, kv := range n.s.get("environment").pairs() {
		if kv.key == key {
			n.fixed(&tree{kind: kindString, text: kv.value, line: kv.line})
		}
	}
	return s, ok
}

func postgresArgs(n *native) {
	user, hasUser := n.use("POSTGRES_USER")
	database, has := n.use("POSTGRES_DB")
	if !has {
		database = user
	}
	if database != "" && database != "postgres" {
		n.args = append(n.args, kw("databases", texts([]string{database})))
	}
	if hasUser && user != "postgres" {
		n.args = append(n.args, kw("superuser", quoted(user)))
	}
	for _, key := range []string{"POSTGRES_PASSWORD", "POSTGRES_PASSWORD_FILE", "POSTGRES_HOST_AUTH_METHOD", "PGDATA", "POSTGRES_INITDB_ARGS"} {
		if _, ok := n.take(key); ok && key == "POSTGRES_PASSWORD" {
			n.warn(n.s.line, "the password of %s is left out: programs of this machine are trusted by their user or on 127.0.0.1; %s.url says how to reach it", n.s.foreign, n.s.variable)
		}
	}
}

func mariadbArgs(n *native) {
	if name := imageName(n.plainly(orNull(n.s.get("image")))); strings.HasPrefix(name, "mysql") {
		n.warn(n.s.line, "%s was MySQL; MariaDB runs in its place", n.s.foreign)
	}
	for _, prefix := range []string{"MYSQL_", "MARIADB_"} {
		if database, ok := n.use(prefix + "DATABASE"); ok {
			n.args = append(n.args, kw("databases", texts([]string{database})))
		}
		for _, key := range []string{"USER", "PASSWORD", "ROOT_PASSWORD", "ALLOW_EMPTY_PASSWORD", "RANDOM_ROOT_PASSWORD", "ROOT_HOST"} {
			if _, ok := n.take(prefix + key); ok && strings.HasSuffix(key, "USER") {
				n.warn(n.s.line, "users and passwords of %s are left out: %s.url says how to reach it (users = [...] makes more)", n.s.foreign, n.s.variable)
			}
		}
	}
}

func rabbitArgs(n *native) {
	if strings.Contains(n.plainly(orNull(n.s.get("image"))), "management") {
		base := 15672
		for _, p := range n.ports(n.s) {
			if p.container == 15672 && p.base > 0 {
				base = p.base
			}
		}
		n.args = append(n.args, kw("management", number(base)))
	}
	for _, key := range []string{"RABBITMQ_DEFAULT_USER", "RABBITMQ_DEFAULT_PASS", "RABBITMQ_DEFAULT_VHOST", "RABBITMQ_ERLANG_COOKIE"} {
		if _, ok := n.take(key); ok && key == "RABBITMQ_DEFAULT_USER" {
			n.warn(n.s.line, "the user of %s is left out: %s.url says how to reach it", n.s.foreign, n.s.variable)
		}
	}
}

// redisArgs reads the options of redis-server from the command.
func redisArgs(n *native) {
	t := n.s.get("command")
	if t == nil {
		return
	}
	argv := t.texts()
	if t.kind != kindList {
		argv, _ = words(n.plainly(t))
	}
	var settings []arg
	for i := 0; i < len(argv); i++ {
		key, isOption := strings.CutPrefix(argv[i], "--")
		if !isOption {
			if i > 0 {
				n.warn(t.line, "the argument %q of %s is left out", argv[i], n.s.foreign)
			}
			continue
		}
		var values []string
		for i+1 < len(argv) && !strings.HasPrefix(argv[i+1], "--") {
			values = append(values, argv[i+1])
			i++
		}
		if key == "port" || key == "dir" || key == "bind" {
			n.warn(t.line, "--%s of %s is left out: the factory says it", key, n.s.foreign)
			continue
		}
		value := quoted(strings.Join(values, " "))
		if k := slices.IndexFunc(settings, func(a arg) bool { return a.key == quote(key)+": " }); k >= 0 { // --save is given several times
			earlier := settings[k].value
			if earlier.open == "" {
				earlier = list(earlier)
			}
			settings[k].value = list(append(earlier.values(), value)...)
			continue
		}
		settings = append(settings, pair(key, value))
	}
	if len(settings) > 0 {
		n.args = append(n.args, kw("settings", dict(settings...)))
	}
}
