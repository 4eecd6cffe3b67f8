package bind

import (
	"fmt"
	"testing"
)

// TestManyLeases: what a lookup by number costs does not grow with the number of leases.
func TestManyLeases(t *testing.T) {
	ls := newLeases()
	const n = 20000
	for i := range n {
		ls.set(key{fmt.Sprint("node", i), "http"}, portSpec{proto: "tcp", base: 1024 + i}, 1024+i)
	}
	for i := range n {
		k, ok := ls.holder("tcp", 1024+i)
		if !ok || k.node != fmt.Sprint("node", i) {
			t.Fatalf("got %v, %v for %d", k, ok, i)
		}
		ls.evict(key{"other", "http"}, "tcp", 1024+i)
	}
	if len(ls.byPort) != 0 || len(ls.byNumber) != 0 {
		t.Errorf("got %d and %d left, want none", len(ls.byPort), len(ls.byNumber))
	}
}
