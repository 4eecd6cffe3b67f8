package main

import (
	"context"
	"path/filepath"
	"time"

	"orrery/runtime/cache"
	"orrery/runtime/control"
	"orrery/runtime/remote"
	"orrery/runtime/task"
)

// What the cache may hold: looked at once a day.
const (
	cacheBytes = 10 << 30
	cacheAge   = 30 * 24 * time.Hour
)

// openCaching opens the user's cache for the tasks of a checkout, and the
// remote one behind it. One that cannot be used is said once; tasks then run
// without it.
func (a *app) openCaching(place control.Place, f remoteFlags, retry time.Duration) (*task.Caching, *task.FileHashes) {
	hashes := &task.FileHashes{Path: filepath.Join(place.Dir, "memo")}
	store, err := cache.Open(place.Cache, cache.Options{})
	var salt []byte
	if err == nil {
		salt, err = store.Salt()
	}
	if err != nil {
		a.say("tasks are not cached: %v", err)
		return nil, hashes
	}
	c := &task.Caching{Store: store, Dir: filepath.Join(place.Dir, "tasks"), Salt: salt}
	c.Share()
	if r := a.behind(store, f, retry); r != nil {
		c.Store = r
	}
	return c, hashes
}

// localOf is the cache on disk, and the remote one if there is one.
func localOf(c *task.Caching) (*cache.Store, *remote.Store) {
	if c == nil {
		return nil, nil
	}
	if r, ok := c.Store.(*remote.Store); ok {
		return r.Store, r
	}
	local, _ := c.Store.(*cache.Store)
	return local, nil
}

// trimCache trims the cache when that is due. A cache that cannot be trimmed
// only grows, and is said by orrery cache trim.
func trimCache(c *task.Caching) {
	if store, _ := localOf(c); store != nil {
		store.Trim(context.Background(), cache.Limits{MaxBytes: cacheBytes, MaxAge: cacheAge, Every: 24 * time.Hour})
	}
}

// endCaching ends what goes on in the background, unless ctx is done, and
// keeps the hashes of files; without them the next run reads more.
func endCaching(ctx context.Context, place control.Place, c *task.Caching, hashes *task.FileHashes) {
	local, behind := localOf(c)
	if behind != nil {
		endRemote(ctx, behind, place.Cache)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	hashes.Save(ctx)
	if local != nil {
		local.Close()
		c.Close()
	}
}
