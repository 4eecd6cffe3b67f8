package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"orrery/lang"
	"orrery/lang/graph"
	"orrery/runtime/bind"
	"orrery/runtime/control"
	"orrery/runtime/proc"
)

func doctorCommand(a *app) *cobra.Command {
	var fix bool
	c := &cobra.Command{
		Use: "doctor", Short: "Look at the machine and for leftovers", Args: noArgs,
		Long: `Looks at what orrery needs of this machine and has of it: the kernel, how trees of
processes are found and limited, inotify, descriptors, the length of socket paths;
whether the project loads, its tools are there, and who has its ports; which engines
of yours run; and what killed ones have left: processes that carry their mark and have
no keeper any more, and run directories.

With --fix it says what was left, ends these processes and removes these
directories. It touches only what carries our mark, is yours, and belongs to no
engine that runs.

It fails with code 1 when something is broken, and says what to do. With --json it
prints {"ok", "checks": [{"id", "state": "ok" | "note" | "broken", "text", "remedy"}],
"means", "limits": {"memory", "tasks", "cpu"}, "engines": [{"pid", "kind", "root"}],
"strays": [{"pid", "marker", "command"}], "stale": [path], "tools": [{"program",
"path", "error"}], "ports": [as of why NAME.PORT]}.`,
		Example: "  orrery doctor\n  orrery doctor --fix",
		RunE:    func(c *cobra.Command, _ []string) error { return a.doctor(c.Context(), fix) },
	}
	c.Flags().BoolVar(&fix, "fix", false, "end the processes and remove the directories that killed engines have left")
	return c
}

// The states of a check.
const (
	checkOK     = "ok"
	checkNote   = "note"
	checkBroken = "broken"
)

// check is one thing that was looked at.
type check struct {
	ID     string `json:"id"`               // what was looked at: kernel, ports, project ...
	State  string `json:"state"`            // ok, note or broken
	Text   string `json:"text"`             // what was found
	Remedy string `json:"remedy,omitempty"` // what to do about it
}

// diagnosis is the JSON of doctor.
type diagnosis struct {
	OK      bool              `json:"ok"`      // nothing is broken
	Checks  []check           `json:"checks"`  // what the text form shows
	Means   string            `json:"means"`   // by what trees of processes are found: subreaper or group
	Limits  map[string]string `json:"limits"`  // by what memory, tasks and cpu are limited; empty: by nothing
	Engines []engineProcess   `json:"engines"` // of this user, with their keepers
	Strays  []stray           `json:"strays"`  // processes that have lost their keeper
	Stale   []string          `json:"stale"`   // run directories of engines that do not run
	Tools   []toolFound       `json:"tools"`   // the declared programs
	Ports   []portStory       `json:"ports"`   // as of why NAME.PORT
}

// engineProcess is a keeper or an engine of this user.
type engineProcess struct {
	PID  int    `json:"pid"`
	Kind string `json:"kind"` // keeper or engine
	Root string `json:"root"` // the folder of its project
}

// stray is a process that a keeper which is gone has left.
type stray struct {
	PID     int    `json:"pid"`
	Marker  string `json:"marker"`  // the run and the node that it was started for
	Command string `json:"command"` // its command line
}

type toolFound struct {
	Program string `json:"program"`
	Path    string `json:"path,omitempty"`  // where it is
	Error   string `json:"error,omitempty"` // why it is not there, and which package has it
}

func (d *diagnosis) add(id, state, remedy, format string, args ...any) {
	d.Checks = append(d.Checks, check{id, state, fmt.Sprintf(format, args...), remedy})
}

func (a *app) doctor(ctx context.Context, fix bool) error {
	d := &diagnosis{
		Checks: []check{}, Engines: []engineProcess{}, Strays: []stray{}, Stale: []string{}, Tools: []toolFound{}, Ports: []portStory{},
	}
	d.machine()
	d.limits()
	a.projectChecks(ctx, d)
	d.leftovers()
	if fix {
		d.mend(ctx, a)
	}
	d.OK = true
	for _, c := range d.Checks {
		d.OK = d.OK && c.State != checkBroken
	}
	if a.json {
		if err := a.printJSON(d); err != nil {
			return err
		}
	} else {
		a.printChecks(d.Checks)
	}
	if !d.OK {
		return exitError{exitFailed}
	}
	return nil
}

func (a *app) printChecks(checks []check) {
	for _, c := range checks {
		mark, color := "✓", green
		switch c.State {
		case checkNote:
			mark, color = "·", yellow
		case checkBroken:
			mark, color = "✗", red
		}
		fmt.Printf("%s %-12s %s\n", a.tint(color, mark), c.ID, c.Text)
		if c.Remedy != "" {
			fmt.Printf("  %-12s %s\n", "", a.tint(dim, "→ "+c.Remedy))
		}
	}
}

