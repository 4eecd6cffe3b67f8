//go:build !linux

package bind

import "os"

// settle gives a fresh socket file its mode and owner.
func settle(path string, mode os.FileMode, o owner) error {
	if o != us {
		if err := os.Lchown(path, o.uid, o.gid); err != nil {
			return err
		}
	}
	return os.Chmod(path, mode)
}
