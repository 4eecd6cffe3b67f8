package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"time"
)

// measure is one row of the report.
type measure struct {
	id    string
	group string // the word of -only
	unit  string
	title string
}

// sample is one value of one round; note says what a number does not tell. One that failed is negative and has the reason.
type sample struct {
	id    string
	value float64
	note  string
}

// scenario runs one manager once and takes samples.
type scenario struct {
	measures []measure
	able     func(p peer) bool
	run      func(ctx context.Context, r *runner, f *found) ([]sample, error)
}

// runner runs the rounds.
type runner struct {
	options
	self   string
	family *family
	log    io.Writer
}

func newRunner(o options, log io.Writer) (*runner, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find the bench's own program: %w", err)
	}
	f, err := newFamily()
	if err != nil {
		return nil, err
	}
	return &runner{options: o, self: self, family: f, log: log}, nil
}

func (r *runner) close() {
	r.family.sweep()
	r.family.close()
}

// wants reports whether a measure was asked for.
func (r *runner) wants(group string) bool { return len(r.only) == 0 || slices.Contains(r.only, group) }

// key is one cell of the report.
type key struct{ measure, peer string }

// cell gathers the rounds of one measure of one peer.
type cell struct {
	values []float64
	notes  []string
}

// run runs every scenario for every peer, in rounds: A B C A B C, each round in an order of its own, so that nobody always
// runs in the wake of the same neighbour. A scenario that failed leaves a note in its cells. The error is that of ctx.
func (r *runner) run(ctx context.Context, list []*found) ([]result, error) {
	cells := map[key]*cell{}
	var order []measure
	for _, sc := range scenarios(r.quick) {
		if !slices.ContainsFunc(sc.measures, func(m measure) bool { return r.wants(m.group) }) {
			continue
		}
		order = append(order, sc.measures...)
		for round := range r.rounds {
			for _, i := range rand.Perm(len(list)) {
				f := list[i]
				if !sc.able(f.peer) || ctx.Err() != nil {
					continue
				}
				t := time.Now()
				samples, err := sc.run(ctx, r, f)
				fmt.Fprintf(r.log, "round %d/%d  %-22s %-16s %5.1f s", round+1, r.rounds, sc.measures[0].id, f.name, time.Since(t).Seconds())
				if err != nil && ctx.Err() == nil {
					fmt.Fprintf(r.log, "  %v", err)
					samples = append(samples, missed(sc, samples, err)...)
				}
				fmt.Fprintln(r.log)
				gather(cells, f.name, samples)
			}
		}
	}
	order = slices.DeleteFunc(order, func(m measure) bool { return !r.wants(m.group) })
	return results(order, list, cells), ctx.Err()
}

// missed is the scenario's first measure, if an error left it without a sample.
func missed(sc scenario, have []sample, err error) []sample {
	id := sc.measures[0].id
	if slices.ContainsFunc(have, func(s sample) bool { return s.id == id }) {
		return nil
	}
	return []sample{failure(id, err)}
}

// failure is a sample without a value.
func failure(id string, err error) sample {
	return sample{id: id, value: -1, note: "failed: " + err.Error()}
}

func gather(cells map[key]*cell, peer string, samples []sample) {
	for _, s := range samples {
		k := key{s.id, peer}
		if cells[k] == nil {
			cells[k] = &cell{}
		}
		if s.note != "" && !slices.Contains(cells[k].notes, s.note) {
			cells[k].notes = append(cells[k].notes, s.note)
		}
		if s.value >= 0 {
			cells[k].values = append(cells[k].values, s.value)
		}
	}
}

// in opens a session, runs act in it and closes it.
func (r *runner) in(f *found, act func(s *session) error) error {
	s, err := open(r, f)
	if err != nil {
		return err
	}
	defer s.close()
	return act(s)
}

// groups are the words of -only.
func groups() []string {
	var all []measure
	for _, sc := range scenarios(false) {
		all = append(all, sc.measures...)
	}
	return distinct(all)
}

// distinct are the groups of measures, in their order.
func distinct(list []measure) []string {
	var all []string
	for _, m := range list {
		if !slices.Contains(all, m.group) {
			all = append(all, m.group)
		}
	}
	return all
}
