package task

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"orrery/runtime/cache"
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
	// Dirty says that a later run, or the restoring of a result, did not come to a good end: the outputs are not those of Key.
	Dirty bool
}

// wireLast is the first line of the file; the lines of the key follow.
type wireLast struct {
	Version int       `json:"version"`
	Key     string    `json:"key"`
	Digest  string    `json:"digest"`
	Made    [][]byte  `json:"made"`
	Cached  bool      `json:"cached"`
	Remote  bool      `json:"remote,omitempty"`
	Why     []string  `json:"why"`
	Note    string    `json:"note"`
	When    time.Time `json:"when"`
}

// file is a file of a task: no name of a node holds a dot.
func (c *Caching) file(name, suffix string) string {
	return filepath.Join(c.Dir, strings.ReplaceAll(name, "/", ".")+suffix)
}

// Last tells what a task last did; a file that cannot be read is none.
func (c *Caching) Last(name string) LastRun {
	var l LastRun
	if c.Dir == "" {
		return l
	}
	_, err := os.Lstat(c.file(name, ".dirty"))
	l.Dirty = !errors.Is(err, fs.ErrNotExist)
	text, err := os.ReadFile(c.file(name, ".last"))
	if err != nil {
		return l
	}
	head, rest, _ := bytes.Cut(text, []byte("\n"))
	var w wireLast
	lines := strings.Split(strings.TrimSuffix(string(rest), "\n"), "\n")
	if json.Unmarshal(head, &w) != nil || w.Version != 1 || w.Key != hashText(strings.Join(lines, "\n")+"\n") {
		return l
	}
	l.Key, l.Lines, l.Digest, l.Cached, l.Remote, l.Why, l.Note, l.When = w.Key, lines, w.Digest, w.Cached, w.Remote, w.Why, w.Note, w.When
	for _, m := range w.Made {
		l.Made = append(l.Made, string(m))
	}
	return l
}

// dirty notes that the outputs are about to change, and the marker of the processes that do it.
func (g *caching) dirty(marker string) {
	if g.Dir != "" {
		_ = os.WriteFile(g.file(g.job.Name, ".dirty"), []byte(marker), 0o600)
	}
}

// endFormer ends what a process of ours that was killed left running: it would write into the outputs of the run to come.
func (g *caching) endFormer(ctx context.Context) {
	marker, err := os.ReadFile(g.file(g.job.Name, ".dirty"))
	if err != nil || len(marker) == 0 || runtime.GOOS != "linux" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, killTime)
	defer cancel()
	if n, err := proc.Sweep(ctx, string(marker)); n > 0 {
		g.note("ended %d processes of an earlier run that was killed", n)
	} else if err != nil {
		g.note("cannot look for processes of an earlier run: %v", err)
	}
}

// save notes a success.
func (g *caching) save(made []cache.Entry, note string) {
	if g.Dir == "" {
		return
	}
	w := wireLast{1, g.known.key, g.r.Digest, nil, g.r.Cached, g.pulled, nil, note, time.Now().UTC()}
	for _, e := range made {
		w.Made = append(w.Made, []byte(e.Path))
	}
	for _, c := range g.r.Why {
		if len(w.Why) == 100 {
			w.Why = append(w.Why, "and more")
			break
		}
		w.Why = append(w.Why, c.String())
	}
	text, err := json.Marshal(w)
	if err == nil {
		text = append(append(text, '\n'), strings.Join(g.known.lines, "\n")+"\n"...)
		err = replace(g.file(g.job.Name, ".last"), text)
	}
	if err == nil {
		err = os.Remove(g.file(g.job.Name, ".dirty"))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		g.note("cannot note what the task did: %v", err)
	}
}
