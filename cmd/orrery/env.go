package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"orrery/lang"
	"orrery/lang/graph"
	"orrery/runtime/bind"
)

func envCommand(a *app) *cobra.Command {
	var format string
	formats := []string{"shell", "dotenv", "json"}
	c := &cobra.Command{
		Use:   "env [NAME]",
		Short: "Print the environment that a node sees",
		Long: `Prints the whole environment of a service or task as it is started with. Without a
name: what the services give to clients on this machine (env_exports of all of
them) and a PATH with the folders of the project's tools; for a shell or direnv.

Ports are those of the running engine; when none runs, those of the last run,
else those declared. With -v each variable has its origin as a comment.

Secrets are printed only for a node that is named: without a name, variables that
hold one are left out.

Formats: shell (export K='v'), dotenv (K=v), json ({"K": "v"}).`,
		Example: `  eval "$(orrery env)"               clients find the services
  orrery env web -v                  what web sees, and why
  orrery env web --format dotenv > .env`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("env takes one name at most, got %d", len(args))}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.asJSON(c, &format); err != nil {
				return err
			}
			if !slices.Contains(formats, format) {
				return hinted{usageError{fmt.Errorf("--format: got %q, want %s", format, strings.Join(formats, ", "))}, didYouMean(format, formats)}
			}
			p, err := a.load(c.Context())
			if err != nil {
				return err
			}
			vars, err := a.environment(c.Context(), p, args)
			if err != nil {
				return err
			}
			return a.writeEnv(vars, format)
		},
	}
	c.Flags().StringVar(&format, "format", "shell", "`FORMAT` is "+strings.Join(formats, ", "))
	return c
}

func (a *app) environment(ctx context.Context, p *lang.Project, args []string) ([]bind.Var, error) {
	if len(args) == 0 {
		look, err := a.lookOut(ctx, p, nil)
		if err != nil {
			return nil, err
		}
		return a.clientEnv(p.Graph, look.binding)
	}
	n, err := oneNode(p.Graph, "env", args[0])
	if err != nil {
		return nil, err
	}
	look, err := a.lookOut(ctx, p, args)
	if err != nil {
		return nil, err
	}
	vars, err := look.binding.Env(n.Name())
	if live, ok := look.env[n.Name()]; ok {
		return withOrigins(live, vars), nil
	}
	return vars, err
}

// withOrigins is the environment that the engine gave, with the origins that
// the declarations tell.
func withOrigins(live map[string]string, told []bind.Var) []bind.Var {
	origin := map[string]bind.Var{}
	for _, v := range told {
		origin[v.Key] = v
	}
	vars := make([]bind.Var, 0, len(live))
	for k, value := range live {
		v := bind.Var{Key: k, Value: value, Origin: "caller"}
		if o, ok := origin[k]; ok {
			v.Origin, v.Secret = o.Origin, o.Secret
		}
		vars = append(vars, v)
	}
	slices.SortFunc(vars, func(a, b bind.Var) int { return strings.Compare(a.Key, b.Key) })
	return vars
}

// clientEnv is what clients outside of the graph need: the env_exports of all
// services, and the tools. What holds a secret is left out.
func (a *app) clientEnv(g *graph.Graph, b *bind.Binding) ([]bind.Var, error) {
	var vars []bind.Var
	at := map[string]int{}
	for _, n := range g.Nodes {
		if n.Kind != graph.KindService {
			continue
		}
		for _, e := range n.Service.EnvExports {
			if e.Value == nil || holdsSecret(g, e.Value, 0) {
				if e.Value != nil && a.verbose {
					a.say("%s of %s holds a secret: orrery env %s prints it", e.Key, n.Name(), n.Name())
				}
				continue
			}
			value, err := b.Fill(e.Value, "")
			if err != nil {
				return nil, err
			}
			v := bind.Var{Key: e.Key, Value: value, Origin: "env_exports of " + n.Name()}
			if i, ok := at[e.Key]; ok {
				vars[i] = v
				continue
			}
			at[e.Key] = len(vars)
			vars = append(vars, v)
		}
	}
	if path, ok := a.toolPath(g, b); ok {
		vars = append(vars, bind.Var{Key: "PATH", Value: path, Origin: "tools"})
	}
	return vars, nil
}

// toolPath is the PATH with the folders of the project's tools before it; a
// tool that is not on the machine is said, and left out.
func (a *app) toolPath(g *graph.Graph, b *bind.Binding) (string, bool) {
	path := os.Getenv("PATH")
	have := filepath.SplitList(path)
	var dirs []string
	for _, t := range g.Tools {
		for _, program := range t.Programs {
			file, err := b.Value(graph.Ref{Scope: graph.ScopeTool, Name: g.ToolName(t), Attr: program}, "")
			var missing *bind.MissingToolError
			if errors.As(err, &missing) {
				a.say("%v", err)
			}
			if d := filepath.Dir(file); err == nil && filepath.IsAbs(file) && !slices.Contains(dirs, d) && !slices.Contains(have, d) {
				dirs = append(dirs, d)
			}
		}
	}
	if len(dirs) == 0 {
		return path, false
	}
	return strings.Join(append(dirs, path), string(filepath.ListSeparator)), true
}

// holdsSecret reports whether a text holds a secret, also through exports.
func holdsSecret(g *graph.Graph, t graph.Text, depth int) bool {
	for _, p := range t {
		switch {
		case p.Ref == nil:
		case p.Ref.Scope == graph.ScopeSecret && p.Ref.Attr != "path":
			return true
		case p.Ref.Scope == graph.ScopeNode:
			name, ok := strings.CutPrefix(p.Ref.Attr, "exports.")
			n := g.Node(p.Ref.Name)
			if !ok || n == nil || n.Kind != graph.KindService || depth > 32 {
				continue
			}
			if x, ok := n.Service.Exports.Get(name); ok && holdsSecret(g, x, depth+1) {
				return true
			}
		}
	}
	return false
}

func (a *app) writeEnv(vars []bind.Var, format string) error {
	if format == "json" {
		m := make(map[string]string, len(vars))
		for _, v := range vars {
			m[v.Key] = v.Value
		}
		return a.printJSON(m)
	}
	w := bufio.NewWriter(os.Stdout)
	for _, v := range vars {
		if a.verbose {
			fmt.Fprintln(w, a.tint(dim, "# "+oneLine(v.Origin)))
		}
		switch {
		case format == "dotenv":
			fmt.Fprintf(w, "%s=%s\n", v.Key, dotenvQuote(v.Value))
		case shellName(v.Key):
			fmt.Fprintf(w, "export %s=%s\n", v.Key, shellQuote(v.Value))
		default:
			fmt.Fprintf(w, "# %s: no shell can hold a variable of this name\n", oneLine(v.Key))
		}
	}
	return w.Flush()
}

// shellName reports whether a shell takes s as the name of a variable.
func shellName(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}
