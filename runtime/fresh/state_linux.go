package fresh

import (
	"io/fs"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Clock is the clock that the times of files are taken from: it goes in steps of a few milliseconds, and whatever is done to a file of a
// local file system from now on gets this time or a later one.
func Clock() time.Time {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &t); err != nil {
		return time.Now().Add(-coarse)
	}
	return time.Unix(t.Unix())
}

// StateOf is the state that a FileInfo holds, which was asked for when Clock was at, or later.
func StateOf(fi fs.FileInfo, at time.Time) State {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return State{Young: true}
	}
	return State{
		Dev: uint64(st.Dev), Ino: st.Ino, Mode: st.Mode, Size: st.Size, Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(),
		Young: Young(st.Ctim.Nano(), at),
	}
}

// folder is a directory whose files are looked at: with a descriptor, if there are many.
type folder struct {
	fd   int
	name string
}

// worthOpening is from how many files on a descriptor of their folder pays.
const worthOpening = 4

func openFolder(name string, files int) folder {
	f := folder{fd: unix.AT_FDCWD, name: name}
	if files >= worthOpening {
		if fd, err := unix.Open(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
			f.fd = fd
		}
	}
	return f
}

func (f folder) close() {
	if f.fd != unix.AT_FDCWD {
		unix.Close(f.fd)
	}
}

// state looks at a file of the folder.
func (f folder) state(base string, how How) (State, error) {
	name := base
	if f.fd == unix.AT_FDCWD {
		name = f.name + base
	}
	flags := 0
	if how == Path {
		flags = unix.AT_SYMLINK_NOFOLLOW
	}
	var st unix.Stat_t
	for {
		err := unix.Fstatat(f.fd, name, &st, flags)
		if err == unix.EINTR {
			continue
		}
		if err == unix.ENOENT || err == unix.ENOTDIR {
			return State{}, nil
		}
		if err != nil {
			return State{}, err
		}
		return State{Dev: st.Dev, Ino: st.Ino, Mode: st.Mode, Size: st.Size, Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano()}, nil
	}
}
