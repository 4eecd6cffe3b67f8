package proc

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// namespace is what holds a program that runs in a pid namespace of its own: the shim as its first process, the init, below
// which the program is started. When the init ends, the kernel kills all that is in the namespace, whatever it did to hide.
// The init ends with the program, and when nobody holds the other end of link any more: when we die, however that is.
type namespace struct {
	init *Process
	link *os.File // of packets; from the init come the program's pid, and its status in the end
}

// byInit starts the program in a pid namespace of its own. The init starts the shim a second time, which waits until we hold
// it by a pidfd, and then becomes the program: so the program has a pid that we know, is signalled without a go-between, and has
// the dispositions of any process, which a first process has not.
func (l *launch) byInit(c *confine) (*Process, error) {
	s := l.spec
	ours, theirs, err := link()
	if err != nil {
		return nil, &StartError{Op: opNamespace, Path: s.Name, Err: err}
	}
	defer theirs.Close()
	memfd, err := l.orders(c)
	if err != nil {
		ours.Close()
		return nil, &StartError{Op: "shim", Path: l.paths[0], Err: err}
	}
	defer memfd.Close()
	r, w, err := os.Pipe()
	if err != nil {
		ours.Close()
		return nil, &StartError{Op: "shim", Path: l.paths[0], Err: err}
	}
	defer r.Close()
	n := len(l.files)
	files := append(l.files[:n:n], memfd.Fd(), w.Fd(), rawLink(theirs))
	argv := []string{"orrery", Verb, strconv.Itoa(n), strconv.Itoa(n + 1), strconv.Itoa(n + 2)}
	init, err := l.forkInit(argv, files)
	w.Close()
	theirs.Close()
	if err != nil {
		ours.Close()
		return nil, err
	}
	ns := &namespace{init, ours}
	p, err := l.meet(ns, r)
	if err != nil {
		ns.end()
		ns.close()
		return nil, err
	}
	return p, nil
}

// opNamespace is the Op of an error of the namespace itself.
const opNamespace = "pid_namespace"

// link makes the socket between us and an init.
func link() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	unix.SetNonblock(fds[0], true) // so that a reader waits in the poller
	return os.NewFile(uintptr(fds[0]), "link"), os.NewFile(uintptr(fds[1]), "link"), nil
}

func rawLink(f *os.File) uintptr {
	fd, _ := rawFD(f)
	return fd
}

// forkInit starts the init: as root in new namespaces for pids and mounts, as another user in a user namespace besides, in
// which all users keep their numbers and only the init may mount.
func (l *launch) forkInit(argv []string, files []uintptr) (*Process, error) {
	var env []string
	if l.spec.Marker != "" {
		env = []string{MarkerVar + "=" + l.spec.Marker}
	}
	sys := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 {
		// With mappings Go copies our memory for the child: for the keeper that is little.
		sys.Cloneflags |= unix.CLONE_NEWUSER
		sys.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		sys.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
		sys.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
	}
	p, err := l.fork("/proc/self/exe", argv, &syscall.ProcAttr{Env: env, Files: files, Sys: sys})
	var se *StartError
	switch {
	case err == nil:
		p.cgroup, p.tty = "", nil
		return p, nil
	case errors.As(err, &se):
		return nil, err
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return nil, &StartError{Op: "fork", Path: l.paths[0], Err: err}
	}
	return nil, &StartError{Op: opNamespace, Path: l.spec.Name, Err: forbidden(err)}
}

// meet takes hold of the program while it waits for us, and lets it go on.
func (l *launch) meet(ns *namespace, report *os.File) (*Process, error) {
	s := l.spec
	pid, err := ns.greeted()
	var p *Process
	if err == nil {
		var fd int
		if fd, err = unix.PidfdOpen(pid, 0); err == nil {
			p = &Process{name: s.Name, marker: s.Marker, cgroup: s.Cgroup, tty: l.tty, reaper: s.Reaper, ns: ns}
			p.hold(pid, fd)
			_, err = ns.link.Write([]byte{'+'})
		}
	}
	text, rerr := io.ReadAll(report)
	if err == nil && rerr == nil && len(text) == 0 {
		return p, nil
	}
	if p != nil {
		p.pidfd.Close()
	}
	se := new(StartError)
	if json.Unmarshal(text, se) != nil {
		return nil, &StartError{Op: "shim", Path: l.paths[0], Err: fmt.Errorf("it died before the program ran: %s (%v)", text, errors.Join(err, rerr))}
	}
	switch se.Op {
	case opExec:
		return nil, explain(se.Path, l.dir, se.Err)
	case opNamespace:
		return nil, &StartError{Op: opNamespace, Path: s.Name, Err: forbidden(se.Err)}
	}
	return nil, se
}

