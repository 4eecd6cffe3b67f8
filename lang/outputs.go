package lang

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"orrery/lang/graph"
)

// made is an output as a graph holds it: a clean path, or one pattern with what it leaves out. Both are relative to the project.
type made struct {
	node    *graph.Node
	path    string
	glob    bool
	exclude []string
}

// outputs refuses two tasks that may make the same file. That an output lies inside of the project was looked at before.
func (r *run) outputs(g *graph.Graph) {
	var seen allMade
	for _, n := range g.Nodes {
		if n.Kind != graph.KindTask {
			continue
		}
		for _, o := range n.Task.Outputs {
			for _, m := range madeBy(n, o.Value) {
				if other := seen.add(m); other != nil {
					r.overlaps(m, *other)
				}
			}
		}
	}
}

func (r *run) overlaps(m, other made) {
	d := Diagnostic{Code: "overlapping-outputs", Hint: "each file is made by one task: give one of them a folder of its own",
		Message: fmt.Sprintf("task %q: the output %q overlaps %q of task %q", m.node.Name(), m.path, other.path, other.node.Name()),
		Related: []graph.Related{{Pos: other.node.Pos, Message: fmt.Sprintf("task %q is declared here", other.node.Name())}}}
	r.errors = append(r.errors, r.at(d, m.node.Pos, m.node.Stack, nil, "outputs"))
}

// allMade are the outputs so far, those of one task after the other. Thousands of plain paths are compared by name; only patterns are
// compared with each other one.
type allMade struct {
	globs, paths []made
	at, below    map[string]*made // by path, and by each folder above it: the first
}

// add takes an output, and gives an earlier one of another task that it overlaps.
func (a *allMade) add(m made) *made {
	var found *made
	look := func(other *made) {
		if found == nil && other != nil && other.node != m.node && overlap(m, *other) {
			found = other
		}
	}
	for i := range a.globs {
		look(&a.globs[i])
	}
	if m.glob {
		for i := range a.paths {
			look(&a.paths[i])
		}
		a.globs = append(a.globs, m)
		return found
	}
	if a.at == nil {
		a.at, a.below = map[string]*made{}, map[string]*made{}
	}
	look(a.at[m.path])
	look(a.below[m.path])
	a.paths = append(a.paths, m)
	keep := func(in map[string]*made, p string) {
		if in[p] == nil {
			in[p] = &m
		}
	}
	keep(a.at, m.path)
	for up := path.Dir(m.path); up != "." && up != "/"; up = path.Dir(up) {
		look(a.at[up])
		keep(a.below, up)
	}
	return found
}

// madeBy are the path, or the patterns, of an output.
func madeBy(n *graph.Node, in graph.Input) []made {
	if in.Pattern == nil {
		p, ok := in.Path.Plain()
		if !ok {
			return nil
		}
		return []made{{node: n, path: path.Clean(p)}}
	}
	var all []made
	for _, p := range in.Pattern.Include {
		all = append(all, made{n, path.Clean(p), true, in.Pattern.Exclude})
	}
	return all
}

// within tells whether p is dir or lies in it.
func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// overlap tells whether two outputs can be one file. Of two different patterns it cannot know.
func overlap(a, b made) bool {
	switch {
	case a.glob && b.glob:
		return a.path == b.path && slices.Equal(a.exclude, b.exclude)
	case b.glob:
		a, b = b, a
		fallthrough
	case a.glob:
		left := slices.ContainsFunc(a.exclude, func(x string) bool {
			ok, err := doublestar.Match(path.Clean(x), b.path)
			return ok && err == nil
		})
		fixed, _ := doublestar.SplitPattern(a.path)
		ok, err := doublestar.Match(a.path, b.path)
		return ok && err == nil && !left || within(fixed, b.path)
	}
	return within(a.path, b.path) || within(b.path, a.path)
}
