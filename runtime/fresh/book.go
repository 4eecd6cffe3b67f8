package fresh

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"

	"orrery/runtime/files"
)

// Task is what is known of a task.
type Task struct {
	// Name is its name, Needs are the tasks that it waits for.
	Name  string
	Needs []string
	// Seen is what its last good result rests on; empty: nothing is known, it is always stale.
	Seen []Sight
	// Facts are the caller's.
	Facts []byte
	// Node is the task as it was declared, in the caller's words; Write keeps it, Update does not change it.
	Node []byte
}

// Request is what a command line meant.
type Request struct {
	// Key is the command line, in the caller's words; Named and Need are the tasks that it named, and all that it takes.
	Key         string
	Named, Need []string
}

// Contents are what Write makes a book of.
type Contents struct {
	// Stamp tells whether the book is of the present: of this binary, these parameters, this environment.
	Stamp string
	// Facts are the caller's. Seen is what the evaluation of the project rests on.
	Facts []byte
	Seen  []Sight
	// Tasks are all tasks, each after those that it needs.
	Tasks    []Task
	Requests []Request
}

// Book is an open book. It may be asked from any goroutine, and is not changed by Update.
type Book struct {
	path  string
	head  head
	nodes []byte                // of a new book; else they are in a file
	seen  fs.FileInfo           // the file that it was read from; nil: none
	index func() map[string]int // of tasks, made once
	sections
}

// head is the part that is JSON.
type head struct {
	Stamp    string    `json:"stamp"`
	Facts    []byte    `json:"facts"`
	Seen     []uint32  `json:"seen"`
	Nodes    string    `json:"nodes"` // the name of the file with the nodes
	Requests []request `json:"requests"`
	Waste    int       `json:"waste"` // sights that no task has any more
}

// request is a Request with tasks as numbers.
type request struct {
	Key   string   `json:"key"`
	Named []uint32 `json:"named"`
	Need  []uint32 `json:"need"` // ascending; nil: all
}

// sections are tables of fixed entries that lie in the file as they do here.
type sections struct {
	strings []byte // what the others cut their texts from
	folders []byte // of sights: offset and length of a name that ends in a slash
	sights  []byte
	tasks   []byte
	numbers []byte // lists of tasks and of sights
}

// The sizes of the entries, in bytes.
const (
	folderSize = 8
	sightSize  = 64
	taskSize   = 40
)

const magic = "orrery-fresh 1\n"

// errTorn says that a book is none.
var errTorn = errors.New("it is torn")

// Open opens a book. The error is one of the file system, or says that the book is torn.
func Open(path string) (*Book, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	text, err := files.ReadFrom(f, fi.Size())
	if err != nil {
		return nil, err
	}
	b := newBook(path)
	b.seen = fi
	if err := b.decode(text); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	return b, nil
}

func newBook(path string) *Book {
	b := &Book{path: path}
	b.index = sync.OnceValue(b.makeIndex)
	return b
}

// current is the book that is there now: a copy of b, if that was read from it.
func (b *Book) current() (*Book, error) {
	if b.seen != nil {
		if fi, err := os.Stat(b.path); err == nil && os.SameFile(fi, b.seen) && fi.Size() == b.seen.Size() && fi.ModTime().Equal(b.seen.ModTime()) {
			now := newBook(b.path)
			now.head, now.sections, now.index = b.head, b.sections, b.index
			now.tasks = slices.Clone(b.tasks)
			return now, nil
		}
	}
	return Open(b.path)
}

func (b *Book) decode(text []byte) error {
	body := len(text) - sha256.Size
	if body < len(magic) || string(text[:len(magic)]) != magic {
		return errTorn
	}
	if sum := sha256.Sum256(text[:body]); string(sum[:]) != string(text[body:]) {
		return errTorn
	}
	text = text[len(magic):body]
	var head []byte
	for _, to := range []*[]byte{&head, &b.strings, &b.folders, &b.sights, &b.tasks, &b.numbers} {
		if len(text) < 4 {
			return errTorn
		}
		n := int(binary.LittleEndian.Uint32(text))
		if n > len(text)-4 {
			return errTorn
		}
		*to, text = text[4:4+n:4+n], text[4+n:]
	}
	return json.Unmarshal(head, &b.head)
}

