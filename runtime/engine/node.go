package engine

import (
	"fmt"
	"strings"
	"time"

	"orrery/lang/graph"
	"orrery/runtime/control/api"
	"orrery/runtime/machine"
	"orrery/runtime/notify"
)

// The states that the engine adds to the phases of machine.
const (
	stateWaiting   = "waiting"   // wanted; an edge is not satisfied yet
	stateBlocked   = "blocked"   // wanted; an edge cannot be satisfied any more
	stateRunning   = "running"   // the task runs
	stateSucceeded = "succeeded" // the task has ended well
	stateSkipped   = "skipped"   // the task need not run: creates, status; counts as succeeded
	stateFailed    = "failed"    // the task has failed
	stateCancelled = "cancelled" // the task was told to end, or not to begin
)

// node is the live state of one service or task. Only the loop touches it.
type node struct {
	def      *graph.Node
	in, out  []graph.Edge
	gates    []string // tasks that gate it
	holders  int      // holds that take it
	external bool     // another engine runs it
	queued   bool     // is in Engine.dirty
	removed  bool     // is no longer declared: to be stopped and forgotten
	stale    string   // why it must restart once what it waits for holds again
	watched  watched
	lacks    int // the place in out of an edge that does not hold, and all behind it do; -1: look at all
	conds    conds
	svc      *service // live state of a service; nil of a task
	task     *taskRun // live state of a task; nil of a service
	show     shown
}

// shown is what status says of a node; it outlives the engine.
type shown struct {
	State      string    `json:"state"`
	Reason     string    `json:"reason,omitempty"` // why it waits, or the last thing worth noting
	Cause      string    `json:"cause,omitempty"`  // root cause of a failure, where that is another node
	Started    time.Time `json:"started,omitzero"`
	Ready      time.Time `json:"ready,omitzero"`
	Exit       *api.Exit `json:"exit,omitempty"`
	Restarts   int       `json:"restarts,omitempty"`
	StatusText string    `json:"status_text,omitempty"`
	Cached     bool      `json:"cached,omitempty"` // the result of the task was restored
	Remote     bool      `json:"remote,omitempty"` // from the remote cache
}

// service is the live state of a service.
type service struct {
	policy    machine.Policy
	state     machine.State
	wanted    bool // EventStart was given, EventStop not since
	instances map[int]*instance
	timers    map[machine.Timer]func()
	out       *output
	notify    *notify.Socket
	act       activation // how connections start it
	store     fdstore
	helpers   []helperProc // stop and reload commands that run
}

// taskRun is the live state of a task.
type taskRun struct {
	cancel func()            // not nil while it runs
	done   bool              // has ended, whatever the result
	values map[string]string // that it wrote
	again  bool              // run it again when it has ended: its result is of the past
	once   bool              // run it although nobody holds it
	digest string            // of its outputs, when it last succeeded
	runs   int               // how often it has succeeded
	alarm  alarm             // when it runs by its schedule
	inputs inputWatch
	rank   time.Duration // what it holds up; see ranks
	order  int           // its place in the declaration
	line   *line         // in which it waits, or waited
	place  int           // where in it; -1: it does not wait for room
	end    *api.TaskEnd  // how it ended last
}

// watched is what the watcher was told of a node.
type watched struct {
	key   string // for what its files are watched; "" when they are not
	count int    // subscriptions made
}

func newNode(def *graph.Node, g *graph.Graph) *node {
	n := &node{def: def, lacks: -1, in: g.In(def.Name()), out: g.Out(def.Name()), gates: g.Gates(def.Name())}
	n.show.State = string(machine.Down)
	if def.Kind == graph.KindTask {
		n.task = &taskRun{place: -1}
		return n
	}
	n.svc = &service{
		policy:    policyOf(def.Service),
		instances: map[int]*instance{},
		timers:    map[machine.Timer]func(){},
	}
	return n
}

func (n *node) name() string { return n.def.Name() }

// live reports whether something of it runs, or is about to.
func (n *node) live() bool {
	if n.external {
		return false
	}
	if n.task != nil {
		return n.task.cancel != nil
	}
	return n.svc.wanted || len(n.svc.instances) > 0 || len(n.svc.act.conns.live) > 0
}

// conds is the set of conditions that hold of a node.
type conds uint8

const (
	isStarted conds = 1 << iota
	isProbed
	isReady
	isHealthy
	isSucceeded
	isCompleted
	isStopped
)

func condBit(c graph.Cond) conds {
	switch c {
	case graph.Started:
		return isStarted
	case graph.Probed:
		return isProbed
	case graph.Ready:
		return isReady
	case graph.Healthy:
		return isHealthy
	case graph.Succeeded:
		return isSucceeded
	case graph.Completed:
		return isCompleted
	case graph.Stopped:
		return isStopped
	}
	panic("unknown condition " + string(c))
}

