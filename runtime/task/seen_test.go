package task

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"orrery/runtime/fresh"
)

// A file may be looked at twice, the first time so early that it is young and the second time not: it is settled all the same.
func TestSettleSightsOfTwoTicks(t *testing.T) {
	name := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(name, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	changed := time.Unix(0, fresh.StateOf(fi, time.Now()).Ctime)
	seen := sights{at: changed}
	seen.add(name, fresh.Target, fi, nil)
	seen.at = changed.Add(time.Nanosecond)
	seen.add(name, fresh.Path, fi, nil)
	sum, _, err := new(FileHashes).read(name)
	if err != nil {
		t.Fatal(err)
	}
	seen.content(sum)
	r := Result{Seen: seen.all, young: seen.young}
	if !r.Seen[0].State.Young || r.Seen[1].State.Young {
		t.Fatalf("got %+v, want a young sight and one that is not", r.Seen)
	}
	r.Settle()
	for _, s := range r.Seen {
		if s.State.Young {
			t.Errorf("%s looked at as %v is still young", s.Name, s.How)
		}
	}
}
