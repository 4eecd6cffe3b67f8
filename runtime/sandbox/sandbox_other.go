//go:build !linux

package sandbox

import (
	"errors"
	"os"
)

// errLinux is why nothing can be confined here.
var errLinux = errors.New("only Linux can confine a program")

// ABI is 0: there is no Landlock here.
func ABI() int { return 0 }

// Watches says whether the files that a program opens can be seen: not here.
func Watches() bool { return false }

// Enter needs Linux.
func Enter(o *Orders, watch int) error { return errLinux }

// Watch needs Linux.
func Watch(judge Judge) (*Watcher, error) { return nil, errLinux }

// File is the end for the program.
func (w *Watcher) File() *os.File { return w.theirs }

// Started lets go of the end for the program.
func (w *Watcher) Started() { w.theirs.Close() }

// Wait needs Linux.
func (w *Watcher) Wait() (blind string, err error) { return "", errLinux }