// set turns conditions on and off, and has everything considered that looks at
// them.
func (e *Engine) set(n *node, on, off conds) {
	next := n.conds&^off | on
	if next == n.conds {
		return
	}
	n.conds = next
	e.touch(n)
	for _, edge := range n.in {
		e.touch(e.byName[edge.From])
	}
	if n.task != nil && n.def.Task.Gates != "" {
		e.touch(e.byName[n.def.Task.Gates])
	}
}

// consider looks at one node: whether to start it, stop it, or call it blocked.
func (e *Engine) consider(n *node) {
	if n.external {
		return
	}
	e.considerAlarm(n)
	if n.svc != nil {
		e.gate(n)
		e.considerListening(n)
	}
	switch {
	case n.holders == 0 && n.task != nil && n.task.once:
		if !n.live() {
			e.considerStart(n)
		}
	case n.holders == 0:
		e.considerStop(n)
	case n.stale != "" && n.svc != nil && n.svc.wanted:
		e.considerStale(n)
	case e.rests(n) && !n.live():
		e.considerResting(n)
	case n.live() || n.task != nil && n.task.done || n.svc != nil && n.ended():
	default:
		e.considerStart(n)
	}
}

// ended reports whether a service has run and will not by itself run again.
func (n *node) ended() bool {
	p := n.svc.state.Phase
	if n.onDemand() {
		return n.svc.act.gaveUp
	}
	return p == machine.Exited || p == machine.GaveUp
}

// mirrorsEnd reports whether the engine that runs an external service has said
// that it has ended and will not by itself run again.
func (n *node) mirrorsEnd() bool {
	switch n.show.State {
	case stateFailed, string(machine.Exited), string(machine.GaveUp):
		return true
	}
	return false
}

// gate makes a service ready that has answered its probe and whose gating
// tasks have all succeeded.
func (e *Engine) gate(n *node) {
	ready := n.conds&isProbed != 0
	for _, g := range n.gates {
		t := e.byName[g]
		ready = ready && (t.conds&isSucceeded != 0 || t.holders == 0 && !t.external)
	}
	had := n.conds&isReady != 0
	switch {
	case ready && !had:
		if n.show.Ready.IsZero() || len(n.gates) > 0 {
			n.show.Ready = time.Now()
		}
		if n.listening() {
			e.become(n, stateListening, "")
		} else {
			e.become(n, string(machine.Ready), "")
		}
		e.set(n, isReady, 0)
	case !ready && had:
		e.set(n, 0, isReady)
	}
}

// considerStart starts a node of which every edge holds.
func (e *Engine) considerStart(n *node) {
	if !e.awaits(n) {
		n.lacks = -1
	}
	if n.lacks < 0 && !e.survey(n) {
		return
	}
	if n.lacks >= 0 {
		if n.task != nil {
			e.queue.leave(n)
		}
		edge := n.out[n.lacks]
		n.show.Reason = fmt.Sprintf("waits for %s to be %s", edge.To, edge.Cond)
		e.become(n, stateWaiting, n.show.Reason)
		return
	}
	if n.task != nil {
		if !n.task.inputs.wait { // touched when they are watched
			e.wantTask(n)
		}
		return
	}
	if n.onDemand() {
		e.listen(n)
		return
	}
	n.show.Reason, n.show.Cause = "", ""
	n.svc.wanted = true
	e.step(n, machine.Event{Kind: machine.EventStart})
}

// awaits reports whether an edge is known that does not hold yet, and goes on
// to the next one when it holds now: a node that waits for many is not looked at
// as a whole each time that one of them is done.
func (e *Engine) awaits(n *node) bool {
	if n.show.State != stateWaiting || n.task != nil && n.task.place >= 0 {
		return false
	}
	for ; n.lacks >= 0 && n.lacks < len(n.out); n.lacks-- {
		e.queue.steps++
		if edge := n.out[n.lacks]; !e.satisfied(edge) {
			why, _ := e.never(e.byName[edge.To], edge.Cond)
			return why == ""
		}
	}
	return false
}

// survey looks at every edge of a node and finds the last one that does not
// hold; false: one never will, and the node is blocked.
func (e *Engine) survey(n *node) bool {
	for i, edge := range n.out {
		e.queue.steps++
		if e.satisfied(edge) {
			continue
		}
		if why, root := e.never(e.byName[edge.To], edge.Cond); why != "" {
			n.lacks = -1
			e.block(n, why, root)
			return false
		}
		n.lacks = i
	}
	return true
}

