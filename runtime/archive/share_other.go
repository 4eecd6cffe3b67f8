//go:build !linux

package archive

import (
	"os"

	"orrery/runtime/files"
)

// sharing: blocks are copied.
type sharing struct{}

func (s *sharing) share(dst *os.File, src *files.File, e entry) bool { return false }
