package api

import "time"

// Status is what an engine and its nodes are doing at one instant.
type Status struct {
	// Seq is that of the last event which this status knows.
	Seq uint64 `json:"seq"`
	// Engine is who answers.
	Engine Engine `json:"engine"`
	// Digest is of the graph that the engine runs.
	Digest string `json:"digest,omitempty"`
	// Nodes are in the order of the graph.
	Nodes []NodeStatus `json:"nodes"`
	// Progress counts all nodes that are held, named or not.
	Progress Progress `json:"progress"`
}

// Engine describes the engine process.
type Engine struct {
	// PID is its process id.
	PID int `json:"pid"`
	// Version is that of its program.
	Version string `json:"version"`
	// Started is when it took the checkout's lock.
	Started time.Time `json:"started"`
	// Project is the real path of the project file, Root its directory.
	Project string `json:"project"`
	Root    string `json:"root"`
}

// NodeStatus is the state of one service or task.
type NodeStatus struct {
	// Name is the node's name in the graph.
	Name string `json:"name"`
	// Kind is "service" or "task".
	Kind string `json:"kind"`
	// State is a state of runtime/machine.
	State string `json:"state"`
	// PID is the main process, 0 when none runs.
	PID int `json:"pid,omitempty"`
	// StartedAt is when that process was started, ReadyAt when it became ready; absent when not.
	StartedAt time.Time `json:"started_at,omitzero"`
	ReadyAt   time.Time `json:"ready_at,omitzero"`
	// UptimeMS is the time since StartedAt in milliseconds, by a clock that nobody sets.
	UptimeMS int64 `json:"uptime_ms,omitempty"`
	// Restarts counts the starts after the first, for whatever reason.
	Restarts int `json:"restarts"`
	// Exit is how the last process ended; absent while none has.
	Exit *Exit `json:"exit,omitempty"`
	// Reason says why the node waits, or the last thing worth noting.
	Reason string `json:"reason,omitempty"`
	// Ports are its ports' numbers by name.
	Ports map[string]int `json:"ports,omitempty"`
	// Sockets are its unix sockets' paths by name.
	Sockets map[string]string `json:"sockets,omitempty"`
	// Links are URLs by label.
	Links map[string]string `json:"links,omitempty"`
	// StatusText is what the program said with STATUS=.
	StatusText string `json:"status_text,omitempty"`
	// Holders counts the clients that hold the node, a detached hold included.
	Holders int `json:"holders"`
	// Cached tells of a task that its result was restored instead of made.
	Cached bool `json:"cached,omitempty"`
	// Remote tells of a cached one that it came from the remote cache.
	Remote bool `json:"remote,omitempty"`
	// Schedule is that of a task which runs by it, NextAt when it runs next; absent when it is not up.
	Schedule string    `json:"schedule,omitempty"`
	NextAt   time.Time `json:"next_at,omitzero"`
	// Cause names the root cause of a failure, where that is another node.
	Cause string `json:"cause,omitempty"`
}

// Exit is how a process ended: by a code, or by a signal.
type Exit struct {
	// Code is the exit code; 0 when Signal is set.
	Code int `json:"code"`
	// Signal is the name of the signal, such as "SIGKILL".
	Signal string `json:"signal,omitempty"`
}

// Progress counts nodes, for the line `[12/40] 3 running, 20 cached` and for what a stop still waits for.
type Progress struct {
	// Total is how many nodes there are to bring up, or down; Done how many are there.
	Total int `json:"total"`
	Done  int `json:"done"`
	// Running are those being worked on: starting, stopping, tasks that run.
	Running int `json:"running"`
	// Cached and Failed are parts of Done.
	Cached int `json:"cached"`
	Failed int `json:"failed"`
	// Waiting names the nodes that are not there yet, in the order of the graph.
	Waiting []string `json:"waiting,omitempty"`
}

// Bindings are the values that this run gave to references, so that `run`, `env` and `port` in another process see what
// the services see. They may hold secrets: they are for the socket, not for a file or a log. Text that is not valid UTF-8
// does not survive JSON.
type Bindings struct {
	// Digest is of the graph that the values belong to.
	Digest string `json:"digest,omitempty"`
	// Values maps a reference in its text form without the brackets ("db.ports.tcp") to its value.
	Values map[string]string `json:"values"`
	// Env maps a node's name to its whole environment.
	Env map[string]map[string]string `json:"env"`
}
