package lang

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"orrery/lang/graph"
)

// Text is the manual for a terminal.
func (m *Manual) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", m.Module)
	if m.About != "" {
		fmt.Fprintf(&b, "\n%s\n", m.About)
	}
	if m.Untested != "" {
		fmt.Fprintf(&b, "\nUntested: %s\n", m.Untested)
	}
	for _, e := range m.examples {
		fmt.Fprintf(&b, "\n%s", indented(e.source))
	}
	for _, p := range m.facts() {
		fmt.Fprintf(&b, "\n%s: %s\n", p.name, p.value)
	}
	for _, e := range m.examples {
		for _, n := range e.services {
			fmt.Fprintf(&b, "\nThe example declares the service %s\n", n.Name())
			for _, p := range serviceFacts(n) {
				fmt.Fprintf(&b, "    %s: %s\n", p.name, p.value)
			}
			if len(n.Service.Exports) > 0 {
				b.WriteString("  Its attributes\n" + indented(assignments(n.Service.Exports, n.Name()+".")))
			}
			if len(n.Service.EnvExports) > 0 {
				b.WriteString("  Its variables, of orrery env and exec and of who uses it\n" + indented(assignments(n.Service.EnvExports, "")))
			}
		}
	}
	for _, f := range m.defs {
		fmt.Fprintf(&b, "\n%s\n%s", f.signature, indented(f.doc+"\n"))
	}
	return b.String()
}

// Markdown is the manual as a page.
func (m *Manual) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", strings.TrimSuffix(m.Module[strings.LastIndex(m.Module, "/")+1:], ".star"))
	if m.About != "" {
		fmt.Fprintf(&b, "\n%s\n", prose(m.About))
	}
	if m.Untested != "" {
		fmt.Fprintf(&b, "\n**Untested**: %s\n", prose(m.Untested))
	}
	for _, e := range m.examples {
		fmt.Fprintf(&b, "\n```python\n%s```\n", e.source)
	}
	for _, p := range m.facts() {
		fmt.Fprintf(&b, "\n**%s**: %s\n", p.name, prose(p.value))
	}
	for _, e := range m.examples {
		for _, n := range e.services {
			fmt.Fprintf(&b, "\n## What the example declares: `%s`\n\n| | |\n|---|---|\n", n.Name())
			for _, p := range serviceFacts(n) {
				fmt.Fprintf(&b, "| %s | %s |\n", p.name, cell(p.value))
			}
			table(&b, "attribute", n.Service.Exports, n.Name()+".")
			table(&b, "variable", n.Service.EnvExports, "")
		}
	}
	for _, f := range m.defs {
		fmt.Fprintf(&b, "\n## %s\n\n```python\n%s\n```\n\n%s\n", f.name, f.signature, prose(f.about))
		for _, e := range f.examples {
			fmt.Fprintf(&b, "\n```python\n%s```\n", e.source)
		}
		if len(f.params) > 0 {
			b.WriteString("\n| parameter | default | |\n|---|---|---|\n")
		}
		for _, p := range f.params {
			value := ""
			if p.value != "" {
				value = "`" + strings.ReplaceAll(p.value, "|", "\\|") + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", p.name, value, cell(p.about))
		}
	}
	return b.String()
}

// Row is the manual in one line of an index: what it is, how its first example
// becomes ready, and the signals that stop and reload it; "" where there is none.
func (m *Manual) Row() (about, ready, stop, reload string) {
	about, _, _ = strings.Cut(m.About, "\n")
	for _, e := range m.examples {
		for _, n := range e.services {
			return about, readyOf(n.Service), stopOf(n.Service), reloadOf(n.Service)
		}
	}
	return about, "", "", ""
}

// fact is a line about a library or a service.
type fact struct{ name, value string }

// facts are those of the library.
func (m *Manual) facts() []fact {
	var all []fact
	if m.Tested != "" {
		all = append(all, fact{"Tested", m.Tested})
	}
	seen := map[string]bool{}
	for _, e := range m.examples {
		for _, t := range e.tools {
			var packages []string
			for _, p := range t.Packages {
				packages = append(packages, p.Key+": "+p.Value)
			}
			f := fact{"Programs", strings.Join(t.Programs, ", ")}
			if len(packages) > 0 {
				f.value += " (" + strings.Join(packages, ", ") + ")"
			}
			if len(e.services) > 0 && !seen[f.value] {
				seen[f.value] = true
				all = append(all, f)
			}
		}
	}
	return all
}

// serviceFacts are those of a service that an example declares.
func serviceFacts(n *graph.Node) []fact {
	s := n.Service
	all := []fact{{"ready", readyOf(s)}, {"stop", stopOf(s)}}
	if reload := reloadOf(s); reload != "" {
		all = append(all, fact{"reload", reload})
	}
	for _, p := range s.Ports {
		all = append(all, fact{"port " + p.Key, fmt.Sprintf("%s, from %d on", cmp.Or(p.Value.Proto, "tcp"), p.Value.Base)})
	}
	for _, l := range s.Listen {
		what := fmt.Sprintf("%s, held by orrery, from %d on", l.Value.Kind, l.Value.Base)
		if strings.HasPrefix(l.Value.Kind, "unix") {
			what = l.Value.Kind + ", held by orrery"
		}
		all = append(all, fact{"socket " + l.Key, what})
	}
	for _, c := range s.Config {
		all = append(all, fact{"configuration", fmt.Sprintf("%s; a change: %s", c.Name, c.Apply)})
	}
	return all
}

func readyOf(s *graph.Service) string {
	switch {
	case s.Ready != nil && s.Ready.Path != nil:
		return s.Ready.Kind + " " + s.Ready.Path.String()
	case s.Ready != nil:
		return s.Ready.Kind
	case len(s.Ports) > 0:
		return "tcp"
	}
	return "when started"
}

func stopOf(s *graph.Service) string {
	return cmp.Or(s.Stop.Signal, s.Stop.Kind)
}

func reloadOf(s *graph.Service) string {
	switch {
	case s.Reload == nil:
		return ""
	case s.Reload.Signal != "":
		return s.Reload.Signal
	}
	return "a program"
}

// assignments are lines of "name = value", sorted.
func assignments(texts graph.Dict[graph.Text], prefix string) string {
	var lines []string
	for _, t := range texts {
		lines = append(lines, prefix+t.Key+" = "+t.Value.String()+"\n")
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// table writes the same for a page.
func table(b *strings.Builder, what string, texts graph.Dict[graph.Text], prefix string) {
	if len(texts) == 0 {
		return
	}
	fmt.Fprintf(b, "\n| %s | |\n|---|---|\n", what)
	for line := range strings.Lines(assignments(texts, prefix)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " = ")
		fmt.Fprintf(b, "| `%s` | `%s` |\n", name, strings.ReplaceAll(value, "|", "\\|"))
	}
}

// indented moves the lines that are not empty four columns to the right.
func indented(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if line != "\n" {
			b.WriteString("    ")
		}
		b.WriteString(line)
	}
	return b.String()
}

// prose keeps Markdown from reading the < and * of a docstring as its own.
func prose(text string) string {
	parts := strings.Split(text, "`")
	for n := range parts {
		if n%2 == 0 { // not code
			parts[n] = strings.NewReplacer("<", "&lt;", "*", "\\*").Replace(parts[n])
		}
	}
	return strings.Join(parts, "`")
}

// cell is prose in a table.
func cell(text string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ").Replace(prose(text))
}
