package convert

import (
	"fmt"
	"slices"
	"strings"
)

// expr is an expression of Starlark that can be written on one line or broken
// into several.
type expr struct {
	text        string // the whole, or the name of what is called
	open, close string // brackets; "": text is all
	items       []arg
	tail        string // of a comprehension, behind its one item
}

// arg is an item between brackets: keyword, key of a dict, or neither.
type arg struct {
	key   string // as written, with its " = " or ": "
	value expr
}

// raw is an expression as it is written.
func raw(format string, args ...any) expr { return expr{text: fmt.Sprintf(format, args...)} }

// quoted is a string; text with the brackets of a reference is taken as it is.
func quoted(s string) expr {
	q := quote(s)
	if strings.ContainsAny(s, "⟦⟧") {
		q = "literal(" + q + ")"
	}
	return expr{text: q}
}

// quote writes a string of Starlark; one of several lines is written as such.
func quote(s string) string {
	if !strings.Contains(strings.TrimSuffix(s, "\n"), "\n") || strings.ContainsAny(s, "\r\x00") {
		return escape(s, `"`, "")
	}
	return escape(s, `"""`, "\n")
}

// escape writes s between quotes; what is in keep stays as it is.
func escape(s, quotes, keep string) string {
	var b strings.Builder
	b.WriteString(quotes)
	for _, c := range s {
		switch {
		case strings.ContainsRune(keep, c):
			b.WriteRune(c)
		case c == '\\' || c == '"':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\r':
			b.WriteString(`\r`)
		case c < 0x20 || c == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteString(quotes)
	return b.String()
}

func number[T int | int64](n T) expr { return raw("%d", n) }

func list(items ...expr) expr {
	e := expr{open: "[", close: "]"}
	for _, it := range items {
		e.items = append(e.items, arg{"", it})
	}
	return e
}

func texts(items []string) expr {
	var all []expr
	for _, s := range items {
		all = append(all, quoted(s))
	}
	return list(all...)
}

// pair is an entry of a dict.
func pair(key string, value expr) arg { return arg{quote(key) + ": ", value} }

func dict(entries ...arg) expr { return expr{open: "{", close: "}", items: entries} }

// kw is a keyword argument.
func kw(name string, value expr) arg { return arg{name + " = ", value} }

// pos is a positional argument.
func pos(value expr) arg { return arg{"", value} }

func call(name string, args ...arg) expr {
	return expr{text: name, open: "(", close: ")", items: args}
}

// line is the expression without line breaks of its own.
func (e expr) line() string {
	if e.open == "" {
		return e.text
	}
	var parts []string
	for _, it := range e.items {
		parts = append(parts, it.key+it.value.line())
	}
	return e.text + e.open + strings.Join(parts, ", ") + e.tail + e.close
}

// lineWidth is how long a line gets before it is broken.
const lineWidth = 110

// write writes the expression at a depth of indentation, used being what the
// line holds before it.
func (e expr) write(b *strings.Builder, depth, used int) {
	one := e.line()
	first, _, _ := strings.Cut(one, "\n")
	if e.open == "" || len(e.items) == 0 || used+len(first) <= lineWidth && !strings.Contains(one, "\n") {
		b.WriteString(one)
		return
	}
	if len(e.items) == 1 && e.items[0].value.open != "" && e.open == "(" && e.items[0].key == "" {
		b.WriteString(e.text + e.open)
		e.items[0].value.write(b, depth, used+len(e.text)+1)
		b.WriteString(e.close)
		return
	}
	b.WriteString(e.text + e.open + "\n")
	indent := strings.Repeat("    ", depth+1)
	for _, it := range e.items {
		b.WriteString(indent + it.key)
		it.value.write(b, depth+1, len(indent)+len(it.key))
		if e.tail == "" {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	if e.tail != "" {
		b.WriteString(indent + strings.TrimSpace(e.tail) + "\n")
	}
	b.WriteString(strings.Repeat("    ", depth) + e.close)
}

// Text is the services.star. It is in the style of orrery fmt but for details
// that only a formatter knows; whoever writes it runs it through that.
func (d *Draft) Text() []byte {
	var b strings.Builder
	if d.doc != "" {
		fmt.Fprintf(&b, "%s\n\n", escape(d.doc, `"""`, "\n"))
	}
	slices.SortFunc(d.loads, func(a, b load) int { return strings.Compare(a.file, b.file) })
	for _, l := range d.loads {
		slices.Sort(l.names)
		args := []arg{pos(quoted(l.file))}
		for _, n := range l.names {
			args = append(args, pos(quoted(n)))
		}
		b.WriteString(call("load", args...).line() + "\n")
	}
	if len(d.loads) > 0 {
		b.WriteByte('\n')
	}
	if len(d.project) > 0 {
		call("project", d.project...).write(&b, 0, 0)
		b.WriteString("\n\n")
	}
	for _, p := range d.params {
		p.write(&b)
	}
	if len(d.params) > 0 {
		b.WriteByte('\n')
	}
	for i, c := range d.decls {
		if i > 0 {
			b.WriteByte('\n')
		}
		c.write(&b)
	}
	return []byte(strings.TrimRight(b.String(), "\n") + "\n")
}

func (c decl) write(b *strings.Builder) {
	for _, l := range c.comment {
		b.WriteString(strings.TrimRight("# "+strings.ReplaceAll(l, "\n", " "), " ") + "\n")
	}
	if c.value.text == "" && c.value.open == "" {
		return
	}
	head := ""
	if c.target != "" {
		head = c.target + " = "
	}
	b.WriteString(head)
	e := c.value
	if e.open == "(" && len(e.items) > 3 { // a declaration has a field a line, but for the smallest
		e.broken(b, head)
	} else {
		e.write(b, 0, len(head))
	}
	b.WriteByte('\n')
}

// broken writes a call with an argument a line, its name on a line of its own.
func (e expr) broken(b *strings.Builder, head string) {
	one := e.line()
	if len(head)+len(one) <= 80 && !strings.Contains(one, "\n") {
		b.WriteString(one)
		return
	}
	b.WriteString(e.text + e.open + "\n")
	for _, it := range e.items {
		b.WriteString("    " + it.key)
		it.value.write(b, 1, 4+len(it.key))
		b.WriteString(",\n")
	}
	b.WriteString(e.close)
}

// comprehension is [value for i in range(n)].
func comprehension(value expr, n int) expr {
	return expr{open: "[", close: "]", items: []arg{pos(value)}, tail: fmt.Sprintf(" for i in range(%d)", n)}
}
