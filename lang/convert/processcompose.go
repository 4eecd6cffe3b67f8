package convert

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// pc is a process-compose.yaml on its way. What its keys do there was measured
// with version 1.122.0; where its documentation says otherwise, the program is
// followed.
type pc struct {
	*Draft
	root      *tree
	shell     []string
	expand    bool // ${VAR} in the file's text
	environ   []arg
	processes []*pcProcess
	ports     map[int]bool // declared already
	grouped   map[string][]string
	groups    []string
}

// pcProcess is one process.
type pcProcess struct {
	*tree
	foreign  string
	name     string
	variable string
	task     bool
	replicas int
	awaited  map[string]bool // conditions that others name
	cascade  bool
}

// replicaMark stands for the number of a replica until the code is written.
const replicaMark = "\x00replica\x00"

func (d *Draft) processCompose(data []byte) error {
	root, err := parseYAML(data)
	if err != nil {
		return err
	}
	if root.kind != kindMap {
		return fmt.Errorf("got a document that is no map, want one with processes")
	}
	p := &pc{Draft: d, root: root, shell: []string{"bash", "-c"}, expand: !root.get("disable_env_expansion").truth(), ports: map[int]bool{}, grouped: map[string][]string{}}
	d.doc = "From " + d.file + "."
	p.projectKeys()
	if err := p.collect(); err != nil {
		return err
	}
	order, err := p.order()
	if err != nil {
		return err
	}
	for _, q := range order {
		p.declare(q)
	}
	for _, g := range p.groups {
		name := nodeName(g)
		if slices.ContainsFunc(p.processes, func(q *pcProcess) bool { return q.name == name }) {
			d.warn(0, "the namespace %s has the name of a process; its group is left out", g)
			continue
		}
		var members []expr
		for _, m := range p.grouped[g] {
			members = append(members, raw("%s", m))
		}
		d.decls = append(d.decls, decl{name: name, value: call("group", pos(quoted(name)), pos(list(members...)))})
	}
	return nil
}

// pcProjectLost are keys of the project that have no counterpart, and what to
// say of them.
func pcProjectLost() map[string]string {
	return map[string]string{
		"extends":           "the file that it extends is not read: import that one too, and join the two",
		"log_location":      "the unified log file is not written; orrery logs shows the logs of all in order",
		"log_level":         "it is about process-compose itself",
		"log_length":        "logs are kept in files, not in memory; log(max_size = ...) bounds them",
		"log_format":        "it has no effect there either",
		"is_tui_disabled":   "there is no full-screen view to turn off",
		"mcp_server":        "there is no MCP server",
		"file_names":        "it is internal there",
		"env_file_names":    "it is internal there",
		"dot_env_vars":      "it is internal there",
		"log_configuration": "only rotation.max_size_mb and rotation.max_backups are carried over",
	}
}

func (p *pc) projectKeys() {
	lost := pcProjectLost()
	p.project = append(p.project, p.dotenvArg()...)
	p.shellKeys(p.root.get("shell"))
	for _, e := range p.root.keys {
		switch e.key {
		case "version", "is_strict", "disable_env_expansion", "processes", "vars", "shell":
			// said elsewhere, or what orrery does anyway: unknown keys are errors
		case "ordered_shutdown":
			if !e.value.truth() {
				p.warn(e.line, "ordered_shutdown: orrery always stops dependents first")
			}
		case "name":
			p.project[0] = pos(quoted(nodeName(e.value.str())))
			if n := nodeName(e.value.str()); n != e.value.str() {
				p.warn(e.line, "the project is called %s here", n)
			}
		case "environment":
			p.globalEnv(e.value)
		case "env_cmds":
			p.envCommands(e.value)
		case "log_configuration":
			p.rotationOnly(e.value)
		default:
			p.unknown(e, lost[e.key], "")
		}
	}
}

// globalEnv is the environment of all: that of the project where it is plain
// text, which is all that may stand there.
func (p *pc) globalEnv(t *tree) {
	var all []arg
	plain := true
	for _, kv := range t.pairs() {
		value := p.str(kv.value, kv.line)
		_, ok := value.plain()
		plain = plain && ok
		all = append(all, pair(kv.key, value.expr()))
	}
	if plain && len(all) > 0 {
		p.project = append(p.project, kw("env", dict(all...)))
		return
	}
	p.environ = append(p.environ, all...)
}

