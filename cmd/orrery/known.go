package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"orrery/lang"
	"orrery/lang/graph"
	"orrery/runtime/cache"
	"orrery/runtime/control"
	"orrery/runtime/fresh"
	"orrery/runtime/task"
)

// known is what the book of the checkout says: of a run, what it means and which of its tasks need not be looked at.
type known struct {
	book  *fresh.Book
	facts bookFacts
	same  bool // the project would evaluate to what it did
}

// bookFacts are what the book holds besides tasks.
type bookFacts struct {
	Version  int               `json:"version"`
	Env      []string          `json:"env"`      // names of variables, or patterns of them, that tasks depend on
	Dotenv   []string          `json:"dotenv"`   // files of variables
	Frame    []byte            `json:"frame"`    // of the graph
	Warnings []lang.Diagnostic `json:"warnings"` // of the evaluation
}

// taskFacts are what the book holds of a task.
type taskFacts struct {
	Plain  bool              `json:"plain"`            // it has to do with tasks alone
	Def    string            `json:"def"`              // a hash of how it was declared
	Refers []string          `json:"refers,omitempty"` // tasks that it refers to
	Values map[string]string `json:"values,omitempty"`
	Log    cache.Blob        `json:"log"`
}

const bookVersion = 1

func bookPath(place control.Place) string { return filepath.Join(place.Dir, "fresh", "book") }

// openBook gives what is known; nil if there is nothing that is of the present.
func (a *app) openBook(place control.Place) *known {
	b, err := fresh.Open(bookPath(place))
	if err != nil {
		return nil
	}
	k := &known{book: b}
	if json.Unmarshal(b.Facts(), &k.facts) != nil || k.facts.Version != bookVersion || b.Stamp() != a.stamp(place, &k.facts) {
		return nil
	}
	k.same = b.Holds()
	return k
}

