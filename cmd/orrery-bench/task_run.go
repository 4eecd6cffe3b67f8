package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"
)

// The workloads of the task part. A tree is written and built once for each tool; then the rounds go from tool to tool, in an
// order of their own each, so that all have the same weather.

const (
	setupLimit = 5 * time.Minute  // for building a tree the first time
	stepLimit  = time.Minute      // for each command that is measured
	onceLimit  = 3 * time.Minute  // for fifty of them at a time
	patience   = 20 * time.Second // a tool whose rounds of one kind have taken longer sits out the later ones
)

// taskMeasures are the rows, in the order of the report.
func taskMeasures(sizes []int) []measure {
	var all []measure
	add := func(group, unit, title string, sizes ...int) {
		for _, n := range sizes {
			all = append(all, measure{fmt.Sprintf("%s.%d", group, n), group, unit, fmt.Sprintf(title, n)})
		}
	}
	add("noop", "ms", "nothing to do in a tree of %d tasks", sizes...)
	add("change", "ms", "one changed input in a tree of %d tasks, three of which depend on it", sizes...)
	add("cold", "ms", "%d tasks of which nothing is there, two at a time", sizes...)
	add("restore", "ms", "all outputs of %d tasks deleted, caches full", sizes...)
	add("rss", "MB", "greatest memory of one process of the tool with nothing to do in %d tasks", sizes...)
	add("engine", "MB", "memory (PSS) of the engine that stays, with %d tasks", sizes...)
	add("load", "ms", "reading the declarations of %d tasks", sizes...)
	all = append(all,
		measure{"once.runs", "once", "runs", "50 runs of one task at a time: how often its command ran"},
		measure{"once.time", "once", "ms", "50 runs of one task at a time: until the last has returned"},
		measure{"start", "start", "ms", "the tool says its version"},
	)
	return all
}

// taskGroups are the words of -only.
func taskGroups() []string { return distinct(taskMeasures([]int{1})) }

// field is the tools side by side.
type field struct {
	*runner
	list  []*found
	tools map[string]builder
	cells map[key]*cell
}

func (r *runner) tasks(ctx context.Context, list []*found) ([]result, error) {
	f := &field{runner: r, list: list, tools: map[string]builder{}, cells: map[key]*cell{}}
	for _, b := range builders() {
		f.tools[b.name] = b
	}
	var asked []measure
	for _, m := range taskMeasures(r.sizes) {
		if r.wants(m.group) {
			asked = append(asked, m)
		}
	}
	if r.wants("start") {
		f.each(ctx, r.rounds, f.start)
	}
	inTrees := slices.ContainsFunc(asked, func(m measure) bool { return m.group != "start" && m.group != "once" })
	for _, n := range r.sizes {
		if inTrees {
			f.size(ctx, n)
		}
	}
	if r.wants("once") {
		f.each(ctx, min(r.rounds, 3), f.once)
	}
	return results(asked, list, f.cells), ctx.Err()
}

// each calls act for each tool in rounds.
func (f *field) each(ctx context.Context, rounds int, act func(ctx context.Context, p *found) error) {
	spent := make([]time.Duration, len(f.list))
	for range rounds {
		for _, i := range rand.Perm(len(f.list)) {
			if ctx.Err() != nil {
				return
			}
			if spent[i] > patience {
				continue
			}
			t := time.Now()
			if err := act(ctx, f.list[i]); err != nil && ctx.Err() == nil {
				fmt.Fprintf(f.log, "%s: %v\n", f.list[i].name, err)
			}
			spent[i] += time.Since(t)
		}
	}
}

// note files a sample, or the reason why there is none.
func (f *field) note(p *found, id string, value float64, err error) {
	s := sample{id: id, value: value}
	if err != nil {
		s = failure(id, err)
	}
	gather(f.cells, p.name, []sample{s})
}

