package cache

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"orrery/runtime/files"
)

// Locks are locks with names, in one file, which is made and stays. It may be used by many goroutines and many processes at once. A name is
// one byte of the file, by its hash: that costs no file for each name.
type Locks struct {
	path string
	mu   sync.Mutex
	held map[int64]chan struct{} // by us; closed when it is let go
	file *lockFile               // nil: to be opened
}

// lockFile is the open file. Its locks belong to it, not to the process (OFD).
type lockFile struct {
	*files.File
	id    ident
	users int
	done  bool // to be closed by the last user
}

// OpenLocks gives the locks of a file, which is opened when it is needed.
func OpenLocks(path string) *Locks { return &Locks{path: path, held: map[int64]chan struct{}{}} }

// Lock waits until nobody else, in this process or another, holds the name. A holder that is killed holds it no more. It must be unlocked with
// what it gives. A *UnavailableError says that there is nothing to lock.
func (l *Locks) Lock(ctx context.Context, name string) (unlock func(), err error) {
	sum := sha256.Sum256([]byte(name))
	at := int64(binary.BigEndian.Uint64(sum[:]) >> 2)
	if err := l.claim(ctx, at); err != nil {
		return nil, err
	}
	for {
		f, err := l.open()
		if err != nil {
			l.disclaim(at)
			return nil, &UnavailableError{"lock", err}
		}
		free := func() {
			_ = f.lock(at, unix.F_UNLCK, false) // else closing it does
			l.leave(f)
			l.disclaim(at)
		}
		err = wait(ctx, free, func(block bool) error { return f.lock(at, unix.F_WRLCK, block) })
		if err != nil {
			return nil, err
		}
		if l.present(f) {
			return free, nil
		}
		_ = f.lock(at, unix.F_UNLCK, false)
		l.leave(f)
	}
}

// claim waits until nobody else in this process holds the byte.
func (l *Locks) claim(ctx context.Context, at int64) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		l.mu.Lock()
		other, taken := l.held[at]
		if !taken {
			l.held[at] = make(chan struct{})
		}
		l.mu.Unlock()
		if !taken {
			return nil
		}
		select {
		case <-other:
		case <-ctx.Done():
		}
	}
}

func (l *Locks) disclaim(at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.held[at])
	delete(l.held, at)
}

// open gives the file to one more user.
func (l *Locks) open() (*lockFile, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		f, err := files.Create(l.path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		fi, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		l.file = &lockFile{File: f}
		l.file.id, _ = identify(fi)
	}
	l.file.users++
	return l.file, nil
}

// leave ends a use of the file.
func (l *Locks) leave(f *lockFile) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.users--; f.users == 0 && f.done {
		f.Close()
	}
}

// present reports whether the file is still the one of its path. Someone may have removed it: others would lock in another one.
func (l *Locks) present(f *lockFile) bool {
	fi, err := files.Lstat(l.path)
	if err == nil {
		if id, ok := identify(fi); ok && id.dev == f.id.dev && id.ino == f.id.ino {
			return true
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == f {
		l.file, f.done = nil, true
	}
	return false
}

// Close lets go of the file once nothing of it is locked.
func (l *Locks) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.file
	if l.file = nil; f == nil {
		return
	}
	if f.done = true; f.users == 0 {
		f.Close()
	}
}

// lock locks or unlocks one byte.
func (f *lockFile) lock(at int64, kind int16, block bool) error {
	op := unix.F_OFD_SETLK
	if block {
		op = unix.F_OFD_SETLKW
	}
	err := unix.FcntlFlock(uintptr(f.Fd()), op, &unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: at, Len: 1})
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return errHeld
	}
	return err
}
