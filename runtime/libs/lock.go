package libs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Pin is what services.lock says of a library.
type Pin struct {
	// Name is how the library is loaded: @name//.
	Name string `json:"name"`
	// Source is the URL of a git repository or an archive.
	Source string `json:"source"`
	// Ref is the branch, tag or commit that update follows; empty: the repository's own default.
	Ref string `json:"ref,omitempty"`
	// Path is the folder of the source that is the library; empty: all of it.
	Path string `json:"path,omitempty"`
	// Commit is the commit that was found; empty for an archive.
	Commit string `json:"commit,omitempty"`
	// Sum is the sha256 of the list of all files and their sums, as hex.
	Sum string `json:"sha256"`
}

// From is where the library comes from.
func (p Pin) From() Source { return Source{p.Source, p.Ref, p.Path} }

// Lock is the content of services.lock, sorted by name.
type Lock struct {
	// Version is that of the format: 1.
	Version int `json:"version"`
	// Libraries are the pins; names are unique.
	Libraries []Pin `json:"libraries"`
}

const lockVersion = 1

func validSum(s string) bool { return len(s) == 64 && made(s, hexDigits) }

// ReadLock reads the services.lock of a project. There is none: an empty one.
func ReadLock(root string) (*Lock, error) {
	file := filepath.Join(root, LockName)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return &Lock{Version: lockVersion, Libraries: []Pin{}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", LockName, err)
	}
	l, err := parseLock(text)
	if err != nil {
		return nil, advise("orrery lib writes it; after a merge take one side, then orrery lib add what the other had", "%s: %w", LockName, err)
	}
	return l, nil
}

func parseLock(text []byte) (*Lock, error) {
	var l Lock
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		return nil, fmt.Errorf("%d: %w", 1+bytes.Count(text[:min(int(d.InputOffset()), len(text))], []byte("\n")), err)
	}
	if l.Version != lockVersion {
		return nil, fmt.Errorf("got version %d, want %d", l.Version, lockVersion)
	}
	seen := map[string]bool{}
	for _, p := range l.Libraries {
		err := CheckName(p.Name)
		switch {
		case err != nil:
		case seen[p.Name]:
			err = fmt.Errorf("library %q is there twice", p.Name)
		case !validSum(p.Sum):
			err = fmt.Errorf("library %q: got sha256 %q, want 64 hex digits", p.Name, p.Sum)
		case p.Commit != "" && !validCommit(p.Commit):
			err = fmt.Errorf("library %q: got commit %q, want 40 or 64 hex digits", p.Name, p.Commit)
		default:
			err = p.From().check()
		}
		if err != nil {
			return nil, err
		}
		seen[p.Name] = true
	}
	l.sort()
	return &l, nil
}

func (l *Lock) sort() {
	slices.SortFunc(l.Libraries, func(a, b Pin) int { return strings.Compare(a.Name, b.Name) })
}

// Pin finds a library.
func (l *Lock) Pin(name string) (Pin, bool) {
	for _, p := range l.Libraries {
		if p.Name == name {
			return p, true
		}
	}
	return Pin{}, false
}

// Set adds a pin, or replaces that of its name.
func (l *Lock) Set(p Pin) {
	l.Remove(p.Name)
	l.Libraries = append(l.Libraries, p)
	l.sort()
}

// Remove takes a library out, and tells whether it was there.
func (l *Lock) Remove(name string) bool {
	n := len(l.Libraries)
	l.Libraries = slices.DeleteFunc(l.Libraries, func(p Pin) bool { return p.Name == name })
	return len(l.Libraries) < n
}

// Names are those of all libraries, sorted.
func (l *Lock) Names() []string {
	names := make([]string, len(l.Libraries))
	for i, p := range l.Libraries {
		names[i] = p.Name
	}
	return names
}

// Write writes services.lock in one step; one without libraries is removed.
func (l *Lock) Write(root string) error {
	file := filepath.Join(root, LockName)
	if len(l.Libraries) == 0 {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot remove %s: %w", LockName, err)
		}
		return nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(l); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(root, "."+LockName+"-*")
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", LockName, err)
	}
	defer os.Remove(tmp.Name()) // gone after the rename
	_, err = tmp.Write(b.Bytes())
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", LockName, err)
	}
	return nil
}
