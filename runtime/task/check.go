package task

import (
	"fmt"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"orrery/lang/graph"
)

// declared is an output as a graph holds it: a clean path or a pattern, relative to the project.
type declared struct {
	node *graph.Node
	name string
	path string
	glob bool
}

func (d declared) field() string { return "outputs." + d.name }

// CheckOutputs looks at what the tasks of a graph declare: every output lies inside the project, none in a state_dir, and
// no two tasks make the same file. It is pure; what only binding can tell, Run refuses later.
func CheckOutputs(g *graph.Graph) []*graph.Problem {
	var problems []*graph.Problem
	add := func(d declared, code, hint, format string, args ...any) *graph.Problem {
		p := &graph.Problem{Code: code, Pos: d.node.Pos, Stack: d.node.Stack, Node: d.node.Name(), Field: d.field(), Message: fmt.Sprintf(format, args...), Hint: hint}
		problems = append(problems, p)
		return p
	}
	var all []declared
	for _, n := range g.Nodes {
		if n.Kind != graph.KindTask {
			continue
		}
		for _, e := range n.Task.Outputs {
			for _, d := range declarations(n, e.Key, e.Value) {
				switch why := refused(n, e.Value, d); {
				case why == "":
					all = append(all, d)
				default:
					add(d, "output-place", "name a path inside the project, such as \"build/"+e.Key+"\"", "output %q of task %q %s", e.Key, n.Name(), why)
				}
			}
		}
	}
	for i, d := range all {
		for _, other := range all[:i] {
			if other.node == d.node || !overlap(d, other) {
				continue
			}
			p := add(d, "output-overlap", "give one of them a folder of its own", "output %q of task %q (%s) overlaps output %q of task %q (%s)",
				d.name, d.node.Name(), d.path, other.name, other.node.Name(), other.path)
			p.Related = []graph.Related{{Pos: other.node.Pos, Message: "the other task is declared here"}}
		}
	}
	return problems
}

// declarations are the path, or the patterns, of an output. Of a path with references, only its plain text counts.
func declarations(n *graph.Node, name string, in graph.Input) []declared {
	if in.Pattern == nil {
		text, ok := in.Path.Plain()
		if !ok {
			text = "?"
		}
		return []declared{{n, name, path.Clean(text), false}}
	}
	var all []declared
	for _, p := range in.Pattern.Include {
		all = append(all, declared{n, name, path.Clean(p), true})
	}
	return all
}

// refused says what is wrong with the place of an output.
func refused(_ *graph.Node, in graph.Input, d declared) string {
	for _, p := range in.Path {
		if p.Ref != nil && p.Ref.Scope == graph.ScopeNode && strings.HasSuffix(p.Ref.Attr, "_dir") {
			return fmt.Sprintf("lies in %s, which is never overwritten", p.Ref)
		}
	}
	switch {
	case d.path == ".":
		return "is the whole project"
	case path.IsAbs(d.path):
		return fmt.Sprintf("is an absolute path (%s)", d.path)
	case d.path == ".." || strings.HasPrefix(d.path, "../"):
		return fmt.Sprintf("lies outside of the project (%s)", d.path)
	case within(d.path, ".orrery") || within(d.path, ".git"):
		return fmt.Sprintf("lies in a folder that is not the task's to change (%s)", d.path)
	}
	return ""
}

// within tells whether p is dir or lies in it.
func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// overlap tells whether two outputs can be one file. Of two different patterns it cannot know.
func overlap(a, b declared) bool {
	if a.path == "?" || b.path == "?" {
		return false
	}
	switch {
	case a.glob && b.glob:
		return a.path == b.path
	case b.glob:
		a, b = b, a
		fallthrough
	case a.glob:
		ok, err := doublestar.Match(a.path, b.path)
		return err == nil && ok || within(staticDir(a.path), b.path)
	}
	return within(a.path, b.path) || within(b.path, a.path)
}
