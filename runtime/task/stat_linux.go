package task

import (
	"io/fs"
	"syscall"
)

// ident is the state of a file. Whatever is done to the file changes it, short of a change in the same tick of the clock.
type ident struct {
	dev, ino           uint64
	size, mtime, ctime int64
	mode               fs.FileMode
	sure               bool // the above holds
}

func identOf(fi fs.FileInfo) ident {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return ident{size: fi.Size(), mtime: fi.ModTime().UnixNano(), mode: fi.Mode()}
	}
	return ident{uint64(st.Dev), st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano(), fi.Mode(), true}
}