func (p *pc) dotenvArg() []arg {
	if _, err := p.read(".env"); err == nil {
		return []arg{kw("dotenv", list(quoted(".env")))}
	}
	return nil
}

// unknown warns about a key that is not carried over.
func (p *pc) unknown(e entry, why, of string) {
	if of != "" {
		of = " of " + of
	}
	switch {
	case strings.HasPrefix(e.key, "x-"):
	case why != "":
		p.warn(e.line, "%s%s is left out: %s", e.key, of, why)
	default:
		p.warn(e.line, "%s%s is no key of process-compose; left out, as it does", e.key, of)
	}
}

func (p *pc) shellKeys(t *tree) {
	for _, e := range t.entries() {
		switch e.key {
		case "shell_command":
			p.shell[0] = e.value.str()
		case "shell_argument":
			p.shell[1] = e.value.str()
		default:
			p.warn(e.line, "shell.%s is left out: orrery starts nothing with sudo", e.key)
		}
	}
}

// envCommands are programs whose output becomes a variable: what a secret is
// that a command tells.
func (p *pc) envCommands(t *tree) {
	for _, e := range t.keys {
		v := p.variable(strings.ToLower(e.key))
		p.decls = append(p.decls, decl{comment: []string{"What the command prints; shown by nothing, as a secret."}, target: v,
			value: call("secret", pos(quoted(nodeName(e.key))), kw("command", texts(append(slices.Clone(p.shell), e.value.str()))))})
		p.environ = append(p.environ, pair(e.key, raw("%s", v)))
	}
}

func (p *pc) rotationOnly(t *tree) {
	for _, e := range t.keys {
		if e.key == "rotation" {
			for _, r := range e.value.keys {
				if r.key != "max_size_mb" && r.key != "max_backups" {
					p.warn(r.line, "log_configuration.rotation.%s is left out: logs lie in .orrery/logs, see log()", r.key)
				}
			}
			continue
		}
		p.warn(e.line, "log_configuration.%s is left out: logs are kept as they were written, with times beside them", e.key)
	}
}

// collect reads the processes, those they extend, and who waits for whom.
func (p *pc) collect() error {
	all := p.root.get("processes")
	if all == nil || all.kind != kindMap {
		return fmt.Errorf("it has no processes")
	}
	taken := map[string]string{}
	byName := map[string]*pcProcess{}
	for _, e := range all.keys {
		if e.value.kind != kindMap {
			return fmt.Errorf("line %d: the process %s is no map", e.line, e.key)
		}
		t, err := extended(all, e.value, 0)
		if err != nil {
			return fmt.Errorf("line %d: the process %s: %w", e.line, e.key, err)
		}
		t.line = e.line
		q := &pcProcess{tree: t, foreign: e.key, name: nodeName(e.key), replicas: 1, awaited: map[string]bool{}}
		if q.name != e.key {
			p.warn(e.line, "%s is called %s here", e.key, q.name)
		}
		if other, ok := taken[q.name]; ok {
			return fmt.Errorf("line %d: %s and %s would both be called %s", e.line, other, e.key, q.name)
		}
		taken[q.name] = e.key
		if n, ok := wholeNumber(t.get("replicas").str()); ok && n > 1 {
			q.replicas = n
		}
		q.variable = p.variable(q.name)
		p.processes = append(p.processes, q)
		byName[q.foreign] = q
	}
	for _, q := range p.processes {
		for _, e := range q.get("depends_on").entries() {
			if on := byName[e.key]; on != nil {
				on.awaited[condition(e.value)] = true
				q.cascade = q.cascade || on.at("watch", "cascade").truth()
			}
		}
	}
	for _, q := range p.processes {
		q.task = isTask(q)
	}
	return nil
}

// extended is a process over the one that it extends.
func extended(all, t *tree, depth int) (*tree, error) {
	base := t.get("extends").str()
	if base == "" {
		return t, nil
	}
	b := all.get(base)
	if b == nil || b.kind != kindMap || depth > 20 {
		return nil, fmt.Errorf("cannot extend %q: there is no such process, or it extends itself", base)
	}
	b, err := extended(all, b, depth+1)
	if err != nil {
		return nil, err
	}
	return merged(b, t), nil
}

