package main

import (
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"strings"
)

// onGitHub reports whether a runner of GitHub Actions reads what we print.
func onGitHub() bool { return os.Getenv("GITHUB_ACTIONS") == "true" }

// isCommand reports whether the runner may take a text for a command of ours: it
// looks for "::" at the start of a line and for "##[" anywhere.
func isCommand(text string) bool {
	return strings.Contains(text, "::") || strings.Contains(text, "##[")
}

// shield has the runner take nothing on w for a command until lift is called. The
// word that ends it cannot be guessed by what is printed in between.
func shield(w io.Writer) (lift func()) {
	word := rand.Text()
	fmt.Fprintf(w, "::stop-commands::%s\n", word)
	return func() { fmt.Fprintf(w, "::%s::\n", word) }
}

// githubLine is an annotation for the files of a pull request.
func githubLine(f finding) string {
	kind := map[string]string{severityError: "error", severityWarning: "warning", severityNote: "notice"}[f.Severity]
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	text := f.Message
	if f.Hint != "" {
		text += "\nhint: " + f.Hint
	}
	s := "::" + kind
	if f.File != "" {
		s += " file=" + property.Replace(f.File)
		if f.Line > 0 {
			s += fmt.Sprintf(",line=%d,col=%d", f.Line, f.Col)
		}
	}
	return s + "::" + strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(text)
}
