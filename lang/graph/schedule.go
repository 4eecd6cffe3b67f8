package graph

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Check says what is wrong with a schedule, and in which of its fields. It
// knows the time zones of this machine, or those that the program brings along
// (time/tzdata).
func (s *Schedule) Check() (field string, err error) {
	if s.Kind == "every" {
		switch {
		case s.Interval < Duration(time.Second):
			return "interval", fmt.Errorf("got %s, want 1s or more", time.Duration(s.Interval))
		case s.Jitter >= s.Interval:
			return "jitter", fmt.Errorf("got %s, want less than the interval, %s", time.Duration(s.Jitter), time.Duration(s.Interval))
		}
		return "", nil
	}
	c, err := parseCron(s.Expr)
	if err != nil {
		return "expr", err
	}
	if c.Next(time.Unix(0, 0).UTC()).IsZero() {
		return "expr", fmt.Errorf("got %q, a time that never comes", s.Expr)
	}
	if _, err := s.zone(); err != nil {
		return "tz", fmt.Errorf("got %q, want the name of a time zone such as \"Europe/Berlin\" or \"UTC\"", s.Tz)
	}
	return "", nil
}

// zone is where the clock of a schedule stands.
func (s *Schedule) zone() (*time.Location, error) {
	if s.Tz == "" {
		return time.Local, nil
	}
	return time.LoadLocation(s.Tz)
}

// String is the schedule as list and status show it: "0 2 * * * Europe/Berlin",
// "every 1h0m0s".
func (s *Schedule) String() string {
	switch {
	case s.Kind == "every" && s.Jitter > 0:
		return fmt.Sprintf("every %s, up to %s late", time.Duration(s.Interval), time.Duration(s.Jitter))
	case s.Kind == "every":
		return "every " + time.Duration(s.Interval).String()
	}
	return strings.TrimSpace(s.Expr + " " + s.Tz)
}

// Next is the first time of a cron schedule after t, in its time zone; zero if
// there is none, or if Check has an objection. An interval counts from its
// start, which only whoever runs it knows: of it Next knows the length.
//
// Where the clocks change, a time of day that they show twice counts once, the
// first time; one that they leave out counts at the end of the gap. With * as
// the hour every hour that passes counts.
func (s *Schedule) Next(t time.Time) time.Time {
	if s.Kind == "every" {
		return t.Add(time.Duration(s.Interval))
	}
	c, err := parseCron(s.Expr)
	if err != nil {
		return time.Time{}
	}
	loc, err := s.zone()
	if err != nil {
		return time.Time{}
	}
	if c.Hour&anyHour == anyHour {
		// Minutes are those of real hours: where a zone is off by half an hour
		// for a summer, too.
		c.Location = loc
		return c.Next(t.In(loc))
	}
	// cron's own Next skips a day on which the time is left out, and runs twice
	// where it comes twice. Here it counts in days without changes, and each of
	// its times is looked up in the zone.
	wall := civil(t.In(loc)).Add(-26 * time.Hour) // the clocks may have been set back by up to a day since
	for {
		if wall = c.Next(wall); wall.IsZero() {
			return wall
		}
		if at := instant(wall, loc); at.After(t) {
			return at
		}
	}
}

// anyHour are the bits of all hours.
const anyHour = 1<<24 - 1

// civil is what a clock on the wall shows, as if it were UTC.
func civil(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// instant is when a clock in loc first shows wall, or the end of the gap if it
// never does.
func instant(wall time.Time, loc *time.Location) time.Time {
	before := offsetAt(wall.Add(-26*time.Hour), loc)
	early := wall.Add(-before).In(loc)
	if civil(early).Equal(wall) {
		return early
	}
	late := wall.Add(-offsetAt(wall.Add(26*time.Hour), loc)).In(loc)
	if civil(late).Equal(wall) {
		return late
	}
	gap, _ := early.ZoneBounds() // early lies behind the gap
	return gap
}

func offsetAt(t time.Time, loc *time.Location) time.Duration {
	_, seconds := t.In(loc).Zone()
	return time.Duration(seconds) * time.Second
}

// parseCron reads an expression of five fields, or one such as @daily.
func parseCron(expr string) (*cron.SpecSchedule, error) {
	bad := func(err error) error { return fmt.Errorf("got %q: %w", expr, err) }
	fields := strings.Fields(expr)
	if len(fields) == 1 && strings.HasPrefix(expr, "@") {
		if strings.HasPrefix(expr, "@every") || expr == "@reboot" {
			return nil, bad(errors.New("want schedule.every(...), or a task without a schedule"))
		}
	} else {
		if len(fields) != 5 {
			return nil, fmt.Errorf("got %d fields, want 5: minute hour day month weekday; or @hourly, @daily, @weekly, @monthly, @yearly", len(fields))
		}
		if strings.Contains(fields[0], "=") { // TZ=
			return nil, bad(errors.New("want the time zone in the argument tz"))
		}
		for i, f := range fields {
			if strings.Contains(","+f+",", ",,") {
				return nil, bad(fmt.Errorf("an empty element in %q", f))
			}
			if i == 4 {
				f = sundays(f)
			}
			fields[i] = f
		}
		expr = strings.Join(fields, " ")
	}
	s, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor).Parse(expr)
	if err != nil {
		return nil, bad(err)
	}
	c, ok := s.(*cron.SpecSchedule)
	if !ok {
		return nil, bad(errors.New("want schedule.every(...)"))
	}
	return c, nil
}

// sundays writes 7 as 0: both mean Sunday, and the parser takes only 0.
func sundays(field string) string {
	var all []string
	for part := range strings.SplitSeq(field, ",") {
		span, step, stepped := strings.Cut(part, "/")
		low, high, ranged := strings.Cut(span, "-")
		from, err := strconv.Atoi(low)
		by := 1
		if stepped {
			by, _ = strconv.Atoi(step)
		}
		switch {
		case part == "7":
			part = "0"
		case ranged && high == "7" && err == nil && from >= 0 && from <= 7 && by > 0:
			var days []string
			for d := from; d <= 7; d += by {
				days = append(days, strconv.Itoa(d%7))
			}
			part = strings.Join(days, ",")
		}
		all = append(all, part)
	}
	return strings.Join(all, ",")
}
