package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"orrery/lang"
	"orrery/runtime/libs"
)

func fmtCommand(a *app) *cobra.Command {
	var check bool
	c := &cobra.Command{
		Use:   "fmt [FILE...]",
		Short: "Put .star files into the one style",
		Long: `Rewrites .star files in the one style and says which changed. A folder stands for the
.star files in it; none named: those of the project. "-" formats standard input to
standard output, for editors.

With --check nothing is written: files that are not in the style are listed on
stdout and the exit code is 1. With --json the list is an array of paths.`,
		Example: `  orrery fmt
  orrery fmt --check          in CI
  orrery fmt - < services.star`,
		RunE: func(_ *cobra.Command, args []string) error {
			if slices.Equal(args, []string{"-"}) {
				if a.json {
					return usageError{errors.New("fmt - prints the formatted text, not JSON")}
				}
				return formatStdin(check)
			}
			files, err := a.starFiles(args)
			if err != nil {
				return err
			}
			return a.format(files, check)
		},
	}
	c.Flags().BoolVar(&check, "check", false, "write nothing; fail when something would change")
	return c
}

// starFiles are the files to format: those named, those in folders named, or
// all of the project.
func (a *app) starFiles(args []string) ([]string, error) {
	if len(args) == 0 {
		file, err := a.projectFile()
		if err != nil {
			return nil, err
		}
		files, err := starsIn(filepath.Dir(file))
		if !slices.Contains(files, file) {
			files = append([]string{file}, files...)
		}
		return files, err
	}
	var files []string
	for _, arg := range args {
		inside, err := a.starsAt(arg)
		if err != nil {
			return nil, err
		}
		files = append(files, inside...)
	}
	return files, nil
}

// starsAt is the file that an argument names, or the .star files below the
// folder that it names.
func (a *app) starsAt(arg string) ([]string, error) {
	path := a.inDir(arg)
	st, err := os.Stat(path)
	if err != nil {
		return nil, usageError{fmt.Errorf("cannot read %s: %w", arg, errors.Unwrap(err))}
	}
	if !st.IsDir() {
		return []string{path}, nil
	}
	return starsIn(path)
}

// inDir is a path as -C means it.
func (a *app) inDir(path string) string {
	if a.dir == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(a.dir, path)
}

// starsIn lists the .star files below a folder; hidden folders and those of
// other people's code are left out.
func starsIn(dir string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrPermission) && path != dir:
			return fs.SkipDir
		case err != nil:
			return err
		case d.IsDir() && path != dir && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "vendor" || d.Name() == libs.VendorName):
			return fs.SkipDir
		case d.Type().IsRegular() && strings.HasSuffix(d.Name(), ".star"):
			files = append(files, path)
		}
		return nil
	})
	return files, err
}

func formatStdin(check bool) error {
	src, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	out, err := lang.Format(src, "<stdin>")
	if err != nil {
		return styleError(err)
	}
	if check {
		if !bytes.Equal(src, out) {
			return exitError{exitFailed}
		}
		return nil
	}
	_, err = os.Stdout.Write(out)
	return err
}

// styleError is that of a file that does not parse: it does not load either.
func styleError(err error) error {
	fmt.Fprintln(os.Stderr, err)
	return exitError{exitLoad}
}

// format formats files. One that does not parse keeps none of the others from
// being formatted.
func (a *app) format(files []string, check bool) error {
	changed, broken := []string{}, false
	for _, file := range files {
		did, err := formatFile(file, shown(file), check)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			broken = true
		}
		if did {
			changed = append(changed, shown(file))
		}
	}
	switch {
	case a.json:
		if err := a.printJSON(changed); err != nil {
			return err
		}
	case check:
		for _, f := range changed {
			fmt.Println(f)
		}
	default:
		for _, f := range changed {
			a.say("formatted %s", f)
		}
	}
	switch {
	case broken:
		return exitError{exitLoad}
	case check && len(changed) > 0:
		return exitError{exitFailed}
	}
	return nil
}

// shown is a path as seen from where we are, if that is shorter.
func shown(file string) string {
	wd, err := os.Getwd()
	if err != nil {
		return file
	}
	if rel, err := filepath.Rel(wd, file); err == nil && len(rel) < len(file) {
		return rel
	}
	return file
}

// formatFile formats one file in place, by a temporary file and a rename; a
// link is followed. It tells whether something changed, or would.
func formatFile(file, name string, check bool) (changed bool, err error) {
	real, err := filepath.EvalSymlinks(file)
	if err != nil {
		return false, err
	}
	src, err := os.ReadFile(real)
	if err != nil {
		return false, err
	}
	out, err := lang.Format(src, name)
	if err != nil {
		return false, err
	}
	if bytes.Equal(src, out) {
		return false, nil
	}
	if check {
		return true, nil
	}
	return true, replaceFile(real, out)
}

func replaceFile(file string, content []byte) error {
	st, err := os.Stat(file)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".orrery-fmt-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Chmod(st.Mode().Perm()), tmp.Close())
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", file, err)
	}
	return os.Rename(tmp.Name(), file)
}
