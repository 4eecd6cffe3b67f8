package engine

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// openJobserver makes the pipe of one. GNU make 4.3, which Debian 12 has, takes
// only a pipe that it inherits; a fifo needs 4.4.
func openJobserver() *jobserver {
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC) != nil { // blocking, as its readers expect
		return nil
	}
	return newJobserverOn(fds[0], fds[1])
}

// newJobserverOn has a reading end of our own beside that of the others:
// whether a read blocks belongs to the open file, which is shared.
func newJobserverOn(r, w int) *jobserver {
	get, err := reopen(fmt.Sprintf("/proc/self/fd/%d", r), unix.O_RDONLY)
	if err != nil {
		unix.Close(r)
		unix.Close(w)
		return nil
	}
	pass := [2]*os.File{os.NewFile(uintptr(r), "jobserver"), os.NewFile(uintptr(w), "jobserver")}
	return &jobserver{give: pass[1], get: get, pass: pass}
}

func reopen(path string, mode int) (*os.File, error) {
	fd, err := unix.Open(path, mode|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "jobserver"), nil
}

// joinJobserver takes part in that of the make above: "R,W" are descriptors,
// "fifo:PATH" is a file. Nil: it cannot be reached, as when the recipe has no
// "+" and make has kept the descriptors to itself.
func joinJobserver(auth string) *jobserver {
	if path, ok := strings.CutPrefix(auth, "fifo:"); ok {
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
			return nil
		}
		f, err := reopen(path, unix.O_RDWR) // one end alone would wait for the other
		if err != nil {
			return nil
		}
		return &jobserver{give: f, get: f, auth: auth}
	}
	a, b, _ := strings.Cut(auth, ",")
	r, rerr := strconv.Atoi(a)
	w, werr := strconv.Atoi(b)
	if rerr != nil || werr != nil || !samePipe(r, w) {
		return nil
	}
	// Duplicates: closing them leaves those of make alone.
	var ours [2]int
	for i, fd := range [2]int{r, w} {
		n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return nil
		}
		ours[i] = n
	}
	j := newJobserverOn(ours[0], ours[1])
	if j != nil {
		j.auth = passedAuth()
	}
	return j
}

// samePipe reports whether two descriptors are the two ends of one pipe. The
// numbers alone prove nothing: they may have been given to something else.
func samePipe(r, w int) bool {
	var a, b unix.Stat_t
	if unix.Fstat(r, &a) != nil || unix.Fstat(w, &b) != nil || a.Mode&unix.S_IFMT != unix.S_IFIFO || a.Ino != b.Ino || a.Dev != b.Dev {
		return false
	}
	rmode, rerr := unix.FcntlInt(uintptr(r), unix.F_GETFL, 0)
	wmode, werr := unix.FcntlInt(uintptr(w), unix.F_GETFL, 0)
	return rerr == nil && werr == nil && rmode&unix.O_ACCMODE != unix.O_WRONLY && wmode&unix.O_ACCMODE != unix.O_RDONLY
}

// readToken takes a token that is there now.
func readToken(f *os.File) (token byte, ok bool) {
	c, err := f.SyscallConn()
	if err != nil {
		return 0, false
	}
	var b [1]byte
	n := 0
	err = c.Control(func(fd uintptr) {
		for {
			var err error
			if n, err = unix.Read(int(fd), b[:]); err != unix.EINTR {
				return
			}
		}
	})
	return b[0], err == nil && n == 1
}

// tokensIn is how many tokens a pipe holds.
func tokensIn(f *os.File) int {
	n := 0
	if c, err := f.SyscallConn(); err == nil {
		c.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	}
	return n
}
