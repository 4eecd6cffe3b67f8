package logs

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const reset = "\x1b[0m"

// Sanitise makes a line fit for a terminal: colours (SGR sequences) stay and are reset at the end, all other
// escape sequences go (cursor, title, clipboard, device strings), and control characters, invalid UTF-8, an escape sequence
// without end and characters that turn the direction of text are shown as \x07, \xff, \u202e. Tabs stay; a
// carriage return at the end goes. The result holds no line break, and Sanitise of it is itself.
func Sanitise(b []byte) string {
	var s strings.Builder
	s.Grow(len(b))
	for len(b) > 0 && (b[len(b)-1] == '\r' || b[len(b)-1] == '\n') {
		b = b[:len(b)-1]
	}
	coloured := false
	for i := 0; i < len(b); {
		c := b[i]
		if c >= ' ' && c < 0x7f || c == '\t' {
			s.WriteByte(c)
			i++
			continue
		}
		if c == 0x1b {
			if n, sgr := escapeLen(b[i:]); n > 0 {
				if sgr {
					s.Write(b[i : i+n])
					coloured = !resets(b[i+2 : i+n-1])
				}
				i += n
				continue
			}
		}
		r, n := utf8.DecodeRune(b[i:])
		switch {
		case r == utf8.RuneError && n <= 1 || c < 0x80:
			fmt.Fprintf(&s, `\x%02x`, c)
			n = 1
		case hidden(r):
			fmt.Fprintf(&s, `\u%04x`, r)
		default:
			s.Write(b[i : i+n])
		}
		i += n
	}
	if coloured {
		s.WriteString(reset)
	}
	return s.String()
}

// hidden says whether a character acts on the text around it instead of being seen.
func hidden(r rune) bool {
	return r >= 0x80 && r <= 0x9f || // C1 controls: some terminals take U+009B for ESC [
		r == 0x2028 || r == 0x2029 || r == 0x200e || r == 0x200f || r == 0x061c || r == 0xfeff ||
		r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// resets says whether the parameters of an SGR sequence end with a reset.
func resets(p []byte) bool {
	t := string(p)
	if i := strings.LastIndexByte(t, ';'); i >= 0 {
		t = t[i+1:]
		if t == "0" || t == "" { // 38;5;0 is black, not a reset
			return !strings.Contains(string(p), "8;") && !strings.Contains(string(p), "8:")
		}
	}
	return strings.Trim(t, "0") == ""
}

// escapeLen returns the length of the escape sequence at the start of b (0: it has no end), and whether it sets colours.
func escapeLen(b []byte) (n int, sgr bool) {
	if len(b) < 2 {
		return 0, false
	}
	switch c := b[1]; {
	case c == '[':
		return csiLen(b)
	case c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_': // strings, up to ST; OSC also up to BEL
		for i := 2; i < len(b); i++ {
			if b[i] == 0x07 && c == ']' {
				return i + 1, false
			}
			if b[i] == 0x1b && i+1 < len(b) && b[i+1] == '\\' {
				return i + 2, false
			}
		}
		return 0, false
	case c >= 0x20 && c <= 0x2f: // ESC ( B and the like
		for i := 2; i < len(b); i++ {
			if b[i] >= 0x30 && b[i] <= 0x7e {
				return i + 1, false
			}
			if b[i] < 0x20 || b[i] > 0x2f {
				return 0, false
			}
		}
		return 0, false
	case c >= 0x30 && c <= 0x7e:
		return 2, false
	}
	return 0, false
}

// csiLen is escapeLen for ESC [ parameters, intermediates, final byte.
func csiLen(b []byte) (n int, sgr bool) {
	plain := true // only digits and separators
	for i := 2; i < len(b); i++ {
		switch c := b[i]; {
		case c >= '0' && c <= ';':
		case c >= 0x20 && c <= 0x3f:
			plain = false
		case c >= 0x40 && c <= 0x7e:
			return i + 1, c == 'm' && plain && i < 64
		default:
			return 0, false
		}
	}
	return 0, false
}

// Format makes the line `name | text` for a terminal or a plain file, without a newline: the name padded to width, the
// text sanitised. paint colours the padded name; nil leaves it.
func Format(l Line, width int, paint func(string) string) string {
	name := fmt.Sprintf("%-*s", width, l.Node)
	if paint != nil {
		name = paint(name)
	}
	text := Sanitise(l.Text)
	switch l.Mark {
	case "":
		return name + " | " + text
	case Dropped:
		return name + " | -- " + text + " --"
	}
	return name + " | -- " + strings.TrimSpace(Sanitise([]byte(l.Mark))+" "+text) + " --"
}
