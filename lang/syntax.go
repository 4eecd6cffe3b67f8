package lang

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"go.starlark.net/syntax"

	"orrery/lang/graph"
)

var fString = regexp.MustCompile(`(?:^|\W)[fF](["'])`)

// syntaxError records a syntax error, in words for what people write.
func (r *run) syntaxError(m *module, err error) {
	var e syntax.Error
	if !errors.As(err, &e) {
		r.errors = append(r.errors, Diagnostic{Code: "syntax", File: m.ref.String(), Message: err.Error()})
		return
	}
	d := Diagnostic{Code: "syntax", Message: e.Msg}
	d = r.at(d, graph.Pos{File: m.ref.String(), Line: int(e.Pos.Line), Col: int(e.Pos.Col)}, nil, nil, "")
	at := fString.FindAllStringSubmatchIndex(d.Source, -1)
	switch {
	case len(at) > 0 && strings.Contains(e.Msg, "string literal"):
		quote := at[len(at)-1][2]
		for _, m := range at {
			if m[2] < d.Col {
				quote = m[2]
			}
		}
		d.Code, d.Col, d.EndCol = "f-string", len([]rune(d.Source[:quote])), 0
		d.Message = "Starlark has no f-strings"
		d.Hint = "write " + percent(d.Source[quote:])
	case strings.HasPrefix(strings.TrimSpace(d.Source), "import "), strings.HasPrefix(strings.TrimSpace(d.Source), "from "):
		d.Hint = `Starlark has no import: load("//lib/x.star", "name")`
	case strings.Contains(e.Msg, "got try"), strings.Contains(e.Msg, "got class"), strings.Contains(e.Msg, "got with"):
		d.Hint = "Starlark is a small Python: no classes, no exceptions, no with"
	}
	r.errors = append(r.errors, d)
}

// percent turns the text of an f-string into "..." % (...).
func percent(s string) string {
	quote := s[:1]
	end := strings.Index(s[1:], quote)
	if end < 0 {
		return `"...%s" % x`
	}
	var args []string
	text := regexp.MustCompile(`\{([^{}]*)\}`).ReplaceAllStringFunc(s[1:end+1], func(hole string) string {
		arg, _, _ := strings.Cut(hole[1:len(hole)-1], ":")
		args = append(args, arg)
		return "%s"
	})
	switch len(args) {
	case 0:
		return quote + text + quote
	case 1:
		return fmt.Sprintf("%s%s%s %% %s", quote, text, quote, args[0])
	}
	return fmt.Sprintf("%s%s%s %% (%s)", quote, text, quote, strings.Join(args, ", "))
}

var requires = regexp.MustCompile(`(?s)^project\s*\(.*?requires\s*=\s*["']([^"']*)["']`)

// satisfied looks at project(requires =) before anything else of the file, so
// that a file for a newer version brings that one error.
func (r *run) satisfied(name string, src []byte) bool {
	text := string(src)
	at := -1
	for i := 0; i < len(text); i++ {
		if strings.HasPrefix(text[i:], "project") && (i == 0 || text[i-1] == '\n') {
			at = i
			break
		}
	}
	if at < 0 {
		return true
	}
	m := requires.FindStringSubmatchIndex(text[at:])
	if m == nil || strings.Contains(text[at:at+m[2]], "\n\n") {
		return true
	}
	want := text[at+m[2] : at+m[3]]
	ok, err := graph.Satisfies(r.opt.Version, want)
	if ok && err == nil {
		return true
	}
	head := text[:at+m[2]]
	d := Diagnostic{Code: "requires", File: name, Line: 1 + strings.Count(head, "\n"), Col: len([]rune(head[strings.LastIndex(head, "\n")+1:])),
		Message: fmt.Sprintf("this project requires orrery %s, and this is %s", want, r.opt.Version), Hint: "install a version that fits"}
	if err != nil {
		d.Message, d.Hint = "requires: "+err.Error(), ""
	}
	d.Source = strings.Split(text, "\n")[d.Line-1]
	d.EndCol = d.Col + len(want) + 2
	r.errors = append(r.errors, d)
	return false
}
