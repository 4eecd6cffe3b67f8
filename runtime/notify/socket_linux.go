package notify

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// hasCredentials: the kernel tells who sent a datagram.
const hasCredentials = true

// credentialSpace is what the credentials take of the control buffer.
var credentialSpace = unix.CmsgSpace(unix.SizeofUcred)

// prepare runs on the socket before it is bound, so that there is no instant at
// which others could write to it or be heard without credentials. The mode of a
// socket is that of the file which bind makes.
func prepare(fd int) error {
	if err := unix.Fchmod(fd, 0o600); err != nil {
		return fmt.Errorf("cannot set the mode: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		return fmt.Errorf("cannot ask for credentials: %w", err)
	}
	return nil
}

// give makes the bound socket that of the user of the service. It holds the file
// itself and looks at it first: the user could have put something of root's
// under the name.
func give(path string, uid, gid int) (inode, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return inode{}, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return inode{}, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK || int(st.Uid) != os.Geteuid() {
		return inode{}, errors.New("somebody replaced it")
	}
	at := inode{uint64(st.Dev), uint64(st.Ino)}
	if os.Geteuid() == 0 {
		if err := unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH); err != nil {
			return at, fmt.Errorf("cannot give it to user %d: %w", uid, err)
		}
	}
	return at, nil
}

// credentials reads the sender from a part of the control data.
func credentials(part *unix.SocketControlMessage) (sender, bool) {
	if part.Header.Level != unix.SOL_SOCKET || part.Header.Type != unix.SCM_CREDENTIALS {
		return sender{}, false
	}
	c, err := unix.ParseUnixCredentials(part)
	if err != nil {
		return sender{}, false
	}
	return sender{int(c.Pid), int(c.Uid), int(c.Gid), true}, true
}
