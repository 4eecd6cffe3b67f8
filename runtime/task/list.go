package task

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/bmatcuk/doublestar/v4"

	"orrery/lang/graph"
	"orrery/runtime/files"
	"orrery/runtime/fresh"
)

// errNotDir is what a path below a file gives.
const errNotDir = syscall.ENOTDIR

// item is one line of the key that is about a file.
type item struct {
	kind, show, from string
	path             string      // to look at
	gone             bool        // known to be missing
	fi               fs.FileInfo // if it was looked at already, and is no folder
}

// listing collects what a task reads.
type listing struct {
	job      *Job
	own      []string // the outputs that are no patterns
	items    []item
	programs []string // the files of the steps
	taken    map[where]bool
	seen     sights
}

// where tells items apart.
type where struct{ kind, path string }

// list finds the files of the inputs, the programs and the tools, in a fixed order.
func (k *KeyInput) list(j *Job) (*listing, error) {
	f := &listing{job: j, taken: map[where]bool{}, seen: sights{at: fresh.Clock()}}
	for _, o := range j.Outputs {
		if o.Pattern == nil {
			f.own = append(f.own, relative(j.Root, o.Path))
		}
	}
	k.programs(j, f)
	first := len(f.items)
	for _, in := range k.Inputs {
		if err := f.input(in); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(f.items[first:], func(a, b item) int {
		return strings.Compare(a.kind+"\x00"+a.show, b.kind+"\x00"+b.show)
	})
	return f, nil
}

func (f *listing) input(in Input) error {
	it := item{kind: "input"}
	if in.From != "" {
		it.kind, it.from = "upstream", in.From
	}
	if in.Pattern != nil {
		found, err := glob(f.job.Root, in.Pattern, &f.seen)
		if err != nil {
			return fmt.Errorf("cannot look for the input %s: %w", strings.Join(in.Pattern.Include, ", "), err)
		}
		for _, rel := range found {
			f.add(it, filepath.Join(f.job.Root, filepath.FromSlash(rel)))
		}
		return nil
	}
	p := in.Path
	if !filepath.IsAbs(p) {
		p = filepath.Join(f.job.Root, p)
	}
	fi, err := files.Lstat(p)
	if err == nil && !fi.IsDir() {
		it.fi = fi
	}
	f.add(it, p)
	if err == nil && fi.Mode()&fs.ModeSymlink != 0 { // a link that is named is followed
		fi, err = files.Stat(p)
		f.seen.add(p, fresh.Target, fi, err)
	}
	if err != nil || !fi.IsDir() {
		return nil
	}
	if err := f.folder(it, p); err != nil {
		return fmt.Errorf("cannot look at the input %s: %w", relative(f.job.Root, p), err)
	}
	return nil
}

// add takes one file. What the task makes itself is no input.
func (f *listing) add(it item, p string) {
	it.path, it.show = p, relative(f.job.Root, p)
	if f.taken[where{it.kind, p}] || it.kind == "input" && f.makes(it.show) {
		return
	}
	f.taken[where{it.kind, p}] = true
	f.items = append(f.items, it)
}

// folder takes all that is in a folder, and the folders in it.
func (f *listing) folder(it item, dir string) error {
	f.seen.look(dir, fresh.Target)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		p := filepath.Join(dir, e.Name())
		if e.IsDir() && private(e.Name()) {
			continue
		}
		f.add(it, p)
		if e.IsDir() && !(it.kind == "input" && f.makes(relative(f.job.Root, p))) {
			if err := f.folder(it, p); err != nil && !missing(err) {
				return err
			}
		}
	}
	return nil
}

// private are the folders that change without meaning for any task.
func private(name string) bool { return name == ".git" || name == ".orrery" }

// makes tells whether a path, relative to the root, is an output of the task itself, or in one.
func (f *listing) makes(rel string) bool {
	for _, own := range f.own {
		if n := len(own); strings.HasPrefix(rel, own) && (len(rel) == n || rel[n] == '/') {
			return true
		}
	}
	return slices.ContainsFunc(f.job.Outputs, func(o Output) bool { return o.Pattern != nil && matches(o.Pattern, rel) })
}

// matches tells whether a file, relative to the root, is one of a pattern.
func matches(p *graph.Pattern, rel string) bool {
	for _, x := range p.Exclude {
		if ok, err := doublestar.Match(path.Clean(x), rel); ok && err == nil {
			return false
		}
	}
	return slices.ContainsFunc(p.Include, func(in string) bool {
		in = path.Clean(in)
		ok, err := doublestar.Match(in, rel)
		return ok && err == nil && named(in, rel)
	})
}

// named tells whether every name in rel that begins with a dot is meant by a part of the pattern that does, too.
func named(pattern, rel string) bool {
	if !strings.HasPrefix(rel, ".") && !strings.Contains(rel, "/.") {
		return true
	}
	parts := strings.Split(pattern, "/")
	for name := range strings.SplitSeq(rel, "/") {
		if strings.HasPrefix(name, ".") && name != ".." && !slices.ContainsFunc(parts, func(part string) bool {
			if !strings.HasPrefix(part, ".") && !strings.HasPrefix(part, "{.") && !strings.HasPrefix(part, "[.") {
				return false
			}
			ok, err := doublestar.Match(part, name)
			return ok && err == nil
		}) {
			return false
		}
	}
	return true
}

