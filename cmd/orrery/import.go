package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"orrery/lang"
	"orrery/lang/convert"
)

// importFlags are the flags of import.
type importFlags struct {
	output string
	format string
	force  bool
}

func importCommand(a *app) *cobra.Command {
	var f importFlags
	formats := []string{string(convert.FormatProcfile), string(convert.FormatProcessCompose), string(convert.FormatCompose)}
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Turn a Procfile, process-compose.yaml or compose.yaml into a services.star",
		Long: `Writes a services.star that does what another program's file says, beside that file.
What it cannot carry over, and what means something else now, is a warning with the
line of that file. The result is checked before it is written; nothing is started.

  Procfile               with the .env beside it; PORT as foreman gives it
  process-compose.yaml   as the program does it, which is not always as its
                         documentation says: a depends_on without a condition waits
                         for the end, ready_log_line is no regular expression
  compose.yaml           images of postgres, redis, mariadb and others that a factory
                         runs become that factory, unless a container reaches for
                         them; the rest runs in docker, from @std//container.star

A services.star that is there is kept, unless --force is given.`,
		Example: `  orrery import Procfile
  orrery import process-compose.yaml -o -       only print it
  orrery import compose.yaml --force            write over services.star`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("import needs one FILE, got %d", len(args))}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if f.format != "" && !slices.Contains(formats, f.format) {
				return hinted{usageError{fmt.Errorf("--format: got %q, want %s", f.format, strings.Join(formats, ", "))}, didYouMean(f.format, formats)}
			}
			return a.importFile(c.Context(), a.inDir(args[0]), f)
		},
	}
	c.Flags().StringVarP(&f.output, "output", "o", "", "write to `FILE`, - prints (default: services.star beside the file)")
	c.Flags().StringVar(&f.format, "format", "", "read it as `FORMAT`: "+strings.Join(formats, ", ")+" (default: by its name)")
	c.Flags().BoolVar(&f.force, "force", false, "write over a file that is there")
	c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (a *app) importFile(ctx context.Context, file string, f importFlags) error {
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return err
	}
	target := a.target(f.output, dir)
	if err := vacant(target, f.force); err != nil {
		return err
	}
	d, err := convert.Import(os.DirFS(dir), filepath.Base(file), convert.Options{Format: convert.Format(f.format), Project: filepath.Base(dir)})
	if err != nil {
		return usageError{err}
	}
	return a.writeDraft(ctx, d, dir, target)
}

// target is where a services.star is written; "-" is standard output.
func (a *app) target(output, dir string) string {
	switch output {
	case "":
		return filepath.Join(dir, "services.star")
	case "-":
		return "-"
	}
	return a.inDir(output)
}

// vacant fails where a file is that must not be written over.
func vacant(file string, force bool) error {
	if file == "-" || force {
		return nil
	}
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return hinted{usageError{fmt.Errorf("%s is there already", shown(file))}, "--force writes over it, -o - only prints"}
	}
	return nil
}

// writeDraft formats a draft, sees that it loads, writes it and says what is to
// be said of it.
func (a *app) writeDraft(ctx context.Context, d *convert.Draft, dir, target string) error {
	text, err := lang.Format(d.Text(), "services.star")
	if err != nil {
		return fmt.Errorf("the result is no Starlark; please report it: %w", err)
	}
	if _, err := loadText(ctx, text, dir); err != nil {
		os.Stderr.Write(text)
		return err
	}
	for _, w := range d.Warnings {
		a.say("%s %s", a.paint(yellow, "warning:"), w)
	}
	if target == "-" && !a.json {
		_, err := os.Stdout.Write(text)
		return err
	}
	w := written{Warnings: []conversionWarning{}, Found: d.Found, Left: d.Left}
	for _, n := range d.Warnings {
		w.Warnings = append(w.Warnings, conversionWarning{n.File, n.Line, n.Text})
	}
	if target == "-" {
		w.Text = string(text)
		return a.printJSON(w)
	}
	if err := writeNew(target, text); err != nil {
		return err
	}
	if a.json {
		w.File = target
		return a.printJSON(w)
	}
	a.say("wrote %s", shown(target))
	return nil
}

// written is the JSON of import and init.
type written struct {
	File     string              `json:"file,omitempty"` // what was written
	Text     string              `json:"text,omitempty"` // what would be, where it was only to be printed
	Warnings []conversionWarning `json:"warnings"`
	Found    []string            `json:"found,omitempty"` // what init saw in the folder
	Left     []string            `json:"left,omitempty"`  // and left out
}

// conversionWarning says what of a file is not carried over as it was.
type conversionWarning struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
	Text string `json:"text"`
}

// loadText loads a text as the project file of a folder, beside whose files it
// lies for the moment.
func loadText(ctx context.Context, text []byte, dir string) (*lang.Project, error) {
	tmp, err := os.CreateTemp(dir, ".orrery-import-*.star")
	if err != nil {
		return nil, fmt.Errorf("cannot write in %s: %w", shown(dir), err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Close()); err != nil {
		return nil, err
	}
	return loadFile(ctx, source{File: tmp.Name()})
}

// writeNew writes a file whole, by a temporary one and a rename.
func writeNew(file string, content []byte) error {
	if _, err := os.Stat(file); err == nil {
		return replaceFile(file, content)
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".orrery-new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(content)
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err != nil {
		return fmt.Errorf("cannot write %s: %w", shown(file), err)
	}
	return os.Rename(tmp.Name(), file)
}
