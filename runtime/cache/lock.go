package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// keysLock is the file of the cache in which keys are locked.
const keysLock = "keys.lock"

// Lock waits until no other process, and nobody else in this one, holds the key. A holder that is killed holds it no more. A
// *UnavailableError says that there is nothing to lock: go on without.
func (s *Store) Lock(ctx context.Context, key string) (unlock func(), err error) {
	if !validName(key) {
		return nil, fmt.Errorf("got the key %q, want 64 hexadecimal digits", key)
	}
	if err := s.disk.try("lock"); err != nil {
		return nil, &UnavailableError{"lock", err}
	}
	return s.locks.Lock(ctx, key)
}

// LockFile waits until nobody else holds the lock of that name, and makes the file for it; unlock removes it.
func LockFile(ctx context.Context, path string) (unlock func(), err error) {
	return lock(ctx, lockable{
		open:   func() (*os.File, error) { return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) },
		stat:   func() (fs.FileInfo, error) { return os.Lstat(path) },
		remove: func() { os.Remove(path) },
	})
}

// lockable is a file that is locked by flock and removed while it is held.
type lockable struct {
	open   func() (*os.File, error)
	stat   func() (fs.FileInfo, error)
	remove func()
}

func lock(ctx context.Context, l lockable) (func(), error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		f, err := l.open()
		if err != nil {
			return nil, &UnavailableError{"lock", err}
		}
		if err := flock(ctx, f); err != nil {
			return nil, err
		}
		mine, err := f.Stat()
		if err == nil {
			// Whoever held it before has removed it: the file that others see is another one.
			if now, err := l.stat(); err == nil && os.SameFile(mine, now) {
				return func() { l.remove(); f.Close() }, nil
			}
		}
		f.Close()
	}
}

// errHeld says that another one holds the lock.
var errHeld = errors.New("another one holds it")

// flock takes the lock of an open file, or closes it.
func flock(ctx context.Context, f *os.File) error {
	fd := int(f.Fd())
	return wait(ctx, func() { f.Close() }, func(block bool) error {
		op := unix.LOCK_EX
		if !block {
			op |= unix.LOCK_NB
		}
		err := unix.Flock(fd, op)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return errHeld
		}
		return err
	})
}

// wait takes a lock with try, which fails with errHeld or, told to block, waits. Without the lock free is called in the end.
func wait(ctx context.Context, free func(), try func(block bool) error) error {
	err := try(false)
	if err == nil {
		return nil
	}
	if !errors.Is(err, errHeld) {
		free()
		return &UnavailableError{"lock", err}
	}
	done := make(chan error, 1)
	go func() {
		for {
			if err := try(true); !errors.Is(err, unix.EINTR) {
				done <- err
				return
			}
		}
	}()
	select {
	case err := <-done:
		if err != nil {
			free()
			return &UnavailableError{"lock", err}
		}
		return nil
	case <-ctx.Done():
		go func() { // the call cannot be interrupted; it lets go as soon as it has the lock
			<-done
			free()
		}()
		return context.Cause(ctx)
	}
}