// entries are the pairs of a map, or the items of a list as keys.
func (t *tree) entries() []entry {
	if t == nil {
		return nil
	}
	all := t.keys
	for _, it := range t.items {
		all = append(all, entry{it.str(), it.line, &tree{kind: kindNull, line: it.line}})
	}
	return all
}

// condition is that of a dependency. None: process_completed, the zero value of
// its enumeration, whatever the documentation says.
func condition(t *tree) string {
	if c := t.get("condition").str(); c != "" {
		return c
	}
	return "process_completed"
}

// isTask: something runs to its end if others wait for that, or if it has a
// schedule; unless others wait for its health too.
func isTask(q *pcProcess) bool {
	if q.get("schedule") != nil {
		return true
	}
	ends := q.awaited["process_completed"] || q.awaited["process_completed_successfully"]
	lives := q.awaited["process_healthy"] || q.awaited["process_log_ready"] || q.get("readiness_probe") != nil || q.replicas > 1
	restart := q.at("availability", "restart").str()
	return ends && !lives && restart != "always"
}

// order puts each process after those it depends on, for a declaration can only
// name what stands above it.
func (p *pc) order() ([]*pcProcess, error) {
	var out []*pcProcess
	state := map[string]int{} // 1: being visited, 2: done
	var visit func(q *pcProcess, way []string) error
	visit = func(q *pcProcess, way []string) error {
		switch state[q.foreign] {
		case 1:
			return fmt.Errorf("line %d: a loop of depends_on: %s", q.line, strings.Join(append(way, q.foreign), " -> "))
		case 2:
			return nil
		}
		state[q.foreign] = 1
		for _, e := range q.get("depends_on").entries() {
			if on := p.process(e.key); on != nil {
				if err := visit(on, append(way, q.foreign)); err != nil {
					return err
				}
			}
		}
		state[q.foreign] = 2
		out = append(out, q)
		return nil
	}
	for _, q := range p.processes {
		if err := visit(q, nil); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (p *pc) process(foreign string) *pcProcess {
	for _, q := range p.processes {
		if q.foreign == foreign {
			return q
		}
	}
	return nil
}

// str is a text of the file with its variables: those of the environment as
// parameters.
func (p *pc) str(s string, line int) text {
	if !p.expand {
		return marked(text{{lit: s}})
	}
	return marked(p.interpolated(s, line, false))
}

// marked cuts a text at the places of a replica's number.
func marked(t text) text {
	var out text
	for _, x := range t {
		if x.code != "" {
			out = append(out, x)
			continue
		}
		for i, lit := range strings.Split(x.lit, replicaMark) {
			if i > 0 {
				out = append(out, piece{code: "str(i)"})
			}
			out = out.add(lit)
		}
	}
	if out == nil {
		return text{{}}
	}
	return out
}

// action is one action of a Go template; those that are only a variable are
// carried out.
var (
	action         = regexp.MustCompile(`(\s*)\{\{(- )?\s*(.*?)\s*( -)?\}\}(\s*)`)
	actionVariable = regexp.MustCompile(`^(?:\.\w+)+$`)
)

// template carries out the Go templates of a text, with the variables of the
// project and of the process. The package text/template would do all of them,
// and makes the program a quarter larger.
func (p *pc) template(q *pcProcess, s string, line int) string {
	if !strings.Contains(s, "{{") || q.get("is_template_disabled").truth() {
		return s
	}
	return action.ReplaceAllStringFunc(s, func(m string) string {
		x := action.FindStringSubmatch(m)
		value, ok := p.templateValue(q, x[3])
		if !ok {
			p.warn(line, "the template {{%s}} of %s is left as it is: only variables are understood", x[3], q.foreign)
			return m
		}
		if x[2] == "" {
			value = x[1] + value
		}
		if x[4] == "" {
			value += x[5]
		}
		return value
	})
}

func (p *pc) templateValue(q *pcProcess, name string) (string, bool) {
	if !actionVariable.MatchString(name) {
		return "", false
	}
	path := strings.Split(name[1:], ".")
	if name == ".PC_REPLICA_NUM" {
		if q.replicas == 1 {
			return "0", true
		}
		return replicaMark, true
	}
	for _, vars := range []*tree{q.get("vars"), p.root.get("vars")} {
		if v := vars.at(path...); v != nil && (v.kind == kindString || v.kind == kindOther) {
			return v.str(), true
		}
	}
	return "", false
}
