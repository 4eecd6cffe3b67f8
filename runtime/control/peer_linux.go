package control

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// peerOf asks the kernel who connected to (or listens on) the other end of c.
func peerOf(c net.Conn) (peer, error) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return peer{}, fmt.Errorf("cannot learn who is at the other end: got a %T, want a unix socket", c)
	}
	rc, err := s.SyscallConn()
	if err != nil {
		return peer{}, fmt.Errorf("cannot learn who is at the other end: %w", err)
	}
	var cred *unix.Ucred
	var asked error
	if err := rc.Control(func(fd uintptr) {
		cred, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return peer{}, fmt.Errorf("cannot learn who is at the other end: %w", err)
	}
	if asked != nil {
		return peer{}, fmt.Errorf("cannot learn who is at the other end: SO_PEERCRED: %w", asked)
	}
	return peer{pid: int(cred.Pid), uid: int(cred.Uid), gid: int(cred.Gid)}, nil
}

// bootID names this run of the kernel; empty when it cannot be read.
func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}

// startTime is when a process started, in clock ticks since boot (proc(5), stat field 22); 0 when there is none.
func startTime(pid int) uint64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	// The command in parentheses may hold anything; the fields after the last one are numbers. The first is field 3.
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 20 {
		return 0
	}
	n, _ := strconv.ParseUint(f[19], 10, 64)
	return n
}

// private gives a socket, before it is bound, the mode that its file will have: no other user can connect between bind
// and chmod.
func private(fd uintptr) error { return unix.Fchmod(int(fd), 0o600) }
