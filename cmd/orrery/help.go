package main

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"orrery/lang/graph"
	"orrery/lang/spec"
)

// helpCommand is help for verbs, as usual, and for the declaration language.
func helpCommand(a *app, root *cobra.Command) *cobra.Command {
	var man string
	c := &cobra.Command{
		Use:   "help [VERB | DECLARATION[.FIELD] | agents | json [VERB]]",
		Short: "Help on a verb, or on what services.star can say",
		Long: `Shows help on a verb, or what the language reference says of a declaration, a
constructor or a field. "help agents" is a guide for programs that work in a
repository with orrery, "help json" says what --json prints, and "help json VERB" is
the JSON Schema of what that verb prints.

With --man the manual pages of all verbs are written to a folder, for man(1). With
--json the help is an object.`,
		Example: `  orrery help up
  orrery help service
  orrery help service.ready
  orrery help probe.http
  orrery help json status
  orrery help --man ~/.local/share/man/man1`,
		GroupID: groupShare,
		RunE: func(_ *cobra.Command, args []string) error {
			if man != "" {
				return a.writeManuals(root, man)
			}
			switch {
			case len(args) == 0:
				return root.Help()
			case args[0] == "json" && len(args) <= 3:
				return a.helpJSON(strings.Join(args[1:], " "))
			}
			return a.helpOn(root, strings.Join(args, " "))
		},
	}
	c.Flags().StringVar(&man, "man", "", "write the manual pages into the folder `DIR`")
	return c
}

// agentsGuide is what help agents prints.
//
//go:embed agents.txt
var agentsGuide string

const jsonGuide = `With --json, standard output is JSON and nothing else; messages go to standard error.
Verbs that follow something (up, logs -f, status -w, down, run --watch) print a value a
line. "orrery version --json" tells the version of all that is printed: it grows only when
a reader that keeps to the schemas would no longer understand. Ignore fields that you do
not know. When a verb fails before it has data, standard output is empty, standard error
says why, and the exit code says which kind of failure it is (orrery help).

"orrery help json VERB" is the JSON Schema of what a verb prints:

`

// guideTexts are the topics of help that are neither a verb nor of the language.
func guideTexts() map[string]string {
	return map[string]string{"agents": agentsGuide}
}

func guideNames() []string { return append(sortedKeys(guideTexts()), "json") }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// helpOn shows what is known of a topic. A word that is both a verb and part of
// the language gets both.
func (a *app) helpOn(root *cobra.Command, name string) error {
	verb, rest, err := root.Find(strings.Fields(name))
	isVerb := err == nil && verb != root && len(rest) == 0 && !verb.Hidden
	text, isWord, nearest := spec.Help(name)
	if guide, ok := guideTexts()[name]; ok {
		text, isWord = guide, true
	}
	switch {
	case isVerb && a.json:
		return a.printJSON(describe(verb))
	case isWord && a.json:
		return a.printJSON(topic{name, text})
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
	if s := graph.Suggest(name, append(verbNames(root), guideNames()...)); s != "" {
		nearest = s
	}
	e := usageError{fmt.Errorf("there is no help on %q", name)}
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
