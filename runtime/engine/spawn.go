package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"orrery/lang/graph"
	"orrery/runtime/bind"
	"orrery/runtime/logs"
	"orrery/runtime/machine"
	"orrery/runtime/notify"
	"orrery/runtime/probe"
	"orrery/runtime/proc"
)

// launch is what one instance was started with, and must let go of.
type launch struct {
	spec    *proc.Spec
	begun   chan struct{} // closed once it is known whether it was started
	main    int           // the main process, where MAINPID= said another one; else 0
	claimed *proc.Process // the same, to wait for it and to signal it
	access  string        // who may speak for it, where NOTIFYACCESS= said so
	lent    []*os.File    // stored descriptors that it is given
	former  os.FileInfo   // the file that is to say ready, as a former instance left it
	readyR  *os.File      // our end of the readiness descriptor
	tty     *terminal     // our end of its terminal, if it has one
	cursor  logs.Cursor
}

func (l *launch) close() {
	if l.readyR != nil {
		l.readyR.Close() // ends awaitNewline
		l.readyR = nil
	}
	l.tty.close()
	l.disown()
}

// prepare gives services that are about to run their ports, sockets and
// directories; those of a service that a task templates come after that task.
func (e *Engine) prepare(names []string) error {
	if len(names) == 0 {
		return nil
	}
	if err := e.bind.Prepare(names); err != nil {
		return err
	}
	for _, name := range names {
		if e.templated(name) {
			continue
		}
		if err := e.bind.MakeDirs(name); err != nil {
			return err
		}
	}
	return nil
}

// templated reports whether a task fills the state_dir of a service.
func (e *Engine) templated(name string) bool {
	for _, edge := range e.byName[name].out {
		if edge.Field == "template" {
			return true
		}
	}
	return false
}

// spawn starts an instance elsewhere; the answer is EventSpawned or
// EventSpawnFailed.
func (e *Engine) spawn(n *node, id int) {
	in := &instance{id: id, probes: map[machine.Probe]*probe.Runner{}, launch: &launch{begun: make(chan struct{})}}
	n.svc.instances[id] = in
	spec, err := e.specOf(n, in)
	if err != nil {
		e.later(func() { e.spawned(n, in, nil, err) })
		return
	}
	in.launch.spec = spec
	v := e.view(n)
	e.save(n) // first: a successor must know whom the process belongs to
	kept := e.keep.flushed()
	go func() {
		<-kept
		p, err := e.launchOf(v, spec)
		if spec.ReadyFile != nil {
			spec.ReadyFile.Close()
		}
		closeFiles(in.launch.lent)
		now, idle := time.Now(), unlimited(spec.Limits)
		e.post(func() {
			in.started = now
			e.spawned(n, in, p, err)
			if idle != "" && err == nil {
				n.mark(noteMark, idle)
				e.publish(n, n.show.State, idle)
			}
		})
		if err != nil {
			return
		}
		e.rootExited(n, in, v, p.Wait())
	}()
}

// specOf gathers what only the loop may look at: descriptors and policy.
func (e *Engine) specOf(n *node, in *instance) (*proc.Spec, error) {
	s, name := n.def.Service, n.name()
	n.unwatch()
	if err := e.openSockets(n); err != nil {
		return nil, err
	}
	e.opt.Table.Spawning(name)
	spec := &proc.Spec{
		Name: name, Marker: e.marker(n, in.id),
		Limits: limitsOf(s), PidNamespace: s.PidNamespace,
	}
	for _, sock := range e.opt.Table.Sockets(s) {
		spec.Listen = append(spec.Listen, proc.Listener{Name: sock.Name, File: sock.File, Shared: s.Restart.Overlap})
	}
	if s.Watchdog != nil {
		spec.Watchdog = time.Duration(s.Watchdog.Interval)
	}
	if err := e.openCapture(n); err != nil {
		return nil, err
	}
	if o := n.svc.out; o != nil {
		if spec.TTY = s.TTY; !s.TTY {
			spec.Stdout, spec.Stderr = o.stdout, o.stderr
		}
		in.launch.cursor = o.capture.End()
	}
	if wantsNotify(s) {
		if err := e.openNotify(n); err != nil {
			return nil, err
		}
		spec.Notify = n.svc.notify.Path()
	}
	if s.Ready != nil && s.Ready.Kind == "fd" {
		r, w, err := notify.ReadyPipe()
		if err != nil {
			return nil, err
		}
		in.launch.readyR, spec.ReadyFile = r, w
		if err := e.keepReady(n, in); err != nil {
			return nil, err
		}
	}
	in.launch.former = e.formerFile(n)
	e.lend(n, in, spec)
	return spec, nil
}

