package task

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"orrery/runtime/cache"
)

// Store is where results are kept: *cache.Store is one, *remote.Store another: that has a method
//
//	Pull(ctx context.Context, key string, lines []string) error
//
// besides, which brings what others made here, and is asked where Get knows nothing. All methods may be called from any goroutine. An error that is
// cache.ErrMiss is a miss; a *cache.UnavailableError means that the store cannot be used or written, which never fails a task.
type Store interface {
	// Get gives the record of a key.
	Get(ctx context.Context, key string) (*cache.Record, error)
	// Fetch makes sure that blobs can be opened, and that their content is right.
	Fetch(ctx context.Context, blobs []cache.Blob) error
	// Open opens a blob that was fetched.
	Open(ctx context.Context, b cache.Blob) (io.ReadCloser, error)
	// Add keeps content. An error of the reader comes back as it is.
	Add(ctx context.Context, r io.Reader) (cache.Blob, error)
	// Put keeps a record whose blobs were added; it replaces an older one.
	Put(ctx context.Context, r *cache.Record) error
	// Lock waits until nobody else holds the key; a holder that dies holds it no more.
	Lock(ctx context.Context, key string) (unlock func(), err error)
}

// puller is a Store that can bring results of others here; *remote.Store is one.
type puller interface {
	// Pull makes Get, Fetch and Open know the result of a key that others may have, lines being those that the key was made from. The error
	// is as those of Get.
	Pull(ctx context.Context, key string, lines []string) error
}

// Caching is how RunCached works in a checkout. It may be used by any number of runs at once.
type Caching struct {
	// Store keeps results; nil: every task is run, and what could not be opened is the caller's to tell.
	Store Store
	// Dir is a folder of the checkout for what each task last did, such as .orrery/tasks; it is made. Empty: nothing is known of it.
	Dir string
	// Salt is what secrets in keys are hashed with; see cache.Store.Salt.
	Salt []byte
	// Force runs what is cached. Verify does, too, and runs it twice: a task whose outputs or values differ fails. One whose Sandbox is
	// empty is run with "warn" then.
	Force, Verify bool
	// Replay writes the output of a cached task to the writers of its Job.
	Replay bool
	// Explain is told why a task runs, when it begins to; what is restored or skipped is not told. nil: nobody is.
	Explain func(task string, why []string)

	locks *cache.Locks // of Dir, see Share; nil: each run opens them
}

// Share has all runs share what they can, until Close. It comes before the first of them.
func (c *Caching) Share() { c.locks = taskLocks(c.Dir) }

// Close ends what Share began, after the last run.
func (c *Caching) Close() {
	if c.locks != nil {
		c.locks.Close()
	}
}

// RunCached is Run for a task whose result may be kept: it restores the result where the key is known, touching no file that is right
// already, else runs the task and keeps what it made. A result is kept only of a success, and only if no input changed meanwhile. One
// that rests on files of an earlier run (the run wrote not every output anew) is kept for this checkout alone. Whatever is wrong with
// the cache is told in Result.Notes and never fails the task. Two processes do not run one key at a time, nor one task of a checkout.
// Where k says that the task is not cached, it is Run.
func RunCached(ctx context.Context, j *Job, k *KeyInput, c *Caching) Result {
	if c == nil || c.Store == nil || !k.cached(j) {
		return Run(ctx, c.tell(j, func() []string { return []string{c.uncached(j, k)} }))
	}
	if j.Hashes == nil {
		with := *j
		with.Hashes = &FileHashes{} // inputs are looked at twice
		j = &with
	}
	if c.Verify && j.Sandbox == "" {
		with := *j
		with.Sandbox, with.Declared = sandboxWarn, k
		j = &with
	}
	g := &caching{Caching: c, job: j, keyJob: j, in: k, r: &Result{Started: time.Now()}}
	g.run(ctx)
	if g.r.State == Skipped {
		g.r.Seen = j.created()
	}
	g.r.Ended = time.Now()
	return *g.r
}

// caching is one RunCached.
type caching struct {
	*Caching
	job    *Job
	keyJob *Job // as the key sees it
	in     *KeyInput
	r      *Result
	outs   *outputs
	last   LastRun
	known  *keyed
	odd    bool // the store cannot be used
	local  bool // the result is not for other machines
	pulled bool // the result is being restored from what others made

	localName string // see localKey
	book      notebook
}

