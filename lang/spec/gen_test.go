package spec

import (
	"bytes"
	"flag"
	"os"
	"testing"
)

var fix = flag.Bool("fix", false, "write the generated files")

// TestGenerated fails when a file written from spec.star is stale.
func TestGenerated(t *testing.T) {
	s := Load()
	src, err := s.GoSource()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range []struct {
		path string
		want []byte
	}{
		{"../graph/nodes_gen.go", src},
		{"../../docs/reference.md", s.Reference()},
		{"../../docs/services.pyi", s.Stub()},
	} {
		if *fix {
			if err := os.WriteFile(g.path, g.want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, _ := os.ReadFile(g.path)
		if !bytes.Equal(got, g.want) {
			t.Errorf("%s is stale: run go test ./lang/spec -fix", g.path)
		}
	}
}
