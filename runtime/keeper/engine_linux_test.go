package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"orrery/runtime/proc"
)

// TestMain makes the test binary the keeper, the shim, and the programs that the tests need.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case proc.Verb:
			os.Exit(proc.Shim(os.Args[2:]))
		case Verb:
			os.Exit(Main())
		case "fake-engine":
			os.Exit(fakeEngine())
		case "echo-server":
			os.Exit(echoServer())
		}
	}
	os.Exit(m.Run())
}

// fakeOrders are what a fake engine reads on its standard input.
type fakeOrders struct {
	Sock   string // where it takes requests
	Mode   string // what it does by itself
	Report string // a file for what is wrong
}

// fake is an engine that does what a test asks it to, over a socket that the keeper holds for it.
type fake struct {
	c      *Client
	o      fakeOrders
	procs  map[string]*Process
	items  map[string]Item
	busy   chan struct{} // held by who uses the maps
	report *os.File
}

// ask is a request of a test, reply the answer.
type ask struct {
	Op, Key string
	Argv    []string
	Item    string // whose descriptors a process is to listen on
	N       int
	Blob    []byte
}

type reply struct {
	Err    string
	Errno  syscall.Errno
	Taken  bool
	Start  *proc.StartError
	Pid    int
	Parent int
	Starts int
	Fds    int
	Exe    string
	Run    string
	Exit   *proc.Exit
	Text   string
	Blob   []byte
	Procs  map[string]int // key -> pid
}

func fakeEngine() int {
	log.SetPrefix("fake engine: ")
	var o fakeOrders
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		log.Print(err)
		return 2
	}
	c, state, err := Connect(os.NewFile(FD, "keeper"))
	if err != nil {
		log.Print(err)
		return 2
	}
	switch {
	case o.Mode == "refuse":
		c.Refuse([]byte("no, \xff not now"))
		return 3
	case o.Mode == "early":
		return 4
	case o.Mode == "crash" && c.Starts() > 0:
		return 5
	case o.Mode == "orphan": // hangs up, and does not end
		c.Serving(nil)
		c.Close()
		select {}
	}
	e := &fake{c: c, o: o, procs: map[string]*Process{}, items: map[string]Item{}, busy: make(chan struct{}, 1)}
	if o.Report != "" {
		if e.report, err = os.OpenFile(o.Report, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
			log.Print(err)
			return 2
		}
	}
	for _, p := range state.Processes {
		e.procs[p.Key()] = p
	}
	for _, i := range state.Items {
		e.items[i.Key] = i
	}
	return e.serve()
}

func (e *fake) serve() int {
	var l net.Listener
	var err error
	if i, ok := e.items["control"]; ok {
		l, err = net.FileListener(i.Files[0])
	} else if l, err = net.Listen("unix", e.o.Sock); err == nil {
		var f *os.File
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		if f, err = l.(*net.UnixListener).File(); err == nil {
			err = e.c.Put("control", nil, f)
			f.Close()
		}
	}
	if err != nil {
		log.Print(err)
		return 2
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go e.client(c)
		}
	}()
	if err := e.c.Serving([]byte("serves \x00\xff")); err != nil {
		log.Print(err)
		return 2
	}
	if e.o.Mode == "churn" {
		go e.churn()
	}
	select {
	case <-term:
		e.c.Close()
		return 0
	case <-e.c.Lost():
		begin := time.Now()
		n, err := e.c.Sweep(context.Background())
		e.say("swept %d %v %v", n, time.Since(begin), err)
		return 6
	}
}

func (e *fake) say(format string, args ...any) {
	if e.report != nil {
		fmt.Fprintf(e.report, format+"\n", args...)
	}
}

func (e *fake) client(c net.Conn) {
	defer c.Close()
	var a ask
	if json.NewDecoder(c).Decode(&a) != nil {
		return
	}
	var r reply
	if err := e.do(a, &r); err != nil {
		r.Err = err.Error()
		r.Taken = errors.Is(err, ErrKey)
		errors.As(err, &r.Errno)
		errors.As(err, &r.Start)
	}
	json.NewEncoder(c).Encode(r)
}

