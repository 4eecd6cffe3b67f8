package task

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	// Dirty says that a later run, or the restoring of a result, did not come to a good end: the outputs are not those of Key. Began is
	// when that was, Failed the reason ("exit 2"; empty: it was killed, or goes on), and Since what had changed by then since the last success.
	Dirty  bool
	Began  time.Time
	Failed string
	Since  []string
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

// wireDirty is the second line of the file that says that the outputs are not known; the first is the marker of the processes.
type wireDirty struct {
	Began  time.Time `json:"began"`
	Failed string    `json:"failed,omitempty"`
	Since  []string  `json:"since,omitempty"`
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
	text, err := os.ReadFile(c.file(name, ".dirty"))
	if l.Dirty = !errors.Is(err, fs.ErrNotExist); l.Dirty {
		var d wireDirty
		if _, rest, ok := bytes.Cut(text, []byte("\n")); ok && json.Unmarshal(rest, &d) == nil {
			l.Began, l.Failed, l.Since = d.Began, d.Failed, d.Since
		}
	}
	text, err = os.ReadFile(c.file(name, ".last"))
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

// dirty notes that the outputs are about to change, or how that failed, and the marker of the processes that do it. The note is there
// in one piece or not at all, as the marker in it is what an orphan is found by.
func (g *caching) dirty(marker, failed string) {
	if g.Dir == "" {
		return
	}
	if text, err := json.Marshal(wireDirty{g.r.Started.UTC(), failed, g.since(nil)}); err == nil {
		_ = replace(g.file(g.job.Name, ".dirty"), append([]byte(marker+"\n"), text...)) // a checkout that cannot be written is told by save
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
	text, err := os.ReadFile(g.file(g.job.Name, ".dirty"))
	marker, _, _ := bytes.Cut(text, []byte("\n"))
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

// save notes a success; repaired are the outputs that had to be.
func (g *caching) save(made []cache.Entry, note string, repaired []string) {
	if g.Dir == "" {
		return
	}
	w := wireLast{1, g.known.key, g.r.Digest, nil, g.r.Cached, g.pulled, g.since(repaired), note, time.Now().UTC()}
	for _, e := range made {
		w.Made = append(w.Made, []byte(e.Path))
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
