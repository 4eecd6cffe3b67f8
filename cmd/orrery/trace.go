package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"orrery/runtime/control"
	"orrery/runtime/history"
)

// traceRows is how many nodes besides the critical ones a trace shows.
const traceRows = 40

func traceCommand(a *app) *cobra.Command {
	var format string
	var all bool
	rows := traceRows
	var names, docs []string
	for _, f := range history.Formats() {
		names = append(names, f.Name)
		docs = append(docs, fmt.Sprintf("  %-8s %s", f.Name, f.Doc))
	}
	c := &cobra.Command{
		Use:   "trace [RUN]",
		Short: "Show the time line of a run, with the critical path",
		Long: `Shows when each node of a run waited and worked, and which chain of them decided how
long it took: from the node that was ready or done last, back through what was the
last to let each of them start. RUN is an id of "orrery log" or a part of it, "last"
(the default: the last run or up), or "up" (the last up). Of an up, running or not,
the start-up is shown: until nothing was on its way for a quarter of a second.

Formats:
` + strings.Join(docs, "\n") + `

With --json it prints the record as one object; offsets are microseconds since "started":
  {"version": 1, "id", "verb": "run", "up" or "services" (an engine that runs what a run
   needs), "targets", "args", "started", "ended", "outcome": "ok", "failed", "cancelled",
   "running" or "killed", "exit", "clean" (tasks that needed no look), "services", "ran", "cached", "skipped", "failed",
   "nodes": [{"name", "kind", "nth" (starts before this one), "needs": [{"on", "cond"}],
     "gates", "waiting_us", "started_us", "ready_us", "ended_us", "state", "reason",
     "cause", "waited", "exit", "cached", "key", "why", "tries"}],
   "until_us", "critical_path": [{"name", "kind", "from_us", "to_us", "waited_us", "waited_for"}]}`,
		Example: `  orrery trace                        the last run or up
  orrery trace 3f2a --format svg > run.svg
  orrery trace up --format chrome > up.json    for ui.perfetto.dev`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("trace takes one run, got %d", len(args))}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if a.json && c.Flags().Changed("format") {
				return twoForms(format)
			}
			for _, f := range history.Formats() {
				if f.Name == format {
					return a.trace(strings.Join(args, ""), f, all, rows)
				}
			}
			return hinted{usageError{fmt.Errorf("--format: got %q, want %s", format, strings.Join(names, ", "))}, didYouMean(format, names)}
		},
	}
	c.Flags().StringVar(&format, "format", "text", "`FORMAT` is "+strings.Join(names, ", "))
	c.Flags().BoolVar(&all, "all", false, "of an up also what came after its start-up")
	c.Flags().IntVarP(&rows, "rows", "n", rows, "show `N` nodes besides the critical ones, those that took longest; 0: all")
	return c
}

func (a *app) trace(name string, f history.Format, all bool, rows int) error {
	place, err := a.barePlace()
	if err != nil {
		return err
	}
	run, err := loadRun(place, name)
	if err != nil {
		return err
	}
	now := int64(0)
	if run.Outcome == outcomeRunning {
		now = time.Since(run.Started).Microseconds()
	}
	t := run.Trace(all, now)
	if a.json {
		return a.printJSON(traced{t.Run, t.Until, append([]history.Step{}, t.Path...)})
	}
	mark := func(s string) string { return a.tint(red, s) }
	return f.Write(os.Stdout, t, history.TextOptions{Width: columns(), Rows: rows, Mark: mark})
}

// traced is a run in the JSON of trace: the record, and what is read from it.
type traced struct {
	*history.Run
	Until int64          `json:"until_us"` // where the time line ends
	Path  []history.Step `json:"critical_path"`
}

// The outcomes of a record that is open: its engine runs, or was killed.
const (
	outcomeRunning = "running"
	outcomeKilled  = "killed"
)

// loadRun reads the record of one run.
func loadRun(place control.Place, name string) (*history.Run, error) {
	store := historyOf(place)
	id, err := store.Find(name)
	var run *history.Run
	if err == nil {
		run, err = store.Load(id)
	}
	if err != nil {
		return nil, noRun(err)
	}
	run.Outcome = outcomeOf(place, run.Outcome)
	return run, nil
}

// outcomeOf tells an engine that runs from one that was killed.
func outcomeOf(place control.Place, outcome string) string {
	if outcome == outcomeRunning {
		if _, runs, err := place.Running(); err == nil && !runs {
			return outcomeKilled
		}
	}
	return outcome
}

// noRun says what to do about a run that is not there.
func noRun(err error) error {
	var none *history.NoRun
	switch {
	case !errors.As(err, &none):
		return err
	case none.Name == "":
		return hinted{err, "orrery run and orrery up leave one"}
	}
	return hinted{usageError{err}, "orrery log lists the runs"}
}