// site opens a directory for a tool and writes the tree.
func (f *field) site(p *found, jobs []*job) (*site, error) {
	s, err := open(f.runner, p)
	if err != nil {
		return nil, err
	}
	t := &site{session: s, tool: f.tools[p.name], jobs: jobs, most: stepLimit}
	if err := t.put(); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// size measures all that is asked in trees of n tasks.
func (f *field) size(ctx context.Context, n int) {
	sites := map[string]*site{}
	defer func() {
		for _, s := range sites {
			if argv := s.tool.end; argv != nil {
				_, _ = s.do(argv(s))
			}
		}
		for _, s := range sites {
			s.close()
		}
	}()
	for _, p := range f.list {
		if ctx.Err() != nil {
			return
		}
		if most := f.tools[p.name].most; most > 0 && n > most {
			f.refuse(p, n, fmt.Errorf("not tried beyond %d tasks", most))
			continue
		}
		t := time.Now()
		s, err := f.build(ctx, p, n)
		fmt.Fprintf(f.log, "set up %d %-12s %6.1f s\n", n, p.name, time.Since(t).Seconds())
		if err != nil {
			f.refuse(p, n, err)
			continue
		}
		sites[p.name] = s
	}
	round := 0
	visit := func(ctx context.Context, p *found) error {
		s := sites[p.name]
		round++
		if s == nil {
			return nil
		}
		return f.visit(ctx, s, n, round)
	}
	f.each(ctx, f.rounds, visit)
	if f.wants("rss") {
		f.each(ctx, min(f.rounds, 3), func(ctx context.Context, p *found) error {
			if s := sites[p.name]; s != nil {
				return f.rss(ctx, s, n)
			}
			return nil
		})
	}
	if f.wants("restore") {
		f.each(ctx, min(f.rounds, 5), func(ctx context.Context, p *found) error {
			if s := sites[p.name]; s != nil && s.tool.keeps {
				return f.restore(ctx, s, n)
			}
			return nil
		})
	}
	if f.wants("cold") && n == 1000 {
		f.each(ctx, min(f.rounds, 3)-1, func(ctx context.Context, p *found) error {
			if s := sites[p.name]; s != nil && s.tool.begin == nil {
				return f.again(ctx, p, n)
			}
			return nil
		})
	}
}

// refuse says why a tool has no values of a size.
func (f *field) refuse(p *found, n int, err error) {
	fmt.Fprintf(f.log, "%s: %d: %v\n", p.name, n, err)
	for _, group := range []string{"noop", "change", "cold"} {
		gather(f.cells, p.name, []sample{{id: fmt.Sprintf("%s.%d", group, n), value: -1, note: err.Error()}})
	}
}

// build makes a tree and runs everything in it once; that is a cold run, too.
func (f *field) build(ctx context.Context, p *found, n int) (*site, error) {
	s, err := f.site(p, shape(n))
	if err != nil {
		return nil, err
	}
	if err := f.cold(ctx, s, n); err != nil {
		s.close()
		return nil, err
	}
	if s.tool.begin != nil {
		if _, err := s.do(s.tool.begin(s)); err != nil {
			return s, err
		}
		if f.wants("engine") {
			defer func() { f.note(p, fmt.Sprintf("engine.%d", n), s.memory(), nil) }()
		}
	}
	_, err = s.take(ctx, s.tool.run(s)) // what a tool learns only by looking again, such as settled time stamps
	return s, err
}

func (f *field) cold(ctx context.Context, s *site, n int) error {
	argv := s.tool.run(s)
	if s.tool.cold != nil {
		argv = s.tool.cold(s)
	}
	s.most = setupLimit
	got, err := s.take(ctx, argv)
	s.most = stepLimit
	if err == nil {
		err = s.whole()
	}
	if err == nil && s.tool.begin == nil {
		f.note(s.found, fmt.Sprintf("cold.%d", n), ms(got.wall), nil)
	}
	return err
}

// again is one more cold run, in a fresh place.
func (f *field) again(ctx context.Context, p *found, n int) error {
	s, err := f.site(p, shape(n))
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(s.dir) }() // not close: that would end the engines of the others
	defer s.hub.close()
	return f.cold(ctx, s, n)
}

