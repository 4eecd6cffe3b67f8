package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// demoProject is the services.star of the demo.
//
//go:embed demo.star
var demoProject string

func demoCommand(a *app) *cobra.Command {
	var port int
	c := &cobra.Command{
		Use:   "demo [DIR]",
		Short: "Run three small services that are inside orrery",
		Long: `Runs a page, an interface behind it and a clock, all inside this program: nothing
has to be installed. Their services.star, which is written to a temporary folder or
to DIR, shows a task, dependencies, ports, a held socket and readiness.

While it runs, try from another terminal what it prints: orrery status, logs,
restart, why. ^C stops it; a temporary folder is removed then, DIR stays.`,
		Example: `  orrery demo
  orrery demo ~/demo        keep the files, to play with them`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("demo takes one DIR at most, got %d", len(args))}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			dir := ""
			if len(args) == 1 {
				dir = a.inDir(args[0])
			}
			return a.demo(c.Context(), dir, port)
		},
	}
	c.Flags().IntVar(&port, "port", 7100, "the page's `PORT`, or the next free one")
	return c
}

func (a *app) demo(ctx context.Context, dir string, port int) error {
	if port < 1 || port > 65533 {
		return usageError{fmt.Errorf("--port: got %d, want 1 to 65533", port)}
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot tell which program this is: %w", err)
	}
	temporary := dir == ""
	if temporary {
		if dir, err = os.MkdirTemp("", "orrery-demo-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot make %s: %w", shown(dir), err)
	}
	file := filepath.Join(dir, "services.star")
	text := strings.NewReplacer("@ORRERY@", self, "7100", fmt.Sprint(port), "7101", fmt.Sprint(port+1), "7102", fmt.Sprint(port+2)).Replace(demoProject)
	switch old, err := os.ReadFile(file); {
	case errors.Is(err, fs.ErrNotExist):
		if err := writeNew(file, []byte(text)); err != nil {
			return err
		}
	case err != nil:
		return err
	case !strings.HasPrefix(string(old), demoProject[:strings.IndexByte(demoProject, '\n')]):
		return hinted{usageError{fmt.Errorf("%s is there already, and is not the demo's", shown(file))}, "name an empty folder, or none"}
	}
	a.say("the demo lies in %s; from another terminal: orrery -C %s status", dir, quoteArgv([]string{dir}))
	a.file, a.dir = file, ""
	return a.up(ctx, nil, upFlags{ui: "auto"})
}
