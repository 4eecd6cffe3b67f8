package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"orrery/lang"
	"orrery/lang/graph"
)

func portCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "port NAME[.PORT]",
		Short: "Print the number of a service's port",
		Long: `Prints the number of a port: the one of the running engine; when none runs, the one
of the last run, else the one declared. The port's name is needed only where the
service has several.

With --json it prints {"node", "port", "number", "source"}, where source is
"engine", "lease" or "declared".`,
		Example: `  orrery port web
  psql -p "$(orrery port db.tcp)"`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("port takes one NAME or NAME.PORT, got %d", len(args))}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			p, err := a.load(c.Context())
			if err != nil {
				return err
			}
			return a.port(c.Context(), p, args[0])
		},
	}
}

// portInfo is the JSON of port.
type portInfo struct {
	Node   string `json:"node"`
	Port   string `json:"port"`
	Number int    `json:"number"` // what clients connect to
	Source string `json:"source"` // engine (it runs), lease (the last run) or declared
}

func (a *app) port(ctx context.Context, p *lang.Project, arg string) error {
	node, name, err := findPort(p.Graph, arg)
	if err != nil {
		return err
	}
	look, err := a.lookOut(ctx, p, nil)
	if err != nil {
		return err
	}
	ref := graph.Ref{Name: node, Attr: "ports." + name}
	value, err := look.binding.Value(ref, "")
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(value)
	if err != nil {
		return fmt.Errorf("cannot tell the port %s of %s: got %q", name, node, value)
	}
	if !a.json {
		_, err = fmt.Fprintln(os.Stdout, number)
		return err
	}
	return a.printJSON(portInfo{Node: node, Port: name, Number: number, Source: look.source[ref.String()]})
}

// findPort reads NAME or NAME.PORT; NAME.ports.PORT, as in services.star, is
// taken too.
func findPort(g *graph.Graph, arg string) (node, port string, err error) {
	node, port, named := strings.Cut(arg, ".")
	port = strings.TrimPrefix(port, "ports.")
	n, err := oneNode(g, "port", node)
	if err != nil {
		return "", "", err
	}
	if n.Kind != graph.KindService {
		return "", "", usageError{fmt.Errorf("%s is a task: only services have ports", node)}
	}
	all := n.Service.PortNames()
	switch {
	case len(all) == 0:
		return "", "", usageError{fmt.Errorf("%s has no ports", node)}
	case named && slices.Contains(all, port):
		return node, port, nil
	case named:
		e := unknown(arg, qualified(node, all))
		return "", "", hinted{e, fmt.Sprintf("%s has %s", node, strings.Join(all, ", "))}
	case len(all) > 1:
		return "", "", hinted{usageError{fmt.Errorf("%s has %d ports", node, len(all))}, "name one: " + strings.Join(qualified(node, all), ", ")}
	}
	return node, all[0], nil
}

func qualified(node string, ports []string) []string {
	all := make([]string, len(ports))
	for i, p := range ports {
		all[i] = node + "." + p
	}
	return all
}
