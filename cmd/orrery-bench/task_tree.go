package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// The task part: the same tree of tasks, written for each build tool in its own words. Every task has a folder p/NAME with two
// inputs, a and b, and one output, out. Nine tenths are leaves, ten of them below a middle one, nine or ten of those below a
// top one; each copies the output of its first dependency, so that a change of the first leaf's a arrives in the first top's out.

// job is one task, said in no tool's words. Words of the command need no quoting.
type job struct {
	name string
	argv []string
	deps []*job
}

func (j *job) file(name string) string { return "p/" + j.name + "/" + name }

// inputs are the two files and the outputs of the dependencies.
func (j *job) inputs() []string {
	list := []string{j.file("a"), j.file("b")}
	for _, d := range j.deps {
		list = append(list, d.file("out"))
	}
	return list
}

func (j *job) line() string { return strings.Join(j.argv, " ") }

// names are those of jobs.
func names(jobs []*job) []string {
	var list []string
	for _, j := range jobs {
		list = append(list, j.name)
	}
	return list
}

// shape is the tree of n tasks, dependencies first.
func shape(n int) []*job {
	tops := max(1, n/100)
	mids := max(1, n*9/100)
	layer := func(letter string, count int, below []*job) []*job {
		var list []*job
		for i := range count {
			j := &job{name: fmt.Sprintf("%s%d", letter, i)}
			from := j.file("a")
			if len(below) > 0 {
				j.deps = below[i*len(below)/count : (i+1)*len(below)/count]
				from = j.deps[0].file("out")
			}
			j.argv = []string{"cp", from, j.file("out")}
			list = append(list, j)
		}
		return list
	}
	leaves := layer("l", max(1, n-mids-tops), nil)
	middle := layer("m", mids, leaves)
	return slices.Concat(leaves, middle, layer("t", tops, middle))
}

// roots are the tasks that no other depends on.
func roots(jobs []*job) []*job {
	below := map[*job]bool{}
	for _, j := range jobs {
		for _, d := range j.deps {
			below[d] = true
		}
	}
	var list []*job
	for _, j := range jobs {
		if !below[j] {
			list = append(list, j)
		}
	}
	return list
}

// builder describes a build tool. The functions are pure but for the files that write writes.
type builder struct {
	peer           // the fields name, programs, from, version; the others belong to services
	own   []string // its environment, besides the small private one
	most  int      // the largest tree that it is given; 0: any
	keeps bool     // brings deleted outputs back from a cache
	bare  bool     // no build tool but a floor: it has no state, and a change means nothing to it

	write func(s *site) error
	run   func(s *site) []string // brings everything up to date, two tasks at a time
	cold  func(s *site) []string // with nothing there; nil: run
	begin func(s *site) []string // starts an engine that stays; nil: there is none
	end   func(s *site) []string
	read  func(s *site) []string // only loads the declarations
}

// site is one tree of one tool in a directory of its own.
type site struct {
	*session
	tool builder
	jobs []*job
	most time.Duration // for a single command
}

// put writes inputs and the tool's files. All look an hour old.
func (s *site) put() error {
	for _, j := range s.jobs {
		for _, name := range []string{"a", "b"} {
			if err := s.session.write(j.file(name), j.name+" "+name+"\n"); err != nil {
				return err
			}
		}
	}
	if err := s.tool.write(s); err != nil {
		return fmt.Errorf("cannot write the files of %s: %w", s.name, err)
	}
	s.age()
	return nil
}

// spent is what one command took.
type spent struct{ wall time.Duration }

var errSlow = errors.New("took longer than allowed")

// environ is that of a session, with the programs of the npm folder on the PATH.
func (s *site) environ() []string {
	env := append(s.session.env(), s.tool.own...)
	for _, path := range s.bin {
		if filepath.Base(filepath.Dir(path)) == ".bin" {
			env = append(env, "PATH="+filepath.Dir(path)+":"+os.Getenv("PATH"))
		}
	}
	return env
}

// take runs a command and measures it.
func (s *site) take(ctx context.Context, argv []string) (spent, error) {
	c := s.command(argv)
	c.Env = s.environ()
	out, err := os.CreateTemp(s.file("home"), "said")
	if err != nil {
		return spent{}, err
	}
	defer func() {
		_ = out.Close()
		_ = os.Remove(out.Name())
	}()
	c.Stdout, c.Stderr = out, out
	t := time.Now()
	if err := s.family.start(c); err != nil {
		return spent{}, fmt.Errorf("cannot run %s: %w", argv[0], err)
	}
	slow := false
	stop := time.AfterFunc(s.most, func() { slow = true; _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) })
	defer context.AfterFunc(ctx, func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) })()
	err = s.family.wait(c)
	got := spent{wall: time.Since(t)}
	if !stop.Stop() && slow {
		return got, fmt.Errorf("%w: %s", errSlow, s.most)
	}
	if err != nil {
		b, _ := os.ReadFile(out.Name())
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return got, fmt.Errorf("exit code %d: %s", exit.ExitCode(), tail(string(b)))
		}
		return got, err
	}
	return got, nil
}

// right checks that the first top's output holds what the first leaf was given.
func (s *site) right(want string) error {
	top := roots(s.jobs)[0]
	b, err := os.ReadFile(s.session.file(top.file("out")))
	if err != nil {
		return fmt.Errorf("wrong result: %w", err)
	}
	if string(b) != want {
		return fmt.Errorf("wrong result: got %q in %s, want %q", b, top.file("out"), want)
	}
	return nil
}

// whole checks that every output is there.
func (s *site) whole() error {
	for _, j := range s.jobs {
		if _, err := os.Stat(s.session.file(j.file("out"))); err != nil {
			return fmt.Errorf("wrong result: %w", err)
		}
	}
	return nil
}

// wipe removes all outputs.
func (s *site) wipe() error {
	for _, j := range s.jobs {
		if err := os.Remove(s.session.file(j.file("out"))); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
