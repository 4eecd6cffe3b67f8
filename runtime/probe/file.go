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
type fileProbe struct{ path string }

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
	return &fileProbe{path}, nil
}

// Check looks for the file; symlinks are followed.
func (p *fileProbe) Check(context.Context) error {
	_, err := os.Stat(p.path)
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
	return nil
}
