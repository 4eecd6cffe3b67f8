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

// TestGuides runs docs/guide-*.md: every file that they show is written, every
// command carried out, and its output compared. What is not run says why; -v
// lists it. See guideScript.
func TestGuides(t *testing.T) {
	dir := t.TempDir()
	pages, err := filepath.Glob("../../docs/guide-*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("there are no guides: %v", err)
	}
	all := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		g, err := guideScript(string(text))
		if err != nil {
			t.Fatalf("%s: %v", filepath.Base(page), err)
		}
		all += g.files + g.commands
		t.Logf("%s: %d files, %d commands run, %d blocks not", filepath.Base(page), g.files, g.commands, len(g.notRun))
		for _, why := range g.notRun {
			t.Logf("    not run: %s", why)
		}
		if g.commands == 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, strings.TrimSuffix(filepath.Base(page), ".md")+".txt"), []byte(g.text()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d pages, %d snippets run", len(pages), all)
	testscript.Run(t, testscript.Params{Dir: dir, Setup: setup, Cmds: scriptCommands(), Condition: scriptCondition, RequireExplicitExec: true})
}

var (
	guideBlock = regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$")
	guideCode  = regexp.MustCompile(`\s+# exit code (\d+)$`)
	guideNeeds = regexp.MustCompile(`<!-- needs: (.*?) -->`)
)

// guide is a page as a script for testscript.
type guide struct {
	script, blocks  strings.Builder
	files, commands int
	notRun          []string // the reasons
}

func (g *guide) text() string { return g.script.String() + g.blocks.String() }

// guideScript reads a page. Its blocks, in order:
//
//	```python file=lib/x.star    is written to that file; other languages too
//	```console                   "$ command", then its output: see guideOutput;
//	                             "# exit code 1" behind the command
//	```text no-run: REASON       is only shown; other languages too
//
// A page with <!-- needs: psql --> is skipped where there is no such program.
func guideScript(page string) (*guide, error) {
	g := &guide{}
	needs := "python3 git"
	if m := guideNeeds.FindStringSubmatch(page); m != nil {
		needs += " " + m[1]
	}
	for _, program := range strings.Fields(needs) {
		fmt.Fprintf(&g.script, "[!exec:%s] skip '%s is not installed'\n", program, program)
	}
	for _, v := range []string{"AUTHOR", "COMMITTER"} {
		fmt.Fprintf(&g.script, "env GIT_%s_NAME=a GIT_%s_EMAIL=a@example.org\n", v, v)
	}
	for i, m := range guideBlock.FindAllStringSubmatch(page, -1) {
		info, body := m[1], m[2]
		_, name, isFile := strings.Cut(info, " file=")
		_, reason, notRun := strings.Cut(info, " no-run: ")
		switch {
		case isFile:
			kept := fmt.Sprintf(".blocks/%d", i)
			fmt.Fprintf(&g.blocks, "-- %s --\n%s", kept, body)
			fmt.Fprintf(&g.script, "mkdir %s\ncp %s %s\n", path.Dir(name), kept, name)
			g.files++
		case notRun && reason != "":
			g.notRun = append(g.notRun, reason)
		case info == "console":
			g.console(body)
		default:
			return nil, fmt.Errorf("got a block %q, want file=NAME, console, or no-run: and the reason", info)
		}
	}
	return g, nil
}

func (g *guide) console(body string) {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	var want []string
	flush := func() {
		if len(want) > 0 {
			fmt.Fprintf(&g.script, "stdout %s\n", quote(guideOutput(want)))
		}
		want = nil
	}
	for line := range strings.Lines(body) {
		line = strings.TrimRight(line, "\n")
		command, ok := strings.CutPrefix(line, "$ ")
		if !ok {
			want = append(want, line)
			continue
		}
		flush()
		code := "0"
		if m := guideCode.FindStringSubmatch(command); m != nil {
			code, command = m[1], strings.TrimSuffix(command, m[0])
		}
		fmt.Fprintf(&g.script, "exits %s sh -c %s\n", code, quote(command+" 2>&1"))
		g.commands++
	}
	flush()
}

// guideVaries finds what differs from run to run: the id of a run, a date, a time,
// a duration, a pid or port of four digits, a hash, the width of a column, or "..." for any text.
var guideVaries = regexp.MustCompile(`\b\d{8}-\d{6}-[0-9a-f]{7}\b|\d{4}-\d\d-\d\d|\b\d\d/[A-Z][a-z]{2}/\d{4}\b|\d\d:\d\d:\d\d|\b\d+(?:\.\d+)? ?(?:ms|s)\b|\b[0-9a-f]{12,}\b|\b\d{4,}\b|\.\.\.| +`)

// guideOutput is the expression that the whole output must match: line by line,
// however far they are indented; a line of ... is any lines.
func guideOutput(lines []string) string {
	var b strings.Builder
	b.WriteString(`(?m)\A\s*`)
	for _, line := range lines {
		line = strings.TrimSpace(line)
		switch line {
		case "":
			continue
		case "...":
			b.WriteString(`(?:.*\n)*?`)
			continue
		}
		b.WriteString("[ \t]*")
		rest := line
		for rest != "" {
			at := guideVaries.FindStringIndex(rest)
			if at == nil {
				break
			}
			b.WriteString(regexp.QuoteMeta(rest[:at[0]]) + guideAny(rest[at[0]:at[1]]))
			rest = rest[at[1]:]
		}
		b.WriteString(regexp.QuoteMeta(rest) + `[ \t]*\n\s*`)
	}
	return b.String() + `\z`
}

// guideAny matches everything that may stand in place of the text.
func guideAny(text string) string {
	switch {
	case text == "...":
		return ".*?"
	case text[0] == ' ':
		return " +"
	case strings.HasSuffix(text, "s"):
		return `[0-9.]+ ?(?:µs|ms|s|m ?[0-9.]+ ?s|min)`
	case strings.Contains(text, "/"):
		return `\d\d/[A-Z][a-z]{2}/\d{4}`
	case strings.ContainsAny(text, "-:"):
		return `[0-9a-f:-]+`
	}
	return `[0-9a-f]+`
}
