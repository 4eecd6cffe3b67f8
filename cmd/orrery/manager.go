package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"orrery/lang"
	"orrery/lang/graph"
	"orrery/runtime/bind"
	"orrery/runtime/control"
)

// manager is another program that looks after services.
type manager struct {
	name   string
	format string // of export
	file   string // in .orrery/manager
	// argv starts it with a file, in the project's folder; dir is that of the
	// file.
	argv    func(file, root, dir string) []string
	install string // where it comes from
}

// managers is the list: process-compose 1.122, overmind 2.5, hivemind 1.1,
// honcho 2.0, foreman 0.87, goreman 0.3 and mprocs 0.9.
func managers() []manager {
	return []manager{
		{"process-compose", "process-compose", "process-compose.yaml", func(file, _, _ string) []string {
			return []string{"process-compose", "-f", file, "--no-server", "--disable-dotenv", "up"}
		}, "https://f1bonacc1.github.io/process-compose"},
		{"overmind", "Procfile", "Procfile", func(file, root, dir string) []string {
			return []string{"overmind", "start", "-f", file, "-d", root, "-s", filepath.Join(dir, "overmind.sock"), "-N"}
		}, "https://github.com/DarthSim/overmind, needs tmux"},
		{"hivemind", "Procfile", "Procfile", func(file, root, _ string) []string {
			return []string{"hivemind", "--root", root, file}
		}, "https://github.com/DarthSim/hivemind"},
		{"honcho", "Procfile", "Procfile", func(file, root, _ string) []string {
			return []string{"honcho", "-f", file, "-d", root, "-e", os.DevNull, "start"}
		}, "pip install honcho"},
		{"foreman", "Procfile", "Procfile", func(file, root, _ string) []string {
			return []string{"foreman", "start", "-f", file, "-d", root, "-e", os.DevNull}
		}, "ruby-foreman of Debian, or gem install foreman"},
		{"goreman", "Procfile", "Procfile", func(file, root, _ string) []string {
			return []string{"goreman", "-f", file, "-basedir", root, "-rpc-server=false", "start"}
		}, "https://github.com/mattn/goreman"},
		{"mprocs", "mprocs", "mprocs.yaml", func(file, _, _ string) []string {
			return []string{"mprocs", "-c", file}
		}, "npm install -g mprocs, or cargo install mprocs"},
	}
}

func managerNames() []string {
	var names []string
	for _, m := range managers() {
		names = append(names, m.name)
	}
	return names
}

func findManager(name string) (manager, error) {
	for _, m := range managers() {
		if m.name == name {
			return m, nil
		}
	}
	return manager{}, hinted{usageError{fmt.Errorf("--manager: got %q, want %s", name, strings.Join(managerNames(), ", "))}, didYouMean(name, managerNames())}
}

// upManaged has another program run the services: first the tasks that they
// wait for are run as orrery run does, then ports are allocated, files written,
// and this process becomes the manager.
func (a *app) upManaged(ctx context.Context, p *lang.Project, place control.Place, targets []string, f upFlags) error {
	m, err := findManager(f.manager)
	if err != nil {
		return err
	}
	if _, err := exec.LookPath(m.name); err != nil {
		return hinted{fmt.Errorf("cannot find %s on the PATH", m.name), m.install}
	}
	if _, running, err := place.Running(); err == nil && running {
		return hinted{&control.ErrRunning{}, "orrery down stops it"}
	}
	services, tasks, err := managedNodes(p.Graph, targets, f.mode())
	if err != nil {
		return err
	}
	if len(tasks) > 0 {
		if err := a.runApart(ctx, p.File, tasks, f.engineFlags); err != nil {
			return err
		}
		(&upRun{place: place}).ended(ctx) // an engine that ran services for the tasks takes their files with it
	}
	if err := place.Make(); err != nil {
		return err
	}
	x := &exporter{app: a, project: p, managed: true}
	if x.binding, err = a.managedBinding(p, place, services, f); err != nil {
		return err
	}
	dir := filepath.Join(place.Dir, "manager")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot make %s: %w", shown(dir), err)
	}
	var text bytes.Buffer
	if err := x.write(&text, m.format, services); err != nil {
		return err
	}
	file := filepath.Join(dir, m.file)
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		return fmt.Errorf("cannot write %s: %w", shown(file), err)
	}
	a.say("%s runs %s from %s", m.name, plural(len(services), "service"), shown(file))
	if err := os.Chdir(x.binding.Root()); err != nil {
		return err
	}
	env := os.Environ()
	for _, v := range x.secrets { // for all of them: no file holds a secret
		env = append(env, v.Key+"="+v.Value)
	}
	return a.replace(m.argv(file, x.binding.Root(), dir), env)
}

