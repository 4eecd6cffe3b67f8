package main

import (
	"fmt"
	"strconv"
	"strings"
)

// The managers that read a Procfile: overmind, foreman, honcho, goreman, hivemind. And process-compose, which reads YAML.

// procfile writes one; exec keeps the shells out of the way.
func procfile(s *session) error {
	var t string
	for _, v := range s.services {
		t += v.name + ": exec " + s.line(v) + "\n"
	}
	return s.write("Procfile", t)
}

func foreman() peer {
	return peer{
		name: "foreman", programs: []string{"foreman"}, from: "apt:ruby-foreman", write: procfile,
		start: func(s *session) []string { return []string{s.program(), "start", "-f", s.file("Procfile")} },
	}
}

func honcho() peer {
	return peer{
		name: "honcho", programs: []string{"honcho"}, version: []string{"version"}, write: procfile,
		start: func(s *session) []string { return []string{s.program(), "-f", s.file("Procfile"), "start"} },
	}
}

func hivemind() peer {
	return peer{
		name: "hivemind", programs: []string{"hivemind"}, from: "go:github.com/DarthSim/hivemind@latest", version: []string{"--version"},
		write: procfile,
		start: func(s *session) []string { return []string{s.program(), s.file("Procfile")} },
	}
}

func goreman() peer {
	rpc := func(s *session, args ...string) []string {
		return append([]string{s.program(), "-p", s.scratch["port"], "run"}, args...)
	}
	return peer{
		name: "goreman", programs: []string{"goreman"}, from: "go:github.com/mattn/goreman@latest", version: []string{"version"},
		write: func(s *session) error {
			port, err := ports(1)
			if err != nil {
				return err
			}
			s.scratch["port"] = fmt.Sprint(port[0])
			return procfile(s)
		},
		start: func(s *session) []string {
			return []string{s.program(), "-f", s.file("Procfile"), "-p", s.scratch["port"], "-rpc-server", "start"}
		},
		restart: func(s *session, name string) []string { return rpc(s, "restart", name) },
	}
}

func overmind() peer {
	ctl := func(s *session, args ...string) []string {
		return append(append([]string{s.program()}, args[0], "-s", s.file("run", "o.sock")), args[1:]...)
	}
	return peer{
		name: "overmind", programs: []string{"overmind", "tmux"}, from: "go:github.com/DarthSim/overmind/v2@latest", version: []string{"--version"},
		restarts: true, write: procfile,
		start: func(s *session) []string {
			return ctl(s, "start", "-f", s.file("Procfile"), "-N", "-r", "all")
		},
		stop:    func(s *session) []string { return ctl(s, "quit") },
		restart: func(s *session, name string) []string { return ctl(s, "restart", name) },
	}
}

func processCompose() peer {
	ctl := func(s *session, args ...string) []string {
		return append([]string{s.program(), "-U", "-u", s.file("run", "pc.sock")}, args...)
	}
	return peer{
		name: "process-compose", programs: []string{"process-compose"}, from: "go:github.com/f1bonacc1/process-compose@latest",
		version: []string{"version", "--short"}, restarts: true, waits: []string{"http", "exec"}, watches: true,
		write: func(s *session) error {
			t := "version: \"0.5\"\nprocesses:\n"
			for _, v := range s.services {
				t += composeProcess(s, v)
			}
			return s.write("process-compose.yaml", t)
		},
		start: func(s *session) []string {
			return ctl(s, "-t=false", "-f", s.file("process-compose.yaml"), "up")
		},
		restart: func(s *session, name string) []string { return ctl(s, "process", "restart", name) },
		logs:    func(s *session, name string) []string { return []string{"log-" + name} },
	}
}

// composeProcess is one process. The least period of a probe, and the least wait before a restart, is one second.
func composeProcess(s *session, v service) string {
	t := fmt.Sprintf("  %s:\n    command: %s\n    availability: {restart: always, backoff_seconds: 1}\n", quote(v.name), quote("exec "+s.line(v)))
	switch v.ready {
	case "http":
		t += fmt.Sprintf("    readiness_probe: {http_get: {host: 127.0.0.1, port: %s, path: /}, period_seconds: 1}\n", quote(strconv.Itoa(v.port)))
	case "exec":
		t += fmt.Sprintf("    readiness_probe: {exec: {command: %s}, period_seconds: 1}\n", quote("test -e "+v.check))
	}
	if v.after != "" {
		t += "    depends_on: {" + quote(v.after) + ": {condition: process_healthy}}\n"
	}
	if v.watch != "" {
		t += "    watch: {paths: [{path: " + quote(v.watch) + "}]}\n"
	}
	if v.logs {
		t += "    log_location: " + quote(s.file("log-"+v.name)) + "\n    log_configuration: {disable_json: true, no_metadata: true}\n"
	}
	return t
}

// bare is no manager: a shell that starts every service and waits. It is the floor under the others.
func bare() peer {
	return peer{
		name: "bare", programs: []string{"sh"},
		write: func(s *session) error {
			var t strings.Builder
			t.WriteString("trap 'trap - TERM; kill $pids' TERM\npids=\n")
			for _, v := range s.services {
				t.WriteString(s.line(v) + " & pids=\"$pids $!\"\n")
			}
			t.WriteString("wait\nwait\n")
			return s.write("bare.sh", t.String())
		},
		start: func(s *session) []string { return []string{s.program(), s.file("bare.sh")} },
	}
}
