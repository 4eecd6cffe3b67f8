// Package convert makes the text of a services.star from what other programs
// read: a Procfile, a process-compose.yaml, a compose.yaml; and from what a
// folder holds.
//
// It is pure: bytes and an fs.FS in, text and warnings out. A converter fills a
// Draft with declarations and with a Warning for all that is not carried over;
// star.go is the one writer. What a converter knows of the foreign format stands
// beside the line that acts on it.
package convert

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// Warning says what was not carried over, or means something else now.
type Warning struct {
	File string // as it was given
	Line int    // from 1; 0: the file as a whole
	Text string
}

// String is "file:line: text".
func (w Warning) String() string {
	if w.Line == 0 {
		return w.File + ": " + w.Text
	}
	return fmt.Sprintf("%s:%d: %s", w.File, w.Line, w.Text)
}

// Format is a foreign format that Import reads.
type Format string

// The formats.
const (
	FormatProcfile       Format = "procfile"
	FormatProcessCompose Format = "process-compose"
	FormatCompose        Format = "compose"
)

// FormatOf tells the format of a file by its name and, where the name says
// nothing, by its content; "" when it is none.
func FormatOf(name string, data []byte) Format {
	base := strings.ToLower(path.Base(name))
	yaml := strings.HasSuffix(base, ".yaml") || strings.HasSuffix(base, ".yml")
	switch {
	case strings.HasPrefix(base, "procfile") || strings.HasSuffix(base, ".procfile"):
		return FormatProcfile
	case yaml && strings.HasPrefix(base, "process-compose"):
		return FormatProcessCompose
	case yaml && strings.HasPrefix(base, "docker-compose"), yaml && strings.HasPrefix(base, "compose.") && !hasKey(data, "processes"):
		return FormatCompose
	case (yaml || strings.HasSuffix(base, ".json")) && hasKey(data, "processes"):
		return FormatProcessCompose
	case yaml && hasKey(data, "services"):
		return FormatCompose
	}
	return ""
}

// Options say how Import reads a file.
type Options struct {
	Format  Format // "": what FormatOf says
	Project string // name of the project where the file has none: that of its folder
}

// hasKey reports whether a YAML or JSON text has a key at its top.
func hasKey(data []byte, key string) bool {
	root, err := parseYAML(data)
	return err == nil && root.get(key) != nil
}

// Import converts the file called name of fsys. Files that it speaks of (.env,
// files it includes) are read from fsys too; paths in the result are as in the
// file, which therefore belongs beside the services.star. The error is that of
// a file that cannot be read or understood at all.
func Import(fsys fs.FS, name string, o Options) (*Draft, error) {
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", name, cause(err))
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("cannot read %s: it is not UTF-8 text", name)
	}
	if o.Format == "" {
		o.Format = FormatOf(name, data)
	}
	d := &Draft{file: name, fsys: fsys}
	d.call(o.Project)
	switch o.Format {
	case FormatProcfile:
		err = d.procfile(data)
	case FormatProcessCompose:
		err = d.processCompose(data)
	case FormatCompose:
		err = d.compose(data)
	default:
		return nil, fmt.Errorf("cannot convert %s: it is no Procfile, process-compose.yaml or compose.yaml", name)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot convert %s: %w", name, err)
	}
	slices.SortStableFunc(d.Warnings, func(a, b Warning) int { return a.Line - b.Line })
	return d, nil
}

// cause is what is wrong with a file, without its name.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Draft is a services.star in the making.
type Draft struct {
	// Warnings are what was not carried over, in order of the file's lines.
	Warnings []Warning
	// Found and Left are lines about what Survey saw in the folder: what is in
	// the draft, and what is not and why.
	Found, Left []string

	file    string // the source, for warnings
	fsys    fs.FS
	doc     string
	project []arg
	loads   []load
	params  []decl
	decls   []decl
	used    map[string]bool // variables
	once    map[string]bool // warnings that are said once
}

// load is a line load("file", "names"...).
type load struct {
	file  string
	names []string
}

// decl is one declaration, with the comment above it.
type decl struct {
	name    string   // of the node; "" for others
	comment []string // lines
	target  string   // the variable; "": none
	value   expr
}

func (d *Draft) warn(line int, format string, args ...any) {
	w := Warning{d.file, line, fmt.Sprintf(format, args...)}
	if !slices.Contains(d.Warnings, w) {
		d.Warnings = append(d.Warnings, w)
	}
}

// call names the project.
func (d *Draft) call(name string) { d.project = []arg{pos(quoted(nodeName(name)))} }

// warnOnce is for what is true of many lines and worth one warning.
func (d *Draft) warnOnce(key string, line int, format string, args ...any) {
	if d.once == nil {
		d.once = map[string]bool{}
	}
	if !d.once[key] {
		d.once[key] = true
		d.warn(line, format, args...)
	}
}

func (d *Draft) load(file, name string) {
	for i := range d.loads {
		if d.loads[i].file == file {
			if !slices.Contains(d.loads[i].names, name) {
				d.loads[i].names = append(d.loads[i].names, name)
			}
			return
		}
	}
	d.loads = append(d.loads, load{file, []string{name}})
}

// variable is a name for the value of a declaration that nothing else has.
func (d *Draft) variable(name string) string {
	if d.used == nil {
		d.used = map[string]bool{}
		for _, w := range reserved() {
			d.used[w] = true
		}
	}
	var b strings.Builder
	for i, c := range name {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
			b.WriteRune(c)
		case c >= '0' && c <= '9':
			if i == 0 {
				b.WriteByte('_')
			}
			b.WriteRune(c)
		default:
			b.WriteByte('_')
		}
	}
	v := b.String()
	for d.used[v] {
		v += "_"
	}
	d.used[v] = true
	return v
}

// reserved are the words that no variable may be called: those of Starlark and
// of the language, and the factories that a converter loads.
func reserved() []string {
	return strings.Fields(`and break continue def elif else for if in lambda load not or pass return while
		as assert async await class del except finally from global import is nonlocal raise try with yield
		None True False abs all any bool bytes chr dict dir enumerate fail float getattr hasattr hash int len list
		max min ord print range repr reversed set sorted str tuple type zip
		project service task group include param peer port socket probe restart stop watchdog watch config_file
		log limits harden data rate_limit site schedule pool glob secret tool files read flags literal check warn
		duration self host struct json yaml toml ini math
		container container_task network postgres redis mariadb memcached nats rabbitmq mosquitto etcd prometheus beanstalkd`)
}

// nodeName makes a name of a node from a foreign one: [a-z0-9][a-z0-9_-]*,
// nested with slashes.
func nodeName(s string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
			b.WriteRune(c)
		default:
			b.WriteByte('-')
		}
	}
	name := strings.TrimLeft(b.String(), "-_")
	if name == "" {
		return "x"
	}
	return name
}
