// Package proc starts processes and ends them, with everything below them.
//
// It is for whoever owns children: the keeper, and `run` without a keeper. A [Spec] says what to start, every value bound;
// [Start] gives a [Process], held by a pidfd, so that no signal can ever reach a stranger with a reused pid. What a program
// can only be given from within (its own pid in LISTEN_PID and WATCHDOG_PID, limits, capabilities) is set by the shim: our own
// binary, started again as `orrery __exec`, which then becomes the program; see [Shim].
//
// Promised: arguments arrive byte for byte; no descriptor but the named ones reaches a child; signal mask and dispositions are
// the default ones; a failure to start names the program and where it was looked for. Left to others: restart and stop
// policy, deadlines, the contents of the environment, logs, and where the sockets come from.
//
// Linux 5.4 or newer is the platform. Elsewhere there is a plain fallback: no shim, no adoption, and a tree is killed by its process group.
package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"orrery/runtime/sandbox"
)

// Verb is the hidden verb under which our own binary is the shim: main calls [Shim] when it is the first argument.
const Verb = "__exec"

// MarkerVar is the variable of the environment that carries [Spec].Marker.
const MarkerVar = "ORRERY_ID"

// readyVar is the variable that tells a child with a [Spec].ReadyFile its descriptor number.
const readyVar = "ORRERY_READY_FD"

// Spec says what to start. Every value is bound; Start changes none of it and keeps no reference to it.
type Spec struct {
	// Name is the node's name, for messages.
	Name string
	// Argv is the program and its arguments, passed on byte for byte. A name without a slash is looked up on the PATH
	// of Env (not ours); a relative path with a slash is relative to Dir.
	Argv []string
	// File, if not empty, is what Argv[0] was just found to be, which saves looking for it; one that cannot be run is looked for all the same.
	File string
	// Argv0, if not empty, is what the program sees as its own name in place of Argv[0].
	Argv0 string
	// Dir is the working directory; empty means ours.
	Dir string
	// Env is the complete environment as K=V. Its order is kept; of duplicates the last wins. The variables of the notify,
	// listen and watchdog protocols are always replaced by what the fields below say: one inherited from our own
	// manager would be wrong. PWD is the caller's matter.
	Env []string
	// User and Group name whom to run as (a name or a number). Only root can change them. The supplementary groups
	// are the user's. HOME, USER and LOGNAME are the caller's matter.
	User, Group string
	// Stdin, Stdout and Stderr are the first three descriptors; nil is /dev/null. They stay the caller's to close. A pipe made
	// by os.Pipe is put into blocking mode at the end that the child gets.
	Stdin, Stdout, Stderr *os.File
	// Listen are the sockets that are passed as descriptors 3, 4, ... in this order.
	Listen []Listener
	// Notify is the path for NOTIFY_SOCKET; empty: the variable is absent.
	Notify string
	// Watchdog is the interval for WATCHDOG_USEC; 0: it and WATCHDOG_PID are absent.
	Watchdog time.Duration
	// ReadyFile, if not nil, is the writing end of a pipe on which the child writes a newline when it is ready.
	ReadyFile *os.File
	// ReadyFD is the number under which the child sees ReadyFile; 0: the first free one. ORRERY_READY_FD tells it.
	ReadyFD int
	// Inherit are descriptors that the child is given beside the others, under the numbers from InheritFD on. Their blocking mode is left
	// as it is. Who reads its environment is told of them there: by the caller.
	Inherit []*os.File
	// InheritFD is the first number of Inherit. It is above those of all other descriptors.
	InheritFD int
	// Limits are the resource limits and privileges.
	Limits Limits
	// TTY gives the child a new terminal as its first three descriptors, in a new session, of 80 columns and 24 rows; see [Process.TTY].
	TTY bool
	// Marker is exported as ORRERY_ID and inherited by everything below. It must be unique to this tree: KillTree
	// kills whatever carries it. A form such as RUN/NODE lets [Sweep] find one node or all of a run.
	Marker string
	// Foreground keeps the child in our own process group, so that it shares our terminal. Otherwise it leads its own.
	Foreground bool
	// PidNamespace gives the program a pid namespace of its own: when its first process ends, or we do, the kernel ends all
	// that is in it at once, whatever it did to hide. Its own pid is another inside, as LISTEN_PID and WATCHDOG_PID say; a /proc of its own
	// shows that. From outside nothing differs. An ordinary user needs user namespaces for it. Foreground does not go with it.
	PidNamespace bool
	// Cgroup, if not empty, is a cgroup v2 directory for this tree alone, such as [Cgroup] gives; it is made if missing,
	// the child starts inside it, and Close removes it.
	Cgroup string
	// Sandbox, if not nil, confines the child and all that it starts; Watch is then the File of its sandbox.Watcher, which stays
	// the caller's to close.
	Sandbox *sandbox.Orders
	Watch   *os.File
	// Reaper is told of the child, so that it never takes its exit status. Needed where a Reaper is at work.
	Reaper *Reaper
}

