package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The helper modes: what the managers run. A helper takes name=value arguments and reports to the bench over the unix
// socket report=PATH, whose end it does not outlive; what it reports is in hub.go.
//
//	__serve  listen=unix:PATH|tcp:PORT|fd:N  notify=env|fd:N|file:PATH   answers each connection with one HTTP response
//	__flood  lines=N      writes N numbered lines to its standard output, then lingers
//	__tree                starts a child and a grandchild that left its session, then lingers
//	__spawn               starts __linger in a new session and exits
//	__stats  tasks=N      stats each input and output of the tree of N tasks, below the working directory
//	__copies tasks=N      starts the command of each task of that tree, two at a time, and waits for it
//	__peak   to=FILE -- COMMAND   runs the command and writes the greatest memory that it had, in MB
//	__stack  dir=APP run=DIR      starts the stack of stack_starter.go, and stops it at TERM
//	__linger              ignores TERM and HUP, ends by itself after a while
const helperPrefix = "__"

// helperLife bounds the life of any helper, whatever becomes of the bench.
const helperLife = 15 * time.Minute

// settings are the arguments of a helper.
type settings map[string]string

func helper(mode string, args []string) int {
	s := settings{}
	for i, a := range args {
		if a == "--" {
			return under(s, args[i+1:])
		}
		k, v, _ := strings.Cut(a, "=")
		s[k] = v
	}
	time.AfterFunc(helperLife, func() { os.Exit(9) })
	var err error
	switch mode {
	case "__serve":
		err = serve(s)
	case "__flood":
		err = flood(s)
	case "__tree":
		err = tree(s)
	case "__spawn":
		err = spawn(s)
	case "__linger":
		err = linger(s)
	case "__stats":
		err = stats(s)
	case "__copies":
		err = copies(s)
	case "__stack":
		err = stackUp(s)
	default:
		err = fmt.Errorf("got mode %q of a helper", mode)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, s["name"], err)
		return 1
	}
	return 0
}

// tell reports one event; the connection stays open as long as the process lives.
func (s settings) tell(kind string) error {
	c, err := net.Dial("unix", s["report"])
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c, "%s %s %d %d\n", kind, s["name"], os.Getpid(), time.Now().UnixNano()); err != nil {
		return err
	}
	go func() { // the bench is gone: so are we
		_, _ = io.Copy(io.Discard, c)
		os.Exit(8)
	}()
	return nil
}

func serve(s settings) error {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	l, err := listen(s["listen"])
	if err != nil {
		return err
	}
	if err := s.tell("up"); err != nil {
		return err
	}
	if err := notify(s["notify"]); err != nil {
		return err
	}
	go func() {
		<-term
		_ = l.Close()
	}()
	var open sync.WaitGroup
	for {
		c, err := l.Accept()
		if err != nil {
			open.Wait() // every accepted request is answered
			return nil
		}
		open.Go(func() { answer(c) })
	}
}

// listen opens what a server listens on. A port that is still taken is tried again for a while: the former instance may
// not be gone.
func listen(where string) (net.Listener, error) {
	kind, at, _ := strings.Cut(where, ":")
	switch kind {
	case "unix":
		_ = os.Remove(at)
		l, err := net.Listen("unix", at)
		if err == nil {
			l.(*net.UnixListener).SetUnlinkOnClose(false)
		}
		return l, err
	case "fd":
		n, err := strconv.Atoi(at)
		if err != nil {
			return nil, err
		}
		return net.FileListener(os.NewFile(uintptr(n), "socket"))
	}
	var l net.Listener
	var err error
	for end := time.Now().Add(2 * time.Second); ; {
		l, err = net.Listen("tcp", "127.0.0.1:"+at)
		if err == nil || time.Now().After(end) {
			return l, err
		}
		time.Sleep(time.Millisecond)
	}
}

func answer(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if strings.TrimSpace(line) == "" {
			break
		}
	}
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
}

// notify says "ready" the way the manager asks for: sd_notify, s6's newline on a descriptor, or a file.
func notify(how string) error {
	kind, at, _ := strings.Cut(how, ":")
	switch kind {
	case "env":
		name := os.Getenv("NOTIFY_SOCKET")
		if strings.HasPrefix(name, "@") {
			name = "\x00" + name[1:]
		}
		c, err := net.Dial("unixgram", name)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = io.WriteString(c, "READY=1")
		return err
	case "fd":
		n, err := strconv.Atoi(at)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(n), "ready")
		if _, err := io.WriteString(f, "\n"); err != nil {
			return err
		}
		return f.Close()
	case "file":
		return os.WriteFile(at, nil, 0o644)
	}
	return nil
}

// lineMark begins, and lineEnd ends, every line of a flood; between them are nine digits and filling, 100 bytes in all.
const (
	lineMark = "bench-line "
	lineEnd  = " end\n"
)

func flood(s settings) error {
	n, err := strconv.Atoi(s["lines"])
	if err != nil {
		return err
	}
	if err := s.tell("begin"); err != nil {
		return err
	}
	fill := strings.Repeat(".", 100-len(lineMark)-9-1-len(lineEnd))
	w := bufio.NewWriterSize(os.Stdout, 32<<10)
	for i := 1; i <= n; i++ {
		fmt.Fprintf(w, "%s%09d %s%s", lineMark, i, fill, lineEnd)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := s.tell("end"); err != nil {
		return err
	}
	select {}
}

func tree(s settings) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, mode := range []string{"__linger", "__spawn"} {
		c := exec.Command(self, mode, "report="+s["report"], "name="+strings.TrimPrefix(mode, helperPrefix))
		if err := c.Start(); err != nil {
			return err
		}
		if mode == "__spawn" {
			if err := c.Wait(); err != nil {
				return err
			}
		}
	}
	if err := s.tell("up"); err != nil {
		return err
	}
	select {}
}

func spawn(s settings) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := exec.Command(self, "__linger", "report="+s["report"], "name=grandchild")
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return c.Start()
}

func linger(s settings) error {
	signal.Ignore(syscall.SIGTERM, syscall.SIGHUP)
	if err := s.tell("up"); err != nil {
		return err
	}
	select {}
}
