package term

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var fix = flag.Bool("fix", false, "write the golden files anew")

func at(seconds int) time.Time { return time.Unix(1_800_000_000+int64(seconds), 0) }

// boards are the states of which the golden files hold the frames.
func boards() map[string]*Board {
	many := &Board{Began: at(0), Done: 12, Total: 400, Counts: []string{"30 running", "2 cached", "350 waiting"}}
	for i := range 30 {
		many.Rows = append(many.Rows, Row{Name: fmt.Sprintf("group-%d:build-of-a-long-name-%d", i%3, i), Color: "36", State: "running", Since: at(60 + i), Blocks: i % 4})
	}
	return map[string]*Board{
		"empty":     {},
		"beginning": {Began: at(99), Total: 3, Counts: []string{"3 waiting"}},
		"running": {Began: at(88), Done: 12, Total: 40, Counts: []string{"3 running", "20 cached", "5 waiting"}, Rows: []Row{
			{Name: "lint", Color: "36", State: "running", Since: at(97)},
			{Name: "compile", Color: "33", State: "running", Since: at(95), Blocks: 4},
			{Name: "db", Color: "32", State: "starting", Since: at(90), Why: "probe: connection refused on 127.0.0.1:5432, which goes on and on", Blocks: 1},
		}},
		"many":   many,
		"steady": {Began: at(-500), Counts: []string{"5 ready", "1 done"}, Calm: true, Hint: "^C stops"},
		"trouble": {Began: at(-500), Counts: []string{"4 ready", "1 unhealthy"}, Calm: true, Rows: []Row{
			{Name: "web", Color: "36", State: "backoff", Since: at(98), Why: "exit 1"}}},
		"stopping": {Title: "stopping", Began: at(70), Done: 3, Total: 5, Hint: "^C kills", Rows: []Row{
			{Name: "db", Color: "32", State: "stopping", Since: at(70)}, {Name: "cache", Color: "33", State: "stopping", Since: at(70)}}},
		"work": {Title: "checking the cache", Began: at(-4000), Done: 1200, Total: 5600},
		"wide": {Began: at(80), Done: 1, Total: 3, Counts: []string{"2 running"}, Rows: []Row{
			{Name: "名前の長いサービスの名前", Color: "36", State: "starting", Since: at(85), Why: "日本語の説明がここに続きます。とても長いので切られます。さらに続きます"},
			{Name: "e\u0301te\u0301", Color: "33", State: "running", Since: at(90), Why: "👩‍👩‍👧 family, 🇩🇪 flag and z\u0351\u036b\u0343a\u0321lgo"}}},
		"hostile": {Began: at(80), Done: 1, Total: 2, Rows: []Row{
			{Name: "x", State: "starting", Why: "\x1b[2J\x1b]0;title\x07 and\nmore\r\u202e\u009b31m"}}},
	}
}

// TestFrames compares the frames of every board with the golden files: at three widths, in colour and without, and on
// terminals with little room.
func TestFrames(t *testing.T) {
	for name, b := range boards() {
		var got bytes.Buffer
		for _, size := range []Size{{40, 24}, {80, 24}, {120, 40}, {40, 5}, {80, 3}, {80, 2}, {0, 0}} {
			for _, color := range []bool{false, true} {
				frame := Frame(b.Lines(size, at(100)), size, Style{Color: color})
				fmt.Fprintf(&got, "== %d columns, %d rows, colour %v\n%s\n", size.Cols, size.Rows, color, visible(frame))
			}
		}
		fmt.Fprintf(&got, "== in a log\n%s\n", visible([]byte(b.Text(at(100)))))
		file := filepath.Join("testdata", name+".golden")
		if *fix {
			if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s (go test -fix writes it anew):\ngot\n%s\nwant\n%s", file, got.Bytes(), want)
		}
	}
}

// visible shows what acts on a terminal, and breaks lines where that does.
func visible(b []byte) string {
	return strings.NewReplacer("\r\n", "\n", "\x1b", "^[", "\r", "^M").Replace(string(b))
}

// TestLinesFit: whatever it is, a frame is no wider and no higher than the terminal, and goes back to where it began.
func TestLinesFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.RuneFrom([]rune("ab \t\n\x1b\x7f日本é\u0301👩‍👧🇩\u202e\u200b…✓")), 0, 60, -1)
		size := Size{rapid.IntRange(1, 130).Draw(t, "cols"), rapid.IntRange(1, 60).Draw(t, "rows")}
		b := Board{Title: text.Draw(t, "title"), Total: rapid.IntRange(0, 9).Draw(t, "total"), Began: at(0)}
		for range rapid.IntRange(0, 30).Draw(t, "rows") {
			b.Rows = append(b.Rows, Row{Name: text.Draw(t, "name"), State: "starting", Why: text.Draw(t, "why"), Since: at(1)})
		}
		frame := string(Frame(b.Lines(size, at(100)), size, Style{}))
		if frame == "" {
			return
		}
		body, up, ok := strings.Cut(frame, wrap+"\r\x1b[")
		body = strings.TrimPrefix(strings.TrimSuffix(body, wrap+"\r"), noWrap)
		lines := strings.Split(body, "\r\n")
		if n := len(lines) - 1; ok && up != fmt.Sprintf("%dA", n) || !ok && n > 0 {
			t.Fatalf("%d lines below the cursor, and it goes up by %q", n, up)
		}
		if len(lines) > size.Rows {
			t.Fatalf("%d lines on %d rows", len(lines), size.Rows)
		}
		for _, l := range lines {
			if Width(l) >= max(size.Cols, 2) || strings.ContainsAny(l, "\x1b\r\n\t\x7f\u202e") {
				t.Fatalf("the line %q is %d columns wide, of %d", l, Width(l), size.Cols)
			}
		}
	})
}

func TestWidth(t *testing.T) {
	for s, want := range map[string]int{"": 0, "abc": 3, "日本": 4, "e\u0301": 1, "👩‍👩‍👧": 2, "🇩🇪": 2, "a\u200bb": 2, "✓": 1} {
		if got := Width(s); got != want {
			t.Errorf("Width(%q): got %d, want %d", s, got, want)
		}
	}
	for _, row := range []struct {
		s    string
		cols int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"日本語", 5, "日本…"}, {"日本語", 4, "日…"}, {"abc", 0, ""}, {"abc", -1, "abc"}, {"e\u0301e\u0301e\u0301", 2, "e\u0301…"}} {
		if got := Fit(row.s, row.cols); got != row.want {
			t.Errorf("Fit(%q, %d): got %q, want %q", row.s, row.cols, got, row.want)
		}
	}
	if got := Pad("日本", 6) + "|"; got != "日本  |" {
		t.Errorf("got %q", got)
	}
}

func TestLink(t *testing.T) {
	on := Style{Links: true}
	if got := on.Link("http://x", "X"); got != "\x1b]8;;http://x\x1b\\X\x1b]8;;\x1b\\" {
		t.Errorf("got %q", got)
	}
	for _, url := range []string{"", "http://x\x1b\\y", "http://x y", "http://x\a"} {
		if got := on.Link(url, "X"); got != "X" {
			t.Errorf("%q: got %q", url, got)
		}
	}
	if got := (Style{}).Link("http://x", "X"); got != "X" {
		t.Errorf("got %q", got)
	}
}

func TestElapsed(t *testing.T) {
	for d, want := range map[time.Duration]string{-1: "0 s", 59 * time.Second: "59 s", 65 * time.Second: "1m05s", 123 * time.Minute: "2h03m"} {
		if got := Elapsed(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}
