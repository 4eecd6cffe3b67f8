package main

import (
	"context"
	"path/filepath"
	"time"

	"orrery/runtime/cache"
	"orrery/runtime/control"
	"orrery/runtime/task"
)

// What the cache may hold: looked at once a day.
const (
	cacheBytes = 10 << 30
	cacheAge   = 30 * 24 * time.Hour
)

// openCaching opens the user's cache for the tasks of a checkout. One that
// cannot be used is said once; tasks then run uncached.
func (a *app) openCaching(place control.Place) (*task.Caching, *task.FileHashes) {
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
	return &task.Caching{Store: store, Dir: filepath.Join(place.Dir, "tasks"), Salt: salt}, hashes
}

// trimCache trims the cache when that is due. A cache that cannot be trimmed
// only grows, and is said by orrery cache trim.
func trimCache(c *task.Caching) {
	if c == nil {
		return
	}
	if store, ok := c.Store.(*cache.Store); ok {
		store.Trim(context.Background(), cache.Limits{MaxBytes: cacheBytes, MaxAge: cacheAge, Every: 24 * time.Hour})
	}
}

// endCaching keeps the hashes of files; without them the next run reads more.
func endCaching(c *task.Caching, hashes *task.FileHashes) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	hashes.Save(ctx)
	if c == nil {
		return
	}
	if store, ok := c.Store.(*cache.Store); ok {
		store.Close()
	}
}
