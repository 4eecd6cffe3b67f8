package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"orrery/cmd/orrery/term"
	"orrery/runtime/control"
	"orrery/runtime/control/api"
)

func statusCommand(a *app) *cobra.Command {
	var watch bool
	c := &cobra.Command{
		Use:   "status [NAME...]",
		Short: "Show what runs: state, pid, uptime, restarts, ports, why not",
		Long: `Shows the nodes of the running engine. Without an engine it fails with code 5.
With -w it goes on showing until ^C or until the engine ends: in place on a
terminal, elsewhere below each other.

With --json it prints one object, with -w --json one object a line at each change:
  {"seq", "engine": {"pid", "version", "started", "project", "root"}, "digest",
   "nodes": [{"name", "kind", "state", "pid", "started_at", "ready_at", "uptime_ms",
     "restarts", "exit": {"code", "signal"}, "reason", "ports": {name: number},
     "sockets": {name: path}, "links": {label: url}, "status_text", "holders",
     "cached", "remote", "cause", "schedule", "next_at"}],
   "progress": {"total", "done", "running", "cached", "failed", "waiting"}}`,
		Example: `  orrery status
  orrery status web worker
  orrery status --json | jq -r '.nodes[] | select(.state != "ready") | .name'`,
		RunE: func(c *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			place, err := a.barePlace()
			if err != nil {
				return err
			}
			client, err := control.Dial(ctx, place)
			if err != nil {
				return err
			}
			defer client.Close()
			if watch {
				return ending(a.watchStatus(ctx, client, args), place)
			}
			st, err := statusOf(ctx, client, args)
			if err != nil {
				return ending(err, place)
			}
			if a.json {
				return a.printJSON(st)
			}
			return statusTable(st, a.verbose).write(os.Stdout, a, columns())
		},
	}
	c.Flags().BoolVarP(&watch, "watch", "w", false, "go on, at each change")
	return c
}

// ending takes an engine that is about to end for none.
func ending(err error, place control.Place) error {
	var wire *control.Error
	if errors.As(err, &wire) && wire.Code == control.CodeCancelled {
		return &control.ErrNoEngine{Socket: place.Socket}
	}
	return err
}

// statusTable is a row a node. Columns that say nothing are left out.
func statusTable(st api.Status, verbose bool) *table {
	t := &table{head: []string{"name", "state", "pid", "uptime", "restarts", "at", "note"}}
	for _, n := range st.Nodes {
		if !verbose && n.Kind == "task" && n.State == "down" && n.Reason == "" && len(st.Nodes) > 1 {
			continue // a task that nobody asked for
		}
		pid, uptime, restarts := "", "", ""
		if n.PID != 0 {
			pid = fmt.Sprint(n.PID)
		}
		if n.UptimeMS > 0 {
			uptime = uptimeText(time.Duration(n.UptimeMS) * time.Millisecond)
		}
		if n.Restarts > 0 {
			restarts = fmt.Sprint(n.Restarts)
		}
		t.rows = append(t.rows, []cell{
			{n.Name, ""}, {strings.ReplaceAll(n.State, "-", " "), stateColor(n)}, {pid, dim}, {uptime, ""}, {restarts, yellow}, {whereText(n), ""}, {noteText(n), dim},
		})
	}
	return t
}

// stateColor is green for what is as wished, red for what will not come there.
func stateColor(n api.NodeStatus) string {
	switch n.State {
	case "ready", "listening", "succeeded", "skipped":
		return green
	case "failed", "gave-up", "blocked":
		return red
	case "exited":
		if failedState(n) {
			return red
		}
		return dim
	case "down", "scheduled":
		return dim
	}
	return yellow
}

