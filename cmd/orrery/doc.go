package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"orrery/lang"
	"orrery/stdlib"
)

// stdPrefix is how libraries of the binary are loaded.
const stdPrefix = "@std//"

func docCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "doc [MODULE]",
		Short: "Show the factories of a library",
		Long: `Shows what a library offers: signature and documentation of each public function.
MODULE is written as in load(): @std//postgres.star, @acme//kafka.star of an external
library, //lib/api.star, or the path of a file; postgres is short for @std//postgres.star. Without one: the libraries inside
the binary.

With it comes what the example of a library declares: how it gets ready, its attributes and its variables, and how
the library was tested. One whose server no test has run says so: untested, with the reason.

With --json: [{"module", "about", "untested"}] without a module, {"module", "text", "untested", "tested"} with one.`,
		Example: `  orrery doc
  orrery doc @std//postgres.star
  orrery doc //lib/api.star`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("doc takes one module at most, got %d", len(args))}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.listLibraries()
			}
			return a.doc(args[0])
		},
	}
}

// libraries are the modules inside the binary, sorted.
func libraries() []string {
	names, err := fs.Glob(stdlib.FS, "*.star")
	if err != nil {
		return nil
	}
	var all []string
	for _, n := range names {
		if !strings.HasSuffix(n, "_test.star") {
			all = append(all, stdPrefix+n)
		}
	}
	return all
}

// offered is a library inside the binary, in the JSON of doc.
type offered struct {
	Module string `json:"module"`
	About  string `json:"about"` // its first line
	// Untested is why no test runs its server; "" if one does.
	Untested string `json:"untested,omitempty"`
}

// moduleDoc is the JSON of doc with a module.
type moduleDoc struct {
	Module   string `json:"module"`
	Text     string `json:"text"`
	Untested string `json:"untested,omitempty"` // why no test runs its server
	Tested   string `json:"tested,omitempty"`   // which tests do
}

func (a *app) listLibraries() error {
	all := []offered{}
	t := table{head: []string{"library", "about"}}
	for _, m := range libraries() {
		manual, err := lang.Doc(stdlib.FS, m)
		if err != nil {
			return err
		}
		about, _, _ := strings.Cut(manual.About, "\n")
		all = append(all, offered{m, about, manual.Untested})
		if manual.Untested != "" {
			about = "(untested) " + about
		}
		t.rows = append(t.rows, []cell{{m, ""}, {about, ""}})
	}
	if a.json {
		return a.printJSON(all)
	}
	return t.write(os.Stdout, a, columns())
}

func (a *app) doc(name string) error {
	module, err := a.module(name)
	if err != nil {
		return err
	}
	std, err := a.libraryOf(module)
	if err != nil {
		return err
	}
	manual, err := lang.Doc(std, module)
	if errors.Is(err, fs.ErrNotExist) {
		hint := "orrery doc lists the libraries of the binary"
		if s := didYouMean(name, append(shortNames(), libraries()...)); s != "" {
			hint = s
		}
		return hinted{usageError{fmt.Errorf("there is no library %s", name)}, hint}
	}
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(moduleDoc{module, manual.Text(), manual.Untested, manual.Tested})
	}
	_, err = fmt.Print(manual.Text())
	return err
}

// module turns what was typed into what Doc takes.
func (a *app) module(name string) (string, error) {
	switch {
	case strings.HasPrefix(name, "@"):
		return name, nil
	case strings.HasPrefix(name, "//"):
		file, err := a.projectFile()
		if err != nil {
			return "", err
		}
		return filepath.Join(filepath.Dir(file), filepath.FromSlash(name[2:])), nil
	case !strings.ContainsAny(name, "/."):
		return stdPrefix + name + ".star", nil
	}
	return a.inDir(name), nil
}

func shortNames() []string {
	var all []string
	for _, m := range libraries() {
		all = append(all, strings.TrimSuffix(path.Base(m), ".star"))
	}
	return all
}