// SandboxMeans says what of a sandbox this kernel can do: the ABI of Landlock (0: none), and whether what a program touches can be seen.
func SandboxMeans() (landlock int, sees bool) { return sandbox.ABI(), sandbox.Watches() }

// Listener is one socket to pass on.
type Listener struct {
	// Name is its name in LISTEN_FDNAMES; empty: "unknown". At most 255 printable ASCII characters without a colon.
	Name string
	// File holds the socket: a dedicated duplicate, on which this process never accepts.
	File *os.File
	// Shared says that another program still accepts on the socket (an overlapped restart). Blocking mode belongs to the
	// socket, not to the descriptor: a shared one is left as it is, any other is made blocking, as systemd does.
	Shared bool
}

// Limits are what a program may use and do. The zero value changes nothing.
type Limits struct {
	// Nofile is the number of descriptors. 0: unchanged. Soft and hard limit are both set.
	Nofile uint64
	// Memory is in bytes, Tasks the number of processes and threads, CPU a share of the processors in percent of one. 0: unchanged. They
	// hold for the whole tree where a cgroup can be written; else Memory is each process's address space, Tasks counts all
	// processes of the user, and CPU has no effect. [LimitMeans] says which it is.
	Memory, Tasks, CPU uint64
	// Core is the size of a core file in bytes; nil: unchanged.
	Core *uint64
	// Nice is the niceness from -20 to 19; nil: unchanged.
	Nice *int
	// Umask is the mask for new files; nil: ours.
	Umask *uint32
	// OOMScoreAdj is from -1000 to 1000; nil: unchanged.
	OOMScoreAdj *int
	// NoNewPrivs forbids the program to gain privileges by executing another one.
	NoNewPrivs bool
	// Capabilities, if not nil, are all that the program can have, such as "CAP_NET_BIND_SERVICE"; they are ambient, so a program
	// that is not root has them at once. Empty and not nil: none, even as root.
	Capabilities []string
}

// none says that nothing is limited.
func (l *Limits) none() bool {
	return l.Nofile == 0 && l.Memory == 0 && l.Tasks == 0 && l.CPU == 0 && l.Core == nil && l.Nice == nil && l.Umask == nil &&
		l.OOMScoreAdj == nil && !l.NoNewPrivs && l.Capabilities == nil
}

// Identity names one process for as long as the machine runs: a pid alone is reused within minutes. Its JSON form is for records.
type Identity struct {
	// Pid is the process id.
	Pid int `json:"pid"`
	// Start is when it started, in clock ticks since boot (/proc/PID/stat, field 22).
	Start uint64 `json:"start"`
	// Inode is the inode of its pidfd, unique for a boot; 0 where the kernel is older than 6.9.
	Inode uint64 `json:"inode,omitempty"`
	// Boot is the boot id of the kernel.
	Boot string `json:"boot,omitempty"`
}

// ErrGone says that a process with a recorded [Identity] no longer runs.
var ErrGone = errors.New("the process is gone")

// Exit is how a process ended.
type Exit struct {
	// Code is the exit code, when Signal is 0.
	Code int `json:"code"`
	// Signal is the signal that killed it, or 0.
	Signal syscall.Signal `json:"signal,omitempty"`
	// Core says that it left a core file.
	Core bool `json:"core,omitempty"`
	// OOM says that the kernel has killed it, or one of its tree, because the memory of Limits was used up.
	OOM bool `json:"oom,omitempty"`
	// Err says why the status is unknown. It is nil in all but rare cases: an adopted process on a kernel before 6.15.
	Err error `json:"-"`
}

// Ok says that the process ended by itself with code 0.
func (e Exit) Ok() bool { return e.Err == nil && e.Signal == 0 && e.Code == 0 }

// String says it in words: "exit 1", "killed by SIGTERM".
func (e Exit) String() string {
	switch {
	case e.Err != nil:
		return "ended: " + e.Err.Error()
	case e.OOM && e.Signal != 0:
		return "killed: out of memory"
	case e.OOM:
		return "exit " + strconv.Itoa(e.Code) + " after an out-of-memory kill"
	case e.Signal != 0 && e.Core:
		return "killed by " + SignalName(e.Signal) + ", core dumped"
	case e.Signal != 0:
		return "killed by " + SignalName(e.Signal)
	}
	return "exit " + strconv.Itoa(e.Code)
}

