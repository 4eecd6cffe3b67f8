package task

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Change is a difference between two keys.
type Change struct {
	// Kind is the first word of the line: "input", "upstream", "env", "secret", "command", "program", "tool", "cache_key", "output" ...
	// Name is what it is about: a file, a variable, the number of a step.
	Kind, Name string
	// Old and New are what was known of it then and now; empty: it was not there, or is not any more.
	Old, New string
	// Was is the name that a file had then which is the same but for its name; else empty.
	Was string
}

// Explain tells what differs between the lines of two keys: what is new or different in the order of the new lines, then what is gone. It
// is pure. Without old lines there is nothing to tell.
func Explain(old, now []string) []Change {
	if len(old) == 0 {
		return nil
	}
	type id struct{ kind, name string }
	before := map[id]string{}
	var order []id
	for _, line := range old {
		kind, name, rest := splitLine(line)
		k := id{kind, name}
		if _, twice := before[k]; !twice {
			order = append(order, k)
		}
		before[k] += rest
	}
	var changes []Change
	seen := map[id]bool{}
	for _, line := range now {
		kind, name, rest := splitLine(line)
		k := id{kind, name}
		was, ok := before[k]
		seen[k] = true
		if !ok || was != rest {
			changes = append(changes, Change{Kind: kind, Name: name, Old: was, New: rest})
		}
	}
	for _, k := range order {
		if !seen[k] {
			changes = append(changes, Change{Kind: k.kind, Name: k.name, Old: before[k]})
		}
	}
	return renamed(changes)
}

// renamed makes one change of a file that is gone and one that is new with the same content.
func renamed(changes []Change) []Change {
	type content struct{ kind, state string }
	gone := map[content][]string{}
	for _, c := range changes {
		if c.New == "" && (c.Kind == "input" || c.Kind == "upstream") {
			gone[content{c.Kind, c.Old}] = append(gone[content{c.Kind, c.Old}], c.Name)
		}
	}
	if len(gone) == 0 {
		return changes
	}
	moved := map[string]bool{}
	for i := range changes {
		c := &changes[i]
		if names := gone[content{c.Kind, c.New}]; c.Old == "" && len(names) > 0 {
			gone[content{c.Kind, c.New}] = names[1:]
			c.Was, c.Old = names[0], c.New
			moved[c.Kind+" "+c.Was] = true
		}
	}
	return slices.DeleteFunc(changes, func(c Change) bool { return c.New == "" && moved[c.Kind+" "+c.Name] })
}

// splitLine cuts a line into its kind, its name and the rest; where there is no rest it stands for itself.
func splitLine(line string) (kind, name, rest string) {
	kind, line, _ = strings.Cut(line, " ")
	if q, err := strconv.QuotedPrefix(line); err == nil {
		name, _ = strconv.Unquote(q)
		rest = strings.TrimPrefix(line[len(q):], " ")
	} else {
		name, rest, _ = strings.Cut(line, " ")
	}
	if rest == "" {
		rest = name
	}
	return kind, name, rest
}

// String is the change in words: `input src/main.go changed`, `variable LEVEL: "1", now "2"`.
func (c Change) String() string {
	what := c.Kind + " " + c.Name
	switch c.Kind {
	case "orrery-task":
		return "this version of orrery makes other keys"
	case "input", "program", "tool":
	case "upstream":
		for _, side := range []string{c.New, c.Old} {
			if i := strings.LastIndex(side, " from "); i >= 0 {
				what = c.Name + " of " + side[i+len(" from "):]
				break
			}
		}
	case "env", "secret":
		what = "variable " + c.Name
	case "command":
		what = "the command"
		if c.Name != "1" {
			what = "step " + c.Name
		}
	case "platform", "cwd", "user":
		what = c.Kind
	}
	switch {
	case c.Was != "":
		return c.Kind + " " + c.Was + " was renamed to " + c.Name
	case c.Old == "":
		return what + " is new"
	case c.New == "":
		return what + " is gone"
	}
	switch c.Kind {
	case "input", "upstream", "program", "tool":
		return what + fileChange(c.Old, c.New)
	case "secret":
		return what + " changed"
	}
	old, now := around(c.Old, c.New)
	return fmt.Sprintf("%s: %s, now %s", what, old, now)
}

// fileChange says how two states of a file differ.
func fileChange(old, now string) string {
	a, b := strings.Fields(old), strings.Fields(now)
	switch {
	case a[0] == b[0]:
		return " changed"
	case b[0] == "missing":
		return " is gone"
	case a[0] == "missing":
		return " is new"
	case slices.Contains(a, "file") && slices.Contains(b, "exec"):
		return " may be run now"
	case slices.Contains(a, "exec") && slices.Contains(b, "file"):
		return " may not be run any more"
	}
	return fmt.Sprintf(" was a %s, now a %s", a[0], b[0])
}

// around cuts two texts to where they first differ.
func around(a, b string) (string, string) {
	const before, after = 20, 60
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	i = max(0, i-before)
	for i > 0 && i < len(a) && !utf8.RuneStart(a[i]) {
		i--
	}
	return cut(a, i, before+after), cut(b, i, before+after)
}

func cut(s string, from, n int) string {
	left, right := "", ""
	if from > 0 {
		left = "…"
	}
	s = s[from:]
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s, right = s[:n], "…"
	}
	return left + s + right
}
