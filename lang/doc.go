// Package lang evaluates services.star and the libraries that it loads to one
// graph.Graph. Evaluation is pure: the files, the parameters and the machine's
// description are all that it reads, and what it read is listed in Project.
//
// A mistake does not end the evaluation where it can go on: a failed call
// returns a value that brings no further error, and Load reports all mistakes
// at once as Errors. It is safe to call Load from several goroutines.
package lang
