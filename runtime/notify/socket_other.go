//go:build !linux

package notify

import (
	"os"

	"golang.org/x/sys/unix"
)

// hasCredentials: the kernel does not tell who sent a datagram; the directory of
// the socket is the only guard.
const hasCredentials = false

// credentialSpace is what the credentials take of the control buffer.
const credentialSpace = 0

// prepare has nothing to do before the bind.
func prepare(int) error { return nil }

// give makes the bound socket that of the user of the service.
func give(path string, uid, gid int) (inode, error) {
	if err := os.Chmod(path, 0o600); err != nil {
		return inode{}, err
	}
	if os.Geteuid() == 0 {
		if err := os.Lchown(path, uid, gid); err != nil {
			return inode{}, err
		}
	}
	return inodeOf(path)
}

// credentials finds none.
func credentials(*unix.SocketControlMessage) (sender, bool) { return sender{}, false }
