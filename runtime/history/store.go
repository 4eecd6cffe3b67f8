package history

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The bounds of all records of a checkout: how many are kept, and how large they may be together. The last one stays.
const (
	maxRuns  = 100
	maxBytes = 32 << 20
)

// The endings of the names of records: one that has ended, and that of the engine that runs.
const (
	closed = ".jsonl"
	open   = ".live"
)

// Store is the folder of a checkout's records, such as .orrery/runs. It is made when the first one is written.
type Store struct {
	// Dir is its path.
	Dir string
}

// line is one line of a file; one of the last three is set.
type line struct {
	Version int   `json:"orrery_run,omitempty"`
	Run     *Head `json:"run,omitempty"`
	Node    *Node `json:"node,omitempty"`
	End     *End  `json:"end,omitempty"`
}

func (h *Head) name() {
	if h.Started.IsZero() {
		h.Started = time.Now()
	}
	if h.ID == "" {
		var b [2]byte
		rand.Read(b[:])
		at := h.Started.UTC()
		h.ID = fmt.Sprintf("%s-%03d%s", at.Format("20060102-150405"), at.Nanosecond()/1e6, hex.EncodeToString(b[:]))
	}
	if h.Targets == nil {
		h.Targets = []string{}
	}
}

// Begin makes the recorder of a run that is written when it ends. Nothing is on disk before.
func (s Store) Begin(h Head, shape Shape) *Recorder {
	h.name()
	return newRecorder(s, h, shape)
}

// path is the file of a record.
func (s Store) path(id, ending string) string { return filepath.Join(s.Dir, id+ending) }

// close writes what a recorder has.
func (r *Recorder) close(nodes []*Node, end End, took map[string]time.Duration) error {
	var err error
	if r.out != nil {
		err = r.out.close(end)
	} else {
		err = r.store.write(r.head, nodes, end)
	}
	if err == nil && len(took) > 0 {
		err = r.store.saveDurations(took)
	}
	if err == nil {
		r.store.prune()
	}
	return err
}

// write writes a whole record at once.
func (s Store) write(h Head, nodes []*Node, end End) error {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return fmt.Errorf("cannot keep the record of the run: %w", err)
	}
	err := replace(s.path(h.ID, closed), func(w io.Writer) error {
		enc := encoder(w)
		errs := enc.Encode(line{Version: Version, Run: &h})
		var b []byte
		for _, n := range nodes {
			if b = appendNode(b[:0], n); b == nil {
				errs = errors.Join(errs, enc.Encode(line{Node: n}))
			} else if _, err := w.Write(b); err != nil {
				return err
			}
		}
		return errors.Join(errs, enc.Encode(line{End: &end}))
	})
	if err != nil {
		return fmt.Errorf("cannot keep the record of the run: %w", err)
	}
	return nil
}

func encoder(w io.Writer) *json.Encoder {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc
}

// appendNode is the line of a task that was restored and of which there is nothing to tell, as encoding/json would write
// it: a project may have ten thousand of them, and no more to do. nil: it is not that simple.
func appendNode(b []byte, n *Node) []byte {
	if !n.Cached || n.State != stateSucceeded || n.Nth > 0 || len(n.Gates)+len(n.Why)+n.Tries > 0 || n.Exit != nil || n.Reason+n.Cause+n.Key+n.Waited != "" {
		return nil
	}
	if !plain(n.Name) || !plain(n.Kind) {
		return nil
	}
	b = append(append(append(append(b, `{"node":{"name":"`...), n.Name...), `","kind":"`...), n.Kind...)
	b = append(b, '"')
	for i, need := range n.Needs {
		if !plain(need.On) || !plain(need.Cond) {
			return nil
		}
		if i == 0 {
			b = append(b, `,"needs":[`...)
		} else {
			b = append(b, ',')
		}
		b = append(append(append(append(append(b, `{"on":"`...), need.On...), `","cond":"`...), need.Cond...), `"}`...)
	}
	if len(n.Needs) > 0 {
		b = append(b, ']')
	}
	for _, f := range [...]struct {
		key string
		us  int64
	}{{`,"waiting_us":`, n.Waiting}, {`,"started_us":`, n.Started}, {`,"ready_us":`, n.Ready}, {`,"ended_us":`, n.Ended}} {
		if f.us != 0 {
			b = strconv.AppendInt(append(b, f.key...), f.us, 10)
		}
	}
	return append(b, `,"state":"succeeded","cached":true}}`+"\n"...)
}

