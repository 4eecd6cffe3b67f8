package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"orrery/lang/graph"
	"orrery/runtime/control"
	"orrery/runtime/logs"
)

// logsFlags are the flags of logs.
type logsFlags struct {
	follow  bool
	tail    int
	since   string
	grep    string
	streams []string
	times   bool
}

// followTail is how many old lines -f begins with.
const followTail = 10

func logsCommand(a *app) *cobra.Command {
	var f logsFlags
	c := &cobra.Command{
		Use:   "logs [NAME...]",
		Short: "Show what the nodes print, merged in order of time",
		Long: `Shows what services and tasks have printed, whether an engine runs or not, merged in
order of time as "name | line". One name that is a single node gives its output
as it is. Nodes that are no longer declared keep their logs.

With --json it prints a line for each line:
  {"time", "node", "stream": "stdout" | "stderr", "text", "raw", "mark"}
"raw" (base64) is there when the text is not valid UTF-8; "mark" ("started",
"exited", "dropped" ...) when it is a mark between lines.`,
		Example: `  orrery logs                        everything
  orrery logs web -f                 follow web, from its last 10 lines
  orrery logs --since 10m --grep 'panic|ERROR'
  orrery logs web --stream out > web.txt`,
		RunE: func(c *cobra.Command, args []string) error {
			if f.follow && len(args) > 0 && strings.HasSuffix(args[0], ".star") {
				return hinted{usageError{fmt.Errorf("-f of logs is --follow, and %s is no node", args[0])}, "write --file " + args[0]}
			}
			if !c.Flags().Changed("tail") && f.follow && f.since == "" {
				f.tail = followTail
			}
			return a.logs(c.Context(), args, f)
		},
	}
	fl := c.Flags()
	fl.BoolVarP(&f.follow, "follow", "f", false, "go on with what comes, until ^C")
	fl.StringVar(&a.file, "file", "", "the project `FILE`; here -f is --follow") // takes the place of the global one
	fl.IntVarP(&f.tail, "tail", "n", -1, "the last `N` lines only (default: all; 10 with -f)")
	fl.StringVar(&f.since, "since", "", "only what came since `TIME`: 10m ago, or 2026-01-02T15:04:05Z")
	fl.StringVar(&f.grep, "grep", "", "only lines that match the regular expression `RE`")
	fl.StringSliceVar(&f.streams, "stream", nil, "only `STREAM` out or err")
	fl.BoolVarP(&f.times, "timestamps", "t", false, "with the time of each line (also with -v)")
	return c
}

