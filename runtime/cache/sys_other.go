//go:build !linux

package cache

import (
	"errors"
	"io/fs"
	"os"
)

// identify: every read verifies.
func identify(fs.FileInfo) (ident, bool) { return ident{}, false }

func bootID() string { return "" }

// Clone makes an empty file share the content of another, where the file system can.
func Clone(dst, src *os.File) error { return errors.ErrUnsupported }
