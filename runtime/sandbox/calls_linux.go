package sandbox

import "golang.org/x/sys/unix"

// act is what a system call does with a path.
type act uint8

const (
	actOpen    act = iota + 1 // flags say what
	actExec                   // reads it
	actChange                 // changes what it leads to
	actReplace                // makes or removes the name itself
	actMake                   // makes the name; an error if it is there
	actFolder                 // the same, a folder
	actLink                   // reads it, the name itself
)

// pathArg is a path among the arguments of a call: at which place it and the folder that it starts from are; dir -1: the working directory.
type pathArg struct {
	act       act
	dir, path int
	flags     int // where the flags are, or -1
}

// modernCalls are the calls with paths that every processor has.
func modernCalls() map[int][]pathArg {
	return map[int][]pathArg{
		unix.SYS_OPENAT:    {{actOpen, 0, 1, 2}},
		unix.SYS_OPENAT2:   {{actOpen, 0, 1, 2}},
		unix.SYS_EXECVE:    {{actExec, -1, 0, -1}},
		unix.SYS_EXECVEAT:  {{actExec, 0, 1, -1}},
		unix.SYS_MKDIRAT:   {{actFolder, 0, 1, -1}},
		unix.SYS_MKNODAT:   {{actMake, 0, 1, -1}},
		unix.SYS_UNLINKAT:  {{actReplace, 0, 1, -1}},
		unix.SYS_SYMLINKAT: {{actMake, 1, 2, -1}},
		unix.SYS_LINKAT:    {{actLink, 0, 1, -1}, {actMake, 2, 3, -1}},
		unix.SYS_RENAMEAT2: {{actReplace, 0, 1, -1}, {actReplace, 2, 3, -1}},
		unix.SYS_TRUNCATE:  {{actChange, -1, 0, -1}},
		unix.SYS_FCHMODAT:  {{actChange, 0, 1, -1}},
		unix.SYS_FCHOWNAT:  {{actChange, 0, 1, -1}},
		unix.SYS_UTIMENSAT: {{actChange, 0, 1, -1}},
		unix.SYS_FCHMODAT2: {{actChange, 0, 1, -1}},
		unix.SYS_SETXATTR:  {{actChange, -1, 0, -1}},
	}
}
