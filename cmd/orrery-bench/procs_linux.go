package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

func supported() error { return nil }

// family starts children and knows all that comes from them: the bench is a subreaper, so that a daemon becomes its child
// and nothing can leave. It is safe for concurrent use.
type family struct {
	mu  sync.Mutex
	own map[int]bool // children whose exit status os/exec takes
	end chan os.Signal
}

func newFamily() (*family, error) {
	const setChildSubreaper = 36
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0); errno != 0 {
		return nil, fmt.Errorf("cannot become a subreaper: %w", errno)
	}
	f := &family{own: map[int]bool{}, end: make(chan os.Signal, 1)}
	signal.Notify(f.end, syscall.SIGCHLD)
	go func() {
		for range f.end {
			f.reap()
		}
	}()
	return f, nil
}

func (f *family) close() {
	signal.Stop(f.end)
	close(f.end)
}

// start starts c; wait must follow.
func (f *family) start(c *exec.Cmd) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := c.Start(); err != nil {
		return err
	}
	f.own[c.Process.Pid] = true
	return nil
}

func (f *family) wait(c *exec.Cmd) error {
	err := c.Wait()
	f.mu.Lock()
	delete(f.own, c.Process.Pid)
	f.mu.Unlock()
	return err
}

// reap takes the exit statuses of those that were handed to us; a zombie would look alive to whoever waits for its pid to
// vanish.
func (f *family) reap() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, pid := range children() {
		if !f.own[pid] {
			_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		}
	}
}

// children are the direct children of the bench, zombies too.
func children() []int {
	files, _ := filepath.Glob("/proc/self/task/*/children")
	var pids []int
	for _, file := range files {
		b, _ := os.ReadFile(file)
		for _, w := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(w); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// process is one descendant of the bench.
type process struct {
	pid, parent int
	state       byte
	start       uint64 // clock ticks since boot: tells a pid from its next use
	args        []string
	helper      bool // a server of ours, not a part of the manager
}

// descendants are all processes that come from the bench, zombies left out.
func descendants() []process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	all := map[int][]process{}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if p, ok := look(pid); ok {
				all[p.parent] = append(all[p.parent], p)
			}
		}
	}
	self, _ := os.Readlink("/proc/self/exe")
	list := slices.Clone(all[os.Getpid()])
	for i := 0; i < len(list); i++ {
		list = append(list, all[list[i].pid]...)
	}
	for i := range list {
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", list[i].pid))
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", list[i].pid))
		list[i].helper = exe == self
		list[i].args = strings.Split(strings.TrimRight(string(args), "\x00"), "\x00")
	}
	return slices.DeleteFunc(list, func(p process) bool { return p.state == 'Z' || p.state == 'X' })
}

func look(pid int) (process, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, false
	}
	s := string(b)
	f := strings.Fields(s[strings.LastIndexByte(s, ')')+1:])
	if len(f) < 20 {
		return process{}, false
	}
	parent, _ := strconv.Atoi(f[1])
	start, _ := strconv.ParseUint(f[19], 10, 64)
	return process{pid: pid, parent: parent, state: f[0][0], start: start}, true
}

// kill ends p, if it still is the process that it was.
func (p process) kill() {
	if now, ok := look(p.pid); ok && now.start == p.start {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
}

// sweep kills what is left of a session until nothing is, and returns how many processes that were.
func (f *family) sweep() int {
	n := 0
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		f.reap()
		left := descendants()
		if len(left) == 0 {
			break
		}
		n += len(left)
		for _, p := range left {
			p.kill()
		}
		time.Sleep(5 * time.Millisecond)
	}
	return n
}

// memory is the proportional share of memory of a process, in bytes.
func (p process) memory() int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid))
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
			kib, _ := strconv.ParseInt(f[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// peak is the greatest memory, in megabytes, that a process had, or one that it waited for.
func peak(s *os.ProcessState) float64 {
	if u, ok := s.SysUsage().(*syscall.Rusage); ok {
		return float64(u.Maxrss) * 1024 / 1e6
	}
	return 0
}

// cpu is the processor time that a process has used: what the scheduler counted, in nanoseconds, for each of its threads.
func (p process) cpu() time.Duration {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.pid))
	var sum time.Duration
	for _, file := range files {
		b, _ := os.ReadFile(file)
		if f := strings.Fields(string(b)); len(f) > 0 {
			ns, _ := strconv.ParseInt(f[0], 10, 64)
			sum += time.Duration(ns)
		}
	}
	return sum
}

// terminal opens a pseudo terminal of 50 lines of 200 columns.
func terminal() (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	var n, unlock uint32
	size := [4]uint16{50, 200}
	err = errors.Join(
		ioctl(master, syscall.TIOCSPTLCK, unsafe.Pointer(&unlock)),
		ioctl(master, syscall.TIOCGPTN, unsafe.Pointer(&n)),
		ioctl(master, syscall.TIOCSWINSZ, unsafe.Pointer(&size)),
	)
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	}
	if err != nil {
		_ = master.Close()
		return nil, nil, fmt.Errorf("cannot open a terminal: %w", err)
	}
	return master, slave, nil
}

func ioctl(f *os.File, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

// kernel is the release of the running kernel.
func kernel() string {
	b, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return "Linux " + strings.TrimSpace(string(b))
}
