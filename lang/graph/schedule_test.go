package graph

import (
	"strconv"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"pgregory.net/rapid"
)

// TestCronNext: what follows a time, in the zone of the schedule; also where
// the clocks change.
func TestCronNext(t *testing.T) {
	for _, c := range []struct{ expr, tz, from, want string }{
		{"0 2 * * *", "UTC", "2026-01-01T00:00:00Z", "01-01T02:00Z 01-02T02:00Z"},
		{"30 8 * * mon-fri", "UTC", "2026-01-02T09:00:00Z", "01-05T08:30Z 01-06T08:30Z"},
		{"0 0 * * 7", "UTC", "2026-01-01T00:00:00Z", "01-04T00:00Z 01-11T00:00Z"},
		{"0 0 * * 5-7/2", "UTC", "2026-01-01T00:00:00Z", "01-02T00:00Z 01-04T00:00Z 01-09T00:00Z"},
		{"*/20 1,3 1 jan *", "UTC", "2026-01-01T01:30:00Z", "01-01T01:40Z 01-01T03:00Z 01-01T03:20Z"},
		{"@daily", "Asia/Kolkata", "2026-01-01T00:00:00Z", "01-01T18:30Z 01-02T18:30Z"},
		{"@hourly", "UTC", "2026-01-01T00:00:00Z", "01-01T01:00Z 01-01T02:00Z"},
		// 02:00 is left out on 29 March in Berlin: it counts at 03:00.
		{"0 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "03-29T01:00Z 03-30T00:00Z"},
		{"30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", "03-28T01:30Z 03-29T01:00Z 03-30T00:30Z"},
		{"*/15 2 * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", "03-29T01:00Z 03-30T00:00Z"},
		// 02:00 comes twice on 25 October: the first one counts.
		{"0 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "10-25T00:00Z 10-26T01:00Z"},
		{"*/30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "10-25T00:00Z 10-25T00:30Z 10-26T01:00Z"},
		{"0 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "10-26T01:00Z"},
		{"0 3 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "10-25T02:00Z 10-26T02:00Z"},
		// Every hour that passes.
		{"0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", "10-25T00:00Z 10-25T01:00Z 10-25T02:00Z"},
		{"0 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", "03-29T01:00Z 03-29T02:00Z"},
		// Midnight is left out in Santiago, half an hour in Lord Howe, a whole day in Apia.
		{"0 0 * * *", "America/Santiago", "2025-09-06T12:00:00Z", "09-07T04:00Z 09-08T03:00Z"},
		{"15 2 * * *", "Australia/Lord_Howe", "2025-10-04T12:00:00Z", "10-04T15:30Z 10-05T15:15Z"},
		{"0 12 * * *", "Pacific/Apia", "2011-12-29T12:00:00Z", "12-29T22:00Z 12-30T10:00Z 12-30T22:00Z"},
	} {
		s := &Schedule{Kind: "cron", Expr: c.expr, Tz: c.tz}
		if field, err := s.Check(); err != nil {
			t.Errorf("%s: %s: %v", c.expr, field, err)
			continue
		}
		at, err := time.Parse(time.RFC3339, c.from)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for range strings.Fields(c.want) {
			at = s.Next(at)
			got = append(got, at.UTC().Format("01-02T15:04Z"))
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%s in %s after %s:\ngot  %s\nwant %s", c.expr, c.tz, c.from, g, c.want)
		}
	}
}

// TestCronDaily is a law: a time of day comes once a day, whatever the clocks
// do, in order and later than what was asked for.
func TestCronDaily(t *testing.T) {
	zones := []string{"Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe", "Asia/Kolkata", "UTC", "Africa/Casablanca"}
	rapid.Check(t, func(t *rapid.T) {
		s := &Schedule{Kind: "cron", Tz: rapid.SampledFrom(zones).Draw(t, "tz")}
		minute, hour := rapid.IntRange(0, 59).Draw(t, "minute"), rapid.IntRange(0, 23).Draw(t, "hour")
		s.Expr = strings.Join([]string{strconv.Itoa(minute), strconv.Itoa(hour), "* * *"}, " ")
		loc, err := time.LoadLocation(s.Tz)
		if err != nil {
			t.Fatal(err)
		}
		from := time.Date(2026, time.January, 1, 0, 0, 0, 0, loc).AddDate(0, 0, rapid.IntRange(0, 365).Draw(t, "day"))
		days := map[string]bool{}
		at := from
		for range 300 {
			next := s.Next(at)
			if !next.After(at) {
				t.Fatalf("%s follows %s", next, at)
			}
			if gap := next.Sub(at); at != from && (gap < 22*time.Hour || gap > 26*time.Hour) {
				t.Fatalf("%s: %s after %s", s.Expr, gap, at.In(loc))
			}
			day := next.In(loc).Format(time.DateOnly)
			if days[day] {
				t.Fatalf("%s: twice on %s", s.Expr, day)
			}
			days[day] = true
			at = next
		}
	})
}

// FuzzCron: no expression brings the parser down, and what Check takes has a
// next time after any other.
func FuzzCron(f *testing.F) {
	for _, s := range []string{"0 2 * * *", "@daily", "TZ=0", "CRON_TZ=", "*/7 1-5/2 ? jan-mar sun", "0 0 29 2 7", "@", "1 1 1 1 4-7/0"} {
		f.Add(s, int64(1790000000))
	}
	f.Fuzz(func(t *testing.T, expr string, unix int64) {
		s := &Schedule{Kind: "cron", Expr: expr, Tz: "Europe/Berlin"}
		if _, err := s.Check(); err != nil {
			return
		}
		from := time.Unix(unix%(1<<32), 0)
		if next := s.Next(from); !next.IsZero() && !next.After(from) {
			t.Errorf("%q: %s follows %s", expr, next, from)
		}
	})
}
