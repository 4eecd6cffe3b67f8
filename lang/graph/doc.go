// Package graph is the typed graph of services and tasks, as plain data.
//
// lang fills it, lang/export writes it out, the runtime runs it. Nothing here
// starts anything or knows a port number: values that are only known when the
// graph runs are references inside a Text, bound by whoever runs it.
//
// The types of nodes and their parts (Service, Task, Probe ...) are generated
// from spec.star into nodes_gen.go; text.go holds Text and Ref; graph.go makes
// a Graph of declarations: names, edges, cycles; diff.go compares two; plan.go
// is its JSON.
//
// A Graph is immutable once New has returned it and may be read from any
// goroutine.
package graph
