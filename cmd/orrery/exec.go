package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"orrery/lang"
	"orrery/runtime/bind"
)

func execCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "exec [NAME] -- CMD [ARG...]",
		Short: "Become a command in the environment of a node",
		Long: `Replaces itself by a command that has the environment of a service or task, as
"orrery env NAME" prints it, in the current folder. Without a name: your own
environment, with what the services give to clients (env_exports of all of them)
and the project's tools on the PATH.

"orrery exec NAME" alone becomes the node's own command, in its own folder: the
wrapper for a debugger, or for another process manager.

Ports are those of the running engine; when none runs, those of the last run,
else those declared. Nothing is started. The exit code is the command's; 127 when it
cannot be run.`,
		Example: `  orrery exec -- psql                   the database, without its port by hand
  orrery exec web -- env | grep URL
  orrery exec web                       web itself, here in the foreground`,
		RunE: func(c *cobra.Command, args []string) error {
			names, argv := args, []string(nil)
			if n := c.ArgsLenAtDash(); n >= 0 {
				names, argv = args[:n], args[n:]
			}
			switch {
			case len(names) > 1:
				return hinted{usageError{fmt.Errorf("exec takes one NAME at most, got %d", len(names))}, "write -- before the command: orrery exec " + names[0] + " -- " + quoteArgv(names[1:])}
			case len(names) == 0 && len(argv) == 0:
				return usageError{fmt.Errorf("exec needs a NAME, or -- and a command")}
			case c.ArgsLenAtDash() >= 0 && len(argv) == 0:
				return usageError{fmt.Errorf("exec: there is no command after --")}
			}
			p, err := a.load(c.Context())
			if err != nil {
				return err
			}
			return a.become(c.Context(), p, names, argv)
		},
	}
}

// become executes a command, or a node's own, in the environment of that node.
func (a *app) become(ctx context.Context, p *lang.Project, names, argv []string) error {
	vars, err := a.environment(ctx, p, names)
	if err != nil {
		return err
	}
	env := bind.Environ(vars)
	if len(names) == 0 {
		env = append(os.Environ(), env...) // of duplicates the last wins
	}
	if len(argv) > 0 {
		return a.replace(argv, env)
	}
	look, err := a.lookOut(ctx, p, names)
	if err != nil {
		return err
	}
	cmd, err := look.binding.Command(names[0])
	if err != nil {
		return err
	}
	dir, err := look.binding.Dir(names[0])
	if err != nil {
		return err
	}
	if err := os.Chdir(dir); err != nil {
		return fmt.Errorf("cannot enter the folder of %s: %w", names[0], err)
	}
	return a.replace(cmd.Argv, append(env, cmd.Env...))
}

// exitNoProgram is what shells say of a command that cannot be run.
const exitNoProgram = 127

// replace becomes a program; it only returns when that fails.
func (a *app) replace(argv, env []string) error {
	env = lastOfEach(env)
	path, err := findOn(argv[0], env)
	if err == nil {
		err = fmt.Errorf("cannot run %s: %w", path, syscall.Exec(path, argv, env))
	}
	fmt.Fprintln(os.Stderr, a.paint(red, "orrery:"), err)
	return exitError{exitNoProgram}
}

// lastOfEach keeps the last of variables with one name, in the order of the first.
func lastOfEach(env []string) []string {
	at := map[string]int{}
	var kept []string
	for _, kv := range env {
		k, _, _ := strings.Cut(kv, "=")
		if i, ok := at[k]; ok {
			kept[i] = kv
			continue
		}
		at[k] = len(kept)
		kept = append(kept, kv)
	}
	return kept
}

// findOn looks a program up on the PATH of an environment that is not ours.
func findOn(program string, env []string) (string, error) {
	if strings.Contains(program, "/") {
		return program, nil
	}
	i := slices.IndexFunc(env, func(kv string) bool { return strings.HasPrefix(kv, "PATH=") })
	var tried []string
	if i >= 0 {
		tried = filepath.SplitList(strings.TrimPrefix(env[i], "PATH="))
	}
	for _, dir := range tried {
		if file := filepath.Join(dir, program); dir != "" {
			if found, err := exec.LookPath(file); err == nil || errors.Is(err, exec.ErrDot) {
				return found, nil
			}
		}
	}
	return "", fmt.Errorf("cannot find the program %q on the PATH of that environment", program)
}