// visit is one round of one tool: nothing to do, one change, reading.
func (f *field) visit(ctx context.Context, s *site, n, round int) error {
	at := func(group string) string { return fmt.Sprintf("%s.%d", group, n) }
	if f.wants("noop") {
		got, err := s.take(ctx, s.tool.run(s))
		f.note(s.found, at("noop"), ms(got.wall), err)
	}
	if f.wants("change") && !s.tool.bare {
		want := fmt.Sprintf("changed %d\n", round)
		if err := os.WriteFile(s.session.file(s.jobs[0].file("a")), []byte(want), 0o644); err != nil {
			return err
		}
		got, err := s.take(ctx, s.tool.run(s))
		if err == nil {
			err = s.right(want)
		}
		f.note(s.found, at("change"), ms(got.wall), err)
		if _, err := s.take(ctx, s.tool.run(s)); err != nil {
			return err
		}
	}
	if f.wants("load") && s.tool.read != nil {
		got, err := s.take(ctx, s.tool.read(s))
		f.note(s.found, at("load"), ms(got.wall), err)
	}
	return nil
}

// restore deletes all outputs and wants them back; that the command of no task ran is not checked here.
func (f *field) restore(ctx context.Context, s *site, n int) error {
	if err := s.wipe(); err != nil {
		return err
	}
	got, err := s.take(ctx, s.tool.run(s))
	if err == nil {
		err = s.whole()
	}
	f.note(s.found, fmt.Sprintf("restore.%d", n), ms(got.wall), err)
	return nil
}

// rss starts the tool from a small process. One that a large process starts inherits that one's greatest size.
func (f *field) rss(ctx context.Context, s *site, n int) error {
	report := s.session.file("home", "peak")
	_, err := s.take(ctx, append([]string{s.self, "__peak", "to=" + report, "--"}, s.tool.run(s)...))
	var value float64
	if err == nil {
		var b []byte
		if b, err = os.ReadFile(report); err == nil {
			_, err = fmt.Sscan(string(b), &value)
		}
	}
	f.note(s.found, fmt.Sprintf("rss.%d", n), value, err)
	return nil
}

// start asks for the version.
func (f *field) start(ctx context.Context, p *found) error {
	b := f.tools[p.name]
	if b.bare || b.begin != nil {
		return nil
	}
	s, err := f.site(p, nil)
	if err != nil {
		return err
	}
	defer s.close()
	argv := append([]string{p.program()}, b.version...)
	if len(b.version) == 0 {
		argv = append(argv, "--version")
	}
	got, err := s.take(ctx, argv)
	f.note(p, "start", ms(got.wall), err)
	return nil
}

// once starts the same task fifty times at a time and counts how often its command ran.
func (f *field) once(ctx context.Context, p *found) error {
	if f.tools[p.name].bare {
		return nil
	}
	j := &job{name: "l0", argv: []string{"sh", "p/l0/run.sh"}}
	s, err := open(f.runner, p)
	if err != nil {
		return err
	}
	t := &site{session: s, tool: f.tools[p.name], jobs: []*job{j}, most: onceLimit}
	defer s.close()
	if err := s.write("p/l0/run.sh", fmt.Sprintf("echo x >> %s\nsleep 0.2\ncp p/l0/a p/l0/out\n", s.file("home", "runs"))); err != nil {
		return err
	}
	if err := t.put(); err != nil {
		return err
	}
	if t.tool.begin != nil { // the engine has it built; then an input changes
		if _, err := t.do(t.tool.begin(t)); err != nil {
			return err
		}
		_ = os.Remove(s.file("home", "runs"))
		if err := os.WriteFile(s.file(j.file("a")), []byte("other\n"), 0o644); err != nil {
			return err
		}
	}
	began := time.Now()
	errs := make([]error, 50)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { _, errs[i] = t.take(ctx, t.tool.run(t)) })
	}
	all.Wait()
	took := time.Since(began)
	runs, _ := os.ReadFile(s.file("home", "runs"))
	f.note(p, "once.runs", float64(bytes.Count(runs, []byte("\n"))), nil)
	f.note(p, "once.time", ms(took), nil)
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) > 0 {
		gather(f.cells, p.name, []sample{{id: "once.runs", value: -1, note: fmt.Sprintf("%d of 50 failed: %v", len(errs), errs[0])}})
	}
	return nil
}
