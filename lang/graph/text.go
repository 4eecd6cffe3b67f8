package graph

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The brackets of a marker, the visible form of a reference in a string.
const (
	markerOpen  = "⟦"
	markerClose = "⟧"
)

// Scope says what kind of thing a Ref names.
type Scope string

// The scopes of references.
const (
	ScopeNode    Scope = ""        // a service or task
	ScopeSecret  Scope = "secret"  // secret(): attributes value, path
	ScopeTool    Scope = "tool"    // tool(): the attribute is a program
	ScopeConfig  Scope = "config"  // config_file() not yet taken by a service: attribute path
	ScopeProject Scope = "project" // the project: attributes root, git_root
)

// Self is the node name of a reference made through `self`, until the
// declaration that takes it puts its own name there.
const Self = "self"

// Ref is a reference to a value that is known only when the graph runs.
type Ref struct {
	Scope Scope
	Name  string // the node, secret, tool or config file
	Attr  string // "ports.http", "exports.url", "state_dir" ...; short forms are made long by New
	Weak  bool   // the text without the edge
}

// String is the marker of the reference, which ParseText reads back.
func (r Ref) String() string {
	var b strings.Builder
	b.WriteString(markerOpen)
	if r.Weak {
		b.WriteByte('~')
	}
	if r.Scope != ScopeNode {
		b.WriteString(string(r.Scope))
		b.WriteByte(':')
	}
	b.WriteString(r.Name)
	if r.Attr != "" {
		if r.Scope == ScopeNode {
			b.WriteByte('.')
		} else {
			b.WriteByte(':')
		}
		b.WriteString(r.Attr)
	}
	b.WriteString(markerClose)
	return b.String()
}

// Part is a piece of a Text: a literal, or a reference if Ref is not nil.
type Part struct {
	Lit string
	Ref *Ref
}

// Text is a string that may hold references, cut into literals and references.
// A nil Text is an absent one; the empty string has one empty literal.
type Text []Part

// Lit returns the Text of a plain string, taken as it is.
func Lit(s string) Text { return Text{{Lit: s}} }

// RefText returns the Text that is just the reference r.
func RefText(r Ref) Text { return Text{{Ref: &r}} }

// Native reports whether the text is exactly one reference, and which.
func (t Text) Native() (Ref, bool) {
	if len(t) == 1 && t[0].Ref != nil {
		return *t[0].Ref, true
	}
	return Ref{}, false
}

// Plain returns the text as a plain string; ok is false if it holds a reference.
func (t Text) Plain() (s string, ok bool) {
	if len(t) == 1 && t[0].Ref == nil {
		return t[0].Lit, true
	}
	for _, p := range t {
		if p.Ref != nil {
			return "", false
		}
		s += p.Lit
	}
	return s, true
}

