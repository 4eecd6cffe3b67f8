package task

import (
	"context"
	"errors"
	"fmt"
	"time"

	"orrery/runtime/cache"
)

// Forecast is what RunCached would do.
type Forecast struct {
	// Action is "up-to-date", "restore" (from the cache), "run" or "skip".
	Action string
	// Why says why in a few words each: what has changed since the last success, what is missing.
	Why []string
	// Changes are the differences to the last success, of which Why tells the first ones.
	Changes []Change
	// Kept says that the result is looked for: what is not is run whatever has changed. Key is the key it has now.
	Kept bool
	Key  string
	// Values are those that the task would have, where it would not run.
	Values map[string]string
}

// peeker is a Store that can be looked into without a trace: *cache.Store is one.
type peeker interface {
	Peek(ctx context.Context, key string) (*cache.Record, error)
}

// Preview says what RunCached would do now. It runs, writes and locks nothing: not the status command either, which might
// skip the task, and it does not read the blobs of a result, so that one that is damaged is told only by a run.
func (c *Caching) Preview(ctx context.Context, j *Job, k *KeyInput) (Forecast, error) {
	f := Forecast{Action: "run"}
	outs, err := openOutputs(j)
	if err != nil {
		return f, err
	}
	defer outs.close()
	if len(j.Creates) > 0 && allExist(j.Creates) {
		if values, ok := j.recall(); ok {
			f.Action, f.Why, f.Values = "skip", []string{"what it creates exists"}, values
			return f, nil
		}
	}
	g := &caching{Caching: c, job: j, keyJob: j, in: k, r: &Result{Started: time.Now()}, outs: outs}
	if f.Kept = c.Cached(j, k); !f.Kept {
		f.Why = []string{c.uncached(j, k)}
	} else if err := g.preview(ctx, &f); err != nil {
		return f, err
	}
	if j.Status != nil && f.Action == "run" {
		f.Why = append(f.Why, "unless its status command ends with 0")
	}
	return f, nil
}

func (g *caching) preview(ctx context.Context, f *Forecast) error {
	g.last = g.Last(g.job.Name)
	known, err := g.in.compute(g.keyJob, g.Caching)
	if err != nil {
		f.Why = []string{"not cached: " + err.Error()}
		return nil
	}
	g.known, f.Key = known, known.key
	if g.last.Key != known.key {
		g.r.Why = Explain(g.last.Lines, known.lines)
		f.Changes = g.r.Why
	}
	if f.Kept = !g.fresh(); f.Kept {
		for _, key := range []string{known.key, g.localKey()} {
			rec, err := g.peek(ctx, key)
			if err == nil {
				err = g.compared(rec, f)
			}
			if err == nil {
				return nil
			}
		}
	}
	f.Why = g.reasons()
	return nil
}

// peek looks for a record.
func (g *caching) peek(ctx context.Context, key string) (*cache.Record, error) {
	if p, ok := g.Store.(peeker); ok {
		return p.Peek(ctx, key)
	}
	return g.Store.Get(ctx, key)
}

// compared says what restoring a record would do; an error that it cannot be restored.
func (g *caching) compared(rec *cache.Record, f *Forecast) error {
	for _, name := range g.job.Values {
		if _, ok := rec.Values[name]; !ok {
			return errors.New("a value is missing")
		}
	}
	p, err := g.outs.compare(rec.Outputs, g.last.Made)
	if err != nil {
		return err
	}
	f.Values = rec.Values
	if p.empty() {
		f.Action = "up-to-date"
		return nil
	}
	f.Action = "restore"
	if f.Why = changes(g.r.Why); len(f.Why) > 0 {
		return nil
	}
	switch {
	case len(p.need) > 0:
		f.Why = []string{"the output " + p.need[0].Path + " is not what it made"}
	case len(p.remove) > 0:
		f.Why = []string{"the output " + p.remove[0] + " is not what it made"}
	}
	return nil
}

// reasons says why the task is run.
func (g *caching) reasons() []string {
	switch {
	case g.Force:
		return []string{"--force runs what is cached, too"}
	case g.Verify:
		return []string{"--verify runs everything twice"}
	}
	if why := changes(g.r.Why); len(why) > 0 {
		return why
	}
	switch {
	case g.last.Key == "" && g.last.Dirty:
		return []string{"it has not succeeded in this checkout yet"}
	case g.last.Key == "":
		return []string{"it has not run in this checkout yet"}
	case g.last.Note != "":
		return []string{g.last.Note}
	}
	return []string{"its result is not in the cache any more"}
}

// maxChanges is how many changes are told.
const maxChanges = 10

func changes(list []Change) []string {
	var why []string
	for i, c := range list {
		if i == maxChanges {
			return append(why, fmt.Sprintf("and %d more", len(list)-i))
		}
		why = append(why, c.String())
	}
	return why
}

// uncached says why the result of a task is not kept; "" if it is.
func (c *Caching) uncached(j *Job, k *KeyInput) string {
	if c == nil || c.Store == nil {
		return "there is no cache that can be used"
	}
	return k.Uncached(j)
}

// Uncached says why the result may not be kept, whatever the cache; "" if it may.
func (k *KeyInput) Uncached(j *Job) string {
	switch {
	case k == nil:
		return "nothing of it is kept"
	case j.Interactive:
		return "it has the terminal, so it is not cached"
	case k.Cache != nil && !*k.Cache:
		return "it is declared as not cached"
	case len(k.CacheKey) > 0:
		return ""
	case k.Live:
		return "it needs a service, so it is not cached"
	case k.Cache != nil || len(j.Outputs) > 0:
		return ""
	}
	for _, in := range k.Inputs {
		if !in.Implied {
			return ""
		}
	}
	return "it declares neither inputs nor outputs, so it is not cached"
}

// tell has the job say why it runs, when it begins.
func (c *Caching) tell(j *Job, why func() []string) *Job {
	if c == nil || c.Explain == nil {
		return j
	}
	with, before, told := *j, j.begin, false
	with.begin = func() {
		if before != nil {
			before()
		}
		if !told {
			told = true
			c.Explain(j.Name, why())
		}
	}
	return &with
}
