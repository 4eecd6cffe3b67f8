package task

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"orrery/runtime/archive"
	"orrery/runtime/cache"
)

// Template is a directory that a job fills once, under another name first.
type Template struct {
	// Service is whose directory it is, for people.
	Service string
	// Tmp is the folder that the texts of the Job name, absolute; UID and GID own what is in it, -1 is us.
	Tmp      string
	UID, GID int
	// Lock is a file that keeps other processes from the directory.
	Lock string
	// Target is the directory itself; *bind.Template is one. All but Vacant are called under the lock.
	Target interface {
		// Vacant tells whether there is nothing yet: what is there is never touched.
		Vacant() (bool, error)
		// Make makes Tmp anew, empty, and removes those that killed runs left.
		Make() error
		// Take gives Tmp the name of the directory, if that is still vacant; Drop removes Tmp.
		Take() error
		Drop()
	}
	// Key is the Job with a placeholder where the texts name the directory: nothing of the place enters the key.
	Key *Job
}

// The outputs of a template's record: the two texts of runtime/archive.
const (
	contentName = "content"
	indexName   = "index"
)

// maxIndex bounds an index, in bytes.
const maxIndex = 256 << 20

// Fill fills the directory if it is vacant, else the job is skipped, whatever Force says. What the job made of the same key before, in this or
// another checkout, is copied; else it is run, and what it made is kept, unless k says that it is not. The directory gets its name when it
// is whole; a run that is killed leaves a folder that the next one removes. One run per key at a time, across processes: others wait and
// copy. Nothing is synced: until a server has written to the directory it can be made again. Without a c nothing is kept; of its fields
// Verify is Force here, and nothing is replayed.
func (t *Template) Fill(ctx context.Context, j *Job, k *KeyInput, c *Caching) Result {
	if c == nil {
		c = &Caching{}
	}
	if j.Hashes == nil {
		run, key := *j, *t.Key
		run.Hashes = &FileHashes{}
		key.Hashes = run.Hashes
		with := *t
		j, with.Key, t = &run, &key, &with
	}
	g := &filling{caching{Caching: c, job: j, keyJob: t.Key, in: k, r: &Result{Started: time.Now()}}, t}
	g.run(ctx)
	g.r.Ended = time.Now()
	return *g.r
}

// filling is one Fill.
type filling struct {
	caching
	t *Template
}

func (g *filling) run(ctx context.Context) {
	if g.occupied() {
		return
	}
	unlock, err := cache.LockFile(ctx, g.t.Lock)
	switch {
	case ctx.Err() != nil:
		g.r.State, g.r.Reason = Cancelled, cancelled(ctx)
		return
	case err != nil:
		g.r.fail(fmt.Errorf("cannot lock the state directory of %s: %w", g.t.Service, err))
		return
	}
	defer unlock()
	if g.occupied() {
		return
	}
	if g.outs, err = openOutputs(g.job); err != nil {
		g.r.fail(err)
		return
	}
	defer g.outs.close()
	if why := g.r.skip(ctx, g.job); why != "" {
		g.r.State, g.r.Reason = Skipped, why
		return
	}
	g.fill(ctx)
	g.r.sum(g.job, g.outs)
}

// occupied skips the task where there is something.
func (g *filling) occupied() bool {
	vacant, err := g.t.Target.Vacant()
	if err != nil {
		g.r.fail(fmt.Errorf("cannot look at the state directory of %s: %w", g.t.Service, err))
		return true
	}
	if vacant {
		return false
	}
	g.r.State, g.r.Reason = Skipped, "the state directory of "+g.t.Service+" exists"
	g.r.Values, _ = g.job.recall()
	return true
}

func (g *filling) fill(ctx context.Context) {
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
	}
	if g.Store == nil || !g.in.template(g.job) {
		g.execute(ctx, false)
		return
	}
	g.local = true // the data of a service
	if g.known, err = g.in.compute(g.keyJob, g.Caching); err != nil {
		g.note("not cached: %v", err)
		g.execute(ctx, false)
		return
	}
	kept := func() bool { return g.hit(ctx) }
	g.once(ctx, kept, kept, func() { g.execute(ctx, true) })
}

// hit copies what is kept, if anything is. A copy that fails leaves the directory vacant.
func (g *filling) hit(ctx context.Context) bool {
	rec, err := g.Store.Get(ctx, g.known.key)
	if err == nil {
		err = g.copy(ctx, rec)
	}
	if err != nil {
		g.trouble(err)
		return false
	}
	if err := g.t.Target.Take(); err != nil {
		g.r.fail(err)
		g.t.Target.Drop()
		return true
	}
	g.r.State, g.r.Reason, g.r.Cached, g.r.Values = Succeeded, "", true, rec.Values
	if err := g.job.remember(rec.Values); err != nil {
		g.note("%v", err)
	}
	g.save(nil, "", nil)
	return true
}

