package engine

import (
	"os"
	"testing"

	"orrery/runtime/proc"
)

// TestMain lets the test binary be the shim of what the tests start: with a signal ignored (nohup) each start needs it, and
// a binary that ran its tests instead would start itself without end.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == proc.Verb {
		os.Exit(proc.Shim(os.Args[2:]))
	}
	os.Exit(m.Run())
}