func (g *caching) run(ctx context.Context) {
	outs, err := openOutputs(g.job)
	if err != nil {
		g.r.fail(err)
		return
	}
	defer outs.close()
	g.outs = outs
	if why := g.r.skip(ctx, g.job); why != "" {
		g.r.State, g.r.Reason = Skipped, why
		g.r.sum(g.job, outs)
		return
	}
	unlock, err := g.lockTask(ctx)
	if err != nil {
		g.r.State, g.r.Reason = Cancelled, cancelled(ctx)
		return
	}
	defer unlock()
	defer g.book.close()
	g.last = g.Last(g.job.Name)
	g.book.size = g.last.ends.all
	if g.last.Dirty {
		g.endFormer(ctx)
		outs.sweep()
	}
	if g.known, err = g.in.compute(g.keyJob, g.Caching); err != nil {
		g.note("not cached: %v", err)
		g.r.attempts(ctx, g.tell(g.job, func() []string { return g.r.Notes }), outs)
		g.r.sum(g.job, outs)
		return
	}
	g.once(ctx, func() bool { return g.hit(ctx) || g.pull(ctx) }, func() bool { return g.hit(ctx) }, func() { g.execute(ctx) })
}

// once has the result of the known key found, and again when nobody else works on the key any more; else it is made.
func (g *caching) once(ctx context.Context, found, again func() bool, run func()) {
	g.r.Key = g.known.key
	if g.last.Key != g.known.key {
		g.r.Why = Explain(g.last.Lines, g.known.lines)
	}
	if !g.fresh() && found() {
		return
	}
	release, err := g.Store.Lock(ctx, g.known.key)
	switch {
	case ctx.Err() != nil:
		g.r.State, g.r.Reason = Cancelled, cancelled(ctx)
		return
	case err == nil:
		defer release()
	default:
		g.trouble(err)
	}
	if !g.fresh() && again() {
		return
	}
	run()
}

// fresh tells whether the task is to be run whatever is known.
func (g *caching) fresh() bool { return g.Force || g.Verify }

func (g *caching) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for _, n := range g.r.Notes {
		if n == text {
			return
		}
	}
	g.r.Notes = append(g.r.Notes, text)
}

// trouble tells an error of the store; that something is not there is none. Of errors that the store cannot be used the first is told.
func (g *caching) trouble(err error) {
	var bad *cache.CorruptError
	var off *cache.UnavailableError
	switch {
	case errors.As(err, &bad):
		g.note("%v", bad)
	case errors.As(err, &off):
		if !g.odd {
			g.note("not cached: %v", off)
		}
		g.odd = true
	case errors.Is(err, cache.ErrMiss) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
	default:
		g.note("not cached: %v", err)
	}
}

// lockTask keeps other processes from the outputs of this task in this checkout.
func (g *caching) lockTask(ctx context.Context) (func(), error) {
	if g.Dir == "" {
		return func() {}, nil
	}
	locks := g.locks
	if locks == nil {
		locks = taskLocks(g.Dir)
		defer locks.Close()
	}
	unlock, err := locks.Lock(ctx, g.job.Name)
	if errors.Is(err, fs.ErrNotExist) && os.MkdirAll(g.Dir, 0o700) == nil {
		unlock, err = locks.Lock(ctx, g.job.Name)
	}
	if err == nil {
		return unlock, nil
	}
	return func() {}, context.Cause(ctx) // a checkout that cannot be written is read all the same
}

// taskLocks are the locks of the tasks of a checkout, whose Caching.Dir is dir.
func taskLocks(dir string) *cache.Locks { return cache.OpenLocks(filepath.Join(dir, "lock")) }

// localKey names a result that is only true of this checkout.
func (g *caching) localKey() string {
	if g.localName != "" {
		return g.localName
	}
	g.localName = hashText("checkout " + g.job.hashes().place(g.job.Root) + "\n" + g.known.key)
	return g.localName
}

