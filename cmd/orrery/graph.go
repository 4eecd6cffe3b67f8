package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"orrery/lang/export"
	"orrery/lang/graph"
)

func graphCommand(a *app) *cobra.Command {
	var format string
	var names []string
	for _, f := range export.Formats() {
		names = append(names, f.Name)
	}
	c := &cobra.Command{
		Use:   "graph [TARGET...]",
		Short: "Draw what waits for what",
		Long: `Draws the graph of what is declared; with targets, of these and what they need.
Nothing is started.

Formats:
` + formatList(),
		Example: `  orrery graph                            as text
  orrery graph web --format mermaid       for a README
  orrery graph --format dot | dot -Tsvg   as a picture, with Graphviz`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.asJSON(c, &format); err != nil {
				return err
			}
			f, ok := export.Find(format)
			if !ok {
				return hinted{usageError{fmt.Errorf("--format: got %q, want %s", format, strings.Join(names, ", "))}, didYouMean(format, names)}
			}
			p, err := a.load(c.Context())
			if err != nil {
				return err
			}
			g, err := part(p.Graph, args)
			if err != nil {
				return err
			}
			return f.Write(os.Stdout, g, columns())
		},
	}
	c.Flags().StringVar(&format, "format", "ascii", "`FORMAT` is "+strings.Join(names, ", "))
	return c
}

func formatList() string {
	var b strings.Builder
	for _, f := range export.Formats() {
		fmt.Fprintf(&b, "  %-8s %s\n", f.Name, f.Doc)
	}
	return strings.TrimRight(b.String(), "\n")
}

// part is the graph of the targets and what they need; of no target, all.
func part(g *graph.Graph, targets []string) (*graph.Graph, error) {
	if len(targets) == 0 {
		return g, nil
	}
	names, err := g.Need(targets, graph.SelectNeeds)
	if err != nil {
		return nil, err
	}
	return g.Only(names), nil
}

// didYouMean is a hint with the nearest of some words, or "".
func didYouMean(word string, words []string) string {
	if s := graph.Suggest(word, words); s != "" {
		return fmt.Sprintf("did you mean %q?", s)
	}
	return ""
}
