package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// factories are the rows of the suite: each factory of stdlib has one.
func factories() []factory {
	return append([]factory{
		{
			name:     "postgres",
			programs: []string{"/usr/lib/postgresql/15/bin/postgres"},
			star: `load("@std//postgres.star", "postgres")
postgres("a", databases = ["shop"], settings = {"work_mem": "5MB"})
postgres("b", databases = ["shop"], port = $B)
`,
			ping: pgPing,
			put: func(i *instance, value string) error {
				_, err := i.run("psql", "-d", i.v("URL"), "-Atqc", "create table kept as select '"+value+"'::text as datum")
				return err
			},
			get: func(i *instance) (string, error) {
				return i.run("psql", "-d", i.v("URL"), "-Atqc", "table kept")
			},
			reload: true,
			edit:   [2]string{"5MB", "6MB"},
			edited: func(i *instance) error {
				return says("6MB", func() (string, error) { return i.run("psql", "-d", i.v("URL"), "-Atqc", "show work_mem") })
			},
		},
		{
			name:     "redis",
			programs: []string{"redis-server"},
			star: `load("@std//redis.star", "redis")
redis("a", settings = {"appendonly": True})
redis("b", port = $B)
`,
			ping: func(i *instance) error { return i.talk("PING\r\n", "+PONG") },
			put:  func(i *instance, value string) error { return i.talk("SET datum "+value+"\r\n", "+OK") },
			get:  func(i *instance) (string, error) { return i.lines("GET datum\r\n", 2) },
		},
		{
			name:     "nginx",
			programs: []string{"nginx"},
			star: `load("@std//nginx.star", "nginx")
nginx("a", locations = {"/": {"return": "200 first"}})
nginx("b", port = $B, locations = {"/": {"return": "200 other"}})
`,
			ping:   httpPing("/"),
			reload: true,
			edit:   [2]string{"first", "second"},
			edited: func(i *instance) error {
				return says("second", func() (string, error) { return i.http("GET", "/", "") })
			},
		},
		{
			name:     "memcached",
			programs: []string{"memcached"},
			star: `load("@std//memcached.star", "memcached")
memcached("a", settings = {"memory-limit": 32})
memcached("b", port = $B)
`,
			ping: func(i *instance) error { return i.talk("version\r\n", "VERSION") },
			put: func(i *instance, value string) error {
				return i.talk(fmt.Sprintf("set datum 0 0 %d\r\n%s\r\n", len(value), value), "STORED")
			},
			get:  func(i *instance) (string, error) { return i.lines("get datum\r\n", 2) },
			lost: true,
		},
		{
			name:     "mariadb",
			programs: []string{"mariadbd"},
			star: `load("@std//mariadb.star", "mariadb")
mariadb("a", databases = ["shop"], users = ["shop"], init_sql = "create table kept (datum text);")
mariadb("b", databases = ["more", "shop"], init_sql = "create table kept (datum text);", port = $B)
`,
			ping: mysqlPing,
			put: func(i *instance, value string) error {
				_, err := i.sql("insert into shop.kept values ('" + value + "')")
				return err
			},
			get: func(i *instance) (string, error) { return i.sql("select datum from shop.kept") },
		},
		{
			name:     "nats",
			programs: []string{"nats-server"},
			star: `load("@std//nats.star", "nats")
nats("a", port = $A, settings = {"max_payload": 65536})
nats("b", port = $B, monitor = $A)
`,
			ping: func(i *instance) error { _, err := i.nats("", ""); return err },
			put: func(i *instance, value string) error {
				_, err := i.nats("$JS.API.STREAM.CREATE.kept", `{"name":"kept","subjects":["datum"]}`)
				if err == nil {
					_, err = i.nats("datum", value)
				}
				return err
			},
			get: func(i *instance) (string, error) {
				answer, err := i.nats("$JS.API.STREAM.MSG.GET.kept", `{"last_by_subj":"datum"}`)
				if err != nil {
					return "", err
				}
				var msg struct{ Message struct{ Data []byte } }
				err = json.Unmarshal([]byte(answer), &msg)
				return string(msg.Message.Data), err
			},
			reload: true,
			edit:   [2]string{"65536", "32768"},
			edited: func(i *instance) error {
				return says(`"max_payload":32768`, func() (string, error) { return i.lines("", 1) })
			},
		},
		{
			name:     "mosquitto",
			programs: []string{"mosquitto", "mosquitto_pub"},
			star: `load("@std//mosquitto.star", "mosquitto")
mosquitto("a", settings = {"log_type": ["error"]})
mosquitto("b", port = $B)
`,
			ping: mqttPing,
			put: func(i *instance, value string) error {
				_, err := i.mqtt("pub", "-r", "-q", "1", "-t", "datum", "-m", value)
				return err
			},
			get:    func(i *instance) (string, error) { return i.mqtt("sub", "-C", "1", "-W", "5", "-t", "datum") },
			lost:   true, // what is younger than 5 s
			reload: true,
		},
		{
			name:     "etcd",
			programs: []string{"etcd"},
			star: `load("@std//etcd.star", "etcd")
etcd("a", port = $A)
etcd("b", port = $B, settings = {"auto-compaction-retention": "1"})
`,
			ping: httpPing("/health"),
			put: func(i *instance, value string) error {
				_, err := i.http("POST", "/v3/kv/put", fmt.Sprintf(`{"key": "ZGF0dW0=", "value": "%s"}`, base64.StdEncoding.EncodeToString([]byte(value))))
				return err
			},
			get: func(i *instance) (string, error) {
				answer, err := i.http("POST", "/v3/kv/range", `{"key": "ZGF0dW0="}`)
				if err != nil {
					return "", err
				}
				var found struct{ Kvs []struct{ Value []byte } }
				if err := json.Unmarshal([]byte(answer), &found); err != nil || len(found.Kvs) != 1 {
					return "", fmt.Errorf("got %s, want one value: %v", answer, err)
				}
				return string(found.Kvs[0].Value), nil
			},
		},
		{
			name:     "haproxy",
			programs: []string{"haproxy"},
			star: `load("@std//haproxy.star", "haproxy")
haproxy("a", frontend = {"http-request": "return status 200 content-type text/plain string first"})
haproxy("b", port = $B, frontend = {"http-request": "return status 200 content-type text/plain string other"})
`,
			ping:   httpPing("/"),
			reload: true,
			edit:   [2]string{"first", "second"},
			edited: func(i *instance) error {
				return says("second", func() (string, error) { return i.http("GET", "/", "") })
			},
		},
		{
			name:     "caddy",
			programs: []string{"caddy"},
			star: `load("@std//caddy.star", "caddy")
caddy("a", site = "respond first")
caddy("b", port = $B, site = "respond other")
`,
			ping:   httpPing("/"),
			reload: true,
			edit:   [2]string{"first", "second"},
			edited: func(i *instance) error {
				return says("second", func() (string, error) { return i.http("GET", "/", "") })
			},
		},
		{
			name:     "prometheus",
			programs: []string{"prometheus"},
			star: `load("@std//prometheus.star", "prometheus")
a = prometheus("a", port = $A, interval = "5s")
prometheus("b", port = $B, scrape = {"other": [a.address]})
`,
			ping:   httpPing("/-/ready"),
			reload: true,
			edit:   [2]string{"5s", "7s"},
			edited: func(i *instance) error {
				return says("scrape_interval: 7s", func() (string, error) { return i.http("GET", "/api/v1/status/config", "") })
			},
		},
		{
			name:     "rabbitmq",
			programs: []string{"/usr/lib/rabbitmq/bin/rabbitmq-server"},
			star: `load("@std//rabbitmq.star", "rabbitmq")
rabbitmq("a", port = $A)
rabbitmq("b", port = $B, users = {"shop": "secret"}, vhosts = ["shop"], queues = {"kept": {"vhost": "shop"}})
`,
			ping: func(i *instance) error { return i.exchange("AMQP\x00\x00\x09\x01", 1, 1) },
			put:  amqpPut,
			get:  amqpGet,
			slow: true,
		},
		{
			name:     "beanstalkd",
			programs: []string{"beanstalkd"},
			star: `load("@std//beanstalkd.star", "beanstalkd")
beanstalkd("a")
beanstalkd("b", port = $B)
`,
			ping: func(i *instance) error { return i.talk("stats\r\n", "OK") },
			put: func(i *instance, value string) error {
				return i.talk(fmt.Sprintf("put 0 0 60 %d\r\n%s\r\n", len(value), value), "INSERTED")
			},
			get: func(i *instance) (string, error) { return i.lines("peek-ready\r\n", 2) },
		},
		{
			name:     "lighttpd",
			programs: []string{"lighttpd"},
			star: `load("@std//lighttpd.star", "lighttpd")
lighttpd("a", modules = ["mod_redirect"], settings = {"url.redirect": {"^/": "/there"}, "url.redirect-code": 204})
lighttpd("b", port = $B, modules = ["mod_redirect"], settings = {"url.redirect": {"^/": "/there"}, "url.redirect-code": 204})
`,
			ping: httpPing("/"),
		},
		{
			name:     "varnish",
			programs: []string{"varnishd", "cc"},
			star: `load("@std//varnish.star", "varnish")
varnish("a", vcl = 'backend none none; sub vcl_recv { return (synth(200, "first")); }')
varnish("b", port = $B, vcl = 'backend none none; sub vcl_recv { return (synth(200, "other")); }')
`,
			ping:   httpPing("/"),
			reload: true,
			edit:   [2]string{"first", "second"},
			edited: func(i *instance) error {
				return says("second", func() (string, error) { return i.http("GET", "/", "") })
			},
		},
		{
			name:     "pgbouncer",
			programs: []string{"pgbouncer", "/usr/lib/postgresql/15/bin/postgres"},
			star: `load("@std//pgbouncer.star", "pgbouncer")
load("@std//postgres.star", "postgres")
db = postgres("db", databases = ["shop"])
to = "host=%s port=5432 user=%s" % (db.socket, db.superuser)
pgbouncer("a", databases = {"shop": to})
pgbouncer("b", databases = {"shop": to}, port = $B, settings = {"pool_mode": "transaction"})
`,
			ping:   func(i *instance) error { return i.exchange("\x00\x00\x00\x08\x04\xd2\x16\x2f", 1, 'N') },
			reload: true,
			edit:   [2]string{`"shop": to}`, `"shop": to, "more": to + " dbname=shop"}`},
			edited: func(i *instance) error {
				url := strings.Replace(i.v("URL"), "/shop?", "/more?", 1)
				return says("through", func() (string, error) { return i.run("psql", "-d", url, "-Atqc", "select 'through'") })
			},
		},
		{
			name:     "php_fpm",
			programs: []string{"php-fpm8.2"},
			star: `load("@std//php_fpm.star", "php_fpm")
php_fpm("a", settings = {"ping.response": "pong"})
php_fpm("b", port = $B)
`,
			ping:   func(i *instance) error { return says("text/plain", i.fastcgi) },
			reload: true,
			edit:   [2]string{`"pong"`, `"second"`},
			edited: func(i *instance) error { return says("second", i.fastcgi) },
		},
		{
			name:     "unbound",
			programs: []string{"unbound"},
			star: `load("@std//unbound.star", "unbound")
unbound("a", port = $A, records = ["shop.test. A 127.0.0.7"])
unbound("b", port = $B, records = ["shop.test. A 127.0.0.7"])
`,
			ping:   func(i *instance) error { return says("\x7f\x00\x00", i.dns) },
			reload: true,
			edit:   [2]string{"0.7", "0.9"},
			edited: func(i *instance) error { return says("\x7f\x00\x00\x09", i.dns) },
		},
		{
			name:     "dnsmasq",
			programs: []string{"dnsmasq"},
			star: `load("@std//dnsmasq.star", "dnsmasq")
dnsmasq("a", port = $A, addresses = {"test": "127.0.0.7"})
dnsmasq("b", port = $B, addresses = {"test": "127.0.0.7"})
`,
			ping: func(i *instance) error { return says("\x7f\x00\x00\x07", i.dns) },
		},
	}, moreFactories()...)
}

// says wants a text.
func says(want string, ask func() (string, error)) error {
	got, err := ask()
	if err == nil && !strings.Contains(got, want) {
		err = fmt.Errorf("got %q, want %q", got, want)
	}
	return err
}

// talk sends a request and wants a first line that begins with an answer.
func (i *instance) talk(request, answer string) error {
	return says(answer, func() (string, error) { return i.lines(request, 1) })
}

// lines sends a request and returns the nth line of the answer.
func (i *instance) lines(request string, n int) (string, error) {
	conn, err := i.dial()
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		return "", err
	}
	r := bufio.NewReader(conn)
	var line string
	for range n {
		if line, err = r.ReadString('\n'); err != nil {
			return "", err
		}
	}
	return strings.TrimSpace(line), nil
}
