package proc

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestNamespaceSeesItself(t *testing.T) {
	needNamespace(t)
	f, _ := listener(t, "tcp", "127.0.0.1:0")
	out, e := run(t, inNamespace(&Spec{Argv: []string{"sh", "-c", `echo $LISTEN_PID $WATCHDOG_PID $$; readlink /proc/self/ns/pid; cat /proc/$$/comm
		ls /proc/self/fd; grep -E '^(Cap(Inh|Prm|Eff|Amb)|SigBlk|SigIgn)' /proc/self/status`},
		Listen: []Listener{{Name: "web", File: f}}, Watchdog: time.Second}))
	lines := strings.Split(out, "\n")
	if pids := strings.Fields(lines[0]); !e.Ok() || len(pids) != 3 || pids[0] != pids[2] || pids[1] != pids[2] {
		t.Fatalf("got %v, %s", e, out)
	}
	own, _ := os.Readlink("/proc/self/ns/pid")
	if lines[1] == own || lines[2] != "sh" {
		t.Errorf("got %q, want another namespace than %s and sh", lines[1:3], own)
	}
	for _, l := range lines[3:] {
		if k, v, ok := strings.Cut(l, ":"); ok && (strings.HasPrefix(k, "Sig") || os.Geteuid() != 0) && strings.Trim(v, "0 \t") != "" {
			t.Errorf("got %s, want none", l)
		}
	}
	fds := 0
	for _, l := range lines[3:] {
		if _, err := strconv.Atoi(l); err == nil {
			fds++
		}
	}
	if fds != 5 { // 0, 1, 2, the socket, that of ls
		t.Errorf("got %d descriptors, want 5: %s", fds, out)
	}
}

