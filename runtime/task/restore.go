package task

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"orrery/runtime/cache"
	"orrery/runtime/files"
)

// temporary is what the names of half-written files begin with.
const temporary = ".orrery-tmp-"

// plan is what must change so that the outputs are what a record says. It is found out before anything is touched.
type plan struct {
	outs   *outputs
	remove []string        // relative, sorted; folders with all that is in them
	need   []cache.Entry   // missing or different, in order
	dirs   []cache.Entry   // all folders of the record
	found  map[string]bool // of need: something else was there
}

func (p *plan) empty() bool { return len(p.remove)+len(p.need) == 0 }

// repairs says what was not as it should be. It is asked for after apply, and knows what was there before.
func (p *plan) repairs() []string {
	var all []string
	for _, e := range p.need {
		if p.found[e.Path] {
			all = append(all, "the output "+e.Path+" had been changed")
		} else {
			all = append(all, "the output "+e.Path+" was gone")
		}
	}
	for _, rel := range p.remove {
		all = append(all, rel+" is not of the result")
	}
	return all
}

// blobs are those that apply will open.
func (p *plan) blobs() []cache.Blob {
	var all []cache.Blob
	for _, e := range p.need {
		if e.Kind == cache.File {
			all = append(all, e.Blob)
		}
	}
	return all
}

// compare plans. made are the paths that the last success made: of a pattern only those may be removed, as others that it matches may
// be anybody's. An output that is a folder belongs to the task alone.
func (o *outputs) compare(want []cache.Entry, made []string) (*plan, error) {
	if err := o.accept(want); err != nil {
		return nil, err
	}
	nodes, err := o.scan()
	if err != nil {
		return nil, err
	}
	there := make(map[string]node, len(nodes))
	for _, n := range nodes {
		there[n.rel] = n
	}
	right := make([]bool, len(want))
	err = parallel(len(want), func(i int) error {
		n, ok := there[want[i].Path]
		right[i] = ok && o.same(want[i], n)
		return nil
	})
	if err != nil {
		return nil, err
	}
	p := &plan{outs: o, found: map[string]bool{}}
	wanted := make(map[string]cache.Kind, len(want))
	for i, e := range want {
		wanted[e.Path] = e.Kind
		if e.Kind == cache.Dir {
			p.dirs = append(p.dirs, e)
		}
		if !right[i] {
			p.need = append(p.need, e)
			_, p.found[e.Path] = there[e.Path]
		}
	}
	for _, n := range nodes {
		if _, ok := wanted[n.rel]; !ok && (!n.pattern || slices.Contains(made, n.rel)) {
			p.remove = append(p.remove, n.rel)
		}
	}
	return p, nil
}

// same tells whether what is there is right. What cannot be read is not.
func (o *outputs) same(e cache.Entry, n node) bool {
	m := n.fi.Mode()
	switch e.Kind {
	case cache.Dir:
		return m.IsDir() && m.Perm() == e.Mode
	case cache.Link:
		to, err := os.Readlink(o.abs(e.Path))
		return m&fs.ModeSymlink != 0 && err == nil && to == e.Target
	}
	if !m.IsRegular() || m.Perm() != e.Mode || n.fi.Size() != e.Blob.Size {
		return false
	}
	b, err := o.hashed(n)
	return err == nil && b == e.Blob
}

// accept refuses a record that is none of this task: a path outside of what it declares, or below a file or link.
func (o *outputs) accept(want []cache.Entry) error {
	kinds := make(map[string]cache.Kind, len(want))
	for _, e := range want {
		if !filepath.IsLocal(filepath.FromSlash(e.Path)) || path.Clean(e.Path) != e.Path || !o.declares(e.Path) {
			return fmt.Errorf("the record names %q, which is no output of the task", e.Path)
		}
		if e.Kind != cache.File && e.Kind != cache.Dir && e.Kind != cache.Link {
			return fmt.Errorf("the record holds %q, %s", e.Path, e.Kind)
		}
		kinds[e.Path] = e.Kind
	}
	for _, e := range want {
		for dir := path.Dir(e.Path); dir != "."; dir = path.Dir(dir) {
			if k, ok := kinds[dir]; ok && k != cache.Dir {
				return fmt.Errorf("the record names %q below the %s %q", e.Path, k, dir)
			}
		}
	}
	for _, l := range o.list {
		if _, ok := kinds[filepath.ToSlash(l.rel)]; l.Pattern == nil && !ok {
			return fmt.Errorf("the record lacks the output %s", l.rel)
		}
		if l.Pattern != nil && !slices.ContainsFunc(want, func(e cache.Entry) bool { return matches(l.Pattern, e.Path) }) {
			return fmt.Errorf("the record lacks the output %s", l.Name)
		}
	}
	return nil
}

