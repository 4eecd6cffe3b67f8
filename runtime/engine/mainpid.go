package engine

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"orrery/runtime/machine"
	"orrery/runtime/notify"
	"orrery/runtime/proc"
)

// claimMain makes the process that a message names (MAINPID, MAINPIDFD,
// MAINPIDFDID) the main one of an instance: its end is the end of the instance,
// and signals go to it. It must be of the instance's tree, and the very process
// that was meant, not one that has got its number since.
func (e *Engine) claimMain(n *node, in *instance, m *notify.Message) {
	pid := m.MainPID
	if n.def.Service.PidNamespace { // the number is one inside, and all ends with the first process anyway
		e.publish(n, n.show.State, fmt.Sprintf("MAINPID=%d ignored: with pid_namespace its first process is the main one", pid))
		return
	}
	if m.MainPIDFD != nil {
		if by := pidOf(m.MainPIDFD); by <= 0 || pid != 0 && pid != by {
			return
		} else {
			pid = by
		}
	}
	switch {
	case pid <= 1 || pid == in.launch.main:
		return
	case pid == in.pid:
		in.launch.disown()
		return
	}
	id, err := proc.Identify(pid)
	if err != nil || m.MainPIDFDID != 0 && id.Inode != m.MainPIDFDID {
		return
	}
	if !proc.Member(pid, in.pid, e.marker(n, in.id)) {
		e.publish(n, n.show.State, fmt.Sprintf("MAINPID=%d ignored: it is not one of its processes", pid))
		return
	}
	e.follow(n, in, id)
}

// follow waits for the end of a main process that we have not started.
func (e *Engine) follow(n *node, in *instance, id proc.Identity) {
	p, err := proc.Adopt(id, &proc.Spec{Name: n.name()})
	if err != nil {
		return
	}
	in.launch.disown()
	in.launch.main, in.launch.claimed = id.Pid, p
	v := e.view(n)
	go func() {
		exit := p.Wait()
		is := false
		e.call(func() { is = in.launch.claimed == p })
		if is {
			e.exited(n, in, v, exit)
		}
	}()
}

// disown makes the process that we have started the main one again.
func (l *launch) disown() {
	if l.claimed != nil {
		l.claimed.Close()
	}
	l.main, l.claimed = 0, nil
}

// rootExited takes the end of the process that we have started. With its last
// words it may have named another one as the main process: they are heard
// first. It runs outside of the loop.
func (e *Engine) rootExited(n *node, in *instance, v view, exit proc.Exit) {
	var s *notify.Socket
	e.call(func() { s = n.svc.notify })
	if s != nil {
		hearAll(s.Path())
	}
	is := true
	e.call(func() { is = in.launch.claimed == nil })
	if is {
		e.exited(n, in, v, exit)
	}
}

// hearTime bounds the wait for what a service has said.
const hearTime = 500 * time.Millisecond

// hearAll waits until what was sent to a notify socket was heard, by a barrier
// as a service would send it.
func hearAll(path string) {
	r, w, err := os.Pipe()
	if err != nil {
		return
	}
	defer r.Close()
	defer w.Close()
	c, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		return
	}
	unix.CloseOnExec(c)
	defer unix.Close(c)
	patience := unix.NsecToTimeval(hearTime.Nanoseconds())
	unix.SetsockoptTimeval(c, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &patience) // its queue may be full
	r.SetReadDeadline(time.Now().Add(2 * hearTime))
	err = onFD(w, func(fd int) error {
		return unix.Sendmsg(c, []byte("BARRIER=1"), unix.UnixRights(fd), &unix.SockaddrUnix{Name: path}, 0)
	})
	w.Close()
	if err == nil {
		r.Read(make([]byte, 1))
	}
}

// pidOf is the process that a pidfd holds; 0 or less when there is none.
func pidOf(pidfd *os.File) int {
	pid := 0
	onFD(pidfd, func(fd int) error {
		b, err := os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fd))
		for line := range strings.Lines(string(b)) {
			if v, ok := strings.CutPrefix(line, "Pid:"); ok {
				pid, _ = strconv.Atoi(strings.TrimSpace(v))
			}
		}
		return err
	})
	return pid
}

// reach sends a signal to an instance: to the whole group when it is the one
// that stops, for a script's children are to end by themselves too; else to the
// main process.
func (in *instance) reach(sig syscall.Signal, stops bool) {
	claimed := in.launch.claimed
	if !stops {
		if claimed != nil {
			claimed.Signal(sig)
		} else {
			in.proc.Signal(sig)
		}
		return
	}
	// A main process that has left the group, as a daemon does, is not reached by it.
	apart := false
	if claimed != nil {
		group, err := syscall.Getpgid(claimed.Pid())
		apart = err == nil && group != in.pid
	}
	for _, s := range []syscall.Signal{sig, syscall.SIGCONT} { // CONT: one that was stopped takes no other signal
		in.proc.SignalGroup(s)
		if apart {
			claimed.Signal(s)
		}
	}
}

// statusText is what a service says of its state, with why it failed, if it
// says so.
func statusText(m *notify.Message, before string) string {
	text := before
	if m.Status != nil {
		text = *m.Status
	}
	var why []string
	if m.Errno > 0 {
		why = append(why, fmt.Sprintf("error %d: %s", m.Errno, syscall.Errno(m.Errno)))
	}
	if m.ExitStatus != nil {
		why = append(why, fmt.Sprintf("exit status %d", *m.ExitStatus))
	}
	for _, s := range []string{m.BusError, m.VarlinkError} {
		if s != "" {
			why = append(why, s)
		}
	}
	if len(why) == 0 {
		return text
	}
	text, _, _ = strings.Cut(text, " [")
	return strings.TrimSpace(text + " [" + strings.Join(why, ", ") + "]")
}

// mainPid is the process id of the main process.
func (in *instance) mainPid() int {
	if in.launch.claimed != nil {
		return in.launch.main
	}
	return in.pid
}

// claimed is which other process is the main one, for records.
func (in *instance) claimed() *proc.Identity {
	if in.launch.claimed == nil {
		return nil
	}
	id := in.launch.claimed.Identity()
	return &id
}

// adoptMain goes on with the main process of an engine before this one. When
// it has ended meanwhile, so has the instance.
func (e *Engine) adoptMain(n *node, in *instance, id *proc.Identity) {
	if id == nil {
		return
	}
	e.follow(n, in, *id)
	if in.launch.claimed == nil {
		e.later(func() {
			e.step(n, machine.Event{Kind: machine.EventExited, Instance: in.id, Signal: "KILL", Text: "its main process is gone"})
		})
	}
}
