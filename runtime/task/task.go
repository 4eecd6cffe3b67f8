// Package task runs one task: a [Job] whose every value is bound, once, to a [Result].
//
// A run skips what need not run (creates, status), makes the folders of the outputs, runs the command or the steps with a
// deadline, tries again where asked, then looks that the declared outputs and values are there. Whatever it stops (timeout,
// cancellation, a failure) it stops as a whole tree.
//
// [RunCached] is the same for a task whose result may be kept. Its key is a hash of readable lines: the command, the declared environment, the
// programs and inputs by content. It promises that a restored result is what a run with these inputs made, that files which are right
// already are not touched, and that nothing outside of the project is written. [Template] fills the state directory of a service in that way,
// once: what exists is never touched.
//
// Left to others: when a task may run, pools, what its texts mean, and where its output goes.
package task

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"orrery/lang/graph"
	"orrery/runtime/cache"
	"orrery/runtime/fresh"
	"orrery/runtime/proc"
)

// Step is one program of a task.
type Step struct {
	// Argv is the program and its arguments.
	Argv []string
	// Env are variables (K=V) for this step alone, after those of the Job.
	Env []string

	file string // what Argv[0] was found to be when the key was made; empty: that is not known
}

// Output is a declared output.
type Output struct {
	// Name is its name in the declaration.
	Name string
	// Path is the file or folder, absolute or relative to Root; empty if Pattern is set.
	Path string
	// Pattern is a pattern, relative to Root, that at least one file must match.
	Pattern *graph.Pattern
}

// Process is what Run needs of a started program; *proc.Process is one.
type Process interface {
	// Wait waits for the end of the program itself.
	Wait() proc.Exit
	// SignalGroup signals the program and what it has started in its process group.
	SignalGroup(syscall.Signal) error
	// KillTree kills it and everything below it.
	KillTree(context.Context) error
	// Close lets go of it.
	Close() error
}

// Job says what to run. Run changes none of it.
type Job struct {
	// Name is the node's name.
	Name string
	// Steps run one after the other; the first failure ends the task. A plain command is one step.
	Steps []Step
	// Root is the folder of the project file, absolute: outputs must lie in it.
	Root string
	// Dir is the working directory, Env the environment as K=V. ORRERY_VALUES is set by Run.
	Dir string
	Env []string
	// User and Group are whom to run as; empty: as we are.
	User, Group string
	// Outputs and Values (names) are what the task declares to make.
	Outputs []Output
	Values  []string
	// Creates are absolute paths: the task is skipped while all exist. Status, if not nil, is run first: the task is skipped
	// when it exits 0.
	Creates []string
	Status  *Step
	// Memo is a file that keeps the values of the last success, which a skipped run has again. Without one, or as long as it does not hold
	// every declared value, a task with values is not skipped.
	Memo string
	// Timeout is for one try, status included; 0: none. Grace is the time between TERM and KILL; 0: 5 s.
	Timeout, Grace time.Duration
	// Retries are further tries after a failure.
	Retries int
	// Stdout and Stderr take the output; nil: nothing does. A *os.File goes to the program itself. To anything else the output is copied, and
	// a program left running in the background that still holds it is not waited for.
	Stdout, Stderr io.Writer
	// Interactive hands our own terminal over: stdin, and stdout and stderr where those above are nil.
	Interactive bool
	// Marker marks the processes of the task; see proc.Spec.
	Marker string
	// Spawn starts a program; nil: proc.Start.
	Spawn func(*proc.Spec) (Process, error)
	// Hashes remembers the hashes of files, which saves reading them; nil: they are read.
	Hashes *FileHashes
	// Sandbox is how far the task is kept from what it does not declare: "off"; "warn" tells in Result.Notes what it touches; "strict" refuses
	// it, and a failure says what to add. Empty is off, or warn where Caching.Verify asks for it. Declared are the outputs, the programs with their
	// interpreters, what Declared holds (its inputs and tools) and Readable: more absolute paths, such as that of its secrets, and Writable: folders that it fills. Open are
	// besides: the system's folders for reading (/usr, /etc, /proc ...), the program folders of its PATH outside of the project, a TMPDIR of its own,
	// and its file for values. Status is not confined.
	Sandbox  string
	Declared *KeyInput
	Readable []string
	Writable []string
	// NoNetwork refuses all sockets but unix and netlink ones, whatever Sandbox is.
	NoNetwork bool

	begin    func()     // called at the beginning of each try
	box      *box       // confines the programs of a try; nil: nothing does
	landlock func() int // its ABI; nil: that of the kernel
}

