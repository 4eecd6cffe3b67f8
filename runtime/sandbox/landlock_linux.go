package sandbox

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What of Landlock each Access is.
const (
	landRead  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_EXECUTE
	landList  = unix.LANDLOCK_ACCESS_FS_READ_DIR
	landWrite = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SYM |
		unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR |
		unix.LANDLOCK_ACCESS_FS_REMOVE_FILE | unix.LANDLOCK_ACCESS_FS_REFER
	landFile = landRead | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV // what a rule for a file may hold
)

// ABI is the version of Landlock that this kernel has; 0: none.
func ABI() int {
	n, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if e != 0 {
		return 0
	}
	return int(n)
}

// handled are the accesses that a kernel with an ABI can refuse.
func handled(abi int) uint64 {
	all := uint64(unix.LANDLOCK_ACCESS_FS_MAKE_SYM<<1 - 1)
	if abi >= 2 {
		all |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		all |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 5 {
		all |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	return all
}

// restrict confines this thread by Landlock, for what there is to refuse.
func (o *Orders) restrict() error {
	abi := ABI()
	var attr unix.LandlockRulesetAttr
	size := unsafe.Sizeof(attr.Handled_access_fs)
	if o.Refuse {
		if abi == 0 {
			return errors.New("this kernel has no Landlock (it needs Linux 5.13, and landlock in the lsm= list)")
		}
		attr.Handled_access_fs = handled(abi)
	}
	if abi >= 4 {
		size += unsafe.Sizeof(attr.Handled_access_net)
		if o.NoNetwork {
			attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		}
	}
	if abi >= 6 {
		size += unsafe.Sizeof(attr.Scoped)
		if o.Refuse {
			attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
		}
	}
	if attr.Handled_access_fs|attr.Handled_access_net == 0 {
		return nil
	}
	fd, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if e != 0 {
		return fmt.Errorf("cannot make a ruleset of Landlock: %w", e)
	}
	defer unix.Close(int(fd))
	for _, r := range o.Rules {
		if !o.Refuse {
			break
		}
		if err := open(int(fd), r, attr.Handled_access_fs); err != nil {
			return err
		}
	}
	if _, _, e := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); e != 0 {
		return fmt.Errorf("cannot enter the ruleset of Landlock: %w", e)
	}
	return nil
}

// open adds a rule. What does not exist, or cannot be reached by us, opens nothing.
func open(ruleset int, r Rule, handled uint64) error {
	fd, err := unix.Open(r.Path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	can := uint64(0)
	for _, x := range []struct {
		bit  Access
		land uint64
	}{{Read, landRead}, {List, landList}, {Write, landWrite}} {
		if r.Can&x.bit != 0 {
			can |= x.land
		}
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		can &= landFile
	}
	attr := unix.LandlockPathBeneathAttr{Allowed_access: can & handled, Parent_fd: int32(fd)}
	_, _, e := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&attr)), 0, 0, 0)
	if e == 0 || e == unix.EBADFD || e == unix.ENOMSG { // a pipe or a socket is open in any case; a rule of nothing is none
		return nil
	}
	return fmt.Errorf("cannot open %s in the ruleset of Landlock: %w", r.Path, e)
}
