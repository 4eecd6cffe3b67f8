package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// jsonVersion is that of all that --json prints. It grows when a reader that
// keeps to the schemas would no longer understand; new fields do not count.
const jsonVersion = 1

// schemas are the JSON Schemas of what the verbs print, with the comments of
// the types: written by a test from the types themselves.
//
//go:embed schema.json
var schemas []byte

// refusals are the verbs without JSON, and why.
func refusals() map[string]string {
	return map[string]string{
		"attach":     "it connects terminals; orrery logs --json shows what a service prints",
		"exec":       "it becomes the command; orrery env --json shows the environment",
		"completion": "it prints a script for a shell",
		"demo":       "it is to be looked at; orrery up --json tells the events of a project",
		"export":     "it prints a file of another program; orrery plan --json and graph --json tell what it is made of",
	}
}

// refuseJSON says that a verb has no JSON, before it does anything.
func (a *app) refuseJSON(c *cobra.Command, _ []string) error {
	if !a.json {
		return nil
	}
	verb, _, _ := strings.Cut(strings.TrimPrefix(c.CommandPath(), "orrery "), " ")
	if why, ok := refusals()[verb]; ok {
		return hinted{usageError{fmt.Errorf("%s has no JSON", verb)}, why}
	}
	return nil
}

// asJSON has a verb with a --format use its JSON for --json.
func (a *app) asJSON(c *cobra.Command, format *string) error {
	if !a.json {
		return nil
	}
	if c.Flags().Changed("format") && *format != "json" {
		return twoForms(*format)
	}
	*format = "json"
	return nil
}

func twoForms(format string) error {
	return usageError{fmt.Errorf("got --json and --format %s, want one of them", format)}
}

// described is a verb in the JSON of help.
type described struct {
	Name     string          `json:"name"` // with those before it: "orrery cache stats"
	Short    string          `json:"short"`
	Usage    string          `json:"usage"`
	Long     string          `json:"long,omitempty"`
	Examples string          `json:"examples,omitempty"`
	Flags    []describedFlag `json:"flags"`
	Verbs    []describedVerb `json:"verbs,omitempty"` // those below it
}

// describedFlag is a flag of a verb.
type describedFlag struct {
	Name      string `json:"name"`
	Shorthand string `json:"shorthand,omitempty"`
	Type      string `json:"type"` // string, bool, int, duration, stringArray ...
	Default   string `json:"default,omitempty"`
	Usage     string `json:"usage"`
	Global    bool   `json:"global,omitempty"` // every verb has it
}

// describedVerb is a verb in a list of verbs.
type describedVerb struct {
	Name  string `json:"name"`
	Short string `json:"short"`
}

// topic is what help says of a word of the language, or of a guide.
type topic struct {
	Topic string `json:"topic"`
	Text  string `json:"text"`
}

func describe(c *cobra.Command) described {
	d := described{Name: c.CommandPath(), Short: c.Short, Usage: c.UseLine(), Long: c.Long, Examples: c.Example, Flags: []describedFlag{}}
	add := func(global bool) func(*pflag.Flag) {
		return func(f *pflag.Flag) {
			if !f.Hidden {
				d.Flags = append(d.Flags, describedFlag{f.Name, f.Shorthand, f.Value.Type(), f.DefValue, f.Usage, global})
			}
		}
	}
	c.NonInheritedFlags().VisitAll(add(!c.HasParent()))
	c.InheritedFlags().VisitAll(add(true))
	for _, sub := range c.Commands() {
		if !sub.Hidden {
			d.Verbs = append(d.Verbs, describedVerb{sub.Name(), sub.Short})
		}
	}
	return d
}

// helpFunc is the help of cobra, or JSON.
func (a *app) helpFunc(text func(*cobra.Command, []string)) func(*cobra.Command, []string) {
	return func(c *cobra.Command, args []string) {
		if !a.json {
			text(c, args)
			return
		}
		_ = a.printJSON(describe(c)) // cobra has no place for the error
	}
}

// schemaBook is schema.json.
type schemaBook struct {
	Version int                        `json:"version"`
	Verbs   map[string]schemaOfVerb    `json:"verbs"`
	Defs    map[string]json.RawMessage `json:"$defs"`
}

// schemaOfVerb is what one verb prints.
type schemaOfVerb struct {
	Stream bool            `json:"stream,omitempty"` // a value a line
	Note   string          `json:"note,omitempty"`
	Schema json.RawMessage `json:"schema"`
}

// helpJSON prints what --json prints: all verbs, or the schemas of one.
func (a *app) helpJSON(verb string) error {
	if verb == "" && a.json {
		return a.printJSON(json.RawMessage(schemas))
	}
	var book schemaBook
	if err := json.Unmarshal(schemas, &book); err != nil {
		return fmt.Errorf("cannot read our own schemas: %w", err)
	}
	if verb == "" {
		fmt.Print(jsonGuide)
		for _, name := range sortedKeys(book.Verbs) {
			fmt.Println("  orrery " + name)
		}
		return nil
	}
	picked := schemaBook{Version: book.Version, Verbs: map[string]schemaOfVerb{}, Defs: map[string]json.RawMessage{}}
	for name, v := range book.Verbs {
		if name == verb || strings.HasPrefix(name, verb+" ") {
			picked.Verbs[name] = v
			book.reach(v.Schema, picked.Defs)
		}
	}
	if len(picked.Verbs) == 0 {
		if why, ok := refusals()[verb]; ok {
			return hinted{usageError{fmt.Errorf("%s has no JSON", verb)}, why}
		}
		return hinted{usageError{fmt.Errorf("there is no verb %q with JSON", verb)}, "orrery help json lists them"}
	}
	return a.printJSON(picked)
}

// reach adds the definitions that a schema refers to.
func (b *schemaBook) reach(schema json.RawMessage, into map[string]json.RawMessage) {
	for name, def := range b.Defs {
		if _, has := into[name]; !has && strings.Contains(string(schema), `"#/$defs/`+name+`"`) {
			into[name] = def
			b.reach(def, into)
		}
	}
}
