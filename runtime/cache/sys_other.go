//go:build !linux

package cache

import "io/fs"

// identify: every read verifies.
func identify(fs.FileInfo) (ident, bool) { return ident{}, false }
