// Package stdlib holds the factories that come with orrery: real servers,
// declared in Starlark and loaded as @std//NAME.star. They are embedded, so
// that the binary needs no files beside it; their tests lie next to them.
package stdlib

import "embed"

// FS holds the factories and their tests, NAME.star and NAME_test.star, at its
// root. It is read-only and safe for concurrent use.
//
//go:embed *.star
var FS embed.FS
