package notify

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// open makes a socket and serves it into a channel until the test ends.
func open(t *testing.T) (*Socket, <-chan Message) {
	t.Helper()
	s, err := Listen(socketPath(t), os.Getuid(), os.Getgid())
	if err != nil {
		t.Fatal(err)
	}
	return s, serve(t, s)
}

// socketPath is short enough for a socket, whatever TMPDIR and the test's name.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "o")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "n", "s")
}

func serve(t *testing.T, s *Socket) <-chan Message {
	got, done := make(chan Message, 1000), make(chan bool)
	go func() {
		s.Serve(func(m Message) { got <- m })
		close(done)
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return got
}

func next(t *testing.T, got <-chan Message) Message {
	t.Helper()
	select {
	case m := <-got:
		return m
	case <-time.After(10 * time.Second):
		t.Fatal("got no message in 10 s")
		panic("unreachable")
	}
}

// send sends text and descriptors from this process.
func send(t *testing.T, path, text string, fds ...int) {
	t.Helper()
	c := dial(t)
	defer unix.Close(c)
	if err := sendmsg(c, path, text, fds...); err != nil {
		t.Fatal(err)
	}
}

// dial makes a sender; a blocking one, so that it waits for room.
func dial(t *testing.T) int {
	t.Helper()
	c, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.CloseOnExec(c)
	return c
}

func sendmsg(c int, path, text string, fds ...int) error {
	var control []byte
	if len(fds) > 0 {
		control = unix.UnixRights(fds...)
	}
	for {
		err := unix.Sendmsg(c, []byte(text), control, &unix.SockaddrUnix{Name: path}, 0)
		if err != unix.EINTR {
			return err
		}
	}
}

// fence returns when everything sent before was handled, with what was delivered.
func fence(t *testing.T, s *Socket, got <-chan Message) (before []Message) {
	t.Helper()
	send(t, s.path, "STATUS=fence")
	for {
		m := next(t, got)
		if m.Status != nil && *m.Status == "fence" {
			return before
		}
		before = append(before, m)
	}
}

func TestSystemdNotify(t *testing.T) {
	tool, err := exec.LookPath("systemd-notify")
	if err != nil {
		t.Skip("systemd-notify is not installed (package systemd)")
	}
	s, got := open(t)
	start := time.Now()
	cmd := exec.Command(tool, "--ready", "--status=all well")
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+s.Path())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("systemd-notify took %v, want < 2 s: the barrier was not answered", d)
	}
	m := next(t, got)
	if !m.Ready || m.Status == nil || *m.Status != "all well" || m.Uid != os.Getuid() {
		t.Errorf("got %+v, want READY=1 and a status", m)
	}
	if n := s.Stats().Barriers; n != 1 {
		t.Errorf("got %d barriers, want 1", n)
	}
}

func TestGoSystemd(t *testing.T) {
	s, got := open(t)
	t.Setenv("NOTIFY_SOCKET", s.Path())
	monotonic := daemon.SdNotifyMonotonicUsec()
	for _, text := range []string{daemon.SdNotifyReady, daemon.SdNotifyReloading + "\n" + monotonic, daemon.SdNotifyStopping, daemon.SdNotifyWatchdog} {
		if ok, err := daemon.SdNotify(false, text); !ok || err != nil {
			t.Fatalf("%q: %v, %v", text, ok, err)
		}
	}
	ready, reload, stop, ping := next(t, got), next(t, got), next(t, got), next(t, got)
	if !ready.Ready || !reload.Reloading || reload.MonotonicUsec == 0 || !stop.Stopping || ping.Watchdog != WatchdogPing {
		t.Errorf("got %+v, %+v, %+v, %+v", ready, reload, stop, ping)
	}
	if ready.Pid != os.Getpid() || ready.Gid != os.Getgid() {
		t.Errorf("got pid %d, gid %d, want %d, %d", ready.Pid, ready.Gid, os.Getpid(), os.Getgid())
	}
}

const pythonSend = `
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.sendto(eval(sys.argv[1]), os.environ["NOTIFY_SOCKET"])
print(os.getpid())
`

func TestPythonDatagrams(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not installed")
	}
	s, got := open(t)
	cmd := exec.Command("python3", "-c", pythonSend, `b"READY=1\nSTATUS=h\xc3\xa9"`)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+s.Path())
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	m := next(t, got)
	if !m.Ready || *m.Status != "hé" {
		t.Errorf("got %+v", m)
	}
	if pid := fmt.Sprintln(m.Pid); pid != string(out) {
		t.Errorf("got sender %s, want %s", pid, out)
	}
}

