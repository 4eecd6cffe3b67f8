package task

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// TestDigest: the same outputs have the same digest, others another one.
func TestDigest(t *testing.T) {
	dir := t.TempDir()
	run := func(script string) string {
		t.Helper()
		r := Run(context.Background(), &Job{
			Name: "x", Root: dir, Dir: dir, Env: []string{"PATH=" + os.Getenv("PATH")},
			Steps:   []Step{{Argv: []string{"sh", "-euc", script}}},
			Outputs: []Output{{Name: "f", Path: filepath.Join(dir, "f")}, {Name: "d", Path: filepath.Join(dir, "d")}},
		})
		if r.State != Succeeded || r.Digest == "" {
			t.Fatalf("%s: %s, digest %q", script, r.Reason, r.Digest)
		}
		return r.Digest
	}
	one := run("echo 1 > f; mkdir -p d/e; echo 2 > d/e/g")
	if again := run("rm -r f d; echo 1 > f; mkdir -p d/e; echo 2 > d/e/g"); again != one {
		t.Error("the same outputs have another digest")
	}
	for _, other := range []string{"echo 3 > f", "echo 1 > f; chmod +x f", "chmod -x f; mv d/e/g d/e/h", "mv d/e/h d/e/g; ln -s g d/e/l", "rm d/e/l; mkdir d/empty"} {
		if run(other) == one {
			t.Errorf("%s: the same digest", other)
		}
	}
}
