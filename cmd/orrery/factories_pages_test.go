package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"orrery/lang"
	"orrery/stdlib"
)

const (
	testedFile  = "../../stdlib/tested.txt"
	pagesFolder = "../../docs/factories"
	indexPage   = "../../docs/factories.md"
	indexBegin  = "<!-- The index: written by go test ./cmd/orrery -run FactoryPages -fix. -->\n"
	indexEnd    = "<!-- End of the index. -->\n"
)

// TestFactoryPages: each library of the binary is in the conformance suite, in
// a script or part of one that is, or marked "Untested: why" in its docstring;
// how it was tested stands in stdlib/tested.txt, where orrery doc finds it, and
// docs/factories has its page.
func TestFactoryPages(t *testing.T) {
	how := testedBy(t)
	var lines []string
	for _, m := range libraries() {
		name := libraryName(m)
		manual, err := lang.Doc(stdlib.FS, m)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case how[name] == "" && manual.Untested == "":
			t.Errorf("%s is neither in the conformance suite (factories_rows_test.go) nor in a script: add it, or a paragraph \"Untested: why.\" to its docstring", m)
		case how[name] != "" && manual.Untested != "":
			t.Errorf("%s is marked as untested, and tested: %s", m, how[name])
		case how[name] != "":
			lines = append(lines, name+": "+how[name]+"\n")
		}
	}
	page(t, testedFile, strings.Join(lines, ""))
	writePages(t)
}

// page compares a generated file with what it is to be, and writes it with -fix.
func page(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if string(got) == want {
		return
	}
	if !*fix {
		t.Errorf("%s is stale (%v): run go test ./cmd/orrery -run FactoryPages -fix", path, err)
		return
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// writePages compares docs/factories and the index.
func writePages(t *testing.T) {
	if err := os.MkdirAll(pagesFolder, 0o755); err != nil {
		t.Fatal(err)
	}
	index := "| library | | ready | stop | reload | real server |\n|---|---|---|---|---|---|\n"
	var known []string
	for _, m := range libraries() {
		name := libraryName(m)
		manual, err := lang.Doc(os.DirFS("../../stdlib"), m) // tested.txt may be newer than the binary's
		if err != nil {
			t.Fatal(err)
		}
		known = append(known, name+".md")
		page(t, filepath.Join(pagesFolder, name+".md"), "<!-- Written from stdlib/"+name+".star by go test ./cmd/orrery -run FactoryPages -fix. -->\n\n"+manual.Markdown())
		about, ready, stop, reload := manual.Row()
		state := "tested"
		if manual.Untested != "" {
			state = "untested"
		}
		index += fmt.Sprintf("| [%s](factories/%s.md) | %s | %s | %s | %s | %s |\n", name, name, strings.TrimSuffix(about, "."), ready, stop, reload, state)
	}
	files, err := filepath.Glob(filepath.Join(pagesFolder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !slices.Contains(known, filepath.Base(f)) {
			t.Errorf("%s belongs to no library: remove it", f)
		}
	}
	text, err := os.ReadFile(indexPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(text), indexBegin)
	_, after, ok := strings.Cut(rest, indexEnd)
	if !ok {
		t.Fatalf("%s has no place for the index", indexPage)
	}
	page(t, indexPage, before+indexBegin+index+indexEnd+after)
}

func libraryName(module string) string {
	return strings.TrimSuffix(strings.TrimPrefix(module, stdPrefix), ".star")
}

// testedBy says of each library how the tests run it: its row of the suite, the
// scripts that load it, or the libraries that do.
func testedBy(t *testing.T) map[string]string {
	load := regexp.MustCompile(`(?m)^load\("(?:@std//|:)([a-z_0-9]+)\.star"`)
	how := map[string]string{}
	for _, f := range allFactories() {
		if _, err := os.Stat(filepath.Join("testdata/factories", f.name+".json")); err != nil {
			continue // no plan of it was ever kept: the row has not run yet
		}
		name := f.name
		if !slices.Contains(libraries(), "@std//"+name+".star") {
			name = load.FindStringSubmatch(f.star)[1] // the first: what the row is of
		}
		how[name] = f.sentence()
	}
	scripts, users := map[string][]string{}, map[string][]string{}
	collect := func(pattern string, into map[string][]string) {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: got %v, %v", pattern, files, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			by := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(file), ".txt"), ".star")
			for _, m := range load.FindAllStringSubmatch(string(text), -1) {
				if !strings.HasSuffix(by, "_test") && !slices.Contains(into[m[1]], by) {
					into[m[1]] = append(into[m[1]], by)
				}
			}
		}
	}
	collect("testdata/script/*.txt", scripts)
	collect("../../stdlib/*.star", users)
	for name, by := range scripts {
		if how[name] == "" {
			how[name] = "with real programs, in the scripts " + strings.Join(by, ", ") + " of cmd/orrery/testdata/script."
		}
	}
	real := maps.Clone(how)
	for name, by := range users {
		by = slices.DeleteFunc(by, func(user string) bool { return real[user] == "" })
		if real[name] == "" && len(by) > 0 {
			how[name] = "as a part of " + strings.Join(by, ", ") + "."
		}
	}
	return how
}

// sentence is what the suite does with the server of a row.
func (f factory) sentence() string {
	data, reload, who := "", "", "as root and as an ordinary user"
	if f.once {
		who = "as an ordinary user"
	}
	switch {
	case f.put != nil && f.lost:
		data = ", a datum written and read"
	case f.put != nil:
		data = ", a datum written, and read again after kill -9"
	}
	if f.reload {
		reload = ", reloaded"
	}
	programs := strings.Join(programNames(f.programs), ", ")
	if f.byHand {
		programs += " (by hand: CI has it only where the machine does)"
	}
	return fmt.Sprintf("with %s, %s: two side by side, a round trip with each%s%s, killed and started again, stopped without a trace.",
		programs, who, data, reload)
}

// programNames are the programs without their folders.
func programNames(paths []string) []string {
	var names []string
	for _, p := range paths {
		names = append(names, filepath.Base(p))
	}
	return names
}

// untested lists the libraries that are marked so, with the reason.
func untested(t *testing.T) map[string]string {
	why := map[string]string{}
	for _, m := range libraries() {
		manual, err := lang.Doc(stdlib.FS, m)
		if err != nil {
			t.Fatal(err)
		}
		if manual.Untested != "" {
			why[libraryName(m)] = manual.Untested
		}
	}
	return why
}
