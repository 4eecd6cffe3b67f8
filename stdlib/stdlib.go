// Package stdlib holds the factories that come with orrery: real servers,
// declared in Starlark and loaded as @std//NAME.star. They are embedded, so
// that the binary needs no files beside it; their tests lie next to them.
// tested.txt says how the tests run each; a test of cmd/orrery writes it.
package stdlib

import "embed"

// FS holds the factories and their tests, NAME.star and NAME_test.star, and
// tested.txt, at its root. It is read-only and safe for concurrent use.
//
//go:embed *.star tested.txt
var FS embed.FS
