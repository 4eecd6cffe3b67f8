package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"orrery/lang"
	"orrery/lang/graph"
	"orrery/runtime/bind"
	"orrery/runtime/control"
)

// The exit codes.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2
	exitTimeout  = 3
	exitLoad     = 4
	exitNoEngine = 5
	exitUnknown  = 6
	exitConflict = 7
	exitInternal = 70
	exitSignal   = 128 // plus the number of the signal
)

const exitCodes = `Exit codes:
  0    ok
  1    a target failed
  2    the command line is wrong
  3    timed out waiting
  4    services.star does not load
  5    no engine runs here, or it cannot be reached
  6    unknown target
  7    a port or the lock of the project is taken
  70   internal error
  128+n  ended by signal n
"run" of one task passes on the task's own code.`

// usageError is a mistake on the command line.
type usageError struct{ error }

// exitError ends the program with a code of its own; the message, if any, has
// been shown.
type exitError struct{ code int }

func (e exitError) Error() string { return fmt.Sprintf("exit %d", e.code) }

// hinted is an error with what to do about it.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// exitCode is the one place where an error becomes a code.
func exitCode(err error) int {
	var (
		own      exitError
		usage    usageError
		load     lang.Errors
		unknown  *graph.UnknownTarget
		noEngine *control.ErrNoEngine
		running  *control.ErrRunning
		conflict *bind.ConflictError
		wire     *control.Error
	)
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &own):
		return own.code
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &load):
		return exitLoad
	case errors.As(err, &unknown):
		return exitUnknown
	case errors.As(err, &noEngine):
		return exitNoEngine
	case errors.As(err, &running), errors.As(err, &conflict):
		return exitConflict
	case errors.As(err, &wire):
		return wireCode(wire.Code)
	case errors.Is(err, context.DeadlineExceeded):
		return exitTimeout
	}
	return exitFailed
}

func wireCode(code string) int {
	switch code {
	case control.CodeUnknownTarget:
		return exitUnknown
	case control.CodeTimeout:
		return exitTimeout
	case control.CodeConflict:
		return exitConflict
	case control.CodeLoad:
		return exitLoad
	case control.CodeBadRequest, control.CodeUnknownMethod:
		return exitUsage
	case control.CodeInternal:
		return exitInternal
	}
	return exitFailed
}

// finish shows an error and returns the exit code.
func (a *app) finish(err error) int {
	code := exitCode(err)
	var own exitError
	if err == nil || errors.As(err, &own) {
		return code
	}
	var load lang.Errors
	if errors.As(err, &load) {
		for i := range load {
			fmt.Fprint(os.Stderr, load[i].Format(a.color()))
			if onGitHub() {
				fmt.Fprintln(os.Stderr, githubLine(finding{severityError, load[i]}))
			}
		}
		return code
	}
	msg := err.Error()
	if strings.HasPrefix(msg, "unknown command") { // cobra's own
		code = exitUsage
	}
	fmt.Fprintln(os.Stderr, a.paint(red, "orrery:"), msg)
	if hint := hintOf(err); hint != "" {
		fmt.Fprintln(os.Stderr, "  hint:", hint)
	}
	return code
}

func hintOf(err error) string {
	var h hinted
	if errors.As(err, &h) {
		return h.hint
	}
	var advised interface{ Hint() string }
	if errors.As(err, &advised) {
		return advised.Hint()
	}
	var wire *control.Error
	if errors.As(err, &wire) {
		return wire.Hint
	}
	var none *control.ErrNoEngine
	if errors.As(err, &none) && none.Cause == nil {
		return "orrery up starts one"
	}
	var usage usageError
	if errors.As(err, &usage) {
		return "orrery help shows how"
	}
	return ""
}

// flagError is a mistake in a flag, with the one that was meant.
func flagError(c *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || unknown.GetSpecifiedShortnames() != "" {
		return usageError{err}
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near := graph.Suggest(unknown.GetSpecifiedName(), names); near != "" {
		return hinted{usageError{err}, fmt.Sprintf("did you mean --%s?", near)}
	}
	return hinted{usageError{err}, "orrery help " + strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" ") + " shows what it takes"}
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no arguments, got %q", c.Name(), args[0])}
	}
	return nil
}

func minArgs(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < n {
			return usageError{fmt.Errorf("%s needs %s", c.Name(), what)}
		}
		return nil
	}
}
