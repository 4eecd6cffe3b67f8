package convert

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// pcLost are keys of a process that have no counterpart, and what to say of
// them.
func pcLost() map[string]string {
	return map[string]string{
		"is_elevated":               "orrery starts nothing with sudo; write sudo into the command if it must be",
		"launch_timeout_seconds":    "say it as ready = probe....(deadline = ...)",
		"log_location":              "orrery keeps the output of each service: orrery logs NAME, self.log_file",
		"truncate_log":              "logs are kept over restarts",
		"disable_ansi_colors":       "set NO_COLOR in env if the program knows it",
		"mcp":                       "there is no MCP server",
		"monitor_for":               "there is no screen to notify on",
		"monitor_silence_threshold": "there is no screen to notify on",
		"executable":                "it is internal there", "args": "it is internal there", "original_config": "it is internal there",
		"replica_num": "it is internal there", "replica_name": "it is internal there", "name": "it is internal there",
	}
}

// pcRead are the keys that declare reads.
func pcRead() []string {
	return []string{"command", "entrypoint", "extends", "description", "disabled", "is_disabled", "is_daemon", "is_foreground", "is_tty",
		"is_interactive", "is_dotenv_disabled", "is_template_disabled", "working_dir", "environment", "env_file", "vars", "namespace", "replicas",
		"depends_on", "availability", "success_exit_codes", "readiness_probe", "liveness_probe", "ready_log_line", "shutdown", "log_configuration",
		"schedule", "watch"}
}

// declare writes the declaration of a process.
func (p *pc) declare(q *pcProcess) {
	lost := pcLost()
	for _, e := range q.keys {
		if !slices.Contains(pcRead(), e.key) {
			p.unknown(e, lost[e.key], q.foreign)
		}
	}
	cmd, ok := p.command(q)
	if !ok {
		p.warn(q.line, "%s has no command; left out", q.foreign)
		return
	}
	name := quoted(q.name)
	if q.replicas > 1 {
		name = raw("%s %% i", quote(q.name+"/%d"))
	}
	args := []arg{pos(name), kw("command", cmd)}
	args = append(args, p.common(q)...)
	kind := "service"
	if q.task {
		kind = "task"
		args = append(args, p.taskFields(q)...)
		p.projectAll()
	} else {
		args = append(args, p.serviceFields(q)...)
	}
	d := decl{name: q.name, target: q.variable, value: call(kind, args...)}
	if q.get("is_daemon").truth() {
		d.comment = append(d.comment, "It puts itself into the background, where orrery cannot look after it: find its option for the foreground.")
		p.warn(q.line, "%s is a daemon: orrery looks after what stays in the foreground; see the comment", q.foreign)
	}
	if q.replicas > 1 {
		d.value = comprehension(d.value, q.replicas)
	}
	p.decls = append(p.decls, d)
	p.namespaces(q)
}

func (p *pc) command(q *pcProcess) (expr, bool) {
	line := q.line
	if c := q.get("command"); c.str() != "" {
		s := p.template(q, c.str(), c.line)
		if t := marked(text{{lit: strings.ReplaceAll(s, "$${", "${")}}); len(t) > 1 {
			return list(append(texts(p.shell).values(), t.expr())...), true
		}
		return command(strings.ReplaceAll(s, "$${", "${"), p.shell), true
	}
	var argv []expr
	for _, s := range q.get("entrypoint").texts() {
		argv = append(argv, p.str(p.template(q, s, line), line).expr())
	}
	return list(argv...), len(argv) > 0
}

// common are the fields of services and tasks.
func (p *pc) common(q *pcProcess) (args []arg) {
	if s := q.get("description"); s.str() != "" {
		args = append(args, kw("description", quoted(s.str())))
	}
	if d := q.get("working_dir"); d.str() != "" && d.str() != "." {
		args = append(args, kw("cwd", p.str(p.template(q, d.str(), d.line), d.line).expr()))
	}
	env := slices.Clone(p.environ)
	for _, kv := range q.get("environment").pairs() {
		value := p.str(p.template(q, kv.value, kv.line), kv.line).expr()
		if i := slices.IndexFunc(env, func(a arg) bool { return a.key == quote(kv.key)+": " }); i >= 0 {
			env[i].value = value
			continue
		}
		env = append(env, pair(kv.key, value))
	}
	if q.replicas > 1 {
		env = append(env, pair("PC_REPLICA_NUM", raw("str(i)")))
	}
	if strings.Contains(q.get("command").str(), "PC_PROC_NAME") {
		env = append(env, pair("PC_PROC_NAME", quoted(q.foreign)))
	}
	if len(env) > 0 {
		args = append(args, kw("env", dict(env...)))
	}
	if f := q.get("env_file"); f.str() != "" {
		if q.task {
			p.warn(f.line, "env_file of %s is left out: a task has none; say what it needs in env", q.foreign)
		} else {
			args = append(args, kw("env_file", p.str(f.str(), f.line).expr()))
		}
	}
	if e := q.get("is_dotenv_disabled"); e.truth() && len(p.dotenvArg()) > 0 {
		p.warn(e.line, "is_dotenv_disabled of %s is left out: .env is for all; take a variable away with env = {\"NAME\": None}", q.foreign)
	}
	if after := p.after(q); len(after) > 0 {
		args = append(args, kw("after", joined(after)))
	}
	return append(args, p.watches(q)...)
}

