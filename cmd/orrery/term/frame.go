// Package term shows a few lines that are live below a stream of lines that
// scrolls: the footer. What is drawn is decided by pure functions (Board.Lines,
// Frame); a Screen carries it out on a terminal.
//
// It promises little damage: it never leaves the normal screen, does not hide the
// cursor and sets no mode beyond one write, so that there is nothing to restore even
// after a kill -9. The cursor rests on the empty line above the footer, in front of all that
// is ours: whatever a resize makes of the lines below, one "erase below" takes
// them away, and what others write, or a user types, does no harm to the stream.
//
// It knows nothing of graphs and engines, and does not decide whether there is to
// be a footer: see live.go of the command.
package term

import (
	"strconv"
	"strings"

	"github.com/clipperhouse/displaywidth"
)

// Size is that of a terminal in characters; 0 where it does not tell.
type Size struct{ Cols, Rows int }

// sure is the size with what terminals usually have in place of what is not known.
func (s Size) sure() Size {
	if s.Cols <= 0 {
		s.Cols = 80
	}
	if s.Rows <= 0 {
		s.Rows = 24
	}
	return s
}

// room is how many lines a footer may have, and whether an empty line parts it
// from the stream. A terminal of two rows has room for the stream alone.
func (s Size) room(whole bool) (lines int, gap bool) {
	rows := s.sure().Rows
	switch {
	case whole:
		return rows - 1, false
	case rows < 3:
		return 0, false
	case rows < 8:
		return 1, rows > 3
	}
	return min(rows/3, 10), true
}

// Style is what a terminal takes.
type Style struct {
	// Color allows SGR sequences.
	Color bool
	// Links allows OSC 8.
	Links bool
	// Whole lets a footer fill the terminal, for screens that have no stream.
	Whole bool
}

// Span is a piece of a line in one colour.
type Span struct {
	// Text is shown without its control characters.
	Text string
	// Color is an SGR code, or empty.
	Color string
}

// Line is one line of a footer.
type Line []Span

// Paint is a text in a colour, an SGR code.
func (st Style) Paint(code, text string) string {
	if !st.Color || code == "" || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Link is a text that opens a URL; one with characters that a URL does not hold
// is left alone.
func (st Style) Link(url, text string) string {
	if !st.Links || url == "" || strings.ContainsFunc(url, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return text
	}
	return "\x1b]8;;" + url + "\x1b\\" + text + "\x1b]8;;\x1b\\"
}

// Width is how many columns a text takes, of control characters none.
func Width(s string) int { return displaywidth.String(s) }

// Fit cuts a text to a number of columns, with "…" for what is left out; a
// negative number is no limit.
func Fit(s string, cols int) string {
	switch {
	case cols < 0:
		return s
	case cols == 0:
		return ""
	}
	return displaywidth.TruncateString(s, cols, "…")
}

// Pad fills a text up to a number of columns.
func Pad(s string, cols int) string {
	if n := cols - Width(s); n > 0 {
		return s + strings.Repeat(" ", n)
	}
	return s
}

// plain is a text without what would act on the terminal: control characters,
// and those that turn the direction.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n':
			return ' '
		case r < ' ' || r >= 0x7f && r <= 0x9f, r == 0x2028 || r == 0x2029 || r == 0x200e || r == 0x200f || r == 0x061c,
			r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069:
			return -1
		}
		return r
	}, s)
}

// cut is a line as bytes in a number of columns.
func (l Line) cut(b []byte, cols int, st Style) []byte {
	for _, span := range l {
		text := plain(span.Text)
		whole := Width(text)
		if whole > cols {
			return append(b, st.Paint(span.Color, Fit(text, cols))...)
		}
		b = append(b, st.Paint(span.Color, text)...)
		cols -= whole
	}
	return b
}

// Lines do not go on in the next row while a frame is drawn: the terminal may be
// narrower by now than it says.
const (
	noWrap = "\x1b[?7l"
	wrap   = "\x1b[?7h"
)

// Frame is what draws a footer below the cursor, which is at the start of an
// empty line and is there again after it. Lines are cut to one column less than
// there are, as some terminals go on to the next line with the last column; those
// for which there is no room are left out. No lines give no bytes.
func Frame(lines []Line, size Size, st Style) []byte {
	most, gap := size.room(st.Whole)
	lines = lines[:min(len(lines), most)]
	if len(lines) == 0 {
		return nil
	}
	b := []byte(noWrap)
	for i, l := range lines {
		if i > 0 || gap {
			b = append(b, "\r\n"...)
		}
		b = l.cut(b, size.sure().Cols-1, st)
	}
	b = append(b, wrap+"\r"...)
	up := len(lines)
	if !gap {
		up--
	}
	if up > 0 {
		b = append(b, "\x1b["+strconv.Itoa(up)+"A"...)
	}
	return b
}
