package main

import "testing"

// TestReplOnTerminal: lines are edited, completed and brought back, mistakes do
// not end it, and the terminal is given back as it was.
func TestReplOnTerminal(t *testing.T) {
	p := newProject(t, `database = service("db", command = ["sleep", "1"], ports = {"tcp": 5432})`)
	c := p.console("--color=never", "repl").read()
	before := c.modes()
	c.expect(`\^D ends`)
	c.send("20 + 22\r")
	c.expect(`^42\r$`)
	c.send("datab\t.name + \"-x\"\r") // completed to database
	c.expect(`^"db-x"\r$`)
	c.send("nope\r")
	c.expect(`^<input>:1:1: undefined: nope\r$`)
	c.send("def f(x):\r  return x + 1\r\rf(70)\r")
	c.expect(`^71\r$`)
	c.send("\x1b[A\x7f\x7f6)\r") // up, and another argument: f(76)
	c.expect(`^77\r$`)
	c.send("?service.ready\r")
	c.expect(`^service\(ready = \.\.\.\)\r$`)
	c.send("\x04")
	if code := c.exit(); code != 0 {
		t.Errorf("got code %d, want 0", code)
	}
	if after := c.modes(); after != before {
		t.Errorf("got terminal settings %+v, want %+v", after, before)
	}
}

func TestCompleteWord(t *testing.T) {
	words := []string{"database", "dataset", "db", "service"}
	for _, row := range []struct {
		line string
		want string // "" for none
	}{
		{"s", "service"}, {"f(s", "f(service"}, {"dat", "data"}, {"data", ""}, {"datab", "database"}, {"", ""}, {"x.", ""}, {"nope", ""},
	} {
		got, pos, ok := completeWord(words, row.line, len(row.line))
		if got != row.want || ok != (row.want != "") || ok && pos != len(got) {
			t.Errorf("%q: got %q, %d, %v, want %q", row.line, got, pos, ok, row.want)
		}
	}
}
