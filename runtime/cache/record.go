package cache

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
	"unicode/utf8"
)

// Blob names content.
type Blob struct {
	// Hash is the SHA-256 of the content in hexadecimal digits; empty: there is no blob.
	Hash string `json:"hash,omitempty"`
	// Size is in bytes.
	Size int64 `json:"size,omitempty"`
}

// Kind is what an Entry is.
type Kind string

// The kinds of an Entry.
const (
	File Kind = "file"
	Dir  Kind = "dir"
	Link Kind = "symlink"
)

// Entry is one file, folder or symbolic link of a result.
type Entry struct {
	// Path has slashes and is relative to the root of the project. It need not be UTF-8.
	Path string
	// Kind says which of the fields below count.
	Kind Kind
	// Mode are the permission bits of a file or folder; no others are kept.
	Mode fs.FileMode
	// Blob is the content of a file.
	Blob Blob
	// Target is where a symbolic link leads.
	Target string
}

// Record is what a key leads to.
type Record struct {
	// Key is 64 hexadecimal digits.
	Key string
	// Task is the name of what was run, for people.
	Task string
	// Lines is the blob of the lines that the key was made from; empty where nobody asks for them.
	Lines Blob
	// Outputs are what it made, sorted by path, and Values what it said.
	Outputs []Entry
	Values  map[string]string
	// Log is the blob of what it wrote to stdout and stderr, in the form of whoever put it.
	Log Blob
	// Exit is its exit code, Duration how long it ran, Created when it ended.
	Exit     int
	Duration time.Duration
	Created  time.Time
	// Host, OS and Arch are where it ran.
	Host, OS, Arch string
	// Local says to whoever puts it that it is not for other machines; it is not kept.
	Local bool
}

// Blobs are all blobs that the record needs.
func (r *Record) Blobs() []Blob {
	blobs := []Blob{}
	for _, b := range []Blob{r.Lines, r.Log} {
		if b.Hash != "" {
			blobs = append(blobs, b)
		}
	}
	for _, e := range r.Outputs {
		if e.Kind == File {
			blobs = append(blobs, e.Blob)
		}
	}
	return blobs
}

// raw is a string of any bytes in JSON: text where it is UTF-8, else an array with its base64.
type raw string

