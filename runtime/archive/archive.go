// Package archive turns a folder into two texts and back: an index, which says what there is, and a content, in which each different
// content of a file stands once, at a multiple of 4 KiB.
//
// It is made for folders of a thousand small files that are copied often: one file is opened instead of a thousand, and a file system that
// shares blocks can share those of every file. What is kept is names, kinds, permission bits (setuid, setgid and sticky too), the targets of
// symbolic links and content. What is not: times, extended attributes, and that two names are one file; holes come back as zeros.
//
// Nothing is synced. Whoever makes a folder from an archive can make it again; whoever must not lose it syncs it himself.
package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// Owner is a user and a group by number; -1 leaves it to us.
type Owner struct{ UID, GID int }

// Us owns what needs no other owner.
func Us() Owner { return Owner{-1, -1} }

// block is what content begins at a multiple of, in bytes: no usual file system has larger blocks to share.
const block = 4096

// header begins an index.
const header = "orrery-archive 1"

// entry is one line of an index.
type entry struct {
	kind         byte // 'd', 'f' or 'l'
	path         string
	mode         fs.FileMode // of a folder or file
	size, offset int64       // of a file
	target       string      // of a link
}

// bits are the permission bits as the kernel counts them.
func bits(m fs.FileMode) uint32 {
	b := uint32(m.Perm())
	for i, special := range []fs.FileMode{fs.ModeSticky, fs.ModeSetgid, fs.ModeSetuid} {
		if m&special != 0 {
			b |= 0o1000 << i
		}
	}
	return b
}

// modeOf is the inverse of bits.
func modeOf(b uint32) fs.FileMode {
	m := fs.FileMode(b & 0o777)
	for i, special := range []fs.FileMode{fs.ModeSticky, fs.ModeSetgid, fs.ModeSetuid} {
		if b&(0o1000<<i) != 0 {
			m |= special
		}
	}
	return m
}

// encode writes an index: the header, then a line for each entry.
func encode(all []entry) []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, header)
	for _, e := range all {
		switch e.kind {
		case 'd':
			fmt.Fprintf(&b, "d %o %q\n", bits(e.mode), e.path)
		case 'f':
			fmt.Fprintf(&b, "f %o %d %d %q\n", bits(e.mode), e.size, e.offset, e.path)
		case 'l':
			fmt.Fprintf(&b, "l %q %q\n", e.target, e.path)
		}
	}
	return b.Bytes()
}

// decode reads an index, and refuses one that could make anything outside of its folder: the first entry is the folder itself, every path
// is inside of it, below a folder that was named before, and named once.
func decode(index []byte) ([]entry, error) {
	text := string(index)
	first, rest, ok := strings.Cut(text, "\n")
	if !ok || first != header || rest != "" && !strings.HasSuffix(rest, "\n") {
		return nil, fmt.Errorf("got no index that begins with %q and ends with a line", header)
	}
	var all []entry
	kinds := map[string]byte{}
	for line := range strings.Lines(rest) {
		e, err := parse(strings.TrimSuffix(line, "\n"))
		if err == nil {
			err = e.check(kinds)
		}
		if err != nil {
			return nil, fmt.Errorf("index, line %d: %w", len(all)+2, err)
		}
		kinds[e.path] = e.kind
		all = append(all, e)
	}
	if len(all) == 0 {
		return nil, errors.New("got an index without the folder itself")
	}
	return all, nil
}

// check refuses what has no place to go.
func (e entry) check(kinds map[string]byte) error {
	if e.path == "." {
		if len(kinds) > 0 || e.kind != 'd' {
			return errors.New(`got ".", which is the folder and the first entry`)
		}
		return nil
	}
	if !filepath.IsLocal(filepath.FromSlash(e.path)) || path.Clean(e.path) != e.path || strings.ContainsRune(e.path, 0) {
		return fmt.Errorf("got %q, want a clean path inside the folder", e.path)
	}
	if kinds[e.path] != 0 {
		return fmt.Errorf("got %q twice", e.path)
	}
	if kinds[path.Dir(e.path)] != 'd' {
		return fmt.Errorf("got %q without the folder above it", e.path)
	}
	if e.kind == 'l' && (e.target == "" || strings.ContainsRune(e.target, 0)) {
		return fmt.Errorf("got the link %q to %q", e.path, e.target)
	}
	return nil
}

// parse reads one line.
func parse(line string) (entry, error) {
	bad := fmt.Errorf("got %.80q, want d MODE PATH, f MODE SIZE OFFSET PATH or l TARGET PATH", line)
	kind, rest, _ := strings.Cut(line, " ")
	e := entry{}
	switch kind {
	case "d", "f":
		e.kind = kind[0]
		mode, after, _ := strings.Cut(rest, " ")
		b, err := strconv.ParseUint(mode, 8, 12)
		if err != nil {
			return e, bad
		}
		e.mode, rest = modeOf(uint32(b)), after
	case "l":
		e.kind = 'l'
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil || !strings.HasPrefix(rest[len(quoted):], " ") {
			return e, bad
		}
		e.target, _ = strconv.Unquote(quoted)
		rest = rest[len(quoted)+1:]
	default:
		return e, bad
	}
	if e.kind == 'f' {
		f := strings.SplitN(rest, " ", 3)
		if len(f) != 3 {
			return e, bad
		}
		var err, err2 error
		e.size, err = strconv.ParseInt(f[0], 10, 64)
		e.offset, err2 = strconv.ParseInt(f[1], 10, 64)
		if err != nil || err2 != nil || e.size < 0 || e.offset < 0 || e.offset%block != 0 || e.offset > 1<<62 || e.size > 1<<62 {
			return e, bad
		}
		rest = f[2]
	}
	var err error
	if e.path, err = strconv.Unquote(rest); err != nil || !strings.HasPrefix(rest, `"`) {
		return e, bad
	}
	return e, nil
}