// A barrier is answered after the callbacks of the messages before it.
func TestBarrierWaitsForCallback(t *testing.T) {
	s, err := Listen(socketPath(t), os.Getuid(), os.Getgid())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	entered, leave := make(chan bool), make(chan bool)
	go s.Serve(func(Message) { entered <- true; <-leave })
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	send(t, s.path, "READY=1")
	send(t, s.path, "BARRIER=1", int(w.Fd()))
	w.Close()
	<-entered
	r.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := r.Read(make([]byte, 1)); !os.IsTimeout(err) {
		t.Fatalf("got %v, want the barrier still open while the callback runs", err)
	}
	leave <- true
	r.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := r.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("got %v, want the barrier closed", err)
	}
}

func TestBarrierMisused(t *testing.T) {
	s, got := open(t)
	null := devNull(t)
	base := openFDs(t)
	send(t, s.path, "BARRIER=1")
	send(t, s.path, "BARRIER=1", null, null)
	send(t, s.path, "BARRIER=1\nREADY=1", null)
	if before := fence(t, s, got); len(before) != 0 {
		t.Errorf("got %+v, want nothing", before)
	}
	if st := s.Stats(); st.Barriers != 0 || st.Malformed != 3 {
		t.Errorf("got %+v, want 3 malformed and no barrier", st)
	}
	wantFDs(t, base)
}

