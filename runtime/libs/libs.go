// Package libs keeps external libraries: what load("@acme//x.star") reads.
//
// A project names its libraries in services.lock ([Lock]), with the sha256 of
// all that each holds. [Resolve] and [Store.Fetch] bring a library from a git
// repository or an archive into the user's cache, as a folder named by that sum;
// they alone use the network, and no program but git. [Store.Find] says where a
// library lies: overridden by a folder, copied into the project, or in the cache.
// What it gives is read through a list of sums, so that a changed file is an
// error at the moment of reading, however it was changed.
//
// Promised: never a prompt; nothing is written outside the cache and the
// project; a tree has no link that leads out of it. Left to others: which
// library to load, and what to do with its text.
package libs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Names of what lies beside the project file.
const (
	// LockName is the file that pins the libraries.
	LockName = "services.lock"
	// VendorName is the folder of copied libraries.
	VendorName = "services.libs"
)

// advised is an error with what to do about it.
type advised struct {
	error
	hint string
}

// Hint says what to do.
func (a advised) Hint() string { return a.hint }

func (a advised) Unwrap() error { return a.error }

func advise(hint, format string, args ...any) error {
	return advised{fmt.Errorf(format, args...), hint}
}

// made reports whether a text has at least one byte, and only of these.
func made(text, of string) bool { return text != "" && strings.Trim(text, of) == "" }

const (
	hexDigits  = "0123456789abcdef"
	nameLetter = "abcdefghijklmnopqrstuvwxyz"
)

func validName(name string) bool {
	return made(name, nameLetter+"0123456789_-") && strings.Contains(nameLetter, name[:1])
}

// CheckName says why a library cannot be called so; nil: it can.
func CheckName(name string) error {
	switch {
	case name == "std":
		return errors.New("@std is the library inside the binary; give it another name")
	case !validName(name):
		return fmt.Errorf("got the library name %q, want [a-z][a-z0-9_-]*", name)
	}
	return nil
}

// Store finds and keeps libraries. It may be used from any goroutine.
type Store struct {
	// Dir is the folder of the cache; libraries lie in it by sum.
	Dir string
	// Overrides are folders that stand for libraries, by name; absolute.
	Overrides map[string]string
	// Getenv looks up ORRERY_LIB_NAME, which says the same: the name in capitals, with _ for -. nil: none.
	Getenv func(name string) (string, bool)
}

// override is the folder that stands for a library, and what says so.
func (s *Store) override(name string) (dir, by string) {
	if dir, ok := s.Overrides[name]; ok {
		return dir, "--override"
	}
	env := "ORRERY_LIB_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	if s.Getenv != nil {
		if dir, ok := s.Getenv(env); ok && dir != "" {
			return dir, env
		}
	}
	return "", ""
}

// Found is a library on this machine.
type Found struct {
	// Dir is the absolute folder that holds it.
	Dir string
	// FS reads it. Of a pinned library every file is checked against its sum.
	FS fs.FS
	// From are the absolute paths of the files that say which folder this is. They need not exist.
	From []string
	// How is "override", "vendor" or "cache".
	How string
}

// Find says where a library of the project at root lies. The error has a hint.
func (s *Store) Find(root, name string) (*Found, error) {
	if dir, by := s.override(name); dir != "" {
		if !filepath.IsAbs(dir) {
			return nil, advise("the engine does not run where you are", "%s: got the folder %q of library %q, want an absolute path", by, dir, name)
		}
		r, err := os.OpenRoot(dir)
		if err != nil {
			return nil, advise(by+" says that it lies there", "cannot use the folder of library %q: %w", name, err)
		}
		return &Found{Dir: dir, FS: r.FS(), How: "override"}, nil
	}
	lock, err := ReadLock(root)
	if err != nil {
		return nil, err
	}
	pin, ok := lock.Pin(name)
	if !ok {
		return nil, advise("orrery lib add "+name+" URL[@REF]", "library %q is not pinned: %s names no such library", name, LockName)
	}
	vendored := filepath.Join(root, VendorName, name)
	from := []string{filepath.Join(root, LockName), filepath.Join(vendored, manifestName)}
	if _, err := os.Lstat(vendored); err == nil {
		t, err := openTree(vendored, pin)
		if err != nil {
			return nil, advised{err, vendorHint(name)}
		}
		t.hint = vendorHint(name)
		return &Found{vendored, t, from, "vendor"}, nil
	}
	dir := s.path(pin)
	t, err := openTree(dir, pin)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, advise("orrery lib fetch", "library %q is not on this machine, and evaluation never fetches", name)
	case err != nil:
		return nil, advised{err, fetchHint}
	}
	t.hint = fetchHint
	return &Found{dir, t, from, "cache"}, nil
}

