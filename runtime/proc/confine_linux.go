package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// confine is the set of cgroups that limit one tree: one directory of cgroup v2, or one a controller of v1.
type confine struct {
	dirs   []string // that the program joins
	unify  string   // the one of cgroup v2, by which the tree can be killed, too; or empty
	memory string   // the one that limits memory; or empty
	rest   Limits   // what no cgroup limits
}

// controller is one way to limit one thing.
type controller struct {
	name string // as the kernel calls it
	want func(*Limits) bool
	done func(*Limits) // takes it out of what is left to do
	// v1 and v2 are the files and what to write there; a file that begins with ? may be missing.
	v1, v2 func(*Limits) [][2]string
}

// cpuPeriod is the time over which a share of the processors is counted, in microseconds.
const cpuPeriod = 100000

func controllers() []controller {
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	return []controller{
		{
			"memory", func(l *Limits) bool { return l.Memory > 0 }, func(l *Limits) { l.Memory = 0 },
			func(l *Limits) [][2]string {
				return [][2]string{{"memory.limit_in_bytes", number(l.Memory)}, {"?memory.memsw.limit_in_bytes", number(l.Memory)}}
			},
			func(l *Limits) [][2]string {
				return [][2]string{{"memory.max", number(l.Memory)}, {"?memory.swap.max", "0"}, {"?memory.oom.group", "1"}}
			},
		},
		{
			"pids", func(l *Limits) bool { return l.Tasks > 0 }, func(l *Limits) { l.Tasks = 0 },
			func(l *Limits) [][2]string { return [][2]string{{"pids.max", number(l.Tasks)}} },
			func(l *Limits) [][2]string { return [][2]string{{"pids.max", number(l.Tasks)}} },
		},
		{
			"cpu", func(l *Limits) bool { return l.CPU > 0 }, func(l *Limits) { l.CPU = 0 },
			func(l *Limits) [][2]string {
				return [][2]string{{"cpu.cfs_period_us", number(cpuPeriod)}, {"cpu.cfs_quota_us", number(l.CPU * cpuPeriod / 100)}}
			},
			func(l *Limits) [][2]string {
				return [][2]string{{"cpu.max", number(l.CPU*cpuPeriod/100) + " " + number(cpuPeriod)}}
			},
		},
	}
}

// LimitMeans says by what memory, tasks and cpu of a program would be limited here: "cgroup v2", "cgroup v1", "rlimit" (memory: address
// space; tasks: all processes of the user), or "" where nothing can.
func LimitMeans() (memory, tasks, cpu string) {
	memory, tasks = "rlimit", "rlimit"
	for to, l := range map[*string]Limits{&memory: {Memory: 1 << 30}, &tasks: {Tasks: 1000}, &cpu: {CPU: 100}} {
		c := confined(l, fmt.Sprintf("probe-%d-%d", os.Getpid(), time.Now().UnixNano()))
		switch {
		case c.unify != "":
			*to = "cgroup v2"
		case len(c.dirs) > 0:
			*to = "cgroup v1"
		}
		c.remove()
	}
	return memory, tasks, cpu
}

// confined makes the cgroups for limits, as far as some can be written: of v2 where it can take all that is asked for, else of v1.
func confined(l Limits, name string) *confine {
	c := &confine{rest: l}
	var wanted []controller
	for _, k := range controllers() {
		if k.want(&l) {
			wanted = append(wanted, k)
		}
	}
	if len(wanted) == 0 || c.unified(wanted, &l, name) {
		return c
	}
	for _, k := range wanted {
		base, err := ownV1(k.name)
		if err != nil {
			continue
		}
		dir := filepath.Join(base, cgroupName(name))
		if !limitIn(dir, k.v1(&l)) {
			continue
		}
		k.done(&c.rest)
		if k.name == "memory" {
			c.memory = dir
		}
		if !slices.Contains(c.dirs, dir) {
			c.dirs = append(c.dirs, dir)
		}
	}
	return c
}

// unified makes one cgroup of v2, below the nearest of our ancestors that is ours to write and has the controllers.
func (c *confine) unified(wanted []controller, l *Limits, name string) bool {
	own, err := ownCgroup()
	if err != nil {
		return false
	}
	for base := own; ; base = filepath.Dir(base) {
		if unix.Access(filepath.Join(base, "cgroup.procs"), unix.W_OK) != nil {
			return false // whoever may not write here may not move anything from here to elsewhere, either
		}
		if enabled(base, wanted) {
			dir := filepath.Join(base, cgroupName(name))
			var files [][2]string
			for _, k := range wanted {
				files = append(files, k.v2(l)...)
			}
			if limitIn(dir, files) {
				for _, k := range wanted {
					k.done(&c.rest)
					if k.name == "memory" {
						c.memory = dir
					}
				}
				c.dirs = []string{dir}
				c.unify = dir
				return true
			}
		}
		if _, err := os.Stat(filepath.Join(filepath.Dir(base), "cgroup.controllers")); err != nil {
			return false // above the mount
		}
	}
}

