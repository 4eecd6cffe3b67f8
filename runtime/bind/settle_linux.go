package bind

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// settle gives a fresh socket file its mode and owner. The file is held by a descriptor, so that nothing that was put in
// its place is changed.
func settle(path string, mode os.FileMode, o owner) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s was replaced by something else", path)
	}
	held := fmt.Sprintf("/proc/self/fd/%d", fd)
	if o != us {
		if err := os.Chown(held, o.uid, o.gid); err != nil {
			return err
		}
	}
	return os.Chmod(held, mode)
}