// runApart is orrery run in a process of its own: a manager would take what
// that leaves behind for children of its own, and some end when one of these
// does.
func (a *app) runApart(ctx context.Context, file string, tasks []string, f engineFlags) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot tell which program this is: %w", err)
	}
	argv := []string{"run", "--file", file, "--color", a.colorBy}
	for _, p := range a.params {
		argv = append(argv, "--set", p)
	}
	for _, o := range a.instead {
		argv = append(argv, "--override", o)
	}
	for flag, on := range map[string]bool{"--quiet": a.quiet, "--verbose": a.verbose, "--strict-ports": f.strict, "--no-strict-ports": f.noStrict} {
		if on {
			argv = append(argv, flag)
		}
	}
	if f.jobs > 0 {
		argv = append(argv, "--jobs", fmt.Sprint(f.jobs))
	}
	c := exec.CommandContext(ctx, self, append(argv, tasks...)...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stderr, os.Stderr
	err = c.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exitError{max(exit.ExitCode(), exitFailed)}
	}
	return err
}

// managedNodes are the services that a manager shall run and the tasks to run
// before; those with a schedule are nobody's.
func managedNodes(g *graph.Graph, targets []string, mode string) (services, tasks []string, err error) {
	need, err := g.Need(targets, graph.Selection(mode))
	if err != nil {
		return nil, nil, err
	}
	for _, name := range need {
		n := g.Node(name)
		switch {
		case n.Kind == graph.KindTask && n.Task.Schedule == nil:
			tasks = append(tasks, name)
		case n.Kind == graph.KindTask:
		case len(n.Service.Listen) > 0:
			return nil, nil, hinted{fmt.Errorf("cannot hand %s to another manager: its sockets are bound by orrery (%s)", name, n.Pos), "give it ports instead of listen, or run it with orrery up"}
		default:
			services = append(services, name)
		}
	}
	if len(services) == 0 {
		return nil, nil, fmt.Errorf("there is no service for another manager to run")
	}
	return services, tasks, nil
}

// managedBinding allocates the ports of services and makes the files that they
// find. The ports are free again when this process has become the manager.
func (a *app) managedBinding(p *lang.Project, place control.Place, services []string, f upFlags) (*bind.Binding, error) {
	dirs := viewDirs(place)
	table, err := bind.NewTable(dirs)
	if err != nil {
		return nil, err
	}
	defer table.Close(services...)
	b := bind.New(table, p.Graph, bind.Options{Environ: os.Environ(), Strict: f.strictPorts()})
	if err := b.Prepare(services); err != nil {
		return nil, err
	}
	for _, name := range services {
		n := p.Graph.Node(name)
		if n.Service.User != "" && os.Geteuid() == 0 {
			a.say("%s %s runs as root: other managers do not change to its user %s", a.paint(yellow, "warning:"), name, n.Service.User)
		}
		if err := b.MakeDirs(name); err != nil {
			return nil, err
		}
		if err := b.WriteSecrets(name); err != nil {
			return nil, err
		}
		if _, err := b.WriteConfigs(name); err != nil {
			return nil, err
		}
	}
	return b, nil
}
