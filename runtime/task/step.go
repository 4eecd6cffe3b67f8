package task

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"orrery/runtime/files"
	"orrery/runtime/proc"
)

// defaultGrace is the time between TERM and KILL.
const defaultGrace = 5 * time.Second

// lingering is how long output is still copied when the program has ended and another one holds its pipe.
const lingering = 250 * time.Millisecond

// killTime bounds the search for what is left of a tree.
const killTime = 10 * time.Second

// errStopped says that a program ended because it was told to, whatever its exit code.
var errStopped = errors.New("stopped")

// step runs one program. It ends when the program has: what that left running in the background after a good end lives
// on, after any other end it is killed.
func (j *Job) step(ctx context.Context, s Step, env []string) (proc.Exit, error) {
	if ctx.Err() != nil {
		return proc.Exit{}, context.Cause(ctx)
	}
	spec := &proc.Spec{
		Name: j.Name, Argv: s.Argv, File: s.file, Dir: j.Dir, User: j.User, Group: j.Group, Marker: j.Marker, Foreground: j.Interactive,
	}
	spec.Env = append(append(append(spec.Env, j.Env...), s.Env...), env...)
	if j.Interactive {
		spec.Stdin, spec.Stdout, spec.Stderr = os.Stdin, os.Stdout, os.Stderr
	}
	c, err := j.connect(spec)
	if err != nil {
		return proc.Exit{}, err
	}
	defer c.finish()
	p, err := j.spawn(spec)
	c.started()
	if err != nil {
		return proc.Exit{}, err
	}
	defer p.Close()
	done := make(chan proc.Exit, 1)
	go func() { done <- p.Wait() }()
	select {
	case exit := <-done:
		if !exit.Ok() {
			err = killRest(p)
		}
		return exit, err
	case <-ctx.Done():
	}
	return j.stop(p, done)
}

func (j *Job) spawn(spec *proc.Spec) (Process, error) {
	if j.box != nil {
		return j.box.spawn(spec)
	}
	return j.start(spec)
}

func (j *Job) start(spec *proc.Spec) (Process, error) {
	if j.Spawn != nil {
		return j.Spawn(spec)
	}
	p, err := proc.Start(spec)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// stop asks the program to end, then kills all of its tree.
func (j *Job) stop(p Process, done <-chan proc.Exit) (proc.Exit, error) {
	grace := j.Grace
	if grace <= 0 {
		grace = defaultGrace
	}
	// A stopped process takes the first signal only after the second. Either fails if it has just ended.
	_ = p.SignalGroup(syscall.SIGTERM)
	_ = p.SignalGroup(syscall.SIGCONT)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case exit := <-done:
		return exit, errors.Join(errStopped, killRest(p))
	case <-timer.C:
	}
	err := killRest(p)
	select {
	case exit := <-done:
		return exit, errors.Join(errStopped, err)
	case <-time.After(killTime):
		return proc.Exit{}, errors.Join(errors.New("cannot end the task: it outlives SIGKILL"), err)
	}
}

func killRest(p Process) error {
	ctx, cancel := context.WithTimeout(context.Background(), killTime)
	defer cancel()
	if err := p.KillTree(ctx); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// copies are the pipes from a program to writers that are no files.
type copies struct {
	readers, writers []*os.File
	done             []chan struct{}
}

// connect sets stdout and stderr of a spec, with pipes where the job has writers.
func (j *Job) connect(spec *proc.Spec) (*copies, error) {
	c := &copies{}
	var err error
	if j.Stdout != nil {
		if spec.Stdout, err = c.file(j.Stdout); err != nil {
			return nil, err
		}
	}
	switch {
	case j.Stderr == nil:
	case same(j.Stderr, j.Stdout):
		spec.Stderr = spec.Stdout // one pipe keeps the order
	default:
		if spec.Stderr, err = c.file(j.Stderr); err != nil {
			c.started()
			c.finish()
			return nil, err
		}
	}
	return c, nil
}

// same compares two writers; those that cannot be compared differ.
func same(a, b io.Writer) bool {
	defer func() { _ = recover() }()
	return a == b
}

// file is the file that a program writes to so that w gets it.
func (c *copies) file(w io.Writer) (*os.File, error) {
	if f, ok := w.(*os.File); ok {
		return f, nil
	}
	r, pw, err := files.Pipe()
	if err != nil {
		return nil, fmt.Errorf("cannot capture the output: %w", err)
	}
	done := make(chan struct{})
	c.readers, c.writers, c.done = append(c.readers, r), append(c.writers, pw), append(c.done, done)
	go func() {
		defer close(done)
		if _, err := files.Copy(w, r); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			io.Copy(io.Discard, r) // a broken writer must not block the program
		}
	}()
	return pw, nil
}

// started lets go of the program's ends.
func (c *copies) started() {
	for _, w := range c.writers {
		w.Close()
	}
	c.writers = nil
}

// finish waits until everything is copied, or lingering has passed.
func (c *copies) finish() {
	for i, r := range c.readers {
		r.SetReadDeadline(time.Now().Add(lingering))
		<-c.done[i]
		r.Close()
	}
}
