package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"orrery/lang/spec"
)

// TestExamples: each command in a help text and in the guide for programs is
// one that the command tree takes.
func TestExamples(t *testing.T) {
	texts := map[string]string{"agents": agentsGuide}
	root := newApp().root()
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		texts[c.CommandPath()] = c.Example
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(root)
	said := 0
	for where, text := range texts {
		for line := range strings.SplitSeq(text, "\n") {
			for _, args := range commandsIn(line) {
				said++
				if err := parses(args); err != nil {
					t.Errorf("%s: %q: %v", where, line, err)
				}
			}
		}
	}
	if said < 120 {
		t.Errorf("got %d commands, want at least 120", said)
	}
	if len(commandsIn("  orrery up  says")) != 1 || parses([]string{"upp"}) == nil || parses([]string{"up", "--nope"}) == nil || parses([]string{"port"}) == nil {
		t.Error("this test finds nothing")
	}
}

var ofOrrery = regexp.MustCompile(`(?:^\s+|; |\(|\| )orrery ([^|;)>]*)`)

// commandsIn are the command lines of ours in a line of help: up to a comment,
// which two spaces set off, and to what belongs to the shell.
func commandsIn(line string) [][]string {
	if !strings.HasPrefix(line, "  ") {
		return nil
	}
	indent := len(line) - len(strings.TrimLeft(line, " "))
	if at := strings.Index(line[indent:], "  "); at >= 0 {
		line = line[:indent+at]
	}
	var all [][]string
	for _, m := range ofOrrery.FindAllStringSubmatch(line, -1) {
		text, _, _ := strings.Cut(m[1], " < ")
		all = append(all, strings.Fields(strings.ReplaceAll(text, `"`, "")))
	}
	return all
}

// parses tells whether the command tree takes a command line.
func parses(args []string) error {
	root := newApp().root()
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	c, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if c == root && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return fmt.Errorf("there is no verb %s", rest[0])
	}
	c.InitDefaultHelpFlag()
	if err := c.ParseFlags(rest); err != nil {
		return err
	}
	return c.ValidateArgs(c.Flags().Args())
}

// TestGuideFits: the guide is one or two screens.
func TestGuideFits(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(agentsGuide, "\n"), "\n")
	if len(lines) > 80 {
		t.Errorf("got %d lines, want at most 80", len(lines))
	}
	for i, l := range lines {
		if len(l) > 92 {
			t.Errorf("line %d has %d bytes, want at most 92", i+1, len(l))
		}
	}
}

// TestHelpOnAll: every word of the language has help that says something.
func TestHelpOnAll(t *testing.T) {
	topics := spec.Topics()
	if len(topics) < 200 {
		t.Errorf("got %d topics, want at least 200", len(topics))
	}
	for _, name := range topics {
		text, ok, _ := spec.Help(name)
		if !ok || len(strings.Split(strings.TrimSpace(text), "\n")) < 3 {
			t.Errorf("%s: got %q, want a line on what it is, and what it says", name, text)
		}
	}
}

// TestManuals: what a page holds is what help says, and nothing in it is taken
// for a request.
func TestManuals(t *testing.T) {
	root := newApp().root()
	why, _, err := root.Find([]string{"why"})
	if err != nil {
		t.Fatal(err)
	}
	page := manual(why)
	for _, want := range []string{".SH NAME\norrery\\-why \\- ", ".SH EXAMPLES\n.nf\n", "\n.TP\n.B \\-C, \\-\\-dir DIR\n"} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("got no %q in\n%s", want, page)
		}
	}
	why.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
		if !bytes.Contains(page, []byte(roff("--"+f.Name))) {
			t.Errorf("--%s is not in the page", f.Name)
		}
	})
	for text, want := range map[string]string{".x": `\&.x`, `a\b`: `a\eb`, "'q'": `\(aqq\(aq`, "  .x -y": `  .x \-y`} {
		if got := roffLine(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	if _, err := exec.LookPath("mandoc"); err != nil {
		t.Skip("mandoc is not here")
	}
	lint := exec.Command("mandoc", "-T", "lint", "-W", "error")
	lint.Stdin = bytes.NewReader(page)
	if out, err := lint.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
