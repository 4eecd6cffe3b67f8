package export

import (
	"fmt"
	"io"
	"regexp/syntax"
	"strconv"
	"strings"
	"time"

	"orrery/lang/graph"
)

// processCompose writes a process-compose.yaml that its strict mode takes
// (version 1.122.0): tasks are processes that others wait for the end of.
func processCompose(w io.Writer, b *Bound) ([]string, error) {
	y := &yamlWriter{}
	y.value("version", "0.5")
	if n := b.graph.Project.Name; n != "" {
		y.value("name", n)
	}
	y.plain("is_strict", "true")
	y.plain("ordered_shutdown", "true")
	y.open("processes")
	for _, p := range b.programs {
		b.pcProcess(y, p)
	}
	_, err := io.WriteString(w, y.String())
	return b.warnings, err
}

// pcText is a text in which process-compose finds no variable of its own; it
// looks for ${ in the whole text of the file.
func pcText(s string) string { return strings.ReplaceAll(s, "${", "$${") }

// bashLine is an argv as a line for bash, which runs every command there.
func bashLine(argv []string) string {
	if len(argv) == 3 && argv[0] == "bash" && argv[1] == "-c" {
		return argv[2]
	}
	return shellLine(argv)
}

func (b *Bound) pcProcess(y *yamlWriter, p *program) {
	c := p.node.Common()
	y.open(p.name)
	if c.Description != "" {
		y.value("description", pcText(c.Description))
	}
	y.value("command", pcText(bashLine(p.argv)))
	if strings.Contains(bashLine(p.argv)+strings.Join(p.env, ""), "{{") {
		y.plain("is_template_disabled", "true")
	}
	if p.dir != "" {
		y.value("working_dir", pcText(p.dir))
	}
	if len(p.env) > 0 {
		y.line("environment:")
		for _, kv := range p.env {
			y.line("  - " + jsonText(pcText(kv)))
		}
	}
	if !p.enabled {
		y.plain("disabled", "true")
	}
	if wants := b.wants(p.node.Name()); len(wants) > 0 {
		y.open("depends_on")
		seen := map[string]bool{}
		for _, e := range wants {
			to := strings.ReplaceAll(e.To, "/", "-")
			if seen[to] {
				b.warn("%s waits for several conditions of %s; only the first is in the file", c.Name, e.To)
				continue
			}
			seen[to] = true
			y.open(to)
			y.value("condition", b.pcCondition(e))
			y.close()
		}
		y.close()
	}
	if p.node.Kind == graph.KindTask {
		b.pcTask(y, p.node.Task)
	} else {
		b.pcService(y, p)
	}
	y.close()
}

func (b *Bound) pcCondition(e graph.Edge) string {
	n := b.graph.Node(e.To)
	switch e.Cond {
	case graph.Started:
		return "process_started"
	case graph.Succeeded:
		return "process_completed_successfully"
	case graph.Completed:
		return "process_completed"
	}
	ready := readiness(n.Service)
	switch {
	case ready == nil || ready.Kind == "notify" || ready.Kind == "fd":
		return "process_started"
	case ready.Kind == "log" && literal(ready.Regex) != "":
		return "process_log_ready"
	case ready.Kind == "log":
		return "process_started"
	}
	return "process_healthy"
}

// literal is the text that a regular expression matches and nothing else, or "".
func literal(expr string) string {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil || re.Op != syntax.OpLiteral || re.Flags&syntax.FoldCase != 0 {
		return ""
	}
	return string(re.Rune)
}

func (b *Bound) pcTask(y *yamlWriter, t *graph.Task) {
	if t.Retries > 0 {
		y.open("availability")
		y.value("restart", "on_failure")
		y.plain("max_restarts", strconv.Itoa(t.Retries))
		y.close()
	}
	if s := t.Schedule; s != nil {
		y.open("schedule")
		if s.Kind == "cron" {
			y.value("cron", s.Expr)
			if s.Tz != "" {
				y.value("timezone", s.Tz)
			}
		} else {
			y.value("interval", s.Interval.String())
		}
		y.close()
	}
	if len(t.Inputs) > 0 || len(t.Outputs) > 0 || len(t.Creates) > 0 || t.Status != nil {
		b.warn("tasks such as %s run at each start: process-compose keeps no results", t.Name)
	}
}

func (b *Bound) pcService(y *yamlWriter, p *program) {
	s := p.node.Service
	if s.TTY {
		y.plain("is_tty", "true")
	}
	if len(s.EnvFile) > 0 {
		b.warn("env_file of %s is read now: what it says is in the file", s.Name)
	}
	b.pcReady(y, p)
	if p.live != nil {
		b.warn("the live probe of %s is left out: process-compose asks it of daemons alone", s.Name)
	}
	b.pcRestart(y, s)
	var codes []string
	for _, c := range s.SuccessCodes {
		if c.Signal == "" && c.Code != 0 {
			codes = append(codes, strconv.Itoa(c.Code))
		}
	}
	if len(codes) > 0 {
		y.line("success_exit_codes: [" + strings.Join(codes, ", ") + "]")
	}
	y.open("shutdown")
	if p.stop != nil {
		y.value("command", pcText(bashLine(p.stop)))
	} else if n := signalNumber(s.Stop.Signal); n != 15 {
		y.plain("signal", strconv.Itoa(n))
	}
	y.plain("timeout_seconds", wholeSeconds(s.Stop.Timeout)) // without it nothing is ever killed
	y.close()
	if s.Cascade {
		b.warn("%s is not restarted with what it depends on (cascade)", s.Name)
	}
}