// limits says by what trees are found and limited.
func (d *diagnosis) limits() {
	memory, tasks, cpu := proc.LimitMeans()
	d.Limits = map[string]string{"memory": memory, "tasks": tasks, "cpu": cpu}
	d.Means = "group"
	if runtime.GOOS == "linux" {
		d.Means = "subreaper"
		if memory == "cgroup v2" {
			d.add("trees", checkOK, "", "a service and all below it are found through the keeper, their subreaper; those with limits by their cgroup")
		} else {
			d.add("trees", checkOK, "", "a service and all below it are found through the keeper, their subreaper, and by their mark")
		}
	} else {
		d.add("trees", checkNote, "", "a service is found by its process group: what leaves it, stays")
	}
	word := func(s string) string {
		if s == "" {
			return "nothing"
		}
		return s
	}
	state, remedy := checkOK, ""
	if !strings.HasPrefix(memory, "cgroup") || cpu == "" {
		state, remedy = checkNote, "for limits of whole trees run it where a cgroup is delegated: systemd-run --user --scope -p Delegate=yes orrery up"
	}
	d.add("limits", state, remedy, "memory by %s, tasks by %s, cpu by %s", word(memory), word(tasks), word(cpu))
}

// projectChecks looks at the project, where there is one.
func (a *app) projectChecks(ctx context.Context, d *diagnosis) {
	file, err := a.projectFile()
	if err != nil {
		d.add("project", checkNote, "", "none here: %v", err)
		return
	}
	b := *a
	b.quiet = true
	p, err := b.load(ctx)
	if err != nil {
		var load lang.Errors
		text := err.Error()
		if errors.As(err, &load) && len(load) > 0 {
			text = firstLine(load[0].Format(false))
		}
		d.add("project", checkBroken, "orrery check shows all of it", "%s does not load: %s", file, text)
		return
	}
	place, err := placeOf(p)
	if err != nil {
		d.add("project", checkBroken, "", "%v", err)
		return
	}
	d.add("project", checkOK, "", "%s, %d nodes", p.File, len(p.Graph.Nodes))
	d.paths(place, p.Graph)
	d.tools(place, p.Graph)
	a.portChecks(ctx, d, p, place)
	d.lock(place)
}

// paths looks at the folders and at the length of socket paths.
func (d *diagnosis) paths(place control.Place, g *graph.Graph) {
	const most = 107
	longest := place.Socket
	for _, n := range g.Nodes {
		if n.Kind != graph.KindService {
			continue
		}
		for _, l := range n.Service.Listen {
			if path := filepath.Join(place.Run, "n", n.Name(), l.Value.File); l.Value.File != "" && !filepath.IsAbs(l.Value.File) && len(path) > len(longest) {
				longest = path
			}
		}
	}
	if room := most - len(longest); room < 0 {
		d.add("sockets", checkBroken, "set XDG_RUNTIME_DIR to a directory with a short path", "%s has %d bytes, %d more than a unix socket's path may have", longest, len(longest), -room)
	} else {
		d.add("sockets", checkOK, "", "in %s; room for %d more bytes in the longest path", place.Run, room)
	}
	st, err := os.Lstat(place.Run)
	if err == nil && (!st.IsDir() || st.Mode()&0o022 != 0) {
		d.add("run", checkBroken, "remove it: rm -r "+place.Run, "%s is not a folder that only you can write", place.Run)
	}
	if err := unix.Access(place.Root, unix.W_OK); err != nil {
		d.add("folder", checkBroken, "make it writable, or work in a copy", "%s cannot be written: %v", place.Root, err)
	}
}

// tools looks for the declared programs.
func (d *diagnosis) tools(place control.Place, g *graph.Graph) {
	b := bind.FromSnapshot(g, viewDirs(place), nil, bind.Options{Environ: os.Environ()})
	found := 0
	for _, t := range g.Tools {
		for _, program := range t.Programs {
			path, err := b.Value(graph.Ref{Scope: graph.ScopeTool, Name: g.ToolName(t), Attr: program}, "")
			if err != nil {
				d.Tools = append(d.Tools, toolFound{Program: program, Error: err.Error()})
				text, remedy, _ := strings.Cut(err.Error(), "; ")
				d.add("tools", checkBroken, remedy, "%s", text)
				continue
			}
			found++
			d.Tools = append(d.Tools, toolFound{Program: program, Path: path})
		}
	}
	if found > 0 {
		var all []string
		for _, t := range d.Tools {
			if t.Path != "" {
				all = append(all, t.Path)
			}
		}
		d.add("tools", checkOK, "", "%s", strings.Join(all, " "))
	}
}

