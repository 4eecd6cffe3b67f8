// Package bind turns a graph into numbers, paths and open sockets: it leases and reserves ports, opens the sockets that
// orrery holds, and fills the references of commands, environments and config files.
//
// Two things live here. A [Table] owns what the kernel gives: leases (kept in a file, shared by the checkout), reservations
// and held sockets; one goroutine uses it, and it outlives a reload of the graph. A [Binding] answers what every
// reference of one graph means; after Prepare it may be asked from any goroutine. Resolve gives a Binding that opens and
// looks up nothing, FromSnapshot one with the values of another process.
//
// Promised: the same inputs give the same values, in a fixed order; bound text is never scanned again; a secret is only in
// what says so. Left to others: when to start what, spawning, and the contents of a state_dir: a [Template] is the place where one is made.
package bind

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"orrery/lang/graph"
)

// Dirs says where a project's things lie. All paths are absolute. The directory of a node is the base joined with its
// name: worker/1 lies inside worker.
type Dirs struct {
	// Root is the folder of the project file; GitRoot the working tree around it, empty: Root.
	Root, GitRoot string
	// State, Run and Cache are the bases of the nodes' state_dir, runtime_dir and cache_dir.
	State, Run, Cache string
	// Leases is the file of port leases; empty: they are not kept.
	Leases string
	// Versions is the file of what programs said of their version; empty: it is not kept.
	Versions string
	// LogFile gives the file that captures a node's standard output; nil: none has one.
	LogFile func(node string) string
	// Make makes the directory of a node and gives its path, the same that the bases say. kind is "state", "run" or "cache"; uid and gid
	// are its owner, -1 ours. nil: it is made here, private to its owner.
	Make func(kind, node string, uid, gid int) (string, error)
}

// Path is the directory of a node; kind is "state", "run" or "cache".
func (d Dirs) Path(kind, node string) string {
	base := d.State
	switch kind {
	case "run":
		base = d.Run
	case "cache":
		base = d.Cache
	}
	return filepath.Join(base, filepath.FromSlash(node))
}

// make makes a node's directory.
func (d Dirs) make(kind, node string, o owner) (string, error) {
	if d.Make != nil {
		return d.Make(kind, node, o.uid, o.gid)
	}
	dir := d.Path(kind, node)
	parents := os.FileMode(0o700)
	if o != us {
		parents = 0o711 // its user must get there
	}
	err := os.MkdirAll(filepath.Dir(dir), parents)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return "", fmt.Errorf("cannot make the %s directory of %s: %w", kind, node, err)
	}
	if o != us {
		if err := os.Lchown(dir, o.uid, o.gid); err != nil {
			return "", fmt.Errorf("cannot give the %s directory of %s to its user: %w", kind, node, err)
		}
	}
	return dir, nil
}

// Options say what a Binding is made with.
type Options struct {
	// Environ is the caller's environment as K=V: the base of every environment, where tools are looked for and secrets read.
	Environ []string
	// Strict, if not nil, overrides what the project and its ports say: --strict-ports, --no-strict-ports.
	Strict *bool
	// Still starts no program: a secret that a command tells is an error.
	Still bool
}

// getenv looks a variable of the caller up; the last one wins.
func (o Options) getenv(key string) (string, bool) {
	for i := len(o.Environ) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(o.Environ[i], key+"="); ok {
			return v, true
		}
	}
	return "", false
}

// Socket is one held socket, to be passed to the service.
type Socket struct {
	// Name is its name in the declaration, for LISTEN_FDNAMES.
	Name string
	// File holds the socket; it stays the Table's to close.
	File *os.File
}

// Cmd is a bound command: an argv for execve, or sh with a script.
type Cmd struct {
	// Argv is the program and its arguments.
	Argv []string
	// Env are further variables (K=V) that the script reads its references from.
	Env []string
	// Script says that Argv is a shell with a script.
	Script bool
}

// Var is a variable of an environment and where it comes from.
type Var struct {
	// Key and Value are the two halves of K=V.
	Key, Value string
	// Origin says who set it: "caller", "pass_env", "dotenv FILE", "project", "uses NODE", "env_file FILE", "env", "tools",
	// "user", "cwd" or "secrets".
	Origin string
	// Secret says that the value holds a secret, also through exports.
	Secret bool
}

// Change is a config file whose content changed.
type Change struct {
	// Name is that of the config_file; Apply what a change does: auto, reload, restart or none.
	Name, Apply string
	// Path is where it lies.
	Path string
}

// ConflictError says that a port or a socket path is in use by somebody else. The command line ends with code 7.
type ConflictError struct {
	// Node and Port name the declaration.
	Node, Port string
	// Number is the port; Path the socket's path instead.
	Number int
	Path   string
	// Owner says who has it: "nginx (pid 12)", or the other node.
	Owner string
}

// Error names the port or path, who has it, and the remedy.
func (e *ConflictError) Error() string {
	owner := e.Owner
	if owner == "" {
		owner = "another process (of another user, so it cannot be named)"
	}
	if e.Path != "" {
		return fmt.Sprintf("cannot open the socket %s of %s: %s is in use by %s; stop it, or choose another file", e.Port, e.Node, e.Path, owner)
	}
	return fmt.Sprintf("cannot give %s its port %s: %d is in use by %s; stop it, choose another base, or leave strict out", e.Node, e.Port, e.Number, owner)
}

// MissingToolError says that a declared program is not on the machine, or not in the version wanted.
type MissingToolError struct {
	// Program was looked for in Tried.
	Program string
	Tried   []string
	// Version is what is wanted, Found what was found instead: "FILE is 1.2". Both may be empty.
	Version string
	Found   []string
	// By says which node needs it, with the lines that say so; empty: none asks.
	By string
	// Packages say which package holds it, by system.
	Packages graph.Dict[string]
}
