package task

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"orrery/runtime/cache"
)

// grain is how coarse the times of a file may be: what was changed less than this before it was read may have been changed once more
// without a trace. A file system that counts whole seconds gets coarseGrain.
const (
	grain       = 50 * time.Millisecond
	coarseGrain = 2100 * time.Millisecond
)

// FileHashes remembers the hashes of files by their state (device, inode, size, times), so that a file is read only when it has
// changed; a file as young as the grain of the clock is not remembered. The zero value works and is never saved. It may be used by
// many goroutines, and its file by many processes; a file that is torn is an empty one. On systems where the state of a file cannot be
// told for sure nothing is remembered.
type FileHashes struct {
	// Path is where it is kept, such as .orrery/memo; empty: nowhere.
	Path string

	mu     sync.Mutex
	loaded bool
	known  map[inode]hashed
	dirty  bool
}

type inode struct{ dev, ino uint64 }

// hashed is one file: its state, its hash, and the day of the last use.
type hashed struct {
	size, mtime, ctime int64
	sum                [sha256.Size]byte
	day                uint32
}

// forget is after how many days without use a file is forgotten; a use is noted when it is older than noted.
const forget, noted = 30, 7

func today() uint32 { return uint32(time.Now().Unix() / 86400) }

// file gives the hash of a regular file whose state is known.
func (h *FileHashes) file(path string, fi fs.FileInfo) (string, error) {
	if sum, ok := h.get(identOf(fi)); ok {
		return sum, nil
	}
	for range 3 {
		sum, same, err := h.read(path)
		if err != nil {
			return "", err
		}
		if same {
			return sum, nil
		}
	}
	return "", errors.New("it changes while it is read")
}

// read hashes a file; same is false if it changed meanwhile.
func (h *FileHashes) read(path string) (text string, same bool, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return "", false, err
	}
	if !before.Mode().IsRegular() {
		return "", false, errors.New("it is no regular file any more")
	}
	now := time.Now()
	d := sha256.New()
	if _, err := io.Copy(d, f); err != nil {
		return "", false, err
	}
	after, err := f.Stat()
	if err != nil {
		return "", false, err
	}
	id := identOf(before)
	if id != identOf(after) {
		return "", false, nil
	}
	var e hashed
	d.Sum(e.sum[:0])
	if id.sure && settled(id, now) {
		h.put(id, e.sum)
	}
	return hex.EncodeToString(e.sum[:]), true, nil
}

// settled tells whether any change after now shows in the times of the file.
func settled(id ident, now time.Time) bool {
	g := grain
	if id.ctime%int64(time.Second) == 0 {
		g = coarseGrain
	}
	return now.UnixNano()-id.ctime > int64(g)
}

func (h *FileHashes) get(id ident) (string, bool) {
	if !id.sure {
		return "", false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.load()
	e, ok := h.known[inode{id.dev, id.ino}]
	if !ok || e.size != id.size || e.mtime != id.mtime || e.ctime != id.ctime {
		return "", false
	}
	if day := today(); day > e.day+noted {
		e.day, h.dirty = day, true
		h.known[inode{id.dev, id.ino}] = e
	}
	return hex.EncodeToString(e.sum[:]), true
}

func (h *FileHashes) put(id ident, sum [sha256.Size]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.load()
	h.known[inode{id.dev, id.ino}] = hashed{id.size, id.mtime, id.ctime, sum, today()}
	h.dirty = true
}

func (h *FileHashes) load() {
	if h.loaded {
		return
	}
	h.loaded, h.known = true, map[inode]hashed{}
	if h.Path == "" {
		return
	}
	if text, err := os.ReadFile(h.Path); err == nil {
		h.known = decodeHashes(text)
	}
}

const hashesMagic = "orrery-hashes 1\n"

// entrySize is five numbers of 8 bytes, a hash and a day.
const entrySize = 5*8 + sha256.Size + 4

// decodeHashes reads a file; of one that is torn or of another version nothing.
func decodeHashes(text []byte) map[inode]hashed {
	body := len(text) - sha256.Size
	if body < len(hashesMagic) || !bytes.HasPrefix(text, []byte(hashesMagic)) || (body-len(hashesMagic))%entrySize != 0 {
		return map[inode]hashed{}
	}
	if sum := sha256.Sum256(text[:body]); !bytes.Equal(sum[:], text[body:]) {
		return map[inode]hashed{}
	}
	m := make(map[inode]hashed, (body-len(hashesMagic))/entrySize)
	u := binary.LittleEndian.Uint64
	for b := text[len(hashesMagic):body]; len(b) > 0; b = b[entrySize:] {
		e := hashed{size: int64(u(b[16:])), mtime: int64(u(b[24:])), ctime: int64(u(b[32:])), day: binary.LittleEndian.Uint32(b[72:])}
		copy(e.sum[:], b[40:72])
		m[inode{u(b), u(b[8:])}] = e
	}
	return m
}

func encodeHashes(m map[inode]hashed) []byte {
	text := make([]byte, 0, len(hashesMagic)+len(m)*entrySize+sha256.Size)
	text = append(text, hashesMagic...)
	for i, e := range m {
		for _, n := range []uint64{i.dev, i.ino, uint64(e.size), uint64(e.mtime), uint64(e.ctime)} {
			text = binary.LittleEndian.AppendUint64(text, n)
		}
		text = append(text, e.sum[:]...)
		text = binary.LittleEndian.AppendUint32(text, e.day)
	}
	sum := sha256.Sum256(text)
	return append(text, sum[:]...)
}

// Save writes what is new, together with what other processes have written meanwhile. It does nothing if nothing is new.
func (h *FileHashes) Save(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.dirty || h.Path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(h.Path), 0o700); err != nil {
		return fmt.Errorf("cannot keep the hashes of files: %w", err)
	}
	unlock, err := cache.LockFile(ctx, h.Path+".lock")
	if err != nil {
		return fmt.Errorf("cannot keep the hashes of files: %w", err)
	}
	defer unlock()
	if text, err := os.ReadFile(h.Path); err == nil {
		for i, e := range decodeHashes(text) {
			if _, ok := h.known[i]; !ok {
				h.known[i] = e
			}
		}
	}
	for i, e := range h.known {
		if today() > e.day+forget {
			delete(h.known, i)
		}
	}
	if err := replace(h.Path, encodeHashes(h.known)); err != nil {
		return fmt.Errorf("cannot keep the hashes of files: %w", err)
	}
	h.dirty = false
	return nil
}
