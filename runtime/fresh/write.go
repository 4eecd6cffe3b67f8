package fresh

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"orrery/runtime/cache"
)

// maxRequests is how many command lines a book remembers: those used last.
const maxRequests = 32

// writer adds to the sections of a book.
type writer struct {
	*Book
	texts   map[string]uint32 // name of a file -> where it stands
	folders map[string]uint32
	known   map[Sight]uint32
	tasks   map[string]int
	old     int // how much of the folders was there before
}

func newWriter(b *Book) *writer {
	return &writer{Book: b, texts: map[string]uint32{}, folders: map[string]uint32{}, known: map[Sight]uint32{}, old: len(b.folders)}
}

// put appends a text, and writes where it stands into a table.
func (w *writer) put(table []byte, at int, text string) {
	binary.LittleEndian.PutUint32(table[at:], uint32(len(w.strings)))
	binary.LittleEndian.PutUint32(table[at+4:], uint32(len(text)))
	w.strings = append(w.strings, text...)
}

// base is put for the names of files, of which many are the same.
func (w *writer) base(table []byte, at int, text string) {
	off, ok := w.texts[text]
	if !ok {
		off = uint32(len(w.strings))
		w.texts[text] = off
		w.strings = append(w.strings, text...)
	}
	binary.LittleEndian.PutUint32(table[at:], off)
	binary.LittleEndian.PutUint32(table[at+4:], uint32(len(text)))
}

func (w *writer) folder(name string) uint32 {
	id, ok := w.folders[name]
	if !ok {
		for i := 0; i < w.old; i += folderSize { // of an update there are few: a map of all would take longer
			if string(w.text(w.Book.folders, i)) == name {
				id, ok = uint32(i/folderSize), true
				w.folders[name] = id
				break
			}
		}
	}
	if !ok {
		id = uint32(len(w.Book.folders) / folderSize)
		w.folders[name] = id
		var e [folderSize]byte
		w.put(e[:], 0, name)
		w.Book.folders = append(w.Book.folders, e[:]...)
	}
	return id
}

func (w *writer) sight(s Sight) uint32 {
	if id, ok := w.known[s]; ok {
		return id
	}
	id := uint32(len(w.sights) / sightSize)
	w.known[s] = id
	var e [sightSize]byte
	dir, base := filepath.Split(s.Name)
	binary.LittleEndian.PutUint32(e[sightFolder:], w.folder(dir))
	w.base(e[:], sightName, base)
	e[sightHow] = byte(s.How)
	putState(e[:], s.State)
	w.sights = append(w.sights, e[:]...)
	return id
}

// put a list of numbers, and write where it stands into a table.
func (w *writer) putList(table []byte, at int, list []uint32) {
	binary.LittleEndian.PutUint32(table[at:], uint32(len(w.numbers)/4))
	binary.LittleEndian.PutUint32(table[at+4:], uint32(len(list)))
	for _, n := range list {
		w.numbers = binary.LittleEndian.AppendUint32(w.numbers, n)
	}
}

func (w *writer) seen(sights []Sight) []uint32 {
	ids := make([]uint32, len(sights))
	for i, s := range sights {
		ids[i] = w.sight(s)
	}
	return sorted(ids)
}

// request adds what a command line means; tasks that are not known make it unknown.
func (w *writer) request(r Request) {
	if w.tasks == nil {
		w.tasks = w.Index()
	}
	number := func(names []string) ([]uint32, bool) {
		ids := make([]uint32, len(names))
		for i, name := range names {
			id, ok := w.tasks[name]
			if !ok {
				return nil, false
			}
			ids[i] = uint32(id)
		}
		return ids, true
	}
	named, ok := number(r.Named)
	need, ok2 := number(r.Need)
	w.head.Requests = slices.DeleteFunc(slices.Clone(w.head.Requests), func(old request) bool { return old.Key == r.Key })
	if !ok || !ok2 {
		return
	}
	if need = sorted(need); len(need) == w.Len() {
		need = nil
	}
	w.head.Requests = append(w.head.Requests, request{r.Key, named, need})
	if n := len(w.head.Requests); n > maxRequests {
		w.head.Requests = w.head.Requests[n-maxRequests:]
	}
}

