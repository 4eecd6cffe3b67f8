//go:build !linux

package task

import "io/fs"

// ident is what is known of the state of a file; never sure.
type ident struct {
	dev, ino           uint64
	size, mtime, ctime int64
	mode               fs.FileMode
	sure               bool
}

func identOf(fi fs.FileInfo) ident {
	return ident{size: fi.Size(), mtime: fi.ModTime().UnixNano(), mode: fi.Mode()}
}
