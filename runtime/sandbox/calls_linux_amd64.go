package sandbox

import (
	"maps"

	"golang.org/x/sys/unix"
)

// pathCalls are the system calls that take a path and do something with it that counts.
func pathCalls() map[int][]pathArg {
	all := modernCalls()
	maps.Copy(all, map[int][]pathArg{
		unix.SYS_OPEN:      {{actOpen, -1, 0, 1}},
		unix.SYS_CREAT:     {{actOpen, -1, 0, -1}},
		unix.SYS_MKDIR:     {{actFolder, -1, 0, -1}},
		unix.SYS_MKNOD:     {{actMake, -1, 0, -1}},
		unix.SYS_UNLINK:    {{actReplace, -1, 0, -1}},
		unix.SYS_RMDIR:     {{actReplace, -1, 0, -1}},
		unix.SYS_SYMLINK:   {{actMake, -1, 1, -1}},
		unix.SYS_LINK:      {{actLink, -1, 0, -1}, {actMake, -1, 1, -1}},
		unix.SYS_RENAME:    {{actReplace, -1, 0, -1}, {actReplace, -1, 1, -1}},
		unix.SYS_RENAMEAT:  {{actReplace, 0, 1, -1}, {actReplace, 2, 3, -1}},
		unix.SYS_CHMOD:     {{actChange, -1, 0, -1}},
		unix.SYS_CHOWN:     {{actChange, -1, 0, -1}},
		unix.SYS_LCHOWN:    {{actReplace, -1, 0, -1}},
		unix.SYS_UTIME:     {{actChange, -1, 0, -1}},
		unix.SYS_UTIMES:    {{actChange, -1, 0, -1}},
		unix.SYS_FUTIMESAT: {{actChange, 0, 1, -1}},
	})
	return all
}