func TestStoredDescriptors(t *testing.T) {
	s, got := open(t)
	base := openFDs(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	send(t, s.path, "FDSTORE=1\nFDNAME=pipe", int(w.Fd()), int(w.Fd()))
	w.Close()
	m := next(t, got)
	if len(m.FDs) != 2 || m.FDName != "pipe" {
		t.Fatalf("got %+v, want two descriptors", m)
	}
	m.FDs[1].WriteString("hello")
	buf := make([]byte, 9)
	if n, _ := r.Read(buf); string(buf[:n]) != "hello" {
		t.Errorf("got %q through the stored pipe", buf[:n])
	}
	if flags, _ := unix.FcntlInt(m.FDs[0].Fd(), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
		t.Error("got a descriptor that children inherit")
	}
	m.Close()
	m.Close()
	if n, err := r.Read(buf); n != 0 || err == nil {
		t.Errorf("got %d, %v, want the pipe closed", n, err)
	}
	r.Close()
	wantFDs(t, base)
}

func TestMainPIDFD(t *testing.T) {
	s, got := open(t)
	null := devNull(t)
	base := openFDs(t)
	send(t, s.path, "MAINPID=7\nMAINPIDFD=1", null)
	m := next(t, got)
	if m.MainPID != 7 || m.MainPIDFD == nil {
		t.Errorf("got %+v, want a pidfd", m)
	}
	m.Close()
	send(t, s.path, "READY=1\nMAINPIDFD=1", null, null)
	if m = next(t, got); !m.Ready || m.MainPIDFD != nil || m.Ignored != 1 {
		t.Errorf("got %+v, want the pidfd ignored", m)
	}
	wantFDs(t, base)
}

// Descriptors that nobody asked for are closed, up to the most that can come.
func TestUnwantedDescriptors(t *testing.T) {
	s, got := open(t)
	base := openFDs(t)
	null := devNull(t)
	many := make([]int, maxFDs)
	for i := range many {
		many[i] = null
	}
	send(t, s.path, "READY=1", many...)
	if m := next(t, got); !m.Ready || m.FDs != nil {
		t.Errorf("got %+v, want READY=1 only", m)
	}
	send(t, s.path, "FDSTORE=1", many...)
	m := next(t, got)
	if len(m.FDs) != maxFDs {
		t.Errorf("got %d descriptors, want %d", len(m.FDs), maxFDs)
	}
	m.Close()
	unix.Close(null)
	wantFDs(t, base)
}

func TestGarbage(t *testing.T) {
	s, got := open(t)
	null := devNull(t)
	base := openFDs(t)
	c := dial(t)
	kinds := []string{"", "\x00", "FOO=1", "READY=1\x00STATUS=x", "\xff\xfe", "READY=0",
		"STATUS=" + strings.Repeat("x", MaxDatagram), strings.Repeat("A=1\n", 1000), "BARRIER=1\nX_Y=2", "======\n\n"}
	for i := range 10_000 {
		if err := sendmsg(c, s.path, kinds[i%len(kinds)], null, null); err != nil {
			t.Fatal(err)
		}
	}
	unix.Close(c)
	if before := fence(t, s, got); len(before) != 0 {
		t.Errorf("got %d messages, first %+v, want none", len(before), before[0])
	}
	if st := s.Stats(); st.Malformed != 10_000 || st.Errors != 0 {
		t.Errorf("got %+v, want 10000 malformed", st)
	}
	wantFDs(t, base)
}

// One service that floods its socket does not keep another from being heard.
func TestFlood(t *testing.T) {
	flooded, other := openQuiet(t), openQuiet(t)
	heard := make(chan time.Time, 1)
	go flooded.Serve(func(Message) {})
	go other.Serve(func(Message) { heard <- time.Now() })
	c := dial(t)
	done := make(chan bool)
	defer func() {
		flooded.Close() // ends the flood, which waits for room
		<-done
		unix.Close(c)
	}()
	go func() {
		defer close(done)
		for sendmsg(c, flooded.path, "WATCHDOG=1") == nil {
		}
	}()
	for flooded.Stats().Delivered < burst {
		time.Sleep(time.Millisecond) // no event: the flood has no reader of its own
	}
	start := time.Now()
	send(t, other.path, "READY=1")
	if d := (<-heard).Sub(start); d > 2*time.Second {
		t.Errorf("READY=1 took %v beside a flood", d)
	}
	n, since := flooded.Stats().Delivered, time.Now()
	<-time.After(5 * window)
	if got, most := flooded.Stats().Delivered-n, burst*(2+uint64(time.Since(since)/window)); got > most {
		t.Errorf("got %d datagrams taken of a flood, want at most %d", got, most)
	}
}

func openQuiet(t *testing.T) *Socket {
	s, err := Listen(socketPath(t), os.Getuid(), os.Getgid())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestModesAndRemoval(t *testing.T) {
	path := socketPath(t)
	for range 2 { // the second run finds nothing of the first
		s, err := Listen(path, os.Getuid(), os.Getgid())
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]os.FileMode{path: os.ModeSocket | 0o600, filepath.Dir(path): os.ModeDir | 0o700} {
			if info, err := os.Lstat(name); err != nil || info.Mode() != want {
				t.Errorf("%s: got %v, %v, want %v", name, info.Mode(), err, want)
			}
		}
		s.Close()
		if _, err := os.Lstat(filepath.Dir(path)); !os.IsNotExist(err) {
			t.Errorf("got %v, want the directory gone", err)
		}
	}
}

// Close leaves the socket of a receiver that came later.
func TestCloseLeavesSuccessor(t *testing.T) {
	first := openQuiet(t)
	second, err := Listen(first.path, os.Getuid(), os.Getgid())
	if err != nil {
		t.Fatal(err)
	}
	got := serve(t, second)
	first.Close()
	send(t, second.path, "READY=1")
	next(t, got)
}

// What was sent while nobody received is not lost when the descriptor was kept.
func TestAdopt(t *testing.T) {
	first := openQuiet(t)
	kept, err := first.File()
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	first.conn.Close() // as a receiver that was killed: nothing is removed
	send(t, first.path, "READY=1")
	second, err := Adopt(kept, first.path, os.Getuid())
	if err != nil {
		t.Fatal(err)
	}
	got := serve(t, second)
	if m := next(t, got); !m.Ready || m.Pid != os.Getpid() {
		t.Errorf("got %+v, want READY=1 with its sender", m)
	}
	second.Close()
	if _, err := os.Lstat(first.path); !os.IsNotExist(err) {
		t.Errorf("got %v, want the socket removed", err)
	}
	if _, err := Adopt(devNullFile(t), "/x", 0); err == nil {
		t.Error("got a socket from /dev/null, want an error")
	}
}

func TestListenRefuses(t *testing.T) {
	base := filepath.Dir(filepath.Dir(socketPath(t)))
	wide := filepath.Join(base, "wide")
	os.Mkdir(wide, 0o755)
	file := filepath.Join(base, "file")
	os.Mkdir(file, 0o700)
	os.WriteFile(filepath.Join(file, "s"), []byte("precious"), 0o600)
	link := filepath.Join(base, "link")
	os.Symlink(file, link)
	for path, want := range map[string]string{
		filepath.Join(wide, "s"):                     "mode 0755",
		filepath.Join(file, "s"):                     "want nothing or a socket",
		filepath.Join(link, "s"):                     "not a directory",
		filepath.Join(base, "absent", "n", "s"):      "no such file",
		filepath.Join(base, strings.Repeat("x", 99)): "want at most 107",
	} {
		if s, err := Listen(path, os.Getuid(), os.Getgid()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v, want %q", path, s, err, want)
		}
	}
	if got, _ := os.ReadFile(filepath.Join(file, "s")); string(got) != "precious" {
		t.Errorf("got %q, want the file untouched", got)
	}
}

func devNullFile(t *testing.T) *os.File {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func devNull(t *testing.T) int {
	fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func openFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Skip("no /dev/fd here")
	}
	return len(entries)
}

func wantFDs(t *testing.T, want int) {
	t.Helper()
	if got := openFDs(t); got != want {
		t.Errorf("got %d open descriptors, want %d as before", got, want)
	}
}
