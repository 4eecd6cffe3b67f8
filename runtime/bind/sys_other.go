//go:build !linux

package bind

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// newSocket makes a blocking socket that no child inherits by accident.
func newSocket(domain, typ int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(domain, typ, 0)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	return fd, err
}

// claim has no means here: two orreries are kept apart by the reservations alone.
func claim(string, int) (*os.File, error) { return nil, nil }

// remains cannot be learned here.
func remains(int) bool { return true }

// PortOwner says who has a port open; it cannot be learned here.
func PortOwner(string, int) string { return "" }

// renameNew renames a folder to a name that nothing has, or an empty folder.
func renameNew(old, name string) error { return os.Rename(old, name) }
