package lang

import (
	"strings"
	"testing"
)

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"bin/a", "bin/b", false},
		{"bin", "bin2", false},
		{"bin/a", "bin/a", true},
		{"bin", "bin/x/y", true},
		{"gen/x.go", "gen/*.go", true},
		{"gen/**/*.go", "gen/a/b/x.go", true},
		{"gen/*.go", "gen/x.c", false},
		{"gen", "gen/*.go", true},
		{"gen/*.go", "gen/*.go", true},
		{"gen/*.go", "gen/*.c", false},
		{"gen/*.go", "gen/kept.go", false}, // left out
	} {
		of := func(p string) made {
			return made{path: p, glob: strings.Contains(p, "*"), exclude: []string{"gen/kept.go"}}
		}
		if got := overlap(of(c.a), of(c.b)); got != c.want {
			t.Errorf("%s and %s: got %v, want %v", c.a, c.b, got, c.want)
		}
		if got := overlap(of(c.b), of(c.a)); got != c.want {
			t.Errorf("%s and %s: got %v, want %v", c.b, c.a, got, c.want)
		}
	}
}
