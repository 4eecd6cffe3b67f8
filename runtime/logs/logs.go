// Package logs keeps what services print: byte for byte, with the time at which it came, and finds it again.
//
// Each node has a directory with one data file a stream (stdout.log, stderr.log) that holds exactly the bytes
// the node wrote, and an index beside it (stdout.log.idx) of 32-byte records (offset, time). Bytes go from
// the pipe into the file by splice(2) at the offset "size of the file": the kernel takes them out of the pipe in
// the same call that writes them, so a pump that is killed at any instant loses, repeats and mangles nothing,
// and the next one goes on at the file's size. Lines, colours and search are the reader's business.
//
// What it promises: a service never waits for a reader; on a full disk it waits for less than a second, then
// bytes are dropped and a mark says how many; files rotate by size, and readers follow over a rotation;
// a torn, stale or missing index costs times and marks, never bytes.
// What it leaves to others: who holds the pipes while the pump is away (else the service gets SIGPIPE),
// power loss (nothing is synced), colours and layout of the screen.
//
// Platforms other than Linux use read and write instead of splice: a kill between the two loses a chunk.
package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// The names of the two streams, as in Line.Stream and Query.Streams.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// Store is a directory of logs. All methods may be called concurrently, and several processes may read the
// same directory while one captures.
type Store struct {
	dir     string
	disk    disk
	raised  atomic.Int32 // pipes that got a larger buffer: the kernel's quota for a user is small
	waiters atomic.Int32
	mu      sync.Mutex
	wake    chan struct{} // closed and replaced when captured bytes arrive and a follower of this process waits
}

// Open returns the store in dir, which is made (0750) if it does not exist.
func Open(dir string) (*Store, error) {
	abs, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(abs, 0o750)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the logs in %s: %w", dir, err)
	}
	return &Store{dir: abs, wake: make(chan struct{})}, nil
}

// Path returns where the current data file of a node's stream lies, whether it exists or not. Rotated files have .1
// (the youngest), .2 ... appended.
func (s *Store) Path(node, stream string) string {
	return filepath.Join(s.dir, escape(node), stream+".log")
}

// Nodes lists the nodes that have logs, sorted.
func (s *Store) Nodes() ([]string, error) {
	ents, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot list the logs in %s: %w", s.dir, err)
	}
	var names []string
	for _, e := range ents {
		if n, ok := unescape(e.Name()); ok && e.IsDir() {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	return names, nil
}

// notify wakes the followers of this process.
func (s *Store) notify() {
	if s.waiters.Load() == 0 {
		return
	}
	s.mu.Lock()
	close(s.wake)
	s.wake = make(chan struct{})
	s.mu.Unlock()
}

func (s *Store) waitChan() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wake
}

// escape makes a file name of a node's name. Names hold [a-z0-9_-] and '/': the slash becomes a dot, and anything
// else is written as %XX, so that any name can be read back.
func escape(node string) string {
	var b strings.Builder
	for i := 0; i < len(node); i++ {
		c := node[i]
		switch {
		case c == '/':
			b.WriteByte('.')
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	s := b.String()
	if strings.HasPrefix(s, ".") { // never hidden, never "." or ".."
		s = "%2F" + s[1:]
	}
	return s
}

func unescape(name string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '.':
			b.WriteByte('/')
		case c == '%' && i+2 < len(name):
			v, err := strconv.ParseUint(name[i+1:i+3], 16, 8)
			if err != nil {
				return "", false
			}
			b.WriteByte(byte(v))
			i += 2
		default:
			b.WriteByte(c)
		}
	}
	s := b.String()
	return s, s != "" && escape(s) == name
}
