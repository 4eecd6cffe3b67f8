package lang_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"orrery/lang"
	"orrery/stdlib"
)

// TestStdlibExamples evaluates each example in the docstrings of the factories:
// it has no mistakes and no warnings.
func TestStdlibExamples(t *testing.T) {
	factories, _ := library(t)
	for _, f := range factories {
		doc, err := lang.Doc(stdlib.FS, f)
		if err != nil {
			t.Fatal(err)
		}
		examples := doc.Examples()
		if len(examples) == 0 && f != "@std//factory.star" && f != "@std//web.star" && f != "@std//gcloud.star" { // what factories are made of
			t.Errorf("%s has no example", f)
		}
		for _, src := range examples {
			file := filepath.Join(t.TempDir(), "services.star")
			if err := os.WriteFile(file, []byte(src), 0o644); err != nil {
				t.Fatal(err)
			}
			p, err := lang.Load(context.Background(), lang.Options{File: file, Std: stdlib.FS})
			if err != nil {
				t.Errorf("%s: %v\n%s", f, err, src)
				continue
			}
			if len(p.Warnings) > 0 {
				t.Errorf("%s: got the warnings %v, want none\n%s", f, p.Warnings, src)
			}
		}
	}
}