// hit restores the result, if it is known.
func (g *caching) hit(ctx context.Context) bool {
	for _, key := range []func() string{func() string { return g.known.key }, g.localKey} {
		rec, err := g.Store.Get(ctx, key())
		if err == nil {
			err = g.restore(ctx, rec)
		}
		if err == nil {
			return true
		}
		g.trouble(err)
	}
	return false
}

// pull restores the result, if others have it.
func (g *caching) pull(ctx context.Context) bool {
	p, ok := g.Store.(puller)
	if !ok {
		return false
	}
	err := p.Pull(ctx, g.known.key, g.known.lines)
	if err == nil {
		g.pulled = true
		if g.hit(ctx) {
			g.r.Remote = true
			return true
		}
		g.pulled = false
		return false
	}
	g.trouble(err)
	return false
}

// restore makes the outputs what the record says.
func (g *caching) restore(ctx context.Context, rec *cache.Record) error {
	for _, name := range g.job.Values {
		if _, ok := rec.Values[name]; !ok {
			return fmt.Errorf("the record of the task lacks the value %s", name)
		}
	}
	p, err := g.outs.compare(rec.Outputs, g.last.Made)
	if err != nil {
		return err
	}
	need := p.blobs()
	if g.Replay && rec.Log.Hash != "" {
		need = append(need, rec.Log)
	}
	if err := g.Store.Fetch(ctx, need); err != nil {
		return err
	}
	if !p.empty() {
		g.dirty("", "")
		if err := p.apply(ctx, g.Store); err != nil {
			return err
		}
	}
	if err := g.job.remember(rec.Values); err != nil {
		return err
	}
	g.r.State, g.r.Reason, g.r.Cached, g.r.Values = Succeeded, "", true, rec.Values
	if len(g.job.Outputs)+len(g.job.Values) > 0 {
		g.r.Digest = digestOf(rec.Outputs, rec.Values)
	}
	if g.Replay && rec.Log.Hash != "" {
		if err := Replay(ctx, g.Store, rec.Log, g.job.Stdout, g.job.Stderr); err != nil {
			g.note("cannot replay the output: %v", err)
		}
	}
	g.r.Log = rec.Log
	if p.empty() { // else the folders do not look any more as they did
		g.learn()
	}
	if g.last.Key != g.known.key || g.last.Dirty || !p.empty() {
		g.save(rec.Outputs, "", p.repairs())
	}
	return nil
}

// execute runs the task and keeps what it made.
func (g *caching) execute(ctx context.Context) {
	before := g.outs.idents()
	rec := &recorder{}
	j := *g.job
	if j.Marker != "" {
		j.Marker += "/" + rand.Text()[:8] // of this run alone
	}
	g.dirty(j.Marker, "")
	if g.keyJob == g.job {
		j.Steps = slices.Clone(j.Steps)
		for i, file := range g.known.found {
			j.Steps[i].file = file
		}
	}
	j.Stdout, j.Stderr = rec.tee(g.job.Stdout, g.job.Stderr)
	j.begin = rec.reset
	g.r.attempts(ctx, g.tell(&j, g.reasons), g.outs)
	if g.r.State == Succeeded && g.Verify {
		g.twice(ctx)
	}
	if g.r.State != Succeeded {
		g.dirty(j.Marker, g.r.Reason)
		return
	}
	why := g.changed()
	keep := why == ""
	content := g.outs.hashed
	if keep {
		content = g.adder(ctx, &keep)
	}
	entries, err := g.outs.entries(content)
	if err != nil {
		g.r.fail(fmt.Errorf("cannot read the outputs: %w", err))
		g.dirty(j.Marker, g.r.Reason)
		return
	}
	if len(g.job.Outputs)+len(g.job.Values) > 0 {
		g.r.Digest = digestOf(entries, g.r.Values)
	}
	if why != "" {
		g.note("not cached: %s", why)
	}
	if why == "" {
		g.learn()
	}
	if keep {
		why = g.put(ctx, entries, before, rec)
	}
	g.save(entries, why, nil)
}

