package export

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"orrery/lang/graph"
)

// values bind the graph of the golden files: every reference is its marker in
// brackets, every node has a variable.
func values() Values {
	fill := func(t graph.Text, _ string) (string, error) {
		return t.Fill(func(r graph.Ref) (string, error) { return "<" + r.Name + "." + r.Attr + ">", nil })
	}
	return Values{
		Fill: fill,
		Command: func(c *graph.Command, node string) (argv, env []string, err error) {
			if c.Script != nil {
				s, err := fill(c.Script, node)
				return []string{"sh", "-euc", s}, nil, err
			}
			for _, t := range c.Argv {
				s, err := fill(t, node)
				if err != nil {
					return nil, nil, err
				}
				argv = append(argv, s)
			}
			return argv, nil, nil
		},
		Env: func(node string) ([]string, error) { return []string{"NODE=" + node, "COST=5 ${EUR} 'q'"}, nil },
		Dir: func(node string) (string, error) {
			if node == "shop/web" {
				return "shop", nil
			}
			return "", nil
		},
	}
}

// TestRunners holds what each format of a runner writes, with its warnings.
func TestRunners(t *testing.T) {
	for _, r := range Runners() {
		t.Run(r.Name, func(t *testing.T) {
			b, err := Bind(shop(t), values())
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			warnings, err := r.Write(&out, b)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range warnings {
				fmt.Fprintf(&out, "# %s\n", w)
			}
			path := filepath.Join("testdata", "shop."+strings.ToLower(r.Name))
			if *fix {
				if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(want, out.Bytes()) {
				t.Errorf("%s is stale (go test ./lang/export -fix): %v, got:\n%s", path, err, out.Bytes())
			}
			if _, err := r.Write(full{}, b); err == nil || err.Error() != "disk full" {
				t.Errorf("got %v, want the error of the writer", err)
			}
		})
	}
}

// TestShellWord: a shell reads each word back as it was.
func TestShellWord(t *testing.T) {
	words := []string{"", "a", "a b", "it's", "$HOME `x` \"q\"", "two\nlines\\n 'q'", "é", "-n", "a=b", "~", "*", "$''PORT", "line\n$PORT\r."}
	for _, procfile := range []bool{false, true} {
		line := shellLine(append([]string{"printf", "%s\\0"}, words...))
		if procfile {
			line = hidden(line)
		}
		if strings.Contains(line, "\n") {
			t.Errorf("more than one line: %q", line)
		}
		out, err := exec.Command("/bin/sh", "-c", line).Output()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(out), strings.Join(words, "\x00")+"\x00"; got != want {
			t.Errorf("procfile %v: got %q, want %q", procfile, got, want)
		}
	}
}

func TestLiteral(t *testing.T) {
	for in, want := range map[string]string{`port 80\.80`: "port 80.80", "a.b": "", "(?i)a": "", "ready": "ready", "": "", "(": ""} {
		if got := literal(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
