package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"orrery/lang"
	"orrery/lang/export"
	"orrery/lang/graph"
	"orrery/runtime/bind"
)

// exportFlags are the flags of export.
type exportFlags struct {
	output string
	force  bool
}

func exportCommand(a *app) *cobra.Command {
	var f exportFlags
	c := &cobra.Command{
		Use:   "export FORMAT [TARGET...]",
		Short: "Write the graph for another program",
		Long: `Writes what is declared in the form of another program, to stdout; with targets,
these and what they need. Nothing is started. Ports are those of the running engine,
else those of the last run, else those declared. What the format cannot express, and
variables that hold a secret, which are left out, are warnings on stderr.

Formats that other programs run:
` + runnerList() + `
Formats of "orrery graph":
` + formatList() + `
For editors and shells:
  direnv           an .envrc: the variables of orrery env in your shell
  vscode           a .code-workspace with tasks and launches; with -o .vscode
                   tasks.json and launch.json there`,
		Example: `  orrery export Procfile -o Procfile
  orrery export process-compose | process-compose -f /dev/stdin --dry-run
  orrery export vscode -o .vscode
  orrery export direnv > .envrc`,
		Args:      minArgs(1, "a FORMAT: "+strings.Join(exportNames(), ", ")),
		ValidArgs: exportNames(),
		RunE: func(c *cobra.Command, args []string) error {
			return a.export(c.Context(), args[0], args[1:], f)
		},
	}
	c.Flags().StringVarP(&f.output, "output", "o", "", "write to `FILE` (vscode: a folder) instead of stdout")
	c.Flags().BoolVar(&f.force, "force", false, "write over a file that is there")
	return c
}

func runnerList() string {
	var b strings.Builder
	for _, r := range export.Runners() {
		fmt.Fprintf(&b, "  %-16s %s\n", r.Name, r.Doc)
	}
	return b.String()
}

func exportNames() []string {
	var names []string
	for _, r := range export.Runners() {
		names = append(names, r.Name)
	}
	for _, f := range export.Formats() {
		names = append(names, f.Name)
	}
	return append(names, "direnv", "vscode")
}

func (a *app) export(ctx context.Context, format string, targets []string, f exportFlags) error {
	if i := slices.IndexFunc(exportNames(), func(n string) bool { return strings.EqualFold(n, format) }); i >= 0 {
		format = exportNames()[i]
	} else {
		return hinted{usageError{fmt.Errorf("got the format %q, want %s", format, strings.Join(exportNames(), ", "))}, didYouMean(format, exportNames())}
	}
	p, err := a.load(ctx)
	if err != nil {
		return err
	}
	if format == "vscode" {
		return a.exportVSCode(p, targets, f)
	}
	var out bytes.Buffer
	switch graphFormat, isGraph := export.Find(format); {
	case isGraph:
		g, err := part(p.Graph, targets)
		if err != nil {
			return err
		}
		err = graphFormat.Write(&out, g, columns())
		if err != nil {
			return err
		}
	case format == "direnv":
		a.direnv(&out, p)
	default:
		look, err := a.lookOut(ctx, p, nil)
		if err != nil {
			return err
		}
		x := &exporter{app: a, project: p, binding: look.binding}
		if err := x.write(&out, format, targets); err != nil {
			return err
		}
	}
	return a.deliver(out.Bytes(), f)
}

// deliver writes what was made to where it is wanted.
func (a *app) deliver(content []byte, f exportFlags) error {
	if f.output == "" || f.output == "-" {
		_, err := os.Stdout.Write(content)
		return err
	}
	file := a.inDir(f.output)
	if err := vacant(file, f.force); err != nil {
		return err
	}
	if err := writeNew(file, content); err != nil {
		return err
	}
	a.say("wrote %s", shown(file))
	return nil
}

// exporter binds a graph for the formats that other programs run.
type exporter struct {
	app     *app
	project *lang.Project
	binding *bind.Binding
	secrets []bind.Var // left out of what is written
	managed bool       // for up --manager: services alone; what is left out is given otherwise
}

func (x *exporter) write(w io.Writer, format string, targets []string) error {
	g := x.project.Graph
	v := export.Values{Fill: x.binding.Fill, Command: x.command, Env: x.env, Dir: x.dir, Targets: targets}
	if x.managed {
		v.Skip = func(n *graph.Node) bool { return n.Kind == graph.KindTask }
	}
	b, err := export.Bind(g, v)
	if err != nil {
		return err
	}
	for _, r := range export.Runners() {
		if r.Name != format {
			continue
		}
		warnings, err := r.Write(w, b)
		for _, text := range warnings {
			x.app.say("%s %s", x.app.paint(yellow, "warning:"), text)
		}
		return err
	}
	return fmt.Errorf("cannot write %s: there is no such format", format)
}

