package proc

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// listener is a socket as bind makes it: its own duplicate, and the address.
func listener(t *testing.T, network, addr string) (*os.File, net.Addr) {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close(); l.Close() })
	return f, l.Addr()
}

// report is a program that tells how it was activated; its own pid is shown as PID.
const report = `
import os
me = str(os.getpid())
for k in ("LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"):
    v = os.environ.get(k, "-")
    print(k, "PID" if v == me else v)
for n in sorted(map(int, os.listdir("/proc/self/fd"))):
    if n >= 3 and os.path.exists("/proc/self/fd/%d" % n):
        print(n, os.readlink("/proc/self/fd/%d" % n).split(":")[0], os.get_inheritable(n), os.get_blocking(n))
`

func TestListenLikeSystemd(t *testing.T) {
	need(t, "python3")
	need(t, "systemd-socket-activate")
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatal(err)
	}
	sock := func() string {
		dir, err := os.MkdirTemp("", "o")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		return filepath.Join(dir, "s")
	}
	a, b := sock(), sock()
	cmd := exec.Command("systemd-socket-activate", "-l", a, "-l", b, "--fdname=web:admin", "-E", "PATH="+os.Getenv("PATH"), python, "-S", "-c", report)
	cmd.Env = env()
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "systemd-socket-activate", func() bool {
		c, err := net.Dial("unix", b)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	cmd.Wait()
	want := out.String()
	web, _ := listener(t, "unix", sock())
	admin, _ := listener(t, "unix", sock())
	got, e := run(t, &Spec{Argv: []string{python, "-S", "-c", report}, Listen: []Listener{{Name: "web", File: web}, {Name: "admin", File: admin}}})
	if got != want || !strings.Contains(want, "LISTEN_PID PID\n") {
		t.Errorf("got %v\n%s\nwant\n%s", e, got, want)
	}
}

func TestListenServes(t *testing.T) {
	need(t, "python3")
	f, addr := listener(t, "tcp", "127.0.0.1:0")
	p, err := Start(&Spec{Argv: []string{"python3", "-S", "-c", `
import socket
s = socket.socket(fileno=3)
c, _ = s.accept()
c.sendall(b"hello")
`}, Env: env(), Listen: []Listener{{File: f}}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 16)
	n, err := c.Read(buf)
	if string(buf[:n]) != "hello" {
		t.Errorf("got %q, %v", buf[:n], err)
	}
	if e := p.Wait(); !e.Ok() {
		t.Error(e)
	}
}

func TestListenPidfdInode(t *testing.T) {
	f, _ := listener(t, "tcp", "127.0.0.1:0")
	p, err := Start(&Spec{Argv: []string{"sleep", "3600"}, Env: env(), Listen: []Listener{{File: f}}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	defer p.Wait()
	defer p.Signal(unix.SIGKILL)
	if p.Identity().Inode == 0 {
		t.Skip("this kernel has no inodes for pidfds")
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(p.Pid()) + "/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"LISTEN_PIDFDID=" + strconv.FormatUint(p.Identity().Inode, 10), "LISTEN_PID=" + strconv.Itoa(p.Pid()), "LISTEN_FDNAMES=unknown"} {
		if !strings.Contains("\x00"+string(b), "\x00"+want+"\x00") {
			t.Errorf("got %q, want %s in it", b, want)
		}
	}
}

func TestBlockingModeOfSharedSockets(t *testing.T) {
	for _, shared := range []bool{false, true} {
		f, _ := listener(t, "tcp", "127.0.0.1:0")
		fd, err := rawFD(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.SetNonblock(int(fd), true); err != nil {
			t.Fatal(err)
		}
		run(t, &Spec{Argv: []string{"true"}, Listen: []Listener{{File: f, Shared: shared}}})
		flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
		if err != nil || flags&unix.O_NONBLOCK != 0 != shared {
			t.Errorf("shared %v: got flags %#x, %v", shared, flags, err)
		}
	}
}

func TestListenersStayOurs(t *testing.T) {
	f, _ := listener(t, "tcp", "127.0.0.1:0")
	out, _ := run(t, &Spec{Argv: []string{"sh", "-c", "ls -l /proc/self/fd | grep -c socket; echo $LISTEN_FDS"}})
	if out != "0\n\n" {
		t.Errorf("got %q", out)
	}
	f.Close()
	if e := startErr(t, &Spec{Argv: []string{"true"}, Listen: []Listener{{Name: "x", File: f}}}); e.Op != "listen" {
		t.Error(e)
	}
}
