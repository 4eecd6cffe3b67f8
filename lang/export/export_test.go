package export

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"orrery/lang/graph"
)

var fix = flag.Bool("fix", false, "write the golden files")

func text(s string) graph.Text {
	t, err := graph.ParseText(s)
	if err != nil {
		panic(err)
	}
	return t
}

func service(name string, after ...graph.Dep) *graph.Node {
	s := &graph.Service{Common: graph.Common{Name: name, After: after}, Command: graph.Command{Argv: []graph.Text{graph.Lit(name)}}, Autostart: true}
	s.Ports = graph.Dict[graph.Port]{{Key: "tcp", Value: graph.Port{Base: 5000, Host: "127.0.0.1", Proto: "tcp"}}}
	return &graph.Node{Kind: graph.KindService, Service: s}
}

func task(name string, after ...graph.Dep) *graph.Node {
	c := graph.Command{Script: graph.Lit("make <" + name + "> && true")}
	return &graph.Node{Kind: graph.KindTask, Task: &graph.Task{Common: graph.Common{Name: name, After: after}, Command: &c}}
}

// shop is the graph of the golden files: something of everything that shows.
func shop(t *testing.T) *graph.Graph {
	db, web := service("db"), service("shop/web", graph.Dep{Node: "build"}, graph.Dep{Node: "cache", Cond: graph.Started}, graph.Dep{Node: "a-service-with-quite-a-long-name"})
	web.Service.Env = graph.Dict[graph.Text]{{Key: "URL", Value: text("pg://⟦db.address⟧/⟦⟦⟧x")}}
	schema, fill := task("schema"), task("fill")
	schema.Task.Gates, fill.Task.Template = "db", "cache"
	debug := service("debug", graph.Dep{Node: "shop/web", Cond: graph.Healthy})
	debug.Service.Autostart = false
	debug.Service.Description = `looks "into" C:\n things`
	nodes := []*graph.Node{
		db, schema, task("build"), fill, service("cache"), service("a-service-with-quite-a-long-name"), web,
		service("shop/worker/1", graph.Dep{Node: "shop/web"}), service("shop/worker/2", graph.Dep{Node: "shop/web"}),
		debug, task("end", graph.Dep{Node: "db", Cond: graph.Stopped}),
	}
	for i, n := range nodes {
		n.Pos = graph.Pos{File: "services.star", Line: i + 1, Col: 1}
	}
	g, problems := graph.New(graph.Decl{Project: graph.Project{Name: "shop"}, Nodes: nodes})
	for _, p := range problems {
		t.Fatal(p.Message)
	}
	return g
}

func write(t *testing.T, f Format, g *graph.Graph, width int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := f.Write(&b, g, width); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestGolden holds what each format writes, also of the empty graph.
func TestGolden(t *testing.T) {
	empty, _ := graph.New(graph.Decl{})
	for _, f := range Formats() {
		for _, c := range []struct {
			name  string
			g     *graph.Graph
			width int
		}{{"shop", shop(t), 0}, {"empty", empty, 0}, {"narrow", shop(t), 40}} {
			if c.name == "narrow" && f.Name != "ascii" {
				continue
			}
			t.Run(f.Name+"/"+c.name, func(t *testing.T) {
				got := write(t, f, c.g, c.width)
				path := filepath.Join("testdata", c.name+"."+f.Name)
				if *fix {
					if err := os.WriteFile(path, got, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s is stale (go test ./lang/export -fix): %v, got:\n%s", path, err, got)
				}
			})
		}
	}
}

// TestFormats: names are unique, each is found by its name, all are described.
func TestFormats(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Formats() {
		if got, ok := Find(f.Name); !ok || got.Name != f.Name || seen[f.Name] || f.Doc == "" {
			t.Errorf("%s: found %v, seen %v, doc %q", f.Name, ok, seen[f.Name], f.Doc)
		}
		seen[f.Name] = true
	}
	if _, ok := Find("svg2"); ok {
		t.Error("svg2 is found")
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, fmt.Errorf("disk full") }

func TestWriteErrors(t *testing.T) {
	for _, f := range Formats() {
		if err := f.Write(full{}, shop(t), 0); err == nil || err.Error() != "disk full" {
			t.Errorf("%s: got %v", f.Name, err)
		}
	}
}

// TestNarrow: 40 columns hold every line that is not one long word.
func TestNarrow(t *testing.T) {
	f, _ := Find("ascii")
	for line := range strings.Lines(string(write(t, f, shop(t), 40))) {
		if line = strings.TrimSuffix(line, "\n"); len(line) > 40 && len(strings.Fields(line)) > 2 && !strings.Contains(line, "long-name") {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
}

func TestJSONReadsBack(t *testing.T) {
	f, _ := Find("json")
	g := shop(t)
	var back graph.Graph
	if err := json.Unmarshal(write(t, f, g, 0), &back); err != nil || back.Digest() != g.Digest() {
		t.Errorf("read back: %v", err)
	}
}

// TestDotDraws asks Graphviz itself.
func TestDotDraws(t *testing.T) {
	path, err := exec.LookPath("dot")
	if err != nil {
		if os.Getenv("ORRERY_REQUIRE_TOOLS") != "" {
			t.Fatal(err)
		}
		t.Skip("dot (package graphviz) is not installed")
	}
	f, _ := Find("dot")
	cmd := exec.Command(path, "-Tsvg")
	cmd.Stdin = bytes.NewReader(write(t, f, shop(t), 0))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	svg, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("dot: %v, %s", err, &stderr)
	}
	for _, want := range []string{"<svg", ">shop/worker/1<", ">gates<"} {
		if !bytes.Contains(svg, []byte(want)) {
			t.Errorf("the drawing has no %s", want)
		}
	}
}