// command is a command, bound; a program of the project is named from the
// project's folder.
func (x *exporter) command(c *graph.Command, node string) (argv, env []string, err error) {
	cmd, err := x.binding.Cmd(c, node)
	if err != nil {
		return nil, nil, err
	}
	argv = cmd.Argv
	dir, err := x.dir(node)
	if rel, ok := strings.CutPrefix(argv[0], x.binding.Root()+string(filepath.Separator)); ok && dir == "" {
		argv[0] = "./" + rel
	}
	return argv, cmd.Env, err
}

// env is what is declared for a node. Secrets stay out of files.
func (x *exporter) env(node string) ([]string, error) {
	vars, err := x.binding.Env(node)
	if err != nil {
		return nil, err
	}
	var env []string
	for _, v := range vars {
		switch {
		case slices.Contains([]string{"caller", "pass_env", "user", "cwd", "secrets"}, v.Origin):
		case v.Secret:
			x.secrets = append(x.secrets, v)
			if !x.managed {
				x.app.say("%s %s of %s holds a secret and is left out", x.app.paint(yellow, "warning:"), v.Key, node)
			}
		default:
			env = append(env, v.Key+"="+v.Value)
		}
	}
	return env, nil
}

// dir is a node's folder as seen from the project's; "" is that itself.
func (x *exporter) dir(node string) (string, error) {
	dir, err := x.binding.Dir(node)
	if err != nil {
		return "", err
	}
	if rel, err := filepath.Rel(x.binding.Root(), dir); err == nil && filepath.IsLocal(rel) {
		dir = rel
	}
	if dir == "." {
		return "", nil
	}
	return dir, nil
}

// direnv writes an .envrc.
func (a *app) direnv(w io.Writer, p *lang.Project) {
	fmt.Fprint(w, "# The services of this project in your shell: direnv allow\n")
	fmt.Fprintf(w, "watch_file %s .orrery/leases.json\n", filepath.Base(p.File))
	file := ""
	if base := filepath.Base(p.File); base != "services.star" {
		file = "-f " + quoteArgv([]string{base}) + " "
	}
	fmt.Fprintf(w, "eval \"$(orrery %senv --format shell)\"\n", file)
}

// codeTask and codeLaunch are entries of VS Code's tasks.json and launch.json.
type codeTask struct {
	Label        string            `json:"label"`
	Detail       string            `json:"detail,omitempty"`
	Type         string            `json:"type"`
	Command      string            `json:"command"`
	Args         []string          `json:"args"`
	Group        string            `json:"group,omitempty"`
	IsBackground bool              `json:"isBackground,omitempty"`
	Matcher      any               `json:"problemMatcher"`
	Presentation map[string]string `json:"presentation,omitempty"`
}

type codeLaunch struct {
	Name      string `json:"name"`
	Type      string `json:"type"`
	Request   string `json:"request"`
	Command   string `json:"command"`
	Cwd       string `json:"cwd"`
	PreLaunch string `json:"preLaunchTask,omitempty"`
}

type codeCompound struct {
	Name           string   `json:"name"`
	Configurations []string `json:"configurations"`
	StopAll        bool     `json:"stopAll"`
	PreLaunch      string   `json:"preLaunchTask,omitempty"`
}

// exportVSCode writes a workspace, or the two files of a .vscode folder.
func (a *app) exportVSCode(p *lang.Project, targets []string, f exportFlags) error {
	g, err := part(p.Graph, targets)
	if err != nil {
		return err
	}
	tasks := map[string]any{"version": "2.0.0", "tasks": codeTasks(p, g)}
	configurations, compounds := codeLaunches(g)
	launch := map[string]any{"version": "0.2.0", "configurations": configurations, "compounds": compounds}
	if f.output == "" || f.output == "-" {
		return a.printJSON(map[string]any{"folders": []map[string]string{{"path": "."}}, "tasks": tasks, "launch": launch})
	}
	dir := a.inDir(f.output)
	files := map[string]any{"launch.json": launch, "tasks.json": tasks}
	for name := range files {
		if err := vacant(filepath.Join(dir, name), f.force); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"launch.json", "tasks.json"} {
		content, err := json.MarshalIndent(files[name], "", "  ")
		if err != nil {
			return err
		}
		if err := writeNew(filepath.Join(dir, name), append(content, '\n')); err != nil {
			return err
		}
		a.say("wrote %s", shown(filepath.Join(dir, name)))
	}
	return nil
}

