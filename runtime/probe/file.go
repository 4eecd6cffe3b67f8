package probe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"orrery/lang/graph"
)

// fileProbe: a file exists.
type fileProbe struct {
	path   string
	former os.FileInfo // the same file as a former instance left it, which does not count
}

func newFile(p *graph.Probe, t Target) (Probe, error) {
	path, err := t.fill("file", p.File)
	if err != nil {
		return nil, err
	}
	if path == "" {
		return nil, fmt.Errorf("file: got an empty path")
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(t.Dir, path)
	}
	return &fileProbe{path, t.Former}, nil
}

// Check looks for the file; symlinks are followed.
func (p *fileProbe) Check(context.Context) error {
	st, err := os.Stat(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("file %s: it does not exist", p.path)
	}
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	if err != nil {
		return fmt.Errorf("file %s: %w", p.path, err)
	}
	if p.former != nil && os.SameFile(st, p.former) && st.ModTime().Equal(p.former.ModTime()) {
		return fmt.Errorf("file %s: it is still that of the former instance", p.path)
	}
	return nil
}
