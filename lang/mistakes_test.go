package lang

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// chunk is one section of a testdata file: a project of its own.
type chunk struct {
	line int // of its first line in the file
	text string
}

func chunks(t *testing.T, path string) []chunk {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []chunk
	line := 1
	for part := range strings.SplitSeq(string(b), "\n---\n") {
		out = append(out, chunk{line, part + "\n"})
		line += strings.Count(part, "\n") + 2
	}
	return out
}

var expectation = regexp.MustCompile("###(W)? (`[^`]*`|\"(?:[^\"\\\\]|\\\\.)*\")")

// TestMistakes loads each section of testdata/*.star. `### "regexp"` on a line
// is a mistake expected there, ###W a warning; the regexp is matched against
// message and hint. Anything else that is reported is a failure.
func TestMistakes(t *testing.T) {
	paths, _ := filepath.Glob("testdata/*.star")
	total := 0
	for _, path := range paths {
		for _, c := range chunks(t, path) {
			total += strings.Count(c.text, "### ")
			t.Run(fmt.Sprintf("%s:%d", filepath.Base(path), c.line), func(t *testing.T) { checkChunk(t, c) })
		}
	}
	t.Logf("%d mistakes", total)
	if total < 100 {
		t.Errorf("got %d mistakes, want at least 100", total)
	}
}

func checkChunk(t *testing.T, c chunk) {
	files := map[string]string{
		"lib/api.star":      "def api(name = \"api\", **kwargs):\n    return service(name, command = [\"true\"], **kwargs)\ndef checked(name):\n    check(False, \"no good\")\n    return api(name)\n",
		"lib/declares.star": "service(\"x\", command = [\"true\"])\n",
		"lib/loop.star":     "load(\":loop2.star\", \"b\")\na = 1\n",
		"lib/loop2.star":    "load(\":loop.star\", \"a\")\nb = 1\n",
		"lib/bad.star":      "def f(:\n",
		"lib/fails.star":    "x = 1 // 0\n",
		"sub.star":          "service(\"web\", command = [\"true\"])\n",
		"incl.star":         "include(\"//services.star\")\n",
	}
	files["services.star"] = c.text
	file := write(t, files)
	p, err := Load(context.Background(), Options{File: file, Std: fakeStd(), Version: "0.1.0", MaxSteps: 2_000_000})
	var got []Diagnostic
	if errs, ok := err.(Errors); ok {
		got = errs
	} else if err != nil {
		t.Fatal(err)
	}
	var warnings []Diagnostic
	if p != nil {
		warnings = p.Warnings
	}
	match(t, c, got, "")
	match(t, c, warnings, "W")
}

// match pairs what was reported with what is expected on each line.
func match(t *testing.T, c chunk, got []Diagnostic, kind string) {
	t.Helper()
	used := make([]bool, len(got))
	for i, line := range strings.Split(c.text, "\n") {
		for _, m := range expectation.FindAllStringSubmatch(line, -1) {
			if m[1] != kind {
				continue
			}
			pattern, err := strconv.Unquote(m[2])
			if err != nil {
				t.Fatalf("line %d: %v", c.line+i, err)
			}
			re, found := regexp.MustCompile(pattern), false
			for k, d := range got {
				if !used[k] && d.Line == i+1 && re.MatchString(d.Message+"; "+d.Hint) {
					used[k], found = true, true
					break
				}
			}
			if !found {
				t.Errorf("line %d: nothing matches %q", c.line+i, pattern)
			}
		}
	}
	for k, d := range got {
		if !used[k] {
			t.Errorf("unexpected (line %d):\n%s", c.line+d.Line-1, d.Format(false))
		}
	}
}