// TestNamespaceSignals sends to the program itself: what it does not handle ends it, which a first process would not notice.
func TestNamespaceSignals(t *testing.T) {
	needNamespace(t)
	p, err := Start(inNamespace(&Spec{Name: "s", Argv: []string{"sleep", "1000"}, Env: env()}))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.SignalGroup(unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	if e := p.Wait(); e.String() != "killed by SIGUSR1" {
		t.Errorf("got %v", e)
	}
	if err := p.Signal(unix.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("got %v, want it to be done", err)
	}

	// Whoever takes the init for the program is right, too.
	p, err = Start(inNamespace(&Spec{Name: "s", Argv: []string{"sleep", "1000"}, Env: env()}))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := unix.Kill(p.ns.init.Pid(), unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if e := p.Wait(); e.String() != "killed by SIGHUP" {
		t.Errorf("got %v", e)
	}
}

// hider starts a grandchild without environment, in a session of its own, that ignores what it can, and writes both pids.
const hider = `
env -i setsid -f sh -c 'trap "" TERM HUP INT; echo $$ > "$0.inside"; exec 0<&- 1>&- 2>&-; while :; do sleep 1000; done' "$1"
until [ -s "$1.inside" ]; do sleep 0.01; done
echo > "$1"
`

// hidden starts the hider and gives its program and the grandchild's pid, as we see it.
func hidden(t *testing.T, file, then string) (*Process, int) {
	t.Helper()
	p, err := Start(inNamespace(&Spec{Name: "hider", Argv: []string{"sh", "-c", hider + then, "sh", file}, Env: env(), Marker: marker(t)}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.KillTree(soon(t))
		p.Wait()
		p.Close()
	})
	until(t, file, func() bool { _, err := os.Stat(file); return err == nil })
	return p, grandchild(t, p.ns.init.Pid(), p.Pid())
}

// grandchild is the child of the init that is not the program.
func grandchild(t *testing.T, init, program int) int {
	t.Helper()
	pid := 0
	until(t, "the grandchild", func() bool {
		for _, c := range children(init) {
			if c != program {
				pid = c
			}
		}
		return pid > 0
	})
	return pid
}

func TestNamespaceEndsWithItsProgram(t *testing.T) {
	needNamespace(t)
	file := filepath.Join(t.TempDir(), "f")
	p, pid := hidden(t, file, `until [ -e "$1.go" ]; do sleep 0.01; done; exit 7`)
	if !Member(pid, p.Pid(), "") || Member(os.Getpid(), p.Pid(), "") {
		t.Error("want it to be a member, and us not")
	}
	if err := os.WriteFile(file+".go", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if e := p.Wait(); e.String() != "exit 7" {
		t.Errorf("got %v", e)
	}
	if alive(pid) {
		t.Error("the grandchild has outlived the program")
	}
}

func TestNamespaceIsKilled(t *testing.T) {
	needNamespace(t)
	p, pid := hidden(t, filepath.Join(t.TempDir(), "f"), "sleep 1000")
	if p.Means() != "pid namespace" {
		t.Errorf("got %q", p.Means())
	}
	if err := p.KillTree(soon(t)); err != nil {
		t.Fatal(err)
	}
	if e := p.Wait(); e.Signal != syscall.SIGKILL || alive(pid) {
		t.Errorf("got %v, grandchild lives: %v", e, alive(pid))
	}
}

// TestNamespaceDiesWithItsStarter kills who has started it, with nobody left to sweep.
func TestNamespaceDiesWithItsStarter(t *testing.T) {
	needNamespace(t)
	for _, frozen := range []bool{false, true} {
		dir := t.TempDir()
		cmd := exec.Command("/proc/self/exe", "helper", "spawner", filepath.Join(dir, "f"), strconv.FormatBool(frozen))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var init, program int
		if _, err := fmt.Fscan(out, &init, &program); err != nil {
			t.Fatal(err)
		}
		pid := grandchild(t, init, program)
		cmd.Process.Kill()
		cmd.Wait()
		until(t, "the end of all", func() bool { return !alive(init) && !alive(program) && !alive(pid) })
	}
}

func spawner(file, frozen string) int {
	p, err := Start(inNamespace(&Spec{Name: "hider", Argv: []string{"sh", "-c", hider + "sleep 1000", "sh", file}, Env: env()}))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for {
		if _, err := os.Stat(file); err == nil {
			break
		}
		time.Sleep(time.Millisecond) // no event: a shell makes the file; who started us has a deadline
	}
	if frozen == "true" { // what is stopped dies as well
		p.Signal(unix.SIGSTOP)
	}
	fmt.Println(p.ns.init.Pid(), p.Pid())
	select {}
}

func TestNamespaceTerminal(t *testing.T) {
	needNamespace(t)
	p, err := Start(inNamespace(&Spec{Name: "tty", Argv: []string{"sh", "-c", "tty < /dev/tty >/dev/null && echo yes; exec cat"}, Env: env(), TTY: true}))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	defer p.TTY().Close()
	b := make([]byte, 64)
	n, err := p.TTY().Read(b)
	if !strings.HasPrefix(string(b[:n]), "yes") {
		t.Fatalf("got %q, %v", b[:n], err)
	}
	p.TTY().Write([]byte{3}) // ^C goes to the group in front: the program's
	if e := p.Wait(); e.Signal != syscall.SIGINT && e.Code != 130 {
		t.Errorf("got %v", e)
	}
}

// TestNamespaceSocketsAreTheProgramsAlone closes in the program what the init had, too.
func TestNamespaceSocketsAreTheProgramsAlone(t *testing.T) {
	needNamespace(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := Start(inNamespace(&Spec{Name: "eof", Argv: []string{"sh", "-c", "exec >&-; exec sleep 1000"}, Env: env(), Stdout: w}))
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	defer p.Wait()
	defer p.KillTree(soon(t))
	r.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := r.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %d, %v, want the end", n, err)
	}
}

// TestNamespaceCredentials looks at the pid that a socket outside is told: it must be the program's as we know it.
func TestNamespaceCredentials(t *testing.T) {
	needNamespace(t)
	need(t, "python3")
	dir, err := os.MkdirTemp("", "o")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: dir + "/s"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, _ := l.SyscallConn()
	c.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
	p, err := Start(inNamespace(&Spec{Name: "n", Env: env(), Argv: []string{"python3", "-S", "-c",
		"import socket,sys\nsocket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', sys.argv[1])", dir + "/s"}}))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	oob := make([]byte, 128)
	l.SetReadDeadline(time.Now().Add(20 * time.Second))
	_, n, _, _, err := l.ReadMsgUnix(make([]byte, 64), oob)
	if err != nil {
		t.Fatal(err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(msgs) == 0 {
		t.Fatal(msgs, err)
	}
	if cred, err := unix.ParseUnixCredentials(&msgs[0]); err != nil || int(cred.Pid) != p.Pid() {
		t.Errorf("got %v, %v, want pid %d", cred, err, p.Pid())
	}
	p.Wait()
}

func TestNamespaceForbidden(t *testing.T) {
	e := forbidden(syscall.EPERM)
	if !errors.Is(e, syscall.EPERM) || !strings.Contains(e.Error(), "leave pid_namespace out") {
		t.Errorf("got %v", e)
	}
	if e := startErr(t, &Spec{Name: "x", Argv: []string{"true"}, Foreground: true, PidNamespace: true}); e.Op != "pid_namespace" {
		t.Errorf("got %v", e)
	}
}