// Fill returns the text with every reference replaced by what value says.
// Bound text is never looked at again: a bracket in a value stays a bracket.
func (t Text) Fill(value func(Ref) (string, error)) (string, error) {
	if len(t) == 1 && t[0].Ref == nil {
		return t[0].Lit, nil
	}
	var b strings.Builder
	for _, p := range t {
		if p.Ref == nil {
			b.WriteString(p.Lit)
			continue
		}
		s, err := value(*p.Ref)
		if err != nil {
			return "", err
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

// String is the text with markers, the form that ParseText reads.
func (t Text) String() string {
	var b strings.Builder
	for _, p := range t {
		if p.Ref != nil {
			b.WriteString(p.Ref.String())
		} else {
			b.WriteString(Escape(p.Lit))
		}
	}
	return b.String()
}

// MarshalJSON writes the marker form; a byte that is not UTF-8 is ⟦0xff⟧ there.
func (t Text) MarshalJSON() ([]byte, error) {
	if t == nil {
		return []byte("null"), nil
	}
	return marshal(escapeBytes(t.String()))
}

// UnmarshalJSON reads the marker form.
func (t *Text) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	if s == nil {
		*t = nil
		return nil
	}
	p, err := ParseText(*s)
	*t = p
	return err
}

// Escape returns s such that ParseText gives it back as one literal.
func Escape(s string) string {
	if !strings.Contains(s, markerOpen) && !strings.Contains(s, markerClose) {
		return s
	}
	return strings.NewReplacer(
		markerOpen, markerOpen+markerOpen+markerClose,
		markerClose, markerOpen+markerClose+markerClose,
	).Replace(s)
}

// escapeBytes writes each byte that is not UTF-8 as ⟦0xff⟧: JSON would replace
// it, and an argv is given to execve byte for byte.
func escapeBytes(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for s != "" {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, "%s0x%02x%s", markerOpen, s[0], markerClose)
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// ParseText cuts a string into literals and references. A marker that was cut
// or altered is an error that quotes what is left of it.
func ParseText(s string) (Text, error) {
	if !strings.ContainsAny(s, markerOpen+markerClose) {
		return Text{{Lit: s}}, nil
	}
	var t Text
	lit := ""
	for s != "" {
		i := strings.IndexAny(s, markerOpen+markerClose)
		if i < 0 {
			lit += s
			break
		}
		lit += s[:i]
		s = s[i:]
		if strings.HasPrefix(s, markerClose) {
			return nil, fmt.Errorf("cut reference: %q has no beginning", tail(lit, 24)+markerClose)
		}
		rest := s[len(markerOpen):]
		if brk, after, ok := escaped(rest); ok {
			lit += brk
			s = after
			continue
		}
		j := strings.Index(rest, markerClose)
		if j < 0 || strings.Contains(rest[:j], markerOpen) {
			return nil, fmt.Errorf("cut reference: %q has no end", head(s, 40))
		}
		r, err := parseRef(rest[:j])
		if err != nil {
			return nil, err
		}
		if lit != "" {
			t = append(t, Part{Lit: lit})
			lit = ""
		}
		t = append(t, Part{Ref: &r})
		s = rest[j+len(markerClose):]
	}
	if lit != "" || t == nil {
		t = append(t, Part{Lit: lit})
	}
	return t, nil
}

// escaped recognises the inside of an escaped bracket or byte.
func escaped(s string) (lit, rest string, ok bool) {
	for _, b := range []string{markerOpen, markerClose} {
		if after, found := strings.CutPrefix(s, b+markerClose); found {
			return b, after, true
		}
	}
	if code, after, found := strings.Cut(s, markerClose); found && len(code) == 4 && code[:2] == "0x" {
		if n, err := strconv.ParseUint(code[2:], 16, 8); err == nil {
			return string([]byte{byte(n)}), after, true
		}
	}
	return "", s, false
}

func parseRef(s string) (Ref, error) {
	bad := func() (Ref, error) {
		return Ref{}, fmt.Errorf("altered reference: %q is not what a reference looks like", markerOpen+s+markerClose)
	}
	var r Ref
	body := s
	if after, ok := strings.CutPrefix(body, "~"); ok {
		r.Weak, body = true, after
	}
	if scope, rest, ok := strings.Cut(body, ":"); ok && !strings.Contains(scope, ".") {
		r.Scope = Scope(scope)
		switch r.Scope {
		case ScopeSecret, ScopeTool, ScopeConfig, ScopeProject:
		default:
			return bad()
		}
		r.Name, r.Attr, _ = strings.Cut(rest, ":")
		if r.Name == "" && r.Scope != ScopeProject {
			return bad()
		}
		return r, nil
	}
	name, attr, ok := strings.Cut(body, ".")
	if !ok || attr == "" || !ValidName(name) {
		return bad()
	}
	r.Name, r.Attr = name, attr
	return r, nil
}

// ValidName reports whether s is the name of a node: [a-z0-9][a-z0-9_-]*,
// nested with slashes.
func ValidName(s string) bool {
	start := true
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
			start = false
		case (c == '_' || c == '-') && !start:
		case c == '/' && !start:
			start = true
		default:
			return false
		}
	}
	return !start
}

func head(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "..."
	}
	return s
}

func tail(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return "..." + string(r[len(r)-n:])
	}
	return s
}
