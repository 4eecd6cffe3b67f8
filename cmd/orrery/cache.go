package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"orrery/runtime/cache"
)

func cacheCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "cache", Short: "Look at, check, trim or clear the results of tasks",
		Long: "The results of tasks are kept by content, for all checkouts of a user. Records and\nblobs that are not used for 30 days go, and the oldest ones beyond 10 GiB.\n\nstats also asks the remote cache, where one is set (see orrery help run), and says\nwhat the last run with one had from it.",
		Example: `  orrery cache stats
  orrery cache verify          read all, drop what is damaged
  orrery cache trim --max-bytes 1073741824
  orrery cache clear`,
		Args: noArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	sub := func(name, short string, run func(context.Context, *cache.Store) (any, error)) *cobra.Command {
		s := &cobra.Command{Use: name, Short: short, Args: noArgs, RunE: func(c *cobra.Command, _ []string) error {
			return a.withCache(c.Context(), run)
		}}
		c.AddCommand(s)
		return s
	}
	sub("stats", "Say how much it holds", func(ctx context.Context, s *cache.Store) (any, error) {
		st, err := s.Stats(ctx)
		return cacheStats{st, remoteStatsOf(ctx, s, a.cacheDir())}, err
	})
	sub("verify", "Read everything and drop what is damaged", func(ctx context.Context, s *cache.Store) (any, error) { return s.Verify(ctx) })
	limits := cache.Limits{MaxBytes: cacheBytes, MaxAge: cacheAge}
	trim := sub("trim", "Drop what is old or too much", func(ctx context.Context, s *cache.Store) (any, error) { return s.Trim(ctx, limits) })
	trim.Flags().Int64Var(&limits.MaxBytes, "max-bytes", limits.MaxBytes, "keep at most `N` bytes")
	trim.Flags().DurationVar(&limits.MaxAge, "max-age", limits.MaxAge, "drop what was not used for `TIME`")
	sub("clear", "Drop everything", func(ctx context.Context, s *cache.Store) (any, error) { return s.Clear(ctx) })
	return c
}

// cacheStats is the JSON of cache stats.
type cacheStats struct {
	cache.Stats
	Remote *remoteStats `json:"remote,omitempty"`
}

// cacheDir is the folder of the user's cache; one that is not absolute is
// refused when it is opened.
func (a *app) cacheDir() string {
	base, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(base, "orrery")
}

// withCache opens the user's cache, which needs no project, and shows what run
// says of it.
func (a *app) withCache(ctx context.Context, run func(context.Context, *cache.Store) (any, error)) error {
	dir := a.cacheDir()
	step, end := a.work("looking through the cache")
	defer end()
	store, err := cache.Open(dir, cache.Options{Progress: step})
	if err != nil {
		return err
	}
	defer store.Close()
	v, err := run(ctx, store)
	end()
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(v)
	}
	switch v := v.(type) {
	case cacheStats:
		fmt.Printf("%s\n%s, %s, %s\n", dir, plural(v.Records, "result"), plural(v.Blobs, "blob"), bytesText(v.Bytes))
		if v.Records > 0 {
			fmt.Printf("last used between %s and %s\n", v.Oldest.Format(time.DateTime), v.Newest.Format(time.DateTime))
		}
		v.Remote.show()
	case cache.Report:
		if v.Skipped {
			fmt.Println("another trim is at work")
			return nil
		}
		fmt.Printf("dropped %s, %s, %s\n", plural(v.Records, "result"), plural(v.Blobs, "blob"), bytesText(v.Bytes))
		for _, bad := range v.Bad {
			fmt.Println("dropped:", bad)
		}
		if len(v.Bad) > 0 {
			return exitError{exitFailed}
		}
	}
	return nil
}

// bytesText shows a size as people read it.
func bytesText(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}