// apply changes what must change. Everything goes through the root: nothing outside of the project can be written, whatever
// links there are or appear meanwhile.
func (p *plan) apply(ctx context.Context, s Store) error {
	o := p.outs
	if err := o.prepare(); err != nil {
		return err
	}
	o.open(p.dirs)
	for _, rel := range tops(p.remove) {
		if err := o.discard(rel); err != nil {
			return fmt.Errorf("cannot remove %s, which a former run left: %w", rel, err)
		}
	}
	for _, e := range p.need {
		if e.Kind == cache.Dir {
			if err := o.folder(e); err != nil {
				return fmt.Errorf("cannot restore %s: %w", e.Path, err)
			}
		}
	}
	for _, kind := range []cache.Kind{cache.File, cache.Link} {
		all := slices.DeleteFunc(slices.Clone(p.need), func(e cache.Entry) bool { return e.Kind != kind })
		err := parallel(len(all), func(i int) error {
			err := ctx.Err()
			if err == nil {
				err = o.put(ctx, all[i], s)
			}
			if err != nil {
				return fmt.Errorf("cannot restore %s: %w", all[i].Path, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, e := range slices.Backward(p.dirs) {
		if fi, err := o.root.Lstat(e.Path); err != nil || !fi.IsDir() || fi.Mode().Perm() == e.Mode {
			continue
		}
		if err := o.root.Chmod(e.Path, e.Mode); err != nil {
			return fmt.Errorf("cannot restore %s: %w", e.Path, err)
		}
	}
	return nil
}

// open makes folders that are there and closed to us writable; their modes are set at the end.
func (o *outputs) open(dirs []cache.Entry) {
	for _, e := range dirs {
		if fi, err := o.root.Lstat(e.Path); err == nil && fi.IsDir() && fi.Mode().Perm()&0o700 != 0o700 {
			_ = o.root.Chmod(e.Path, fi.Mode().Perm()|0o700) // writing will tell
		}
	}
}

// discard removes a path and what is below it, also from folders that are closed.
func (o *outputs) discard(rel string) error {
	err := o.root.RemoveAll(rel)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	o.unseal(rel)
	return o.root.RemoveAll(rel)
}

// unseal makes a folder and those in it writable, as far as that can be done.
func (o *outputs) unseal(rel string) {
	if fi, err := o.root.Lstat(rel); err != nil || !fi.IsDir() || o.root.Chmod(rel, 0o700) != nil {
		return
	}
	dir, err := o.root.Open(rel)
	if err != nil {
		return
	}
	names, _ := dir.Readdirnames(-1)
	dir.Close()
	for _, n := range names {
		o.unseal(rel + "/" + n)
	}
}

// folder makes a folder, in place of whatever else is there.
func (o *outputs) folder(e cache.Entry) error {
	if fi, err := o.root.Lstat(e.Path); err == nil && fi.IsDir() {
		return nil
	} else if err == nil {
		if err := o.root.Remove(e.Path); err != nil {
			return err
		}
	}
	return o.mkdirs(filepath.FromSlash(e.Path))
}

// put makes a file or link, beside and then in place of whatever is there.
func (o *outputs) put(ctx context.Context, e cache.Entry, s Store) error {
	dir := path.Dir(e.Path)
	if err := o.mkdirs(filepath.FromSlash(dir)); err != nil {
		return err
	}
	tmp := path.Join(dir, temporary+rand.Text())
	var err error
	if e.Kind == cache.Link {
		err = o.root.Symlink(e.Target, tmp)
	} else {
		err = o.write(ctx, tmp, e, s)
	}
	if err == nil {
		if fi, stat := o.root.Lstat(e.Path); stat == nil && fi.IsDir() {
			err = o.discard(e.Path)
		}
	}
	if err == nil {
		_, err = o.root.Rename(tmp, e.Path)
	}
	if err != nil {
		_ = o.root.Remove(tmp)
	}
	return err
}

// write copies a blob into a new file, or shares its blocks.
func (o *outputs) write(ctx context.Context, name string, e cache.Entry, s Store) (err error) {
	src, err := s.Open(ctx, e.Blob)
	if err != nil {
		return err
	}
	defer src.Close()
	f, err := o.root.File(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if file, ok := src.(*files.File); !ok || files.Clone(f, file) != nil {
		n, err := files.Copy(f, src)
		if err != nil {
			return err
		}
		if n != e.Blob.Size {
			return fmt.Errorf("got %d bytes, want %d", n, e.Blob.Size)
		}
	}
	if err := giveTo(f.Chown, o.job.User, o.job.Group); err != nil {
		return err
	}
	return f.Chmod(e.Mode.Perm()) // after the owner: that would take bits away
}

// removeAll removes the outputs: those that the task alone makes, and of patterns what matches.
func (o *outputs) removeAll() error {
	nodes, err := o.scan()
	if err != nil {
		return err
	}
	var all []string
	for _, n := range nodes {
		all = append(all, n.rel)
	}
	for _, rel := range tops(all) {
		if err := o.discard(rel); err != nil {
			return err
		}
	}
	return nil
}

// tops leaves out the paths whose folder is among them.
func tops(paths []string) []string {
	in := make(map[string]bool, len(paths))
	for _, p := range paths {
		in[p] = true
	}
	return slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return in[path.Dir(p)] })
}

// sweep removes what a restore that was killed left beside outputs.
func (o *outputs) sweep() {
	for _, l := range o.list {
		if l.Pattern != nil {
			continue
		}
		dir, err := o.root.Open(filepath.Dir(l.rel))
		if err != nil {
			continue
		}
		names, _ := dir.Readdirnames(-1)
		dir.Close()
		for _, n := range names {
			if strings.HasPrefix(n, temporary) {
				_ = o.root.Remove(filepath.Join(filepath.Dir(l.rel), n))
			}
		}
	}
}
