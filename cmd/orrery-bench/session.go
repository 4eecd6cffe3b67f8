package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// service is one tiny server that a manager is asked to run, said in no manager's words.
type service struct {
	name  string
	mode  string   // of the helper
	args  []string // of the helper; "{port}" stands for port
	port  int      // that it binds; 0: none
	path  string   // of the unix socket that it binds; "": none
	after string   // the service that must be ready before it starts
	ready string   // how a manager learns that it is ready: notify, tcp, http, exec, unix, or "" for not at all
	check string   // with exec: the file that exists then
	held  bool     // the manager binds port and passes the socket
	watch string   // a file whose change restarts it
	logs  bool     // the manager keeps its output in files
}

// session is one run of one manager in a directory of its own.
type session struct {
	*found
	dir      string
	self     string // the helper's program
	services []service
	scratch  map[string]string // what an adapter noted when it wrote its files

	more []string // of the environment
	own  bool     // each command has a session of its own, which the kernel gives a share of the processors

	family *family
	hub    *hub
	main   *exec.Cmd
	gone   chan struct{} // closed when main has ended
	out    *os.File      // standard output and error of the manager
	began  time.Time
	ended  time.Time // when main ended; valid once gone is closed
}

// limit bounds every single step of a session.
const limit = 60 * time.Second

// argv is the command of a service, ports filled in.
func (s *session) argv(v service) []string {
	argv := []string{s.self, v.mode, "name=" + v.name, "report=" + s.file("r.sock")}
	for _, a := range v.args {
		argv = append(argv, strings.ReplaceAll(a, "{port}", fmt.Sprint(v.port)))
	}
	return argv
}

// line is the command as one line for sh; no word of it needs quoting.
func (s *session) line(v service) string { return strings.Join(s.argv(v), " ") }

// file is a path in the session's directory.
func (s *session) file(names ...string) string {
	return filepath.Join(append([]string{s.dir}, names...)...)
}

// write writes a file in the session's directory; one that begins with #! is made executable.
func (s *session) write(name, text string) error {
	path := s.file(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if strings.HasPrefix(text, "#!") {
		mode = 0o755
	}
	return os.WriteFile(path, []byte(text), mode)
}

// env is small and private, so that no manager finds the user's settings or leaves anything in the home.
func (s *session) env() []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.file("home"), "XDG_RUNTIME_DIR=" + s.file("run"),
		"XDG_CACHE_HOME=" + s.file("home", "cache"), "XDG_CONFIG_HOME=" + s.file("home", "config"),
		"TMPDIR=" + s.file("home"), "LANG=C.UTF-8", "TERM=xterm-256color", "NO_COLOR=1",
	}, append(s.peer.env(s), s.more...)...)
}

// open makes the directory. Nothing is started yet.
func open(b *runner, f *found) (*session, error) {
	dir, err := os.MkdirTemp("", "ob")
	if err != nil {
		return nil, err
	}
	s := &session{found: f, dir: dir, self: b.self, scratch: map[string]string{}, family: b.family}
	for _, d := range []string{"home", "run"} {
		if err := os.Mkdir(s.file(d), 0o700); err != nil {
			return nil, err
		}
	}
	if s.hub, err = newHub(s.file("r.sock")); err != nil {
		return nil, err
	}
	if s.out, err = os.Create(s.file("out")); err != nil {
		return nil, err
	}
	return s, nil
}

// start writes what the manager reads and starts it. began is the moment before the start.
func (s *session) start() error {
	if err := s.peer.write(s); err != nil {
		return fmt.Errorf("cannot write the configuration of %s: %w", s.name, err)
	}
	s.age()
	argv := s.peer.start(s)
	s.main = s.command(argv)
	s.main.Stdout, s.main.Stderr = s.out, s.out
	s.gone = make(chan struct{})
	var slave *os.File
	if s.peer.terminal {
		master, sl, err := terminal()
		if err != nil {
			return err
		}
		slave = sl
		s.main.Stdin, s.main.Stdout, s.main.Stderr = slave, slave, slave
		s.main.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		go func() {
			_, _ = io.Copy(io.Discard, master)
			_ = master.Close()
		}()
	}
	s.began = time.Now()
	err := s.family.start(s.main)
	if slave != nil {
		_ = slave.Close()
	}
	if err != nil {
		return fmt.Errorf("cannot start %s: %w", s.name, err)
	}
	main, gone := s.main, s.gone // a session may start again
	go func() {
		_ = s.family.wait(main)
		s.ended = time.Now()
		close(gone)
	}()
	return nil
}

