// Package notify receives what services say about themselves: the sd_notify
// protocol on one datagram socket a service, and the s6 convention of a newline
// on a descriptor.
//
// It promises that no datagram, however malformed, foreign, large or loaded
// with descriptors, does harm: such a datagram is dropped and counted, and each
// descriptor that came with it is closed. A socket costs one goroutine and no
// thread, a failing receive never spins, and a service that floods its socket
// is slowed down, not served faster.
//
// It leaves to others what a message means: whether the sender may speak for
// the service (see [Allowed]), whether a reload handshake is in order, how long
// a watchdog waits.
//
// Sources: man/sd_notify.xml and manager_dispatch_notify_fd in systemd's
// src/core/manager.c; s6's notification-fd.
package notify

import (
	"errors"
	"os"
)

// MaxDatagram is the size in bytes of the largest datagram that is taken
// (systemd's NOTIFY_BUFFER_MAX).
const MaxDatagram = 4096

// Watchdog is what a message says to the watchdog of its service.
type Watchdog uint8

const (
	// WatchdogNone: the message does not speak of the watchdog.
	WatchdogNone Watchdog = iota
	// WatchdogPing: the service is alive; wait one interval more.
	WatchdogPing
	// WatchdogTrigger: the service asks to be treated as if the interval had
	// passed, also when it has no watchdog.
	WatchdogTrigger
)

// Message is one datagram as typed values. A zero field was not said, or was
// said in a way that is not valid and was ignored.
//
// A message owns its descriptors (MainPIDFD, FDs): whoever gets it closes them,
// with Close or one by one.
type Message struct {
	// Pid, Uid and Gid are those of the sending process as the kernel saw
	// them. Root can forge them. Where the kernel does not tell (not Linux) Pid
	// is 0, Uid and Gid are -1.
	Pid, Uid, Gid int

	// Ready: start-up, or the reload announced before, is complete.
	Ready bool
	// Reloading: the service begins to reload its configuration.
	Reloading bool
	// MonotonicUsec is CLOCK_MONOTONIC in microseconds at which the service
	// began to reload; a reply older than the request is stale.
	MonotonicUsec int64
	// Stopping: the service begins to shut down.
	Stopping bool
	// Status is one line of UTF-8 for people; it may hold control characters,
	// which whoever shows it must escape. An empty one clears the last.
	Status *string
	// NotifyAccess is "none", "main", "exec" or "all": who may speak from now on.
	NotifyAccess string

	// Errno, BusError and VarlinkError say why the service failed.
	Errno        int
	BusError     string
	VarlinkError string
	// ExitStatus is the exit status that the service declares, 0 to 255.
	ExitStatus *int

	// MainPID is the process that is to be seen as the main one.
	MainPID int
	// MainPIDFDID is the inode of MainPID's pidfd, against reuse of the pid.
	MainPIDFDID uint64
	// MainPIDFD is a pidfd of the main process.
	MainPIDFD *os.File

	// Watchdog is a ping or a trigger.
	Watchdog Watchdog
	// WatchdogUsec is a new watchdog interval in microseconds; 0 turns the
	// watchdog off. It fits a time.Duration, as do all intervals here.
	WatchdogUsec *int64
	// ExtendTimeoutUsec asks for that many microseconds from now for the
	// start or stop that is under way.
	ExtendTimeoutUsec int64
	// RestartReset: forget the restarts so far.
	RestartReset bool

	// FDStore: keep FDs for the next start of the service, all as FDName.
	FDStore bool
	// FDStoreRemove: forget the stored descriptors of the name FDName.
	FDStoreRemove bool
	// FDName is the name of stored descriptors ("stored" unless said).
	FDName string
	// FDPoll: a stored descriptor is dropped on EPOLLHUP or EPOLLERR. It is
	// set with FDStore unless the service said FDPOLL=0.
	FDPoll bool
	// FDs are the descriptors to store. Descriptors of a message that
	// stores none are closed before it is delivered.
	FDs []*os.File

	// Barrier asks that the one descriptor which came along be closed when
	// all earlier messages were handled. A Socket does that itself and never
	// delivers a barrier.
	Barrier bool

	// Ignored counts the assignments that are unknown or not valid; those
	// with the private prefix X_ are not counted.
	Ignored int

	wantPIDFD bool // MAINPIDFD=1
	noPoll    bool // FDPOLL=0
}

// Close closes all descriptors that the message still owns. It may be called
// more than once.
func (m *Message) Close() {
	if m.MainPIDFD != nil {
		m.MainPIDFD.Close()
		m.MainPIDFD = nil
	}
	for _, f := range m.FDs {
		f.Close()
	}
	m.FDs = nil
}

// errDescriptors is a message whose descriptors do not fit what it says.
var errDescriptors = errors.New("descriptors do not fit the message")

// attach gives the message the descriptors that came with it. It returns those
// that nothing in the message asked for, which the caller closes. On an error
// the message is to be dropped; then all of them are returned.
func (m *Message) attach(fds []*os.File) (rest []*os.File, err error) {
	if m.Barrier {
		if len(fds) != 1 {
			return fds, errDescriptors
		}
		return fds, nil
	}
	if m.wantPIDFD {
		if len(fds) == 1 {
			m.MainPIDFD, fds = fds[0], nil
		} else {
			m.Ignored++
		}
	}
	if m.FDStore {
		m.FDs, fds = fds, nil
	}
	return fds, nil
}

// Allowed reports whether a process may speak for a service under its notify
// access: "none", "main", "exec" or "all". Anything else allows nobody.
//
// The main process may always speak but under "none". Under "exec" and "all"
// isMember is asked about every other sender: it knows the reload and stop
// commands of the service for the first, the whole process tree for the
// second. A sender of 0 comes from a kernel that tells no credentials; there the
// directory of the socket is the only guard.
func Allowed(access string, sender, main int, isMember func(pid int) bool) bool {
	switch access {
	case "main":
		return sender == main || sender == 0
	case "exec", "all":
		return sender == main || sender == 0 || isMember(sender)
	}
	return false
}
