package term

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Board is what a footer tells: how far things are, and what is waited for.
type Board struct {
	// Title says what is done, where it is not the work on nodes.
	Title string
	// Began is when it began; zero leaves out how long ago that was.
	Began time.Time
	// Done of Total are there; a Total of 0 leaves both out.
	Done, Total int
	// Counts are further words, such as "3 running".
	Counts []string
	// Calm says that nothing is waited for any more: time is told in minutes.
	Calm bool
	// Hint is what may be done now.
	Hint string
	// Rows are what is at work or in the way, in any order.
	Rows []Row
	// More is how many Rows were left out by whoever made the board.
	More int
}

// Row is one thing that is waited for.
type Row struct {
	// Name is that of a node, Color the SGR code of it.
	Name, Color string
	// State is a word or two, such as "starting".
	State string
	// Since is when that began; zero leaves out how long ago that was.
	Since time.Time
	// Why is what is known of the reason.
	Why string
	// Blocks is how many wait for it directly.
	Blocks int
}

// The colours of a board, as SGR codes.
const (
	bold   = "1"
	dim    = "2"
	yellow = "33"
)

// first orders rows: what most wait for, then what has been at it longest.
func first(a, b Row) int {
	return cmp.Or(cmp.Compare(b.Blocks, a.Blocks), a.Since.Compare(b.Since), strings.Compare(a.Name, b.Name))
}

// Lines are the lines of the board for a terminal: where there is room for one
// alone, that holds the first row, too. They are not cut.
func (b *Board) Lines(size Size, now time.Time) []Line {
	most, _ := size.room(false)
	if most == 0 || b.Title == "" && b.Total == 0 && len(b.Counts) == 0 {
		return nil
	}
	rows := slices.SortedFunc(slices.Values(b.Rows), first)
	if most == 1 {
		return []Line{b.head(now, rows[:min(1, len(rows))])}
	}
	lines := []Line{b.head(now, nil)}
	shown := rows[:min(len(rows), most-1)]
	more := b.More + len(rows) - len(shown)
	if more > 0 && len(shown) == most-1 { // its last line says so
		shown = shown[:len(shown)-1]
		more++
	}
	wide := 0
	for _, r := range shown {
		wide = max(wide, Width(r.Name))
	}
	wide = min(wide, max(8, size.sure().Cols/3), 32)
	for _, r := range shown {
		lines = append(lines, r.line(wide, now))
	}
	if more > 0 {
		lines = append(lines, Line{{fmt.Sprintf("  and %d more", more), dim}})
	}
	return lines
}

// head is the line of counts and time, with the rows that have no line of their
// own.
func (b *Board) head(now time.Time, rows []Row) Line {
	var l Line
	add := func(text, color string) {
		if text == "" {
			return
		}
		if len(l) > 0 {
			l = append(l, Span{" ", ""})
		}
		l = append(l, Span{text, color})
	}
	add(b.Title, bold)
	if b.Total > 0 {
		add(fmt.Sprintf("[%d/%d]", b.Done, b.Total), bold)
	}
	for _, r := range rows {
		add(r.Name, r.Color)
		add(r.at(now)+" ·", "")
	}
	add(strings.Join(b.Counts, ", "), "")
	if !b.Began.IsZero() {
		text := Elapsed(now.Sub(b.Began))
		if b.Calm {
			text = minutes(now.Sub(b.Began))
		}
		add("· "+text, dim)
	}
	if b.Hint != "" {
		add("· "+b.Hint, dim)
	}
	return l
}

// at is "starting 12 s".
func (r Row) at(now time.Time) string {
	if r.Since.IsZero() {
		return r.State
	}
	return r.State + " " + Elapsed(now.Sub(r.Since))
}

// reason is why, and what it holds up.
func (r Row) reason() string {
	switch {
	case r.Blocks == 1:
		return strings.TrimPrefix(r.Why+"; 1 waits for it", "; ")
	case r.Blocks > 1:
		return strings.TrimPrefix(fmt.Sprintf("%s; %d wait for it", r.Why, r.Blocks), "; ")
	}
	return r.Why
}

func (r Row) line(wide int, now time.Time) Line {
	l := Line{{"  ", ""}, {Pad(Fit(plain(r.Name), wide), wide), r.Color}, {" ", ""}}
	why := r.reason()
	if why == "" {
		return append(l, Span{r.at(now), ""})
	}
	return append(l, Span{Pad(r.at(now), 14), ""}, Span{" " + why, dim})
}

// Text is the board in one line for a log: how far, and what is waited for.
func (b *Board) Text(now time.Time) string {
	var parts []string
	rows := slices.SortedFunc(slices.Values(b.Rows), first)
	for _, r := range rows[:min(len(rows), 3)] {
		text := plain(r.Name) + " " + r.at(now)
		if why := r.reason(); why != "" {
			text += " (" + plain(why) + ")"
		}
		parts = append(parts, text)
	}
	if more := b.More + len(rows) - len(parts); more > 0 {
		parts = append(parts, fmt.Sprintf("%d more", more))
	}
	head := b.Title
	if b.Total > 0 {
		head = strings.TrimSpace(fmt.Sprintf("%s [%d/%d]", head, b.Done, b.Total))
	}
	if len(b.Counts) > 0 {
		head = strings.TrimSpace(head + " " + strings.Join(b.Counts, ", "))
	}
	if !b.Began.IsZero() {
		head += " after " + Elapsed(now.Sub(b.Began))
	}
	if len(parts) == 0 {
		return head
	}
	return head + ": " + strings.Join(parts, ", ")
}

// Elapsed is a time in whole seconds, as people read it: 4 s, 1m05s, 2h03m.
func Elapsed(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// minutes is Elapsed that changes no more often than once a minute.
func minutes(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return "under 1 min"
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return Elapsed(d)
}
