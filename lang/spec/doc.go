// Package spec reads spec.star, the one definition of the declaration
// language, and works from it: it checks the arguments of every builtin and
// supplies the defaults (check.go), and writes the reference, the editor stub
// and the Go node types (gen.go). It knows values, not the evaluation of files:
// names, positions and the graph at hand are lang's matter.
package spec