// New makes a book, which is nowhere but in memory before Write.
func New(path string, c Contents) *Book {
	b := newBook(path)
	b.head = head{Stamp: c.Stamp, Facts: c.Facts, Nodes: filepath.Base(path) + "." + rand.Text()[:8]}
	w := newWriter(b)
	for _, s := range allSights(c) { // in the order of their folders
		w.sight(s)
	}
	b.head.Seen = w.seen(c.Seen)
	index := make(map[string]uint32, len(c.Tasks))
	for i, t := range c.Tasks {
		index[t.Name] = uint32(i)
		var e [taskSize]byte
		var needs []uint32
		for _, n := range t.Needs {
			if id, ok := index[n]; ok {
				needs = append(needs, id)
			}
		}
		w.put(e[:], taskName, t.Name)
		w.putList(e[:], taskNeeds, sorted(needs))
		w.putList(e[:], taskSights, w.seen(t.Seen))
		w.put(e[:], taskFacts, string(t.Facts))
		binary.LittleEndian.PutUint32(e[taskNode:], uint32(len(b.nodes)))
		binary.LittleEndian.PutUint32(e[taskNode+4:], uint32(len(t.Node)+nodeSum))
		b.nodes = append(append(b.nodes, t.Node...), sumNode(t.Node)...)
		b.tasks = append(b.tasks, e[:]...)
	}
	for _, r := range c.Requests {
		w.request(r)
	}
	return b
}

// Write puts a new book in the place of what is there. Other processes may read and write it at the same time: the last one wins.
func (b *Book) Write(ctx context.Context) error {
	return locked(ctx, b.path, func() error {
		if err := os.WriteFile(b.nodesFile(), b.nodes, 0o600); err != nil {
			return err
		}
		if err := b.save(); err != nil {
			return err
		}
		others, _ := filepath.Glob(b.path + ".*")
		for _, o := range others { // of books before
			if o != b.nodesFile() && !strings.HasSuffix(o, ".lock") {
				os.Remove(o)
			}
		}
		return nil
	})
}

// nodesFile is the file with the declarations; each book has its own.
func (b *Book) nodesFile() string { return filepath.Join(filepath.Dir(b.path), b.head.Nodes) }

// allSights are those of the tasks and the evaluation, in the order of their folders.
func allSights(c Contents) []Sight {
	all := slices.Clone(c.Seen)
	for _, t := range c.Tasks {
		all = append(all, t.Seen...)
	}
	slices.SortFunc(all, func(a, b Sight) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(all, func(a, b Sight) bool { return a == b })
}

// Update says anew what some tasks rest on (with Needs and Node as they were), and what a command line meant. It does nothing
// if the book there has another stamp, or if that book was written after b and knows other tasks.
func (b *Book) Update(ctx context.Context, tasks []Task, requests ...Request) error {
	return locked(ctx, b.path, func() error {
		now, err := b.current()
		if err != nil || now.Stamp() != b.Stamp() || now.head.Nodes != b.head.Nodes {
			return nil // another one has its own knowledge
		}
		w := newWriter(now)
		if len(tasks) > 0 {
			w.tasks = now.Index()
		}
		for _, t := range tasks {
			i, ok := w.tasks[t.Name]
			if !ok {
				continue
			}
			e := now.task(i)
			now.head.Waste += int(u32(e, taskSights+4))
			w.putList(e, taskSights, w.seen(t.Seen))
			w.put(e, taskFacts, string(t.Facts))
		}
		for _, r := range requests {
			w.request(r)
		}
		if now.head.Waste > len(now.sights)/sightSize/2+1000 {
			return os.Remove(b.path) // the next run writes a tidy one
		}
		return now.save()
	})
}

// save writes the book beside, and then in the place of the old one.
func (b *Book) save() error {
	text, err := b.encode()
	if err != nil {
		return err
	}
	tmp := b.path + "." + rand.Text()[:8] + ".tmp"
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		os.Remove(tmp)
		return err
	}
	if err := os.Rename(tmp, b.path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return nil
}

// locked does something while no other process does.
func locked(ctx context.Context, path string, do func() error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("cannot keep %s: %w", path, err)
	}
	unlock, err := cache.LockFile(ctx, path+".lock")
	if err != nil {
		return fmt.Errorf("cannot keep %s: %w", path, err)
	}
	defer unlock()
	if err := do(); err != nil {
		return fmt.Errorf("cannot keep %s: %w", path, err)
	}
	return nil
}
