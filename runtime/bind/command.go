package bind

import (
	"errors"
	"fmt"

	"orrery/lang/graph"
)

// Command is the command of a node, bound.
func (b *Binding) Command(node string) (Cmd, error) {
	n := b.g.Node(node)
	if n == nil {
		return Cmd{}, fmt.Errorf("cannot tell the command of %q: there is no such node", node)
	}
	if n.Kind == graph.KindTask {
		return b.Cmd(n.Task.Command, node)
	}
	return b.Cmd(&n.Service.Command, node)
}

// Cmd is a command of a node: of a probe, of stop, status. An argv is filled argument by argument; a script reads its
// references from variables, so that they reach the shell as exactly their values.
func (b *Binding) Cmd(c *graph.Command, node string) (Cmd, error) {
	if c == nil || len(c.Argv) == 0 && c.Script == nil {
		return Cmd{}, fmt.Errorf("cannot tell the command of %s: %w", node, errors.New("it has none"))
	}
	if c.Script == nil {
		argv, err := b.Argv(c.Argv, node)
		return Cmd{Argv: argv}, err
	}
	return b.script(c, node)
}

// Argv is a list of texts, filled.
func (b *Binding) Argv(texts []graph.Text, node string) ([]string, error) {
	argv := make([]string, len(texts))
	for i, t := range texts {
		s, err := b.Fill(t, node)
		if err != nil {
			return nil, fmt.Errorf("cannot tell the command of %s: %w", node, err)
		}
		argv[i] = s
	}
	return argv, nil
}

// shell runs scripts: -e ends them at the first failure, -u at an unset variable.
const shell = "/bin/sh"

func (b *Binding) script(c *graph.Command, node string) (Cmd, error) {
	s, err := c.Script.Shell()
	if err != nil {
		return Cmd{}, fmt.Errorf("cannot tell the command of %s: %w", node, err)
	}
	cmd := Cmd{Argv: []string{shell, "-euc", s.Text}, Script: true}
	for i, r := range s.Refs {
		v, err := b.Value(r, node)
		if err != nil {
			return Cmd{}, fmt.Errorf("cannot tell the command of %s: %w", node, err)
		}
		cmd.Env = append(cmd.Env, graph.ScriptVar(i)+"="+v)
	}
	return cmd, nil
}
