package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The requests to a listener that x/sys does not name.
const (
	notifValid    = 0x40082102 // SECCOMP_IOCTL_NOTIF_ID_VALID
	notifSetFlags = 0x40082104 // SECCOMP_IOCTL_NOTIF_SET_FLAGS
)

// question is struct seccomp_notif.
type question struct {
	id    uint64
	pid   uint32
	flags uint32
	nr    int32
	arch  uint32
	ip    uint64
	args  [6]uint64
}

// answer is struct seccomp_notif_resp.
type answer struct {
	id    uint64
	val   int64
	err   int32
	flags uint32
}

// Watches says whether the files that a program opens can be seen: whether this kernel has listeners and we know its calls.
func Watches() bool {
	action := uint32(unix.SECCOMP_RET_USER_NOTIF)
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action)))
	return e == 0 && len(pathCalls()) > 0
}

// Watch makes a Watcher for the next start. It answers until all processes of it have ended; should we end before them, the
// calls that it was asked about fail in them with ENOSYS.
func Watch(judge Judge) (*Watcher, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot make a socket for the sandbox: %w", err)
	}
	w := &Watcher{judge: judge, begun: make(chan struct{})}
	w.ours, w.theirs = os.NewFile(uintptr(fds[0]), "watcher"), os.NewFile(uintptr(fds[1]), "watched")
	go w.serve(fds[0])
	return w, nil
}

// File is the end for the program: its descriptor in the shim is that of Enter.
func (w *Watcher) File() *os.File { return w.theirs }

// Started lets go of the end for the program. It must be called once it was started, or could not be.
func (w *Watcher) Started() { w.theirs.Close() }

// Wait tells what the shim could do, after the start. An error says that the program runs and is not confined. blind says why
// nothing is seen of what it opens; empty: all is.
func (w *Watcher) Wait() (blind string, err error) {
	<-w.begun
	return w.blind, w.err
}

// serve hears what the shim says, and answers.
func (w *Watcher) serve(socket int) {
	listener, err := w.hear(socket)
	w.ours.Close()
	w.err = err
	close(w.begun)
	if listener < 0 {
		return
	}
	defer unix.Close(listener)
	runtime.LockOSThread() // it waits in the kernel most of the time: it would change threads at each question
	// The asker and we take turns: where the kernel can, it wakes us on the same processor.
	unix.Syscall(unix.SYS_IOCTL, uintptr(listener), notifSetFlags, unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
	v := &view{listener: listener, judge: w.judge, calls: pathCalls()}
	fds := []unix.PollFd{{Fd: int32(listener), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, -1)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil || n > 0 && fds[0].Revents&unix.POLLIN == 0:
			return // nobody is left
		}
		v.next()
	}
}

func (w *Watcher) hear(socket int) (int, error) {
	text, oob := make([]byte, 512), make([]byte, unix.CmsgSpace(4))
	var n, m int
	var err error
	for {
		if n, m, _, _, err = unix.Recvmsg(socket, text, oob, unix.MSG_CMSG_CLOEXEC); err != unix.EINTR {
			break
		}
	}
	switch {
	case err != nil:
		return -1, fmt.Errorf("cannot hear from the sandbox: %w", err)
	case n == 0:
		return -1, errors.New("cannot sandbox: whoever started the program knows of no sandbox (the keeper of an older orrery?)")
	}
	if s := string(text[:n]); s != told {
		w.blind = s
	}
	messages, _ := unix.ParseSocketControlMessage(oob[:m])
	for _, msg := range messages {
		if fds, err := unix.ParseUnixRights(&msg); err == nil && len(fds) == 1 {
			return fds[0], nil
		}
	}
	return -1, nil
}

// view is what a Watcher sees of its program.
type view struct {
	listener int
	judge    Judge
	calls    map[int][]pathArg
	q        question
	buf      [unix.PathMax]byte
}

// next takes a question and answers it.
func (v *view) next() {
	v.q = question{}
	if !v.ask(unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&v.q)) {
		return // the asker was killed meanwhile
	}
	a := answer{id: v.q.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	for _, arg := range v.calls[int(v.q.nr)] {
		if !v.passes(arg) {
			a.flags, a.err = 0, -int32(unix.EACCES)
			break
		}
	}
	v.ask(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&a))
}

func (v *view) ask(request uintptr, p unsafe.Pointer) bool {
	for {
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(v.listener), request, uintptr(p))
		if e != unix.EINTR {
			return e == 0
		}
	}
}

// valid says whether the asker still waits: only then is what we read of it about this call.
func (v *view) valid() bool { return v.ask(notifValid, unsafe.Pointer(&v.q.id)) }

// passes lets a path of the call through unless the judge refuses it. What cannot be looked at is left to the kernel.
func (v *view) passes(arg pathArg) bool {
	path, ok := v.text(v.q.args[arg.path])
	if !ok || path == "" {
		return true
	}
	from := int32(unix.AT_FDCWD)
	if arg.dir >= 0 {
		from = int32(v.q.args[arg.dir])
	}
	if path = v.absolute(path, from); path == "" {
		return true
	}
	t, ok := v.try(arg, path)
	if !ok || !v.valid() {
		return true
	}
	return v.judge(t)
}

// text reads a path in the memory of the asker.
func (v *view) text(at uint64) (string, bool) {
	const page = 4096
	got := 0
	for got < len(v.buf) {
		want := min(len(v.buf)-got, page-int(at%page)) // the next page may not be there
		local := []unix.Iovec{{Base: &v.buf[got]}}
		local[0].SetLen(want)
		n, err := unix.ProcessVMReadv(int(v.q.pid), local, []unix.RemoteIovec{{Base: uintptr(at), Len: want}}, 0)
		if err != nil || n <= 0 {
			return "", false
		}
		for i, b := range v.buf[got : got+n] {
			if b == 0 {
				return string(v.buf[:got+i]), true
			}
		}
		got, at = got+n, at+uint64(n)
	}
	return "", false
}

// word reads 8 bytes there.
func (v *view) word(at uint64) (uint64, bool) {
	var x uint64
	local := []unix.Iovec{{Base: (*byte)(unsafe.Pointer(&x))}}
	local[0].SetLen(8)
	n, err := unix.ProcessVMReadv(int(v.q.pid), local, []unix.RemoteIovec{{Base: uintptr(at), Len: 8}}, 0)
	return x, err == nil && n == 8
}