// MarshalJSON writes all of e, the error as its text.
func (e Exit) MarshalJSON() ([]byte, error) {
	w := exitWire{Code: e.Code, Signal: int(e.Signal), Core: e.Core, OOM: e.OOM}
	if e.Err != nil {
		w.Err = e.Err.Error()
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (e *Exit) UnmarshalJSON(b []byte) error {
	var w exitWire
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*e = Exit{Code: w.Code, Signal: syscall.Signal(w.Signal), Core: w.Core, OOM: w.OOM}
	if w.Err != "" {
		e.Err = errors.New(w.Err)
	}
	return nil
}

type exitWire struct {
	Code   int    `json:"code"`
	Signal int    `json:"signal,omitempty"`
	Core   bool   `json:"core,omitempty"`
	OOM    bool   `json:"oom,omitempty"`
	Err    string `json:"err,omitempty"`
}

// StartError says why a program was not started. errors.Is works through it: fs.ErrNotExist for a missing program or
// directory, fs.ErrPermission, syscall.ENOEXEC, syscall.EAGAIN and so on. Its JSON form keeps that.
type StartError struct {
	// Op is what could not be done: "find" (the program), "run" (it), "enter" (the directory), "fork", or the part of the
	// Spec that was refused: "user", "group", "listen", "ready", "inherit", "limit", "cgroup", "pid_namespace", "tty", "sandbox", "argv",
	// "env", "shim".
	Op string
	// Path is the program, or the directory, or the value that was refused.
	Path string
	// Tried are the folders in which a program was looked for, in order.
	Tried []string
	// Err is the cause.
	Err error
}

// Unwrap gives the cause.
func (e *StartError) Unwrap() error { return e.Err }

// Error names the program, the folders that were tried and the remedy where there is one.
func (e *StartError) Error() string {
	switch e.Op {
	case "find":
		if len(e.Tried) > 0 {
			return fmt.Sprintf("cannot find the program %q in %s (the PATH of its environment)", e.Path, some(e.Tried))
		}
		return fmt.Sprintf("cannot find the program %q: %v", e.Path, e.Err)
	case "run":
		return fmt.Sprintf("cannot run %q: %v%s", e.Path, e.Err, remedy(e.Err))
	case "enter":
		return fmt.Sprintf("cannot enter the directory %q: %v", e.Path, e.Err)
	case "sandbox":
		return fmt.Sprintf("cannot sandbox %q: %v", e.Path, e.Err)
	case "fork":
		return fmt.Sprintf("cannot start a process for %q: %v", e.Path, e.Err)
	}
	return fmt.Sprintf("cannot set %s %q: %v", e.Op, e.Path, e.Err)
}

// someFolders is how many folders of a PATH an error names.
const someFolders = 6

// some names folders, each once and not too many.
func some(folders []string) string {
	var all []string
	for _, f := range folders {
		if !slices.Contains(all, f) {
			all = append(all, f)
		}
	}
	if len(all) <= someFolders {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more folders", strings.Join(all[:someFolders-1], ", "), len(all)-someFolders+1)
}

// remedy is what to do about an error of execve.
func remedy(err error) string {
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return " (built for another machine, or a script whose first line does not begin with #!)"
	case errors.Is(err, syscall.EACCES):
		return " (chmod +x, and every folder above it must be searchable by the user)"
	case errors.Is(err, syscall.E2BIG):
		return " (arguments and environment together are too long, or one of them exceeds 128 KiB)"
	}
	return ""
}

type startErrorWire struct {
	Op    string
	Path  []byte
	Tried []string      `json:",omitempty"`
	Errno syscall.Errno `json:",omitempty"`
	Text  string        `json:",omitempty"`
}

// MarshalJSON keeps the errno of the cause, or else its text.
func (e *StartError) MarshalJSON() ([]byte, error) {
	w := startErrorWire{Op: e.Op, Path: []byte(e.Path), Tried: e.Tried}
	var errno syscall.Errno
	if errors.As(e.Err, &errno) {
		w.Errno = errno
	}
	if e.Err != nil && (w.Errno == 0 || e.Err.Error() != w.Errno.Error()) {
		w.Text = e.Err.Error()
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (e *StartError) UnmarshalJSON(b []byte) error {
	var w startErrorWire
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*e = StartError{Op: w.Op, Path: string(w.Path), Tried: w.Tried}
	switch {
	case w.Errno != 0 && w.Text != "":
		e.Err = &textError{w.Text, w.Errno}
	case w.Errno != 0:
		e.Err = w.Errno
	default:
		e.Err = errors.New(w.Text)
	}
	return nil
}

// textError is a cause with a text of its own that still is its errno.
type textError struct {
	text  string
	errno syscall.Errno
}

func (e *textError) Error() string { return e.text }
func (e *textError) Unwrap() error { return e.errno }