func (j *Job) hashes() *FileHashes {
	if j.Hashes == nil {
		return &FileHashes{}
	}
	return j.Hashes
}

// State is how a task ended.
type State string

// The states of a Result.
const (
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Skipped   State = "skipped"
	Cancelled State = "cancelled"
)

// Result is how a run went.
type Result struct {
	// State is how it ended.
	State State
	// Exit is how its last program ended; nil if none ran, or none could be started.
	Exit *proc.Exit
	// Reason says why it failed, was skipped or cancelled: "exit 2", "declared output bin/shop is missing", "timed out after 5s".
	Reason string
	// Err is the cause where a program could not be started, such as a *proc.StartError; else nil.
	Err error
	// Values are the values that it wrote, or, if it was skipped, wrote last.
	Values map[string]string
	// Digest is a hash of the outputs and values of a task that succeeded or was skipped; empty if it declares none.
	Digest string
	// Started and Ended are wall-clock times. Tries is how often it was run.
	Started, Ended time.Time
	Tries          int
	// Cached says that it succeeded by restoring a kept result. Key is the key of the result; empty where none is kept.
	Cached bool
	Key    string
	// Remote says of a cached one that the result came from others; see Store.
	Remote bool
	// Why says what the key differs in from that of the last success; empty where that is not known.
	Why []Change
	// Notes are warnings: what was bad in the cache, why the result is not kept, what the sandbox has seen.
	Notes []string
	// Seen is what a result that is good rests on: it still is as long as these files look as they did. Nil: that is not known.
	Seen []fresh.Sight
	// Log is what it printed, where that is kept; see Replay.
	Log cache.Blob

	young map[string]string // of files in Seen; see Settle
}

// Run runs the job to its end. When ctx is done it stops the whole tree and returns Cancelled. It may be called from any
// goroutine, several at a time for different jobs.
func Run(ctx context.Context, j *Job) Result {
	r := Result{Started: time.Now()}
	r.run(ctx, j)
	if r.State == Succeeded || r.State == Skipped {
		r.Seen = j.created()
	}
	r.Ended = time.Now()
	return r
}

func (r *Result) run(ctx context.Context, j *Job) {
	outs, err := openOutputs(j)
	if err != nil {
		r.fail(err)
		return
	}
	defer outs.close()
	defer r.sum(j, outs)
	if why := r.skip(ctx, j); why != "" {
		r.State, r.Reason = Skipped, why
		return
	}
	r.attempts(ctx, j, outs)
}

// attempts runs it, again after a failure where that is asked for.
func (r *Result) attempts(ctx context.Context, j *Job, outs *outputs) {
	for {
		if ctx.Err() != nil {
			r.State, r.Reason = Cancelled, cancelled(ctx)
			return
		}
		r.Tries++
		if j.begin != nil {
			j.begin()
		}
		r.try(ctx, j, outs)
		if r.State != Failed || r.Tries > j.Retries || errors.Is(r.Err, fs.ErrNotExist) {
			return
		}
	}
}

// sum works out the digest of what there is now.
func (r *Result) sum(j *Job, outs *outputs) {
	if r.State != Succeeded && r.State != Skipped || len(j.Outputs)+len(j.Values) == 0 {
		return
	}
	entries, err := outs.entries(outs.hashed)
	if err != nil {
		if r.State == Succeeded {
			r.fail(fmt.Errorf("cannot read the outputs: %w", err))
		}
		return
	}
	r.Digest = digestOf(entries, r.Values)
}

