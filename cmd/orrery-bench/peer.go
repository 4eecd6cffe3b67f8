package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// peer describes a process manager: what it can do, and what to write and to run for it. The functions are pure but for
// the files that write writes. A nil function is something that the manager cannot do.
type peer struct {
	name     string
	programs []string // the first is the manager; a name on PATH, or a pattern below the cache folder when it holds a slash
	from     string   // where -install gets it: "npm:NAME", "apt:NAME" or "go:PACKAGE"; empty: not at all
	version  []string // arguments that print the version, where from does not tell

	terminal bool           // needs one to run
	detaches bool           // start returns when everything was started, and a daemon stays
	signal   syscall.Signal // that stops it, when stop is nil
	restarts bool           // a service that was killed is started again, at once
	waits    []string       // kinds of readiness by which a service can wait for another
	watches  bool           // restarts on a change of a file
	holds    string         // the helper's listen= of a socket that the manager binds and passes; empty: it cannot

	env     func(s *session) []string
	write   func(s *session) error
	start   func(s *session) []string
	stop    func(s *session) []string // nil as the result: signal
	restart func(s *session, name string) []string
	logs    func(s *session, name string) []string // patterns of the files with its output; nil: what it prints itself
	victims func(s *session, all []process) []victim
	parts   bool // it has processes, besides the main one, that may die alone
}

// victim is a part of a manager that a scenario kills with -9.
type victim struct {
	part string
	pids []int
}

// peers is the list of all managers that the bench knows, orrery first, the floor last.
func peers() []peer {
	return withDefaults(
		orrery(), processCompose(), supervisor(), s6(), runit(), pm2(), mprocs(), concurrently(),
		overmind(), foreman(), honcho(), goreman(), hivemind(), bare(),
	)
}

func withDefaults(list ...peer) []peer {
	for i := range list {
		p := &list[i]
		if p.env == nil {
			p.env = func(*session) []string { return nil }
		}
		if p.stop == nil {
			p.stop = func(*session) []string { return nil }
		}
		if p.logs == nil {
			p.logs = func(*session, string) []string { return []string{"out"} }
		}
		if p.victims == nil {
			p.victims = func(*session, []process) []victim { return nil }
		}
		if p.signal == 0 {
			p.signal = syscall.SIGTERM
		}
	}
	return list
}

// found is a peer that is installed.
type found struct {
	peer    peer
	name    string
	version string
	bin     map[string]string // program: its path
}

// detect finds the programs of p and asks for its version.
func detect(p peer, o options) (*found, error) {
	f := &found{peer: p, name: p.name, bin: map[string]string{}}
	for _, program := range p.programs {
		path, err := locate(program, o)
		if err != nil {
			return nil, fmt.Errorf("cannot find %s: %w", p.name, err)
		}
		f.bin[program] = path
	}
	f.version = f.ask()
	return f, nil
}

func locate(program string, o options) (string, error) {
	switch {
	case program == "orrery" && o.orrery != "":
		return filepath.Abs(o.orrery)
	case program == "orrery":
		if self, err := os.Executable(); err == nil {
			beside := filepath.Join(filepath.Dir(self), program)
			if _, err := os.Stat(beside); err == nil {
				return beside, nil
			}
		}
	case strings.Contains(program, "/"):
		pattern := filepath.Join(o.cache, strings.ReplaceAll(program, "ARCH", arch()))
		if all, _ := filepath.Glob(pattern); len(all) > 0 {
			return filepath.Abs(all[0])
		}
		program = filepath.Base(program)
	}
	if path := filepath.Join(o.cache, "bin", program); executable(path) {
		return filepath.Abs(path)
	}
	if path, err := exec.LookPath(program); err == nil {
		return filepath.Abs(path)
	}
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} { // not in an ordinary user's PATH
		if path := filepath.Join(dir, program); executable(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("no program %s", program)
}

func executable(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0
}

func arch() string {
	if runtime.GOARCH == "arm64" {
		return "aarch64"
	}
	return "x86_64"
}

// ask finds the version: from package.json, from dpkg, or from the program. "?" when nothing tells.
func (f *found) ask() string {
	kind, name, _ := strings.Cut(f.peer.from, ":")
	argv := append([]string{}, f.peer.version...)
	if len(f.peer.programs) > 0 {
		argv = append([]string{f.bin[f.peer.programs[0]]}, argv...)
	}
	switch {
	case kind == "npm" && len(f.peer.version) == 0:
		if v := packageVersion(f.bin[f.peer.programs[0]], name); v != "" {
			return v
		}
		return "?"
	case kind == "apt":
		argv = []string{"dpkg-query", "-W", "-f", "${Version}", name}
	case len(f.peer.version) == 0:
		return "-"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if err != nil || first == "" {
		return "?"
	}
	words := strings.Fields(first)
	return words[len(words)-1]
}

// packageVersion reads package.json of the package that holds the program.
func packageVersion(program, name string) string {
	path, err := filepath.EvalSymlinks(program)
	if err != nil {
		return ""
	}
	for dir := filepath.Dir(path); dir != "/"; dir = filepath.Dir(dir) {
		b, err := os.ReadFile(filepath.Join(dir, "package.json"))
		if err != nil {
			continue
		}
		var p struct{ Name, Version string }
		if json.Unmarshal(b, &p) == nil && p.Name == name {
			return p.Version
		}
	}
	return ""
}

// program is the path of the manager itself, or of another of its programs.
func (f *found) program(names ...string) string {
	if len(names) > 0 {
		return f.bin[names[0]]
	}
	return f.bin[f.peer.programs[0]]
}

// versions are those of all, by name.
func versions(list []*found) []named {
	var all []named
	for _, f := range list {
		all = append(all, named{f.name, f.version})
	}
	return all
}