// enabled says whether children of a cgroup have the controllers, and turns on those that are at hand.
func enabled(base string, wanted []controller) bool {
	for range 2 {
		b, err := os.ReadFile(filepath.Join(base, "cgroup.subtree_control"))
		if err != nil {
			return false
		}
		have, missing := strings.Fields(string(b)), ""
		for _, k := range wanted {
			if !slices.Contains(have, k.name) {
				missing += " +" + k.name
			}
		}
		if missing == "" {
			return true
		}
		if os.WriteFile(filepath.Join(base, "cgroup.subtree_control"), []byte(missing[1:]), 0) != nil {
			return false // not ours, not at hand, or there are processes in it
		}
	}
	return false
}

// limitIn makes a cgroup and writes its limits; false leaves nothing behind.
func limitIn(dir string, files [][2]string) bool {
	made := os.Mkdir(dir, 0o755) == nil
	for _, f := range files {
		name, optional := strings.CutPrefix(f[0], "?")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(f[1]), 0); err != nil && !optional {
			if made {
				unix.Rmdir(dir)
			}
			return false
		}
	}
	return unix.Access(filepath.Join(dir, "cgroup.procs"), unix.W_OK) == nil
}

// ownV1 is the directory of the cgroup that we are in, in the hierarchy of a controller of v1.
func ownV1(name string) (string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	root, mount := "", ""
	for line := range strings.Lines(string(mounts)) {
		left, right, ok := strings.Cut(strings.TrimSpace(line), " - ")
		f, r := strings.Fields(left), strings.Fields(right)
		if ok && len(f) > 4 && len(r) == 3 && r[0] == "cgroup" && slices.Contains(strings.Split(r[2], ","), name) {
			root, mount = f[3], f[4]
		}
	}
	if mount == "" {
		return "", fmt.Errorf("no cgroup v1 with the controller %s is mounted", name)
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(own)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 || !slices.Contains(strings.Split(f[1], ","), name) {
			continue
		}
		rel, err := filepath.Rel(root, f[2])
		if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
			return "", fmt.Errorf("our cgroup %s lies outside of what is mounted at %s", f[2], mount)
		}
		return filepath.Join(mount, rel), nil
	}
	return "", errors.New("we are in no cgroup with the controller " + name)
}

// killedInside counts the processes that the kernel has killed for want of memory in the cgroup.
func (c *confine) killedInside() int {
	if c == nil || c.memory == "" {
		return 0
	}
	for _, name := range []string{"memory.events", "memory.oom_control"} {
		b, err := os.ReadFile(filepath.Join(c.memory, name))
		if err != nil {
			continue
		}
		for line := range bytes.Lines(b) {
			if v, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("oom_kill ")); ok {
				n, _ := strconv.Atoi(string(v))
				return n
			}
		}
	}
	return 0
}

// remove removes the cgroups. Somebody who is just dying in one is given a moment.
func (c *confine) remove() {
	if c == nil || len(c.dirs) == 0 {
		return
	}
	gone := func() bool {
		all := true
		for _, dir := range c.dirs {
			removeCgroup(dir)
			if _, err := os.Stat(dir); err == nil {
				all = false
			}
		}
		return all
	}
	for wait := 100 * time.Microsecond; wait < 16*time.Millisecond; wait *= 2 {
		if gone() {
			return
		}
		time.Sleep(wait)
	}
	go func() {
		for wait := time.Millisecond; wait < 4*time.Second && !gone(); wait *= 2 {
			time.Sleep(wait)
		}
	}()
}

// removeStale removes the cgroups that trees with a marker, or one below it, have left.
func removeStale(marker string) {
	var bases []string
	for _, k := range controllers() {
		if base, err := ownV1(k.name); err == nil {
			bases = append(bases, base)
		}
	}
	if own, err := ownCgroup(); err == nil {
		for base := own; filepath.Dir(base) != base; base = filepath.Dir(base) {
			bases = append(bases, base)
		}
	}
	for _, base := range bases {
		entries, _ := os.ReadDir(base)
		for _, e := range entries {
			if e.Name() == cgroupName(marker) || strings.HasPrefix(e.Name(), cgroupName(marker+"/")) {
				removeCgroup(filepath.Join(base, e.Name()))
			}
		}
	}
}

// join enters the cgroups; the shim does it, for itself.
func join(dirs []string) *StartError {
	for _, dir := range dirs {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
			return &StartError{Op: "cgroup", Path: dir, Err: err}
		}
	}
	return nil
}