func signalNumber(name string) int {
	switch name {
	case "HUP":
		return 1
	case "INT":
		return 2
	case "QUIT":
		return 3
	case "ABRT":
		return 6
	case "KILL":
		return 9
	case "USR1":
		return 10
	case "USR2":
		return 12
	case "ALRM":
		return 14
	case "WINCH":
		return 28
	}
	return 15
}

// wholeSeconds is a duration in seconds, one at least: there are no others.
func wholeSeconds(d graph.Duration) string {
	return strconv.Itoa(max(1, int((time.Duration(d)+time.Second-1)/time.Second)))
}

// pcReady writes a probe. There it is what kills a slow starter: so with the
// usual numbers it is asked each second, 600 times.
func (b *Bound) pcReady(y *yamlWriter, p *program) {
	r := p.ready
	if r == nil {
		return
	}
	name := p.node.Name()
	test := ""
	switch r.Kind {
	case "log":
		if lit := literal(r.Regex); lit != "" {
			y.value("ready_log_line", pcText(lit))
		} else {
			b.warn("the readiness of %s is left out: its log line is a regular expression", name)
		}
		return
	case "tcp":
		test = fmt.Sprintf("exec 3<>/dev/tcp/%s/%s", r.host, r.port)
	case "unix":
		test = "test -S " + shellWord(r.file)
		b.warn("%s counts as ready when its socket is there, not when it answers", name)
	case "file":
		test = "test -e " + shellWord(r.file)
	case "exec":
		test = bashLine(r.argv)
	case "http":
		if r.file != "" {
			b.warn("the readiness of %s is left out: process-compose asks no unix socket", name)
			return
		}
	default:
		b.warn("the readiness of %s is left out: process-compose knows no %s", name, r.Kind)
		return
	}
	y.open("readiness_probe")
	if r.Kind == "http" {
		b.pcHTTP(y, r, name)
	} else {
		y.open("exec")
		y.value("command", pcText(test))
		if r.Kind == "exec" && p.dir != "" {
			y.value("working_dir", pcText(p.dir))
		}
		y.close()
	}
	if r.InitialDelay > 0 {
		y.plain("initial_delay_seconds", wholeSeconds(r.InitialDelay))
	}
	period, failure := wholeSeconds(r.Period), r.Failure
	if time.Duration(r.Period) == 10*time.Second && r.Failure == 3 || r.Period == 0 {
		period, failure = "1", 600
	}
	y.plain("period_seconds", period)
	if r.Timeout > 0 {
		y.plain("timeout_seconds", wholeSeconds(r.Timeout))
	}
	if r.Success > 1 {
		y.plain("success_threshold", strconv.Itoa(r.Success))
	}
	y.plain("failure_threshold", strconv.Itoa(failure))
	y.close()
}

func (b *Bound) pcHTTP(y *yamlWriter, r *bound, name string) {
	y.open("http_get")
	if r.host != "" && r.host != "127.0.0.1" {
		y.value("host", r.host)
	}
	if r.Scheme != "" && r.Scheme != "http" {
		y.value("scheme", r.Scheme)
	}
	if r.path != "" && r.path != "/" {
		y.value("path", pcText(r.path))
	}
	y.value("port", r.port)
	if n, err := strconv.Atoi(r.Status); err == nil {
		if n != 200 {
			y.plain("status_code", strconv.Itoa(n))
		}
	} else {
		b.warn("%s is ready with status 200 alone, not %s", name, r.Status)
	}
	if len(r.headers) > 0 {
		y.open("headers")
		for _, h := range r.headers {
			k, v, _ := strings.Cut(h, ": ")
			y.value(k, pcText(v))
		}
		y.close()
	}
	y.close()
}

func (b *Bound) pcRestart(y *yamlWriter, s *graph.Service) {
	y.open("availability")
	defer y.close()
	if s.Restart.Kind == "never" || s.Restart.Kind == "" {
		y.value("restart", "no")
		return
	}
	y.value("restart", s.Restart.Kind)
	y.plain("backoff_seconds", wholeSeconds(s.Restart.Delay))
	switch {
	case s.Restart.Max == nil:
	case time.Duration(s.Restart.Window) >= time.Hour:
		y.plain("max_restarts", strconv.Itoa(*s.Restart.Max))
	default:
		b.warn("restarts are not bounded: process-compose counts them over the whole run, not in a window")
	}
}
