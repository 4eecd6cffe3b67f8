// Package sandbox keeps a program, and all that it starts, from files that it was not given, or tells which of them it touches.
//
// Two means of Linux do it, neither of which needs privileges. Landlock lets the kernel refuse what no [Rule] opens. A seccomp listener
// tells a [Watcher] of each path before it is opened, made, changed, removed or executed; the Watcher's judge lets it pass or
// refuses it. [Enter] sets both up from within, in the shim that becomes the program: they cannot be taken off again.
//
// Promised: what the rules do not open cannot be read, listed or written through any link or descriptor that is opened after the start.
// Where the judge is stricter than the rules, a program that is bent on it can win the race between the question and the act: the
// judge is there for messages and for what Landlock cannot say, such as one file that does not exist yet.
//
// Not covered: whether a file exists and how big it is (stat), sockets with a path, memory shared with others, descriptors that were
// inherited. Modes, owners and times of files are the judge's alone. Left to others: which rules, and what is said.
package sandbox

import "os"

// Access is what is done with a path, as a set of bits.
type Access uint8

// The bits of Access.
const (
	// Read is the content of a file, and its execution.
	Read Access = 1 << iota
	// List is the names in a folder.
	List
	// Write is to make, change, rename or remove.
	Write
)

// Rule opens a path, and for a folder all that is below it.
type Rule struct {
	// Path is absolute. Links are followed when the program starts; a path that does not exist then opens nothing.
	Path string
	// Can is what may be done.
	Can Access
}

// Orders say how a program is confined. They are data, so that they can be sent to whoever starts it.
type Orders struct {
	// Refuse has the kernel refuse all that no rule opens, signals to processes outside and connections to their abstract sockets
	// (from Landlock ABI 6 on). Without it Rules count for nothing.
	Refuse bool
	// Rules are what is open.
	Rules []Rule
	// NoNetwork refuses all sockets but those of the unix and netlink families.
	NoNetwork bool
	// Listen asks for the listener of a Watcher.
	Listen bool
}

// Try is one access that a program asks for. Several bits of Can are never set.
type Try struct {
	// Path is absolute, its links resolved as the kernel will.
	Path string
	// Can is what is asked for.
	Can Access
	// New says that nothing is there yet; Folder that a folder is, or is made.
	New, Folder bool
}

// Judge decides on a try: false refuses it with EACCES. It may be called from any goroutine, one call at a time for a Watcher.
type Judge func(Try) bool

// Watcher answers the questions of one program and all that it starts. Make one for each start with [Watch].
type Watcher struct {
	judge  Judge
	ours   *os.File
	theirs *os.File
	begun  chan struct{} // closed when it is known what the shim could do
	err    error         // of it; read after begun
	blind  string        // why nothing is seen; read after begun
}
