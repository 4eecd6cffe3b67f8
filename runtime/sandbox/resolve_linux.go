package sandbox

import (
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// absolute is a path as we can look at it: from the root, with what means the asker itself in its own terms. Links are still in it.
func (v *view) absolute(p string, from int32) string {
	pid := strconv.Itoa(int(v.q.pid))
	if !strings.HasPrefix(p, "/") {
		dir := "/proc/" + pid + "/cwd"
		if from != unix.AT_FDCWD {
			dir = "/proc/" + pid + "/fd/" + strconv.Itoa(int(from))
		}
		base, ok := readlink(dir)
		if !ok || !strings.HasPrefix(base, "/") {
			return ""
		}
		p = base + "/" + p
	}
	return own(p, pid)
}

// own puts the asker's pid for what the kernel makes of /proc/self and the links to it.
func own(p, pid string) string {
	for strings.Contains(p, "//") {
		p = strings.ReplaceAll(p, "//", "/")
	}
	for _, x := range [...][2]string{
		{"/dev/fd", "/proc/self/fd"}, {"/dev/stdin", "/proc/self/fd/0"}, {"/dev/stdout", "/proc/self/fd/1"}, {"/dev/stderr", "/proc/self/fd/2"},
		{"/proc/self", "/proc/" + pid}, {"/proc/thread-self", "/proc/" + pid},
	} {
		if rest, ok := strings.CutPrefix(p, x[0]); ok && (rest == "" || rest[0] == '/') {
			p = x[1] + rest
		}
	}
	return p
}

func readlink(p string) (string, bool) {
	var buf [unix.PathMax]byte
	n, err := unix.Readlink(p, buf[:])
	if err != nil || n == len(buf) {
		return "", false
	}
	return string(buf[:n]), true
}

// what is what lies at a path.
type what struct {
	path   string // its links resolved
	there  bool
	folder bool
}

// look has the kernel follow a path. It is not ok if there is nothing that could ever be at it, or we cannot tell.
func look(p string, follow bool) (what, bool) {
	flags := unix.O_PATH | unix.O_CLOEXEC
	if !follow {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := unix.Open(p, flags, 0)
	if err == nil {
		defer unix.Close(fd)
		var st unix.Stat_t
		real, ok := readlink("/proc/self/fd/" + strconv.Itoa(fd))
		if !ok || unix.Fstat(fd, &st) != nil || !strings.HasPrefix(real, "/") || st.Nlink == 0 {
			return what{}, false // a pipe, a socket, or a file that has no name any more
		}
		return what{real, true, st.Mode&unix.S_IFMT == unix.S_IFDIR}, true
	}
	if err != unix.ENOENT {
		return what{}, false
	}
	p = strings.TrimRight(p, "/")
	name := path.Base(p)
	dir, ok := look(p[:len(p)-len(name)], true)
	if !ok || !dir.there || name == "." || name == ".." || name == "/" {
		return what{}, false
	}
	return what{path: path.Join(dir.path, name)}, true
}

// try makes what the judge is asked of a path of the call at hand. It is not ok where nothing would happen.
func (v *view) try(arg pathArg, p string) (Try, bool) {
	switch arg.act {
	case actOpen:
		return v.opens(arg, p)
	case actExec:
		w, ok := look(p, true)
		return Try{Path: w.path, Can: Read}, ok && w.there && !w.folder
	case actLink:
		w, ok := look(p, false)
		return Try{Path: w.path, Can: Read}, ok && w.there
	case actChange:
		w, ok := look(p, true)
		return Try{Path: w.path, Can: Write, Folder: w.folder}, ok && w.there
	case actMake, actFolder:
		w, ok := look(p, false)
		return Try{Path: w.path, Can: Write, New: true, Folder: arg.act == actFolder}, ok && !w.there
	}
	w, ok := look(p, false) // of a rename, the new name need not be there
	renamed := arg.path == 3 || v.renames() && arg.path == 1
	return Try{Path: w.path, Can: Write, New: !w.there, Folder: w.folder}, ok && (w.there || renamed)
}

// renames says whether the call at hand names two paths without folders.
func (v *view) renames() bool {
	args := v.calls[int(v.q.nr)]
	return len(args) == 2 && args[1].path == 1
}

// opens is try for the calls that open.
func (v *view) opens(arg pathArg, p string) (Try, bool) {
	flags := uint64(unix.O_CREAT | unix.O_WRONLY | unix.O_TRUNC) // creat
	if arg.flags >= 0 {
		flags = v.q.args[arg.flags]
	}
	if v.q.nr == unix.SYS_OPENAT2 {
		var ok bool
		if flags, ok = v.word(flags); !ok { // the beginning of struct open_how
			return Try{}, false
		}
	}
	if flags&unix.O_PATH != 0 {
		return Try{}, false // it gives no access
	}
	writes := flags&unix.O_ACCMODE != unix.O_RDONLY || flags&unix.O_TRUNC != 0
	follow := flags&unix.O_NOFOLLOW == 0 && flags&(unix.O_CREAT|unix.O_EXCL) != unix.O_CREAT|unix.O_EXCL
	w, ok := look(p, follow)
	switch {
	case !ok:
		return Try{}, false
	case !w.there:
		return Try{Path: w.path, Can: Write, New: true}, flags&unix.O_CREAT != 0
	case w.folder && flags&unix.O_TMPFILE == unix.O_TMPFILE:
		return Try{Path: w.path, Can: Write, Folder: true}, true
	case w.folder:
		return Try{Path: w.path, Can: List, Folder: true}, !writes
	case writes:
		return Try{Path: w.path, Can: Write}, true
	}
	return Try{Path: w.path, Can: Read}, true
}
