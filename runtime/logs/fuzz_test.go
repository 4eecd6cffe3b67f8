package logs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestSanitise(t *testing.T) {
	for in, out := range map[string]string{
		"plain\ttext\r\n":               "plain\ttext",
		"\x1b[31mred\x1b[0m":            "\x1b[31mred\x1b[0m",
		"\x1b[1;31mleft on":             "\x1b[1;31mleft on\x1b[0m",
		"\x1b[38;5;0mblack":             "\x1b[38;5;0mblack\x1b[0m",
		"a\x1b[2Jb\x1b[10;10Hc":         "abc",
		"\x1b]52;c;ZXZpbA==\x07x":       "x",
		"\x1b]0;title\x1b\\x":           "x",
		"\x1bP+q\x1b\\x\x1bcy\x1b(Bz":   "xyz",
		"\x1b]0;no end":                 `\x1b]0;no end`,
		"bell\x07 nul\x00 cr\rover":     `bell\x07 nul\x00 cr\x0dover`,
		"bad \xff\xfe utf8 é 日":         `bad \xff\xfe utf8 é 日`,
		"c1 \u009b31m rtl \u202e end":   `c1 \u009b31m rtl \u202e end`,
		"\x1b[?25lhidden cursor\x1b[>m": "hidden cursor",
	} {
		if got := Sanitise([]byte(in)); got != out {
			t.Errorf("%q: got %q, want %q", in, got, out)
		}
	}
	l := Line{Node: "web", Text: []byte("a\x07")}
	if got := Format(l, 5, strings.ToUpper); got != `WEB   | a\x07` {
		t.Errorf("got %q", got)
	}
	l = Line{Node: "web", Mark: "exited", Text: []byte("1")}
	if got := Format(l, 0, nil); got != `web | -- exited 1 --` {
		t.Errorf("got %q", got)
	}
}

func FuzzSanitise(f *testing.F) {
	f.Add([]byte("\x1b[31mx\x1b]52;c;\x07\x1b[0;m\xff\u202e\r"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := Sanitise(b)
		if !utf8.ValidString(s) || Sanitise([]byte(s)) != s {
			t.Fatalf("%q -> %q -> %q", b, s, Sanitise([]byte(s)))
		}
		for i := 0; i < len(s); i++ {
			if s[i] == 0x1b {
				if n, sgr := escapeLen([]byte(s[i:])); n == 0 || !sgr {
					t.Fatalf("%q -> %q holds an escape sequence", b, s)
				}
			} else if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
				t.Fatalf("%q -> %q holds a control character", b, s)
			}
		}
	})
}

// FuzzIndex: whatever the index holds, the lines make up the bytes.
func FuzzIndex(f *testing.F) {
	at := time.Unix(1e9, 0)
	good := appendRecord(nil, record{kind: recBase, time: 1})
	good = appendRecord(good, record{kind: recData, time: 2})
	good = append(good, encodeMark(4, at, "exited", strings.Repeat("x", 60))...)
	good = appendRecord(good, record{kind: recDrop, offset: 6, count: 9, errno: 28})
	f.Add(good, []byte("one\ntwo\nthree"))
	f.Add(good[:len(good)-40], []byte("one\ntwo\nthree"))
	f.Fuzz(func(t *testing.T, index, data []byte) {
		s, err := Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		p := s.Path("a", Stdout)
		os.Mkdir(filepath.Dir(p), 0o700)
		for b := index; len(b) >= recordSize; b = b[recordSize:] { // most would fail at the sum
			if len(index)%2 == 0 {
				r := record{kind: b[4] % 7, n: b[5], offset: int64(b[8]), time: int64(b[16]), count: int64(b[24])}
				copy(b, appendRecord(nil, r))
			}
		}
		os.WriteFile(p, data, 0o600)
		os.WriteFile(indexPath(p), index, 0o600)
		var back strings.Builder
		err = s.Read(t.Context(), Query{}, func(l Line) bool {
			if l.Mark == "" {
				back.Write(l.Text)
				if !l.Partial {
					back.WriteByte('\n')
				}
			}
			return true
		})
		if err != nil || back.String() != string(data) {
			t.Fatalf("got %q %v, want %q", back.String(), err, data)
		}
	})
}
