package main

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
)

// The supervisors of the Unix tradition: supervisor, s6, runit.

func supervisor() peer {
	return peer{
		name: "supervisor", programs: []string{"supervisord", "supervisorctl"}, from: "apt:supervisor",
		restarts: true, holds: "fd:0",
		write: func(s *session) error {
			sock := s.file("run", "s.sock")
			t := fmt.Sprintf("[unix_http_server]\nfile=%s\n[supervisord]\nnodaemon=true\nlogfile=%s\npidfile=%s\nminfds=10000\nchildlogdir=%s\n"+
				"[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"+
				"[supervisorctl]\nserverurl=unix://%s\n", sock, s.file("run", "log"), s.file("run", "pid"), s.file("run"), sock)
			for _, v := range s.services {
				kind, extra := "program", ""
				if v.held {
					kind, extra = "fcgi-program", fmt.Sprintf("socket=tcp://127.0.0.1:%d\n", v.port)
				}
				log := "NONE"
				if v.logs {
					log = s.file("log-" + v.name)
				}
				t += fmt.Sprintf("[%s:%s]\n%scommand=%s\nautorestart=true\nstdout_logfile=%s\nstdout_logfile_maxbytes=0\nstderr_logfile=NONE\n",
					kind, v.name, extra, s.line(v), log)
			}
			return s.write("supervisord.conf", t)
		},
		start: func(s *session) []string { return []string{s.program(), "-n", "-c", s.file("supervisord.conf")} },
		restart: func(s *session, name string) []string {
			return []string{s.program("supervisorctl"), "-c", s.file("supervisord.conf"), "restart", group(s, name)}
		},
		logs: func(s *session, name string) []string { return []string{"log-" + name} },
	}
}

// group is the name of a program with a held socket: those form groups.
func group(s *session, name string) string {
	if slices.ContainsFunc(s.services, func(v service) bool { return v.name == name && v.held }) {
		return name + ":" + name
	}
	return name
}

func s6() peer {
	return peer{
		name: "s6", programs: []string{"s6-svscan", "s6-supervise", "s6-svc", "s6-svwait", "s6-svscanctl", "s6-log"}, from: "apt:s6",
		restarts: true, waits: []string{"notify"}, parts: true,
		write: func(s *session) error {
			for _, v := range s.services {
				dir, before := "scan/"+v.name, ""
				if v.after != "" {
					before = s.program("s6-svwait") + " -U " + s.file("scan", v.after) + "\n"
				}
				run := "#!/bin/sh\n" + before + "exec " + s.line(v) + "\n"
				if err := s.write(dir+"/run", run); err != nil {
					return err
				}
				if v.ready == "notify" {
					if err := s.write(dir+"/notification-fd", "3\n"); err != nil {
						return err
					}
				}
				if v.logs {
					if err := s.write(dir+"/log/run", "#!/bin/sh\nexec "+s.program("s6-log")+" n1000 s16777215 ./main\n"); err != nil {
						return err
					}
				}
			}
			return nil
		},
		start: func(s *session) []string {
			return []string{s.program(), "-c", fmt.Sprint(2*len(s.services) + 100), s.file("scan")}
		},
		stop: func(s *session) []string { return []string{s.program("s6-svscanctl"), "-t", s.file("scan")} },
		restart: func(s *session, name string) []string {
			return []string{s.program("s6-svc"), "-r", s.file("scan", name)}
		},
		logs:    func(s *session, name string) []string { return []string{"scan/" + name + "/log/main/*"} },
		victims: func(_ *session, all []process) []victim { return []victim{supervisorOf("s6-supervise", all)} },
	}
}

// supervisorOf are the processes that look after one service each.
func supervisorOf(program string, all []process) victim {
	v := victim{part: "one " + program}
	for _, p := range all {
		if strings.HasSuffix(p.args[0], program) && len(v.pids) == 0 {
			v.pids = append(v.pids, p.pid)
		}
	}
	return v
}

func runit() peer {
	return peer{
		name: "runit", programs: []string{"runsvdir", "runsv", "sv", "svlogd"}, from: "apt:runit",
		restarts: true, waits: []string{"exec"}, parts: true, signal: syscall.SIGHUP,
		write: func(s *session) error {
			for _, v := range s.services {
				dir, before := "scan/"+v.name, ""
				if v.after != "" {
					before = s.program("sv") + " -w 60 start " + s.file("scan", v.after) + " >/dev/null || exit 1\n"
				}
				files := map[string]string{"run": "#!/bin/sh\n" + before + "exec " + s.line(v) + "\n"}
				if v.ready == "exec" {
					files["check"] = "#!/bin/sh\ntest -e " + v.check + "\n"
				}
				if v.logs {
					files["log/run"] = "#!/bin/sh\nexec " + s.program("svlogd") + " ./main\n"
					files["log/main/config"] = "n1000\ns16777215\n"
				}
				for name, text := range files {
					if err := s.write(dir+"/"+name, text); err != nil {
						return err
					}
				}
			}
			return nil
		},
		start: func(s *session) []string { return []string{s.program(), s.file("scan")} },
		restart: func(s *session, name string) []string {
			return []string{s.program("sv"), "-w", "10", "restart", s.file("scan", name)}
		},
		logs: func(s *session, name string) []string {
			return []string{"scan/" + name + "/log/main/*.s", "scan/" + name + "/log/main/*.u", "scan/" + name + "/log/main/current"}
		},
		victims: func(_ *session, all []process) []victim { return []victim{supervisorOf("runsv", all)} },
	}
}
