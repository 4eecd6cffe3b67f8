package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"orrery/lang"
	"orrery/lang/graph"
	"orrery/lang/spec"
	"orrery/stdlib"
)

func replCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "repl",
		Short: "Try the language, with the names of the project",
		Long: `Evaluates what is typed: a statement, or an expression whose value is shown. The names
of services.star are in scope, also those that it loads; a parameter has the value of
--set. The arguments of declarations are checked; nothing is started, and no file is
changed. A value that is known only when the graph runs is shown as its reference,
⟦db.ports.tcp⟧.

  ?              the names of the project
  ?service.ready help on a part of the language

On a terminal lines can be edited, the up key brings back earlier ones, and ^D ends.
Through a pipe each input is evaluated; the exit code is 1 when one had a mistake.

With --json each input gives a line: {"in", "value", "errors": [as in check]}.`,
		Example: `  orrery repl
  echo 'db.url' | orrery repl
  printf 'def f(x):\n  return x * 2\n\nf(21)\n' | orrery repl`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.repl(c.Context()) },
	}
}

// evaluated is an input in the JSON of repl.
type evaluated struct {
	In     string    `json:"in"`              // what was typed
	Value  string    `json:"value,omitempty"` // as Starlark writes it; absent when there is none
	Errors []finding `json:"errors,omitempty"`
}

// openRepl evaluates the project; where there is none the language alone is there.
func (a *app) openRepl(ctx context.Context) (*lang.Repl, error) {
	s, err := a.source()
	project := err == nil
	if err != nil && a.file != "" {
		return nil, err
	}
	if !project {
		s = source{File: filepath.Join(a.inDir("."), "services.star")}
		a.say("no services.star here: the language alone")
	}
	return lang.OpenRepl(ctx, lang.Options{
		File: s.File, Params: s.Params, Getenv: os.LookupEnv, Std: stdlib.FS, Libs: libraryFinder(s.Overrides), Version: released(),
		Print: func(_ graph.Pos, msg string) { fmt.Fprintln(os.Stderr, msg) },
	}, project)
}

func (a *app) repl(ctx context.Context) error {
	p, err := a.openRepl(ctx)
	if err != nil {
		return err
	}
	if isatty.IsTerminal(os.Stdin.Fd()) && isatty.IsTerminal(os.Stdout.Fd()) && !a.json {
		return a.replOnTerminal(ctx, p)
	}
	in := bufio.NewReader(os.Stdin)
	read := func() ([]byte, error) {
		line, err := in.ReadBytes('\n')
		if err == io.EOF && len(line) > 0 {
			return append(line, '\n'), nil
		}
		return line, err
	}
	wrong := false
	for {
		ok, err := a.input(ctx, p, read, os.Stdout)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		wrong = wrong || !ok
	}
	if wrong {
		return exitError{exitFailed}
	}
	return nil
}

// input reads and answers one input; not ok when it had a mistake.
func (a *app) input(ctx context.Context, p *lang.Repl, read func() ([]byte, error), w io.Writer) (ok bool, err error) {
	var said strings.Builder
	question := ""
	first := true
	text, err := p.Eval(ctx, func() ([]byte, error) {
		line, err := read()
		said.Write(line)
		if q, is := strings.CutPrefix(strings.TrimSpace(string(line)), "?"); is && first {
			question = "?" + strings.TrimSpace(q)
			line = []byte("\n")
		}
		first = false
		return line, err
	})
	if question != "" {
		text, ok := answer(p, question[1:])
		if a.json {
			return ok, a.jsonInput(evaluated{In: question, Value: text})
		}
		_, err = fmt.Fprintln(w, strings.TrimRight(text, "\n"))
		return ok, err
	}
	var mistakes lang.Errors
	switch {
	case errors.As(err, &mistakes):
	case err != nil:
		return false, err
	}
	if a.json {
		if strings.TrimSpace(said.String()) == "" {
			return true, nil
		}
		e := evaluated{In: strings.TrimRight(said.String(), "\n"), Value: text}
		for _, d := range mistakes {
			e.Errors = append(e.Errors, finding{severityError, d})
		}
		return len(mistakes) == 0, a.jsonInput(e)
	}
	for i := range mistakes {
		fmt.Fprint(os.Stderr, mistakes[i].Format(a.color()))
	}
	if text != "" {
		_, err = fmt.Fprintln(w, text)
	} else {
		err = nil
	}
	return len(mistakes) == 0, err
}

func (a *app) jsonInput(e evaluated) error {
	enc := json.NewEncoder(os.Stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(e)
}

// answer is what ? and a word say.
func answer(p *lang.Repl, name string) (string, bool) {
	if name == "" {
		if names := p.Names(); len(names) > 0 {
			return strings.Join(names, "\n"), true
		}
		return "no names yet; ?service shows a declaration", true
	}
	text, ok, nearest := spec.Help(name)
	if !ok && nearest != "" {
		return fmt.Sprintf("there is no help on %s; did you mean ?%s", name, nearest), false
	}
	if !ok {
		return "there is no help on " + name, false
	}
	return text, true
}

// terminal is what a line editor reads from and writes to.
type terminal struct {
	io.Reader
	io.Writer
}

// replOnTerminal has lines that can be edited, and a history.
func (a *app) replOnTerminal(ctx context.Context, p *lang.Repl) error {
	raw, err := makeRaw(os.Stdin)
	if err != nil {
		return err
	}
	defer raw.restore()
	const prompt, more = ">>> ", "... "
	t := term.NewTerminal(terminal{os.Stdin, os.Stdout}, prompt)
	if rows, cols := raw.size(); cols > 0 {
		t.SetSize(cols, rows)
	}
	t.AutoCompleteCallback = func(line string, pos int, key rune) (string, int, bool) {
		if key != '\t' {
			return "", 0, false
		}
		return completeWord(p.Words(), line, pos)
	}
	fmt.Fprint(t, "? lists names, ?service shows help, ^D ends\n")
	for {
		t.SetPrompt(prompt)
		ok, err := a.shownInput(ctx, p, t, func() { t.SetPrompt(more) })
		if err == io.EOF {
			fmt.Fprint(t, "\n")
			return nil
		}
		if err != nil && ok {
			return err
		}
	}
}

// shownInput is an input of a terminal, which takes the mistakes too.
func (a *app) shownInput(ctx context.Context, p *lang.Repl, t *term.Terminal, more func()) (ok bool, err error) {
	return a.input(ctx, p, func() ([]byte, error) {
		line, err := t.ReadLine()
		more()
		return []byte(line + "\n"), err
	}, t)
}

// completeWord completes the word before the cursor as far as it is clear.
func completeWord(words []string, line string, pos int) (string, int, bool) {
	from := strings.LastIndexFunc(line[:pos], func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) + 1
	prefix := line[from:pos]
	best := ""
	for _, w := range words {
		if prefix == "" || !strings.HasPrefix(w, prefix) {
			continue
		}
		if best == "" {
			best = w
			continue
		}
		for !strings.HasPrefix(w, best) {
			best = best[:len(best)-1]
		}
	}
	if len(best) <= len(prefix) {
		return "", 0, false
	}
	return line[:from] + best + line[pos:], from + len(best), true
}
