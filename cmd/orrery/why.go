package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"orrery/lang"
	"orrery/lang/graph"
	"orrery/runtime/control/api"
	"orrery/runtime/history"
	"orrery/runtime/task"
)

func whyCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "why TARGET[.PORT] [OTHER]",
		Short: "Say why a node waits, ran, restarted, has this port, or waits for another",
		Long: `With one name: what the node waits for and who waits for it, each with the line and
the argument that says so. When an engine runs, also its state, and of one that waits
the chain to the node that holds it up. Of a service its restarts in the last up, each
with its reason (how it had ended, which file changed, who asked), and where the
numbers of its ports come from. Of a task when it last ran or was restored, and
because of what, and what a run would do with it now and why: nothing is run. With -v
the key is shown, and all restarts.

With NAME.PORT: why this port has its number, and who has it open.

With two: how the first comes to wait for the second: the direct edges, and the
shortest way.

With --json it prints
  one name:   {"node", "kind", "pos", "stack", "waits_for": [edge], "waited_for_by": [edge],
               "gated_by": [names], "live": {the node as in status} or null,
               "chain": [{"node", "state", "reason", "started"}] to what holds it up,
               "restarts": [{"at", "name", "nth", "reason", "cause", "exit", "up_us", "gave_up"}],
               "ports": [port], "last_run": {"when", "cached", "why": [text], "note",
               "key": [line], "unfinished": {"began", "failed", "why"}}, of a task that ran,
               "next_run": {"name", "kind", "action", "why"} as run --dry-run --json has it}
  NAME.PORT:  port: {"node", "port", "number", "base", "strict", "source", "owner",
               "taken", "why"}
  two names:  {"from", "to", "direct": [edge], "path": [edge] or null}
  edge:       {"from", "to", "cond", "field", "ref", "pos"}`,
		Example: `  orrery why web        what web waits for, and what it is doing
  orrery why web.http   why this number
  orrery why web db     which lines make web wait for db`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usageError{fmt.Errorf("why takes one or two names, got %d", len(args))}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			p, err := a.load(c.Context())
			if err != nil {
				return err
			}
			if name, _, port := strings.Cut(args[0], "."); port && len(args) == 1 && p.Graph.Node(name) != nil {
				return a.whyPort(c.Context(), p, args[0])
			}
			var nodes []*graph.Node
			for _, name := range args {
				n, err := oneNode(p.Graph, "why", name)
				if err != nil {
					return err
				}
				nodes = append(nodes, n)
			}
			if len(nodes) == 2 {
				return a.whyBoth(p.Graph, nodes[0].Name(), nodes[1].Name())
			}
			return a.whyOne(c.Context(), p, nodes[0])
		},
	}
}

// explained is what why says of one node.
type explained struct {
	Node     string            `json:"node"`
	Kind     graph.Kind        `json:"kind"`
	Pos      graph.Pos         `json:"pos"`
	Stack    []graph.Frame     `json:"stack,omitempty"`    // the calls of factories that declared it
	Out      []graph.Edge      `json:"waits_for"`          // what it waits for
	In       []graph.Edge      `json:"waited_for_by"`      // who waits for it
	GatedBy  []string          `json:"gated_by"`           // tasks without which it is not ready
	Live     *api.NodeStatus   `json:"live"`               // its state; null when no engine runs
	Chain    []waitLink        `json:"chain,omitempty"`    // of a node that waits: to what holds it up, which is the last
	Restarts []history.Restart `json:"restarts,omitempty"` // of a service in the last up
	Ports    []portStory       `json:"ports,omitempty"`    // of a service
	Last     *lastRun          `json:"last_run,omitempty"` // of a task that ran
	Next     *forecast         `json:"next_run,omitempty"` // of a task: what a run would do with it now
}

// lastRun is what a task last did in this checkout.
type lastRun struct {
	When   *time.Time  `json:"when,omitempty"`   // of the last success; no more is known where there was none
	Cached bool        `json:"cached"`           // its result was restored
	Remote bool        `json:"remote,omitempty"` // from the remote cache
	Why    []string    `json:"why,omitempty"`    // what had changed since the success before
	Note   string      `json:"note,omitempty"`
	Key    []string    `json:"key"` // the lines of its key
	Bad    *unfinished `json:"unfinished,omitempty"`
}

// unfinished is a later run that did not come to a good end.
type unfinished struct {
	Began  time.Time `json:"began"`
	Failed string    `json:"failed,omitempty"` // empty: it was killed, or goes on
	Why    []string  `json:"why,omitempty"`
}