// launchOf binds what is left of a spec and starts it. It runs outside of the
// loop: looking up tools, secrets and files may take its time.
func (e *Engine) launchOf(v view, spec *proc.Spec) (Process, error) {
	if err := provide(v); err != nil {
		return nil, err
	}
	return e.spawnOf(v, spec)
}

// provide makes the files that a service finds when it starts.
func provide(v view) error {
	b, name := v.bind, v.def.Name()
	for _, step := range []func(string) error{b.MakeDirs, b.WriteSecrets} {
		if err := step(name); err != nil {
			return err
		}
	}
	_, err := b.WriteConfigs(name)
	return err
}

// spawnOf binds what is left of a spec and starts it; the variables in it are
// added to the declared ones.
func (e *Engine) spawnOf(v view, spec *proc.Spec) (Process, error) {
	b, name := v.bind, v.def.Name()
	cmd, err := b.Command(name)
	if err != nil {
		return nil, err
	}
	if a := v.def.Service.Argv0; a != nil {
		if spec.Argv0, err = b.Fill(a, name); err != nil {
			return nil, err
		}
	}
	vars, err := b.Env(name)
	if err != nil {
		return nil, err
	}
	if spec.Dir, err = b.Dir(name); err != nil {
		return nil, err
	}
	spec.Argv, spec.Env = cmd.Argv, append(append(bind.Environ(vars), cmd.Env...), spec.Env...)
	spec.User, spec.Group = b.User(name)
	return e.opt.Spawner.Spawn(spec)
}

// spawned tells machine how a start went.
func (e *Engine) spawned(n *node, in *instance, p Process, err error) {
	close(in.launch.begun)
	if err != nil {
		e.closeReady(n, in)
		in.launch.close()
		delete(n.svc.instances, in.id)
		e.step(n, machine.Event{Kind: machine.EventSpawnFailed, Instance: in.id, Text: e.explain(n, err), Transient: transient(err)})
		return
	}
	in.proc, in.pid = p, p.Pid()
	e.openTerminal(n, in)
	if n.svc.out != nil {
		c, text := n.svc.out.capture, fmt.Sprintf("pid %d", in.pid)
		go c.Mark("started", text)
	}
	e.step(n, machine.Event{Kind: machine.EventSpawned, Instance: in.id})
}

// explain adds to the error of a missing program which package holds it.
func (e *Engine) explain(n *node, err error) string {
	var start *proc.StartError
	if errors.As(err, &start) && start.Op == "find" {
		if hint := packageHint(start.Path); hint != "" {
			return err.Error() + "; " + hint
		}
	}
	return err.Error()
}