// joined is a list of values, of which those with a star are lists.
func joined(values []expr) expr {
	var single []expr
	var sums []string
	for _, v := range values {
		if strings.HasPrefix(v.text, "*") {
			sums = append(sums, strings.TrimPrefix(v.text, "*"))
			continue
		}
		single = append(single, v)
	}
	if len(sums) == 0 {
		return list(single...)
	}
	if len(single) > 0 {
		sums = append([]string{list(single...).line()}, sums...)
	}
	return raw("%s", strings.Join(sums, " + "))
}

// after are the conditions of a process; one that stands for a list begins
// with a star.
func (p *pc) after(q *pcProcess) (after []expr) {
	for _, e := range q.get("depends_on").entries() {
		on := p.process(e.key)
		if on == nil {
			p.warn(e.line, "%s depends on %s, which is no process; left out", q.foreign, e.key)
			continue
		}
		cond := condition(e.value)
		if e.value.get("condition") == nil {
			p.warn(e.line, "%s depends on %s without a condition: process-compose then waits until it has ended, and so does this; to wait until it is ready write after = [%s]", q.foreign, e.key, on.variable)
		}
		suffix, known := p.condition(q, on, cond, e.line)
		switch {
		case !known:
			p.warn(e.line, "%q is no condition; %s waits until %s is ready", cond, q.foreign, e.key)
			fallthrough
		case on.replicas == 1:
			after = append(after, raw("%s%s", on.variable, suffix))
		case suffix == "":
			after = append(after, raw("*%s", on.variable))
		default:
			after = append(after, raw("*[x%s for x in %s]", suffix, on.variable))
		}
	}
	return after
}

// condition is what to write behind a node for a condition.
func (p *pc) condition(q, on *pcProcess, cond string, line int) (suffix string, known bool) {
	switch cond {
	case "process_started":
		return ".started", true
	case "process_healthy":
		if !on.task && on.get("readiness_probe") == nil {
			p.warn(line, "%s waits for %s to be healthy, which has no readiness_probe: it waits until it is started", q.foreign, on.foreign)
		}
		return "", true
	case "process_log_ready":
		return "", true
	case "process_completed":
		return ".completed", true
	case "process_completed_successfully":
		if !on.task {
			p.warn(line, "%s waits until %s has ended well; of a service only the end can be waited for", q.foreign, on.foreign)
			return ".completed", true
		}
		return "", true
	}
	return "", false
}

