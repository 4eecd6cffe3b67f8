package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// rounds is how many looks in a row must find nothing: one look at /proc is not one instant.
const rounds = 3

// hunt is one killing of a tree: what belongs to it, and what must never be touched.
type hunt struct {
	name    string
	root    Identity // of the main process; Pid 0: there is none
	session int      // of the main process
	marker  string
	under   bool // marker also means everything below marker + "/"
	cgroup  string
	parents map[int]bool // whose children belong to it, without belonging themselves
	spare   map[int]bool // we and our ancestors, and what the caller spares
	// members are all that were found to belong to it, by pid, with their start: they may lead groups and sessions after their end.
	members map[int]uint64
	denied  map[int]error
}

// Means says by what KillTree finds the tree, the strongest first: "pid namespace", "cgroup" (nothing escapes either), "subreaper" (descendants, and
// orphans by group, session and marker), "marker" (the same, but orphans are not ours: a program that clears its environment
// and detaches itself escapes), or "group".
func (p *Process) Means() string {
	switch {
	case p.ns != nil:
		return "pid namespace"
	case p.cgroup != "":
		return "cgroup"
	case isSubreaper():
		return "subreaper"
	case p.marker != "":
		return "marker"
	}
	return "group"
}

// KillTree kills, with SIGKILL, the main process and everything that descends from it, is in its process group, session
// or cgroup, or carries its marker, until three looks in a row find nothing. It never touches this process or its ancestors.
// It neither takes the exit status (see Wait) nor reaps orphans (see Reaper). An error names what is left: when ctx is
// done, or when we may not kill it.
func (p *Process) KillTree(ctx context.Context) error {
	if p.ns != nil {
		return p.ns.kill(ctx)
	}
	if p.alone() {
		return nil
	}
	p.learn()
	h := newHunt(p.name)
	h.root, h.session, h.marker, h.cgroup = p.id, p.session, p.marker, p.cgroup
	if err := p.Signal(unix.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("cannot kill %q (pid %d): %w", p.name, p.id.Pid, err)
	}
	_, err := h.run(ctx)
	return err
}

// alone reports that the main process has ended and has left nobody, without a walk through /proc (which takes as long as ten
// starts). It is for a subreaper with a Reaper: what a tree leaves behind when its main process ends is, from that moment on,
// below a child of ours that is not one of our own main processes. Without such a child in three looks there is nothing to hunt.
// A chain that forks and ends all the time always has one: its present link, or the last one as a zombie.
func (p *Process) alone() bool {
	if !p.child || p.reaper == nil || !isSubreaper() || p.cgroup != "" && populated(p.cgroup) {
		return false
	}
	ended := false
	if p.control(func(fd int) { ended = pollFor(fd, 0) }) != nil || !ended {
		return false
	}
	for range rounds {
		if p.reaper.strangers() {
			return false
		}
	}
	return true
}

// Sweep kills everything that we can see with the marker, or one below it (MARKER/...), as KillTree does, and says how
// many it found. It is for what an earlier instance of us left behind.
func Sweep(ctx context.Context, marker string) (int, error) {
	if marker == "" {
		return 0, errors.New("cannot sweep: got an empty marker")
	}
	h := newHunt(marker)
	h.marker, h.under = marker, true
	n, err := h.run(ctx)
	removeStale(marker)
	return n, err
}

// KillDescendants kills everything below this process, as KillTree does, but the processes spare and what is below them.
// For a subreaper this is complete.
func KillDescendants(ctx context.Context, spare ...int) error {
	h := newHunt("our descendants")
	h.parents[os.Getpid()] = true
	for _, pid := range spare {
		h.spare[pid] = true
	}
	_, err := h.run(ctx)
	return err
}

// Tree gives all living descendants of pid, without it, in ascending order.
func Tree(pid int) []int {
	h := &hunt{parents: map[int]bool{pid: true}, spare: map[int]bool{pid: true}, members: map[int]uint64{}}
	var out []int
	h.look(func(s stat) { out = append(out, s.pid) }, true)
	slices.Sort(out)
	return out
}

func newHunt(name string) *hunt {
	h := &hunt{name: name, parents: map[int]bool{}, spare: map[int]bool{0: true, 1: true, os.Getpid(): true},
		members: map[int]uint64{}, denied: map[int]error{}}
	for pid := os.Getppid(); pid > 1 && !h.spare[pid]; {
		h.spare[pid] = true
		st, err := readStat(pid)
		if err != nil {
			break
		}
		pid = st.ppid
	}
	return h
}

