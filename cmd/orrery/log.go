package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"orrery/runtime/control"
	"orrery/runtime/control/api"
	"orrery/runtime/history"
)

// logFlags are the flags of log and what is below it.
type logFlags struct {
	run  string
	most int
}

func logCommand(a *app) *cobra.Command {
	var f logFlags
	c := &cobra.Command{
		Use:   "log",
		Short: "List the last runs: what ran, failed, took long",
		Long: `Lists the kept runs of this checkout, the newest first: the last 100, and 32 MiB at most.
An engine is one run from its start to its end; "services" is one that was started for
what a run needs. A run in which nothing was to be done leaves none; tasks of a run that
were known to be as they should without a look are counted in "clean" and not listed.

With --json it prints one array, also when it is empty:
  log            [{"id", "verb", "targets", "args", "started", "ended", "outcome", "exit",
                   "clean", "services", "ran", "cached", "skipped", "failed"}]
  what-ran       [{"run", "when", "name", "kind", "action", "took_ms", "state", "reason", "cause",
                   "exit": {"code", "signal"}, "why": [texts]}]
  failed         as what-ran
  restarts       [{"run", "at", "name", "nth", "reason", "cause", "exit", "up_us", "gave_up"}]
  slowest        [{"name", "runs", "median_ms", "max_ms", "last_ms", "last_run"}]
  critical-path  [{"run", "name", "kind", "from_us", "to_us", "waited_us", "waited_for"}]`,
		Example: `  orrery log                          the last runs
  orrery log what-ran --run last      what the last one ran, and why
  orrery log failed -n 5
  orrery log restarts                 which services were started again, and why
  orrery log slowest --json | jq -r '.[0].name'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				words := []string{"what-ran", "failed", "restarts", "slowest", "critical-path"}
				return hinted{usageError{fmt.Errorf("log: got %q, want %s", args[0], strings.Join(words, ", "))}, didYouMean(args[0], words)}
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error { return a.logRuns(f) },
	}
	c.PersistentFlags().IntVarP(&f.most, "lines", "n", 20, "show `N` at most; 0: all")
	sub := func(use, short, example string, run func() error) {
		s := &cobra.Command{Use: use, Short: short, Example: "  orrery log " + example, Args: noArgs, RunE: func(*cobra.Command, []string) error { return run() }}
		s.Flags().StringVar(&f.run, "run", "", "of one `RUN` alone: an id or a part of it, last, up")
		c.AddCommand(s)
	}
	sub("what-ran", "List the tasks that ran, and why", "what-ran --run last", func() error { return a.logRan(f) })
	sub("failed", "List what failed, with the reason", "failed -n 5", func() error { return a.logFailed(f) })
	sub("restarts", "List the restarts of services, and why", "restarts --run up", func() error { return a.logRestarts(f) })
	sub("slowest", "List the tasks that take longest", "slowest", func() error { return a.logSlowest(f) })
	sub("critical-path", "List what decided how long a run took", "critical-path --run up", func() error { return a.logPath(f) })
	return c
}

// commandOf is what the run was, as it was typed.
func commandOf(s history.Summary) string {
	words := append([]string{s.Verb}, s.Targets...)
	if len(s.Args) > 0 {
		words = append(append(words, "--"), s.Args...)
	}
	return oneLine(strings.Join(words, " "))
}

func when(t time.Time) string { return t.Local().Format(time.DateTime) }

// first is the first n of a list, or all.
func first[T any](list []T, n int) []T {
	if n > 0 && n < len(list) {
		return list[:n]
	}
	return list
}

func (a *app) logRuns(f logFlags) error {
	place, err := a.barePlace()
	if err != nil {
		return err
	}
	list, err := historyOf(place).List()
	if err != nil {
		return err
	}
	list = first(list, f.most)
	for i := range list {
		list[i].Outcome = outcomeOf(place, list[i].Outcome)
	}
	if a.json {
		return a.printJSON(list)
	}
	if len(list) == 0 {
		a.say("no run is recorded here yet")
		return nil
	}
	t := table{head: []string{"RUN", "WHEN", "COMMAND", "OUTCOME", "TOOK", "DID"}}
	for _, s := range list {
		took := ""
		if s.Took() > 0 {
			took = seconds(s.Took())
		}
		t.rows = append(t.rows, []cell{{s.ID, ""}, {when(s.Started), dim}, {commandOf(s), bold}, {s.Outcome, outcomeColor(s.Outcome)}, {took, ""}, {didOf(s), ""}})
	}
	return t.write(os.Stdout, a, columns())
}

func outcomeColor(outcome string) string {
	switch outcome {
	case "ok":
		return green
	case "failed", outcomeKilled:
		return red
	}
	return ""
}

// didOf says in numbers what a run did.
func didOf(s history.Summary) string {
	var parts []string
	for _, p := range []struct {
		n    int
		what string
	}{{s.Ran, "ran"}, {s.Cached + s.Clean, "cached"}, {s.Skipped, "skipped"}, {s.Failed, "failed"}, {s.Services, "started"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	return strings.Join(parts, ", ")
}

// eachRun reads the runs that are asked for, the newest first, until visit has
// enough.
func (a *app) eachRun(f logFlags, visit func(control.Place, *history.Run) (more bool)) error {
	place, err := a.barePlace()
	if err != nil {
		return err
	}
	if f.run != "" {
		run, err := loadRun(place, f.run)
		if err == nil {
			visit(place, run)
		}
		return err
	}
	list, err := historyOf(place).List()
	if err != nil {
		return err
	}
	for _, s := range list {
		run, err := historyOf(place).Load(s.ID)
		var none *history.NoRun
		if errors.As(err, &none) {
			continue // removed meanwhile
		}
		if err != nil {
			return err
		}
		if !visit(place, run) {
			return nil
		}
	}
	return nil
}

// deed is a row of what-ran and failed.
type deed struct {
	Run    string    `json:"run"`  // the id of the run
	When   time.Time `json:"when"` // when it began
	Name   string    `json:"name"`
	Kind   string    `json:"kind"`             // service or task
	Action string    `json:"action"`           // ran, cached, skipped, failed, cancelled, not run; of a service started, restarted, failed, not started
	Took   float64   `json:"took_ms"`          // until it was ready or over
	State  string    `json:"state"`            // the last one, as in status
	Reason string    `json:"reason,omitempty"` // more of a bad end, or why it was restarted
	Why    []string  `json:"why,omitempty"`    // of a task: what had changed
	Cause  string    `json:"cause,omitempty"`  // the node or file at the root of it
	Exit   *api.Exit `json:"exit,omitempty"`   // how the program ended
}

func deedOf(r *history.Run, n *history.Node) deed {
	d := deed{
		Run: r.ID, When: r.Started.Add(time.Duration(n.Started) * time.Microsecond), Name: n.Name, Kind: n.Kind, Action: n.Action(),
		Took: millis(n.Took()), State: n.State, Reason: n.Reason, Why: n.Why, Cause: n.Cause, Exit: n.Exit,
	}
	if n.Broke() && !n.Bad() {
		d.Action = "restarted"
	}
	return d
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// logRan lists what ran: of one run also what was cached or skipped.
func (a *app) logRan(f logFlags) error {
	rows := []deed{}
	err := a.eachRun(f, func(_ control.Place, r *history.Run) bool {
		for i := len(r.Nodes) - 1; i >= 0; i-- {
			n := &r.Nodes[i]
			did := n.Action() == "ran" || n.Action() == "failed" && n.Started > 0
			if n.Kind == "task" && (did || f.run != "") {
				rows = append(rows, deedOf(r, n))
			}
		}
		return f.most == 0 || len(rows) < f.most
	})
	return a.deeds(first(rows, f.most), err, "no task has run")
}

// logFailed lists what came to a bad end; also what a restart followed.
func (a *app) logFailed(f logFlags) error {
	rows := []deed{}
	err := a.eachRun(f, func(_ control.Place, r *history.Run) bool {
		for i := len(r.Nodes) - 1; i >= 0; i-- {
			if n := &r.Nodes[i]; n.Broke() {
				rows = append(rows, deedOf(r, n))
			}
		}
		return f.most == 0 || len(rows) < f.most
	})
	return a.deeds(first(rows, f.most), err, "nothing has failed")
}

// deeds shows rows.
func (a *app) deeds(rows []deed, err error, none string) error {
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(rows)
	}
	if len(rows) == 0 {
		a.say("%s", none)
		return nil
	}
	t := table{head: []string{"RUN", "WHEN", "NAME", "DID", "TOOK", "WHY"}}
	for _, d := range rows {
		took, why := "", strings.Join(d.Why, "; ")
		if d.Took > 0 {
			took = seconds(time.Duration(d.Took * float64(time.Millisecond)))
		}
		if d.Reason != "" {
			why = d.Reason
		}
		color := ""
		if d.Action == "failed" {
			color = red
		}
		t.rows = append(t.rows, []cell{{d.Run, dim}, {when(d.When), dim}, {d.Name, bold}, {d.Action, color}, {took, ""}, {oneLine(why), ""}})
	}
	return t.write(os.Stdout, a, columns())
}

// restarted is a row of restarts.
type restarted struct {
	Run string `json:"run"` // the id of the run
	history.Restart
}

// logRestarts lists which services were started again, and why, the last first.
func (a *app) logRestarts(f logFlags) error {
	rows := []restarted{}
	err := a.eachRun(f, func(_ control.Place, r *history.Run) bool {
		all := r.Restarts("")
		slices.Reverse(all)
		for _, again := range all {
			rows = append(rows, restarted{r.ID, again})
		}
		return f.most == 0 || len(rows) < f.most
	})
	if err != nil {
		return err
	}
	rows = first(rows, f.most)
	if a.json {
		return a.printJSON(rows)
	}
	if len(rows) == 0 {
		a.say("no service was restarted")
		return nil
	}
	t := table{head: []string{"RUN", "WHEN", "NAME", "WHY"}}
	for _, r := range rows {
		color := ""
		if r.GaveUp {
			color = red
		}
		t.rows = append(t.rows, []cell{{r.Run, dim}, {when(r.At), dim}, {r.Name, bold}, {restartText(r.Restart), color}})
	}
	return t.write(os.Stdout, a, columns())
}

// slow is a row of slowest.
type slow struct {
	Name    string  `json:"name"`
	Runs    int     `json:"runs"`      // how often it ran for real
	Median  float64 `json:"median_ms"` // of these runs
	Max     float64 `json:"max_ms"`    // of these runs
	Last    float64 `json:"last_ms"`   // of the last one
	LastRun string  `json:"last_run"`  // the id of the last one
}

// logSlowest lists the tasks whose median is the longest, over all that ran for
// real in the kept runs.
func (a *app) logSlowest(f logFlags) error {
	took := map[string][]float64{}
	byName := map[string]*slow{}
	err := a.eachRun(f, func(_ control.Place, r *history.Run) bool {
		for i := len(r.Nodes) - 1; i >= 0; i-- {
			n := &r.Nodes[i]
			if n.Kind != "task" || n.Action() != "ran" {
				continue
			}
			if byName[n.Name] == nil {
				byName[n.Name] = &slow{Name: n.Name, Last: millis(n.Took()), LastRun: r.ID}
			}
			took[n.Name] = append(took[n.Name], millis(n.Took()))
		}
		return true
	})
	if err != nil {
		return err
	}
	rows := []slow{}
	for name, s := range byName {
		all := slices.Sorted(slices.Values(took[name]))
		mid := len(all) / 2
		if s.Median = all[mid]; len(all)%2 == 0 {
			s.Median = (all[mid-1] + all[mid]) / 2
		}
		s.Runs, s.Max = len(all), all[len(all)-1]
		rows = append(rows, *s)
	}
	slices.SortFunc(rows, func(a, b slow) int { return cmp.Or(cmp.Compare(b.Median, a.Median), cmp.Compare(a.Name, b.Name)) })
	rows = first(rows, f.most)
	if a.json {
		return a.printJSON(rows)
	}
	if len(rows) == 0 {
		a.say("no task has run")
		return nil
	}
	show := func(ms float64) cell { return cell{seconds(time.Duration(ms * float64(time.Millisecond))), ""} }
	t := table{head: []string{"NAME", "RUNS", "MEDIAN", "MAX", "LAST"}}
	for _, s := range rows {
		t.rows = append(t.rows, []cell{{s.Name, bold}, {fmt.Sprint(s.Runs), ""}, show(s.Median), show(s.Max), show(s.Last)})
	}
	return t.write(os.Stdout, a, columns())
}

// criticalStep is a row of critical-path.
type criticalStep struct {
	Run string `json:"run"` // the id of the run
	history.Step
}

// logPath lists the critical path of a run, the last one by default.
func (a *app) logPath(f logFlags) error {
	rows := []criticalStep{}
	if f.run == "" {
		f.run = "last"
	}
	err := a.eachRun(f, func(_ control.Place, r *history.Run) bool {
		now := int64(0)
		if r.Outcome == outcomeRunning {
			now = time.Since(r.Started).Microseconds()
		}
		for _, s := range r.Trace(false, now).Path {
			rows = append(rows, criticalStep{r.ID, s})
		}
		return false
	})
	if err != nil {
		return err
	}
	rows = first(rows, f.most)
	if a.json {
		return a.printJSON(rows)
	}
	show := func(us int64) cell { return cell{seconds(time.Duration(us) * time.Microsecond), ""} }
	waited := func(us int64) cell {
		if us < 1000 {
			return cell{}
		}
		return show(us)
	}
	t := table{head: []string{"NAME", "TOOK", "FROM", "TO", "WAITED", "FOR"}}
	for _, s := range rows {
		t.rows = append(t.rows, []cell{{s.Name, bold}, show(s.To - s.From), show(s.From), show(s.To), waited(s.Waited), {oneLine(s.For), ""}})
	}
	return t.write(os.Stdout, a, columns())
}
