package bind

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"orrery/lang/graph"
)

// TestEveryLeaseOperation fails each operation on the file of leases, alone and with all after it: when a service comes to those
// that have a lease, when a successor adopts, and when a reservation is given up. The file is always the old or the new one, who
// is told a number has it alone, and when the fault is over all have the numbers that they had.
func TestEveryLeaseOperation(t *testing.T) {
	for _, what := range []string{"prepare", "adopt", "release"} {
		count := 0
		leaseFault(t, what, func(string) error { count++; return nil }, false)
		if count < 4 {
			t.Errorf("%s: got %d operations", what, count)
		}
		faults := 0
		for i := range count * 6 {
			at, last, err := i/6+1, i%2 == 0, []error{syscall.ENOSPC, syscall.EIO, syscall.EROFS}[i%3]
			n := 0
			leaseFault(t, what, func(string) error {
				if n++; n == at || last && n > at {
					return err
				}
				return nil
			}, true)
			faults++
		}
		t.Logf("%s: %d operations, %d faults", what, count, faults)
	}
}

func leaseFault(t *testing.T, what string, fault func(string) error, fails bool) {
	t.Helper()
	p := base(t, 4)
	g := newGraph(t, graph.Decl{}, service("a", port("http", p)), service("b", port("http", p)), service("c", tcp("http", p)))
	d := dirs(t)
	old := openTable(t, d)
	prepare(t, old, g, "b", "c")
	b, c := number(t, old, "b", "http"), number(t, old, "c", "http")
	before := leased(t, d)

	tab := old
	if what == "adopt" {
		old.Close()
		tab = openTable(t, d)
		prepare(t, tab, g, "c")
	}
	tab.disk.fault = fault
	var err error
	switch what {
	case "prepare":
		err = tab.Prepare(g, []string{"a", "b", "c"}, Options{})
		if _, ok := tab.Port("a", "http"); ok != (err == nil) {
			t.Errorf("got a port of a: %v, with the error %v", ok, err)
		}
	case "adopt":
		err = tab.Adopt(g, "a", map[string]int{"http": p + 3}, nil)
	case "release":
		tab.Release("b")
	}
	if fails && what != "release" && (err == nil || !strings.Contains(err.Error(), "cannot keep the port leases in ")) {
		t.Errorf("%s: got %v", what, err)
	}
	now := leased(t, d)
	for k, n := range before {
		if now[k] != n {
			t.Errorf("%s: the leases were %v and are %v", what, before, now)
		}
	}
	alone(t, now)

	// A second engine that reads what is there keeps off what is held; then the fault is over.
	other := openTable(t, d)
	og := newGraph(t, graph.Decl{}, service("other", port("http", p)), service("a", port("http", p)), service("b", port("http", p)), service("c", tcp("http", p)))
	if err := other.Prepare(og, []string{"other"}, Options{}); err != nil {
		t.Error(err)
	}
	if n, _ := other.Port("other", "http"); n == b || n == c || n == 0 {
		t.Errorf("%s: other got %d, which b (%d) or c (%d) has", what, n, b, c)
	}
	other.Close()
	tab.disk.fault = nil
	prepare(t, tab, g, "a", "b", "c")
	if what != "adopt" && number(t, tab, "b", "http") != b || number(t, tab, "c", "http") != c {
		t.Errorf("%s: got b %d and c %d, want %d and %d", what, number(t, tab, "b", "http"), number(t, tab, "c", "http"), b, c)
	}
	alone(t, leased(t, d))
	if len(leased(t, d)) != 3 {
		t.Errorf("%s: got %v after the fault", what, leased(t, d))
	}
	tab.Close()
	if !fails {
		if left, _ := filepath.Glob(d.Root + "/.tmp-*"); len(left) > 0 {
			t.Errorf("%s: %v are left", what, left)
		}
	}
}

// leased reads the file, which must be whole.
func leased(t *testing.T, d Dirs) map[string]int {
	t.Helper()
	var all []lease
	b, err := os.ReadFile(d.Leases)
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil {
		t.Fatalf("the leases are lost: %v: %q", err, b)
	}
	m := map[string]int{}
	for _, l := range all {
		m[l.Node] = l.Number
	}
	return m
}

func alone(t *testing.T, leased map[string]int) {
	t.Helper()
	numbers := slices.Sorted(maps.Values(leased))
	if want := slices.Compact(slices.Clone(numbers)); len(want) != len(numbers) {
		t.Errorf("got one number twice: %s", fmt.Sprint(leased))
	}
}
