package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

func orrery() peer {
	return peer{
		name: "orrery", programs: []string{"orrery"}, version: []string{"version"},
		detaches: true, restarts: true, waits: []string{"notify", "tcp", "http", "exec"}, watches: true, holds: "fd:3", parts: true,
		write: func(s *session) error {
			text := "project(name = \"bench\")\n"
			for _, v := range s.services {
				text += starlark(s, v)
			}
			return s.write("services.star", text)
		},
		start: func(s *session) []string { return []string{s.program(), "up", "-d", "--wait=60s"} },
		stop:  func(s *session) []string { return []string{s.program(), "down"} },
		restart: func(s *session, name string) []string {
			return []string{s.program(), "restart", name}
		},
		logs: func(s *session, name string) []string { return []string{".orrery/logs/" + name + "/stdout*"} },
		victims: func(s *session, all []process) []victim {
			var list []victim
			for _, part := range []string{"engine", "keeper"} {
				v := victim{part: part}
				for _, p := range all {
					if slices.Contains(p.args, "__"+part) {
						v.pids = append(v.pids, p.pid)
					}
				}
				list = append(list, v)
			}
			return list
		},
	}
}

// starlark declares one service; its name is a variable too. The port is a reference: orrery may choose another one.
func starlark(s *session, v service) string {
	var argv []string
	for _, a := range append(s.argv(service{name: v.name, mode: v.mode}), v.args...) {
		q := quote(a)
		if strings.Contains(a, "{port}") {
			q = quote(strings.ReplaceAll(a, "{port}", "%s")) + " % self.port"
		}
		argv = append(argv, q)
	}
	t := fmt.Sprintf("%s = service(%s,\n    command = [%s],\n", v.name, quote(v.name), strings.Join(argv, ", "))
	switch {
	case v.held:
		t += fmt.Sprintf("    listen = {\"main\": socket.tcp(%d, strict = True)},\n", v.port)
	case v.port != 0:
		t += fmt.Sprintf("    ports = {\"main\": %d},\n", v.port)
	}
	if p := map[string]string{
		"notify": "probe.notify()", "tcp": "probe.tcp()", "http": "probe.http()",
		"unix": "probe.unix(" + quote(v.path) + ")", "exec": `probe.exec("test -e ` + v.check + `")`,
	}[v.ready]; p != "" {
		t += "    ready = " + p + ",\n"
	}
	if v.after != "" {
		t += "    after = [" + v.after + "],\n"
	}
	if v.watch != "" {
		t += "    watch = [" + quote(v.watch) + "],\n"
	}
	return t + ")\n"
}

// quote is a string literal in Starlark, YAML and JSON alike.
func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}
