package task

import (
	"strings"
	"testing"

	"orrery/lang/graph"
)

func out(name, path string) graph.Entry[graph.Input] {
	if strings.Contains(path, "*") {
		return graph.Entry[graph.Input]{Key: name, Value: graph.Input{Pattern: &graph.Pattern{Include: []string{path}}}}
	}
	text, err := graph.ParseText(path)
	if err != nil {
		panic(err)
	}
	return graph.Entry[graph.Input]{Key: name, Value: graph.Input{Path: text}}
}

func TestCheckOutputs(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"bin/a", "bin/b", ""},
		{"bin", "bin2", ""},
		{"bin/a", "./bin//a", "overlaps"},
		{"bin", "bin/x/y", "overlaps"},
		{"gen/x.go", "gen/*.go", "overlaps"},
		{"gen/**/*.go", "gen/a/b/x.go", "overlaps"},
		{"gen/*.go", "gen/x.c", ""},
		{"gen", "gen/*.go", "overlaps"},
		{"gen/*.go", "gen/*.go", "overlaps"},
		{"gen/*.go", "gen/*.c", ""},
		{"../x", "y", "outside of the project"},
		{"a/../../x", "y", "outside of the project"},
		{"/tmp/x", "y", "absolute path"},
		{".", "y", "whole project"},
		{".orrery/state/x", "y", "not the task's to change"},
		{"⟦db.state_dir⟧/x", "y", "never overwritten"},
		{"../*.go", "y", "outside of the project"},
	} {
		nodes := []*graph.Node{
			{Kind: graph.KindService, Service: &graph.Service{Common: graph.Common{Name: "db"}, Command: graph.Command{Argv: []graph.Text{graph.Lit("x")}}}},
			{Kind: graph.KindTask, Task: &graph.Task{Common: graph.Common{Name: "one"}, Outputs: graph.Dict[graph.Input]{out("a", c.a), out("same", c.a)}}},
			{Kind: graph.KindTask, Task: &graph.Task{Common: graph.Common{Name: "two"}, Outputs: graph.Dict[graph.Input]{out("b", c.b)}}},
		}
		g, problems := graph.New(graph.Decl{Nodes: nodes})
		if len(problems) > 0 {
			t.Fatalf("%s: %s", c.a, problems[0].Message)
		}
		var got []string
		for _, p := range CheckOutputs(g) {
			got = append(got, p.Message)
		}
		if all := strings.Join(got, "; "); c.want == "" && all != "" || !strings.Contains(all, c.want) {
			t.Errorf("%s and %s: got %q, want %q", c.a, c.b, all, c.want)
		}
	}
}
