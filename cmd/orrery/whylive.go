package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"orrery/lang"
	"orrery/lang/graph"
	"orrery/runtime/bind"
	"orrery/runtime/control"
	"orrery/runtime/control/api"
	"orrery/runtime/history"
)

// waitLink is a node in the chain from one that waits to what it waits for in the end.
type waitLink struct {
	Node    string     `json:"node"`              // the node that is waited for
	State   string     `json:"state"`             // its state, as in status
	Reason  string     `json:"reason,omitempty"`  // why it is not further
	Started *time.Time `json:"started,omitempty"` // when it began, if it is at work
}

// waitChain follows a node that waits to the one that holds it up: the last link. A node that waits for nobody has none.
func waitChain(g *graph.Graph, st api.Status, name string) []waitLink {
	byName := map[string]api.NodeStatus{}
	for _, n := range st.Nodes {
		byName[n.Name] = n
	}
	seen := map[string]bool{name: true}
	var chain []waitLink
	for at := blockerOf(g, byName, name); at != "" && !seen[at]; at = blockerOf(g, byName, at) {
		seen[at] = true
		n := byName[at]
		l := waitLink{Node: at, State: n.State, Reason: oneLine(n.Reason)}
		if !n.StartedAt.IsZero() && n.PID != 0 {
			l.Started = &n.StartedAt
		}
		chain = append(chain, l)
	}
	return chain
}

// blockerOf is the node without which one does not get further; "" if there is none.
func blockerOf(g *graph.Graph, byName map[string]api.NodeStatus, name string) string {
	n, node := byName[name], g.Node(name)
	if node == nil {
		return ""
	}
	switch n.State {
	case "waiting":
		for _, e := range g.Out(name) {
			if n.Reason == fmt.Sprintf("waits for %s to be %s", e.To, e.Cond) {
				return e.To
			}
		}
	case "blocked":
		if n.Cause != name {
			return n.Cause
		}
	case "starting", "listening":
		for _, task := range g.Gates(name) {
			if s := byName[task].State; s != "succeeded" && s != "skipped" && s != "" {
				return task
			}
		}
	}
	return ""
}

// showChain writes the chain, the last link marked as what it all waits for.
func (a *app) showChain(w *bufio.Writer, chain []waitLink) {
	for i, l := range chain {
		text := join(strings.ReplaceAll(l.State, "-", " "), l.Reason)
		if l.Started != nil && i == len(chain)-1 {
			text += fmt.Sprintf(", for %s now", seconds(time.Since(*l.Started)))
		}
		mark := ""
		if i == len(chain)-1 {
			mark = a.tint(yellow, "  <- this holds it up")
		}
		fmt.Fprintf(w, "  %s%s: %s%s\n", strings.Repeat("  ", i), l.Node, text, mark)
	}
}

// liveStatus asks the running engine about all nodes; nil when none runs.
func liveStatus(ctx context.Context, p *lang.Project) (*api.Status, error) {
	place, err := placeOf(p)
	if err != nil {
		return nil, err
	}
	c, err := control.Dial(ctx, place)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer c.Close()
	st, err := statusOf(ctx, c, nil)
	return &st, err
}

// restartsOf are the restarts of a service, or of all, in the last up; none
// when nothing is recorded.
func restartsOf(p *lang.Project, name string) ([]history.Restart, error) {
	place, err := placeOf(p)
	if err != nil {
		return nil, err
	}
	store := historyOf(place)
	var none *history.NoRun
	id, err := store.Find("up")
	if errors.As(err, &none) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	run, err := store.Load(id)
	if err != nil {
		return nil, err
	}
	return run.Restarts(name), nil
}

// shownRestarts is how many restarts why shows without -v.
const shownRestarts = 5

func (a *app) showRestarts(w *bufio.Writer, all []history.Restart) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintln(w, "restarts:")
	if n := len(all) - shownRestarts; n > 0 && !a.verbose {
		fmt.Fprintf(w, "  %d more; -v shows them\n", n)
		all = all[n:]
	}
	for _, r := range all {
		fmt.Fprintf(w, "  %s  %s\n", a.tint(dim, when(r.At)), restartText(r))
	}
}

// restartText is a restart in a line.
func restartText(r history.Restart) string {
	text := oneLine(r.Reason)
	if text == "" {
		text = "started again; why is not recorded"
	}
	if r.Cause != "" && r.Cause != r.Name {
		text += " (because of " + r.Cause + ")"
	}
	if r.Up > 0 {
		text += ", after " + seconds(time.Duration(r.Up)*time.Microsecond)
	}
	return text
}

// portStory says why a port has its number.
type portStory struct {
	Node   string `json:"node"`
	Port   string `json:"port"`
	Number int    `json:"number"`
	Base   int    `json:"base"`            // the declared number
	Strict bool   `json:"strict"`          // it takes its base or nothing
	Source string `json:"source"`          // engine, lease or declared
	Owner  string `json:"owner,omitempty"` // who has the number open: "nginx (pid 12)"
	Taken  string `json:"taken,omitempty"` // who keeps it from its base
	Why    string `json:"why"`             // where the number comes from, in words
}

