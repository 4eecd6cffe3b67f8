package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

// TestOneExecution: of many runs of one task at the same time one executes it,
// in one checkout and in several that share the cache; all succeed, with the
// same outputs.
func TestOneExecution(t *testing.T) {
	const runs = 50
	for _, checkouts := range []int{1, 5} {
		t.Run(fmt.Sprintf("%d checkouts", checkouts), func(t *testing.T) {
			log := t.TempDir() + "/log"
			star := fmt.Sprintf(`task("x", command = "echo ran >> %s; sleep 0.3; cat in.txt in.txt > out.txt; date +%%s%%N >> out.txt; echo said", inputs = ["in.txt"], outputs = {"o": "out.txt"})`, log)
			all := []*checkout{newCheckout(t, star)}
			for len(all) < checkouts {
				c := newCheckout(t, star)
				c.env = append(c.env, cacheOf(all[0]))
				all = append(all, c)
			}
			for round := 1; round <= 3; round++ {
				for _, c := range all {
					c.write("in.txt", fmt.Sprint("round ", round, "\n"))
				}
				results := make([]ran, runs)
				var wg sync.WaitGroup
				for i := range results {
					wg.Go(func() { results[i] = all[i%checkouts].orrery("run", "x") })
				}
				wg.Wait()
				for i, r := range results {
					if r.code != 0 || r.out != "said\n" {
						t.Errorf("round %d, run %d: %s", round, i, r)
					}
				}
				b, err := os.ReadFile(log)
				if n := strings.Count(string(b), "ran\n"); err != nil || n != round {
					t.Errorf("got %d executions after %d rounds (%v)", n, round, err)
				}
				for _, c := range all {
					if got, want := c.read("out.txt"), all[0].read("out.txt"); got != want || !strings.HasPrefix(got, fmt.Sprint("round ", round)) {
						t.Errorf("round %d: got %q in one checkout and %q in another", round, want, got)
					}
				}
			}
		})
	}
}

// cacheOf is the variable that names a checkout's cache.
func cacheOf(c *checkout) string {
	for _, kv := range c.env {
		if strings.HasPrefix(kv, "XDG_CACHE_HOME=") {
			return kv
		}
	}
	return ""
}
