package history

import (
	"cmp"
	"slices"
	"time"

	"orrery/runtime/control/api"
)

// Restart is a start of a service that was not its first one in a run.
type Restart struct {
	// At is when it started again.
	At time.Time `json:"at"`
	// Name is the service; Nth counts its starts before this one.
	Name string `json:"name"`
	Nth  int    `json:"nth"`
	// Reason says why, as far as it is known: how it had ended, which file had changed, who had asked. Cause names another
	// node or a file at the root of it.
	Reason string `json:"reason,omitempty"`
	Cause  string `json:"cause,omitempty"`
	// Exit is how the program had ended, where that was the end of it.
	Exit *api.Exit `json:"exit,omitempty"`
	// Up is for how long it had run before, in microseconds; 0 when it never was ready.
	Up int64 `json:"up_us,omitempty"`
	// GaveUp says that it was not started again: the budget of restarts was used up.
	GaveUp bool `json:"gave_up,omitempty"`
}

// Restarts lists the restarts of a service in the order of time, or of all services when name is empty; that a service
// was given up counts as one. Of many restarts of one service the first and the last ones are known.
func (r *Run) Restarts(name string) []Restart {
	before := map[string]*Node{}
	all := []Restart{}
	nodes := slices.Clone(r.Nodes)
	slices.SortStableFunc(nodes, func(a, b Node) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Nth, b.Nth)) })
	for i := range nodes {
		n := &nodes[i]
		if n.Kind == kindTask || name != "" && n.Name != name {
			continue
		}
		if n.Nth > 0 && n.Started > 0 {
			again := Restart{At: r.at(n.Started), Name: n.Name, Nth: n.Nth}
			if b := before[n.Name]; b != nil && b.Nth == n.Nth-1 {
				again.Reason, again.Cause, again.Exit, again.Up = b.Reason, b.Cause, b.Exit, b.up()
			}
			all = append(all, again)
		}
		if n.State == stateGaveUp {
			all = append(all, Restart{At: r.at(n.Ended), Name: n.Name, Nth: n.Nth, Reason: n.Reason, Cause: n.Cause, Exit: n.Exit, Up: n.up(), GaveUp: true})
		}
		before[n.Name] = n
	}
	slices.SortStableFunc(all, func(a, b Restart) int { return a.At.Compare(b.At) })
	return all
}

func (r *Run) at(offset int64) time.Time {
	return r.Started.Add(time.Duration(offset) * time.Microsecond)
}

// up is for how long a service was ready.
func (n *Node) up() int64 {
	if n.Ready == 0 || n.Ended < n.Ready {
		return 0
	}
	return n.Ended - n.Ready
}

// Broke tells whether the start came to an end that nobody had asked for: a bad one, or one that a restart followed.
func (n *Node) Broke() bool { return n.Bad() || n.State == stateBackoff }
