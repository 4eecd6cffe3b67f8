package bind

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"orrery/lang/graph"
)

// dataIDFile is where the data_id of a service lies: beside the state directories, in none of them.
func dataIDFile(d Dirs, node string) string { return filepath.Join(d.State, ".ids", flat(node)) }

// readDataID reads the data_id of a state_dir that exists.
func readDataID(d Dirs, node string) (string, error) {
	if _, err := os.Lstat(d.Path("state", node)); err != nil {
		return "", err
	}
	b, err := os.ReadFile(dataIDFile(d, node))
	return strings.TrimSpace(string(b)), err
}

func (b *Binding) dataID(node string) (string, error) {
	b.mu.RLock()
	id, ok := b.values[mark(node, "data_id")]
	b.mu.RUnlock()
	if ok {
		return id, nil
	}
	id, err := readDataID(b.dirs, node)
	if err != nil {
		return "", fmt.Errorf("cannot tell the data_id of %s: its state_dir does not exist yet; wait for %s to start", node, node)
	}
	return id, nil
}

// MakeDirs makes the state, runtime and cache directories of a service before its first start, and mints its data_id when
// the state_dir is new. The state_dir of a service that a task templates is there by then, or stays empty; see [Template].
func (b *Binding) MakeDirs(node string) error {
	n := b.g.Node(node)
	if n == nil || n.Kind != graph.KindService {
		return nil
	}
	o, err := ownerOf(b.g, n)
	if err != nil {
		return err
	}
	// First, so that a crash between the two never leaves the old id beside a new directory.
	if err := b.forget(node); err != nil {
		return err
	}
	for _, kind := range []string{"state", "run", "cache"} {
		if _, err := b.dirs.make(kind, node, o); err != nil {
			return err
		}
	}
	return b.mintDataID(node)
}

// forget drops the data_id of a state_dir that is gone.
func (b *Binding) forget(node string) error {
	if _, err := os.Lstat(b.dirs.Path("state", node)); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.Remove(dataIDFile(b.dirs, node)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot forget the data_id of %s: %w", node, err)
	}
	return nil
}

// mintDataID gives the state_dir of a service a data_id if it has none.
func (b *Binding) mintDataID(node string) error {
	file := dataIDFile(b.dirs, node)
	if _, err := os.Lstat(file); err == nil {
		return nil
	}
	raw := make([]byte, 16)
	rand.Read(raw)
	err := os.MkdirAll(filepath.Dir(file), 0o700)
	if err == nil {
		_, err = writeFile(file, []byte(hex.EncodeToString(raw)+"\n"), fileMode{0o600, us})
	}
	if err != nil {
		return fmt.Errorf("cannot keep the data_id of %s: %w", node, err)
	}
	return nil
}
