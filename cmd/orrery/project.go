package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"orrery/lang"
	"orrery/lang/graph"
	"orrery/runtime/bind"
	"orrery/runtime/control"
	"orrery/runtime/logs"
	"orrery/stdlib"
)

// load evaluates the project. Warnings go to stderr.
func (a *app) load(ctx context.Context) (*lang.Project, error) {
	s, err := a.source()
	if err != nil {
		return nil, err
	}
	p, err := loadFile(ctx, s)
	if err != nil {
		return nil, err
	}
	a.warn(p.Warnings)
	a.sayUnused(s.Overrides, p)
	return p, nil
}

func (a *app) warn(warnings []lang.Diagnostic) {
	for _, w := range warnings {
		a.say("%s", strings.TrimSuffix("warning: "+w.Format(a.color()), "\n"))
	}
}

// source is what is evaluated.
type source struct {
	File      string            `json:"file"`
	Params    map[string]string `json:"params,omitempty"`
	Overrides map[string]string `json:"overrides,omitempty"` // folders of external libraries
	lint      bool              // warn about style, too
	prints    io.Writer         // takes what print says; nil: stderr
}

func loadFile(ctx context.Context, s source) (*lang.Project, error) {
	out := s.prints
	if out == nil {
		out = os.Stderr
	}
	return lang.Load(ctx, lang.Options{
		File: s.File, Params: s.Params, Getenv: os.LookupEnv, Std: stdlib.FS, Libs: libraryFinder(s.Overrides), Version: released(), Lint: s.lint,
		Print: func(pos graph.Pos, msg string) { fmt.Fprintf(out, "%s: %s\n", pos, msg) },
	})
}

// place says where the project's things lie. As root with services that have
// a user, state and sockets lie where these users can enter.
func placeOf(p *lang.Project) (control.Place, error) {
	place, err := control.Locate(p.File)
	if err != nil {
		return place, err
	}
	place.Version = version()
	if os.Geteuid() == 0 {
		for _, n := range p.Graph.Nodes {
			if n.Common().User != "" {
				return place.ForSystem(), nil
			}
		}
	}
	return place, nil
}

// bareplace is the place of the project without evaluating it: enough to find
// the engine and the logs.
func (a *app) barePlace() (control.Place, error) {
	file, err := a.projectFile()
	if err != nil {
		return control.Place{}, err
	}
	place, err := control.Locate(file)
	place.Version = version()
	return place, err
}

// dirsOf tells bind where the place is.
func dirsOf(place control.Place, store *logs.Store) bind.Dirs {
	return bind.Dirs{
		Root: place.Root, GitRoot: gitRoot(place.Root),
		State: place.State, Run: filepath.Join(place.Run, "n"), Cache: place.NodeCaches(),
		Leases: place.Leases, Versions: filepath.Join(place.Dir, "versions.json"),
		LogFile: func(node string) string { return store.Path(node, logs.Stdout) },
		Make:    place.NodeDir,
	}
}

// gitRoot is the working tree around a folder, or the folder.
func gitRoot(root string) string {
	for d := root; ; d = filepath.Dir(d) {
		if _, err := os.Lstat(filepath.Join(d, ".git")); err == nil {
			return d
		}
		if d == filepath.Dir(d) {
			return root
		}
	}
}

// seconds shows a time span as people read it.
func seconds(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}
