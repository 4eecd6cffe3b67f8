package main

import (
	"fmt"
	"sync"
	"testing"
)

// TestTortureEnding: an engine ends as soon as nobody holds anything. Whoever
// comes at that very moment waits for its end and starts another one.
func TestTortureEnding(t *testing.T) {
	torture(t)
	rounds := form(10, 100)
	c := newCheckout(t, `
web = service("web", command = ["$T", "sleep", "web"])
task("use", command = "true", after = [web])
service("other", command = ["$T", "sleep", "other"])
`)
	count := map[string]int{}
	var mu sync.Mutex
	again := func(what string, ok func(ran) bool, args ...string) func() {
		return func() {
			for i := range rounds {
				r := c.orrery(args...)
				mu.Lock()
				count[fmt.Sprintf("%s: exit %d", what, r.code)]++
				mu.Unlock()
				if !ok(r) {
					t.Errorf("%s, round %d: %s", what, i, r)
				}
			}
		}
	}
	good := func(r ran) bool { return r.code == 0 }

	// The end of one run is the end of the engine that the next one meets.
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(again("run beside run", good, "run", "use"))
	}
	wg.Wait()

	// A down ends what up -d has started, at any instant of it.
	wg.Go(again("up -d beside down", good, "up", "-d", "other"))
	wg.Go(again("down beside up -d", good, "down"))
	wg.Wait()

	// A down may take a run's service from under it: that is a failure of the run, and nothing else is.
	wg.Go(again("run beside down", func(r ran) bool { return r.code == 0 || r.code == 1 }, "run", "use"))
	wg.Go(again("down beside run", good, "down"))
	wg.Wait()
	c.must("down")
	t.Logf("%v", count)
}
