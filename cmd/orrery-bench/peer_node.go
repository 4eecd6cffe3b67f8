package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// The managers from npm: pm2, mprocs (a native program inside), concurrently.

func pm2() peer {
	return peer{
		name: "pm2", programs: []string{"npm/node_modules/.bin/pm2"}, from: "npm:pm2",
		detaches: true, restarts: true, watches: true,
		env: func(s *session) []string {
			return []string{"PM2_HOME=" + s.file("home", "pm2"), "PM2_DISABLE_VERSION_CHECK=true"}
		},
		write: func(s *session) error {
			var apps []map[string]any
			for _, v := range s.services {
				app := map[string]any{
					"name": v.name, "script": s.self, "args": s.argv(v)[1:], "interpreter": "none", "exec_mode": "fork",
					"cwd": s.dir, "out_file": "/dev/null", "error_file": "/dev/null",
				}
				if v.logs {
					app["out_file"] = s.file("log-" + v.name)
				}
				if v.watch != "" {
					app["watch"] = []string{v.watch}
				}
				apps = append(apps, app)
			}
			b, err := json.Marshal(map[string]any{"apps": apps})
			if err != nil {
				return err
			}
			return s.write("ecosystem.json", string(b))
		},
		start: func(s *session) []string { return []string{s.program(), "start", s.file("ecosystem.json")} },
		stop:  func(s *session) []string { return []string{s.program(), "kill"} },
		restart: func(s *session, name string) []string {
			return []string{s.program(), "restart", name}
		},
		logs: func(s *session, name string) []string { return []string{"log-" + name} },
		victims: func(_ *session, all []process) []victim {
			v := victim{part: "main"}
			for _, p := range all {
				if strings.Contains(p.args[0], "God Daemon") {
					v.pids = append(v.pids, p.pid)
				}
			}
			return []victim{v}
		},
	}
}

func mprocs() peer {
	ctl := func(s *session, command string) []string {
		return []string{s.program(), "--server", "127.0.0.1:" + s.scratch["port"], "--ctl", command}
	}
	return peer{
		name: "mprocs", programs: []string{"npm/node_modules/mprocs/mprocs-*-linux-ARCH*/mprocs"}, from: "npm:mprocs",
		terminal: true, restarts: true,
		write: func(s *session) error {
			port, err := ports(1)
			if err != nil {
				return err
			}
			s.scratch["port"] = fmt.Sprint(port[0])
			procs := map[string]any{}
			for _, v := range s.services {
				procs[v.name] = map[string]any{"cmd": s.argv(v), "autorestart": true}
			}
			b, err := json.Marshal(map[string]any{"procs": procs, "server": "127.0.0.1:" + s.scratch["port"]})
			if err != nil {
				return err
			}
			return s.write("mprocs.yaml", string(b)) // JSON is YAML
		},
		start: func(s *session) []string {
			argv := []string{s.program(), "--config", s.file("mprocs.yaml")}
			if slices.ContainsFunc(s.services, func(v service) bool { return v.logs }) {
				argv = append(argv, "--log-dir", s.file("logs"))
			}
			return argv
		},
		stop: func(s *session) []string { return ctl(s, "{c: quit}") },
		restart: func(s *session, name string) []string {
			i := slices.IndexFunc(s.services, func(v service) bool { return v.name == name })
			return ctl(s, fmt.Sprintf("{c: batch, cmds: [{c: select-proc, index: %d}, {c: restart-proc}]}", i))
		},
		logs: func(s *session, name string) []string { return []string{"logs/" + name + "*"} },
	}
}

func concurrently() peer {
	return peer{
		name: "concurrently", programs: []string{"npm/node_modules/.bin/concurrently"}, from: "npm:concurrently",
		restarts: true,
		write:    func(*session) error { return nil },
		start: func(s *session) []string {
			argv := []string{s.program(), "--no-color", "--restart-tries", "-1"}
			for _, v := range s.services {
				argv = append(argv, "exec "+s.line(v))
			}
			return argv
		},
	}
}
