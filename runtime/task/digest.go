package task

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"orrery/runtime/cache"
	"orrery/runtime/files"
	"orrery/runtime/fresh"
)

// node is a file, folder or link that is there, below an output.
type node struct {
	rel     string // from the root, with slashes
	fi      fs.FileInfo
	pattern bool // of an output that is a pattern
}

// scan lists what there is of the outputs, sorted, without reading any file.
func (o *outputs) scan() ([]node, error) {
	o.seen = sights{at: fresh.Clock()}
	var all []node
	for _, l := range o.list {
		if l.Pattern != nil {
			found, err := glob(o.job.Root, l.Pattern, &o.seen)
			if err != nil {
				return nil, err
			}
			for _, rel := range found {
				all = append(all, node{rel: rel, pattern: true})
			}
			continue
		}
		rel := filepath.ToSlash(l.rel)
		if fi, err := files.Lstat(o.abs(rel)); missing(err) {
			continue
		} else if err == nil && !fi.IsDir() {
			all = append(all, node{rel: rel, fi: fi}) // a link to a folder is no folder: what it leads to is not ours
			continue
		}
		err := o.walk(rel, func(rel string) { all = append(all, node{rel: rel}) })
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(all, func(a, b node) int { return cmp.Compare(a.rel, b.rel) })
	all = slices.CompactFunc(all, func(a, b node) bool { return a.rel == b.rel })
	err := parallel(len(all), func(i int) error {
		if all[i].fi != nil {
			return nil
		}
		fi, err := files.Lstat(o.abs(all[i].rel))
		if err == nil {
			all[i].fi = fi
		} else if !missing(err) {
			return err
		}
		return nil
	})
	all = slices.DeleteFunc(all, func(n node) bool { return n.fi == nil })
	for _, n := range all {
		o.seen.add(o.abs(n.rel), fresh.Path, n.fi, nil)
	}
	return all, err
}

// walk names a folder and all that is in it; it follows no link. (What fs.FS lists must be UTF-8.)
func (o *outputs) walk(dir string, visit func(rel string)) error {
	visit(dir)
	entries, err := os.ReadDir(o.abs(dir))
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		rel := dir + "/" + e.Name()
		if !e.IsDir() {
			visit(rel)
		} else if err := o.walk(rel, visit); err != nil {
			return err
		}
	}
	return nil
}

func (o *outputs) abs(rel string) string { return filepath.Join(o.job.Root, filepath.FromSlash(rel)) }

// hashed gives the hash of a file.
func (o *outputs) hashed(n node) (cache.Blob, error) {
	sum, err := o.job.hashes().file(o.abs(n.rel), n.fi)
	return cache.Blob{Hash: sum, Size: n.fi.Size()}, err
}

// entries describes the outputs as they are now. content gives the blob of a file.
func (o *outputs) entries(content func(node) (cache.Blob, error)) ([]cache.Entry, error) {
	nodes, err := o.scan()
	if err != nil {
		return nil, err
	}
	all := make([]cache.Entry, len(nodes))
	err = parallel(len(nodes), func(i int) (err error) {
		n := nodes[i]
		e := cache.Entry{Path: n.rel}
		switch t := n.fi.Mode(); {
		case t.IsRegular():
			e.Kind, e.Mode = cache.File, t.Perm()
			e.Blob, err = content(n)
		case t.IsDir():
			e.Kind, e.Mode = cache.Dir, t.Perm()
		case t&fs.ModeSymlink != 0:
			e.Kind = cache.Link
			e.Target, err = os.Readlink(o.abs(n.rel))
		default:
			e.Kind = special(t)
		}
		all[i] = e
		return err
	})
	if err == nil {
		o.seen.contents(all, o.abs)
	}
	return all, err
}

// special names what is no file, folder or link.
func special(m fs.FileMode) cache.Kind {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

// digestOf is a hash of outputs (path, mode, content) and values: two results with the same digest are the same to whoever uses
// them.
func digestOf(entries []cache.Entry, values map[string]string) string {
	h := sha256.New()
	for _, e := range entries {
		fmt.Fprintf(h, "%q %s %o %s %q\n", e.Path, e.Kind, e.Mode, e.Blob.Hash, e.Target)
	}
	for _, k := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(h, "value %q %q\n", k, values[k])
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// idents are the states of the files and links that there are.
func (o *outputs) idents() map[string]ident {
	nodes, err := o.scan()
	if err != nil {
		return nil // none is known: none is left over
	}
	all := map[string]ident{}
	for _, n := range nodes {
		if !n.fi.IsDir() {
			all[n.rel] = identOf(n.fi)
		}
	}
	return all
}

// leftover names a file of the outputs that is as it was before.
func (o *outputs) leftover(before map[string]ident) string {
	if len(before) == 0 {
		return ""
	}
	now := o.idents()
	for _, rel := range slices.Sorted(maps.Keys(now)) {
		if id, ok := before[rel]; ok && id == now[rel] {
			return rel
		}
	}
	return ""
}

// firstDifference says where two results differ; empty if they do not.
func firstDifference(a, b []cache.Entry, av, bv map[string]string) string {
	for i := 0; i < len(a) || i < len(b); i++ {
		switch {
		case i >= len(b) || i < len(a) && a[i].Path < b[i].Path:
			return a[i].Path + " was made once only"
		case i >= len(a) || b[i].Path < a[i].Path:
			return b[i].Path + " was made once only"
		case a[i].Kind != b[i].Kind || a[i].Mode != b[i].Mode:
			return fmt.Sprintf("%s differs in kind or mode (%s %04o, then %s %04o)", a[i].Path, a[i].Kind, a[i].Mode, b[i].Kind, b[i].Mode)
		case a[i] != b[i]:
			return a[i].Path + " differs"
		}
	}
	for _, k := range slices.Sorted(maps.Keys(av)) {
		if av[k] != bv[k] {
			return "the value " + k + " differs"
		}
	}
	return ""
}

// declares tells whether a path, relative to the root, is or lies in an output.
func (o *outputs) declares(rel string) bool {
	for _, l := range o.list {
		if l.Pattern != nil {
			if matches(l.Pattern, rel) {
				return true
			}
			continue
		}
		if own := filepath.ToSlash(l.rel); rel == own || strings.HasPrefix(rel, own+"/") {
			return true
		}
	}
	return false
}