// run kills until nothing is found, and says how many there were.
func (h *hunt) run(ctx context.Context) (int, error) {
	killed := map[int]uint64{}
	for empty := 0; empty < rounds; {
		var dying []int
		left := 0
		clear(h.denied)
		// Where it cannot be killed by its cgroup, the tree is found as one without.
		if h.cgroup != "" && killCgroup(h.cgroup) == nil && populated(h.cgroup) {
			left++
		}
		err := h.look(func(s stat) {
			fd, err := kill(s)
			switch {
			case err != nil:
				h.denied[s.pid] = err
			case fd >= 0:
				killed[s.pid] = s.start
				dying = append(dying, fd)
			}
		}, false)
		if err != nil {
			err = fmt.Errorf("cannot find the processes of %q: %w", h.name, err)
			await(dying)
			return len(killed), err
		}
		if left += len(dying); left > len(dying) {
			time.Sleep(time.Millisecond) // the cgroup empties by itself
		}
		await(dying)
		switch {
		case left == 0:
			empty++
		case ctx.Err() != nil:
			return len(killed), fmt.Errorf("cannot end all of %q: still there: %s: %w", h.name, h.left(), ctx.Err())
		default:
			empty = 0
		}
	}
	if len(h.denied) > 0 {
		return len(killed), fmt.Errorf("cannot kill all of %q: %s: %w", h.name, h.left(), unix.EPERM)
	}
	return len(killed), nil
}

// look calls hit for every living member, as soon as it is seen: a process that forks and ends within a millisecond
// must be hit before it is gone. With only, no other sign than descent counts.
func (h *hunt) look(hit func(stat), only bool) error {
	h.rootSeen()
	var later []stat
	found := func(s stat) {
		h.members[s.pid] = s.start
		if !s.dead() {
			hit(s)
		}
	}
	err := eachPid(func(pid int) {
		s, err := readStat(pid)
		if err != nil || h.spare[pid] || s.ppid == 2 || pid == 2 { // 2: threads of the kernel
			return
		}
		if s.start < h.root.Start { // older than the tree: saves reading its environment, too
			return
		}
		if start, was := h.members[pid]; was && start != s.start {
			delete(h.members, pid) // the pid is somebody else's now
		}
		if h.belongs(s, only) {
			found(s)
		} else {
			later = append(later, s)
		}
	})
	for again := true; again; { // children with a smaller pid than their parent
		again = false
		rest := later[:0]
		for _, s := range later {
			if h.byKin(s, only) {
				found(s)
				again = true
			} else {
				rest = append(rest, s)
			}
		}
		later = rest
	}
	return err
}

// rootSeen counts the main process as a member while its pid cannot be anybody else's: as long as it, or
// its process group, exists.
func (h *hunt) rootSeen() {
	if h.root.Pid <= 1 {
		return
	}
	s, err := readStat(h.root.Pid)
	if err == nil && s.start != h.root.Start {
		delete(h.members, h.root.Pid)
		return
	}
	h.members[h.root.Pid] = h.root.Start
}

func (h *hunt) belongs(s stat, only bool) bool {
	return h.byKin(s, only) || !only && h.marker != "" && !s.dead() && hasMarker(s.pid, h.marker, h.under)
}

// byKin says whether s is a member, a child of one, or in a group or session that one leads.
func (h *hunt) byKin(s stat, only bool) bool {
	if start, ok := h.members[s.pid]; ok && start == s.start {
		return true
	}
	if h.parents[s.ppid] || h.isMember(s.ppid) {
		return true
	}
	if only {
		return false
	}
	// A session of its own has its leader's pid; a group lies within one session.
	return h.isMember(s.sid) || h.isMember(s.pgrp) && (s.pgrp != h.root.Pid || h.session == 0 || s.sid == h.session)
}

func (h *hunt) isMember(pid int) bool {
	_, ok := h.members[pid]
	return ok
}

// left names up to five members that still run.
func (h *hunt) left() string {
	var names []string
	more := 0
	h.look(func(s stat) {
		if len(names) == 5 {
			more++
			return
		}
		comm, _ := os.ReadFile("/proc/" + strconv.Itoa(s.pid) + "/comm")
		names = append(names, fmt.Sprintf("%s (pid %d, state %c)", bytes.TrimSpace(comm), s.pid, s.state))
	}, false)
	if more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

// kill sends SIGKILL to exactly the process that was seen, and gives its pidfd to wait by, or -1 if it is gone.
func kill(s stat) (int, error) {
	if s.pid <= 1 || s.pid == os.Getpid() {
		return -1, nil
	}
	fd, err := unix.PidfdOpen(s.pid, 0)
	if err != nil {
		return -1, nil
	}
	if now, err := readStat(s.pid); err != nil || now.start != s.start {
		unix.Close(fd)
		return -1, nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil {
		unix.Close(fd)
		if errors.Is(err, unix.EPERM) {
			return -1, err
		}
		return -1, nil
	}
	return fd, nil
}

// await gives the dying a moment, and closes their pidfds.
func await(fds []int) {
	end := time.Now().Add(10 * time.Millisecond)
	for _, fd := range fds {
		pollFor(fd, max(0, time.Until(end)))
		unix.Close(fd)
	}
}

// hasMarker says whether the environment that a process was started with carries the marker.
func hasMarker(pid int, marker string, under bool) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	return err == nil && marked(b, marker, under)
}

func marked(environ []byte, marker string, under bool) bool {
	for len(environ) > 0 {
		i := bytes.IndexByte(environ, 0)
		kv := environ
		if i >= 0 {
			kv, environ = environ[:i], environ[i+1:]
		} else {
			environ = nil
		}
		v, ok := bytes.CutPrefix(kv, []byte(MarkerVar+"="))
		if ok && (string(v) == marker || under && strings.HasPrefix(string(v), marker+"/")) {
			return true
		}
	}
	return false
}
