package main

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// rawMode is a terminal that passes on every key as it is.
type rawMode struct {
	fd   int
	old  unix.Termios
	once sync.Once
}

// makeRaw puts a terminal into raw mode, as cfmakeraw(3) does.
func makeRaw(f *os.File) (*rawMode, error) {
	fd := int(f.Fd())
	old, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return nil, err
	}
	t := *old
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, setTermios, &t); err != nil {
		return nil, err
	}
	return &rawMode{fd: fd, old: *old}, nil
}

// restore gives the terminal back as it was. Harmless twice.
func (r *rawMode) restore() {
	r.once.Do(func() { unix.IoctlSetTermios(r.fd, setTermios, &r.old) })
}

// size is how many rows and columns it has, 0 where it does not tell.
func (r *rawMode) size() (rows, cols int) {
	ws, err := unix.IoctlGetWinsize(r.fd, unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0
	}
	return int(ws.Row), int(ws.Col)
}
