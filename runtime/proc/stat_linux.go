package proc

import (
	"bytes"
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"orrery/runtime/files"
)

// stat is what /proc/PID/stat says of a process.
type stat struct {
	pid, ppid, pgrp, sid int
	start                uint64
	exit                 int // the wait status, once a zombie; 0 also for those who may not see it
	state                byte
}

func (s *stat) dead() bool { return s.state == 'Z' || s.state == 'X' }

// readStat reads the entry of one process.
func readStat(pid int) (stat, error) {
	b, err := files.Read("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, err
	}
	return parseStat(b)
}

// parseStat reads the text of /proc/PID/stat. The name in it may hold blanks, newlines and parentheses: the last ")" ends it.
func parseStat(b []byte) (stat, error) {
	bad := errors.New("got a malformed /proc/PID/stat")
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 1 || end < open {
		return stat{}, bad
	}
	var s stat
	var err error
	if s.pid, err = strconv.Atoi(string(bytes.TrimSpace(b[:open]))); err != nil {
		return stat{}, bad
	}
	f := bytes.Fields(b[end+1:]) // f[0] is field 3
	if len(f) < 20 || len(f[0]) != 1 {
		return stat{}, bad
	}
	s.state = f[0][0]
	for i, to := range []*int{&s.ppid, &s.pgrp, &s.sid} {
		if *to, err = strconv.Atoi(string(f[1+i])); err != nil {
			return stat{}, bad
		}
	}
	if s.start, err = strconv.ParseUint(string(f[19]), 10, 64); err != nil {
		return stat{}, bad
	}
	if len(f) >= 50 {
		if s.exit, err = strconv.Atoi(string(f[49])); err != nil {
			return stat{}, bad
		}
	}
	return s, nil
}

// readable says whether the kernel shows us the private fields of a process; its io statistics are closed otherwise.
func readable(pid int) bool {
	f, err := os.Open("/proc/" + strconv.Itoa(pid) + "/io")
	if err != nil {
		return false
	}
	defer f.Close()
	_, err = f.Read(make([]byte, 1))
	return err == nil
}

// eachPid calls f for all processes, in ascending order, a bite of one or two at a time: what is forked meanwhile has a higher
// pid and is met later in the same walk. With a list made first, a process that forks and ends twice a millisecond escaped
// three looks in a row, every other time; the kernel does not go on with a list that it has once finished.
func eachPid(f func(pid int)) error {
	fd, err := unix.Open("/proc", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open /proc", err)
	}
	defer unix.Close(fd)
	bite := make([]byte, 64) // an entry of a pid takes 24 or 32 bytes, the longest other name of /proc less than 64
	var names []string
	for {
		n, err := unix.Getdents(fd, bite)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return os.NewSyscallError("read /proc", err)
		}
		if n == 0 {
			return nil
		}
		_, _, names = unix.ParseDirent(bite[:n], -1, names[:0])
		for _, s := range names {
			if pid, err := strconv.Atoi(s); err == nil {
				f(pid)
			}
		}
	}
}

// children are the direct children of all threads of a process.
func children(pid int) []int {
	dir := "/proc/" + strconv.Itoa(pid) + "/task"
	tasks, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []int
	seen := false
	for _, t := range tasks {
		b, err := os.ReadFile(dir + "/" + t.Name() + "/children")
		if err != nil {
			continue
		}
		seen = true
		for _, f := range bytes.Fields(b) {
			if n, err := strconv.Atoi(string(f)); err == nil {
				out = append(out, n)
			}
		}
	}
	if seen {
		return out
	}
	eachPid(func(n int) { // a kernel without CONFIG_PROC_CHILDREN
		if st, err := readStat(n); err == nil && st.ppid == pid {
			out = append(out, n)
		}
	})
	return out
}

// oddStatus says whether a /proc/PID/status shows ignored or blocked signals.
func oddStatus(status []byte) bool {
	for line := range bytes.Lines(status) {
		k, v, _ := bytes.Cut(line, []byte(":"))
		if s := string(k); s != "SigBlk" && s != "SigIgn" {
			continue
		}
		if len(bytes.Trim(v, "0 \t\n")) > 0 {
			return true
		}
	}
	return false
}
