package archive

import (
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"orrery/runtime/files"
)

// shareable is from how many bytes on a file is worth the call.
const shareable = 16 << 10

// sharing remembers that the file system cannot.
type sharing struct{ never atomic.Bool }

// share makes an empty file share the blocks of e.
func (s *sharing) share(dst *os.File, src *files.File, e entry) bool {
	if s.never.Load() || e.size < shareable {
		return false
	}
	whole := e.size / block * block
	r := unix.FileCloneRange{Src_fd: int64(src.Fd()), Src_offset: uint64(e.offset), Src_length: uint64(whole)}
	if unix.IoctlFileCloneRange(int(dst.Fd()), &r) != nil {
		s.never.Store(true)
		return false
	}
	rest := make([]byte, e.size-whole)
	if n, err := src.ReadAt(rest, e.offset+whole); n < len(rest) {
		_ = err // what is there is written over by whoever copies
		return false
	}
	_, err := dst.WriteAt(rest, whole)
	return err == nil
}