// The labels of the tasks that launches refer to.
const (
	codeUp = "orrery: up"
)

func codeTasks(p *lang.Project, g *graph.Graph) []codeTask {
	star := map[string]any{
		"owner": "orrery", "fileLocation": []string{"relative", "${workspaceFolder}"},
		"pattern": map[string]any{"regexp": `^(.+\.star):(\d+):(\d+): (.*)$`, "file": 1, "line": 2, "column": 3, "message": 4},
	}
	up := map[string]any{
		"owner": "orrery-up", "fileLocation": []string{"relative", "${workspaceFolder}"}, "pattern": star["pattern"],
		"background": map[string]any{"activeOnStart": true, "beginsPattern": "^.*starting.*$", "endsPattern": "^.*ready.*$"},
	}
	file := []string{}
	if base := filepath.Base(p.File); base != "services.star" {
		file = []string{"-f", base}
	}
	args := func(more ...string) []string { return append(slices.Clone(file), more...) }
	all := []codeTask{
		{Label: codeUp, Detail: "start everything, and show it", Type: "process", Command: "orrery", Args: args("up"), IsBackground: true, Matcher: up, Presentation: map[string]string{"panel": "dedicated"}},
		{Label: "orrery: down", Detail: "stop everything", Type: "process", Command: "orrery", Args: args("down"), Matcher: star},
		{Label: "orrery: check", Detail: "is services.star right?", Type: "process", Command: "orrery", Args: args("check"), Matcher: star},
	}
	for _, n := range g.Nodes {
		if n.Kind != graph.KindTask {
			continue
		}
		t := codeTask{Label: "orrery: run " + n.Name(), Detail: n.Common().Description, Type: "process", Command: "orrery", Args: args("run", n.Name())}
		t.Matcher = codeMatchers(n.Task)
		switch base := n.Name()[strings.LastIndexByte(n.Name(), '/')+1:]; {
		case base == "build" || base == "test":
			t.Group = base
		}
		all = append(all, t)
	}
	for _, n := range g.Nodes {
		if n.Kind == graph.KindService {
			if needs := serviceNeeds(g, n.Name()); len(needs) > 0 {
				all = append(all, codeTask{Label: "orrery: what " + n.Name() + " needs", Type: "process", Command: "orrery",
					Args: args(append([]string{"up", "-d", "--wait"}, needs...)...), Matcher: star})
			}
		}
	}
	return all
}

// codeMatchers are the problem matchers for what a task runs.
func codeMatchers(t *graph.Task) []string {
	text := ""
	if t.Command != nil {
		for _, x := range t.Command.Argv {
			text += " " + x.String()
		}
		text += " " + t.Command.Script.String()
	}
	for _, s := range t.Steps {
		for _, x := range s {
			text += " " + x.String()
		}
	}
	matchers := []string{}
	for _, m := range [][2]string{{"go:go", "$go"}, {" go ", "$go"}, {"tsc", "$tsc"}, {"eslint", "$eslint-stylish"}, {"cargo", "$rustc"}, {"gcc", "$gcc"}, {"make", "$gcc"}} {
		if strings.Contains(text, m[0]) && !slices.Contains(matchers, m[1]) {
			matchers = append(matchers, m[1])
		}
	}
	return matchers
}

// serviceNeeds are the nodes that a service itself waits for.
func serviceNeeds(g *graph.Graph, name string) []string {
	var all []string
	for _, e := range g.Out(name) {
		if e.Cond != graph.Stopped && !slices.Contains(all, e.To) {
			all = append(all, e.To)
		}
	}
	return all
}

// codeLaunches has each service in a debugging terminal, with what it needs
// started before, and all services of the project's own together.
func codeLaunches(g *graph.Graph) (launches []codeLaunch, compounds []codeCompound) {
	launches = []codeLaunch{}
	var names []string
	for _, n := range g.Nodes {
		if n.Kind != graph.KindService || len(n.Service.Listen) > 0 {
			continue // a debugger holds no sockets
		}
		l := codeLaunch{Name: "orrery: " + n.Name(), Type: "node-terminal", Request: "launch", Command: "orrery exec " + n.Name(), Cwd: "${workspaceFolder}"}
		if len(serviceNeeds(g, n.Name())) > 0 {
			l.PreLaunch = "orrery: what " + n.Name() + " needs"
		}
		launches = append(launches, l)
		if len(g.In(n.Name())) == 0 && n.Service.Autostart {
			names = append(names, l.Name)
		}
	}
	compounds = []codeCompound{}
	if len(names) > 0 {
		compounds = append(compounds, codeCompound{Name: "orrery: services", Configurations: names, StopAll: true})
	}
	return launches, compounds
}