// plain tells whether a text is itself in JSON.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// maxOffset is far beyond every run: what a file says beyond it, or below 0, is not true.
const maxOffset = 1 << 50

// bound mends what no recorder writes.
func (n *Node) bound() {
	for _, p := range []*int64{&n.Waiting, &n.Started, &n.Ready, &n.Ended} {
		*p = min(max(*p, 0), maxOffset)
	}
}

// replace writes a file that others see whole or not at all.
func replace(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	b := bufio.NewWriterSize(f, 64<<10)
	err = write(b)
	if err = errors.Join(err, b.Flush(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// record is a file of the folder.
type record struct {
	id   string
	live bool
	size int64
	mod  time.Time
}

// records lists the files, the newest first.
func (s Store) records() ([]record, error) {
	entries, err := os.ReadDir(s.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the records of runs: %w", err)
	}
	var list []record
	for _, e := range entries {
		r := record{live: strings.HasSuffix(e.Name(), open)}
		if id, ok := strings.CutSuffix(e.Name(), closed); ok {
			r.id = id
		} else if r.id = strings.TrimSuffix(e.Name(), open); !r.live {
			continue
		}
		if fi, err := e.Info(); err == nil && fi.Mode().IsRegular() {
			r.size, r.mod = fi.Size(), fi.ModTime()
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b record) int { return cmp.Compare(b.id, a.id) })
	return list, nil
}

// prune removes the oldest records beyond the bounds, and what writers that were killed have left. What cannot be removed
// stays: the next run tries again.
func (s Store) prune() {
	list, err := s.records()
	if err != nil {
		return
	}
	// By their end: that of an engine that ran for long is as young as the runs beside it.
	slices.SortStableFunc(list, func(a, b record) int { return b.mod.Compare(a.mod) })
	total := int64(0)
	for i, r := range list {
		if total += r.size; i > 0 && !r.live && (i >= maxRuns || total > maxBytes) {
			os.Remove(s.path(r.id, closed))
		}
	}
	old, _ := filepath.Glob(filepath.Join(s.Dir, ".tmp-*"))
	for _, f := range old {
		if fi, err := os.Lstat(f); err == nil && time.Since(fi.ModTime()) > time.Hour {
			os.Remove(f)
		}
	}
}

// List tells of all kept runs, the newest first; what cannot be read is left out.
func (s Store) List() ([]Summary, error) {
	list, err := s.records()
	if err != nil {
		return nil, err
	}
	all := []Summary{}
	for _, r := range list {
		if sum, err := s.summary(r); err == nil {
			all = append(all, sum)
		}
	}
	return all, nil
}

// summary reads the first and the last line, and all of it only where there is no end.
func (s Store) summary(r record) (Summary, error) {
	if !r.live {
		f, err := os.Open(s.path(r.id, closed))
		if err != nil {
			return Summary{}, err
		}
		defer f.Close()
		if sum, ok := ends(f, r.size); ok {
			return sum, nil
		}
	}
	run, err := s.Load(r.id)
	if err != nil {
		return Summary{}, err
	}
	return run.Summary(), nil
}

// ends reads a summary from both ends of a file.
func ends(f *os.File, size int64) (Summary, bool) {
	const tail = 4096
	first, err := bufio.NewReader(io.LimitReader(f, 1<<20)).ReadBytes('\n')
	if err != nil {
		return Summary{}, false
	}
	from := max(0, size-tail)
	last := make([]byte, size-from)
	if _, err := f.ReadAt(last, from); err != nil {
		return Summary{}, false
	}
	last = bytes.TrimRight(last, "\n")
	last = last[bytes.LastIndexByte(last, '\n')+1:]
	var head, end line
	if json.Unmarshal(first, &head) != nil || json.Unmarshal(last, &end) != nil ||
		head.Version != Version || head.Run == nil || end.End == nil {
		return Summary{}, false
	}
	return Summary{*head.Run, *end.End}, true
}

// NoRun is the error for a name that is no run's.
type NoRun struct {
	// Name is what was asked for; Many says that it is part of the names of several.
	Name string
	Many bool
}

// Error says so.
func (e *NoRun) Error() string {
	switch {
	case e.Many:
		return fmt.Sprintf("got the run %q, which is part of the names of several", e.Name)
	case e.Name == "":
		return "no run is recorded here yet"
	}
	return fmt.Sprintf("there is no record of the run %q", e.Name)
}

// Find gives the id of a run: that whose id is name or has it as a part, where it is the only one; for "" and "last" the
// last run or up, for "up" the last up. The error is a *NoRun.
func (s Store) Find(name string) (id string, err error) {
	list, err := s.List()
	if err != nil {
		return "", err
	}
	for _, r := range list {
		switch {
		case r.ID == name:
			return r.ID, nil
		case name == "" || name == "last":
			if r.Verb != "services" {
				return r.ID, nil
			}
		case name == "up":
			if r.Verb == "up" {
				return r.ID, nil
			}
		case strings.Contains(r.ID, name):
			if id != "" {
				return "", &NoRun{Name: name, Many: true}
			}
			id = r.ID
		}
	}
	if id == "" {
		if name == "last" {
			name = ""
		}
		return "", &NoRun{Name: name}
	}
	return id, nil
}

// Load reads the record of a run. Its outcome is "running" where the file is still open, "killed" where it has no end.
func (s Store) Load(id string) (*Run, error) {
	if id == "" || strings.ContainsAny(id, "/\x00") {
		return nil, &NoRun{Name: id}
	}
	outcome := "running"
	text, err := os.ReadFile(s.path(id, open))
	if errors.Is(err, fs.ErrNotExist) {
		outcome = "killed"
		text, err = os.ReadFile(s.path(id, closed))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &NoRun{Name: id}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the record of the run: %w", err)
	}
	return parse(text, outcome)
}

// parse reads a file; a last line that is torn is none.
func parse(text []byte, outcome string) (*Run, error) {
	r := &Run{Version: Version, End: End{Outcome: outcome}, Nodes: []Node{}}
	type start struct {
		name string
		nth  int
	}
	at := map[start]int{}
	ended := false
	for raw := range bytes.Lines(text) {
		var l line
		if err := json.Unmarshal(raw, &l); err != nil {
			continue // torn: the writer was killed
		}
		switch {
		case l.Run != nil:
			if l.Version != Version {
				return nil, fmt.Errorf("cannot read the record of the run: got version %d, want %d", l.Version, Version)
			}
			r.Head = *l.Run
		case l.End != nil:
			r.End, ended = *l.End, true
		case l.Node != nil:
			l.Node.bound()
			k := start{l.Node.Name, l.Node.Nth}
			if i, ok := at[k]; ok {
				r.Nodes[i] = *l.Node
				continue
			}
			at[k] = len(r.Nodes)
			r.Nodes = append(r.Nodes, *l.Node)
		}
	}
	if r.ID == "" {
		return nil, errors.New("cannot read the record of the run: it has no head")
	}
	if !ended {
		for i := range r.Nodes {
			r.count(&r.Nodes[i])
		}
	}
	slices.SortStableFunc(r.Nodes, func(a, b Node) int { return cmp.Compare(a.begin(), b.begin()) })
	return r, nil
}