// age makes all files look an hour old, as those of a project are: some managers wait before they trust a directory that
// changed in this very second.
func (s *session) age() {
	then := time.Now().Add(-time.Hour)
	_ = filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && (d.IsDir() || d.Type().IsRegular()) {
			_ = os.Chtimes(path, then, then)
		}
		return nil
	})
}

func (s *session) command(argv []string) *exec.Cmd {
	c := exec.Command(argv[0], argv[1:]...)
	c.Dir, c.Env = s.dir, s.env()
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: !s.own, Setsid: s.own}
	return c
}

// do runs a command of the manager, such as the one that restarts a service.
func (s *session) do(argv []string) (string, error) {
	var out bytes.Buffer
	c := s.command(argv)
	file, err := os.Create(s.file("do")) // a file: a daemon that keeps a pipe open would make Wait wait
	if err != nil {
		return "", err
	}
	defer file.Close()
	c.Stdout, c.Stderr = file, file
	if err := s.family.start(c); err != nil {
		return "", fmt.Errorf("cannot run %s: %w", argv[0], err)
	}
	kill := time.AfterFunc(limit, func() { _ = c.Process.Kill() })
	err = s.family.wait(c)
	kill.Stop()
	if b, rerr := os.ReadFile(file.Name()); rerr == nil {
		out.Write(b)
	}
	if err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, tail(out.String()))
	}
	return out.String(), nil
}

func tail(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 200 {
		s = "..." + s[len(s)-200:]
	}
	return s
}

// up starts the manager and waits until every server listens; it returns the pids and the time from the start.
func (s *session) up(ctx context.Context) (map[string]int, time.Duration, error) {
	if err := s.start(); err != nil {
		return nil, 0, err
	}
	pids := map[string]int{}
	var last time.Time
	_, err := s.hub.await(ctx, limit, func(e event) bool {
		if e.kind == "up" && s.has(e.name) {
			pids[e.name] = e.pid
			if e.at.After(last) {
				last = e.at
			}
		}
		return len(pids) == len(s.services)
	})
	if err != nil {
		return pids, 0, fmt.Errorf("%d of %d services up: %w: %s", len(pids), len(s.services), err, s.said())
	}
	return pids, last.Sub(s.began), nil
}

func (s *session) has(name string) bool {
	return slices.ContainsFunc(s.services, func(v service) bool { return v.name == name })
}

// said is the end of what the manager printed.
func (s *session) said() string {
	b, _ := os.ReadFile(s.out.Name())
	return tail(string(b))
}

// settled waits until the command that started a daemon has returned; a manager in the foreground just gets the time.
func (s *session) settled(ctx context.Context, least time.Duration) error {
	if s.peer.detaches {
		select {
		case <-s.gone:
		case <-time.After(limit):
			return fmt.Errorf("%s did not return within %s", strings.Join(s.main.Args, " "), limit)
		case <-ctx.Done():
			return ctx.Err()
		}
		if code := s.main.ProcessState.ExitCode(); code != 0 {
			return fmt.Errorf("%s: exit code %d: %s", strings.Join(s.main.Args, " "), code, s.said())
		}
	}
	return sleep(ctx, least)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// managers are the processes of the manager, those of the services left out.
func (s *session) managers() []process {
	return slices.DeleteFunc(descendants(), func(p process) bool { return p.helper })
}

// down stops the manager its own way and waits until nothing is left; it returns how long that took, in ms.
func (s *session) down(ctx context.Context) (float64, error) {
	t := time.Now()
	if argv := s.peer.stop(s); argv != nil {
		if _, err := s.do(argv); err != nil {
			return 0, err
		}
	} else if err := s.main.Process.Signal(s.peer.signal); err != nil {
		return 0, err
	}
	for end := t.Add(limit); s.hub.alive() > 0 || len(children()) > 0; { // our children: all that is left comes to us
		if time.Now().After(end) {
			return 0, fmt.Errorf("%d services and %d processes left %s after the stop", s.hub.alive(), len(descendants()), limit)
		}
		if err := sleep(ctx, time.Millisecond); err != nil {
			return 0, err
		}
	}
	return ms(time.Since(t)), nil
}

// close ends whatever is left, by pid, and removes the directory.
func (s *session) close() {
	s.family.sweep()
	s.hub.close()
	_ = s.out.Close()
	_ = os.RemoveAll(s.dir)
}

// ports asks the kernel for n free ports.
func ports(n int) ([]int, error) {
	var list []int
	var open []net.Listener
	defer func() {
		for _, l := range open {
			_ = l.Close()
		}
	}()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		open = append(open, l)
		list = append(list, l.Addr().(*net.TCPAddr).Port)
	}
	return list, nil
}
