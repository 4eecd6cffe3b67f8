package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"syscall"
)

// Pack writes the content of the files in a folder to w and gives the index. What cannot be kept is an error that names it: a pipe, socket or
// device, a file of another owner than o says (where it says one), a file that changes meanwhile. An error of w comes back as it is.
func Pack(ctx context.Context, dir *os.Root, w io.Writer, o Owner) (index []byte, err error) {
	p := &packer{ctx: ctx, dir: dir, w: w, owner: o, seen: map[[sha256.Size]byte]int64{}, buf: make([]byte, 64<<10)}
	if err := p.walk("."); err != nil {
		return nil, err
	}
	return encode(p.all), nil
}

type packer struct {
	ctx   context.Context
	dir   *os.Root
	w     io.Writer
	owner Owner
	all   []entry
	at    int64                       // bytes written
	seen  map[[sha256.Size]byte]int64 // where a content stands
	buf   []byte
}

// walk packs what is at a path, and below it.
func (p *packer) walk(rel string) error {
	if err := p.ctx.Err(); err != nil {
		return context.Cause(p.ctx)
	}
	fi, err := p.dir.Lstat(rel)
	if err != nil {
		return err
	}
	if err := p.owned(rel, fi); err != nil {
		return err
	}
	e := entry{path: rel, mode: fi.Mode()}
	switch t := fi.Mode(); {
	case t.IsDir():
		e.kind = 'd'
		p.all = append(p.all, e)
		return p.folder(rel)
	case t.IsRegular():
		e.kind, e.size = 'f', fi.Size()
		e.offset, err = p.file(rel, fi)
	case t&fs.ModeSymlink != 0:
		e.kind = 'l'
		e.target, err = p.dir.Readlink(rel)
	default:
		err = fmt.Errorf("%s is a pipe, a socket or a device", rel)
	}
	p.all = append(p.all, e)
	return err
}

func (p *packer) folder(rel string) error {
	f, err := p.dir.Open(rel)
	if err != nil {
		return err
	}
	names, err := f.Readdirnames(-1)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if err := p.walk(path.Join(rel, name)); err != nil {
			return err
		}
	}
	return nil
}

// owned refuses what would come back with another owner.
func (p *packer) owned(rel string, fi fs.FileInfo) error {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if o := p.owner; o.UID >= 0 && int(st.Uid) != o.UID || o.GID >= 0 && int(st.Gid) != o.GID {
		return fmt.Errorf("%s belongs to user %d, group %d, want %d and %d", rel, st.Uid, st.Gid, o.UID, o.GID)
	}
	return nil
}

// file writes the content of a file where it has not been written yet.
func (p *packer) file(rel string, fi fs.FileInfo) (offset int64, err error) {
	f, err := p.dir.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	sum := sha256.New()
	if err := p.copy(sum, f, rel, fi); err != nil {
		return 0, err
	}
	key := [sha256.Size]byte(sum.Sum(nil))
	if at, ok := p.seen[key]; ok {
		return at, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	again := sha256.New()
	offset = p.at
	if err := p.copy(io.MultiWriter(again, p.w), f, rel, fi); err != nil {
		return 0, err
	}
	if [sha256.Size]byte(again.Sum(nil)) != key {
		return 0, fmt.Errorf("%s changes while it is read", rel)
	}
	p.seen[key] = offset
	p.at += fi.Size()
	if rest := p.at % block; rest > 0 {
		n, err := p.w.Write(make([]byte, block-rest))
		p.at += int64(n)
		return offset, err
	}
	return offset, nil
}

// copy reads a file as long as it was said to be.
func (p *packer) copy(w io.Writer, f *os.File, rel string, fi fs.FileInfo) error {
	now, err := f.Stat()
	if err != nil {
		return err
	}
	n, err := io.CopyBuffer(w, io.LimitReader(f, fi.Size()+1), p.buf)
	if err != nil {
		return err
	}
	if !os.SameFile(fi, now) || n != fi.Size() {
		return fmt.Errorf("%s changes while it is read", rel)
	}
	return nil
}