// glob lists the files and symbolic links of a pattern, relative to the root, sorted. It adds the folders that it looked into.
func glob(root string, p *graph.Pattern, seen *sights) ([]string, error) {
	g := globber{root: root, p: p, seen: seen}
	for _, in := range p.Include {
		in = path.Clean(in)
		if !doublestar.ValidatePattern(in) {
			return nil, fmt.Errorf("got the pattern %q, want one with balanced brackets", in)
		}
		base, _ := doublestar.SplitPattern(in)
		g.parts = strings.Split(in, "/")
		if !strings.ContainsAny(in, `*?[{\`) { // no pattern at all
			name := filepath.Join(root, filepath.FromSlash(in))
			fi, err := os.Lstat(name)
			seen.add(name, fresh.Path, fi, err)
			if err == nil && !fi.IsDir() && matches(p, in) {
				g.found = append(g.found, in)
			}
			continue
		}
		if err := g.walk(base); err != nil {
			return nil, err
		}
	}
	slices.Sort(g.found)
	return slices.Compact(g.found), nil
}

type globber struct {
	root  string
	p     *graph.Pattern
	parts []string // of the pattern at hand
	found []string
	seen  *sights
}

func (g *globber) walk(dir string) error {
	name := filepath.Join(g.root, filepath.FromSlash(dir))
	g.seen.look(name, fresh.Target)
	entries, err := os.ReadDir(name)
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		rel := path.Join(dir, e.Name())
		switch {
		case !e.IsDir():
			if matches(g.p, rel) {
				g.found = append(g.found, rel)
			}
		case !private(e.Name()) && g.enters(rel):
			if err := g.walk(rel); err != nil {
				return err
			}
		}
	}
	return nil
}

// enters tells whether a file below the folder may match.
func (g *globber) enters(rel string) bool {
	for _, x := range g.p.Exclude {
		if ok, err := doublestar.Match(path.Clean(x), rel); strings.HasSuffix(x, "/**") && ok && err == nil {
			return false
		}
	}
	for i, name := range strings.Split(rel, "/") {
		switch {
		case i >= len(g.parts):
			return false
		case strings.Contains(g.parts[i], "**") || strings.ContainsAny(g.parts[i], "{}"):
			return true // an alternative may hold slashes
		case i == len(g.parts)-1:
			return false
		}
		if ok, err := doublestar.Match(g.parts[i], name); !ok || err != nil {
			return false
		}
	}
	return true
}

// look looks at every file, several at a time, and writes their lines.
func (f *listing) look(h *FileHashes, out *keyed) error {
	lines, seen := make([]string, len(f.items)), make([]sights, len(f.items))
	out.files = make([]looked, len(f.items))
	err := parallel(len(f.items), func(i int) (err error) {
		it := f.items[i]
		seen[i].at = f.seen.at
		l := looked{kind: it.kind, show: it.show}
		lines[i], l.id, l.target, err = it.line(h, &seen[i])
		out.files[i] = l
		return err
	})
	out.seen = f.seen
	for _, s := range seen {
		out.seen.join(s)
	}
	if err != nil {
		return err
	}
	out.lines = append(out.lines, lines...)
	return nil
}

// line is the line of a file: its kind and the hash of its content, or where it leads. Of the mode only whether it may be run counts, as
// the rest is the umask of who checked it out. It adds what it looked at to seen, but for folders, which were looked into.
func (it item) line(h *FileHashes, seen *sights) (text string, id, target ident, err error) {
	head := it.kind + " " + word(it.show) + " "
	tail := ""
	if it.from != "" {
		tail = " from " + word(it.from)
	}
	fi := it.fi
	if !it.gone {
		if fi == nil {
			fi, err = files.Lstat(it.path)
		}
		if err != nil || !fi.IsDir() {
			seen.add(it.path, fresh.Path, fi, err)
		}
	}
	if it.gone || missing(err) {
		return head + "missing" + tail, ident{}, ident{}, nil
	}
	if err != nil {
		return "", id, target, fmt.Errorf("cannot look at %s: %w", it.show, err)
	}
	id = identOf(fi)
	switch {
	case fi.IsDir():
		return head + "dir" + tail, ident{mode: id.mode}, ident{}, nil // what is in it has its own lines
	case fi.Mode()&fs.ModeSymlink != 0:
		to, err := os.Readlink(it.path)
		if err != nil {
			return "", id, target, fmt.Errorf("cannot look at %s: %w", it.show, err)
		}
		head += "symlink " + word(to) + " "
		fi, err = files.Stat(it.path)
		seen.add(it.path, fresh.Target, fi, err)
		if err != nil || !fi.Mode().IsRegular() {
			return head + "-" + tail, id, ident{}, nil
		}
		target = identOf(fi)
	case !fi.Mode().IsRegular():
		seen.unsure = true
		return head + "special " + fi.Mode().Type().String() + tail, ident{}, ident{}, nil
	}
	sum, err := h.file(it.path, fi)
	if err != nil {
		return "", id, target, fmt.Errorf("cannot read %s: %w", it.show, err)
	}
	seen.content(sum)
	kind := "file "
	if fi.Mode()&0o111 != 0 {
		kind = "exec "
	}
	return head + kind + sum + tail, id, target, nil
}

// parallel calls do for 0 to n-1, a few at a time, and gives the first error.
func parallel(n int, do func(i int) error) error {
	var next atomic.Int64
	var mu sync.Mutex
	var first error
	var wg sync.WaitGroup
	work := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= n {
				return
			}
			if err := do(i); err != nil {
				mu.Lock()
				first = errors.Join(first, err)
				mu.Unlock()
				next.Store(int64(n))
				return
			}
		}
	}
	for range min(n, max(4, 2*runtime.GOMAXPROCS(0)), (n+63)/64+1) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	return first
}

// guard lets many goroutines fail once.
type guard struct {
	once sync.Once
	bad  atomic.Bool
}

func (g *guard) failed() bool { return g.bad.Load() }

func (g *guard) fail(do func()) { g.once.Do(func() { g.bad.Store(true); do() }) }
