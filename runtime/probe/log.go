package probe

import (
	"context"
	"fmt"
	"regexp"

	"orrery/lang/graph"
)

// logProbe: a line of the log of this run of the service has matched. What was
// seen once stays seen.
type logProbe struct {
	want   *regexp.Regexp
	colour *regexp.Regexp
	lines  func(yield func([]byte) bool) error
	seen   bool
}

func newLog(p *graph.Probe, t Target) (Probe, error) {
	want, err := regexp.Compile(p.Regex)
	if err != nil {
		return nil, fmt.Errorf("regex: %w", err)
	}
	if t.Lines == nil {
		return nil, fmt.Errorf("the service has no log")
	}
	return &logProbe{want: want, colour: regexp.MustCompile("\x1b\\[[0-9:;?]*[ -/]*[@-~]"), lines: t.Lines}, nil
}

// Check looks at the lines since the last try.
func (p *logProbe) Check(ctx context.Context) error {
	if p.seen {
		return nil
	}
	err := p.lines(func(line []byte) bool {
		p.seen = p.want.Match(line) || p.want.Match(p.colour.ReplaceAll(line, nil))
		return !p.seen && ctx.Err() == nil
	})
	switch {
	case p.seen:
		return nil
	case err != nil:
		return fmt.Errorf("log: %w", err)
	}
	return fmt.Errorf("log: got no line that matches %q", p.want)
}
