package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"orrery/runtime/proc"
)

// sweepTime bounds the killing of what is left at the end.
const sweepTime = 30 * time.Second

// Main is the body of the hidden verb: it reads what [Start] wrote, becomes the parent of everything below it, and keeps an
// engine running until one ends with code 0. It gives the exit code: 1 when it gave up. It takes over the whole process: its
// standard input, descriptor 3, and its signals. HUP, INT and the like do nothing to it; TERM it passes on to the engine,
// which is to stop everything and to end.
func Main() int {
	// Swallowed rather than ignored: children would inherit that.
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGPIPE, unix.SIGALRM, unix.SIGUSR1, unix.SIGUSR2)
	runtime.GOMAXPROCS(min(2, runtime.NumCPU()))
	debug.SetGCPercent(25)
	k := &keeper{
		log: log.New(os.Stderr, "keeper: ", log.LstdFlags|log.Lmsgprefix), answer: os.NewFile(FD, "answer"),
		table: map[string]*entry{}, items: map[string]*item{}, term: make(chan struct{}),
	}
	if err := k.open(); err != nil {
		k.log.Print(err)
		return 1
	}
	defer k.hangUp()
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, unix.SIGTERM)
	go func() {
		for range terms {
			k.end()
		}
	}()
	go k.reaper.Run(context.Background())
	return k.tend()
}

// keeper is the whole of it. There is one in a process.
type keeper struct {
	orders Orders
	log    *log.Logger
	reaper proc.Reaper
	term   chan struct{} // closed once we were asked to end

	mu      sync.Mutex
	answer  *os.File          // to the starter, until it was answered
	table   map[string]*entry // processes
	items   map[string]*item
	bytes   int64    // of the items
	started int      // processes, ever
	now     *session // of the engine that knows the state; nil: none
	program *os.File // a newer binary; nil: our own
	ever    bool     // some engine has served
	engine  *proc.Process

	starting sync.WaitGroup // processes being started
}

// open reads the orders and makes this process what it has to be.
func (k *keeper) open() error {
	if err := json.NewDecoder(os.Stdin).Decode(&k.orders); err != nil {
		return fmt.Errorf("cannot read the orders: %w", err)
	}
	if k.orders.Grace <= 0 {
		k.orders.Grace = defaultGrace
	}
	if null, err := os.Open(os.DevNull); err == nil {
		unix.Dup3(int(null.Fd()), 0, 0)
		null.Close()
	}
	unix.CloseOnExec(FD)
	if err := proc.Subreaper(); err != nil {
		return fmt.Errorf("cannot become the parent of orphans: %w", err)
	}
	return nil
}

// tend keeps an engine running, and gives our exit code.
func (k *keeper) tend() int {
	var past deaths
	for n := 0; ; n++ {
		x := k.life(n)
		f := past.next(x, time.Now())
		switch {
		case f.leave:
			if f.why != "" {
				k.log.Printf("%s (%s)", f.why, x.exit)
			}
			return max(f.code, k.sweep())
		case f.giveUp:
			k.log.Printf("%s (%s): giving up, everything is stopped", f.why, x.exit)
			k.stopAll()
			k.sweep()
			return 1
		}
		k.log.Printf("the engine ended: %s; starting it again after %v, %d processes are kept", x.exit, f.wait, k.count())
		select {
		case <-time.After(f.wait):
		case <-k.term:
			k.log.Print("asked to end while there is no engine: everything is stopped")
			k.stopAll()
			return max(1, k.sweep())
		}
	}
}

// life is that of one engine, from its start to its death.
func (k *keeper) life(n int) death {
	begin := time.Now()
	s, err := k.start(n)
	if err != nil {
		k.log.Printf("cannot start the engine: %v", err)
		starved := errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)
		return death{exit: proc.Exit{Code: -1, Err: err}, ever: k.ever, starved: starved}
	}
	exit := s.engine.Wait()
	// Whatever else still holds the other end: what the engine has sent is read to the end, nothing after it, and
	// nobody is answered.
	s.c.u.SetWriteDeadline(time.Unix(1, 0))
	s.c.u.CloseRead()
	<-s.ended
	s.c.u.Close()
	s.engine.Close()

	k.mu.Lock()
	defer k.mu.Unlock()
	k.now, k.engine = nil, nil
	ending := false
	select {
	case <-k.term:
		ending = true
	default:
	}
	if k.program != nil && !s.served && !s.replaced {
		k.log.Print("the new binary did not serve: back to the one before")
		k.program.Close()
		k.program = nil
	}
	return death{exit: exit, lived: time.Since(begin), served: s.served, refused: s.refused, ever: k.ever, ending: ending, replaced: s.replaced}
}

