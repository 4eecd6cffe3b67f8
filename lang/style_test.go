package lang

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStyle: each row is a library, or with "main" the project file, and what
// is said of it: line:col and name of each warning.
func TestStyle(t *testing.T) {
	for _, row := range []struct{ name, file, text, want string }{
		{"unused load", "main", "load(\"//b.star\", \"f\")\n", "1:19 unused-load"},
		{"unused load under another name", "main", "load(\"//b.star\", g = \"f\")\n", "1:18 unused-load"},
		{"used load", "main", "load(\"//b.star\", \"f\")\nx = f\n", ""},
		{"load used in a function", "main", "load(\"//b.star\", \"f\")\ndef g():\n    return f()\n", ""},
		{"load used in a nested function", "main", "load(\"//b.star\", \"f\")\ndef g():\n    def h():\n        return f()\n    return h\n", ""},
		{"silenced on the line", "main", "load(\"//b.star\", \"f\")  # orrery: disable=unused-load\n", ""},
		{"silenced on the line before", "main", "# Kept: orrery: disable is a comment\n# orrery: disable=reassigned, unused-load\nload(\"//b.star\", \"f\")\n", ""},
		{"another one silenced", "main", "load(\"//b.star\", \"f\")  # orrery: disable=reassigned\n", "1:19 unused-load"},
		{"silenced line is not that before", "main", "x = 1  # orrery: disable=unused-load\nload(\"//b.star\", \"f\")\n", "2:19 unused-load"},

		{"unused local", "main", "def f():\n    x = 1\n    y = 2\n    return y\n", "2:5 unused-variable"},
		{"unused local, said once", "main", "def f():\n    x = 1\n    x = 2\n", "2:5 unused-variable"},
		{"local used before a later line", "main", "def f(a):\n    x = 1\n    return [x for _ in a]\n", ""},
		{"local of an outer function", "main", "def f():\n    x = 1\n    def g():\n        return x\n    return g\n", ""},
		{"meant to be unused", "main", "def f(a):\n    _x = a\n    for _i in a:\n        pass\n", ""},
		{"what is added to and never read", "main", "def f():\n    x = 1\n    x += 2\n", "2:5 unused-variable"},
		{"a list that is filled", "main", "def f(l):\n    x = []\n    x.append(1)\n    l[0] = x\n", ""},
		{"parts of a tuple", "main", "def f(t):\n    a, b = t\n    return a\n", ""},
		{"parameters", "main", "def f(a):\n    pass\n", ""},
		{"names of the top level", "main", "x = 1\n", ""},
		{"private names of the top level", "main", "_x = 1\n_y = 2\nz = _y\n", "1:1 unused-variable"},

		{"second value", "main", "x = 1\nx = 2\n", "2:1 reassigned"},
		{"second function", "main", "def f():\n    pass\n\ndef f():\n    pass\n", "4:5 reassigned"},
		{"built up", "main", "x = []\nx = x + [1]\nx += [2]\n", ""},
		{"by cases", "main", "x = 1\nif True:\n    x = 2\n", ""},

		{"after return", "main", "def f():\n    return 1\n    print(2)\n    print(3)\n", "3:5 unreachable"},
		{"after fail", "main", "def f():\n    fail(\"no\")\n    return 1\n", "3:5 unreachable"},
		{"after both branches", "main", "def f(a):\n    if a:\n        return 1\n    else:\n        fail(\"x\")\n    return 2\n", "6:5 unreachable"},
		{"after one branch", "main", "def f(a):\n    if a:\n        return 1\n    return 2\n", ""},
		{"after continue", "main", "for i in range(2):\n    continue\n    print(i)\n", "3:5 unreachable"},
		{"after pass", "main", "def f():\n    pass\n    return 1\n", ""},

		{"compared reference", "main", "s = service(\"s\", command = [\"x\"], ports = {\"http\": 80})\nx = 1 if s.port == 80 else 2\n", "2:10 compared-reference"},
		{"mutable default", "main", "def f(a = []):\n    a.append(1)\n    return a\n", "1:7 mutable-default"},

		{"library without documentation", "b", "\"\"\"A library.\"\"\"\ndef f():\n    pass\n\ndef _g():\n    pass\n\nx = _g\n", "2:5 missing-doc"},
		{"library with documentation", "b", "\"\"\"A library.\"\"\"\ndef f():\n    \"\"\"Does it.\"\"\"\n", ""},
		{"no library", "b", "def f():\n    pass\n", ""},
		{"library with tests", "c", "def f():\n    pass\n", "1:5 missing-doc"},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			files := map[string]string{"b.star": "def f():\n    pass\n", "c.star": "def f():\n    pass\n", "c_test.star": ""}
			if row.file == "main" {
				files["services.star"] = row.text
			} else {
				files[row.file+".star"] = row.text
				files["services.star"] = fmt.Sprintf("load(\"//%s.star\", \"f\")\nx = f\n", row.file)
			}
			for name, text := range files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			load := func(lint bool) []Diagnostic {
				p, err := Load(context.Background(), Options{File: filepath.Join(dir, "services.star"), Lint: lint})
				if err != nil {
					t.Fatal(err)
				}
				return p.Warnings
			}
			var got []string
			for _, d := range load(true) {
				if want := map[bool]string{true: "services.star", false: row.file + ".star"}[row.file == "main"]; d.File == want {
					got = append(got, fmt.Sprintf("%d:%d %s", d.Line, d.Col, d.Code))
				}
			}
			if s := strings.Join(got, ", "); s != row.want {
				t.Errorf("got %q, want %q", s, row.want)
			}
			for _, d := range load(false) {
				switch d.Code {
				case "unused-load", "unused-variable", "reassigned", "unreachable", "missing-doc":
					t.Errorf("without Lint: got %s", d.Code)
				}
			}
		})
	}
}
