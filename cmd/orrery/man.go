package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// writeManuals writes a manual page for each verb, and one for orrery.
func (a *app) writeManuals(root *cobra.Command, dir string) error {
	dir = a.inDir(dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("cannot write the manual pages: %w", err)
	}
	pages := []*cobra.Command{root}
	for i := 0; i < len(pages); i++ {
		for _, sub := range pages[i].Commands() {
			if !sub.Hidden {
				pages = append(pages, sub)
			}
		}
	}
	for _, c := range pages {
		if err := os.WriteFile(filepath.Join(dir, manName(c)+".1"), manual(c), 0o644); err != nil {
			return fmt.Errorf("cannot write the manual pages: %w", err)
		}
	}
	if a.json {
		return a.printJSON(manuals{dir, len(pages)})
	}
	a.say("%d manual pages are in %s", len(pages), dir)
	return nil
}

// manuals is the JSON of help --man.
type manuals struct {
	Dir   string `json:"dir"`   // where they are
	Pages int    `json:"pages"` // how many
}

// manName is the name of a verb's page: orrery-cache-stats.
func manName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// manual is the page of a verb in the man(7) language, the same for the same
// binary.
func manual(c *cobra.Command) []byte {
	var b bytes.Buffer
	c.InitDefaultHelpFlag()
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"orrery %s\" \"orrery\"\n", roff(strings.ToUpper(manName(c))), roff(version()))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(manName(c)), roff(c.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(c.UseLine()))
	long := c.Long
	if long == "" {
		long = c.Short + "."
	}
	section(&b, "DESCRIPTION", long)
	manFlags(&b, "OPTIONS", c.NonInheritedFlags())
	manFlags(&b, "GLOBAL OPTIONS", c.InheritedFlags())
	section(&b, "EXAMPLES", c.Example)
	also := manAlso(c)
	if len(also) > 0 {
		fmt.Fprintf(&b, ".SH SEE ALSO\n")
		for i, name := range also {
			end := ","
			if i == len(also)-1 {
				end = ""
			}
			fmt.Fprintf(&b, ".BR %s (1)%s\n", roff(name), end)
		}
	}
	return b.Bytes()
}

func manAlso(c *cobra.Command) []string {
	var also []string
	if c.HasParent() {
		also = append(also, manName(c.Parent()))
	}
	for _, sub := range c.Commands() {
		if !sub.Hidden {
			also = append(also, manName(sub))
		}
	}
	return also
}

// section is text as it stands: its lines are broken by hand, and it has tables.
func section(b *bytes.Buffer, title, text string) {
	if text == "" {
		return
	}
	fmt.Fprintf(b, ".SH %s\n.nf\n", title)
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		b.WriteString(roffLine(line) + "\n")
	}
	b.WriteString(".fi\n")
}

func manFlags(b *bytes.Buffer, title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(b, ".SH %s\n", title)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if value != "" {
			name += " " + value
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" {
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(name), roffLine(usage))
	})
}

// roff is text that means itself.
func roff(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", "\\`", "^", `\(ha`, "~", `\(ti`).Replace(oneLine(s))
}

// roffLine is a line of text: one that begins like a request is none.
func roffLine(line string) string {
	s := roff(line)
	if indent := len(line) - len(strings.TrimLeft(line, " ")); indent > 0 {
		s = strings.Repeat(" ", indent) + strings.TrimLeft(s, " ")
	}
	if strings.HasPrefix(s, ".") {
		return `\&` + s
	}
	return s
}
