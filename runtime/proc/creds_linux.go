package proc

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// become changes user, group and capabilities of this thread alone: the one that executes the program. (Go's own functions
// change all threads; then each would count against the user's limit of tasks.)
func (o *orders) become() *StartError {
	caps, err := o.Limits.caps()
	if err != nil {
		return &StartError{Op: "limit", Path: "capabilities", Err: err}
	}
	limited := o.Limits.Capabilities != nil
	if limited {
		if err := bound(caps, o.Limits.NoNewPrivs); err != nil {
			return &StartError{Op: "limit", Path: "capabilities", Err: err}
		}
	}
	if c := o.Cred; c != nil {
		if caps != 0 {
			if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
				return &StartError{Op: "limit", Path: "capabilities", Err: err}
			}
		}
		if err := setIDs(c); err != nil {
			return &StartError{Op: "user", Path: strconv.Itoa(int(c.Uid)), Err: err}
		}
	}
	if !limited {
		return nil
	}
	if err := ambient(caps); err != nil {
		return &StartError{Op: "limit", Path: "capabilities=" + strings.Join(o.Limits.Capabilities, ","), Err: err}
	}
	return nil
}

func setIDs(c *credential) error {
	var groups unsafe.Pointer
	if len(c.Groups) > 0 {
		groups = unsafe.Pointer(&c.Groups[0])
	}
	if _, _, e := unix.RawSyscall(sysSetgroups, uintptr(len(c.Groups)), uintptr(groups), 0); e != 0 {
		return fmt.Errorf("setgroups: %w", e)
	}
	runtime.KeepAlive(c)
	if _, _, e := unix.RawSyscall(sysSetresgid, uintptr(c.Gid), uintptr(c.Gid), uintptr(c.Gid)); e != 0 {
		return fmt.Errorf("setresgid %d: %w", c.Gid, e)
	}
	if _, _, e := unix.RawSyscall(sysSetresuid, uintptr(c.Uid), uintptr(c.Uid), uintptr(c.Uid)); e != 0 {
		return fmt.Errorf("setresuid %d: %w", c.Uid, e)
	}
	return nil
}

// caps is the set of the named capabilities.
func (l *Limits) caps() (uint64, error) {
	var set uint64
	for _, name := range l.Capabilities {
		n := strings.TrimPrefix(strings.ToUpper(name), "CAP_")
		i := capIndex(n)
		if i < 0 {
			return 0, fmt.Errorf("got capability %q, want a name such as CAP_NET_BIND_SERVICE", name)
		}
		set |= 1 << i
	}
	return set, nil
}

func capIndex(name string) int {
	for i, n := range strings.Fields(capNames) {
		if n == name {
			return i
		}
	}
	return -1
}

// capNames are the names in the order of their numbers (linux/capability.h).
const capNames = `CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
	NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE
	SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM
	BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`

// bound takes all but set out of the bounding set, so that executing a set-user-id program cannot bring them back. Without
// the right to, no_new_privileges does the same.
func bound(set uint64, noNewPrivs bool) error {
	for i := 0; i <= lastCap(); i++ {
		if set&(1<<i) != 0 {
			continue
		}
		if on, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(i), 0, 0, 0); err != nil || on == 0 {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(i), 0, 0, 0)
		if err == nil || err == unix.EPERM && noNewPrivs {
			continue
		}
		if err == unix.EPERM {
			return &textError{"only root can bound them: set no_new_privileges, which does the same, or start orrery as root", syscall.EPERM}
		}
		return err
	}
	return nil
}

// ambient makes set all that this thread has, and what it keeps over the exec.
func ambient(set uint64) error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	for i := range data {
		w := uint32(set >> (32 * i))
		data[i] = unix.CapUserData{Effective: w, Permitted: w, Inheritable: w}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		return err
	}
	for i := 0; i <= lastCap(); i++ {
		if set&(1<<i) == 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(i), 0, 0); err != nil {
			return err
		}
	}
	return nil
}

// lastCap is the highest capability that this kernel has.
func lastCap() int {
	b, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	n, nerr := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || nerr != nil {
		return unix.CAP_LAST_CAP
	}
	return n
}

// prctlGet is a prctl that answers through a pointer.
func prctlGet(option int, to *int32) error {
	if _, _, e := unix.RawSyscall6(unix.SYS_PRCTL, uintptr(option), uintptr(unsafe.Pointer(to)), 0, 0, 0, 0); e != 0 {
		return e
	}
	return nil
}
