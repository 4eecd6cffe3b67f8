package task

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"

	"github.com/bmatcuk/doublestar/v4"
)

// digest is a hash of all outputs (path, mode, content) and values: two results
// with the same digest are the same to whoever uses them.
func (o *outputs) digest(values map[string]string) (string, error) {
	h := sha256.New()
	for _, l := range o.list {
		paths := []string{l.rel}
		if l.Pattern != nil {
			var err error
			if paths, err = o.matches(l); err != nil {
				return "", err
			}
		}
		for _, p := range paths {
			if err := o.hash(h, p); err != nil {
				return "", err
			}
		}
	}
	for _, k := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(h, "value %q %q\n", k, values[k])
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

// matches lists the files of a pattern, sorted.
func (o *outputs) matches(l located) ([]string, error) {
	var all []string
	for _, inc := range l.Pattern.Include {
		found, err := doublestar.Glob(o.root.FS(), inc)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// hash writes a file, or all that is in a folder, into h.
func (o *outputs) hash(h io.Writer, top string) error {
	return fs.WalkDir(o.root.FS(), top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := o.root.Lstat(p)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%q %s\n", p, st.Mode())
		switch {
		case st.Mode()&fs.ModeSymlink != 0:
			to, err := o.root.Readlink(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(h, "to %q\n", to)
		case st.Mode().IsRegular():
			f, err := o.root.Open(p)
			if err != nil {
				return err
			}
			defer f.Close()
			if _, err := io.Copy(h, f); err != nil {
				return err
			}
		}
		return nil
	})
}