// portStories tells of the ports of a service; port names one of them, "" all.
func (a *app) portStories(ctx context.Context, p *lang.Project, n *graph.Node, port string) ([]portStory, error) {
	all := []portStory{}
	if n.Kind != graph.KindService || len(n.Service.PortNames()) == 0 {
		return all, nil
	}
	look, err := a.lookOut(ctx, p, nil)
	if err != nil {
		return nil, err
	}
	for _, name := range n.Service.PortNames() {
		if port != "" && name != port {
			continue
		}
		ref := graph.Ref{Name: n.Name(), Attr: "ports." + name}
		value, err := look.binding.Value(ref, "")
		if err != nil {
			return nil, err
		}
		number, err := strconv.Atoi(value)
		if err != nil {
			return nil, fmt.Errorf("cannot tell the port %s of %s: got %q", name, n.Name(), value)
		}
		decl := declaredPort(p.Graph, n.Service, name)
		s := portStory{
			Node: n.Name(), Port: name, Number: number, Base: decl.base, Strict: decl.strict,
			Source: look.source[ref.String()], Owner: bind.PortOwner(decl.proto, number),
		}
		s.Taken = takenBy(p.Graph, look, s, decl.proto)
		s.Why = whyNumber(s)
		all = append(all, s)
	}
	return all, nil
}

// declaration is what services.star says of a port.
type declaration struct {
	base   int
	proto  string
	strict bool
}

func declaredPort(g *graph.Graph, s *graph.Service, name string) declaration {
	d := declaration{base: basePort(s, name), proto: "tcp", strict: g.Project.StrictPorts}
	strict := (*bool)(nil)
	if p, ok := s.Ports.Get(name); ok {
		strict, d.proto = p.Strict, p.Proto
	} else if l, ok := s.Listen.Get(name); ok {
		strict = l.Strict
		if l.Kind == "udp" {
			d.proto = l.Kind
		}
	}
	if strict != nil {
		d.strict = *strict
	}
	return d
}

// takenBy is who keeps a port from its base, or "".
func takenBy(g *graph.Graph, look *outlook, s portStory, proto string) string {
	switch {
	case s.Base == 0:
		return ""
	case s.Number != s.Base:
		if others := rivals(g, look, s); len(others) > 0 {
			return strings.Join(others, ", ")
		}
		return bind.PortOwner(proto, s.Base)
	case s.Source != fromEngine:
		return s.Owner
	}
	return ""
}

// rivals are the other ports of the project that have the base of this one.
func rivals(g *graph.Graph, look *outlook, s portStory) []string {
	var all []string
	for _, n := range g.Nodes {
		if n.Kind != graph.KindService {
			continue
		}
		for _, name := range n.Service.PortNames() {
			ref := graph.Ref{Name: n.Name(), Attr: "ports." + name}
			if value, err := look.binding.Value(ref, ""); err == nil && value == strconv.Itoa(s.Base) && (n.Name() != s.Node || name != s.Port) {
				all = append(all, n.Name()+"."+name)
			}
		}
	}
	return all
}

// whyNumber says in words where a number comes from, and who is in the way.
func whyNumber(s portStory) string {
	runs := s.Source == fromEngine
	switch {
	case s.Base == 0 && runs:
		return "no number is declared: a free one was chosen"
	case s.Base == 0:
		return "no number is declared: one is chosen when it starts"
	case s.Number == s.Base && runs:
		return "its base, which was free"
	case s.Number == s.Base && s.Taken == "":
		return "its base, which is free"
	case s.Number == s.Base && s.Strict:
		return fmt.Sprintf("its base; %s has it now: up fails, because it is strict", s.Taken)
	case s.Number == s.Base:
		return fmt.Sprintf("its base; %s has it now: up takes another one", s.Taken)
	case s.Taken != "":
		return fmt.Sprintf("the base %d is taken by %s", s.Base, s.Taken)
	case runs:
		return fmt.Sprintf("the base %d was taken when it started, and is free now: the next up uses it", s.Base)
	}
	return fmt.Sprintf("the number of the last run; the base %d is free: the next up uses it", s.Base)
}

// keptFor ends the owner of a port that an engine keeps for a service.
const keptFor = ", which keeps it for a service"

func (a *app) showPorts(w *bufio.Writer, all []portStory) {
	for _, s := range all {
		owner := ""
		if s.Owner != "" && s.Source == fromEngine && !strings.HasSuffix(s.Owner, keptFor) {
			owner = ", open in " + s.Owner
		}
		fmt.Fprintf(w, "port %s: %d, %s%s\n", s.Port, s.Number, s.Why, owner)
	}
}

// whyPort explains one port.
func (a *app) whyPort(ctx context.Context, p *lang.Project, arg string) error {
	node, port, err := findPort(p.Graph, arg)
	if err != nil {
		return err
	}
	all, err := a.portStories(ctx, p, p.Graph.Node(node), port)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(all, func(s portStory) bool { return s.Port == port }); i >= 0 && a.json {
		return a.printJSON(all[i])
	}
	w := bufio.NewWriter(os.Stdout)
	a.showPorts(w, all)
	return w.Flush()
}
