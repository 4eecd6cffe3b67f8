//go:build !linux

package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
)

// LockName waits until nobody else, in this process or another, holds a name in a lock file: here by a file of its own beside that.
func LockName(ctx context.Context, path, name string) (unlock func(), err error) {
	sum := sha256.Sum256([]byte(name))
	return LockFile(ctx, path+"."+hex.EncodeToString(sum[:8]))
}
