package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"slices"
	"sync"

	"orrery/runtime/files"
)

// batch is how many files of a folder a worker takes at once.
const batch = 32

// Unpack makes in an empty folder what the index says, owned by o. Of a content that is a *files.File the blocks are shared where the file
// system can. Nothing outside of the folder is written. After an error, and when ctx ends, the folder holds a part.
func Unpack(ctx context.Context, dir *os.Root, index []byte, content io.ReaderAt, o Owner) error {
	all, err := decode(index)
	if err != nil {
		return err
	}
	from := &source{ReaderAt: content}
	from.file, _ = content.(*files.File)
	u := &unpacker{dir: dir, from: from, owner: o}
	var files, links, folders []entry
	for _, e := range all {
		switch e.kind {
		case 'd':
			folders = append(folders, e)
		case 'f':
			files = append(files, e)
		case 'l':
			links = append(links, e)
		}
	}
	for _, e := range folders[1:] {
		if err := dir.Mkdir(e.path, 0o700); err != nil {
			return err
		}
	}
	if err := u.files(ctx, files); err != nil {
		return err
	}
	for _, e := range links {
		if err := dir.Symlink(e.target, e.path); err != nil {
			return err
		}
		if o != Us() {
			if err := dir.Lchown(e.path, o.UID, o.GID); err != nil {
				return err
			}
		}
	}
	for _, e := range slices.Backward(folders) { // a folder may be closed to us when it is done
		if err := u.close(e); err != nil {
			return err
		}
	}
	return ctx.Err()
}

type unpacker struct {
	dir   *os.Root
	from  *source
	owner Owner
}

// close gives a folder its owner and mode.
func (u *unpacker) close(e entry) error {
	f, err := u.dir.Open(e.path)
	if err != nil {
		return err
	}
	defer f.Close()
	return u.finish(f, e)
}

// finish gives an open file its owner, then its mode: the former would take bits away.
func (u *unpacker) finish(f *os.File, e entry) error {
	if u.owner != Us() {
		if err := f.Chown(u.owner.UID, u.owner.GID); err != nil {
			return err
		}
	}
	return f.Chmod(e.mode)
}

// files makes files, several at a time.
func (u *unpacker) files(ctx context.Context, all []entry) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan []entry)
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), 8) {
		wg.Go(func() {
			for some := range work {
				if err := u.some(ctx, some); err != nil {
					cancel(err)
				}
			}
		})
	}
	for len(all) > 0 && ctx.Err() == nil {
		n, dir := 1, path.Dir(all[0].path)
		for n < min(batch, len(all)) && path.Dir(all[n].path) == dir {
			n++
		}
		work <- all[:n]
		all = all[n:]
	}
	close(work)
	wg.Wait()
	return context.Cause(ctx)
}

// some makes files of one folder.
func (u *unpacker) some(ctx context.Context, all []entry) (err error) {
	dir, err := u.dir.OpenRoot(path.Dir(all[0].path))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	buf := make([]byte, 64<<10)
	for _, e := range all {
		if ctx.Err() != nil {
			return nil
		}
		if err := u.file(dir, e, buf); err != nil {
			return fmt.Errorf("cannot make %s: %w", e.path, err)
		}
	}
	return nil
}

func (u *unpacker) file(dir *os.Root, e entry, buf []byte) (err error) {
	f, err := dir.OpenFile(path.Base(e.path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := u.from.copy(f, e, buf); err != nil {
		return err
	}
	return u.finish(f, e)
}

// source is where content comes from.
type source struct {
	io.ReaderAt
	file *files.File // the same, if it is one
	sharing
}

// copy writes the content of a file, or shares its blocks.
func (s *source) copy(f *os.File, e entry, buf []byte) error {
	if e.size == 0 {
		return nil
	}
	if s.file != nil && s.share(f, s.file, e) {
		return nil
	}
	r := io.NewSectionReader(s, e.offset, e.size)
	for at := int64(0); at < e.size; {
		n, err := io.ReadFull(r, buf[:min(int64(len(buf)), e.size-at)])
		if err != nil {
			return fmt.Errorf("the content ends too early: %w", err)
		}
		if _, err := f.Write(buf[:n]); err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}
