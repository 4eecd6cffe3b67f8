package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// The starter is the limit for the stack: it knows exactly what needs what, asks nothing twice, waits by sd_notify, and takes
// for granted that whatever was made once is as it should be.

// starter starts the stack in a folder.
type starter struct {
	commands
	dir, run string
	mu       sync.Mutex
	running  []*exec.Cmd // in the order of their starts
}

// stackUp starts everything, and stops it at SIGTERM.
func stackUp(set settings) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s := &starter{commands: newCommands(set["run"]), dir: set["dir"], run: set["run"]}
	err := s.up()
	if err == nil {
		<-ctx.Done()
	}
	for i := len(s.running) - 1; i >= 0; i-- {
		c := s.running[i]
		sig := syscall.SIGTERM
		if c.Args[0] == "postgres" {
			sig = syscall.SIGINT
		}
		_ = c.Process.Signal(sig)
		_ = c.Wait()
	}
	return err
}

// up starts what can start, and the rest as soon as what it needs is there.
func (s *starter) up() error {
	_, err := os.Stat(filepath.Join(s.dir, "data", "made"))
	first := err != nil
	built, db, cache := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() {
		var err error
		if first {
			err = s.do(s.build)
		}
		built <- err
	}()
	go func() { cache <- s.serve("cache", s.cache) }()
	go func() { db <- s.database(first) }()
	for _, c := range []chan error{db, built} {
		if err := <-c; err != nil {
			return err
		}
	}
	if first {
		if err := s.do(s.migrate); err != nil {
			return err
		}
	}
	if err := <-cache; err != nil {
		return err
	}
	return s.serve("web", s.web)
}

func (s *starter) database(first bool) error {
	if first {
		if err := s.do(s.init); err != nil {
			return err
		}
	}
	if err := s.serve("db", s.db); err != nil || !first {
		return err
	}
	return s.do(s.commands.database)
}

func (s *starter) command(argv []string) *exec.Cmd {
	c := exec.Command(argv[0], argv[1:]...)
	c.Dir, c.Env = s.dir, append(os.Environ(), s.env...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	return c
}

func (s *starter) do(argv []string) error {
	if err := s.command(argv).Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	return nil
}

// serve starts a server and waits for its READY=1.
func (s *starter) serve(name string, argv []string) error {
	path := filepath.Join(s.run, name+".notify")
	_ = os.Remove(path)
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer l.Close()
	c := s.command(argv)
	c.Env = append(c.Env, "NOTIFY_SOCKET="+path)
	if err := c.Start(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	s.mu.Lock()
	s.running = append(s.running, c)
	s.mu.Unlock()
	message := make([]byte, 4096)
	for {
		n, err := l.Read(message)
		if err != nil {
			return err
		}
		if strings.Contains("\n"+string(message[:n])+"\n", "\nREADY=1\n") {
			return nil
		}
	}
}