// lastOf is what a task last did, or nil.
func lastOf(p *lang.Project, n *graph.Node) (*lastRun, error) {
	place, err := placeOf(p)
	if err != nil || n.Kind != graph.KindTask {
		return nil, err
	}
	l := (&task.Caching{Dir: filepath.Join(place.Dir, "tasks")}).Last(n.Name())
	if l.Key == "" && !l.Dirty {
		return nil, nil
	}
	r := &lastRun{Cached: l.Cached, Remote: l.Remote, Why: l.Why, Note: l.Note, Key: l.Lines}
	if l.Key != "" {
		r.When = &l.When
	}
	if l.Dirty {
		r.Bad = &unfinished{l.Began, l.Failed, l.Since}
	}
	return r, nil
}

// from is where its result came from.
func (l *lastRun) from() string {
	if l.Remote {
		return "remote cache"
	}
	return "cache"
}

// show writes why the task ran, and, verbose, its key.
func (l *lastRun) show(w io.Writer, verbose bool) {
	reasons := func(all []string) {
		for _, why := range all {
			fmt.Fprintf(w, "  because: %s\n", why)
		}
	}
	if b := l.Bad; b != nil {
		end := "failed: " + b.Failed
		if b.Failed == "" {
			end = "has not ended; if it was killed, the next run begins by ending what is left of it"
		}
		fmt.Fprintf(w, "last ran %s, and %s\n", b.Began.Local().Format(time.DateTime), end)
		reasons(b.Why)
	}
	if l.When == nil {
		return
	}
	did := "last ran %s\n"
	switch {
	case l.Bad != nil && l.Cached:
		did = "was restored from the " + l.from() + " before, %s\n"
	case l.Bad != nil:
		did = "last succeeded %s\n"
	case l.Cached:
		did = "last was restored from the " + l.from() + " %s\n"
	}
	fmt.Fprintf(w, did, l.When.Local().Format(time.DateTime))
	reasons(l.Why)
	if l.Note != "" {
		fmt.Fprintf(w, "  %s\n", l.Note)
	}
	if verbose {
		for _, line := range l.Key {
			fmt.Fprintf(w, "  key: %s\n", line)
		}
	}
}

// explain gathers what is known of a node.
func (a *app) explain(ctx context.Context, p *lang.Project, n *graph.Node) (*explained, error) {
	g, name := p.Graph, n.Name()
	x := &explained{
		Node: name, Kind: n.Kind, Pos: n.Pos, Stack: n.Stack,
		Out: append([]graph.Edge{}, g.Out(name)...), In: append([]graph.Edge{}, g.In(name)...),
		GatedBy: append([]string{}, g.Gates(name)...),
	}
	st, err := liveStatus(ctx, p)
	if err != nil {
		return nil, err
	}
	if st != nil {
		if i := slices.IndexFunc(st.Nodes, func(s api.NodeStatus) bool { return s.Name == name }); i >= 0 {
			x.Live = &st.Nodes[i] // else it is declared since the engine started
		}
		x.Chain = waitChain(g, *st, name)
	}
	if n.Kind == graph.KindTask {
		x.Next = a.next(ctx, p, name)
		x.Last, err = lastOf(p, n)
		return x, err
	}
	if x.Restarts, err = restartsOf(p, name); err != nil {
		return nil, err
	}
	x.Ports, err = a.portStories(ctx, p, n, "")
	return x, err
}

func (a *app) whyOne(ctx context.Context, p *lang.Project, n *graph.Node) error {
	x, err := a.explain(ctx, p, n)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(x)
	}
	w := bufio.NewWriter(os.Stdout)
	fmt.Fprintf(w, "%s %s, declared at %s\n", x.Kind, a.tint(bold, x.Node), x.Pos)
	for _, f := range x.Stack {
		fmt.Fprintf(w, "  in %s %s\n", f.Func, a.tint(dim, f.Pos.String()))
	}
	if x.Live != nil {
		if x.Live.State == "ready" && len(x.Restarts) > 0 {
			x.Live.Reason = "" // told below
		}
		fmt.Fprintf(w, "state: %s\n", liveText(*x.Live))
	}
	a.showChain(w, x.Chain)
	a.showRestarts(w, x.Restarts)
	a.showPorts(w, x.Ports)
	if x.Last != nil {
		x.Last.show(w, a.verbose)
	}
	if x.Next != nil {
		fmt.Fprintf(w, "next run: %s\n", actionText(x.Next.Action))
		for _, why := range x.Next.Why {
			fmt.Fprintf(w, "  %s\n", why)
		}
	}
	a.edges(w, "waits for", x.Out, func(e graph.Edge) string { return e.To })
	for _, task := range x.GatedBy {
		fmt.Fprintf(w, "is ready only when the task %s has succeeded  %s\n", task, a.tint(dim, position(p.Graph.Node(task).Pos)))
	}
	a.edges(w, "waited for by", x.In, func(e graph.Edge) string { return e.From })
	return w.Flush()
}

