// Command orrery runs the services and tasks that a services.star declares.
//
// main.go is the table of verbs; each verb has a file of its own. What they
// share: project.go (finding and loading the project), client.go (talking to
// the engine of the checkout), screen.go (what is shown), exit.go (errors to
// exit codes).
package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"orrery/runtime/keeper"
	"orrery/runtime/proc"
)

// verb is one line of the table: a group of the help, and how the command is
// made.
type verb struct {
	group string
	make  func(*app) *cobra.Command
}

// The groups of the help, in order.
const (
	groupRun     = "run"
	groupInspect = "inspect"
	groupEdit    = "edit"
	groupShare   = "share"
)

// verbs is the table: its order is that of the help.
func verbs() []verb {
	return []verb{
		{groupRun, upCommand},
		{groupRun, downCommand},
		{groupRun, runCommand},
		{groupRun, startCommand},
		{groupRun, stopCommand},
		{groupRun, restartCommand},
		{groupRun, reloadCommand},
		{groupRun, waitCommand},
		{groupRun, attachCommand},
		{groupInspect, statusCommand},
		{groupInspect, logsCommand},
		{groupInspect, listCommand},
		{groupInspect, graphCommand},
		{groupInspect, planCommand},
		{groupInspect, checkCommand},
		{groupInspect, whyCommand},
		{groupInspect, traceCommand},
		{groupInspect, logCommand},
		{groupInspect, envCommand},
		{groupInspect, portCommand},
		{groupInspect, urlCommand},
		{groupInspect, openCommand},
		{groupInspect, execCommand},
		{groupInspect, doctorCommand},
		{groupInspect, cacheCommand},
		{groupEdit, initCommand},
		{groupEdit, demoCommand},
		{groupEdit, importCommand},
		{groupEdit, fmtCommand},
		{groupEdit, testCommand},
		{groupEdit, docCommand},
		{groupEdit, replCommand},
		{groupEdit, libCommand},
		{groupShare, exportCommand},
		{groupShare, versionCommand},
	}
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == proc.Verb {
		os.Exit(proc.Shim(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == keeper.Verb {
		os.Exit(keeper.Main())
	}
	if len(os.Args) > 1 && os.Args[1] == demoVerb {
		os.Exit(demoRole(os.Args[2:]))
	}
	os.Exit(execute(os.Args[1:]))
}

// execute runs one command line and returns its exit code.
func execute(args []string) int {
	a := newApp()
	defer a.outlets.end()
	root := a.root()
	root.SetArgs(args)
	err := root.Execute()
	return a.finish(err)
}

// root makes the command tree from the table.
func (a *app) root() *cobra.Command {
	cobra.EnableCommandSorting = false // the table's order is a reading order
	root := &cobra.Command{
		Use:   "orrery",
		Short: "Build and run the services and tasks of a services.star",
		Long: `orrery builds, starts and looks after what a services.star declares: tasks in
order and in parallel, services with ports, sockets, probes and restarts.

` + exitCodes,
		Example: `  orrery up                 build and start everything, look after it, ^C stops it
  orrery up -d --wait       the same in the background; returns when all is ready
  orrery run test           run one task with what it needs, then stop that again
  orrery check              is services.star right? starts nothing
  orrery init               write a first services.star; orrery demo shows one at work
  orrery help agents        a guide for programs: JSON, ports, waiting, logs`,
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run:"},
		&cobra.Group{ID: groupInspect, Title: "Inspect:"},
		&cobra.Group{ID: groupEdit, Title: "Edit:"},
		&cobra.Group{ID: groupShare, Title: "Share:"},
	)
	root.SetHelpCommandGroupID(groupShare)
	root.SetCompletionCommandGroupID(groupShare)
	a.flags(root.PersistentFlags())
	root.SetFlagErrorFunc(flagError)
	for _, v := range verbs() {
		c := v.make(a)
		c.GroupID = v.group
		root.AddCommand(c)
	}
	root.AddCommand(engineCommand(a))
	help := helpCommand(a, root)
	root.SetHelpCommand(help)
	a.completions(root, help)
	root.PersistentPreRunE = a.refuseJSON
	root.SetHelpFunc(a.helpFunc(root.HelpFunc()))
	return root
}

// version is what `go build` knows of this binary.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}

// released is the version, or "" for a build that has none and so satisfies
// every project(requires = ...).
func released() string {
	if v := version(); v != "devel" {
		return v
	}
	return ""
}

// versions is the JSON of version.
type versions struct {
	Version string `json:"version"` // "devel" for a build that has none
	JSON    int    `json:"json"`    // of all that --json prints
}

func versionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs,
		Example: "  orrery version\n  orrery version --json",
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return a.printJSON(versions{version(), jsonVersion})
			}
			fmt.Println("orrery", version())
			return nil
		},
	}
}
