package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"sync"

	"orrery/runtime/files"
)

// source reads for as long as the context lasts, and remembers which side failed.
type source struct {
	ctx context.Context
	r   io.Reader
	err error
}

// Read reads.
func (s *source) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		s.err = err
		return 0, err
	}
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// Add keeps content as a blob. An error of the reader is given as it is; a *UnavailableError says that the content could not be
// kept, and that nothing is left of it. Of a *files.File at its beginning the blocks are shared where the file system can.
func (s *Store) Add(ctx context.Context, r io.Reader) (Blob, error) {
	o, err := s.disk.create()
	if err != nil {
		return Blob{}, &UnavailableError{"write to", err}
	}
	src := &source{ctx: ctx, r: r}
	h := sha256.New()
	var n int64
	if f, ok := r.(*files.File); ok && s.clones(o, f) {
		src.r = o.f
		n, err = files.Copy(h, src)
	} else {
		n, err = files.Copy(io.MultiWriter(o, h), src)
	}
	err = o.finish(err, false)
	if src.err != nil {
		return Blob{}, src.err
	}
	if err != nil {
		return Blob{}, &UnavailableError{"write to", err}
	}
	b := Blob{hex.EncodeToString(h.Sum(nil)), n}
	// An old blob of this name is replaced: it may be bad, and this one is as young as Trim must see it.
	fi, err := s.disk.move(o.name, shard(blobsDir, b.Hash))
	if err != nil {
		return Blob{}, &UnavailableError{"write to", err}
	}
	if fi != nil && fi.Size() == n {
		s.verified.add(&s.disk, fi, b.Hash)
	}
	return b, nil
}

// clones has a new file share the blocks of another one, if that can be done. A file system that never can is asked once.
func (s *Store) clones(o *out, f *files.File) bool {
	if s.disk.fault != nil || s.plain.Load() {
		return false
	}
	err := files.Clone(o.f, f)
	if errors.Is(err, errors.ErrUnsupported) {
		s.plain.Store(true)
	}
	return err == nil
}

// Open opens a blob for reading, from its beginning. Its content has been verified since boot. If it is missing or bad, the
// error is a miss.
func (s *Store) Open(ctx context.Context, b Blob) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.blob(b)
}

// Fetch makes sure that every blob is here and good; the first that is not is a miss.
func (s *Store) Fetch(ctx context.Context, blobs []Blob) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan Blob)
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(blobs)) {
		wg.Go(func() {
			for b := range work {
				f, err := s.blob(b)
				if err != nil {
					cancel(err)
					continue
				}
				f.Close()
			}
		})
	}
	for _, b := range blobs {
		if ctx.Err() != nil {
			break
		}
		work <- b
	}
	close(work)
	wg.Wait()
	s.verified.flush(&s.disk)
	return context.Cause(ctx)
}

// blob opens and, where that is not known, verifies.
func (s *Store) blob(b Blob) (*files.File, error) {
	if !validName(b.Hash) {
		return nil, fmt.Errorf("got the blob %q, want 64 hexadecimal digits", b.Hash)
	}
	name := shard(blobsDir, b.Hash)
	f, fi, err := s.disk.open(name)
	var bad *CorruptError
	switch {
	case errors.As(err, &bad):
		s.disk.remove(name)
		return nil, bad
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("blob %.12s is %w", b.Hash, ErrMiss)
	case err != nil:
		return nil, &UnavailableError{"read", err}
	}
	if reason := s.look(f, fi, b); reason != "" {
		f.Close()
		s.disk.remove(name)
		return nil, &CorruptError{name, reason}
	}
	return f, nil
}

// look says what is wrong with an open blob.
func (s *Store) look(f *files.File, fi fs.FileInfo, b Blob) string {
	if fi.Size() != b.Size {
		return fmt.Sprintf("got %d bytes, want %d", fi.Size(), b.Size)
	}
	if s.verified.has(&s.disk, fi, b.Hash) {
		return ""
	}
	h := sha256.New()
	if _, err := files.Copy(h, f); err != nil {
		return err.Error()
	}
	if hex.EncodeToString(h.Sum(nil)) != b.Hash {
		return "its content does not have its hash"
	}
	if err := f.Rewind(); err != nil {
		return err.Error()
	}
	s.verified.add(&s.disk, fi, b.Hash)
	return ""
}
