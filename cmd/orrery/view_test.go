package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"orrery/cmd/orrery/term"
	"orrery/lang"
	"orrery/lang/graph"
	"orrery/runtime/bind"
	"orrery/runtime/control/api"
)

// No line is wider than the terminal, whatever is in the table; without a
// terminal nothing is cut.
func TestTableFits(t *testing.T) {
	text := rapid.StringMatching(`[a-zé⟦ ]{0,30}`)
	rapid.Check(t, func(t *rapid.T) {
		tab := table{head: []string{"name", "b", "c"}}
		for range rapid.IntRange(0, 4).Draw(t, "rows") {
			tab.rows = append(tab.rows, []cell{{text.Draw(t, "a"), red}, {text.Draw(t, "b"), ""}, {text.Draw(t, "c"), dim}})
		}
		width := rapid.IntRange(0, 60).Draw(t, "width")
		var b bytes.Buffer
		if err := tab.write(&b, &app{colorBy: "never"}, width); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		if len(lines) != len(tab.rows)+1 {
			t.Fatalf("got %d lines, want %d", len(lines), len(tab.rows)+1)
		}
		for i, l := range lines {
			if n := utf8.RuneCountInString(l); width > 0 && n > width {
				t.Fatalf("got %d columns, want at most %d: %q", n, width, l)
			}
			if i > 0 && width == 0 && !strings.Contains(l, tab.rows[i-1][0].text) {
				t.Fatalf("%q lacks %q", l, tab.rows[i-1][0].text)
			}
		}
	})
}

// A shell reads back exactly what was quoted.
func TestShellQuote(t *testing.T) {
	words := []string{"", "plain", "a b", "$HOME", "it's", `back\slash`, "new\nline", "*", "~", "#x", "-n", "é⟦x⟧", "\x1b[1m", `"q"`, "`id`", "a=b", "!"}
	argv := append([]string{"-c", `for w; do printf '%s\0' "$w"; done`, "sh"}, words...)
	direct, err := exec.Command("sh", argv...).Output()
	if err != nil {
		t.Fatal(err)
	}
	quoted, err := exec.Command("sh", "-c", `set -- `+quoteArgv(words)+`; for w; do printf '%s\0' "$w"; done`).Output()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(direct, quoted) {
		t.Errorf("got %q, want %q", quoted, direct)
	}
}

// What env writes as dotenv is read back by our own reader.
func TestDotenvQuote(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.StringMatching(`[ -~\n\r\té]{0,20}`).Draw(t, "value")
		vars, err := bind.ParseDotenv([]byte("A=" + dotenvQuote(want) + "\nB=1\n"))
		if err != nil || len(vars) != 2 || vars[0].Value != want {
			t.Fatalf("%q is written %s: got %v, %v", want, dotenvQuote(want), vars, err)
		}
	})
}

func TestTexts(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	since := func(s string) string {
		at, err := sinceTime(s, now)
		if err != nil {
			return "error"
		}
		return at.Format(time.RFC3339)
	}
	for _, row := range []struct{ got, want string }{
		{uptimeText(59 * time.Second), "59s"},
		{uptimeText(61 * time.Second), "1m01s"},
		{uptimeText(3*time.Hour + 4*time.Minute), "3h04m"},
		{uptimeText(50 * time.Hour), "2d02h"},
		{term.Fit("abcdef", 4), "abc…"},
		{term.Fit("abc", 3), "abc"},
		{term.Fit("abc", 0), ""},
		{oneLine("a\nb\x1b[1m"), "a b [1m"},
		{since("10m"), "2026-01-02T02:54:05Z"},
		{since("2026-01-01"), "2026-01-01T00:00:00Z"},
		{since("2026-01-01T10:00:00+02:00"), "2026-01-01T10:00:00+02:00"},
		{since("-5m"), "error"},
		{since("soon"), "error"},
		{valueText("x"), "x"},
		{valueText([]any{"a", int64(2)}), "a,2"},
		{valueText(true), "true"},
		{marker("db.ports.tcp"), "⟦db.ports.tcp⟧"},
		{marker("⟦db.ports.tcp⟧"), "⟦db.ports.tcp⟧"},
		{plural(1, "task"), "1 task"},
		{plural(0, "task"), "0 tasks"},
		{githubLine(finding{severityError, lang.Diagnostic{File: "a,b.star", Line: 2, Col: 3, Message: "50%\nbad"}}), "::error file=a%2Cb.star,line=2,col=3::50%25%0Abad"},
		{githubLine(finding{severityWarning, lang.Diagnostic{Message: "x", Hint: "y"}}), "::warning::x%0Ahint: y"},
		{whereText(api.NodeStatus{Ports: map[string]int{"http": 80}}), ":80"},
		{whereText(api.NodeStatus{Ports: map[string]int{"b": 2, "a": 1}, Sockets: map[string]string{"s": "/s"}}), "a:1 b:2 /s"},
		{noteText(api.NodeStatus{StatusText: "hello", Reason: "waits\nfor x", Cached: true}), "hello; waits for x; cached"},
		{liveText(api.NodeStatus{Name: "a", State: "blocked", Reason: "b failed", Cause: "b"}), "blocked: b failed (because of b)"},
	} {
		if row.got != row.want {
			t.Errorf("got %q, want %q", row.got, row.want)
		}
	}
}

// The shortest way is one of edges that follow each other, and goes through
// the tasks that gate a service.
func TestShortest(t *testing.T) {
	node := func(name string, task bool, after ...string) *graph.Node {
		c := graph.Common{Name: name}
		for _, a := range after {
			c.After = append(c.After, graph.Dep{Node: a})
		}
		if task {
			return &graph.Node{Kind: graph.KindTask, Task: &graph.Task{Common: c}}
		}
		return &graph.Node{Kind: graph.KindService, Service: &graph.Service{Common: c}}
	}
	init := node("init", true)
	init.Task.Gates = "db"
	g, problems := graph.New(graph.Decl{Nodes: []*graph.Node{
		node("db", false), init, node("api", false, "db"), node("web", false, "api", "db"), node("lone", false),
	}})
	if len(problems) > 0 {
		t.Fatal(problems[0].Message)
	}
	way := func(from, to string) string {
		s := from
		for _, e := range shortest(g, from, to) {
			if !strings.HasSuffix(s, e.From) {
				t.Errorf("%s -> %s: %s does not follow %s", from, to, e.From, s)
			}
			s += " " + e.To
		}
		return s
	}
	for _, row := range []struct{ from, to, want string }{
		{"web", "db", "web db"},
		{"web", "init", "web db init"},
		{"init", "db", "init db"},
		{"db", "init", "db"},
		{"lone", "web", "lone"},
	} {
		if got := way(row.from, row.to); got != row.want {
			t.Errorf("got %q, want %q", got, row.want)
		}
	}
}