// greeted waits for the word of the second shim, and gives its pid: as we see it, whatever it sees itself.
func (ns *namespace) greeted() (int, error) {
	c, err := ns.link.SyscallConn()
	if err != nil {
		return 0, err
	}
	pid := 0
	rerr := c.Read(func(fd uintptr) bool {
		oob := make([]byte, unix.CmsgSpace(unix.SizeofUcred))
		var n int
		n, _, _, _, err = unix.Recvmsg(int(fd), make([]byte, 8), oob, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EAGAIN || err == unix.EINTR {
			return false
		}
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return true
		}
		msgs, perr := unix.ParseSocketControlMessage(oob)
		if err = perr; err == nil && len(msgs) > 0 {
			var cred *unix.Ucred
			if cred, err = unix.ParseUnixCredentials(&msgs[0]); err == nil {
				pid = int(cred.Pid)
			}
		}
		return true
	})
	switch err := errors.Join(rerr, err); {
	case err != nil:
		return 0, err
	case pid <= 1:
		return 0, errors.New("its pid is not seen from here")
	}
	return pid, nil
}

// wait is how the program ended. By then nothing is left in the namespace: the kernel lets an init end last.
func (ns *namespace) wait() Exit {
	exit := ns.init.Wait()
	c, err := ns.link.SyscallConn()
	if err != nil {
		return exit
	}
	b := make([]byte, 4)
	n := 0
	c.Control(func(fd uintptr) { n, _ = unix.Read(int(fd), b) })
	if n == len(b) {
		return exitOf(unix.WaitStatus(binary.NativeEndian.Uint32(b)))
	}
	if exit.Signal == 0 && exit.Err == nil {
		exit.Err = fmt.Errorf("the first process of its pid namespace failed (exit %d)", exit.Code)
	}
	return exit // the init was killed, and the program with it
}

// kill ends all that is in the namespace; it returns when nothing is left, or ctx is done.
func (ns *namespace) kill(ctx context.Context) error {
	if err := ns.init.Signal(unix.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("cannot kill the pid namespace of %q: %w", ns.init.name, err)
	}
	for {
		ended := false
		if ns.init.control(func(fd int) { ended = pollFor(fd, 100*time.Millisecond) }) != nil || ended {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("cannot end all of %q: something in its pid namespace cannot be killed: %w", ns.init.name, ctx.Err())
		}
	}
}

// end ends it, for a start that failed.
func (ns *namespace) end() {
	ns.init.Signal(unix.SIGKILL)
	ns.init.Wait()
}

func (ns *namespace) close() {
	if ns == nil {
		return
	}
	ns.link.Close()
	ns.init.pidfd.Close()
}

// forbidden adds to the refusal of a namespace what forbids it here, as far as the settings of the kernel tell.
func forbidden(err error) error {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return err
	}
	say := func(text string) error { return &textError{text, errno} }
	user := os.Geteuid() != 0
	for _, s := range []struct {
		name string
		bad  func(int) bool
		want string
		user bool
	}{
		{"kernel.unprivileged_userns_clone", func(n int) bool { return n == 0 }, "1", true},
		{"kernel.apparmor_restrict_unprivileged_userns", func(n int) bool { return n != 0 }, "0", true},
		{"user.max_user_namespaces", func(n int) bool { return n == 0 }, "1000", true},
		{"user.max_pid_namespaces", func(n int) bool { return n == 0 }, "1000", false},
		{"user.max_mnt_namespaces", func(n int) bool { return n == 0 }, "1000", false},
	} {
		b, rerr := os.ReadFile("/proc/sys/" + strings.ReplaceAll(s.name, ".", "/"))
		n, nerr := strconv.Atoi(strings.TrimSpace(string(b)))
		if rerr == nil && nerr == nil && s.bad(n) && (user || !s.user) {
			return say(fmt.Sprintf("the kernel refuses it: %v: %s is %d (sysctl %s=%s, start orrery as root, or leave pid_namespace out)", err, s.name, n, s.name, s.want))
		}
	}
	if user {
		return say(fmt.Sprintf("an ordinary user needs user namespaces for it, which are refused here: %v (a container's profile of system calls, or a /proc of which it hides a part? start orrery as root, or leave pid_namespace out)", err))
	}
	return say(fmt.Sprintf("root needs CAP_SYS_ADMIN for it: %v (inside a container: --cap-add SYS_ADMIN, or leave pid_namespace out)", err))
}
