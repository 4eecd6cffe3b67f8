package fresh

import (
	"io/fs"
	"strings"
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

// home is a folder below which most of what is looked at lies: a path from there is shorter.
type home struct {
	fd     int
	prefix string // ends in a slash
}

// openHome opens one; without it paths are as they are.
func openHome(dir string) home {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return home{fd: unix.AT_FDCWD}
	}
	return home{fd, strings.TrimSuffix(dir, "/") + "/"}
}

func (h home) close() {
	if h.fd != unix.AT_FDCWD {
		unix.Close(h.fd)
	}
}

// folder is a directory whose files are looked at: with a descriptor of its own, if there are many.
type folder struct {
	fd   int
	name string // from there
	own  bool
}

// worthOpening is from how many files on a descriptor of their folder pays.
const worthOpening = 4

func (h home) folder(name string, files int) folder {
	f := folder{fd: unix.AT_FDCWD, name: name}
	if rel, ok := strings.CutPrefix(name, h.prefix); ok && h.prefix != "" {
		f.fd, f.name = h.fd, rel
	}
	if files >= worthOpening {
		if fd, err := unix.Openat(f.fd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
			return folder{fd: fd, own: true}
		}
	}
	return f
}

func (f folder) close() {
	if f.own {
		unix.Close(f.fd)
	}
}

// state looks at a file of the folder.
func (f folder) state(base string, how How) (State, error) {
	name := f.name + base
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
