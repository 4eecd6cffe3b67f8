package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"orrery/lang/graph"
	"orrery/runtime/control/api"
	"orrery/runtime/logs"
)

const (
	lastShown = 20 // lines of each failed node
	mostShown = 10 // nodes of which more is told than their names and reasons
)

// fault is a root cause: a node that has failed, and those that did not start for
// it. A fault without a node is what keeps others that are not shown from
// starting.
type fault struct {
	node    *api.NodeStatus
	blocked []api.NodeStatus
}

// faults are the root causes in the order of the graph, each once.
func faults(st api.Status) []fault {
	var all []fault
	at := map[string]int{} // by the name of the root, or the reason
	for i := range st.Nodes {
		if n := &st.Nodes[i]; failedState(*n) {
			at[n.Name] = len(all)
			all = append(all, fault{node: n})
		}
	}
	for _, n := range st.Nodes {
		if n.State != "blocked" {
			continue
		}
		i, known := at[n.Cause]
		if !known {
			i, known = at["\x00"+n.Reason]
		}
		if !known {
			i = len(all)
			at["\x00"+n.Reason] = i
			all = append(all, fault{})
		}
		all[i].blocked = append(all[i].blocked, n)
	}
	return all
}

// dependents is the line about what did not start; "" for nothing.
func (f *fault) dependents() string {
	switch len(f.blocked) {
	case 0:
		return ""
	case 1:
		return f.blocked[0].Name + ": " + f.blocked[0].Reason
	}
	return fmt.Sprintf("%s and %d more: %s", f.blocked[0].Name, len(f.blocked)-1, f.blocked[0].Reason)
}

// failures reports what has failed, a block for each root cause: what it was, its
// last lines, the log's path and where to look further, and what it kept from
// starting.
func (s *screen) failures(st api.Status, store *logs.Store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.err
	for i, f := range faults(st) {
		if n := f.node; n != nil {
			fmt.Fprintf(w, "\n%s %s\n", s.errStyle.Paint(red, "✗"), s.errStyle.Paint(bold, n.Name+" "+fate(n)))
			if i < mostShown {
				s.lastOf(w, n, store)
			}
		}
		if text := f.dependents(); text != "" {
			fmt.Fprintf(w, "  %s\n", text)
		}
	}
}

// fate is how a node came to fail; the reason may say it all.
func fate(n *api.NodeStatus) string {
	state := strings.ReplaceAll(n.State, "-", " ")
	if strings.HasPrefix(n.Reason, "failed: ") || strings.HasPrefix(n.Reason, state+": ") {
		return n.Reason
	}
	return join(state, n.Reason)
}

// lastOf writes the last lines of a node, and where there is more.
func (s *screen) lastOf(w io.Writer, n *api.NodeStatus, store *logs.Store) {
	if s.last != nil && s.last(w, n.Name) {
		fmt.Fprintf(w, "  more: orrery why %s\n", n.Name)
		return
	}
	if store == nil {
		return
	}
	streams := s.lastLines(w, store, n)
	if len(streams) == 0 {
		return
	}
	path := store.Path(n.Name, streams[0])
	if len(streams) > 1 { // each has a file of its own there
		path = filepath.Dir(path)
	}
	fmt.Fprintf(w, "  log: %s\n  more: orrery logs %s\n", s.errStyle.Link(fileLink(path), path), n.Name)
}

func failedState(n api.NodeStatus) bool {
	switch n.State {
	case "failed", "gave-up":
		return true
	case "exited":
		return n.Exit != nil && (n.Exit.Code != 0 || n.Exit.Signal != "") || n.Exit == nil
	}
	return false
}

// lastLines writes the end of a node's output, indented, and gives the streams
// that it came from. Of a task it is the output of its last run; of a service also
// that of the starts before, which often say why.
func (s *screen) lastLines(w io.Writer, store *logs.Store, n *api.NodeStatus) (streams []string) {
	var last []logs.Line
	store.Read(context.Background(), logs.Query{Nodes: []string{n.Name}, Tail: lastShown}, func(l logs.Line) bool {
		switch {
		case l.Node != n.Name:
		case l.Mark == "":
			l.Text = bytes.Clone(l.Text)
			last = append(last, l)
		case l.Mark == "started" && n.Kind == string(graph.KindTask):
			last = nil
		}
		return true
	})
	for _, l := range last {
		if !slices.Contains(streams, l.Stream) {
			streams = append(streams, l.Stream)
		}
		s.quote(w, logs.Sanitise(l.Text))
	}
	return streams
}

// quote writes a line that a node has printed.
func (s *screen) quote(w io.Writer, line string) {
	if s.github && isCommand(line) {
		defer shield(w)()
	}
	fmt.Fprintf(w, "  | %s\n", line)
}
