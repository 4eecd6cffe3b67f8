package control

import "fmt"

// peer is the process at the other end of a socket, as the kernel tells it.
type peer struct {
	pid, uid, gid int // 0, -1, -1 where the system does not tell
}

// admit decides whether a process with effective user euid talks to p. Where the system does not name the peer, the
// directory of the socket, which only its owner and root can enter, is the guard.
func admit(p peer, euid int) error {
	if p.uid == euid || p.uid == 0 || p.uid == -1 {
		return nil
	}
	return fmt.Errorf("refused: the engine belongs to uid %d and serves only that user and root, got uid %d", euid, p.uid)
}