// portChecks says where the ports are that are not at their base, or are in
// the hands of somebody else, and why.
func (a *app) portChecks(ctx context.Context, d *diagnosis, p *lang.Project, place control.Place) {
	b, err := os.ReadFile(place.Leases)
	var leases []json.RawMessage
	if err == nil && json.Unmarshal(b, &leases) != nil {
		d.add("ports", checkBroken, "remove it: ports are then leased anew", "%s cannot be read", place.Leases)
		return
	}
	moved := 0
	for _, n := range p.Graph.Nodes {
		all, err := a.portStories(ctx, p, n, "")
		if err != nil {
			d.add("ports", checkNote, "", "%v", err)
			return
		}
		for _, s := range all {
			d.Ports = append(d.Ports, s)
			if s.Taken == "" && (s.Number == s.Base || s.Base == 0) {
				continue
			}
			moved++
			state, remedy := checkNote, ""
			switch {
			case s.Taken != "" && s.Strict:
				state, remedy = checkBroken, "stop it, or choose another base"
			case s.Taken != "":
				remedy = fmt.Sprintf("stop it, or leave it so: orrery port %s.%s tells the number", s.Node, s.Port)
			}
			d.add("ports", state, remedy, "%s.%s: %d, %s", s.Node, s.Port, s.Number, s.Why)
		}
	}
	if moved == 0 && len(d.Ports) > 0 {
		d.add("ports", checkOK, "", "%s, at their base", plural(len(d.Ports), "port"))
	}
}

// lock says whether an engine of the project answers.
func (d *diagnosis) lock(place control.Place) {
	info, running, err := place.Running()
	switch {
	case err != nil:
		d.add("engine", checkBroken, "", "%v", err)
	case !running:
		d.add("engine", checkOK, "", "none runs for this project")
	default:
		nc, err := net.DialTimeout("unix", info.Socket, 5*time.Second)
		if err != nil {
			d.add("engine", checkBroken, fmt.Sprintf("kill %d, then orrery up", info.PID), "pid %d holds the project and does not answer: %v", info.PID, err)
			return
		}
		nc.Close()
		d.add("engine", checkOK, "", "pid %d runs this project", info.PID)
	}
}

// leftovers looks for what killed engines have left.
func (d *diagnosis) leftovers() {
	engines, strays := ownProcesses()
	d.Engines = append(d.Engines, engines...)
	d.Strays = append(d.Strays, strays...)
	keepers := 0
	for _, e := range d.Engines {
		if e.Kind == "keeper" {
			keepers++
		}
		if root, gone := strings.CutSuffix(e.Root, " (deleted)"); gone && e.Kind == "engine" {
			d.add("lost", checkNote, fmt.Sprintf("kill %d stops them in order", e.PID), "%s is gone, its services still run", root)
		}
	}
	d.add("keepers", checkOK, "", "%d of yours run", keepers)
	for _, s := range d.Strays {
		d.add("strays", checkBroken, "orrery doctor --fix ends it", "pid %d (%s) has lost its keeper: %s", s.PID, s.Command, s.Marker)
	}
	d.Stale = append(d.Stale, staleRuns()...)
	if n := len(d.Stale); n > 0 {
		d.add("stale", checkNote, "orrery doctor --fix removes them", "%s of engines that do not run", plural(n, "run folder"))
	}
}

var runDirName = regexp.MustCompile(`^orrery-([0-9]+-)?[0-9a-f]{12}$`)

// staleAge is how long a run directory is left alone: an engine may be about
// to listen in it.
const staleAge = time.Minute

// staleRuns are the run directories of this user in which no engine answers.
func staleRuns() []string {
	var found []string
	own := "orrery-" + strconv.Itoa(os.Geteuid()) + "-"
	look := func(parent string, ours func(string) bool) {
		entries, _ := os.ReadDir(parent)
		for _, e := range entries {
			info, err := e.Info()
			if err != nil || !e.IsDir() || !ours(e.Name()) || time.Since(info.ModTime()) < staleAge || !ownedByUs(info) {
				continue
			}
			dir := filepath.Join(parent, e.Name())
			nc, err := net.DialTimeout("unix", filepath.Join(dir, "engine.sock"), 5*time.Second)
			if err == nil {
				nc.Close()
				continue
			}
			found = append(found, dir)
		}
	}
	look("/tmp", func(name string) bool { return runDirName.MatchString(name) && strings.HasPrefix(name, own) })
	if base := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(base) {
		look(base, runDirName.MatchString)
	}
	return found
}

// mend ends strays and removes stale directories.
func (d *diagnosis) mend(ctx context.Context, a *app) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	runs := map[string]bool{}
	for _, s := range d.Strays {
		run, _, _ := strings.Cut(s.Marker, "/")
		a.say("ending pid %d (%s)", s.PID, s.Command)
		runs[run] = true
	}
	kept := d.Checks[:0]
	for _, c := range d.Checks {
		if c.ID != "strays" && c.ID != "stale" {
			kept = append(kept, c)
		}
	}
	d.Checks = kept
	for run := range runs {
		n, err := proc.Sweep(ctx, run)
		if err != nil {
			d.add("strays", checkBroken, "", "%v", err)
			continue
		}
		d.add("strays", checkOK, "", "%d ended", n)
	}
	for _, dir := range d.Stale {
		a.say("removing %s", dir)
		if err := os.RemoveAll(dir); err != nil {
			d.add("stale", checkNote, "", "%v", err)
		}
	}
	d.Strays, d.Stale = []stray{}, []string{}
}
