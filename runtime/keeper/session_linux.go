package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"orrery/runtime/proc"
)

// entry is one process. Its fields but exit and at are set before it gets visible in the table with a p.
type entry struct {
	key    string
	order  int
	name   string
	marker string
	cgroup string
	p      *proc.Process // nil: it is being started
	exit   proc.Exit     // set before ended is closed
	at     time.Time
	ended  chan struct{}
}

// wire describes it.
func (e *entry) wire() *procWire {
	w := &procWire{ID: e.p.Identity(), Name: e.name, Marker: e.marker, Cgroup: e.cgroup}
	select {
	case <-e.ended:
		w.Exit, w.Ended = &e.exit, e.at
	default:
	}
	return w
}

// files are what goes with it: our end of its terminal.
func (e *entry) files() []int {
	if e.p.TTY() == nil {
		return nil
	}
	fds, _ := numbers([]*os.File{e.p.TTY()})
	return fds
}

// item is what an engine put: its blob here or in a file without a name, and its descriptors, as bare numbers: in a
// file of Go they would wake us whenever something is written to them.
type item struct {
	blob   []byte
	memory int
	big    int64
	files  []int
}

func (i *item) close() {
	closeAll(i.files)
	if i.memory >= 0 {
		unix.Close(i.memory)
	}
}

func (i *item) size() int64 { return int64(len(i.blob)) + i.big }

// session is what we have with one engine.
type session struct {
	k      *keeper
	c      *conn
	engine *proc.Process
	starts int // how many engines there were before
	ended  chan struct{}
	slots  chan struct{} // one for each request that is being carried out beside the others

	known    bool // it has asked for the state; only its reader uses this
	served   bool // these three under k.mu
	refused  bool
	replaced bool
}

// serve reads requests until the engine has none to make any more. One that breaks the rules is killed; one that hangs up
// and does not end, too, after a while.
func (s *session) serve() {
	defer close(s.ended)
	for {
		f, err := s.c.receive()
		if err == nil {
			err = s.handle(f)
		}
		if err == nil {
			continue
		}
		if hushed(err) {
			t := time.AfterFunc(s.k.orders.Grace, func() { s.engine.Signal(unix.SIGKILL) })
			s.engine.Wait()
			t.Stop()
			return
		}
		s.k.log.Printf("the engine is killed: %v", err)
		s.engine.Signal(unix.SIGKILL)
		s.engine.Wait()
		return
	}
}

// handle carries out one request. An error is for what cannot come from an engine that works.
func (s *session) handle(f *frame) (err error) {
	defer f.close()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %q: %v\n%s", errMalformed, f.Op, r, debug.Stack())
		}
	}()
	if !s.known && f.Op != opHello || s.known && f.Op == opHello {
		return fmt.Errorf("%w: got %q, want hello once and first", errMalformed, f.Op)
	}
	if f.short {
		return s.answer(f, packet(head{}), unix.EMFILE)
	}
	switch f.Op {
	case opHello:
		return s.hello(f)
	case opSpawn:
		return s.spawn(f)
	case opKill:
		return s.kill(f)
	case opSignal:
		return s.answer(f, packet(head{}), s.signal(f))
	case opForget:
		return s.answer(f, packet(head{}), s.k.forget(f.Key))
	case opMeans:
		text, err := s.k.means(f.Key)
		return s.answer(f, packet(head{Text: text}), err)
	case opPut:
		return s.answer(f, packet(head{}), s.k.put(f))
	case opDelete:
		return s.answer(f, packet(head{}), s.k.remove(f.Key))
	case opServing, opRefuse:
		return s.verdict(f)
	case opReplace:
		return s.answer(f, packet(head{}), s.replace(f))
	}
	return s.answer(f, packet(head{}), fmt.Errorf("this keeper does not know the request %q: it is older than the engine", f.Op))
}

// answer answers a request.
func (s *session) answer(to, with *frame, err error) error {
	with.Op, with.ID, with.Err = opAnswer, to.ID, errorOf(err)
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.tell(with)
	return nil
}

// tell sends a packet while s.c.mu is held. An engine that cannot be told something would wait for it for ever: it is
// killed, and the next one is told all. That it is gone already is no news: the reader sees it.
func (s *session) tell(f *frame) {
	err := s.c.sendLocked(f)
	for wait := time.Millisecond; wait < 4*time.Second && (errors.Is(err, unix.ETOOMANYREFS) || errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM)); wait *= 2 {
		time.Sleep(wait) // descriptors on their way are counted per user: until the engine has read some
		err = s.c.sendLocked(f)
	}
	switch {
	case err == nil, errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET), errors.Is(err, os.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
	default:
		s.k.log.Printf("the engine is killed: it cannot be told something: %v", err)
		s.engine.Signal(unix.SIGKILL)
	}
}