// stamp is a hash of what tasks depend on besides files: of this binary, the command line, the user and the environment.
func (a *app) stamp(place control.Place, f *bookFacts) string {
	h := sha256.New()
	add := func(what string, v any) { fmt.Fprintf(h, "%s %+v\n", what, v) }
	exe, _ := os.Executable()
	add("binary", fresh.Look(exe, fresh.Target).State)
	add("project", place.Root+" "+gitRoot(place.Root)+" "+a.file)
	add("user", fmt.Sprint(os.Geteuid(), os.Getegid()))
	add("machine", fmt.Sprint(runtime.NumCPU()))
	add("parameters", slices.Sorted(slices.Values(a.params)))
	add("overrides", slices.Sorted(slices.Values(a.instead)))
	names := append([]string{"PATH", "HOME", "CI", "ORRERY_PARAM_*", "ORRERY_LIB_*"}, f.Env...)
	env := os.Environ()
	slices.Sort(env)
	for _, kv := range env {
		key, _, _ := strings.Cut(kv, "=")
		if slices.ContainsFunc(names, func(p string) bool { ok, err := path.Match(p, key); return ok || err != nil && p == key }) {
			add("env", kv)
		}
	}
	for _, name := range f.Dotenv {
		text, err := os.ReadFile(filepath.Join(place.Root, name))
		add("dotenv "+name, fmt.Sprintf("%x %v", sha256.Sum256(text), err == nil))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// requestKey is a run as the book names it.
func requestKey(names []string, mode graph.Selection) string {
	return string(mode) + " " + strings.Join(names, " ")
}

// taskFacts of a task of the book.
func (k *known) taskFacts(i int) taskFacts {
	var f taskFacts
	_ = json.Unmarshal(k.book.TaskFacts(i), &f) // none is as good as that of an unknown one
	return f
}

// part is the graph of the stale tasks alone; nil if there is none without an evaluation.
func (k *known) part(stale []int) (*graph.Graph, map[string]map[string]string) {
	index := map[string]int{}
	in := make(map[int]bool, len(stale))
	for _, i := range stale {
		in[i] = true
	}
	var stubs []int
	values := map[string]map[string]string{}
	for _, i := range stale {
		f := k.taskFacts(i)
		if !f.Plain {
			return nil, nil
		}
		if len(index) == 0 && len(f.Refers) > 0 {
			index = k.book.Index()
		}
		for _, name := range f.Refers {
			j, ok := index[name]
			if !ok {
				return nil, nil
			}
			if !in[j] && values[name] == nil {
				stubs = append(stubs, j)
				values[name] = k.taskFacts(j).Values
				if values[name] == nil {
					values[name] = map[string]string{}
				}
			}
		}
	}
	pieces, err := k.book.Nodes(stale)
	if err != nil {
		return nil, nil
	}
	others, err := k.book.Nodes(stubs)
	if err != nil {
		return nil, nil
	}
	g, err := graph.Assemble(k.facts.Frame, pieces, others)
	if err != nil {
		return nil, nil
	}
	return g, values
}

// chapter is the book of an evaluated project, before it is written: with what the old one knows of tasks that are declared as they were.
type chapter struct {
	contents fresh.Contents
	facts    []taskFacts // of the tasks
}

// evaluated makes a chapter. began is when the evaluation began.
func (a *app) evaluated(p *lang.Project, place control.Place, old *known, began time.Time) (*chapter, error) {
	g := p.Graph
	f := bookFacts{Version: bookVersion, Env: slices.Clone(g.Project.PassEnv), Dotenv: g.Project.Dotenv, Warnings: p.Warnings}
	for _, s := range g.Secrets {
		if s.Env != "" {
			f.Env = append(f.Env, s.Env)
		}
	}
	for _, n := range g.Nodes {
		if n.Kind == graph.KindTask {
			f.Env = append(f.Env, n.Task.PassEnv...)
		}
	}
	slices.Sort(f.Env)
	f.Env = slices.Compact(f.Env)
	var err error
	if f.Frame, err = g.Frame(); err != nil {
		return nil, err
	}
	c := &chapter{}
	c.contents.Stamp = a.stamp(place, &f)
	if c.contents.Seen, err = evaluationSights(p, began); err != nil {
		return nil, err
	}
	if c.contents.Facts, err = json.Marshal(f); err != nil {
		return nil, err
	}
	var index map[string]int
	if old != nil && old.book.Stamp() == c.contents.Stamp && string(old.facts.Frame) == string(f.Frame) {
		index = old.book.Index()
	}
	for _, name := range g.Order() {
		if g.Node(name).Kind != graph.KindTask {
			continue
		}
		t := fresh.Task{Name: name}
		for _, e := range g.Out(name) {
			t.Needs = append(t.Needs, e.To)
		}
		var facts taskFacts
		t.Node, facts.Refers, facts.Plain = g.Piece(name)
		facts.Def = definition(g.Node(name))
		if i, ok := index[name]; ok && facts.Plain {
			if was := old.taskFacts(i); was.Def == facts.Def {
				facts.Values, facts.Log, t.Seen = was.Values, was.Log, old.book.Seen(i)
			}
		}
		c.contents.Tasks = append(c.contents.Tasks, t)
		c.facts = append(c.facts, facts)
	}
	return c, nil
}

// definition is a hash of a declaration, wherever it stands.
func definition(n *graph.Node) string {
	text, err := json.Marshal(n.Task)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// evaluationSights are what the evaluation of the project rests on. What changed since it began is not trusted.
func evaluationSights(p *lang.Project, began time.Time) ([]fresh.Sight, error) {
	var all []fresh.Sight
	look := func(name string) {
		s := fresh.Look(name, fresh.Target)
		s.State.Young = s.State.Young || fresh.Young(s.State.Ctime, began)
		all = append(all, s)
	}
	for _, f := range p.Files {
		switch {
		case f.Kind == "pattern":
			base := f.Path
			if i := strings.IndexAny(base, `*?[{\`); i >= 0 {
				base = filepath.Dir(base[:i] + "x")
			}
			if !filepath.IsAbs(base) {
				base = filepath.Join(p.Root, base)
			}
			err := filepath.WalkDir(base, func(name string, d fs.DirEntry, err error) error {
				if err != nil || !d.IsDir() {
					return nil
				}
				if d.Name() == ".git" || d.Name() == ".orrery" {
					return fs.SkipDir
				}
				look(name)
				return nil
			})
			if err != nil {
				return nil, err
			}
		case filepath.IsAbs(f.Path):
			look(f.Path)
		}
	}
	return all, nil
}

// learn takes the results of a run into the chapter.
func (c *chapter) learn(results map[string]task.Result) {
	for i := range c.contents.Tasks {
		t := &c.contents.Tasks[i]
		if r, ok := results[t.Name]; ok {
			t.Seen, c.facts[i] = lesson(c.facts[i], r)
		}
	}
}

// lesson is what a result teaches.
func lesson(f taskFacts, r task.Result) ([]fresh.Sight, taskFacts) {
	if !f.Plain || r.State != task.Succeeded && r.State != task.Skipped {
		return nil, f
	}
	f.Values, f.Log = r.Values, r.Log
	r.Settle()
	return r.Seen, f
}

// book makes a book of the chapter.
func (c *chapter) book(place control.Place) (*fresh.Book, error) {
	for i := range c.contents.Tasks {
		text, err := json.Marshal(c.facts[i])
		if err != nil {
			return nil, err
		}
		c.contents.Tasks[i].Facts = text
	}
	return fresh.New(bookPath(place), c.contents), nil
}

// request has the book remember what a run means, if that is tasks alone.
func (c *chapter) request(g *graph.Graph, r fresh.Request) {
	if !slices.ContainsFunc(r.Need, func(name string) bool { return g.Node(name).Kind != graph.KindTask }) {
		c.contents.Requests = []fresh.Request{r}
	}
}

// clean gives the tasks among those needed that need not be looked at.
func (c *chapter) clean(place control.Place, need []string) (map[string]bool, error) {
	if !slices.ContainsFunc(c.contents.Tasks, func(t fresh.Task) bool { return len(t.Seen) > 0 }) {
		return nil, nil
	}
	b, err := c.book(place)
	if err != nil {
		return nil, err
	}
	index := b.Index()
	var tasks []int
	all := map[string]bool{}
	for _, name := range need {
		if i, ok := index[name]; ok {
			tasks = append(tasks, i)
			all[name] = true
		}
	}
	slices.Sort(tasks)
	for _, i := range b.Stale(tasks) {
		delete(all, b.Name(i))
	}
	return all, nil
}

// update adds the results of a run of some tasks to the book, if they teach anything.
func (k *known) update(ctx context.Context, results map[string]task.Result) error {
	index := k.book.Index()
	var all []fresh.Task
	for name, r := range results {
		i, ok := index[name]
		if !ok {
			continue
		}
		f := k.taskFacts(i)
		t := fresh.Task{Name: name}
		t.Seen, f = lesson(f, r)
		if len(t.Seen) == 0 && !k.book.Knows(i) {
			continue
		}
		text, err := json.Marshal(f)
		if err != nil {
			return err
		}
		t.Facts = text
		all = append(all, t)
	}
	if len(all) == 0 {
		return nil
	}
	return k.book.Update(ctx, all)
}
