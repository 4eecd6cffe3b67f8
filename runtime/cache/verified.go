package cache

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"

	"orrery/runtime/files"
)

// ident tells one state of a file from every other: its content cannot change without it, short of a write in the same tick of
// the clock.
type ident struct {
	dev, ino                uint64
	size, mtimeNs, changeNs int64
}

// maxVerified bounds the file, in bytes; a larger one is begun anew.
const maxVerified = 16 << 20

// verified remembers which blobs were hashed since boot: in memory, and for other processes in a file that is named after
// the boot. What is written to a disk before a power loss is so never believed after it.
type verified struct {
	mu      sync.Mutex
	loaded  bool
	known   map[ident]string
	pending bytes.Buffer
}

func (v *verified) file() string {
	if id := files.Boot(); id != "" {
		return "verified-" + id
	}
	return ""
}

func (v *verified) add(d *disk, fi fs.FileInfo, hash string) {
	id, ok := identify(fi)
	if !ok {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.known == nil {
		v.known = map[ident]string{}
	}
	v.known[id] = hash
	fmt.Fprintln(&v.pending, hash, int64(id.dev), int64(id.ino), id.size, id.mtimeNs, id.changeNs)
	if v.pending.Len() >= mostPending {
		v.append(d)
	}
}

func (v *verified) has(d *disk, fi fs.FileInfo, hash string) bool {
	id, ok := identify(fi)
	if !ok {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.known[id] == hash {
		return true
	}
	if !v.loaded {
		v.loaded = true
		v.load(d)
	}
	return v.known[id] == hash
}

// load reads the file of this boot. A line that is torn is no line.
func (v *verified) load(d *disk) {
	name := v.file()
	if name == "" {
		return
	}
	text, err := d.readFile(name)
	if err != nil {
		return
	}
	if len(text) > maxVerified {
		d.remove(name)
		return
	}
	if v.known == nil {
		v.known = map[ident]string{}
	}
	for line := range strings.Lines(string(text)) {
		if id, hash, ok := parseVerified(line); ok {
			v.known[id] = hash
		}
	}
}

func parseVerified(line string) (id ident, hash string, ok bool) {
	f := strings.Split(strings.TrimSuffix(line, "\n"), " ")
	if len(f) != 6 || !strings.HasSuffix(line, "\n") || !validName(f[0]) {
		return id, "", false
	}
	var n [5]int64
	for i := range n {
		v, err := strconv.ParseInt(f[i+1], 10, 64)
		if err != nil {
			return id, "", false
		}
		n[i] = v
	}
	return ident{uint64(n[0]), uint64(n[1]), n[2], n[3], n[4]}, f[0], true
}

// mostPending is how much is written at a time, in bytes.
const mostPending = 64 << 10

// flush appends what is new. That it cannot be written only costs time later, as with what a killed process has not written.
func (v *verified) flush(d *disk) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.append(d)
}

func (v *verified) append(d *disk) {
	name := v.file()
	if v.pending.Len() == 0 || name == "" || d.try("append") != nil {
		return
	}
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return
	}
	_, _ = f.Write(v.pending.Bytes())
	v.pending.Reset()
	f.Close()
}