func (b *Book) encode() ([]byte, error) {
	head, err := json.Marshal(b.head)
	if err != nil {
		return nil, err
	}
	parts := [][]byte{head, b.strings, b.folders, b.sights, b.tasks, b.numbers}
	size := len(magic) + sha256.Size
	for _, p := range parts {
		size += 4 + len(p)
	}
	text := append(make([]byte, 0, size), magic...)
	for _, p := range parts {
		text = append(binary.LittleEndian.AppendUint32(text, uint32(len(p))), p...)
	}
	sum := sha256.Sum256(text)
	return append(text, sum[:]...), nil
}

// Stamp and Facts are those that it was written with.
func (b *Book) Stamp() string { return b.head.Stamp }

// Facts are the caller's, of the whole.
func (b *Book) Facts() []byte { return b.head.Facts }

// Len is how many tasks it knows; they are counted from 0.
func (b *Book) Len() int { return len(b.tasks) / taskSize }

func u32(b []byte, at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }

// text cuts a text whose offset and length stand at a place of a table.
func (b *Book) text(table []byte, at int) []byte {
	off, n := u32(table, at), u32(table, at+4)
	return b.strings[off : off+n]
}

// list is a list of numbers whose place and length stand at a place of a table.
func (b *Book) list(table []byte, at int) numbers {
	first, n := u32(table, at), u32(table, at+4)
	return numbers(b.numbers[first*4 : (first+n)*4])
}

type numbers []byte

func (n numbers) len() int     { return len(n) / 4 }
func (n numbers) at(i int) int { return int(u32(n, i*4)) }

// The entry of a task: name, needs, sights, facts, node (offset and length in the file of nodes).
const (
	taskName   = 0
	taskNeeds  = 8
	taskSights = 16
	taskFacts  = 24
	taskNode   = 32
)

func (b *Book) task(i int) []byte { return b.tasks[i*taskSize : (i+1)*taskSize] }

// Name is the name of a task.
func (b *Book) Name(i int) string { return string(b.text(b.task(i), taskName)) }

// TaskFacts are what the caller said of a task.
func (b *Book) TaskFacts(i int) []byte { return b.text(b.task(i), taskFacts) }

// Knows tells whether anything is known of a task.
func (b *Book) Knows(i int) bool { return b.list(b.task(i), taskSights).len() > 0 }

// Seen is what the last good result of a task rests on.
func (b *Book) Seen(i int) []Sight {
	l := b.list(b.task(i), taskSights)
	all := make([]Sight, l.len())
	for k := range all {
		e := b.sights[l.at(k)*sightSize:][:sightSize]
		dir := b.text(b.folders, int(u32(e, sightFolder))*folderSize)
		all[k] = Sight{Name: string(dir) + string(b.text(e, sightName)), How: How(e[sightHow]), State: stateAt(e)}
	}
	return all
}

// Request says what a command line meant when it was last seen.
func (b *Book) Request(key string) (named, need []int, ok bool) {
	for _, r := range b.head.Requests {
		if r.Key == key {
			return ints(r.Named), b.needs(r), true
		}
	}
	return nil, nil, false
}

func (b *Book) needs(r request) []int {
	if r.Need != nil {
		return ints(r.Need)
	}
	all := make([]int, b.Len())
	for i := range all {
		all[i] = i
	}
	return all
}

func ints(from []uint32) []int {
	to := make([]int, len(from))
	for i, n := range from {
		to[i] = int(n)
	}
	return to
}

// Index is the number of every task by its name. It is not to be changed.
func (b *Book) Index() map[string]int { return b.index() }

func (b *Book) makeIndex() map[string]int {
	m := make(map[string]int, b.Len())
	for i := range b.Len() {
		m[b.Name(i)] = i
	}
	return m
}

// Nodes gives some of the tasks as they were declared.
func (b *Book) Nodes(tasks []int) ([][]byte, error) {
	f, err := os.Open(b.nodesFile())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all := make([][]byte, len(tasks))
	for k, i := range tasks {
		e := b.task(i)
		text := make([]byte, u32(e, taskNode+4))
		if _, err := f.ReadAt(text, int64(u32(e, taskNode))); err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", f.Name(), err)
		}
		sum := len(text) - nodeSum
		if sum < 0 || string(sumNode(text[:sum])) != string(text[sum:]) {
			return nil, fmt.Errorf("cannot read %s: %w", f.Name(), errTorn)
		}
		all[k] = text[:sum]
	}
	return all, nil
}

// nodeSum is the size of the checksum of a node, in bytes.
const nodeSum = 8

func sumNode(text []byte) []byte {
	sum := sha256.Sum256(text)
	return sum[:nodeSum]
}

// sorted is a set of numbers in ascending order.
func sorted(all []uint32) []uint32 {
	slices.Sort(all)
	return slices.Compact(all)
}
