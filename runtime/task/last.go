package task

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"orrery/runtime/cache"
	"orrery/runtime/files"
	"orrery/runtime/proc"
)

// LastRun is what a task last did in a checkout.
type LastRun struct {
	// Key and Lines are those of the last success; empty if there is none.
	Key   string
	Lines []string
	// Digest is the hash of what it made; Made are the files, relative to the root.
	Digest string
	Made   []string
	// Cached says that the result was restored; Why what had changed since the success before, and Note why the result was not kept, or
	// only for this checkout.
	Cached bool
	Why    []string
	Note   string
	// Remote says of a restored one that it came from others.
	Remote bool
	// When it was.
	When time.Time
	// Dirty says that a later run, or the restoring of a result, did not come to a good end: the outputs are not those of Key. Began is
	// when that was, Failed the reason ("exit 2"; empty: it was killed, or goes on), and Since what had changed by then since the last success.
	Dirty  bool
	Began  time.Time
	Failed string
	Since  []string

	marker string // of processes that a run that was killed may have left
	ends   ends   // in the file
}

// ends is where in a file the note of a success ends, and where all of it, in bytes.
type ends struct{ good, all int64 }

// What a task last did is one file. It begins with the last success: a line that is a wireLast, and the lines of the key. If a later run did
// not come to a good end, a line follows that is a wireDirty. It is written in place, by whoever holds the task, each time in one piece: what is torn
// is nothing to rely on, and says so.

// wireLast is the first line.
type wireLast struct {
	Version int       `json:"version"`
	Key     string    `json:"key"`
	Size    int       `json:"size"` // of the lines of the key, in bytes
	Digest  string    `json:"digest"`
	Made    [][]byte  `json:"made"`
	Cached  bool      `json:"cached"`
	Remote  bool      `json:"remote,omitempty"`
	Why     []string  `json:"why"`
	Note    string    `json:"note"`
	When    time.Time `json:"when"`
}

const lastVersion = 2

// wireDirty is the last line: that the outputs are not known.
type wireDirty struct {
	Marker string    `json:"marker"` // of the processes that write them
	Began  time.Time `json:"began"`
	Failed string    `json:"failed,omitempty"`
	Since  []string  `json:"since,omitempty"`
}

// dirtyMark begins the last line.
const dirtyMark = "dirty "

// file is the file of a task: no name of a node holds a dot.
func (c *Caching) file(name string) string {
	return filepath.Join(c.Dir, strings.ReplaceAll(name, "/", ".")+".last")
}

// Last tells what a task last did; a file that cannot be read is none.
func (c *Caching) Last(name string) LastRun {
	if c.Dir == "" {
		return LastRun{}
	}
	text, err := files.Read(c.file(name))
	if err != nil {
		l := LastRun{}
		if !missing(err) {
			l.ends.all = math.MaxInt64 // whatever is in it goes
		}
		return l
	}
	return parseLast(text)
}

func parseLast(text []byte) (l LastRun) {
	rest := text
	if !bytes.HasPrefix(text, []byte(dirtyMark)) {
		head, after, _ := bytes.Cut(text, []byte("\n"))
		var w wireLast
		if json.Unmarshal(head, &w) != nil || w.Version != lastVersion || w.Size > len(after) || w.Key != hashText(string(after[:w.Size])) {
			return LastRun{Dirty: true, ends: ends{all: int64(len(text))}}
		}
		rest = after[w.Size:]
		l.Key, l.Digest, l.Cached, l.Remote, l.Why, l.Note, l.When = w.Key, w.Digest, w.Cached, w.Remote, w.Why, w.Note, w.When
		l.Lines = strings.Split(strings.TrimSuffix(string(after[:w.Size]), "\n"), "\n")
		for _, m := range w.Made {
			l.Made = append(l.Made, string(m))
		}
	}
	l.ends = ends{int64(len(text) - len(rest)), int64(len(text))}
	if bad, ok := bytes.CutPrefix(rest, []byte(dirtyMark)); ok {
		l.Dirty = true
		bad, _, _ = bytes.Cut(bad, []byte("\n"))
		var d wireDirty
		if json.Unmarshal(bad, &d) == nil {
			l.Began, l.Failed, l.Since, l.marker = d.Began, d.Failed, d.Since, d.Marker
		}
	}
	return l
}