func (a *app) logs(ctx context.Context, names []string, f logsFlags) error {
	q, err := f.query(time.Now())
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	place, err := a.barePlace()
	if err != nil {
		return err
	}
	store, err := openLogs(place, f.follow)
	if err != nil {
		return err
	}
	var known []string
	if store != nil {
		if known, err = store.Nodes(); err != nil {
			return err
		}
	}
	if q.Nodes, err = a.logNames(ctx, names, known); err != nil {
		return err
	}
	if store == nil || len(known) == 0 && !f.follow {
		a.say("nothing has been logged yet")
		return nil
	}
	p := newLogPrinter(a, q.Nodes, known, f)
	err = store.Read(ctx, q, p.line)
	if ferr := p.out.Flush(); err == nil {
		err = ferr
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// openLogs opens the logs of a place; nil when there are none, unless they are
// to be followed.
func openLogs(place control.Place, follow bool) (*logs.Store, error) {
	if _, err := os.Stat(place.Logs); errors.Is(err, os.ErrNotExist) {
		if !follow {
			return nil, nil
		}
		if err := place.Make(); err != nil {
			return nil, err
		}
	}
	return logs.Open(place.Logs)
}

// query is what the flags ask the store for.
func (f *logsFlags) query(now time.Time) (logs.Query, error) {
	q := logs.Query{Follow: f.follow}
	switch {
	case f.tail == 0:
		q.Tail = -1
	case f.tail > 0:
		q.Tail = f.tail
	case f.tail < -1:
		return q, usageError{fmt.Errorf("-n: got %d, want 0 or more", f.tail)}
	}
	if f.since != "" {
		t, err := sinceTime(f.since, now)
		if err != nil {
			return q, err
		}
		q.Since = t
	}
	if f.grep != "" {
		re, err := regexp.Compile(f.grep)
		if err != nil {
			return q, usageError{fmt.Errorf("--grep: %w", err)}
		}
		q.Grep = re
	}
	for _, s := range f.streams {
		switch s {
		case "out", logs.Stdout:
			q.Streams = append(q.Streams, logs.Stdout)
		case "err", logs.Stderr:
			q.Streams = append(q.Streams, logs.Stderr)
		default:
			return q, usageError{fmt.Errorf("--stream: got %q, want out or err", s)}
		}
	}
	return q, nil
}

// sinceTime reads "10m" (ago), a date or a time.
func sinceTime(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	return now, usageError{fmt.Errorf("--since: got %q, want a time span such as 10m, or a time such as %s", s, now.Format(time.RFC3339))}
}

// logNames turns names into those of nodes with logs. What has logs is known
// without looking at services.star, so that a broken one does not hide them.
func (a *app) logNames(ctx context.Context, names, known []string) ([]string, error) {
	var all []string
	for _, name := range names {
		if slices.ContainsFunc(known, func(k string) bool { return k == name || strings.HasPrefix(k, name+"/") }) {
			all = append(all, name)
			continue
		}
		b := *a
		b.quiet = true // warnings are not what was asked for
		p, err := b.load(ctx)
		if err != nil {
			return nil, unknown(name, known)
		}
		nodes, err := p.Graph.Expand([]string{name})
		if err != nil {
			var u *graph.UnknownTarget
			if errors.As(err, &u) && u.Hint == "" {
				return nil, unknown(name, known)
			}
			return nil, err
		}
		all = append(all, nodes...)
	}
	return all, nil
}

// logPrinter writes lines as the flags ask for.
type logPrinter struct {
	app    *app
	out    *bufio.Writer
	flush  bool // after every line
	raw    bool // one node: no names
	exact  bool // bytes as they are: not a terminal
	times  bool
	width  int
	colors map[string]string
}

func newLogPrinter(a *app, names, known []string, f logsFlags) *logPrinter {
	p := &logPrinter{
		app: a, out: bufio.NewWriterSize(os.Stdout, 64<<10), flush: f.follow, times: f.times || a.verbose,
		exact: !isatty.IsTerminal(os.Stdout.Fd()), colors: map[string]string{},
	}
	if len(names) == 1 {
		p.raw = !slices.ContainsFunc(known, func(k string) bool { return strings.HasPrefix(k, names[0]+"/") })
	}
	for _, k := range known {
		wanted := len(names) == 0 || slices.ContainsFunc(names, func(n string) bool { return k == n || strings.HasPrefix(k, n+"/") })
		if wanted {
			p.width = min(max(p.width, len(k)), 24)
		}
		p.colors[k] = nameColor(k)
	}
	for _, n := range names {
		p.width = min(max(p.width, len(n)), 24)
	}
	return p
}

// line writes one line; it is the callback of logs.Store.Read.
func (p *logPrinter) line(l logs.Line) bool {
	switch {
	case p.app.json:
		p.jsonLine(l)
	case p.raw:
		p.rawLine(l)
	default:
		p.namedLine(l)
	}
	return !p.flush || p.out.Flush() == nil
}

// logLine is a line in the JSON of logs.
type logLine struct {
	Time   time.Time `json:"time"` // when it came
	Node   string    `json:"node"`
	Stream string    `json:"stream"`         // stdout or stderr
	Text   string    `json:"text"`           // without its end; what is not UTF-8 is replaced
	Raw    []byte    `json:"raw,omitempty"`  // the bytes, when the text is not valid UTF-8
	Mark   string    `json:"mark,omitempty"` // started, exited, dropped ...: it is a mark between lines
}

func (p *logPrinter) jsonLine(l logs.Line) {
	j := logLine{Time: l.Time, Node: l.Node, Stream: l.Stream, Text: string(l.Text), Mark: l.Mark}
	if !utf8.Valid(l.Text) {
		j.Text, j.Raw = strings.ToValidUTF8(j.Text, "\uFFFD"), l.Text
	}
	enc := json.NewEncoder(p.out)
	enc.SetEscapeHTML(false)
	enc.Encode(j) // an error of the writer stays, and Flush gives it
}

func (p *logPrinter) stamp(l logs.Line) {
	if p.times {
		p.out.WriteString(p.app.tint(dim, l.Time.Format("2006-01-02T15:04:05.000Z07:00")) + " ")
	}
}

// rawLine gives the output of a single node. Into a file or a pipe it goes byte
// for byte, and marks do not: they are none of its bytes.
func (p *logPrinter) rawLine(l logs.Line) {
	if l.Mark != "" {
		if !p.exact {
			p.stamp(l)
			p.out.WriteString(p.app.tint(dim, markText(l)) + "\n")
		} else if l.Mark == logs.Dropped {
			p.app.say("%s: %s", l.Node, logs.Sanitise(l.Text))
		}
		return
	}
	p.stamp(l)
	if p.exact {
		p.out.Write(l.Text)
	} else {
		p.out.WriteString(logs.Sanitise(l.Text))
	}
	if !l.Partial || !p.exact || p.times {
		p.out.WriteByte('\n')
	}
}

func (p *logPrinter) namedLine(l logs.Line) {
	p.stamp(l)
	color := p.colors[l.Node]
	if l.Mark == "" {
		p.out.WriteString(logs.Format(l, p.width, func(name string) string { return p.app.tint(color, name) }) + "\n")
		return
	}
	p.out.WriteString(p.app.tint(dim, logs.Format(l, p.width, nil)) + "\n")
}

// markText shows a mark such that it is not taken for output.
func markText(l logs.Line) string {
	_, text, _ := strings.Cut(logs.Format(l, 0, nil), " | ")
	return text
}
