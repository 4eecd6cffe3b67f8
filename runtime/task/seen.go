package task

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"orrery/runtime/fresh"
)

// sights collects what a result rests on. A nil *sights collects nothing. Not safe for concurrent use.
type sights struct {
	at     time.Time // before anything was looked at that is added
	all    []fresh.Sight
	unsure bool // something was looked at whose state cannot be told
}

// look looks at a path; before what is in a folder is read.
func (s *sights) look(name string, how fresh.How) {
	if s != nil {
		s.all = append(s.all, fresh.Look(name, how))
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

func (s *sights) join(o sights) {
	s.all, s.unsure = append(s.all, o.all...), s.unsure || o.unsure
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

// seen is what the result at hand rests on; nil if that cannot be told, or if there is a secret in it, of which nothing is written down.
func (g *caching) seen() []fresh.Sight {
	if slices.ContainsFunc(g.in.Env, func(v Var) bool { return v.Secret }) || g.in.Live || g.job.Status != nil {
		return nil
	}
	if len(g.job.Creates) > 0 {
		return g.job.created()
	}
	s := g.known.seen
	s.join(g.outs.seen)
	if s.unsure {
		return nil
	}
	return s.all
}

// created is what a task rests on that is skipped while what it creates exists; nil if that is not all.
func (j *Job) created() []fresh.Sight {
	if j.Status != nil || len(j.Values) > 0 {
		return nil
	}
	var s sights
	for _, c := range j.Creates {
		if _, err := os.Stat(c); err != nil {
			return nil
		}
		s.look(c, fresh.There)
	}
	return s.all
}