// fail takes an error as the reason.
func (r *Result) fail(err error) { r.State, r.Reason, r.Err = Failed, err.Error(), err }

func cancelled(ctx context.Context) string {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return "cancelled: " + cause.Error()
	}
	return "cancelled"
}

// skip says why the task need not run; empty if it must.
func (r *Result) skip(ctx context.Context, j *Job) string {
	why := ""
	if len(j.Creates) > 0 && allExist(j.Creates) {
		why = "what it creates exists"
	}
	if why == "" && j.Status != nil {
		ctx, cancel := j.deadline(ctx)
		defer cancel()
		quiet := *j
		quiet.Stdout, quiet.Stderr, quiet.Interactive, quiet.Sandbox, quiet.NoNetwork = nil, nil, false, "", false
		if exit, err := quiet.step(ctx, *j.Status, nil); err == nil && exit.Ok() {
			why = "its status is 0"
		}
	}
	if why == "" {
		return ""
	}
	values, ok := j.recall()
	if !ok {
		return ""
	}
	r.Values = values
	return why
}

func allExist(paths []string) bool {
	for _, p := range paths {
		if _, err := os.Stat(p); err != nil {
			return false
		}
	}
	return true
}

func (j *Job) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if j.Timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, j.Timeout, fmt.Errorf("timed out after %s", graph.Duration(j.Timeout)))
}

// try runs the steps once and looks at what they made.
func (r *Result) try(outer context.Context, j *Job, outs *outputs) {
	r.Exit, r.Err, r.Values = nil, nil, nil
	ctx, cancel := j.deadline(outer)
	defer cancel()
	vf, err := newValuesFile(j)
	if err != nil {
		r.fail(err)
		return
	}
	defer vf.remove()
	if err := outs.prepare(); err != nil {
		r.fail(err)
		return
	}
	b, err := newBox(j, append(vf.paths(), j.Writable...)...)
	if err != nil {
		r.fail(err)
		return
	}
	defer func() { r.sandboxed(b) }()
	with := *j
	with.box = b
	r.steps(outer, ctx, &with, append(vf.env(), b.env()...))
	if r.State == Succeeded {
		r.collect(j, outs, vf)
	}
}

// steps runs them; without a failure the state is Succeeded.
func (r *Result) steps(outer, ctx context.Context, j *Job, env []string) {
	for i, s := range j.Steps {
		exit, err := j.step(ctx, s, env)
		where := ""
		if len(j.Steps) > 1 {
			where = fmt.Sprintf("step %d of %d (%s): ", i+1, len(j.Steps), strings.Join(s.Argv[:min(1, len(s.Argv))], ""))
		}
		if err == nil || errors.Is(err, errStopped) {
			r.Exit = &exit
		}
		switch {
		case err != nil && outer.Err() != nil:
			r.State, r.Reason = Cancelled, cancelled(outer)
		case err != nil && ctx.Err() != nil:
			r.State, r.Reason = Failed, where+context.Cause(ctx).Error()
		case err != nil:
			r.fail(err)
			r.Reason = where + r.Reason
		case !exit.Ok():
			r.State, r.Reason = Failed, where+exit.String()
		default:
			continue
		}
		return
	}
	r.State = Succeeded
}

// collect looks at outputs and values after a good end.
func (r *Result) collect(j *Job, outs *outputs, vf *valuesFile) {
	values, err := vf.read(j.Values)
	if err = errors.Join(outs.missing(), err); err != nil {
		r.fail(errors.New(strings.ReplaceAll(err.Error(), "\n", "; ")))
		r.Err = nil
		return
	}
	r.State, r.Reason, r.Values = Succeeded, "", values
	if err := j.remember(values); err != nil {
		r.fail(err)
	}
}
