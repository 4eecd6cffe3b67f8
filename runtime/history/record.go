package history

import (
	"sync"
	"time"

	"orrery/runtime/control/api"
)

// The bounds of one record: what a node says, and how many of its starts are kept besides the first.
const (
	maxText   = 300 // bytes
	maxWhy    = 5   // lines
	maxStarts = 20
)

// Shape tells what the graph knows of a node: its kind, what it waits for, and which tasks gate it. It is called when the
// node is first heard of.
type Shape func(name string) (kind string, needs []Need, gates []string)

// Recorder makes the record of a run from events. Its methods may be called from any goroutine; Event never blocks on
// the disk.
type Recorder struct {
	store Store
	head  Head
	shape Shape
	out   *appender // nil: written at the end

	mu      sync.Mutex
	nodes   map[string]*starts
	order   []*starts
	changed []*Node // since the appender last looked
}

// starts are those of one node: the first, and the last ones.
type starts struct {
	list []*Node
}

func (s *starts) last() *Node { return s.list[len(s.list)-1] }

// add takes a further start, and forgets one between the first and the last ones.
func (s *starts) add(n *Node) {
	if len(s.list) > maxStarts {
		s.list = append(s.list[:1], s.list[2:]...)
	}
	s.list = append(s.list, n)
}

func newRecorder(store Store, h Head, shape Shape) *Recorder {
	return &Recorder{store: store, head: h, shape: shape, nodes: map[string]*starts{}}
}

// ID is the name of the run.
func (r *Recorder) ID() string { return r.head.ID }

// Event takes one event of the engine, in order. A nil Recorder records nothing.
func (r *Recorder) Event(ev api.Event) {
	if r == nil || ev.Node == "" || ev.State == ev.From {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.fold(ev)
	if n != nil && r.out != nil {
		r.changed = append(r.changed, n)
		r.out.ring()
	}
}

// fold takes an event into the start it is about; nil when it says nothing new.
func (r *Recorder) fold(ev api.Event) *Node {
	at := max(ev.Time.Sub(r.head.Started).Microseconds(), 1)
	n := r.current(ev)
	if n == nil {
		return nil
	}
	switch ev.State {
	case stateWaiting:
		if n.Waiting == 0 {
			n.Waiting = at
		}
		n.Waited = clip(ev.Text)
	case stateRunning, stateStarting:
		n.Started = at
	case stateReady, stateListening:
		if n.Started == 0 {
			n.Started = at // it ran already, or needs no start
		}
		if n.Ready == 0 {
			n.Ready = at
		}
	case stateStopping:
		n.Reason, n.Cause = clip(ev.Text), ev.Cause
	case stateDown:
		n.Ended = at
		if ev.State = stateStopped; n.Started == 0 {
			ev.State = stateUnstarted
		} else if n.Kind == kindTask {
			ev.State = stateCancelled
		}
	case stateSucceeded, stateSkipped, stateFailed, stateCancelled, stateBlocked, stateGaveUp, stateExited, stateBackoff:
		r.end(n, ev, at)
	}
	n.State = ev.State
	return n
}

// end takes how a start came to its end.
func (r *Recorder) end(n *Node, ev api.Event, at int64) {
	n.Ended, n.Exit, n.Cause = at, ev.Exit, ev.Cause
	if t := ev.Task; t != nil {
		n.Cached = t.Cached
		if t.Tries > 1 {
			n.Tries = t.Tries
		}
		if !t.Cached {
			n.Key = t.Key
		}
		for i, why := range t.Why {
			if i == maxWhy {
				break
			}
			n.Why = append(n.Why, clip(why))
		}
	}
	if n.Cached && n.Kind == kindTask { // in few words: there may be very many
		n.Waited, n.Exit = "", nil
		return
	}
	n.Reason = clip(ev.Text)
}

// current is the start that an event is about: a new one where the last is over. What follows an end says nothing of it.
func (r *Recorder) current(ev api.Event) *Node {
	s := r.nodes[ev.Node]
	begins := ev.State != stateDown && ev.State != stateStopping
	if s == nil {
		if !begins {
			return nil
		}
		s = &starts{}
		r.nodes[ev.Node] = s
		r.order = append(r.order, s)
		n := &Node{Name: ev.Node}
		n.Kind, n.Needs, n.Gates = r.shape(ev.Node)
		s.list = []*Node{n}
		return n
	}
	last := s.last()
	again := (ev.State == stateStarting || ev.State == stateRunning) && last.Started > 0
	switch {
	case last.Ended > 0 && !begins:
		return nil
	case last.Ended > 0 && last.State == stateBackoff && (ev.State == stateGaveUp || ev.State == stateExited):
		return last
	case last.Ended > 0, again:
		if last.Ended == 0 {
			r.superseded(last, ev)
		}
		s.add(&Node{Name: last.Name, Kind: last.Kind, Needs: last.Needs, Gates: last.Gates, Nth: last.Nth + 1})
	}
	return s.last()
}

// superseded ends a start that another one follows without a stop between them.
func (r *Recorder) superseded(n *Node, ev api.Event) {
	n.Ended = max(ev.Time.Sub(r.head.Started).Microseconds(), 1)
	if n.State == stateStopping {
		n.State = stateStopped
	}
	if n.Reason == "" && n.Kind != kindTask && ev.Text != "" {
		n.State, n.Reason = stateBackoff, clip(ev.Text) // a restart without a pause says at the start why
	}
	if r.out != nil {
		r.changed = append(r.changed, n)
	}
}

// clip bounds a text.
func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}

// all are the kept starts in order of their nodes.
func (r *Recorder) all() []*Node {
	list := make([]*Node, 0, len(r.order))
	for _, s := range r.order {
		list = append(list, s.list...)
	}
	return list
}

// End closes the record: outcome and exit are those of End; without an outcome it is that of the last start of each node. It writes what is still to be written, notes the durations of
// the tasks that ran, and removes the oldest records beyond the bounds. No events may follow.
func (r *Recorder) End(outcome string, exit int) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	if outcome == "" {
		outcome = r.outcome()
	}
	end := End{Ended: time.Now(), Outcome: outcome, Exit: exit}
	took := map[string]time.Duration{}
	nodes := r.all()
	for _, n := range nodes {
		end.count(n)
		if n.Kind == kindTask && n.State == stateSucceeded && !n.Cached {
			took[n.Name] = n.Took()
		}
	}
	r.mu.Unlock()
	return r.close(nodes, end, took)
}

// outcome is how all ended, by the last start of each node.
func (r *Recorder) outcome() string {
	for _, s := range r.order {
		if s.last().Bad() {
			return "failed"
		}
	}
	return "ok"
}