// notebook is the file of a task while it runs.
type notebook struct {
	file *files.File // nil: not open
	size int64       // in bytes
}

func (b *notebook) close() {
	if b.file != nil {
		b.file.Close()
		b.file = nil
	}
}

// write puts text at a place of the file, and ends the file there.
func (g *caching) write(text []byte, at int64) error {
	b := &g.book
	if b.file == nil {
		f, err := files.Create(g.file(g.job.Name), os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		b.file = f
	}
	if _, err := b.file.WriteAt(text, at); err != nil {
		return err
	}
	end := at + int64(len(text))
	if end < b.size {
		if err := b.file.Truncate(end); err != nil {
			return err
		}
	}
	b.size = end
	return nil
}

// dirty notes that the outputs are about to change, or how that failed, and the marker of the processes that do it.
func (g *caching) dirty(marker, failed string) {
	if g.Dir == "" {
		return
	}
	if text, err := json.Marshal(wireDirty{marker, g.r.Started.UTC(), failed, g.since(nil)}); err == nil {
		_ = g.write(append(append([]byte(dirtyMark), text...), '\n'), g.last.ends.good) // a checkout that cannot be written is told by save
	}
}

// mostReasons bounds a list of reasons.
const mostReasons = 100

// since says what made the task run, or its result be restored. repaired are the outputs that were not what the last success made.
func (g *caching) since(repaired []string) []string {
	var all []string
	for _, c := range g.r.Why {
		all = append(all, c.String())
	}
	if g.known != nil && g.last.Key == g.known.key {
		all = append(all, repaired...)
	}
	if len(all) > mostReasons {
		return append(all[:mostReasons:mostReasons], fmt.Sprintf("and %d more", len(all)-mostReasons))
	}
	switch {
	case len(all) > 0:
	case g.last.Key == "" && !g.last.Dirty:
		all = []string{"it is the first run here"}
	case g.last.Dirty:
		all = []string{"the run before did not come to a good end"}
	case g.Verify:
		all = []string{"--verify was given"}
	case g.Force:
		all = []string{"--force was given"}
	default:
		all = []string{"the cache did not hold the result"}
	}
	return all
}

// endFormer ends what a process of ours that was killed left running: it would write into the outputs of the run to come.
func (g *caching) endFormer(ctx context.Context) {
	marker := g.last.marker
	if marker == "" || runtime.GOOS != "linux" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, killTime)
	defer cancel()
	if n, err := proc.Sweep(ctx, marker); n > 0 {
		g.note("ended %d processes of an earlier run that was killed", n)
	} else if err != nil {
		g.note("cannot look for processes of an earlier run: %v", err)
	}
}

// save notes a success; repaired are the outputs that had to be.
func (g *caching) save(made []cache.Entry, note string, repaired []string) {
	if g.Dir == "" {
		return
	}
	lines := strings.Join(g.known.lines, "\n") + "\n"
	w := wireLast{
		Version: lastVersion, Key: g.known.key, Size: len(lines), Digest: g.r.Digest, Cached: g.r.Cached, Remote: g.pulled,
		Why: g.since(repaired), Note: note, When: time.Now().UTC(),
	}
	for _, e := range made {
		w.Made = append(w.Made, []byte(e.Path))
	}
	text, err := json.Marshal(w)
	if err == nil {
		err = g.write(append(append(text, '\n'), lines...), 0)
	}
	if err != nil {
		g.note("cannot note what the task did: %v", err)
	}
}
