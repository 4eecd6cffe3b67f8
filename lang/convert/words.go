package convert

import (
	"slices"
	"strconv"
	"strings"
)

// text is a string in the making: literals, and code whose value is a string.
type text []piece

type piece struct{ lit, code string }

// expr is the text as an expression.
func (t text) expr() expr {
	var joined text
	for _, p := range t {
		if p.code == "" {
			joined = joined.add(p.lit)
		} else {
			joined = append(joined, p)
		}
	}
	var parts []string
	for _, p := range joined {
		if p.code != "" {
			parts = append(parts, p.code)
		} else {
			parts = append(parts, quoted(p.lit).line())
		}
	}
	if len(parts) == 0 {
		return quoted("")
	}
	return raw("%s", strings.Join(parts, " + "))
}

// plain is the text if it holds no code.
func (t text) plain() (string, bool) {
	s := ""
	for _, p := range t {
		if p.code != "" {
			return "", false
		}
		s += p.lit
	}
	return s, true
}

func (t text) add(lit string) text {
	if lit == "" {
		return t
	}
	if n := len(t); n > 0 && t[n-1].code == "" {
		t[n-1].lit += lit
		return t
	}
	return append(t, piece{lit: lit})
}

// interpolated reads ${VAR} and its variants, $$ and, if bare, $VAR. What the
// environment said there is a parameter here.
func (d *Draft) interpolated(s string, line int, bare bool) text {
	var t text
	for s != "" {
		i := strings.IndexByte(s, '$')
		if i < 0 || i == len(s)-1 {
			break
		}
		t = t.add(s[:i])
		s = s[i:]
		name, body, rest, ok := variableAt(s, bare)
		switch {
		case strings.HasPrefix(s, "$$"):
			t, s = t.add("$"), s[2:]
		case !ok:
			t, s = t.add("$"), s[1:]
		default:
			t = append(t, piece{code: d.variableOf(name, body, line)})
			s = rest
		}
	}
	if t = t.add(s); t == nil {
		return text{{}}
	}
	return t
}

// variableAt reads a variable at the beginning of s: its name and what follows
// the name between the braces.
func variableAt(s string, bare bool) (name, body, rest string, ok bool) {
	inner := s[1:]
	braces := strings.HasPrefix(inner, "{")
	if braces {
		inner = inner[1:]
	} else if !bare {
		return "", "", "", false
	}
	n := 0
	for n < len(inner) && (inner[n] == '_' || inner[n] >= 'a' && inner[n] <= 'z' || inner[n] >= 'A' && inner[n] <= 'Z' || n > 0 && inner[n] >= '0' && inner[n] <= '9') {
		n++
	}
	if n == 0 {
		return "", "", "", false
	}
	name, inner = inner[:n], inner[n:]
	if !braces {
		return name, "", inner, true
	}
	depth := 1
	for i := range len(inner) {
		switch inner[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return name, inner[:i], inner[i+1:], true
			}
		}
	}
	return "", "", "", false
}

// variableOf is the code for the value of a variable with its operator.
func (d *Draft) variableOf(name, body string, line int) string {
	op := strings.TrimLeft(body, ":")
	fallback := ""
	if op != "" {
		fallback = op[1:]
		switch op[0] {
		case '?':
			d.warn(line, "${%s%s} fails when %s is not set; here the parameter is empty then", name, body, name)
			fallback = ""
		case '+':
			v := d.param(name, "", line)
			return "(" + quote(fallback) + " if " + v + " else \"\")"
		case '-':
		default:
			d.warn(line, "${%s%s} is not understood; %s alone was taken", name, body, name)
			fallback = ""
		}
	}
	return d.param(name, fallback, line)
}

// param declares a parameter for a variable of the environment and returns its
// variable.
func (d *Draft) param(name, fallback string, line int) string {
	lower := strings.ToLower(name)
	for _, p := range d.params {
		if p.name == lower {
			return p.target
		}
	}
	d.warn(line, "%s was read from the environment; it is a parameter now: --set %s=VALUE, or ORRERY_PARAM_%s", name, lower, strings.ToUpper(name))
	value := quoted(fallback)
	if _, err := d.read(".env"); err == nil {
		d.dotenvDict()
		value = raw("dotenv.get(%s, %s)", quote(name), quote(fallback))
	}
	p := decl{name: lower, target: d.variable(lower), value: call("param", pos(quoted(lower)), kw("default", value))}
	d.params = append(d.params, p)
	return p.target
}

// dotenvDict declares what .env holds: values stay in that file, for secrets
// are among them.
func (d *Draft) dotenvDict() {
	for _, p := range d.params {
		if p.target == "dotenv" {
			return
		}
	}
	d.variable("dotenv")
	d.params = append(d.params, decl{comment: []string{"What .env says; the parameters below take it as their default."}, target: "dotenv", value: raw(
		`{kv[0].strip().removeprefix("export ").strip(): kv[2].strip().strip("\"'") for kv in [line.partition("=") for line in read(".env").splitlines()] if kv[1] and not kv[0].strip().startswith("#")}`)})
}

// words cuts a command into words where a shell would do nothing else with it;
// ok is false when it would: a variable, an operator, a builtin ...
func words(s string) (argv []string, ok bool) {
	s = strings.TrimSpace(s)
	var word strings.Builder
	started := false
	end := func() {
		if started {
			argv = append(argv, word.String())
			word.Reset()
			started = false
		}
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == ' ' || c == '\t':
			end()
		case c == '\'' || c == '"':
			j := strings.IndexByte(s[i+1:], c)
			if j < 0 || c == '"' && strings.ContainsAny(s[i+1:i+1+j], "$`\\!") {
				return nil, false
			}
			word.WriteString(s[i+1 : i+1+j])
			started = true
			i += j + 1
		case c == '\\' && i+1 < len(s) && s[i+1] > ' ' && s[i+1] < 0x7f:
			i++
			word.WriteByte(s[i])
			started = true
		case strings.IndexByte("@%+=:,./-_", c) >= 0, c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= 0x80:
			word.WriteByte(c)
			started = true
		default:
			return nil, false
		}
	}
	end()
	if len(argv) > 1 && argv[0] == "exec" && !strings.HasPrefix(argv[1], "-") {
		argv = argv[1:]
	}
	if len(argv) == 0 || strings.Contains(argv[0], "=") || slices.Contains(shellWords(), argv[0]) {
		return nil, false
	}
	return argv, true
}

// shellWords are what a shell carries out itself.
func shellWords() []string {
	return strings.Fields(`. : [ alias bg break case cd command continue declare do done echo elif else esac eval exec exit export
		false fc fg fi for function getopts hash if in jobs let local printf pwd read readonly return select set shift
		shopt source test then time times trap true type ulimit umask unalias unset until wait while {`)
}

// command is a command line of a shell as the argv that does the same: the
// words themselves where they suffice, else the shell.
func command(s string, shell []string) expr {
	if argv, ok := words(s); ok {
		return texts(argv)
	}
	return list(append(texts(shell).values(), quoted(s))...)
}

// values are the items of a list.
func (e expr) values() []expr {
	var all []expr
	for _, it := range e.items {
		all = append(all, it.value)
	}
	return all
}

// shellQuote is a word for sh that stands for s.
func shellQuote(s string) string {
	if _, ok := words(s); ok && !strings.ContainsAny(s, " \t'\"") {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// wholeNumber reads a number of a foreign file.
func wholeNumber(s string) (int, bool) {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	return n, err == nil
}
