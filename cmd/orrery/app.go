package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
)

// app is what every verb has: the global flags and the way to the screen.
type app struct {
	dir     string
	file    string
	params  []string
	instead []string // --override
	json    bool
	colorBy string
	quiet   bool
	verbose bool
	noInput bool
	output  string   // how run shows what tasks print; "": as it sees fit
	outlets *outlets // nil: plain streams
}

func newApp() *app { return &app{outlets: &outlets{}} }

func (a *app) flags(f *pflag.FlagSet) {
	f.StringVarP(&a.dir, "dir", "C", "", "work as if started in `DIR`")
	f.StringVarP(&a.file, "file", "f", "", "the project `FILE` (default: the nearest services.star upwards)")
	f.StringArrayVar(&a.params, "set", nil, "set a parameter: `NAME=VALUE`")
	f.StringArrayVar(&a.instead, "override", nil, "use a folder for an external library: `NAME=DIR`")
	f.BoolVar(&a.json, "json", false, "print data as JSON")
	f.StringVar(&a.colorBy, "color", "auto", "colours: `WHEN` is auto, always or never")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "say only what fails, and data: no progress, no news")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "say more: also what goes without saying")
	f.BoolVar(&a.noInput, "no-input", false, "never ask")
}

// printJSON writes data to stdout.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout())
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// say writes one of our own messages to stderr, unless -q.
func (a *app) say(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.stderr(), format+"\n", args...)
	}
}

// projectFile finds the project: -f, or the nearest services.star upwards,
// not beyond the home directory.
func (a *app) projectFile() (string, error) {
	switch a.colorBy {
	case "auto", "always", "never":
	default:
		return "", usageError{fmt.Errorf("--color: got %q, want auto, always or never", a.colorBy)}
	}
	dir := a.dir
	if dir == "" {
		dir = "."
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return "", usageError{fmt.Errorf("-C: %s is not a directory", dir)}
	}
	if a.file != "" {
		file := a.file
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		if _, err := os.Stat(file); err != nil {
			return "", usageError{fmt.Errorf("-f: cannot read the project file: %w", errors.Unwrap(err))}
		}
		return file, nil
	}
	home, _ := os.UserHomeDir()
	for d := dir; ; d = filepath.Dir(d) {
		file := filepath.Join(d, "services.star")
		if st, err := os.Stat(file); err == nil && st.Mode().IsRegular() {
			return file, nil
		}
		if d == home || d == filepath.Dir(d) {
			return "", hinted{usageError{fmt.Errorf("no services.star in %s or above it", dir)}, "write one (orrery help service shows how), or name it with -f"}
		}
	}
}

// settings are the parameters of --set.
func (a *app) settings() (map[string]string, error) {
	m := map[string]string{}
	for _, p := range a.params {
		k, v, ok := strings.Cut(p, "=")
		if !ok || k == "" {
			return nil, usageError{fmt.Errorf("--set: got %q, want NAME=VALUE", p)}
		}
		m[k] = v
	}
	return m, nil
}

// source is what the command line says of an evaluation of the project.
func (a *app) source() (s source, err error) {
	if s.File, err = a.projectFile(); err != nil {
		return s, err
	}
	if s.Params, err = a.settings(); err != nil {
		return s, err
	}
	s.prints = a.stderr()
	s.Overrides, err = a.overrides()
	return s, err
}
