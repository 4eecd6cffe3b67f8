package watch

import (
	"io/fs"
	"syscall"
)

// inode is the identity of a file or directory.
type inode struct{ dev, ino uint64 }

func inodeOf(_ string, fi fs.FileInfo) inode {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return inode{uint64(st.Dev), st.Ino}
	}
	return inode{}
}

// changeTime is when content, mode or name of the file changed last, in
// nanoseconds; unlike the mtime it cannot be set.
func changeTime(fi fs.FileInfo) int64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Ctim.Nano()
	}
	return fi.ModTime().UnixNano()
}

const (
	sysctlWatches   = "fs.inotify.max_user_watches"
	sysctlInstances = "fs.inotify.max_user_instances"
)
