package engine

import (
	"os"
	"testing"

	"orrery/runtime/proc"
)

// TestMain is the shim, too: what was started with signals ignored starts its children by it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == proc.Verb {
		os.Exit(proc.Shim(os.Args[2:]))
	}
	os.Exit(m.Run())
}