// watches are the files whose change restarts it; the folders that
// process-compose leaves out by default are those of .gitignore here.
func (p *pc) watches(q *pcProcess) []arg {
	w := q.get("watch")
	if w == nil {
		return nil
	}
	var all []expr
	for _, path := range w.get("paths").list() {
		at := strings.TrimSuffix(path.get("path").str(), "/")
		if path.kind != kindMap {
			at = path.str()
		}
		include, exclude := path.get("include").texts(), path.get("exclude").texts()
		if len(include) == 0 {
			include = []string{"**"}
		}
		g := []arg{pos(texts(under(at, include)))}
		if len(exclude) > 0 {
			g = append(g, kw("exclude", texts(under(at, exclude))))
		}
		args := []arg{pos(call("glob", g...))}
		if deb := w.get("debounce").str(); deb != "" {
			args = append(args, kw("debounce", quoted(deb)))
		} else {
			args = append(args, kw("debounce", quoted("300ms")))
		}
		all = append(all, call("watch", args...))
	}
	for _, e := range w.keys {
		switch e.key {
		case "paths", "debounce", "cascade", "max_entries", "buffer_size":
		case "disable_default_excludes":
			if e.value.truth() {
				p.warn(e.line, "watch.%s of %s is left out: files that .gitignore names are not watched unless a path says them", e.key, q.foreign)
			}
		default:
			p.unknown(e, "", q.foreign)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return []arg{kw("watch", list(all...))}
}

// list are the items of a list; of all else the value itself.
func (t *tree) list() []*tree {
	switch {
	case t == nil || t.kind == kindNull:
		return nil
	case t.kind == kindList:
		return t.items
	}
	return []*tree{t}
}

// under puts a folder before patterns.
func under(dir string, patterns []string) []string {
	if dir = strings.TrimPrefix(dir, "./"); dir == "" || dir == "." {
		return patterns
	}
	var all []string
	for _, pattern := range patterns {
		all = append(all, dir+"/"+pattern)
	}
	return all
}

func (p *pc) namespaces(q *pcProcess) {
	for _, ns := range q.get("namespace").texts() {
		if ns == "" || ns == "default" {
			continue
		}
		if !slices.Contains(p.groups, ns) {
			p.groups = append(p.groups, ns)
		}
		if q.replicas > 1 {
			p.warn(q.line, "the group %s holds no replicas of %s: name %s beside it", ns, q.foreign, q.name)
			continue
		}
		p.grouped[ns] = append(p.grouped[ns], q.variable)
	}
}

// seconds is a duration of whole seconds.
func seconds(n int) expr { return quoted(strconv.Itoa(n) + "s") }

// taskFields are those of what runs to its end.
func (p *pc) taskFields(q *pcProcess) (args []arg) {
	a := q.get("availability")
	if r := a.get("restart").str(); r == "on_failure" {
		tries, _ := wholeNumber(a.get("max_restarts").str())
		if tries <= 0 {
			tries = 1000
			p.warn(a.line, "%s is tried again without end there; here %d times", q.foreign, tries)
		}
		args = append(args, kw("retries", number(tries)))
	}
	for _, key := range []string{"success_exit_codes", "liveness_probe", "readiness_probe", "ready_log_line", "shutdown", "is_tty", "is_interactive", "is_foreground", "log_configuration"} {
		if t := q.get(key); t != nil {
			p.warn(t.line, "%s of %s is left out: it is a task, which runs to its end", key, q.foreign)
		}
	}
	if s := q.get("schedule"); s != nil {
		args = append(args, p.schedule(q, s)...)
	}
	return args
}

func (p *pc) schedule(q *pcProcess, s *tree) []arg {
	for _, e := range s.keys {
		switch e.key {
		case "cron", "interval", "timezone":
		case "run_on_start":
			if e.value.truth() {
				p.warn(e.line, "run_on_start of %s is left out: orrery run %s runs it at once", q.foreign, q.name)
			}
		case "max_concurrent":
			if e.value.str() != "1" {
				p.warn(e.line, "max_concurrent of %s is left out: never two runs at a time", q.foreign)
			}
		default:
			p.unknown(e, "", q.foreign)
		}
	}
	if q.get("disabled").truth() || q.get("is_disabled").truth() {
		p.warn(q.line, "%s is disabled and has a schedule: its schedule is left out", q.foreign)
		return nil
	}
	if cron := s.get("cron").str(); cron != "" {
		args := []arg{pos(quoted(cron))}
		if tz := s.get("timezone").str(); tz != "" && tz != "Local" {
			args = append(args, kw("tz", quoted(tz)))
		}
		return []arg{kw("schedule", call("schedule.cron", args...))}
	}
	return []arg{kw("schedule", call("schedule.every", pos(quoted(s.get("interval").str()))))}
}

// serviceFields are those of what goes on.
func (p *pc) serviceFields(q *pcProcess) (args []arg) {
	if q.get("disabled").truth() || q.get("is_disabled").truth() || q.get("is_foreground").truth() {
		args = append(args, kw("autostart", raw("False")))
	}
	if e := q.get("is_foreground"); e.truth() {
		p.warn(e.line, "%s is started by hand: orrery exec %s runs it in your terminal", q.foreign, q.name)
	}
	if q.get("is_tty").truth() || q.get("is_interactive").truth() {
		args = append(args, kw("tty", raw("True")))
	}
	args = append(args, p.readiness(q)...)
	if l := q.get("liveness_probe"); l != nil {
		if q.get("is_daemon").truth() {
			probe, _ := p.probe(q, l, "liveness_probe")
			args = append(args, kw("live", probe))
		} else {
			p.warn(l.line, "liveness_probe of %s has no effect there, for it is no daemon; left out (live = ... restarts it)", q.foreign)
		}
	}
	args = append(args, p.restart(q)...)
	if codes := q.get("success_exit_codes"); codes != nil {
		all := []expr{number(0)}
		for _, s := range codes.texts() {
			if n, ok := wholeNumber(s); ok && n != 0 && n < 256 {
				all = append(all, number(n))
			}
		}
		args = append(args, kw("success_codes", list(all...)))
	}
	args = append(args, p.shutdown(q)...)
	if q.cascade {
		args = append(args, kw("cascade", raw("True")))
	}
	return append(args, p.log(q)...)
}

// log is the rotation of a process, or that of the project.
func (p *pc) log(q *pcProcess) []arg {
	t := q.get("log_configuration")
	if t != nil {
		p.rotationOnly(t)
	} else {
		t = p.root.get("log_configuration")
	}
	r := t.get("rotation")
	var args []arg
	if n, ok := wholeNumber(r.get("max_size_mb").str()); ok && n > 0 {
		args = append(args, kw("max_size", quoted(fmt.Sprintf("%dM", n))))
	}
	if n, ok := wholeNumber(r.get("max_backups").str()); ok && n > 0 {
		args = append(args, kw("keep", number(n)))
	}
	if len(args) == 0 {
		return nil
	}
	return []arg{kw("log", call("log", args...))}
}