// uptimeText is a time span in two units at most.
func uptimeText(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

// whereText is where a service can be reached: its links, else ports and
// sockets.
func whereText(n api.NodeStatus) string {
	var all []string
	for _, label := range slices.Sorted(maps.Keys(n.Links)) {
		all = append(all, n.Links[label])
	}
	if len(all) > 0 {
		return strings.Join(all, " ")
	}
	names := slices.Sorted(maps.Keys(n.Ports))
	for _, name := range names {
		if len(names) == 1 {
			all = append(all, fmt.Sprintf(":%d", n.Ports[name]))
		} else {
			all = append(all, fmt.Sprintf("%s:%d", name, n.Ports[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(n.Sockets)) {
		all = append(all, n.Sockets[name])
	}
	return strings.Join(all, " ")
}

// noteText is what the program says of itself, then why it is as it is.
func noteText(n api.NodeStatus) string {
	var all []string
	for _, s := range []string{n.StatusText, n.Reason} {
		if s = oneLine(s); s != "" {
			all = append(all, s)
		}
	}
	if !n.NextAt.IsZero() {
		all = append(all, "next run "+n.NextAt.Local().Format("Mon 2006-01-02 15:04:05"))
	}
	switch {
	case n.Remote:
		all = append(all, "restored from the remote cache")
	case n.Cached:
		all = append(all, "cached")
	}
	return strings.Join(all, "; ")
}

// settleTime is how long a burst of events may go on before it is shown.
const settleTime = 50 * time.Millisecond

// watchStatus shows the status at each change: in place on a terminal, below
// each other elsewhere.
func (a *app) watchStatus(ctx context.Context, client *control.Client, names []string) error {
	st, err := statusOf(ctx, client, names)
	if err != nil {
		return err
	}
	changed := make(chan struct{}, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- client.Stream(ctx, api.MethodEvents, api.Events{Since: st.Seq}, func(json.RawMessage) error {
			select {
			case changed <- struct{}{}:
			default: // one is due already
			}
			return nil
		})
	}()
	v := &statusView{app: a}
	defer v.end()
	for {
		if err := v.show(st); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		case err := <-ended:
			var none *control.ErrNoEngine
			if ctx.Err() != nil {
				return nil
			}
			if err == nil || errors.As(err, &none) {
				v.end()
				a.say("the engine has ended")
				return nil
			}
			return err
		}
		select { // let a burst pass
		case <-time.After(settleTime):
		case <-ctx.Done():
			return nil
		}
		next, err := statusOf(ctx, client, names)
		if err != nil {
			continue // ctx or the stream says why
		}
		st = next
	}
}

// statusView is a status that is shown again and again: on a terminal in place,
// elsewhere below what was shown.
type statusView struct {
	app    *app
	screen *term.Screen // nil: not on a terminal
	now    atomic.Pointer[api.Status]
	last   string // what is shown, where that is not on a terminal
}

func (v *statusView) show(st api.Status) error {
	if v.app.json {
		enc := json.NewEncoder(os.Stdout)
		enc.SetEscapeHTML(false)
		return enc.Encode(st)
	}
	v.now.Store(&st)
	if isatty.IsTerminal(os.Stdout.Fd()) && !dumb(os.Getenv) {
		if v.screen == nil {
			style := v.app.styleOf(os.Stdout)
			style.Whole = true
			v.screen = term.Open(os.Stdout, term.Options{Style: style, Footer: v.lines, AtOnce: true})
		}
		v.screen.Changed()
		return nil
	}
	var b bytes.Buffer
	if err := statusTable(st, v.app.verbose).write(&b, v.app, 0); err != nil || b.String() == v.last {
		return err
	}
	v.last = b.String()
	_, err := os.Stdout.WriteString(v.last)
	return err
}

// lines are the table, as far as the terminal has room.
func (v *statusView) lines(size term.Size, _ time.Time) []term.Line {
	lines := statusTable(*v.now.Load(), v.app.verbose).lines(size.Cols - 1)
	if most := size.Rows - 1; size.Rows > 2 && len(lines) > most {
		more := fmt.Sprintf("and %d more", len(lines)-most+1)
		lines = append(lines[:most-1:most-1], term.Line{{Text: more, Color: dim}})
	}
	return lines
}

// end leaves the last status on the terminal.
func (v *statusView) end() {
	if v.screen == nil {
		return
	}
	v.screen.Close()
	v.screen = nil
	statusTable(*v.now.Load(), v.app.verbose).write(os.Stdout, v.app, columns())
}
