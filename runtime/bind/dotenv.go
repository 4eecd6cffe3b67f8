package bind

import (
	"bytes"
	"fmt"
	"strings"
)

// ParseDotenv reads the lines of a .env file: KEY=VALUE, in order. Blank lines, comments, and "export " before a key are
// allowed. A bare value ends at the line's end or at a # after a blank, and is trimmed; '...' is taken as it is; in "..." the
// escapes \n \r \t \" \\ \$ count; both may span lines. Nothing is expanded. An error begins with the line's number. Of the
// results, only Key and Value are set.
func ParseDotenv(text []byte) ([]Var, error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	p := dotenvParser{rest: strings.ReplaceAll(string(text), "\r\n", "\n"), line: 1}
	var vars []Var
	for p.rest != "" {
		v, ok, err := p.next()
		if err != nil {
			return nil, fmt.Errorf("%d: %w", p.line, err)
		}
		if ok {
			vars = append(vars, v)
		}
	}
	return vars, nil
}

type dotenvParser struct {
	rest string
	line int // where the entry at hand begins, from 1
}

// next reads one line, or an entry whose quotes span several.
func (p *dotenvParser) next() (v Var, ok bool, err error) {
	line, after, _ := strings.Cut(p.rest, "\n")
	trimmed := strings.TrimSpace(line)
	if trimmed == "" || trimmed[0] == '#' {
		p.rest = after
		p.line++
		return v, false, nil
	}
	key, _, found := strings.Cut(line, "=")
	name := strings.TrimSpace(key)
	if word, rest, cut := strings.Cut(name, " "); cut && word == "export" {
		name = strings.TrimSpace(rest)
	}
	if !found || !validKey(name) {
		return v, false, fmt.Errorf("got %q, want KEY=VALUE", head(trimmed, 40))
	}
	value, rest, err := dotenvValue(p.rest[len(key)+1:])
	if err != nil {
		return v, false, fmt.Errorf("%s: %w", name, err)
	}
	if strings.IndexByte(value, 0) >= 0 {
		return v, false, fmt.Errorf("%s: it holds a NUL byte, which no program can be given", name)
	}
	p.line += strings.Count(p.rest[:len(p.rest)-len(rest)], "\n")
	p.rest = rest
	return Var{Key: name, Value: value}, true, nil
}

func validKey(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := c == '_' || c == '.' || c == '-' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// dotenvValue reads a value and what follows it up to the end of its line.
func dotenvValue(s string) (value, rest string, err error) {
	s = strings.TrimLeft(s, " \t")
	if s == "" || s[0] != '\'' && s[0] != '"' {
		line, rest, _ := strings.Cut(s, "\n")
		for i := 0; i < len(line); i++ {
			if line[i] == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t') {
				line = line[:i]
				break
			}
		}
		return strings.TrimSpace(line), rest, nil
	}
	quote := s[0]
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == quote:
			line, rest, _ := strings.Cut(s[i+1:], "\n")
			if t := strings.TrimSpace(line); t != "" && t[0] != '#' {
				return "", "", fmt.Errorf("got %q after the closing quote, want the end of the line", head(t, 20))
			}
			return b.String(), rest, nil
		case c == '\\' && quote == '"' && i+1 < len(s):
			i++
			b.WriteString(unescape(s[i]))
		default:
			b.WriteByte(c)
		}
	}
	return "", "", fmt.Errorf("the quote %c is never closed", quote)
}

// unescape is what \c means in double quotes; of an unknown one the backslash stays.
func unescape(c byte) string {
	switch c {
	case 'n':
		return "\n"
	case 'r':
		return "\r"
	case 't':
		return "\t"
	case '"', '\\', '$':
		return string([]byte{c})
	}
	return `\` + string([]byte{c})
}

func head(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "..."
	}
	return s
}