// liveText is the state of a node in a few words.
func liveText(n api.NodeStatus) string {
	s := join(n.State, oneLine(n.Reason))
	if n.Cause != "" && n.Cause != n.Name {
		s += " (because of " + n.Cause + ")"
	}
	if n.PID != 0 {
		s += fmt.Sprintf(", pid %d", n.PID)
	}
	return s
}

func (a *app) edges(w *bufio.Writer, title string, edges []graph.Edge, end func(graph.Edge) string) {
	if len(edges) == 0 {
		fmt.Fprintf(w, "%s: nothing\n", title)
		return
	}
	fmt.Fprintf(w, "%s:\n", title)
	width := 0
	for _, e := range edges {
		width = max(width, len(end(e))+len(e.Cond)+3)
	}
	for _, e := range edges {
		fmt.Fprintf(w, "  %-*s  %s  %s\n", width, fmt.Sprintf("%s (%s)", end(e), e.Cond), edgeReason(e), a.tint(dim, position(e.Pos)))
	}
}

// edgeReason is the argument, and the reference in it, that made an edge.
func edgeReason(e graph.Edge) string {
	if e.Ref != "" {
		return edgeField(e) + " " + e.Ref
	}
	return edgeField(e)
}

// related is what why says of two nodes.
type related struct {
	From   string       `json:"from"`
	To     string       `json:"to"`
	Direct []graph.Edge `json:"direct"` // the edges from one to the other
	Path   []graph.Edge `json:"path"`   // the shortest way; null when there is none
}

func (a *app) whyBoth(g *graph.Graph, from, to string) error {
	direct := []graph.Edge{}
	for _, e := range g.Out(from) {
		if e.To == to {
			direct = append(direct, e)
		}
	}
	path := shortest(g, from, to)
	if a.json {
		return a.printJSON(related{from, to, direct, path})
	}
	w := bufio.NewWriter(os.Stdout)
	switch back := shortest(g, to, from); {
	case len(direct) > 0:
		fmt.Fprintf(w, "%s waits for %s:\n", from, to)
		for _, e := range direct {
			a.step(w, e)
		}
	case path != nil:
		fmt.Fprintf(w, "%s waits for %s by way of others:\n", from, to)
		for _, e := range path {
			a.step(w, e)
		}
	case back != nil:
		fmt.Fprintf(w, "%s does not wait for %s; it is the other way round:\n", from, to)
		for _, e := range back {
			a.step(w, e)
		}
	default:
		fmt.Fprintf(w, "neither of %s and %s waits for the other\n", from, to)
	}
	return w.Flush()
}

func (a *app) step(w *bufio.Writer, e graph.Edge) {
	fmt.Fprintf(w, "  %s -> %s (%s)  %s  %s\n", e.From, e.To, e.Cond, edgeReason(e), a.tint(dim, position(e.Pos)))
}

// shortest is the shortest way along the edges, nil when there is none. What
// waits for a service to be ready waits for the tasks that gate it too.
func shortest(g *graph.Graph, from, to string) []graph.Edge {
	came := map[string]graph.Edge{from: {}}
	queue := []string{from}
	for len(queue) > 0 && came[to].To == "" {
		name := queue[0]
		queue = queue[1:]
		visit := func(e graph.Edge) {
			if _, seen := came[e.To]; !seen {
				came[e.To] = e
				queue = append(queue, e.To)
			}
		}
		for _, e := range g.Out(name) {
			visit(e)
		}
		if name == from {
			continue // it is gated, but does not wait for its gates to start
		}
		for _, task := range g.Gates(name) {
			visit(graph.Edge{From: name, To: task, Cond: graph.Succeeded, Field: "gates of " + task, Pos: g.Node(task).Pos})
		}
	}
	if came[to].To == "" {
		return nil
	}
	var path []graph.Edge
	for at := to; at != from; at = came[at].From {
		path = append(path, came[at])
	}
	slices.Reverse(path)
	return path
}
