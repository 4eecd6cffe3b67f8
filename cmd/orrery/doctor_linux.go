package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"orrery/runtime/keeper"
	"orrery/runtime/proc"
)

// machine looks at the kernel and its settings.
func (d *diagnosis) machine() {
	var u unix.Utsname
	unix.Uname(&u)
	release := unix.ByteSliceToString(u.Release[:])
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		d.add("kernel", checkBroken, "Linux 5.4 or newer is needed", "Linux %s has no pidfd: %v", release, err)
	} else {
		info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
		text := "pidfd"
		if unix.IoctlPidfdInfo(fd, &info) == nil {
			text += " with exit codes of others"
		}
		unix.Close(fd)
		d.add("kernel", checkOK, "", "Linux %s: %s", release, text)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		d.add("subreaper", checkBroken, "what filters system calls here must let prctl through", "this kernel refuses: %v", err)
	}
	d.sandboxes(proc.SandboxMeans())
	d.namespaces()
	d.numbers()
}

// sandboxes looks at what keeps tasks from files that they do not declare.
func (d *diagnosis) sandboxes(abi int, watches bool) {
	switch {
	case abi == 0:
		d.add("landlock", checkNote, "Linux 5.13 or newer with landlock in its lsm= list", "this kernel has none: a task with sandbox = \"strict\" fails")
	case abi < 6:
		d.add("landlock", checkOK, "", "ABI %d: in a strict sandbox, files are refused; signals and abstract sockets are not (ABI 6)", abi)
	default:
		d.add("landlock", checkOK, "", "ABI %d", abi)
	}
	if !watches {
		d.add("seccomp", checkNote, "", "system calls cannot be listened to here: sandboxes do not say which files a task touches")
		return
	}
	if scope := procNumber("kernel/yama/ptrace_scope"); scope > 0 && os.Geteuid() != 0 {
		d.add("seccomp", checkNote, "sysctl kernel.yama.ptrace_scope=0, or use orrery run", "ptrace_scope is %d: the tasks of orrery up run in sandboxes that cannot say which files they touch", scope)
	}
}

// namespaces tries what pid_namespace of a service needs.
func (d *diagnosis) namespaces() {
	p, err := proc.Start(&proc.Spec{Name: "doctor", Argv: []string{"/proc/self/exe", "--version"}, Env: os.Environ(), PidNamespace: true})
	if err != nil {
		var start *proc.StartError
		if errors.As(err, &start) {
			err = start.Err
		}
		d.add("namespaces", checkNote, "", "a service cannot have a pid_namespace: %v", err)
		return
	}
	p.Wait()
	p.Close()
	how := "root makes them"
	if os.Geteuid() != 0 {
		how = "by user namespaces"
	}
	d.add("namespaces", checkOK, "", "a service can have a pid_namespace: %s", how)
}

// numbers looks at limits that are plain numbers.
func (d *diagnosis) numbers() {
	watches, instances := procNumber("fs/inotify/max_user_watches"), procNumber("fs/inotify/max_user_instances")
	if watches < 8192 || instances < 16 {
		d.add("inotify", checkNote, "sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=512", "%d watches, %d instances: files are then looked at from time to time", watches, instances)
	} else {
		d.add("inotify", checkOK, "", "%d watches, %d instances", watches, instances)
	}
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) == nil {
		state, remedy := checkOK, ""
		if l.Max < 1024 {
			state, remedy = checkNote, "ulimit -n 4096"
		}
		d.add("descriptors", state, remedy, "%d, at most %d", l.Cur, l.Max)
	}
	if n := procNumber("kernel/pid_max"); n > 0 {
		d.add("processes", checkOK, "", "pids up to %d", n)
	}
}

// procNumber reads a setting of the kernel; 0 when it cannot.
func procNumber(name string) int {
	b, _ := os.ReadFile("/proc/sys/" + name)
	n, _ := strconv.Atoi(strings.TrimSpace(string(b)))
	return n
}

func ownedByUs(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

// marked is what runs give their processes: RUN/NODE#NUMBER.
var marked = regexp.MustCompile(`^([0-9a-f]{12})/[^\x00]+#t?[0-9]+$`)

// seen is one process.
type seen struct {
	pid, parent, uid int
	args             []string
	run, marker      string
	orrery           bool // it is one of our own programs
}

// ownProcesses are the keepers and engines of this user, and the marked
// processes that belong to none of anybody's. A keeper is the parent of all that
// its engines have started, or of what that has left: whoever has no orrery above
// him, and whose run nobody below one belongs to, has lost it.
func ownProcesses() (engines []engineProcess, strays []stray) {
	all := map[int]*seen{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if s := see(dir); s != nil {
			all[s.pid] = s
		}
	}
	below := func(s *seen) bool {
		for i := 0; s != nil && i < len(all); i++ {
			if s.orrery {
				return true
			}
			s = all[s.parent]
		}
		return false
	}
	living := map[string]bool{}
	ours := map[string]bool{}
	for _, s := range all {
		if s.run != "" && !s.orrery && below(s) {
			living[s.run] = true
		}
		if s.run != "" && s.uid == os.Geteuid() {
			ours[s.run] = true
		}
	}
	for _, s := range all {
		switch {
		case s.orrery && s.uid == os.Geteuid() && len(s.args) > 1 && (s.args[1] == keeper.Verb || s.args[1] == engineVerb):
			root, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", s.pid))
			engines = append(engines, engineProcess{s.pid, strings.TrimPrefix(s.args[1], "__"), root})
		case s.run != "" && !s.orrery && ours[s.run] && !living[s.run]:
			strays = append(strays, stray{s.pid, s.marker, strings.Join(s.args, " ")})
		}
	}
	slices.SortFunc(engines, func(a, b engineProcess) int { return a.PID - b.PID })
	slices.SortFunc(strays, func(a, b stray) int { return a.PID - b.PID })
	return engines, strays
}

// see reads a process; nil when it has gone.
func see(dir string) *seen {
	pid, err := strconv.Atoi(filepath.Base(dir))
	st, serr := os.Stat(dir)
	stat, rerr := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil || serr != nil || rerr != nil {
		return nil
	}
	i := bytes.LastIndexByte(stat, ')')
	f := strings.Fields(string(stat[i+1:]))
	if len(f) < 2 || f[0] == "Z" || f[0] == "X" {
		return nil
	}
	s := &seen{pid: pid}
	s.parent, _ = strconv.Atoi(f[1])
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		s.uid = int(sys.Uid)
	}
	args, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
	s.args = strings.Split(strings.TrimRight(string(args), "\x00"), "\x00")
	s.orrery = strings.HasPrefix(filepath.Base(s.args[0]), "orrery") || sameProgram(dir)
	env, _ := os.ReadFile(filepath.Join(dir, "environ"))
	for kv := range bytes.SplitSeq(env, []byte{0}) {
		v, ok := bytes.CutPrefix(kv, []byte(proc.MarkerVar+"="))
		if m := marked.FindSubmatch(v); ok && m != nil {
			s.run, s.marker = string(m[1]), string(v)
		}
	}
	return s
}

// sameProgram reports whether a process runs our own binary.
func sameProgram(dir string) bool {
	theirs, err := os.Stat(filepath.Join(dir, "exe"))
	if err != nil {
		return false
	}
	own, err := os.Stat("/proc/self/exe")
	return err == nil && os.SameFile(own, theirs)
}
