package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"orrery/lang/convert"
)

func initCommand(a *app) *cobra.Command {
	var stdout bool
	c := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a first services.star from what the folder holds",
		Long: `Looks at a folder and the folders in it, and writes a small services.star: programs
in Go, Node, Python, Ruby, Rust and PHP by their usual files, the processes of a
Procfile, process-compose.yaml or devenv.nix, the servers of a compose file, and a
server for each client library of postgres, redis and others among the
dependencies. It says what it found, and what it left out.

Nothing else is written, nothing is started. A services.star that is there is kept:
import --force writes over one.`,
		Example: `  orrery init
  orrery init -n          only print it`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("init takes one DIR at most, got %d", len(args))}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			dir := a.inDir(".")
			if len(args) == 1 {
				dir = a.inDir(args[0])
			}
			return a.initFolder(c.Context(), dir, stdout)
		},
	}
	c.Flags().BoolVarP(&stdout, "dry-run", "n", false, "print it instead of writing it")
	return c
}

func (a *app) initFolder(ctx context.Context, dir string, stdout bool) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return usageError{fmt.Errorf("%s is not a folder", shown(dir))}
	}
	target := filepath.Join(dir, "services.star")
	if stdout {
		target = "-"
	} else if _, err := os.Lstat(target); err == nil {
		return hinted{usageError{fmt.Errorf("%s is there already", shown(target))}, "orrery check looks at it; orrery init -n prints what init would write"}
	}
	d, err := convert.Survey(os.DirFS(dir), filepath.Base(dir))
	if err != nil {
		return err
	}
	for _, line := range d.Found {
		a.say("%s %s", a.paint(green, "found"), line)
	}
	for _, line := range d.Left {
		a.say("%s  %s", a.paint(yellow, "left"), line)
	}
	if err := a.writeDraft(ctx, d, dir, target); err != nil || stdout {
		return err
	}
	if len(d.Found) == 0 {
		a.say("next: orrery help service shows what to write")
	} else if wd, err := os.Getwd(); err == nil && wd != dir {
		a.say("next: cd %s && orrery up", shown(dir))
	} else {
		a.say("next: orrery up")
	}
	return nil
}
