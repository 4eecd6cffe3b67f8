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

On a terminal lines can be edited, tab completes names, the up key brings back earlier
lines, and ^D ends.
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

// trial is a repl with where it prints to.
type trial struct {
	*app
	repl      *lang.Repl
	out, errs io.Writer
}

// open evaluates the project; where there is none the language alone is there.
func (t *trial) open(ctx context.Context) (err error) {
	a := t.app
	s, err := a.source()
	project := err == nil
	if err != nil && a.file != "" {
		return err
	}
	if !project {
		s = source{File: filepath.Join(a.inDir("."), "services.star")}
		a.say("no services.star here: the language alone")
	}
	t.repl, err = lang.OpenRepl(ctx, lang.Options{
		File: s.File, Params: s.Params, Getenv: os.LookupEnv, Std: stdlib.FS, Libs: libraryFinder(s.Overrides), Version: released(),
		Print: func(_ graph.Pos, msg string) { fmt.Fprintln(t.errs, msg) },
	}, project)
	return err
}

func (a *app) repl(ctx context.Context) error {
	t := &trial{app: a, out: os.Stdout, errs: os.Stderr}
	if err := t.open(ctx); err != nil {
		return err
	}
	if isatty.IsTerminal(os.Stdin.Fd()) && isatty.IsTerminal(os.Stdout.Fd()) && !a.json {
		return t.onTerminal(ctx)
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
		ok, err := t.input(ctx, read)
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
func (t *trial) input(ctx context.Context, read func() ([]byte, error)) (ok bool, err error) {
	var said strings.Builder
	question := ""
	first := true
	text, err := t.repl.Eval(ctx, func() ([]byte, error) {
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
		text, ok := answer(t.repl, question[1:])
		if t.json {
			return ok, t.jsonInput(evaluated{In: question, Value: text})
		}
		_, err = fmt.Fprintln(t.out, strings.TrimRight(text, "\n"))
		return ok, err
	}
	var mistakes lang.Errors
	switch {
	case errors.As(err, &mistakes):
	case err != nil:
		return false, err
	}
	if t.json {
		if strings.TrimSpace(said.String()) == "" {
			return true, nil
		}
		e := evaluated{In: strings.TrimRight(said.String(), "\n"), Value: text}
		for _, d := range mistakes {
			e.Errors = append(e.Errors, finding{severityError, d})
		}
		return len(mistakes) == 0, t.jsonInput(e)
	}
	for i := range mistakes {
		fmt.Fprint(t.errs, mistakes[i].Format(t.color()))
	}
	if text != "" {
		_, err = fmt.Fprintln(t.out, text)
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

// onTerminal has lines that can be edited, and a history.
func (t *trial) onTerminal(ctx context.Context) error {
	raw, err := makeRaw(os.Stdin)
	if err != nil {
		return err
	}
	defer raw.restore()
	const prompt, more = ">>> ", "... "
	screen := term.NewTerminal(terminal{os.Stdin, os.Stdout}, prompt)
	t.out, t.errs = screen, screen // which knows how lines end on a raw terminal
	if rows, cols := raw.size(); cols > 0 {
		screen.SetSize(cols, rows)
	}
	screen.AutoCompleteCallback = func(line string, pos int, key rune) (string, int, bool) {
		if key != '\t' {
			return "", 0, false
		}
		return completeWord(t.repl.Words(), line, pos)
	}
	fmt.Fprint(screen, "? lists names, ?service shows help, ^D ends\n")
	for {
		screen.SetPrompt(prompt)
		_, err := t.input(ctx, func() ([]byte, error) {
			line, err := screen.ReadLine()
			screen.SetPrompt(more)
			if err != nil {
				return nil, err
			}
			return []byte(line + "\n"), nil
		})
		if err == io.EOF {
			fmt.Fprint(screen, "\n")
			return nil
		}
		if err != nil {
			return err
		}
	}
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
