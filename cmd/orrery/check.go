package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"orrery/lang"
	"orrery/lang/graph"
)

func checkCommand(a *app) *cobra.Command {
	strict := false
	c := &cobra.Command{
		Use:   "check",
		Short: "Say whether services.star is right; starts nothing",
		Long: `Evaluates services.star and says every mistake in one go, with place, source line
and what to do about it; then warnings, and arguments that are carried in the
graph but not yet effective. Nothing is started and no port is taken.

Warnings have a name, in brackets. Besides those that every verb shows, check looks
at the style of the project's files:
  unused-load      a loaded name that the file does not use
  unused-variable  a name that is set and never read
  reassigned       a name of the top level that gets a second value
  unreachable      statements after return, fail(), break or continue
  missing-doc      a public function without documentation, in a library: a file that
                   begins with a text, or has tests (x_test.star) beside it
  mutable-default, compared-reference  what would not do what it says
A comment at the end of the line, or alone on the line before, silences one:
  load("//lib/x.star", "x")  # orrery: disable=unused-load

Exit code 4 when there is a mistake, else 0. First lines are
"path:line:col: message", which editors understand.

With --json it prints an array on stdout:
  [{"severity": "error" | "warning" | "note", "code", "file", "line", "col", "end",
    "message", "hint", "stack": [{"func", "pos"}], "related", "source"}]`,
		Example: `  orrery check
  orrery check --set workers=4
  orrery check --strict             in CI: warnings fail, too
  orrery check --json | jq -r '.[] | select(.severity == "error") | .message'`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := a.source()
			if err != nil {
				return err
			}
			s.lint = true
			p, err := loadFile(c.Context(), s)
			return a.check(p, err, strict)
		},
	}
	c.Flags().BoolVar(&strict, "strict", false, "fail with code 1 when there is a warning")
	return c
}

// finding is a diagnostic in the JSON of check.
type finding struct {
	Severity string `json:"severity"` // error, warning or note
	lang.Diagnostic
}

// The severities of a finding.
const (
	severityError   = "error"
	severityWarning = "warning"
	severityNote    = "note"
)

// check reports on a load that gave p or err.
func (a *app) check(p *lang.Project, err error, strict bool) error {
	var mistakes lang.Errors
	if err != nil && !errors.As(err, &mistakes) {
		return err
	}
	all := []finding{}
	for _, d := range mistakes {
		all = append(all, finding{severityError, d})
	}
	if p != nil {
		for _, d := range p.Warnings {
			all = append(all, finding{severityWarning, d})
		}
		for _, d := range p.Later {
			if n := len(d.Stack); n > 0 && external(d.Stack[n-1].Pos.File) {
				continue // not the user's to change
			}
			all = append(all, finding{severityNote, d})
		}
	}
	if a.json {
		err = a.printJSON(all)
	} else {
		a.showFindings(all)
	}
	switch {
	case err != nil && len(mistakes) == 0:
		return err
	case len(mistakes) > 0:
		return exitError{exitLoad}
	}
	if strict && len(p.Warnings) > 0 {
		a.say("%s", plural(len(p.Warnings), "warning"))
		return exitError{exitFailed}
	}
	if !a.json && !a.quiet {
		fmt.Println("ok:", countNodes(p.Graph))
	}
	return nil
}

func (a *app) showFindings(all []finding) {
	mistakes := 0
	for _, f := range all {
		switch f.Severity {
		case severityError:
			mistakes++
			fmt.Fprint(os.Stderr, f.Format(a.color()))
		case severityWarning:
			f.Message += " [" + f.Code + "]"
			a.say("%s", strings.TrimRight(warningText(f.Diagnostic, a.color()), "\n"))
		case severityNote:
			a.say("%s", laterText(f.Diagnostic))
		}
		if onGitHub() {
			fmt.Fprintln(os.Stderr, githubLine(f))
		}
	}
	if mistakes > 1 {
		a.say("%d mistakes", mistakes)
	}
}

// warningText is the diagnostic with "warning: " before its message.
func warningText(d lang.Diagnostic, color bool) string {
	d.Message = "warning: " + d.Message
	return d.Format(color)
}

// laterText is the one line about an argument that does nothing yet.
func laterText(d lang.Diagnostic) string {
	text := d.Message
	if !strings.HasPrefix(text, "not yet effective") {
		text = "not yet effective: " + text
	}
	return fmt.Sprintf("%s (%s)", text, position(d.Pos()))
}

// countNodes is "7 services, 3 tasks".
func countNodes(g *graph.Graph) string {
	services, tasks := 0, 0
	for _, n := range g.Nodes {
		if n.Kind == graph.KindService {
			services++
		} else {
			tasks++
		}
	}
	return plural(services, "service") + ", " + plural(tasks, "task")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// external reports whether a file is of a library that somebody else looks
// after. What a factory of @std declares, its caller asked for.
func external(file string) bool {
	return strings.HasPrefix(file, "@") && !strings.HasPrefix(file, "@std//")
}