// changed says which input is not what it was when the key was made; empty if none is.
func (g *caching) changed() string {
	if g.known.seen.still() {
		return ""
	}
	again, err := g.in.compute(g.keyJob, g.Caching)
	if err != nil {
		return err.Error()
	}
	if again.key != g.known.key {
		if diff := Explain(g.known.lines, again.lines); len(diff) > 0 {
			return diff[0].String() + ", during the run"
		}
		return "what it depends on changed during the run"
	}
	if path := g.known.touched(again); path != "" {
		return path + " was written during the run"
	}
	g.known = again // the folders look otherwise now
	return ""
}

// adder gives the blob of an output while it keeps it; keep becomes false when that cannot be done any more.
func (g *caching) adder(ctx context.Context, keep *bool) func(node) (cache.Blob, error) {
	var state guard
	return func(n node) (cache.Blob, error) {
		if state.failed() {
			return g.outs.hashed(n)
		}
		b, err := g.add(ctx, n)
		var off *cache.UnavailableError
		if err == nil || !errors.As(err, &off) && ctx.Err() == nil {
			return b, err
		}
		state.fail(func() { *keep = false; g.trouble(err) })
		return g.outs.hashed(n)
	}
}

// add keeps one file. One that changes meanwhile is an error.
func (g *caching) add(ctx context.Context, n node) (cache.Blob, error) {
	f, err := g.outs.root.File(n.rel, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return cache.Blob{}, err
	}
	defer f.Close()
	b, err := g.Store.Add(ctx, f)
	if err != nil {
		return b, err
	}
	fi, err := f.Stat()
	if err != nil {
		return b, err
	}
	if identOf(fi) != identOf(n.fi) {
		return b, fmt.Errorf("%s changes after the task has ended", n.rel)
	}
	return b, nil
}

// put keeps the record, and says what is to be known of that.
func (g *caching) put(ctx context.Context, entries []cache.Entry, before map[string]ident, log *recorder) (why string) {
	rec := &cache.Record{
		Key: g.known.key, Task: g.job.Name, Outputs: entries, Values: g.r.Values,
		Duration: time.Since(g.r.Started), Created: time.Now().UTC(), OS: runtime.GOOS, Arch: runtime.GOARCH, Local: g.local,
	}
	rec.Host, _ = os.Hostname()
	if old := g.outs.leftover(before); old != "" {
		rec.Key = g.localKey()
		why = "kept for this checkout only: " + old + " was there before and the run did not write it"
	}
	for _, e := range entries {
		if e.Kind != cache.File && e.Kind != cache.Dir && e.Kind != cache.Link {
			why = fmt.Sprintf("the output %s is %s, which cannot be kept", e.Path, e.Kind)
			g.note("not cached: %s", why)
			return why
		}
	}
	var err error
	if _, shares := g.Store.(puller); shares {
		rec.Lines, err = g.Store.Add(ctx, strings.NewReader(strings.Join(g.known.lines, "\n")+"\n"))
	}
	if text := log.text(g.in.secrets()); err == nil && len(text) > 0 {
		rec.Log, err = g.Store.Add(ctx, strings.NewReader(string(text)))
		g.r.Log = rec.Log
	}
	if err == nil {
		err = g.Store.Put(ctx, rec)
	}
	if err != nil {
		g.trouble(err)
		return err.Error()
	}
	return why
}

// twice runs the task once more, from nothing, and compares.
func (g *caching) twice(ctx context.Context) {
	first, err := g.outs.entries(g.outs.hashed)
	if err != nil {
		g.r.fail(fmt.Errorf("cannot read the outputs: %w", err))
		return
	}
	values := g.r.Values
	if err := g.outs.removeAll(); err != nil {
		g.r.fail(fmt.Errorf("cannot remove the outputs before the second run: %w", err))
		return
	}
	quiet := *g.job
	quiet.Stdout, quiet.Stderr = nil, nil
	g.r.attempts(ctx, &quiet, g.outs)
	if g.r.State != Succeeded {
		if g.r.State == Failed {
			g.r.Reason = "the second run of two failed: " + g.r.Reason
		}
		return
	}
	second, err := g.outs.entries(g.outs.hashed)
	if err != nil {
		g.r.fail(fmt.Errorf("cannot read the outputs: %w", err))
		return
	}
	if what := firstDifference(first, second, values, g.r.Values); what != "" {
		g.r.State, g.r.Reason = Failed, "it is not deterministic: "+what+" between two runs with the same inputs"
	}
}
