// Package orrery is the root of a Starlark-scripted build-and-run tool.
//
// Users declare services and tasks in services.star; lang evaluates it to one
// typed graph; runtime runs that graph. The way through the tree:
//
//	spec.star         the declaration language, written once
//	cmd/orrery        the command line: one file a verb
//	cmd/orrery/term   the footer that is live below the stream of lines
//	cmd/orrery-bench  measurements beside the peers that are installed
//	lang              services.star -> *graph.Graph
//	lang/spec         spec.star: checks arguments, supplies defaults, writes docs and Go types
//	lang/graph        the typed graph as plain data
//	lang/export       graph -> dot, mermaid, json, Procfile, compose, ...
//	lang/convert      Procfile, compose, a folder -> the text of a services.star
//	runtime/engine    the one loop that owns live state
//	runtime/keeper    the small process that owns what outlives an engine
//	runtime/machine   the one pure decision
//	runtime/proc      processes: spawn, signal, kill a whole tree
//	runtime/sandbox   what a program may touch: rules of the kernel, and a witness
//	runtime/bind      ports, sockets, references
//	runtime/notify    the sd_notify receiver
//	runtime/probe     readiness and liveness probes
//	runtime/task      tasks: run, skip, fail
//	runtime/fresh     how files looked when results were right: the run without changes
//	runtime/libs      external libraries: services.lock, fetching, the cache of them
//	runtime/archive   a folder as two texts, and back: the templates of state directories
//	runtime/task/storetest  what every store of results must do
//	runtime/files     files in few system calls, and below a folder alone
//	runtime/cache     key -> record -> blobs: the results of tasks
//	runtime/remote    a cache that others share, behind the one on disk
//	runtime/logs      byte-exact capture, index, follow, search
//	runtime/watch     paths and patterns -> debounced sets of changes
//	runtime/history   what each run did: records, traces, durations
//	runtime/control   one engine a checkout: lock, socket, protocol
//	runtime/control/api  the words of that protocol
//	stdlib            factories for real servers, in Starlark
//	examples          projects that the tests run
//
// docs/architecture.md tells how a service becomes ready and how a task runs.
package orrery

import _ "embed"

// SpecSource is the text of spec.star, the definition of the declaration
// language. It is embedded so that no generated file can change behaviour.
//
//go:embed spec.star
var SpecSource string
