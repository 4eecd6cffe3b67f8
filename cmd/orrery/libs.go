package main

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"orrery/lang"
	"orrery/runtime/libs"
	"orrery/stdlib"
)

// libraryStore is the user's cache of external libraries.
func libraryStore(overrides map[string]string) (*libs.Store, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("cannot find the cache of libraries: %w", err)
	}
	return &libs.Store{Dir: filepath.Join(base, "orrery", "libs"), Overrides: overrides, Getenv: os.LookupEnv}, nil
}

// libraryFinder finds external libraries for an evaluation. Without a cache
// there may still be copies in the project.
func libraryFinder(overrides map[string]string) lang.Libraries {
	store, cacheErr := libraryStore(overrides)
	if cacheErr != nil {
		store = &libs.Store{Dir: os.DevNull, Overrides: overrides, Getenv: os.LookupEnv}
	}
	return func(root, name string) (*lang.Library, error) {
		f, err := store.Find(root, name)
		if err != nil && cacheErr != nil {
			return nil, cacheErr
		}
		if err != nil {
			return nil, err
		}
		return &lang.Library{FS: f.FS, Dir: f.Dir, From: f.From}, nil
	}
}

// overrides are the folders of --override, absolute.
func (a *app) overrides() (map[string]string, error) {
	m := map[string]string{}
	for _, o := range a.instead {
		name, dir, ok := strings.Cut(o, "=")
		if !ok || dir == "" {
			return nil, usageError{fmt.Errorf("--override: got %q, want NAME=DIR", o)}
		}
		if err := libs.CheckName(name); err != nil {
			return nil, usageError{fmt.Errorf("--override: %w", err)}
		}
		abs, err := filepath.Abs(a.inDir(dir))
		if err != nil {
			return nil, err
		}
		m[name] = abs
	}
	return m, nil
}

// sayUnused names overrides that no file asks for.
func (a *app) sayUnused(overrides map[string]string, p *lang.Project) {
	for _, name := range slices.Sorted(maps.Keys(overrides)) {
		below := overrides[name] + string(filepath.Separator)
		if !slices.ContainsFunc(p.Files, func(f lang.File) bool { return strings.HasPrefix(f.Path, below) }) {
			a.say("warning: --override %s: no file loads @%s//", name, name)
		}
	}
}

// libraryOf is what reads a module: the libraries of the binary, or an external
// one.
func (a *app) libraryOf(module string) (fs.FS, error) {
	lib, path, ok := strings.Cut(module, "//")
	if !ok || !strings.HasPrefix(lib, "@") || lib+"//" == stdPrefix {
		return stdlib.FS, nil
	}
	s, err := a.source()
	if err != nil {
		return nil, err
	}
	root, err := filepath.EvalSymlinks(filepath.Dir(s.File))
	if err != nil {
		return nil, err
	}
	found, err := libraryFinder(s.Overrides)(root, lib[1:])
	if err != nil {
		return nil, err
	}
	if _, err := fs.ReadFile(found.FS, path); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", module, err)
	}
	return found.FS, nil
}
