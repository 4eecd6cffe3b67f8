// Package cache keeps results: a key leads to a [Record], and that names blobs by the hash of their content. What a key means
// is its user's matter.
//
// Promised: what Get, Fetch and Open give is what was put, or [ErrMiss]. A record carries its own hash; a blob is hashed when it is first
// read after boot, and what is torn, cut, emptied or altered is removed and reported by [*CorruptError], which is a miss. Many
// processes and checkouts may use one directory at once, and any of them may be killed at any instant: everything is written beside
// and renamed. Nothing is synced: after a power loss what is torn is found by its hash. A directory that others may
// write, or that belongs to another user, is refused: who can write the cache can decide what our programs are.
//
// An [*UnavailableError] (no space, read-only, no permission) never says anything about a result, only that it is not kept.
package cache

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"orrery/runtime/files"
)

// ErrMiss says that a key or a blob is not there, or not any more. Test with errors.Is.
var ErrMiss = errors.New("not in the cache")

// CorruptError is a miss because what was there was not what was put. It has been removed.
type CorruptError struct {
	// Name is the file, relative to the cache; Reason what is wrong with it.
	Name, Reason string
}

// Error names the file.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("the cache held a bad %s (%s); it was removed", e.Name, e.Reason)
}

// Is makes it a miss.
func (e *CorruptError) Is(target error) bool { return target == ErrMiss }

// UnavailableError says that the cache cannot be used, or cannot be written: go on without it, and tell.
type UnavailableError struct {
	// Op is what was tried: "open", "keep"; Err the cause.
	Op  string
	Err error
}

// Error says what could not be done.
func (e *UnavailableError) Error() string { return fmt.Sprintf("cannot %s the cache: %v", e.Op, e.Err) }

// Unwrap gives the cause, such as syscall.ENOSPC.
func (e *UnavailableError) Unwrap() error { return e.Err }

// Options say how a Store behaves. The zero value is for use.
type Options struct {
	// Grace is how long whatever was used or written is safe from Trim; 0: 10 minutes.
	Grace time.Duration
	// Now is the clock that ages are counted by; nil: time.Now.
	Now func() time.Time
	// Progress is told how far Verify and Trim are, of how many steps; nil: nobody wants to know.
	Progress func(done, total int)

	fault func(op string) error // tests: called before every file operation
}

// Store is a cache in a directory. Its methods may be called from any goroutine.
type Store struct {
	disk     disk
	grace    time.Duration
	now      func() time.Time
	verified verified
	progress func(done, total int)
	locks    *Locks      // of keys
	plain    atomic.Bool // the file system cannot share blocks
}

// version names the layout; another one lies beside it.
const version = "v1"

// The folders of a cache. Records and blobs lie in 256 folders each, by the first two digits.
const (
	recordsDir = "records"
	blobsDir   = "blobs"
	locksDir   = "locks"
	tmpDir     = "tmp"
)

// Open opens the cache in an absolute directory, and makes it. A *UnavailableError says why it cannot be used.
func Open(dir string, o Options) (*Store, error) {
	s, err := open(dir, o)
	if err != nil {
		return nil, &UnavailableError{"open", err}
	}
	return s, nil
}

func open(dir string, o Options) (*Store, error) {
	if !filepath.IsAbs(dir) {
		return nil, fmt.Errorf("got the directory %q, want an absolute path", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	top, err := files.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer top.Close()
	fi, err := top.Stat(".")
	if err == nil {
		err = trusted(fi, dir)
	}
	if err != nil {
		return nil, err
	}
	if err := ensure(top, version, filepath.Join(dir, version)); err != nil {
		return nil, err
	}
	root, err := top.OpenRoot(version)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{recordsDir, blobsDir, locksDir, tmpDir} {
		if err := ensure(root, name, filepath.Join(dir, version, name)); err != nil {
			root.Close()
			return nil, err
		}
	}
	s := &Store{disk: disk{root: root, dir: filepath.Join(dir, version), fault: o.fault}, grace: o.Grace, now: o.Now, progress: o.Progress}
	s.locks = OpenLocks(filepath.Join(s.disk.dir, keysLock))
	if s.grace <= 0 {
		s.grace = 10 * time.Minute
	}
	if s.now == nil {
		s.now = time.Now
	}
	return s, nil
}

// ensure makes a folder if there is none, and looks that it is ours.
func ensure(root *files.Root, name, full string) error {
	if err := root.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		if _, gone := root.Lstat(name); gone != nil {
			return err
		}
	}
	fi, err := root.Lstat(name)
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fmt.Errorf("%s is no folder", full)
	}
	return trusted(fi, full)
}

// trusted refuses what another user owns or may write.
func trusted(fi fs.FileInfo, name string) error {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d, want %d; name another folder by XDG_CACHE_HOME", name, st.Uid, os.Geteuid())
	}
	if fi.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("others may write %s (mode %04o); chmod go-w it", name, fi.Mode().Perm())
	}
	return nil
}

// Close writes down what was verified and lets go of the directory.
func (s *Store) Close() error {
	s.verified.flush(&s.disk)
	s.locks.Close()
	return s.disk.root.Close()
}

// saltSize is in bytes.
const saltSize = 32

// Salt is a random value of this user's cache, made at first use, that secrets are hashed with.
func (s *Store) Salt() ([]byte, error) {
	for range 3 {
		salt, err := s.disk.readFile("salt")
		if err == nil && len(salt) == saltSize {
			return salt, nil
		}
		if err == nil { // torn: nothing that was hashed with it is worth keeping
			s.disk.remove("salt")
		}
		fresh := make([]byte, saltSize)
		rand.Read(fresh)
		tmp, err := s.disk.writeTmp(fresh, true)
		if err != nil {
			return nil, &UnavailableError{"keep a salt in", err}
		}
		err = s.disk.link(tmp, "salt") // the first one wins
		s.disk.remove(tmp)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, &UnavailableError{"keep a salt in", err}
		}
	}
	return nil, &UnavailableError{"keep a salt in", errors.New("it does not stay")}
}

// shard is the path of a record or blob.
func shard(dir, name string) string { return dir + "/" + name[:2] + "/" + name }

// validName tells whether a key or hash is one: 64 hexadecimal digits.
func validName(name string) bool {
	if len(name) != 2*sha256.Size {
		return false
	}
	for _, c := range []byte(name) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}
