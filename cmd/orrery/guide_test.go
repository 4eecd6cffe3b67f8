package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// guides are the pages whose snippets are run: every file that they show is
// written, every command carried out, and its output compared.
func guides() []string {
	return []string{"guide-factories.md", "guide-modular.md", "guide-libraries.md"}
}

// TestGuides turns each page into a script: see guideScript.
func TestGuides(t *testing.T) {
	dir := t.TempDir()
	for _, page := range guides() {
		text, err := os.ReadFile(filepath.Join("../../docs", page))
		if err != nil {
			t.Fatal(err)
		}
		script, err := guideScript(string(text))
		if err != nil {
			t.Fatalf("docs/%s: %v", page, err)
		}
		if err := os.WriteFile(filepath.Join(dir, strings.TrimSuffix(page, ".md")+".txt"), []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	testscript.Run(t, testscript.Params{Dir: dir, Setup: setup, Cmds: scriptCommands(), Condition: scriptCondition, RequireExplicitExec: true})
}

var (
	guideBlock = regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$")
	guideCode  = regexp.MustCompile(`\s+# exit code (\d+)$`)
)

// guideScript is the script of a page. Its blocks, in order:
//
//	```python file=lib/x.star    is written to that file; other languages too
//	```console                   "$ command", then lines that its output must hold, in order,
//	                             however far they are indented;
//	                             ... stands for anything; "# exit code 1" behind the command
//	```text                      is only shown
func guideScript(page string) (string, error) {
	var script, files strings.Builder
	script.WriteString("[!exec:python3] skip 'python3 is not installed'\n[!exec:git] skip 'git is not installed'\n")
	for _, v := range []string{"AUTHOR", "COMMITTER"} {
		fmt.Fprintf(&script, "env GIT_%s_NAME=a GIT_%s_EMAIL=a@example.org\n", v, v)
	}
	for i, m := range guideBlock.FindAllStringSubmatch(page, -1) {
		info, body := m[1], m[2]
		_, name, isFile := strings.Cut(info, " file=")
		switch {
		case isFile:
			kept := fmt.Sprintf(".blocks/%d", i)
			fmt.Fprintf(&files, "-- %s --\n%s", kept, body)
			fmt.Fprintf(&script, "mkdir %s\ncp %s %s\n", path.Dir(name), kept, name)
		case info == "console":
			if err := guideCommands(&script, body); err != nil {
				return "", err
			}
		case info != "text":
			return "", fmt.Errorf("got a block %q, want file=NAME, console or text: each snippet is run", info)
		}
	}
	return script.String() + files.String(), nil
}

func guideCommands(script *strings.Builder, body string) error {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	var want []string
	flush := func() {
		if len(want) > 0 {
			fmt.Fprintf(script, "stdout %s\n", quote("(?ms)"+strings.Join(want, ".*?")))
		}
		want = nil
	}
	for line := range strings.Lines(body) {
		line = strings.TrimRight(line, "\n")
		command, ok := strings.CutPrefix(line, "$ ")
		switch {
		case ok:
			flush()
			code := "0"
			if m := guideCode.FindStringSubmatch(command); m != nil {
				code, command = m[1], strings.TrimSuffix(command, m[0])
			}
			fmt.Fprintf(script, "exits %s sh -c %s\n", code, quote(command+" 2>&1"))
		case line != "" && line != "...":
			want = append(want, `^\s*`+strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(line)), `\.\.\.`, ".*?")+"$")
		}
	}
	flush()
	return nil
}