// beside carries out what may take long without holding up the others.
func (s *session) beside(f *frame, do func()) bool {
	select {
	case s.slots <- struct{}{}:
	default:
		s.answer(f, packet(head{}), fmt.Errorf("%d requests are being carried out: %w", maxRunning, unix.EAGAIN))
		return false
	}
	go func() {
		defer func() { <-s.slots }()
		do()
	}()
	return true
}

// hello tells the state. Nothing is left to do for the engine before: its requests were read to the end, and what it had
// started is waited for.
func (s *session) hello(f *frame) error {
	if f.Hello == nil {
		return fmt.Errorf("%w: a hello without a version", errMalformed)
	}
	s.k.starting.Wait()
	s.known = true
	// Until all is said no notice of an end can get in between; whoever ends meanwhile is told of after it.
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	say := func(with *frame) {
		with.Op, with.ID = opAnswer, f.ID
		s.tell(with)
	}
	k := s.k
	k.mu.Lock()
	k.now = s
	var all []*frame
	for key, i := range k.items {
		all = append(all, &frame{head: head{Key: key, Item: true, Big: i.big, More: true}, payload: i.blob, memory: i.memory, files: i.files})
	}
	for _, e := range k.ordered() {
		all = append(all, packet(head{Key: e.key, Proc: e.wire(), More: true}, e.files()...))
	}
	k.mu.Unlock()
	for _, with := range all {
		say(with)
	}
	say(packet(head{Hello: &helloWire{Version: version, Run: k.orders.Run, Starts: s.starts, Inherit: true}}))
	return nil
}

// spawn reserves the key at once, and starts the process beside the other requests.
func (s *session) spawn(f *frame) error {
	b, err := f.bytes()
	if err != nil {
		return s.answer(f, packet(head{}), err)
	}
	var w specWire
	if err := json.Unmarshal(b, &w); err != nil || w.files() != len(f.files) || checkKey(f.Key) != nil {
		return fmt.Errorf("%w: a spawn of %.300q with %d descriptors", errMalformed, f.Key, len(f.files))
	}
	e := &entry{key: f.Key, name: string(w.Name), marker: string(w.Marker), cgroup: string(w.Cgroup), ended: make(chan struct{})}
	if err := s.k.reserve(e); err != nil {
		return s.answer(f, packet(head{}), err)
	}
	fds := f.files
	f.files = nil
	ok := s.beside(f, func() {
		files := filesOf(fds, "passed on")
		spec := w.spec(files)
		spec.Reaper = &s.k.reaper
		p, err := launch(spec)
		for _, file := range files {
			file.Close()
		}
		s.k.record(e, p, err)
		if err != nil {
			s.answer(f, packet(head{}), err)
			return
		}
		answered := make(chan struct{})
		go s.k.watch(e, answered)
		s.answer(f, packet(head{Proc: e.wire()}, e.files()...), nil)
		close(answered)
	})
	if !ok {
		closeAll(fds)
		s.k.record(e, nil, unix.EAGAIN)
	}
	return nil
}

// launch is proc.Start, of which no spec, however odd, may end the keeper.
func launch(s *proc.Spec) (p *proc.Process, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &proc.StartError{Op: "run", Path: s.Name, Err: fmt.Errorf("the keeper could not: %v", r)}
		}
	}()
	return proc.Start(s)
}

// reserve takes the key of e.
func (k *keeper) reserve(e *entry) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.table[e.key] != nil {
		return fmt.Errorf("cannot start %q: %w", e.key, ErrKey)
	}
	if len(k.table) >= maxProcesses {
		return fmt.Errorf("cannot start %q: %d processes are kept already: %w", e.key, len(k.table), unix.EAGAIN)
	}
	k.table[e.key] = e
	k.started++
	e.order = k.started
	k.starting.Add(1)
	return nil
}

// record says how the start of e went.
func (k *keeper) record(e *entry, p *proc.Process, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		delete(k.table, e.key)
	} else {
		e.p = p
	}
	k.starting.Done()
}

