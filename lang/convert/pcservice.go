package convert

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// readiness is when it is ready. A ready_log_line is a literal part of a line
// there, not the regular expression that the documentation speaks of.
func (p *pc) readiness(q *pcProcess) []arg {
	if r := q.get("readiness_probe"); r != nil {
		if l := q.get("ready_log_line"); l != nil {
			p.warn(l.line, "%s has a readiness_probe and a ready_log_line; the probe is taken", q.foreign)
		}
		n, ok := wholeNumber(r.get("failure_threshold").str())
		if !ok {
			n = 3
		}
		p.warn(r.line, "a readiness_probe that fails %d times kills %s there, also while it is still starting; here it is waited for (deadline = ... in the probe bounds that, live = ... restarts it later)", n, q.foreign)
		probe, ports := p.probe(q, r, "readiness_probe")
		if ports != nil {
			return []arg{*ports, kw("ready", probe)}
		}
		return []arg{kw("ready", probe)}
	}
	if l := q.get("ready_log_line"); l.str() != "" {
		return []arg{kw("ready", call("probe.log", pos(quoted(regexp.QuoteMeta(l.str())))))}
	}
	return nil
}

// probe is a probe, and the port that it asks on this machine, which nothing
// else in the file declares.
func (p *pc) probe(q *pcProcess, t *tree, what string) (expr, *arg) {
	var args []arg
	name, ports := "probe.exec", (*arg)(nil)
	for _, e := range t.keys {
		if !slices.Contains([]string{"exec", "http_get", "initial_delay_seconds", "period_seconds", "timeout_seconds", "success_threshold", "failure_threshold"}, e.key) {
			p.unknown(e, "", what+" of "+q.foreign)
		}
	}
	if h := t.get("http_get"); h != nil {
		name = "probe.http"
		args, ports = p.httpGet(q, h)
	} else {
		e := t.get("exec")
		line := p.template(q, e.get("command").str(), t.line)
		if dir := e.get("working_dir").str(); dir != "" {
			line = "cd " + shellQuote(dir) + " && " + line
		}
		args = append(args, pos(command(strings.ReplaceAll(line, "$${", "${"), p.shell)))
	}
	for _, x := range []struct {
		key, field string
		usual      int
	}{{"initial_delay_seconds", "initial_delay", 0}, {"period_seconds", "period", 10}, {"timeout_seconds", "timeout", 1}} {
		if n, ok := wholeNumber(t.get(x.key).str()); ok && n != x.usual && n > 0 {
			args = append(args, kw(x.field, seconds(n)))
		}
	}
	if n, ok := wholeNumber(t.get("success_threshold").str()); ok && n > 1 {
		args = append(args, kw("success", number(n)))
	}
	if n, ok := wholeNumber(t.get("failure_threshold").str()); ok && n > 0 && n != 3 {
		args = append(args, kw("failure", number(n)))
	}
	return call(name, args...), ports
}

// httpGet is an HTTP probe. The status must be 200 exactly, or what it says.
func (p *pc) httpGet(q *pcProcess, h *tree) (args []arg, ports *arg) {
	if path := h.get("path"); path.str() != "" && path.str() != "/" {
		args = append(args, pos(p.str(p.template(q, path.str(), h.line), h.line).expr()))
	}
	port := p.template(q, h.get("port").str(), h.line)
	if port == "" {
		port = h.get("num_port").str()
	}
	host := h.get("host").str()
	local := host == "" || host == "127.0.0.1" || host == "localhost" || host == "0.0.0.0"
	switch n, ok := wholeNumber(port); {
	case ok && local && !p.ports[n] && q.replicas == 1 && n > 0 && n < 65536:
		p.ports[n] = true
		a := kw("ports", dict(pair("http", call("port", pos(number(n)), kw("strict", raw("True"))))))
		ports = &a
	case ok:
		args = append(args, kw("port", number(n)))
	case port != "":
		args = append(args, kw("port", p.str(port, h.line).expr()))
	case h.get("scheme").str() == "https":
		args = append(args, kw("port", number(443)))
	default:
		args = append(args, kw("port", number(80)))
	}
	if !local {
		args = append(args, kw("host", p.str(p.template(q, host, h.line), h.line).expr()))
	}
	if s := h.get("scheme").str(); s != "" && s != "http" {
		args = append(args, kw("scheme", quoted(s)))
	}
	status := "200"
	if n, ok := wholeNumber(h.get("status_code").str()); ok && n > 0 && n < 400 {
		status = strconv.Itoa(n)
	}
	args = append(args, kw("status", quoted(status)))
	var headers []arg
	for _, kv := range h.get("headers").pairs() {
		headers = append(headers, pair(kv.key, p.str(kv.value, kv.line).expr()))
	}
	if len(headers) > 0 {
		args = append(args, kw("headers", dict(headers...)))
	}
	return args, ports
}