// MarshalJSON keeps every byte.
func (r raw) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(r)) {
		return json.Marshal(string(r))
	}
	return json.Marshal([][]byte{[]byte(r)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (r *raw) UnmarshalJSON(text []byte) error {
	if !bytes.HasPrefix(text, []byte("[")) {
		return json.Unmarshal(text, (*string)(r))
	}
	var b [][]byte
	if err := json.Unmarshal(text, &b); err != nil || len(b) != 1 {
		return errors.New("got an array, want one text in base64")
	}
	*r = raw(b[0])
	return nil
}

// wireRecord and wireEntry are the form on disk.
type wireRecord struct {
	Version  int            `json:"version"`
	Key      string         `json:"key"`
	Task     string         `json:"task"`
	Lines    Blob           `json:"lines"`
	Outputs  []wireEntry    `json:"outputs"`
	Values   map[string]raw `json:"values,omitempty"`
	Log      Blob           `json:"log"`
	Exit     int            `json:"exit"`
	Duration time.Duration  `json:"duration_ns"`
	Created  time.Time      `json:"created"`
	Host     string         `json:"host"`
	OS       string         `json:"os"`
	Arch     string         `json:"arch"`
}

type wireEntry struct {
	Path   raw    `json:"path"`
	Kind   Kind   `json:"kind"`
	Mode   uint32 `json:"mode,omitempty"`
	Hash   string `json:"hash,omitempty"`
	Size   int64  `json:"size,omitempty"`
	Target raw    `json:"target,omitempty"`
}

const recordVersion = 1

// Encode gives the record as it is kept: a line with the hash of the rest, then the record. DecodeRecord reads it.
func (r *Record) Encode() ([]byte, error) {
	w := wireRecord{recordVersion, r.Key, r.Task, r.Lines, make([]wireEntry, len(r.Outputs)), nil, r.Log, r.Exit, r.Duration, r.Created, r.Host, r.OS, r.Arch}
	for i, e := range r.Outputs {
		w.Outputs[i] = wireEntry{raw(e.Path), e.Kind, uint32(e.Mode.Perm()), e.Blob.Hash, e.Blob.Size, raw(e.Target)}
	}
	if len(r.Values) > 0 {
		w.Values = map[string]raw{}
		for k, v := range r.Values {
			w.Values[k] = raw(v)
		}
	}
	text, err := json.Marshal(w)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%s\n%s\n", sum(append(text, '\n')), text), nil
}

// DecodeRecord reads what Encode wrote for a key, and checks everything that a user of a record relies on.
func DecodeRecord(text []byte, key string) (*Record, error) {
	head, rest, ok := bytes.Cut(text, []byte("\n"))
	if !ok || sum(rest) != string(head) {
		return nil, errors.New("its content does not have its hash")
	}
	var w wireRecord
	if err := json.Unmarshal(rest, &w); err != nil {
		return nil, err
	}
	if w.Version != recordVersion || w.Key != key {
		return nil, fmt.Errorf("got version %d of key %.12s, want version %d of %.12s", w.Version, w.Key, recordVersion, key)
	}
	r := &Record{Key: w.Key, Task: w.Task, Lines: w.Lines, Log: w.Log, Exit: w.Exit, Duration: w.Duration, Created: w.Created, Host: w.Host, OS: w.OS, Arch: w.Arch}
	for _, e := range w.Outputs {
		r.Outputs = append(r.Outputs, Entry{string(e.Path), e.Kind, fs.FileMode(e.Mode).Perm(), Blob{e.Hash, e.Size}, string(e.Target)})
	}
	if w.Values != nil {
		r.Values = map[string]string{}
		for k, v := range w.Values {
			r.Values[k] = string(v)
		}
	}
	return r, r.check()
}

// check looks at what whoever reads a record relies on.
func (r *Record) check() error {
	if !validName(r.Key) {
		return fmt.Errorf("got the key %q, want 64 hexadecimal digits", r.Key)
	}
	for _, b := range r.Blobs() {
		if !validName(b.Hash) || b.Size < 0 {
			return fmt.Errorf("got the blob %q of %d bytes, want a hash of 64 hexadecimal digits", b.Hash, b.Size)
		}
	}
	before := ""
	for _, e := range r.Outputs {
		if err := e.check(); err != nil {
			return err
		}
		if before != "" && e.Path <= before {
			return fmt.Errorf("got %q after %q, want sorted paths", e.Path, before)
		}
		before = e.Path
	}
	return nil
}

// check refuses an entry that no result of ours can have.
func (e Entry) check() error {
	if e.Path == "." || !fs.ValidPath(strings.ToValidUTF8(e.Path, "x")) || strings.Contains(e.Path, "\x00") {
		return fmt.Errorf("got the path %q, want one inside the project", e.Path)
	}
	switch e.Kind {
	case File, Dir:
		return nil
	case Link:
		if e.Target == "" || strings.Contains(e.Target, "\x00") {
			return fmt.Errorf("got a symbolic link %q to %q", e.Path, e.Target)
		}
		return nil
	}
	return fmt.Errorf("got %q of kind %q, want file, dir or symlink", e.Path, e.Kind)
}

// Get gives the record of a key, and counts as its use. The blobs may be gone or bad all the same: Fetch tells. Without a good
// record the error is a miss.
func (s *Store) Get(ctx context.Context, key string) (*Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !validName(key) {
		return nil, fmt.Errorf("got the key %q, want 64 hexadecimal digits", key)
	}
	name := shard(recordsDir, key)
	fi, err := s.disk.lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrMiss
	}
	if err == nil && s.now().Sub(fi.ModTime()).Abs() > s.grace/2 {
		s.disk.touch(name, s.now()) // before it is read, so that a Trim that reads the time later leaves it
	}
	return s.read(key)
}

// Peek is Get without a trace: the record does not count as used, and a bad one stays and is a miss.
func (s *Store) Peek(ctx context.Context, key string) (*Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !validName(key) {
		return nil, fmt.Errorf("got the key %q, want 64 hexadecimal digits", key)
	}
	text, err := s.disk.readFile(shard(recordsDir, key))
	if err != nil {
		return nil, ErrMiss
	}
	r, err := DecodeRecord(text, key)
	if err != nil {
		return nil, ErrMiss
	}
	return r, nil
}

// read reads a record, and removes a bad one.
func (s *Store) read(key string) (*Record, error) {
	name := shard(recordsDir, key)
	text, err := s.disk.readFile(name)
	var bad *CorruptError
	switch {
	case err == nil:
	case errors.As(err, &bad):
		s.disk.remove(name)
		return nil, bad
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrMiss
	default:
		return nil, &UnavailableError{"read", err}
	}
	r, err := DecodeRecord(text, key)
	if err != nil {
		s.disk.remove(name)
		return nil, &CorruptError{name, err.Error()}
	}
	return r, nil
}

// Put keeps a record whose blobs have all been added. It replaces what the key led to. A *UnavailableError says that it could
// not; then nothing is left of it.
func (s *Store) Put(ctx context.Context, r *Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := r.check(); err != nil {
		return fmt.Errorf("cannot keep the record: %w", err)
	}
	text, err := r.Encode()
	if err != nil {
		return fmt.Errorf("cannot keep the record: %w", err)
	}
	for _, b := range r.Blobs() {
		fi, err := s.disk.lstat(shard(blobsDir, b.Hash))
		if err == nil && fi.Size() != b.Size {
			err = fmt.Errorf("got a blob of %d bytes, want %d", fi.Size(), b.Size)
		}
		if err != nil {
			return &UnavailableError{"keep a record in", err}
		}
	}
	tmp, err := s.disk.writeTmp(text, false)
	if err == nil {
		_, err = s.disk.move(tmp, shard(recordsDir, r.Key))
	}
	if err != nil {
		return &UnavailableError{"keep a record in", err}
	}
	return nil
}
