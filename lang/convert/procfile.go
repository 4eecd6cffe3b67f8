package convert

import (
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// entry of a Procfile, as foreman and honcho read it: a line "name: command".
var procfileLine = regexp.MustCompile(`^([A-Za-z0-9_-]+):\s*(.+)$`)

type process struct {
	name, command string
	line          int
}

// parseProcfile reads the lines; what is neither an entry, a comment nor empty
// is given to odd. Of two entries with one name the last counts.
func parseProcfile(data []byte, odd func(line int, text string)) []process {
	var all []process
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimRight(line, " \t\r")
		m := procfileLine.FindStringSubmatch(line)
		switch {
		case m != nil:
			at := slices.IndexFunc(all, func(p process) bool { return p.name == m[1] })
			if at >= 0 {
				odd(i+1, "a second "+m[1]+": the last one counts")
				all[at] = process{m[1], strings.TrimSpace(m[2]), i + 1}
				continue
			}
			all = append(all, process{m[1], strings.TrimSpace(m[2]), i + 1})
		case strings.TrimSpace(line) == "" || strings.HasPrefix(strings.TrimSpace(line), "#"):
		default:
			odd(i+1, "this is no \"name: command\"; left out, as foreman does")
		}
	}
	return all
}

// procfileBase and procfileStep are the ports that every manager of Procfiles
// gives: 5000 to the first process, 5100 to the second ...
const (
	procfileBase = 5000
	procfileStep = 100
)

var mentionsPort = regexp.MustCompile(`\$PORT\b|\$\{PORT\b[^{}]*\}`)

func (d *Draft) procfile(data []byte) error {
	all := parseProcfile(data, func(line int, text string) { d.warn(line, "%s", text) })
	d.doc = "From " + d.file + "."
	base := procfileBase
	if env, err := d.read(".env"); err == nil {
		d.project = append(d.project, kw("dotenv", list(quoted(".env"))))
		if n, ok := wholeNumber(dotenvValue(env, "PORT")); ok && n > 0 && n <= 65535 {
			base = n
		}
	}
	after := d.release(all)
	for i, p := range all {
		if p.name == "release" {
			continue
		}
		d.procfileService(p, min(base+i*procfileStep, 65535), after)
	}
	if len(all) > 0 {
		d.warnOnce("dies", 0, "foreman, honcho and hivemind end everything when one process ends; here one that fails is started again, and the others go on")
	}
	return nil
}

// release declares the task of an entry called release, which Heroku runs
// before all others.
func (d *Draft) release(all []process) (after []expr) {
	for _, p := range all {
		if p.name != "release" {
			continue
		}
		d.warn(p.line, "release is a task here, and all others wait for it, as on Heroku; foreman would run it beside them")
		d.projectAll()
		v := d.variable("release")
		d.decls = append(d.decls, decl{name: "release", target: v, value: call("task", pos(quoted("release")), kw("command", command(p.command, shSh())))})
		after = append(after, raw("%s", v))
	}
	return after
}

func shSh() []string { return []string{"sh", "-c"} }

// projectAll lets tasks see the whole environment, as other programs do.
func (d *Draft) projectAll() {
	for _, a := range d.project {
		if strings.HasPrefix(a.key, "pass_env") {
			return
		}
	}
	d.project = append(d.project, kw("pass_env", list(quoted("*"))))
}

func (d *Draft) procfileService(p process, port int, after []expr) {
	name := nodeName(p.name)
	if name != p.name {
		d.warn(p.line, "%s is called %s here", p.name, name)
	}
	args := []arg{pos(quoted(name)), kw("command", withPort(p.command))}
	if mentionsPort.MatchString(p.command) || strings.HasPrefix(name, "web") {
		args = append(args, kw("ports", dict(pair("http", number(port)))), kw("env", dict(pair("PORT", raw("self.port")))))
		if !mentionsPort.MatchString(p.command) {
			d.warn(p.line, "%s is ready when it listens on PORT (%d); if it does not, take its ports away", name, port)
		}
	} else {
		d.warnOnce("port", p.line, "no PORT for %s: its command does not say it; foreman would give %d (ports = {\"http\": %d}, env = {\"PORT\": self.port})", name, port, port)
	}
	if len(after) > 0 {
		args = append(args, kw("after", list(after...)))
	}
	d.decls = append(d.decls, decl{name: name, value: call("service", args...)})
}

// portMark is a character of no command; words takes it for a letter.
const portMark = "\u0091"

// withPort is a command whose PORT is the service's port: as the reference
// itself where no shell is needed.
func withPort(s string) expr {
	argv, ok := words(mentionsPort.ReplaceAllString(s, portMark))
	if !ok || strings.Contains(s, portMark) {
		return command(s, shSh())
	}
	var all []expr
	for _, w := range argv {
		switch {
		case w == portMark:
			all = append(all, raw("self.port"))
		case strings.Contains(w, portMark):
			format := strings.ReplaceAll(strings.ReplaceAll(w, "%", "%%"), portMark, "%s")
			n := strings.Count(w, portMark)
			args := strings.TrimSuffix(strings.Repeat("self.port, ", n), ", ")
			if n > 1 {
				args = "(" + args + ")"
			}
			all = append(all, raw("%s %% %s", quote(format), args))
		default:
			all = append(all, quoted(w))
		}
	}
	return list(all...)
}

// read reads a file beside the source.
func (d *Draft) read(name string) ([]byte, error) {
	if d.fsys == nil {
		return nil, fs.ErrNotExist
	}
	return fs.ReadFile(d.fsys, path.Clean(name))
}

// dotenvValue is the value of a key in KEY=value lines; the last counts.
func dotenvValue(data []byte, key string) string {
	value := ""
	for line := range strings.Lines(string(data)) {
		k, v, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.TrimSpace(strings.TrimPrefix(k, "export ")) != key {
			continue
		}
		v = strings.TrimSpace(v)
		if n := len(v); n > 1 && (v[0] == '"' || v[0] == '\'') && v[n-1] == v[0] {
			v = v[1 : n-1]
		}
		value = v
	}
	return value
}
