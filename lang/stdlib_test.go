package lang_test

import (
	"context"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"orrery/lang"
	"orrery/stdlib"
)

// library lists the embedded files as modules.
func library(t *testing.T) (factories, tests []string) {
	t.Helper()
	names, err := fs.Glob(stdlib.FS, "*.star")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.star") {
			tests = append(tests, "@std//"+name)
		} else {
			factories = append(factories, "@std//"+name)
		}
	}
	return factories, tests
}

// TestStdlib runs the tests of the factories that come with the binary.
func TestStdlib(t *testing.T) {
	factories, tests := library(t)
	for _, f := range factories {
		if _, err := fs.Stat(stdlib.FS, strings.TrimSuffix(strings.TrimPrefix(f, "@std//"), ".star")+"_test.star"); err != nil {
			t.Errorf("%s has no tests: %v", f, err)
		}
	}
	for _, r := range lang.Test(context.Background(), tests, lang.TestOptions{Std: stdlib.FS}) {
		t.Run(filepath.Base(r.File)+"/"+r.Name, func(t *testing.T) {
			for _, d := range r.Failures {
				t.Errorf("%s: %s", d.Pos(), d.Message)
			}
		})
	}
}

// TestStdlibDocs holds that each public function documents every parameter.
func TestStdlibDocs(t *testing.T) {
	factories, _ := library(t)
	for _, f := range factories {
		missing, err := lang.Undocumented(stdlib.FS, f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range missing {
			t.Errorf("%s: %s is not documented", f, m)
		}
		manual, err := lang.Doc(stdlib.FS, f)
		if err != nil {
			t.Fatal(err)
		}
		doc := manual.Text()
		if n, want := strings.Count(doc, "Args:\n"), strings.Count(doc, "\ndef ")-strings.Count(doc, "()\n"); n != want {
			t.Errorf("%s: got %d Args: sections, want one for each of %d functions with parameters", f, n, want)
		}
	}
}

// TestExamplesLoad holds that the examples have no mistakes and no warnings.
func TestExamplesLoad(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "examples", "*", "services.star"))
	if err != nil || len(files) == 0 {
		t.Fatalf("got the examples %v, %v", files, err)
	}
	for _, file := range files {
		p, err := lang.Load(context.Background(), lang.Options{File: file, Std: stdlib.FS})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		for _, w := range p.Warnings {
			t.Errorf("%s: got the warning %v, want none", file, w)
		}
	}
}
