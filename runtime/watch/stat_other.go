//go:build !linux

package watch

import (
	"io/fs"
	"path/filepath"
)

// inode is the identity of a file or directory: its real path, where the
// platform's numbers are not asked.
type inode struct{ real string }

func inodeOf(path string, _ fs.FileInfo) inode {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return inode{path}
}

func changeTime(fi fs.FileInfo) int64 { return fi.ModTime().UnixNano() }

const (
	sysctlWatches   = "kern.maxfiles"
	sysctlInstances = "kern.maxfiles"
)