// watch waits for the end of e, keeps its status, and tells the engine that is there then, after the answer to its start.
func (k *keeper) watch(e *entry, answered chan struct{}) {
	exit := e.p.Wait()
	k.mu.Lock()
	e.exit, e.at = exit, time.Now()
	close(e.ended)
	now := k.now
	k.mu.Unlock()
	<-answered
	if now != nil {
		now.c.mu.Lock()
		defer now.c.mu.Unlock()
		now.tell(packet(head{Op: opExit, Key: e.key, Proc: &procWire{Exit: &exit, Ended: e.at}}))
	}
}

// find gives the process of a key, once it runs.
func (k *keeper) find(key string) (*entry, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.table[key]
	if e == nil || e.p == nil {
		return nil, os.ErrProcessDone
	}
	return e, nil
}

func (s *session) signal(f *frame) error {
	e, err := s.k.find(f.Key)
	if err != nil {
		return err
	}
	if f.Group {
		return e.p.SignalGroup(unix.Signal(f.Sig))
	}
	return e.p.Signal(unix.Signal(f.Sig))
}

// kill kills a tree, beside the other requests, for as long as the engine is ready to wait.
func (s *session) kill(f *frame) error {
	e, err := s.k.find(f.Key)
	if err != nil {
		return s.answer(f, packet(head{}), nil) // closed: nothing is left
	}
	s.beside(f, func() {
		ctx, cancel := context.WithTimeout(context.Background(), f.Wait)
		defer cancel()
		s.answer(f, packet(head{}), e.p.KillTree(ctx))
	})
	return nil
}

// forget gives a key free; its process must have ended.
func (k *keeper) forget(key string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.table[key]
	if e == nil {
		return nil
	}
	select {
	case <-e.ended:
	default:
		return fmt.Errorf("cannot close %q: it still runs: %w", key, unix.EBUSY)
	}
	delete(k.table, key)
	if e.p.TTY() != nil {
		e.p.TTY().Close()
	}
	e.p.Close()
	return nil
}

// means says by what a tree is found, that of a process or that of any.
func (k *keeper) means(key string) (string, error) {
	if key != "" {
		e, err := k.find(key)
		if err != nil {
			return "", err
		}
		return e.p.Means(), nil
	}
	if dir, err := proc.Cgroup(k.orders.Run + "-doctor"); err == nil {
		os.Remove(dir)
		return "cgroup", nil
	}
	return "subreaper", nil
}

// put keeps an item in place of the one that is there.
func (k *keeper) put(f *frame) error {
	i := &item{blob: f.payload, memory: f.memory, big: f.Big, files: f.files}
	k.mu.Lock()
	defer k.mu.Unlock()
	size := k.bytes + i.size()
	old := k.items[f.Key]
	if old != nil {
		size -= old.size()
	}
	switch {
	case checkKey(f.Key) != nil:
		return checkKey(f.Key)
	case old == nil && len(k.items) >= maxItems:
		return fmt.Errorf("cannot keep %q: %d items are kept already: %w", f.Key, len(k.items), unix.ENOSPC)
	case size > maxBytes:
		return fmt.Errorf("cannot keep %q: got %d bytes together with the other items, want at most %d: %w", f.Key, size, int64(maxBytes), unix.ENOSPC)
	}
	if old != nil {
		old.close()
	}
	f.memory, f.files = -1, nil
	k.items[f.Key], k.bytes = i, size
	return nil
}

// remove drops an item. One that is not there is none.
func (k *keeper) remove(key string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if i := k.items[key]; i != nil {
		i.close()
		k.bytes -= i.size()
		delete(k.items, key)
	}
	return nil
}

// verdict passes on to the starter what the engine says of its start.
func (s *session) verdict(f *frame) error {
	text, err := f.bytes()
	if err != nil {
		return s.answer(f, packet(head{}), err)
	}
	kind := byte(served)
	s.k.mu.Lock()
	if f.Op == opServing {
		s.served, s.k.ever = true, true
	} else {
		s.refused, kind = true, refused
	}
	s.k.mu.Unlock()
	if kind == refused {
		s.k.log.Printf("the engine refuses to start: %.4000s", text)
	}
	s.k.reply(kind, text)
	return s.answer(f, packet(head{}), nil)
}

// replace takes a newer binary for the engines to come.
func (s *session) replace(f *frame) error {
	if len(f.files) != 1 {
		return errors.New("got no binary, want one")
	}
	s.k.mu.Lock()
	defer s.k.mu.Unlock()
	if s.k.program != nil {
		s.k.program.Close()
	}
	s.k.program, s.replaced = filesOf(f.files, "engine")[0], true
	f.files = nil
	return nil
}
