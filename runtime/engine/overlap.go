package engine

import (
	"fmt"
	"os"
	"path/filepath"

	"orrery/runtime/control"
)

// kept reports whether the instance that served stays, because the one that
// was to replace it has failed. before is how many instances there had been.
func (n *node) kept(before int) bool {
	s := &n.svc.state
	return s.Spawned > before && s.Main.ID != 0 && s.Main.ID <= before && s.Other.ID == 0
}

// replaced is an error for services of which the former instance stays.
func (e *Engine) replaced(before map[string]int) error {
	var failed error
	err := e.call(func() {
		for name, spawned := range before {
			if n := e.byName[name]; n != nil && n.svc != nil && n.kept(spawned) && failed == nil {
				failed = &control.Error{Code: control.CodeFailed, Message: fmt.Sprintf("%s: %s", name, n.show.Reason), Hint: "orrery logs " + name}
			}
		}
	})
	if err != nil {
		return err
	}
	return failed
}

// formerFile is the file that says that a service is ready, as it is before an
// overlapping restart: the instance that still serves has made it.
func (e *Engine) formerFile(n *node) os.FileInfo {
	r := n.def.Service.Ready
	if r == nil || r.Kind != "file" || !n.def.Service.Restart.Overlap {
		return nil
	}
	path, err := e.bind.Fill(r.File, n.name())
	if err != nil {
		return nil
	}
	if !filepath.IsAbs(path) {
		dir, err := e.bind.Dir(n.name())
		if err != nil {
			return nil
		}
		path = filepath.Join(dir, path)
	}
	st, err := os.Stat(path)
	if err != nil {
		return nil
	}
	return st
}
