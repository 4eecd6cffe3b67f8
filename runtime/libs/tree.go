package libs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// manifestName is the file of a kept tree that lists what belongs to it.
const manifestName = ".orrery-lib"

// What a library may hold at most; far more than text needs.
const (
	maxFiles = 10_000
	maxFile  = 16 << 20
	maxTotal = 64 << 20
	maxHops  = 8
)

// entry is a file, or a link if target is set.
type entry struct {
	data   []byte
	target string
}

// content is a tree in memory, by slash path.
type content map[string]entry

// add takes a file or a link in; a path that leads out is an error.
func (c content) add(name string, e entry) error {
	name = strings.TrimPrefix(name, "./")
	bad := strings.ContainsFunc(name, unicode.IsControl) || !utf8.ValidString(name) || strings.Contains(name, `\`)
	if bad || !filepath.IsLocal(name) || path.Clean(name) != name || name == "." {
		return fmt.Errorf("got the path %q, want one inside the library", name)
	}
	if name == manifestName {
		return fmt.Errorf("got a file called %s, which is a name of ours", manifestName)
	}
	if _, dup := c[name]; dup {
		return fmt.Errorf("got the path %q twice", name)
	}
	if e.target != "" {
		to := path.Join(path.Dir(name), e.target)
		if path.IsAbs(e.target) || !filepath.IsLocal(to) || strings.ContainsFunc(e.target, unicode.IsControl) {
			return fmt.Errorf("got a link %s -> %s, want one that stays inside the library", name, e.target)
		}
	}
	if len(c) >= maxFiles {
		return fmt.Errorf("got more than %d files", maxFiles)
	}
	c[name] = e
	return nil
}

// shape refuses a tree in which something lies below a file or a link.
func (c content) shape() error {
	for name := range c {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, ok := c[dir]; ok {
				return fmt.Errorf("got %q below %q, which is no folder", name, dir)
			}
		}
	}
	if len(c) == 0 {
		return errors.New("it holds no files")
	}
	return nil
}

// below is the part of a tree under a folder.
func (c content) below(dir string) (content, error) {
	if dir == "" {
		return c, c.shape()
	}
	part := content{}
	for name, e := range c {
		if rest, ok := strings.CutPrefix(name, dir+"/"); ok {
			if err := part.add(rest, e); err != nil {
				return nil, err
			}
		}
	}
	if len(part) == 0 {
		return nil, fmt.Errorf("it has no folder %s", dir)
	}
	return part, part.shape()
}

// manifest lists a tree: by path, "f\t" and the sum of a file, or "l\t" and the
// target of a link.
type manifest map[string]string

func (m manifest) all() iter.Seq[string] { return slices.Values(slices.Sorted(maps.Keys(m))) }

// text is the list as it is kept and summed.
func (m manifest) text() []byte {
	var b bytes.Buffer
	for name := range m.all() {
		fmt.Fprintf(&b, "%s\t%s\n", m[name], name)
	}
	return b.Bytes()
}

func (c content) manifest() manifest {
	m := manifest{}
	for name, e := range c {
		if e.target != "" {
			m[name] = "l\t" + e.target
		} else {
			m[name] = "f\t" + sumOf(e.data)
		}
	}
	return m
}

func (c content) sum() string { return sumOf(c.manifest().text()) }

func sumOf(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// parseManifest reads a list that has the pinned sum: it was written by text.
func parseManifest(text []byte) (manifest, error) {
	m := manifest{}
	for line := range strings.Lines(string(text)) {
		kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		what, name, ok := strings.Cut(rest, "\t")
		if !ok || kind != "f" && kind != "l" || !filepath.IsLocal(name) {
			return nil, fmt.Errorf("%s: got the line %q", manifestName, line)
		}
		m[name] = kind + "\t" + what
	}
	return m, nil
}

func readManifest(dir string, p Pin) (manifest, error) {
	text, err := os.ReadFile(filepath.Join(dir, manifestName))
	if err != nil {
		if _, there := os.Lstat(dir); there == nil {
			return nil, fmt.Errorf("library %q: %s has lost its list of files (%s)", p.Name, dir, manifestName)
		}
		return nil, err
	}
	if got := sumOf(text); got != p.Sum {
		return nil, fmt.Errorf("library %q: %s holds another version: got sha256 %s, want %s of %s", p.Name, dir, got, p.Sum, LockName)
	}
	return parseManifest(text)
}

// tree reads a kept library; it is an fs.FS whose files are checked.
type tree struct {
	dir  string
	name string
	list manifest
	hint string
}

func openTree(dir string, p Pin) (*tree, error) {
	m, err := readManifest(dir, p)
	if err != nil {
		return nil, err
	}
	return &tree{dir: dir, name: p.Name, list: m}, nil
}

// ReadFile gives the content of a file that is as it was pinned. Links are
// followed as the list says, not as the disk does.
func (t *tree) ReadFile(name string) ([]byte, error) {
	for range maxHops {
		kind, what, _ := strings.Cut(t.list[name], "\t")
		switch kind {
		case "l":
			name = path.Join(path.Dir(name), what)
			continue
		case "":
			return nil, fmt.Errorf("the library has no such file; %s", t.has())
		}
		b, err := t.read(name)
		if err != nil {
			return nil, advised{fmt.Errorf("library %q: cannot read %s: %w", t.name, name, err), t.hint}
		}
		if got := sumOf(b); got != what {
			return nil, advise(t.hint, "library %q: %s has been changed: got sha256 %s, want %s", t.name, filepath.Join(t.dir, name), got, what)
		}
		return b, nil
	}
	return nil, fmt.Errorf("library %q: too many links at %s", t.name, name)
}

func (t *tree) read(name string) ([]byte, error) {
	r, err := os.OpenRoot(t.dir)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := r.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// Open checks a file and opens it. Folders cannot be opened.
func (t *tree) Open(name string) (fs.File, error) {
	if _, err := t.ReadFile(name); err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.Open(filepath.Join(t.dir, filepath.FromSlash(name)))
}

// has names a few of the files that can be loaded.
func (t *tree) has() string {
	var names []string
	for name := range t.list.all() {
		if strings.HasSuffix(name, ".star") && !strings.HasSuffix(name, "_test.star") {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "it holds no .star file"
	}
	if len(names) > 8 {
		names = append(names[:8], "...")
	}
	return "there is " + strings.Join(names, ", ")
}

// check reads all and lists what is wrong, also what is too much.
func (t *tree) check() []error {
	var errs []error
	for name := range t.list.all() {
		if target, ok := strings.CutPrefix(t.list[name], "l\t"); ok {
			if got, err := os.Readlink(filepath.Join(t.dir, name)); err != nil || got != target {
				errs = append(errs, fmt.Errorf("library %q: %s is no link to %s", t.name, filepath.Join(t.dir, name), target))
			}
		} else if _, err := t.ReadFile(name); err != nil {
			errs = append(errs, err)
		}
	}
	err := filepath.WalkDir(t.dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(t.dir, file)
		if rel = filepath.ToSlash(rel); err == nil && rel != manifestName && t.list[rel] == "" {
			errs = append(errs, fmt.Errorf("library %q: %s does not belong to it", t.name, file))
		}
		return err
	})
	if err != nil {
		errs = append(errs, err)
	}
	return errs
}

// readTree reads all of a kept library.
func readTree(dir string, p Pin) (content, error) {
	t, err := openTree(dir, p)
	if err != nil {
		return nil, err
	}
	c := content{}
	for name := range t.list.all() {
		var e entry
		if target, ok := strings.CutPrefix(t.list[name], "l\t"); ok {
			e.target = target
		} else if e.data, err = t.ReadFile(name); err != nil {
			return nil, err
		}
		if err := c.add(name, e); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// replaceTree writes a tree beside dir and gives it the name; a former one goes.
func replaceTree(dir string, c content) error {
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".tmp-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := writeTree(tmp, c); err != nil {
		return fmt.Errorf("cannot write %s: %w", dir, err)
	}
	old := tmp + ".old"
	defer os.RemoveAll(old)
	if err := os.Rename(dir, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		if _, there := os.Lstat(dir); there == nil {
			return nil // another process was faster, with the same content
		}
		return err
	}
	return nil
}

func writeTree(dir string, c content) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	r, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer r.Close()
	write := func(name string, b []byte) error {
		f, err := r.OpenFile(filepath.FromSlash(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = f.Write(b)
		return errors.Join(err, f.Close())
	}
	for _, name := range slices.Sorted(maps.Keys(c)) {
		if d := path.Dir(name); d != "." {
			if err := r.MkdirAll(filepath.FromSlash(d), 0o755); err != nil {
				return err
			}
		}
		e := c[name]
		if e.target != "" {
			err = r.Symlink(e.target, filepath.FromSlash(name))
		} else {
			err = write(name, e.data)
		}
		if err != nil {
			return err
		}
	}
	return write(manifestName, c.manifest().text())
}
