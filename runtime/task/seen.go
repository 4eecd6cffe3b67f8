package task

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"orrery/runtime/cache"
	"orrery/runtime/fresh"
)

// sights collects what a result rests on. A nil *sights collects nothing. Not safe for concurrent use.
type sights struct {
	at     time.Time // before anything was looked at that is added
	all    []fresh.Sight
	young  map[string]string // files that changed lately, and the hash of their content
	unsure bool              // something was looked at whose state cannot be told
}

// look looks at a path; before what is in a folder is read.
func (s *sights) look(name string, how fresh.How) {
	if s != nil {
		s.all = append(s.all, fresh.LookAt(name, how, s.at))
	}
}

// add takes what was looked at.
func (s *sights) add(name string, how fresh.How, fi fs.FileInfo, err error) {
	switch {
	case s == nil:
	case err != nil:
		s.all = append(s.all, fresh.Sight{Name: name, How: how})
		s.unsure = s.unsure || !missing(err)
	default:
		s.all = append(s.all, fresh.Sight{Name: name, How: how, State: fresh.StateOf(fi, s.at)})
	}
}

// still tells whether everything looks as it did. What is too young to be sure of does not.
func (s *sights) still() bool {
	return !s.unsure && !slices.ContainsFunc(s.all, func(v fresh.Sight) bool { return !v.Still() })
}

// content takes the hash of the file that was added last, if that, or a sight of it taken a little earlier, may be young.
func (s *sights) content(sum string) {
	last := s.all[len(s.all)-1]
	if !fresh.Young(last.State.Ctime, s.at.Add(-lately)) {
		return
	}
	if s.young == nil {
		s.young = map[string]string{}
	}
	s.young[last.Name] = sum
}

// lately is longer than a run looks at one thing and another of the same task.
const lately = time.Second

// contents takes the hashes of files that were added.
func (s *sights) contents(entries []cache.Entry, abs func(string) string) {
	young := map[string]bool{}
	for _, v := range s.all {
		if v.State.Young {
			young[v.Name] = true
		}
	}
	if len(young) == 0 {
		return
	}
	s.young = map[string]string{}
	for _, e := range entries {
		if name := abs(e.Path); e.Kind == cache.File && young[name] {
			s.young[name] = e.Blob.Hash
		}
	}
}

func (s *sights) join(o sights) {
	s.all, s.unsure = append(s.all, o.all...), s.unsure || o.unsure
	if s.young == nil {
		s.young = o.young
		return
	}
	maps.Copy(s.young, o.young)
}

// path takes the folders of the PATH of an environment: what is found in them may change when they do.
func (s *sights) path(env []string) {
	path := ""
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	for _, dir := range filepath.SplitList(path) {
		if filepath.IsAbs(dir) {
			s.look(dir, fresh.Target)
		}
	}
}

// learn notes what the result at hand rests on; not where that cannot be told, or if there is a secret in it, of which nothing is written
// down.
func (g *caching) learn() {
	if slices.ContainsFunc(g.in.Env, func(v Var) bool { return v.Secret }) || g.in.Live || g.job.Status != nil {
		return
	}
	if len(g.job.Creates) > 0 {
		g.r.Seen = g.job.created()
		return
	}
	s := sights{}
	s.join(g.known.seen)
	s.join(g.outs.seen)
	if !s.unsure {
		g.r.Seen, g.r.young = s.all, s.young
	}
}

// settleSize is up to what size a young file is read once more.
const settleSize = 1 << 20

// Settle looks once more at files in Seen that were as young as the clock's tick when they were looked at: those that have still the same
// content are trusted from then on. It may wait for a tick.
func (r *Result) Settle() {
	for i, s := range r.Seen {
		sum, ok := r.young[s.Name]
		if !ok || !s.State.Young || s.How == fresh.There || s.State.Size > settleSize {
			continue
		}
		now := fresh.Look(s.Name, s.How)
		if now.State.Young && now.State.Ctime == s.State.Ctime {
			time.Sleep(tick)
			now = fresh.Look(s.Name, s.How)
		}
		same := now.State
		same.Young = true
		if same != s.State || now.State.Young {
			continue
		}
		if again, ok, err := new(FileHashes).read(s.Name); err == nil && ok && again == sum {
			r.Seen[i] = now
		}
	}
}

// tick is a step of the clock that the times of files are taken from, or more: the kernel counts 100 in a second at least.
const tick = 11 * time.Millisecond

// created is what a task rests on that is skipped while what it creates exists; nil if that is not all.
func (j *Job) created() []fresh.Sight {
	if j.Status != nil || len(j.Values) > 0 {
		return nil
	}
	s := sights{at: fresh.Clock()}
	for _, c := range j.Creates {
		if _, err := os.Stat(c); err != nil {
			return nil
		}
		s.look(c, fresh.There)
	}
	return s.all
}