const fetchHint = "orrery lib fetch writes it anew"

func vendorHint(name string) string {
	return "orrery lib vendor writes it anew; to work on a library: --override " + name + "=DIR"
}

func (s *Store) path(p Pin) string { return filepath.Join(s.Dir, p.Sum) }

// Fetch brings a pinned library into the cache, unless it is there and whole.
// It tells whether it had to. Content that is not what was pinned is an error.
func (s *Store) Fetch(ctx context.Context, p Pin) (fetched bool, err error) {
	dir := s.path(p)
	if len(s.check(dir, p)) == 0 {
		return false, nil
	}
	c, err := fetch(ctx, p)
	if err != nil {
		return false, fmt.Errorf("cannot fetch library %q: %w", p.Name, err)
	}
	if got := c.sum(); got != p.Sum {
		return false, advise("if that is meant: orrery lib update "+p.Name, "library %q: got content with sha256 %s, want %s: what %s gives is not what was pinned", p.Name, got, p.Sum, p.Source)
	}
	return true, s.keep(dir, c)
}

// keep writes a tree under its final name in one step.
func (s *Store) keep(dir string, c content) error {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return fmt.Errorf("cannot keep a library: %w", err)
	}
	return replaceTree(dir, c)
}

// Resolve looks up what a source holds now, and brings it into the cache.
func (s *Store) Resolve(ctx context.Context, src Source) (Pin, error) {
	p := Pin{Source: src.URL, Ref: src.Ref, Path: src.Path}
	commit, c, err := resolve(ctx, src)
	if err != nil {
		return p, fmt.Errorf("cannot fetch %s: %w", src, err)
	}
	p.Commit, p.Sum = commit, c.sum()
	dir := s.path(p)
	if len(s.check(dir, p)) == 0 {
		return p, nil
	}
	return p, s.keep(dir, c)
}

// Vendor copies a pinned library from the cache into the project at root.
func (s *Store) Vendor(ctx context.Context, root string, p Pin) error {
	if _, err := s.Fetch(ctx, p); err != nil {
		return err
	}
	c, err := readTree(s.path(p), p)
	if err != nil {
		return err
	}
	dir := filepath.Join(root, VendorName)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot copy library %q into the project: %w", p.Name, err)
	}
	return replaceTree(filepath.Join(dir, p.Name), c)
}

// Unvendor removes the copy of a library from the project; none is as well.
func Unvendor(root, name string) error {
	if err := os.RemoveAll(filepath.Join(root, VendorName, name)); err != nil {
		return err
	}
	err := os.Remove(filepath.Join(root, VendorName))
	if errors.Is(err, fs.ErrNotExist) || isNotEmpty(filepath.Join(root, VendorName)) {
		return nil
	}
	return err
}

func isNotEmpty(dir string) bool {
	list, err := os.ReadDir(dir)
	return err == nil && len(list) > 0
}

// Vendored lists the names in the project's folder of copies.
func Vendored(root string) []string {
	list, _ := os.ReadDir(filepath.Join(root, VendorName)) // none is no mistake
	var names []string
	for _, e := range list {
		if e.IsDir() && validName(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names
}

// Verify reads all of a library that Find would give and says what is wrong.
// An overridden library has nothing to be checked against.
func (s *Store) Verify(root string, p Pin) []error {
	dir := filepath.Join(root, VendorName, p.Name)
	if _, err := os.Lstat(dir); err != nil {
		dir = s.path(p)
	}
	return s.check(dir, p)
}

// check lists what is wrong with a tree, files that do not belong to it too.
func (s *Store) check(dir string, p Pin) []error {
	t, err := openTree(dir, p)
	if errors.Is(err, fs.ErrNotExist) {
		return []error{advise("orrery lib fetch", "library %q is not on this machine", p.Name)}
	} else if err != nil {
		return []error{err}
	}
	return t.check()
}

// Changes says what differs between two pinned trees of the cache, a line a
// file: + new, - gone, ~ changed. A tree that is not there is as an empty one.
func (s *Store) Changes(old, new Pin) []string {
	a, _ := readManifest(s.path(old), old)
	b, _ := readManifest(s.path(new), new)
	var lines []string
	for name := range a.all() {
		if _, ok := b[name]; !ok {
			lines = append(lines, "- "+name)
		} else if a[name] != b[name] {
			lines = append(lines, "~ "+name)
		}
	}
	for name := range b.all() {
		if _, ok := a[name]; !ok {
			lines = append(lines, "+ "+name)
		}
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[2:], b[2:]) })
	return lines
}