// copy makes Tmp what the record says.
func (g *filling) copy(ctx context.Context, rec *cache.Record) (err error) {
	blobs := map[string]cache.Blob{}
	for _, e := range rec.Outputs {
		blobs[e.Path] = e.Blob
	}
	content, index := blobs[contentName], blobs[indexName]
	if content.Hash == "" || index.Hash == "" || index.Size > maxIndex {
		return errors.New("the record is none of a template")
	}
	for _, name := range g.job.Values {
		if _, ok := rec.Values[name]; !ok {
			return fmt.Errorf("the record of the task lacks the value %s", name)
		}
	}
	if err := g.Store.Fetch(ctx, []cache.Blob{index, content}); err != nil {
		return err
	}
	from, err := g.Store.Open(ctx, index)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(from)
	if err = errors.Join(err, from.Close()); err != nil {
		return err
	}
	if from, err = g.Store.Open(ctx, content); err != nil {
		return err
	}
	defer from.Close()
	at, done, err := readerAt(from)
	if err != nil {
		return err
	}
	defer done()
	if err := g.t.Target.Make(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			g.t.Target.Drop()
		}
	}()
	root, err := os.OpenRoot(g.t.Tmp)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := archive.Unpack(ctx, root, text, at, g.owner()); err != nil {
		return fmt.Errorf("cannot copy the template of %s: %w", g.t.Service, err)
	}
	return nil
}

// readerAt reads a blob at any offset: a store that has no file of it gets one for the while.
func readerAt(r io.Reader) (at io.ReaderAt, done func(), err error) {
	if at, ok := r.(io.ReaderAt); ok {
		return at, func() {}, nil
	}
	f, err := os.CreateTemp("", "orrery-template-*")
	if err != nil {
		return nil, nil, err
	}
	os.Remove(f.Name())
	if _, err := io.Copy(f, r); err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, func() { f.Close() }, nil
}

func (g *filling) owner() archive.Owner { return archive.Owner{UID: g.t.UID, GID: g.t.GID} }

// execute runs the job into Tmp, keeps what it made, and gives it its name.
func (g *filling) execute(ctx context.Context, keep bool) {
	if err := g.t.Target.Make(); err != nil {
		g.r.fail(err)
		return
	}
	rec, again := &recorder{}, false
	j := *g.job
	if j.Marker != "" {
		j.Marker += "/" + rand.Text()[:8] // of this run alone
	}
	g.dirty(j.Marker, "")
	if keep {
		j.Stdout, j.Stderr = rec.tee(g.job.Stdout, g.job.Stderr)
	}
	j.begin = func() {
		rec.reset()
		if again {
			_ = g.t.Target.Make() // without the folder the try fails by itself
		}
		again = true
	}
	g.r.attempts(ctx, &j, g.outs)
	if g.r.State != Succeeded {
		g.dirty(j.Marker, g.r.Reason)
		g.t.Target.Drop()
		return
	}
	why := ""
	if keep {
		if why = g.changed(); why != "" {
			g.note("not cached: %s", why)
		} else {
			why = g.keep(ctx, rec)
		}
	}
	if err := g.t.Target.Take(); err != nil {
		g.r.fail(err)
		g.t.Target.Drop()
		return
	}
	if g.known != nil {
		g.save(nil, why, nil)
	}
}

// keep packs Tmp into the store; why says that it could not.
func (g *filling) keep(ctx context.Context, rec *recorder) (why string) {
	content, index, err := g.pack(ctx)
	if err != nil {
		g.trouble(err)
		return err.Error()
	}
	return g.put(ctx, []cache.Entry{
		{Path: contentName, Kind: cache.File, Mode: 0o400, Blob: content},
		{Path: indexName, Kind: cache.File, Mode: 0o400, Blob: index},
	}, nil, rec)
}

func (g *filling) pack(ctx context.Context) (content, index cache.Blob, err error) {
	root, err := os.OpenRoot(g.t.Tmp)
	if err != nil {
		return content, index, err
	}
	defer root.Close()
	owner := g.owner()
	if os.Geteuid() == 0 { // others' files would come back as ours
		owner.UID, owner.GID = max(owner.UID, 0), max(owner.GID, 0)
	}
	r, w := io.Pipe()
	packed := make(chan []byte, 1)
	go func() {
		text, err := archive.Pack(ctx, root, w, owner)
		packed <- text
		w.CloseWithError(err)
	}()
	content, err = g.Store.Add(ctx, r)
	r.CloseWithError(err) // a store that stopped reading
	text := <-packed
	if err == nil {
		index, err = g.Store.Add(ctx, strings.NewReader(string(text)))
	}
	return content, index, err
}