// withDefault is a value that a variable may replace.
var withDefault = regexp.MustCompile(`^\$\{\w+:-([^{}$]*)\}$`)

// restart is its policy: constant waits, counted over the whole run. No policy
// is no restart.
func (p *pc) restart(q *pcProcess) []arg {
	a := q.get("availability")
	for _, e := range a.entries() {
		switch e.key {
		case "restart", "backoff_seconds", "max_restarts":
		case "exit_on_end":
			if e.value.truth() {
				p.warn(e.line, "exit_on_end of %s is left out: the end of one service does not end the others; orrery run %s runs it with what it needs, and ends with it", q.foreign, q.name)
			}
		case "exit_on_skipped":
			if e.value.truth() {
				p.warn(e.line, "exit_on_skipped of %s is left out: what cannot start is a failure of up here", q.foreign)
			}
		default:
			p.unknown(e, "", q.foreign)
		}
	}
	r := a.get("restart").str()
	if m := withDefault.FindStringSubmatch(r); m != nil {
		p.warn(a.get("restart").line, "restart of %s is %s there; here it is %s", q.foreign, r, m[1])
		r = m[1]
	}
	kind := ""
	switch r {
	case "always":
		kind = "restart.always"
	case "on_failure":
		kind = "restart.on_failure"
	case "", "no", "false":
		return []arg{kw("restart", call("restart.never"))}
	case "exit_on_failure":
		p.warn(a.line, "%s ends everything when it fails there; here it is shown as failed, and the others go on", q.foreign)
		return []arg{kw("restart", call("restart.never"))}
	default:
		p.warn(a.get("restart").line, "restart of %s is %q, which is not known: it is never restarted", q.foreign, r)
		return []arg{kw("restart", call("restart.never"))}
	}
	wait := 1
	if n, ok := wholeNumber(a.get("backoff_seconds").str()); ok && n > 1 {
		wait = n
	}
	args := []arg{kw("max", raw("None"))}
	if n, ok := wholeNumber(a.get("max_restarts").str()); ok && n > 0 {
		args = []arg{kw("max", number(n)), kw("window", quoted("8760h"))}
	}
	return []arg{kw("restart", call(kind, append(args, kw("delay", seconds(wait)), kw("factor", number(1)))...))}
}

// pcSignals are the signals that a process is stopped with, by their number on
// Linux.
func pcSignals() map[int]string {
	return map[int]string{1: "HUP", 2: "INT", 3: "QUIT", 6: "ABRT", 9: "KILL", 10: "USR1", 12: "USR2", 14: "ALRM", 15: "TERM", 28: "WINCH"}
}

// shutdown is how it is stopped. Without a timeout nothing is ever killed there.
func (p *pc) shutdown(q *pcProcess) []arg {
	s := q.get("shutdown")
	for _, e := range s.entries() {
		switch e.key {
		case "command", "signal", "timeout_seconds":
		case "parent_only":
			if e.value.truth() {
				p.warn(e.line, "shutdown.parent_only of %s is left out: a stop signal goes to the main process and its group", q.foreign)
			}
		case "send_keys":
			p.warn(e.line, "shutdown.send_keys of %s is left out: it is stopped by a signal", q.foreign)
		default:
			p.unknown(e, "", q.foreign)
		}
	}
	var args []arg
	n, timed := wholeNumber(s.get("timeout_seconds").str())
	if timed && n > 0 && n != 10 {
		args = append(args, kw("timeout", seconds(n)))
	}
	if c := s.get("command"); c.str() != "" {
		cmd := command(strings.ReplaceAll(p.template(q, c.str(), c.line), "$${", "${"), p.shell)
		return []arg{kw("stop", call("stop.exec", append([]arg{pos(cmd)}, args...)...))}
	}
	if !timed || n <= 0 {
		p.warnOnce("kill", q.line, "a process that ignores its stop signal runs on there for ever; here it is killed after 10 s (stop = stop.signal(timeout = ...))")
	}
	if num, ok := wholeNumber(s.get("signal").str()); ok && num != 15 && num != 0 {
		sig, known := pcSignals()[num]
		if !known {
			p.warn(s.line, "shutdown.signal of %s is left out: got %d, want a signal that programs are stopped with", q.foreign, num)
			sig = "TERM"
		}
		args = append([]arg{pos(quoted(sig))}, args...)
	}
	if len(args) == 0 {
		return nil
	}
	return []arg{kw("stop", call("stop.signal", args...))}
}