// start starts an engine and serves it.
func (k *keeper) start(n int) (*session, error) {
	c, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	stdin, err := memory("orders", k.orders.Stdin)
	if err != nil {
		c.u.Close()
		return nil, err
	}
	defer stdin.Close()
	exe := "/proc/self/exe"
	if k.program != nil {
		exe = "/proc/" + strconv.Itoa(os.Getpid()) + "/fd/" + strconv.Itoa(int(k.program.Fd()))
	}
	p, err := proc.Start(&proc.Spec{
		Name: "engine", Argv: append([]string{exe}, k.orders.Args...), Argv0: "orrery", Env: os.Environ(),
		Stdin: stdin, Stdout: os.Stdout, Stderr: os.Stderr, ReadyFile: theirs, ReadyFD: FD, Reaper: &k.reaper,
	})
	if err != nil {
		c.u.Close()
		return nil, err
	}
	s := &session{k: k, c: c, engine: p, starts: n, ended: make(chan struct{}), slots: make(chan struct{}, maxRunning)}
	k.mu.Lock()
	k.engine = p
	k.mu.Unlock()
	select {
	case <-k.term: // it came before there was somebody to tell
		p.Signal(unix.SIGTERM)
	default:
	}
	go s.serve()
	return s, nil
}

// end asks the engine to stop everything.
func (k *keeper) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.term:
	default:
		close(k.term)
	}
	if k.engine != nil {
		k.engine.Signal(unix.SIGTERM)
	}
}

// reply answers the starter, once.
func (k *keeper) reply(kind byte, verdict []byte) {
	k.mu.Lock()
	w := k.answer
	k.answer = nil
	k.mu.Unlock()
	if w == nil {
		return
	}
	go func() { // it may be stopped, or gone
		w.Write(append([]byte{kind}, verdict...))
		w.Close()
	}()
}

// hangUp tells a starter that still waits that nothing will come.
func (k *keeper) hangUp() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.answer != nil {
		k.answer.Close()
	}
}

// processes are all that were started, in that order.
func (k *keeper) processes() []*entry {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ordered()
}

func (k *keeper) ordered() []*entry {
	var es []*entry
	for _, e := range k.table {
		if e.p != nil {
			es = append(es, e)
		}
	}
	slices.SortFunc(es, func(a, b *entry) int { return a.order - b.order })
	return es
}

// count is how many processes run.
func (k *keeper) count() int {
	n := 0
	for _, e := range k.processes() {
		select {
		case <-e.ended:
		default:
			n++
		}
	}
	return n
}

// stopAll stops every process at once, with SIGTERM and time to follow it. (An order is the engine's to know.)
func (k *keeper) stopAll() {
	k.starting.Wait()
	deadline := time.After(k.orders.Grace)
	es := k.processes()
	for _, e := range es {
		e.p.SignalGroup(unix.SIGTERM)
		e.p.SignalGroup(unix.SIGCONT)
	}
	for _, e := range es {
		select {
		case <-e.ended:
		case <-deadline:
			return
		}
	}
}

// sweep kills everything below us, and gives our exit code.
func (k *keeper) sweep() int {
	k.starting.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), sweepTime)
	defer cancel()
	if n := k.count(); n > 0 {
		k.log.Printf("killing %d processes that still run", n)
	}
	var mu sync.Mutex
	var failed error
	var wg sync.WaitGroup
	for _, e := range k.processes() {
		wg.Go(func() {
			err := e.p.KillTree(ctx)
			e.p.Close()
			mu.Lock()
			defer mu.Unlock()
			failed = errors.Join(failed, err)
		})
	}
	wg.Wait()
	if err := errors.Join(failed, proc.KillDescendants(ctx)); err != nil {
		k.log.Print(err)
		return 1
	}
	return 0
}

// hushed is a reader's end that says nothing about a closed connection.
func hushed(err error) bool {
	return err == nil || errors.Is(err, io.EOF) || errors.Is(err, os.ErrClosed)
}
