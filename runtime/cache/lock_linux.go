package cache

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// LockName waits until nobody else, in this process or another, holds a name in a lock file, which is made and stays. A holder that is
// killed holds it no more. The name is one byte of the file, by its hash: that costs no file for each name. It must be unlocked with what it
// gives. A *UnavailableError says that there is nothing to lock.
func LockName(ctx context.Context, path, name string) (unlock func(), err error) {
	sum := sha256.Sum256([]byte(name))
	at := int64(binary.BigEndian.Uint64(sum[:]) >> 2)
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, &UnavailableError{"lock", err}
		}
		if err := wait(ctx, f, func(block bool) error { return lockByte(f, at, block) }); err != nil {
			return nil, err
		}
		mine, err := f.Stat()
		if err == nil {
			// Someone may have removed the file: others would lock in another one.
			if now, err := os.Lstat(path); err == nil && os.SameFile(mine, now) {
				return func() { f.Close() }, nil
			}
		}
		f.Close()
	}
}

// lockByte locks one byte of an open file for the open file, not for the process (OFD).
func lockByte(f *os.File, at int64, block bool) error {
	op := unix.F_OFD_SETLK
	if block {
		op = unix.F_OFD_SETLKW
	}
	err := unix.FcntlFlock(f.Fd(), op, &unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: at, Len: 1})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return errHeld
	}
	return err
}
