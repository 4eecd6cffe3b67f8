package fresh

import (
	"io/fs"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const errNotDir = syscall.ENOTDIR

// StateOf is the state that a FileInfo holds, which was asked for at that time or later.
func StateOf(fi fs.FileInfo, at time.Time) State {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return State{Young: true}
	}
	return State{
		Dev: uint64(st.Dev), Ino: st.Ino, Mode: st.Mode, Size: st.Size, Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(),
		Young: young(st.Ctim.Nano(), at),
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
