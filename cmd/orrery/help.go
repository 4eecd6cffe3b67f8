package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"orrery/lang/graph"
	"orrery/lang/spec"
)

// helpCommand is help for verbs, as usual, and for the declaration language.
func helpCommand(a *app, root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [VERB|DECLARATION[.FIELD]]",
		Short: "Help on a verb, or on what services.star can say",
		Long: `Shows help on a verb, or what the language reference says of a declaration, a
constructor or a field.`,
		Example: `  orrery help up
  orrery help service
  orrery help service.ready
  orrery help probe.http`,
		GroupID: groupShare,
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return verbNames(root), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return root.Help()
			}
			return helpOn(root, strings.Join(args, " "))
		},
	}
}

// helpOn shows what is known of a topic. A word that is both a verb and part of
// the language gets both.
func helpOn(root *cobra.Command, topic string) error {
	verb, rest, err := root.Find(strings.Fields(topic))
	isVerb := err == nil && verb != root && len(rest) == 0 && !verb.Hidden
	text, isWord, nearest := spec.Help(topic)
	switch {
	case isVerb:
		verb.InitDefaultHelpFlag()
		if err := verb.Help(); err != nil || !isWord {
			return err
		}
		fmt.Printf("\nIn services.star:\n\n%s", text)
		return nil
	case isWord:
		fmt.Print(text)
		return nil
	}
	if s := graph.Suggest(topic, verbNames(root)); s != "" {
		nearest = s
	}
	e := usageError{fmt.Errorf("there is no help on %q", topic)}
	if nearest == "" {
		return hinted{e, "orrery help lists the verbs; orrery help service shows a declaration"}
	}
	return hinted{e, fmt.Sprintf("did you mean orrery help %s?", nearest)}
}

func verbNames(root *cobra.Command) []string {
	var names []string
	for _, c := range root.Commands() {
		if !c.Hidden {
			names = append(names, c.Name())
		}
	}
	return names
}
