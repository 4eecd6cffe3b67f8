package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"orrery/lang"
	"orrery/lang/graph"
	"orrery/stdlib"
)

func testCommand(a *app) *cobra.Command {
	var run string
	var update bool
	c := &cobra.Command{
		Use:   "test [FILE...]",
		Short: "Run the tests of factories",
		Long: `Runs the functions test_*(t) of *_test.star files: those named, those in folders
named, else all of the project. A test evaluates declarations and looks at the plan;
nothing is started. Passing tests are listed with -v. Exit code 1 when one fails.

With --json it prints [{"file", "name", "ok", "ms", "failures": [as in check]}].`,
		Example: `  orrery test
  orrery test lib/api_test.star --run port -v
  orrery test --update     write what t.snapshot() compares with`,
		RunE: func(c *cobra.Command, args []string) error {
			opt := lang.TestOptions{Update: update, Std: stdlib.FS, Print: a.printer()}
			if run != "" {
				re, err := regexp.Compile(run)
				if err != nil {
					return usageError{fmt.Errorf("--run: %w", err)}
				}
				opt.Run = re
			}
			overrides, err := a.overrides()
			if err != nil {
				return err
			}
			opt.Libs = libraryFinder(overrides)
			files, err := a.testFiles(args)
			if err != nil {
				return err
			}
			return a.test(c.Context(), files, opt)
		},
	}
	c.Flags().StringVar(&run, "run", "", "only tests whose name matches the regular expression `RE`")
	c.Flags().BoolVar(&update, "update", false, "write snapshots instead of comparing with them")
	return c
}

// printer shows print() of the files, a line at a time.
func (a *app) printer() func(graph.Pos, string) {
	var mu sync.Mutex
	return func(pos graph.Pos, msg string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(os.Stderr, "%s: %s\n", pos, msg)
	}
}

// testFiles are the tests to run: those named, or all below the project.
func (a *app) testFiles(args []string) ([]string, error) {
	if len(args) == 0 {
		file, err := a.projectFile()
		if err != nil {
			return nil, err
		}
		args = []string{filepath.Dir(file)}
	}
	var files []string
	for _, arg := range args {
		if strings.HasPrefix(arg, stdPrefix) {
			files = append(files, arg)
			continue
		}
		inside, err := a.starsAt(arg)
		if err != nil {
			return nil, err
		}
		for _, f := range inside {
			if f == a.inDir(arg) {
				files = append(files, f) // named, whatever it is called
			} else if strings.HasSuffix(f, "_test.star") {
				files = append(files, shown(f))
			}
		}
	}
	return files, nil
}

// testResult is a test in the JSON of test.
type testResult struct {
	File     string    `json:"file"`
	Name     string    `json:"name"` // of the function; empty when the file itself has mistakes
	OK       bool      `json:"ok"`
	MS       float64   `json:"ms"`                 // milliseconds
	Failures []finding `json:"failures,omitempty"` // as in check
}

func (a *app) test(ctx context.Context, files []string, opt lang.TestOptions) error {
	began := time.Now()
	results := lang.Test(ctx, files, opt)
	out, failed := []testResult{}, 0
	for _, r := range results {
		j := testResult{File: r.File, Name: r.Name, OK: len(r.Failures) == 0, MS: float64(r.Duration.Microseconds()) / 1000}
		for _, d := range r.Failures {
			j.Failures = append(j.Failures, finding{severityError, d})
		}
		if !j.OK {
			failed++
		}
		out = append(out, j)
		if !a.json {
			a.showTest(r)
		}
	}
	if a.json {
		if err := a.printJSON(out); err != nil {
			return err
		}
	} else {
		a.say("%s", testSummary(len(results), failed, time.Since(began)))
	}
	if failed > 0 {
		return exitError{exitFailed}
	}
	return nil
}

func (a *app) showTest(r lang.TestResult) {
	name := r.Name
	if name == "" {
		name = r.File
	}
	if len(r.Failures) == 0 {
		if a.verbose {
			fmt.Fprintf(os.Stderr, "%s %s (%s)\n", a.paint(green, "✓"), name, seconds(r.Duration))
		}
		return
	}
	fmt.Fprintf(os.Stderr, "%s %s\n", a.paint(red, "✗"), name)
	for _, d := range r.Failures {
		fmt.Fprint(os.Stderr, d.Format(a.color()))
	}
}

func testSummary(ran, failed int, took time.Duration) string {
	switch {
	case ran == 0:
		return "no tests; def test_x(t) in a file called x_test.star is one"
	case failed > 0:
		return fmt.Sprintf("%d of %s failed, %s", failed, plural(ran, "test"), seconds(took))
	}
	return fmt.Sprintf("ok: %s, %s", plural(ran, "test"), seconds(took))
}