// satisfied reports whether an edge holds, or was left out on purpose (only).
func (e *Engine) satisfied(edge graph.Edge) bool {
	to := e.byName[edge.To]
	cleansUp := to.task != nil && to.task.once
	return to.conds&condBit(edge.Cond) != 0 || to.holders == 0 && !to.external && !cleansUp && edge.Cond != graph.Stopped
}

// disappoint has those who wait for a node, or for the service that it gates,
// look at all that they wait for: it may be that they wait in vain.
func (e *Engine) disappoint(n *node) {
	for _, edge := range n.in {
		if from := e.byName[edge.From]; from != nil {
			from.lacks = -1
			e.touch(from)
		}
	}
	if n.task != nil && n.def.Task.Gates != "" {
		if gated := e.byName[n.def.Task.Gates]; gated != nil {
			e.disappoint(gated)
		}
	}
}

// never says why a condition cannot come any more, and which node is at the
// root of it; "" if it can.
func (e *Engine) never(n *node, c graph.Cond) (why, root string) {
	switch n.show.State {
	case stateBlocked:
		return strings.TrimPrefix(n.show.Reason, notStarted), n.show.Cause
	case stateFailed, stateCancelled:
		if c == graph.Succeeded {
			why := n.show.State
			if n.show.Reason != "" {
				why += " (" + n.show.Reason + ")"
			}
			return n.name() + " " + why, n.name()
		}
		if !n.external {
			return "", ""
		}
	}
	if n.svc == nil || c == graph.Completed || c == graph.Started || c == graph.Stopped {
		return "", ""
	}
	if n.ended() || n.external && n.mirrorsEnd() {
		return fmt.Sprintf("%s %s", n.name(), n.failure()), n.name()
	}
	if c == graph.Ready || c == graph.Healthy {
		for _, g := range n.gates {
			if why, root := e.never(e.byName[g], graph.Succeeded); why != "" {
				return why, root
			}
		}
	}
	return "", ""
}

// failure says in words how the node has ended.
func (n *node) failure() string {
	if n.show.Reason != "" {
		return n.show.Reason
	}
	return n.show.State
}

// notStarted begins the reason of a blocked node.
const notStarted = "not started: "

func (e *Engine) block(n *node, why, root string) {
	if n.show.State == stateBlocked {
		return
	}
	n.show.Reason, n.show.Cause = notStarted+why, root
	if n.task != nil {
		n.task.done, n.task.once = true, false
		e.queue.leave(n)
	}
	e.become(n, stateBlocked, n.show.Reason)
	if n.task != nil && n.task.alarm.turn == due {
		e.concluded(n)
	}
	for _, edge := range n.in {
		e.touch(e.byName[edge.From])
	}
	if n.task != nil && n.def.Task.Gates != "" {
		e.touch(e.byName[n.def.Task.Gates])
	}
}

// considerStop stops a node that nobody wants, once everything that stands on
// it is gone.
func (e *Engine) considerStop(n *node) {
	if n.task != nil {
		e.queue.leave(n)
	}
	if !n.live() {
		if n.show.State == stateWaiting || n.show.State == stateBlocked || n.show.State == stateScheduled {
			e.reset(n)
		}
		return
	}
	for _, edge := range n.in {
		from := e.byName[edge.From]
		if from.holders == 0 && from.live() && edge.Cond != graph.Stopped {
			return // touched again when it is gone
		}
	}
	if n.task != nil {
		n.task.cancel()
		return
	}
	if e.unlisten(n, false) {
		return
	}
	if n.svc.wanted {
		n.svc.wanted = false
		e.step(n, machine.Event{Kind: machine.EventStop})
		if !n.live() {
			e.gone(n)
		}
	}
}

// reset forgets what became of a node that nobody holds any more, so that the
// next hold begins anew.
func (e *Engine) reset(n *node) {
	if n.task != nil {
		e.queue.leave(n)
		n.task.done = false
		e.set(n, 0, isStarted|isSucceeded|isCompleted)
	}
	n.show.Cause = ""
	e.become(n, string(machine.Down), "")
}

// gone has the nodes considered that this one stood on.
func (e *Engine) gone(n *node) {
	e.touch(n)
	for _, edge := range n.out {
		e.touch(e.byName[edge.To])
	}
}

// become changes the state that is shown, and publishes it.
func (e *Engine) become(n *node, state, text string) {
	if n.show.State == state && text == "" {
		return
	}
	from := n.show.State
	if from == state && (state == stateWaiting || state == stateBlocked) {
		return
	}
	n.show.State = state
	if n.bad() || n.svc != nil && n.ended() {
		e.disappoint(n)
	}
	e.publish(n, from, text)
}
