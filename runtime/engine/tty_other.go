//go:build !linux

package engine

import (
	"io"
	"os"
)

// pollable is the terminal itself.
func pollable(f *os.File) (*os.File, error) { return f, nil }

// pump moves what a terminal says into a pipe until nobody holds the other end;
// an engine that is killed between reading and writing loses a piece.
func pump(tty, to *os.File) error {
	io.Copy(to, tty) // its end is an error on some systems, and none on others
	return nil
}
