//go:build !linux

package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
)

// Locks are locks with names: here files of their own beside the path.
type Locks struct{ path string }

// OpenLocks gives the locks of a path.
func OpenLocks(path string) *Locks { return &Locks{path} }

// Lock waits until nobody else, in this process or another, holds the name. A holder that is killed holds it no more. It must be unlocked with
// what it gives. A *UnavailableError says that there is nothing to lock.
func (l *Locks) Lock(ctx context.Context, name string) (unlock func(), err error) {
	sum := sha256.Sum256([]byte(name))
	return LockFile(ctx, l.path+"."+hex.EncodeToString(sum[:8]))
}

// Close lets go of what is not locked.
func (l *Locks) Close() {}
