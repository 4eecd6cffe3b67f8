package watch

import (
	"crypto/sha256"
	"io"
	"io/fs"
	"os"
	"time"
)

const (
	hashMax       = 64 << 20  // larger files are known by size and time
	hashEarlyMax  = 4 << 20   // largest file that is hashed before it changed
	hashEarlyAll  = 256 << 20 // and all of them, at one look
	hashAtOnceAll = 4 << 20   // how much of that before the look is over
	hashAtOnceNum = 256

	// grain is how long after a write another one may leave the same time
	// behind: the kernel's tick, with room. Times in whole seconds come from file
	// systems that keep no finer ones.
	grain       = 50 * time.Millisecond
	grainCoarse = 2 * time.Second
)

// meta is what stat says of a file.
type meta struct {
	ino          inode
	size         int64
	mtime, ctime int64 // nanoseconds
	exec         bool
}

func metaOf(path string, fi fs.FileInfo) meta {
	return meta{
		ino: inodeOf(path, fi), size: fi.Size(), mtime: fi.ModTime().UnixNano(), ctime: changeTime(fi),
		exec: fi.Mode()&0o111 != 0,
	}
}

// version is a file as it was at one look. The loop owns all of them; only a
// hash is ever added to one.
type version struct {
	meta
	young  bool // written so shortly before the look that meta may not tell the next write
	queued bool // for the background
	hashed bool
	sum    [sha256.Size]byte
}

// young tells whether a later write could leave the same meta.
func young(m meta, now time.Time) bool {
	g := grain
	if m.ctime%int64(time.Second) == 0 {
		g = grainCoarse
	}
	return now.UnixNano()-m.ctime < int64(g)
}

// differs is the decision whether content, existence or the executable bit
// changed. Where a hash is missing, a new time, size or inode is a change.
func differs(old, now *version) bool {
	switch {
	case old == now:
		return false
	case old == nil || now == nil:
		return true
	case old.exec != now.exec, old.size != now.size:
		return true
	case old.hashed && now.hashed:
		return old.sum != now.sum
	}
	return old.mtime != now.mtime || old.ino != now.ino
}

// digest hashes a file, and returns what it was when it began.
func digest(path string) (meta, [sha256.Size]byte, bool) {
	var sum [sha256.Size]byte
	fi, err := os.Stat(path)
	if err != nil || !fi.Mode().IsRegular() { // opening a pipe would wait
		return meta{}, sum, false
	}
	f, err := os.Open(path)
	if err != nil {
		return meta{}, sum, false
	}
	defer f.Close()
	if fi, err = f.Stat(); err != nil || !fi.Mode().IsRegular() || fi.Size() > hashMax {
		return meta{}, sum, false
	}
	m := metaOf(path, fi)
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, hashMax+1)); err != nil {
		return meta{}, sum, false
	}
	if fi, err = f.Stat(); err != nil || metaOf(path, fi) != m {
		return meta{}, sum, false // it is being written; an event follows
	}
	h.Sum(sum[:0])
	return m, sum, true
}

// contents knows the latest version of every file that anybody watches, so that
// many subscriptions hash it once.
type contents struct {
	known map[string]*version
	jobs  []job // to hash in the background
	left  budget
}

// budget is what may still be hashed early at one look at the tree.
type budget struct {
	all, atOnce int64
	files       int
}

// job is a file to hash in the background, if it still is as it was.
type job struct {
	path string
	meta meta
	sum  [sha256.Size]byte
	ok   bool
}

func newContents() *contents { return &contents{known: map[string]*version{}} }

// begin grants what one look may hash before it is needed: at once and later.
func (c *contents) begin() {
	c.left = budget{all: hashEarlyAll, atOnce: hashAtOnceAll, files: hashAtOnceNum}
}

// look returns the version of a file as it is now, nil if it is no file. Against
// old it is hashed if only that can tell them apart.
func (c *contents) look(path string, old *version) *version {
	fi, err := os.Stat(path)
	if err != nil || !fi.Mode().IsRegular() {
		delete(c.known, path)
		return nil
	}
	m, now := metaOf(path, fi), time.Now()
	v := c.known[path]
	if v == nil || v.meta != m || v.young {
		was := v
		v = &version{meta: m, young: young(m, now)}
		c.known[path] = v
		if was != nil && was.meta == m && was.hashed && c.hash(path, v) && v.sum == was.sum {
			was.young = v.young
			c.known[path] = was
			return was
		}
	}
	if v.hashed || m.size > hashMax {
		return v
	}
	if v.young && m.size <= hashEarlyMax || old != nil && old != v && old.hashed && old.size == m.size && old.exec == m.exec {
		c.hash(path, v)
		return v
	}
	c.early(path, v)
	return v
}

func (c *contents) hash(path string, v *version) bool {
	if v.hashed {
		return true
	}
	m, sum, ok := digest(path)
	if !ok || m != v.meta { // changed since the look: an event follows
		return false
	}
	v.sum, v.hashed = sum, true
	return true
}

// early hashes a file that may be asked about later, as the budget allows.
func (c *contents) early(path string, v *version) {
	if v.queued || v.size > hashEarlyMax || v.size > c.left.all {
		return
	}
	c.left.all -= v.size
	if c.left.files > 0 && v.size <= c.left.atOnce {
		c.left.files--
		c.left.atOnce -= v.size
		c.hash(path, v)
		return
	}
	v.queued = true
	c.jobs = append(c.jobs, job{path: path, meta: v.meta})
}

// learn takes the results of the background.
func (c *contents) learn(done []job) {
	for _, j := range done {
		if v := c.known[j.path]; v != nil && j.ok && !v.hashed && v.meta == j.meta {
			v.sum, v.hashed = j.sum, true
		}
	}
}

// hasher hashes batches until in is closed or stop is.
func hasher(in <-chan []job, out chan<- []job, stop <-chan struct{}) {
	for batch := range in {
		for i := range batch {
			select {
			case <-stop:
				return
			default:
			}
			m, sum, ok := digest(batch[i].path)
			batch[i].sum, batch[i].ok = sum, ok && m == batch[i].meta
		}
		select {
		case out <- batch:
		case <-stop:
			return
		}
	}
}
