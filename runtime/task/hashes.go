package task

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"orrery/runtime/cache"
	"orrery/runtime/files"
	"orrery/runtime/fresh"
)

// FileHashes remembers the hashes of files by their state (device, inode, size, times), so that a file is read only when it has
// changed; a file that was changed in the tick of the clock in which it was read is not remembered. The zero value works and is never saved. It may be used by
// many goroutines, and its file by many processes; a file that is torn is an empty one. On systems where the state of a file cannot be
// told for sure nothing is remembered.
type FileHashes struct {
	// Path is where it is kept, such as .orrery/memo; empty: nowhere.
	Path string

	mu     sync.Mutex
	loaded bool
	asked  bool  // spare holds
	spare  int64 // how many bytes may be read before it pays to read the file of hashes
	known  map[inode]hashed
	fresh  map[inode]hashed  // what the file does not hold
	size   int               // of the file when it was read, in bytes
	places map[string]string // see place
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
	f, err := files.Open(path)
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
	now := fresh.Clock()
	d := sha256.New()
	if _, err := files.Copy(d, f); err != nil {
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
	if id.sure && !fresh.Young(id.ctime, now) {
		h.put(id, e.sum)
	}
	return hex.EncodeToString(e.sum[:]), true, nil
}

func (h *FileHashes) get(id ident) (string, bool) {
	if !id.sure {
		return "", false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.spares(id.size) {
		h.load()
	}
	e, ok := h.known[inode{id.dev, id.ino}]
	if !ok || e.size != id.size || e.mtime != id.mtime || e.ctime != id.ctime {
		return "", false
	}
	if day := today(); day > e.day+noted {
		e.day = day
		h.note(inode{id.dev, id.ino}, e)
	}
	return hex.EncodeToString(e.sum[:]), true
}

func (h *FileHashes) put(id ident, sum [sha256.Size]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note(inode{id.dev, id.ino}, hashed{id.size, id.mtime, id.ctime, sum, today()})
}

// readCost is what a file costs that is read, beside its size: in bytes that could be read meanwhile.
const readCost = 8 << 10

// spares tells whether to read a file of that size rather than the hashes of all files. A run of a few tasks in a large project does not need them.
func (h *FileHashes) spares(size int64) bool {
	if h.loaded {
		return false
	}
	if !h.asked && h.Path != "" {
		if fi, err := files.Stat(h.Path); err == nil {
			h.spare = fi.Size()
		}
	}
	h.asked = true
	h.spare -= size + readCost
	return h.spare >= 0
}

// place is where a folder really lies, found out once.
func (h *FileHashes) place(dir string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	real, ok := h.places[dir]
	if !ok {
		var err error
		if real, err = filepath.EvalSymlinks(dir); err != nil {
			return dir
		}
		if h.places == nil {
			h.places = map[string]string{}
		}
		h.places[dir] = real
	}
	return real
}

func (h *FileHashes) note(i inode, e hashed) {
	if h.known == nil {
		h.known = map[inode]hashed{}
	}
	h.known[i] = e
	if h.fresh == nil {
		h.fresh = map[inode]hashed{}
	}
	h.fresh[i] = e
}

func (h *FileHashes) load() {
	if h.loaded {
		return
	}
	h.loaded = true
	if h.Path != "" {
		if text, err := os.ReadFile(h.Path); err == nil {
			var good int
			if h.known, good = decodeHashes(text); good == len(text) {
				h.size = good
			}
		}
	}
	if h.known == nil {
		h.known = map[inode]hashed{}
	}
	maps.Copy(h.known, h.fresh)
}

// The file is a line and blocks: the number of entries, the entries, and a hash of both. Whoever has something new appends a block.
const hashesMagic = "orrery-hashes 2\n"

// entrySize is five numbers of 8 bytes, a hash and a day.
const entrySize = 5*8 + sha256.Size + 4

// compactFrom is from how many bytes of the file on its blocks are made one when it has doubled.
const compactFrom = 1 << 20

// decodeHashes reads a file up to where it is torn, and says where that is; of a file of another version it reads nothing.
func decodeHashes(text []byte) (m map[inode]hashed, good int) {
	if !bytes.HasPrefix(text, []byte(hashesMagic)) {
		return map[inode]hashed{}, 0
	}
	m = make(map[inode]hashed, len(text)/entrySize)
	u := binary.LittleEndian.Uint64
	good = len(hashesMagic)
	for {
		b := text[good:]
		if len(b) < 4+sha256.Size {
			return m, good
		}
		n := int64(binary.LittleEndian.Uint32(b))
		end := 4 + n*entrySize
		if int64(len(b)) < end+sha256.Size {
			return m, good
		}
		if sum := sha256.Sum256(b[:end]); !bytes.Equal(sum[:], b[end:end+sha256.Size]) {
			return m, good
		}
		good += int(end) + sha256.Size
		for b = b[4:end]; len(b) > 0; b = b[entrySize:] {
			e := hashed{size: int64(u(b[16:])), mtime: int64(u(b[24:])), ctime: int64(u(b[32:])), day: binary.LittleEndian.Uint32(b[72:])}
			copy(e.sum[:], b[40:72])
			m[inode{u(b), u(b[8:])}] = e
		}
	}
}

// encodeHashes is one block.
func encodeHashes(m map[inode]hashed) []byte {
	text := make([]byte, 0, 4+len(m)*entrySize+sha256.Size)
	text = binary.LittleEndian.AppendUint32(text, uint32(len(m)))
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

// Save adds what is new to the file, to which other processes may have added meanwhile. It does nothing if nothing is new.
func (h *FileHashes) Save(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.fresh) == 0 || h.Path == "" {
		return nil
	}
	if !h.loaded && h.asked && h.spare >= 0 { // the few that were read are read as quickly once more
		return nil
	}
	h.load()
	if err := os.MkdirAll(filepath.Dir(h.Path), 0o700); err != nil {
		return fmt.Errorf("cannot keep the hashes of files: %w", err)
	}
	unlock, err := cache.LockFile(ctx, h.Path+".lock")
	if err != nil {
		return fmt.Errorf("cannot keep the hashes of files: %w", err)
	}
	defer unlock()
	if err := h.save(); err != nil {
		return fmt.Errorf("cannot keep the hashes of files: %w", err)
	}
	h.fresh = nil
	return nil
}

// save appends a block. A file that is torn, or of which much has been replaced since, is written anew.
func (h *FileHashes) save() error {
	block := encodeHashes(h.fresh)
	fi, err := os.Stat(h.Path)
	if err == nil && h.size > 0 && fi.Size() >= int64(h.size) && fi.Size()+int64(len(block)) < max(compactFrom, 2*int64(len(h.known))*entrySize) {
		f, err := os.OpenFile(h.Path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		_, err = f.Write(block)
		return errors.Join(err, f.Close())
	}
	if text, err := os.ReadFile(h.Path); err == nil {
		now, _ := decodeHashes(text)
		for i, e := range now {
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
	text := append([]byte(hashesMagic), encodeHashes(h.known)...)
	h.size = len(text)
	return replace(h.Path, text)
}
