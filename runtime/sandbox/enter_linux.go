package sandbox

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Enter confines the calling thread, which must be locked and about to execute the program; nothing but that may follow. watch is the
// descriptor that the Watcher gave for it: what could be set up is told there. An error means that the program must not run.
func Enter(o *Orders, watch int) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot give up new privileges: %w", err)
	}
	if err := o.restrict(); err != nil {
		return err
	}
	if o.NoNetwork {
		if _, err := install(networkFilter(arch()), 0); err != nil {
			return fmt.Errorf("cannot close the network: %w", err)
		}
	}
	listener, text := -1, told
	if o.Listen {
		var err error
		if listener, err = listen(); err != nil {
			text = "this kernel tells us of no system calls: " + err.Error()
			if err == unix.EBUSY {
				text = "another program listens to the system calls of this one already"
			}
		}
	}
	var rights []byte
	if listener >= 0 {
		rights = unix.UnixRights(listener)
	}
	if err := unix.Sendmsg(watch, []byte(text), rights, nil, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("cannot tell who watches: %w", err)
	}
	if listener >= 0 {
		unix.Close(listener)
	}
	return nil
}

// told is the message of a shim that could do all that it was asked.
const told = "ok"

// listen installs the filter that asks about paths. From then on such a call of this thread waits for an answer.
func listen() (int, error) {
	calls := pathCalls()
	if arch() == 0 || len(calls) == 0 {
		return -1, unix.ENOSYS
	}
	var numbers []uint32
	for nr := range calls {
		numbers = append(numbers, uint32(nr))
	}
	filter := pathFilter(arch(), numbers)
	// Once it was told of a call, only a fatal signal ends the wait: else Go's own signals would have it asked again and again.
	fd, err := install(filter, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
	if err == unix.EINVAL {
		fd, err = install(filter, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
	}
	return fd, err
}

func install(filter []unix.SockFilter, flags uintptr) (int, error) {
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	n, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(filter)
	if e != 0 {
		return -1, e
	}
	return int(n), nil
}

// arch is the number that seccomp gives to our processor; 0: we do not know its calls.
func arch() uint32 {
	switch runtime.GOARCH {
	case "amd64":
		return unix.AUDIT_ARCH_X86_64
	case "arm64":
		return unix.AUDIT_ARCH_AARCH64
	}
	return 0
}

// Where a filter finds what it looks at.
const (
	offsetCall = 0
	offsetArch = 4
	offsetArg  = 16 // the lower half of the first argument, on a little-endian machine
)

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func equal(k uint32, yes, no int) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jt: uint8(yes), Jf: uint8(no)}
}

func verdict(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }

// pathFilter asks about the calls with these numbers, and allows all others, such as those of a 32-bit program.
func pathFilter(arch uint32, calls []uint32) []unix.SockFilter {
	n := len(calls)
	f := []unix.SockFilter{load(offsetArch), equal(arch, 0, n+1), load(offsetCall)}
	for i, nr := range calls {
		f = append(f, equal(nr, n-i, 0))
	}
	return append(f, verdict(unix.SECCOMP_RET_ALLOW), verdict(unix.SECCOMP_RET_USER_NOTIF))
}

// networkFilter refuses socket(2) for any family but unix and netlink. A 32-bit program, or a machine whose calls we do not know,
// meets Landlock alone, which knows of TCP.
func networkFilter(arch uint32) []unix.SockFilter {
	return []unix.SockFilter{
		load(offsetArch), equal(arch, 0, 5),
		load(offsetCall), equal(uint32(unix.SYS_SOCKET), 0, 3),
		load(offsetArg), equal(unix.AF_UNIX, 1, 0), equal(unix.AF_NETLINK, 0, 1),
		verdict(unix.SECCOMP_RET_ALLOW),
		verdict(unix.SECCOMP_RET_ERRNO | uint32(unix.EACCES)),
	}
}