func transient(err error) bool {
	for _, t := range []error{syscall.EAGAIN, syscall.ENOMEM, syscall.ETXTBSY, syscall.EADDRINUSE, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

var addressInUse = regexp.MustCompile(`(?i)address (is )?already in use|EADDRINUSE`)

// exited reports the end of a main process, after its last words are in the
// log. It runs outside of the loop.
func (e *Engine) exited(n *node, in *instance, v view, exit proc.Exit) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var capture *logs.Capture
	var ready bool
	var tty *terminal
	if e.call(func() { capture, ready, tty = n.svc.out.captured(), n.conds&isProbed != 0, in.launch.tty }) != nil {
		return
	}
	if capture != nil {
		tty.drain()
		capture.Drain(ctx)
		capture.Mark("exited", exitText(v.def.Service, exit))
	}
	inUse := !exit.Ok() && !ready && len(v.def.Service.Ports) > 0 && e.said(v.def.Name(), in.launch.cursor, addressInUse)
	e.post(func() {
		if inUse {
			e.opt.Table.Release(n.name())
		}
		ev := machine.Event{Kind: machine.EventExited, Instance: in.id, Code: exit.Code}
		if exit.Signal != 0 {
			ev.Signal = signalName(exit.Signal)
		}
		if exit.OOM {
			ev.Text = exitText(v.def.Service, exit)
		}
		e.step(n, ev)
	})
}

func signalName(sig syscall.Signal) string {
	name := proc.SignalName(sig)
	if len(name) > 3 && name[:3] == "SIG" {
		return name[3:]
	}
	return strconv.Itoa(int(sig))
}

// said reports whether a service has printed something since a cursor.
func (e *Engine) said(name string, from logs.Cursor, re *regexp.Regexp) bool {
	found := false
	e.opt.Logs.Read(context.Background(), logs.Query{Nodes: []string{name}, From: from, Grep: re}, func(l logs.Line) bool {
		found = l.Node == name && l.Mark == ""
		return !found
	})
	return found
}

// output is where a service writes: the capture, and the ends that its
// processes are given, which stay open between them.
type output struct {
	capture        *logs.Capture
	stdout, stderr *os.File
	adopted        bool // the ends are ours to close, not the capture's
}

// captured is the capture, or nil.
func (o *output) captured() *logs.Capture {
	if o == nil {
		return nil
	}
	return o.capture
}

// logOptions are what a service says of its log.
func logOptions(s *graph.Service) logs.Options {
	o := logs.Options{MaxSize: int64(s.Log.MaxSize), Keep: s.Log.Keep}
	if o.Keep == 0 {
		o.Keep = -1
	}
	return o
}

func (e *Engine) openCapture(n *node) error {
	if n.svc.out != nil || e.opt.Logs == nil {
		return nil
	}
	c, err := e.opt.Logs.Capture(n.name(), logOptions(n.def.Service))
	if err != nil {
		return err
	}
	n.svc.out = &output{capture: c, stdout: c.Stdout(), stderr: c.Stderr()}
	e.keep.put(keptLog+n.name(), nil, nil, append(c.ReadEnds(), c.Stdout(), c.Stderr())...)
	return nil
}

// adoptOutput goes on with the pipes of an engine before us.
func adoptOutput(store *logs.Store, n *node, files []*os.File) (*output, error) {
	o := logOptions(n.def.Service)
	o.Ends = files[:2]
	c, err := store.Capture(n.name(), o)
	if err != nil {
		return nil, err
	}
	return &output{capture: c, stdout: files[2], stderr: files[3], adopted: true}, nil
}

func (e *Engine) closeCapture(n *node) {
	o := n.svc.out
	if o == nil {
		return
	}
	n.svc.out = nil
	e.keep.drop(keptLog + n.name())
	go func() {
		o.capture.Close()
		if o.adopted {
			o.stdout.Close()
			o.stderr.Close()
		}
	}()
}

// wantsNotify reports whether a service is given NOTIFY_SOCKET.
func wantsNotify(s *graph.Service) bool {
	return s.Ready != nil && s.Ready.Kind == "notify" || s.Watchdog != nil || s.Fdstore > 0 || s.NotifyAccess != "" && s.NotifyAccess != "none"
}

func (e *Engine) openNotify(n *node) error {
	if n.svc.notify != nil {
		return nil
	}
	if err := os.MkdirAll(e.opt.RunDir, 0o711); err != nil {
		return err
	}
	uid, gid, err := e.idsOf(n)
	if err != nil {
		return err
	}
	path := filepath.Join(e.opt.RunDir, strconv.Itoa(e.graph.Index(n.name())), "notify")
	s, err := notify.Listen(path, uid, gid)
	if err != nil {
		return fmt.Errorf("cannot open the notify socket: %w", err)
	}
	e.serveNotify(n, s)
	if f, err := s.File(); err == nil {
		e.keep.put(keptNotify+n.name(), path, func() { f.Close() }, f)
	}
	return nil
}

func (e *Engine) serveNotify(n *node, s *notify.Socket) {
	n.svc.notify = s
	go s.Serve(func(m notify.Message) {
		defer m.Close()
		e.hear(n, &m)
	})
}

func (e *Engine) closeNotify(n *node) {
	if n.svc.notify != nil {
		n.svc.notify.Close()
		n.svc.notify = nil
		e.keep.drop(keptNotify + n.name())
	}
}

// passing names the processes of a task or helper, each time anew.
func (e *Engine) passing(name string) string {
	return fmt.Sprintf("%s/%s#t%d", e.opt.Run, name, e.opt.Clock.Now())
}

// marker names the processes of one instance in their environment.
func (e *Engine) marker(n *node, id int) string {
	return fmt.Sprintf("%s/%s#%d", e.opt.Run, n.name(), id)
}