func (e *fake) do(a ask, r *reply) error {
	e.busy <- struct{}{}
	p, item, listen := e.procs[a.Key], e.items[a.Key], e.items[a.Item]
	<-e.busy
	if p == nil { // one that the keeper does not know
		p = &Process{c: e.c, key: a.Key, ended: make(chan struct{})}
		p.end(proc.Exit{Err: errors.New("unknown")}, time.Now())
	}
	switch a.Op {
	case "who":
		ents, _ := os.ReadDir("/proc/self/fd")
		r.Pid, r.Parent, r.Starts, r.Fds, r.Run = os.Getpid(), os.Getppid(), e.c.Starts(), len(ents), e.c.Run()
		r.Exe, _ = os.Readlink("/proc/self/exe")
		return nil
	case "spawn":
		s := e.spec(a.Key, a.Argv...)
		for _, f := range listen.Files {
			s.Listen = append(s.Listen, proc.Listener{Name: a.Item, File: f})
		}
		return e.spawn(a.Key, s, r)
	case "tty":
		s := e.spec(a.Key, a.Argv...)
		s.TTY = true
		return e.spawn(a.Key, s, r)
	case "readtty":
		b := make([]byte, 100)
		n, err := p.TTY().Read(b)
		r.Text = string(b[:n])
		return err
	case "signal":
		return p.SignalGroup(syscall.Signal(a.N))
	case "wait":
		x := p.Wait()
		if x.Err == nil {
			r.Exit = &x
		}
		return x.Err
	case "kill":
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		return p.KillTree(ctx)
	case "close":
		err := p.Close()
		if err == nil {
			e.busy <- struct{}{}
			delete(e.procs, a.Key)
			<-e.busy
		}
		return err
	case "means":
		var err error
		r.Text, err = e.c.Means()
		return err
	case "list":
		r.Procs = map[string]int{}
		e.busy <- struct{}{}
		for k, p := range e.procs {
			if p.running() {
				r.Procs[k] = p.Pid()
			}
		}
		<-e.busy
		return nil
	case "listen":
		return e.listen(a, r)
	case "put":
		return e.c.Put(a.Key, a.Blob)
	case "putpipes":
		return e.pipes(a.Key, a.N)
	case "get":
		r.Blob, r.Fds = item.Blob, len(item.Files)
		return nil
	case "delete":
		return e.c.Delete(a.Key)
	case "cycle":
		return e.cycle(a.N)
	case "raw":
		_, err := e.c.c.u.Write(a.Blob)
		return err
	case "odd": // packets that are well-formed and wrong
		fds := []int{0, 1, 2}
		return e.c.c.send(&frame{head: head{Op: a.Key, ID: 1 << 40, Key: "odd", Files: 1, Big: int64(a.N)}, memory: -1, payload: a.Blob, files: fds[:a.N%4]})
	case "replace":
		f, err := os.Open(a.Key)
		if err != nil {
			return err
		}
		defer f.Close()
		return e.c.Replace(f)
	case "exit":
		os.Exit(a.N)
	}
	return fmt.Errorf("what is %q", a.Op)
}

func (e *fake) spec(key string, argv ...string) *proc.Spec {
	return &proc.Spec{Name: key, Argv: argv, Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}, Marker: e.c.Run() + "/" + key}
}

func (e *fake) spawn(key string, s *proc.Spec, r *reply) error {
	p, err := e.c.Spawn(key, s)
	if err != nil {
		return err
	}
	e.busy <- struct{}{}
	e.procs[key] = p
	<-e.busy
	r.Pid = p.Pid()
	return nil
}

// listen opens a TCP socket that the keeper holds.
func (e *fake) listen(a ask, r *reply) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	e.busy <- struct{}{}
	e.items[a.Key] = Item{Key: a.Key, Files: []*os.File{f}}
	<-e.busy
	r.Text = l.Addr().String()
	return e.c.Put(a.Key, []byte(r.Text), f)
}

// pipes puts n descriptors.
func (e *fake) pipes(key string, n int) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	defer w.Close()
	files := make([]*os.File, n)
	for i := range files {
		files[i] = []*os.File{r, w}[i%2]
	}
	return e.c.Put(key, []byte("pipes"), files...)
}

// cycle starts, ends and puts n times; some cannot be started.
func (e *fake) cycle(n int) error {
	for i := range n {
		key := fmt.Sprint("cycle#", i)
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		s := e.spec(key, "true")
		s.Stdout, s.Stderr, s.ReadyFile = w, w, w
		if i%10 == 0 {
			s.Argv[0] = "not-a-program"
		}
		p, err := e.c.Spawn(key, s)
		w.Close()
		var se *proc.StartError
		switch {
		case i%10 == 0 && (!errors.As(err, &se) || se.Op != "find"):
			return fmt.Errorf("got %v, want that the program cannot be found", err)
		case i%10 != 0 && err != nil:
			return err
		case err == nil:
			if x := p.Wait(); !x.Ok() {
				return fmt.Errorf("cycle %d: %s", i, x)
			}
			if i%8 == 1 {
				err = p.KillTree(context.Background())
			}
			if err = errors.Join(err, p.Close()); err != nil {
				return err
			}
		}
		r.Close()
		if err := e.pipes(fmt.Sprint("item", i%7), i%20); err != nil {
			return err
		}
		if err := e.c.Put("big", make([]byte, maxInline+i)); err != nil {
			return err
		}
		if i%3 == 0 {
			if err := e.c.Delete(fmt.Sprint("item", i%5)); err != nil {
				return err
			}
		}
	}
	for _, key := range []string{"item0", "item1", "item2", "item3", "item4", "item5", "item6", "big"} {
		if err := e.c.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// echoServer answers "pong" to each connection of descriptor 3.
func echoServer() int {
	l, err := net.FileListener(os.NewFile(3, "listen"))
	if err != nil || os.Getenv("LISTEN_FDS") != "1" || os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return 9
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return 8
		}
		go func() {
			defer c.Close()
			b := make([]byte, 5)
			if _, err := io.ReadFull(c, b); err == nil {
				c.Write([]byte("pong " + string(b)))
			}
		}()
	}
}

// house is a keeper with a fake engine below it, as a test sees it.
type house struct {
	t      *testing.T
	dir    string
	run    string
	keeper int
	log    string
	o      fakeOrders
}

// open starts one.
func open(t *testing.T, mode string) *house {
	t.Helper()
	h, o := plan(t, mode)
	verdict, err := Start(context.Background(), o)
	if err != nil || string(verdict) != "serves \x00\xff" {
		b, _ := os.ReadFile(h.log)
		t.Fatalf("got %q, %v\n%s", verdict, err, b)
	}
	h.keeper = h.ask(ask{Op: "who"}).Parent
	t.Cleanup(func() {
		unix.Kill(h.keeper, unix.SIGTERM)
		h.gone()
		if n, err := proc.Sweep(context.Background(), h.run); n > 0 || err != nil {
			t.Errorf("%d processes were left behind (%v)", n, err)
		}
		if t.Failed() {
			b, _ := os.ReadFile(h.log)
			t.Logf("the log:\n%.4000s", b)
		}
	})
	return h
}

func plan(t *testing.T, mode string) (*house, Orders) {
	dir, err := os.MkdirTemp("", "o")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &house{t: t, dir: dir, log: filepath.Join(dir, "log"), run: fmt.Sprintf("k%d-%d", os.Getpid(), time.Now().UnixNano())}
	h.o = fakeOrders{Sock: filepath.Join(dir, "s"), Mode: mode, Report: filepath.Join(dir, "report")}
	in, _ := json.Marshal(h.o)
	return h, Orders{Args: []string{"fake-engine"}, Stdin: in, Dir: dir, Log: h.log, Run: h.run, Grace: 5 * time.Second}
}

// try makes a request; false: the engine died of it, or before it.
func (h *house) try(a ask) (reply, bool) {
	h.t.Helper()
	c, err := net.Dial("unix", h.o.Sock)
	if err != nil {
		h.t.Errorf("the control socket is held by the keeper, and yet: %v", err)
		return reply{}, false
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	json.NewEncoder(c).Encode(a)
	var r reply
	if err := json.NewDecoder(c).Decode(&r); err != nil {
		return reply{}, false
	}
	return r, true
}

// ask makes a request that must succeed, again if the engine is killed meanwhile.
func (h *house) ask(a ask) reply {
	h.t.Helper()
	for range 100 {
		if r, ok := h.try(a); ok {
			if r.Err != "" {
				h.t.Fatalf("%s %s: %s", a.Op, a.Key, r.Err)
			}
			return r
		}
		if h.t.Failed() {
			break
		}
	}
	h.t.Fatalf("no engine answers %q", a.Op)
	return reply{}
}

// fail makes a request that must fail.
func (h *house) fail(a ask) reply {
	h.t.Helper()
	r, ok := h.try(a)
	if !ok || r.Err == "" {
		h.t.Fatalf("%s %s: it must fail; answered %v", a.Op, a.Key, ok)
	}
	return r
}

// kill kills the engine, and waits for the next one.
func (h *house) kill() {
	h.t.Helper()
	before := h.ask(ask{Op: "who"})
	unix.Kill(before.Pid, unix.SIGKILL)
	h.next(before)
}

// next waits for an engine after that one.
func (h *house) next(before reply) reply {
	h.t.Helper()
	var now reply
	until(h.t, "the next engine", func() bool {
		now = h.ask(ask{Op: "who"})
		return now.Starts > before.Starts
	})
	if now.Parent != h.keeper {
		h.t.Fatalf("the engine has the parent %d, want the keeper %d", now.Parent, h.keeper)
	}
	return now
}

// gone waits for the end of the keeper.
func (h *house) gone() {
	h.t.Helper()
	until(h.t, "the end of the keeper", func() bool { return unix.Kill(h.keeper, 0) != nil })
}

func (h *house) logged(text string) {
	h.t.Helper()
	b, _ := os.ReadFile(h.log)
	if !strings.Contains(string(b), text) {
		h.t.Errorf("the log does not say %q:\n%s", text, b)
	}
}

// until polls for what has no event to wait for.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited a minute in vain for %s", what)
		}
	}
}

// marked are the living processes of a run: key -> pids.
func marked(run string) map[string][]int {
	out := map[string][]int{}
	ents, _ := os.ReadDir("/proc")
	for _, e := range ents {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, _ := os.ReadFile("/proc/" + e.Name() + "/environ")
		for kv := range strings.SplitSeq(string(b), "\x00") {
			if key, ok := strings.CutPrefix(kv, proc.MarkerVar+"="+run+"/"); ok {
				out[key] = append(out[key], pid)
			}
		}
	}
	return out
}

// alive says that a process runs; a zombie that nobody has taken yet does not.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, ok := strings.Cut(string(b), ") ")
	return err == nil && ok && rest[0] != 'Z' && rest[0] != 'X'
}
